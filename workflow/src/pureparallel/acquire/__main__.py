"""``pixi run discover``: the step with the survey's own options, the section `discover` of config.yaml, before those
of the command line, which win."""

import shlex
import sys
from pathlib import Path

from .. import ROOT, UserError, cli, log, names, schemas


def main(arguments: list[str]) -> int:
    """Run the step discover; returns its status."""
    here = Path("config/config.yaml")
    path = here if here.is_file() else ROOT / "config" / "config.yaml"
    rules = schemas.schema("config")["properties"].get("discover", {"type": "object", "properties": {}})
    try:
        given = schemas.coerce(schemas.read_yaml(path).get("discover"), rules) or {}
        schemas.check(given, rules, f"{path}: discover")
    except UserError as error:
        log.configure()
        log.of("discover").error("%s", error)
        return 1
    options = ["--fields", str(path.parent / "fields"), *shlex.split(names.flags(given))]
    return cli.main(["discover", *options, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
