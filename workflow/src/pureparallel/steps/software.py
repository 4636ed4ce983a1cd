"""One page with the software of every environment: locked versions and lock digests, and the workflow's commit."""

import re
from pathlib import Path
from typing import Any

from .. import ROOT, __version__, io, log, page
from ..provenance import commit


def software(*, environments: list[str], overview: Path, record: Path) -> None:
    """Write what the locks pin.

    Parameters
    ----------
    environments : list of str
        Names of the environments.
    overview : Path
        Output: HTML page.
    record : Path
        Output: the same as JSON.
    """
    logger = log.of("software")
    digests = io.read_json(ROOT / "locks" / "digests.json")["environments"]
    conda = conda_packages((ROOT / "pixi.lock").read_text())
    found: dict[str, Any] = {"pureparallel": __version__, "commit": commit(), "environments": {}}
    parts = [f"<p>pureparallel {__version__}, commit <code>{found['commit']}</code></p>"]
    for name in environments:
        pypi = pypi_packages((ROOT / "locks" / f"{name}.txt").read_text())
        found["environments"][name] = {"digest": digests[name], "pypi": pypi, "conda": conda.get(name, {})}
        rows = [[package, version, "PyPI", ""] for package, version in pypi.items()]
        rows += [
            [package, version, "conda-forge", platform]
            for platform, packages in conda.get(name, {}).items()
            for package, version in packages.items()
        ]
        title = f"{name}: lock {digests[name]}, {len(pypi)} packages from PyPI"
        parts.append(page.details(title, page.table(["package", "version", "from", "platform"], rows)))
    io.write_json(record, found)
    io.write_text(overview, page.document("Software", "\n".join(parts)))
    logger.info("%d environments", len(environments))


def pypi_packages(lock: str) -> dict[str, str]:
    """Names and versions in a requirements lock."""
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", lock, re.M))


def conda_packages(lock: str) -> dict[str, dict[str, dict[str, str]]]:
    """Names and versions in a pixi lock, by environment and platform."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(lock, Loader=loader)
    found: dict[str, dict[str, dict[str, str]]] = {}
    for name, environment in content["environments"].items():
        for platform, packages in environment["packages"].items():
            urls = [package["conda"] for package in packages if "conda" in package]
            parts = [url.rsplit("/", 1)[1].rsplit("-", 2) for url in urls]
            found.setdefault(name, {})[platform] = {part[0]: part[1] for part in parts}
    return found
