"""Write the table of options in config/README.md from the schemas.

``python -m pureparallel.docs`` writes it; with ``--check`` it only says whether it is as the schemas say.
"""

import html
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from . import ROOT, schemas

PAGE = ROOT / "config" / "README.md"
START, END = "<!-- options: written by `pixi run docs` -->", "<!-- end of options -->"


def bounds(rule: Mapping[str, Any]) -> str:
    """What values a schema allows, in a few words."""
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "object" in rule["type"]:
        return "true, false, or its numbers"
    if rule["type"] == "array":
        inner = bounds(rule["items"])
        low, high = rule.get("minItems"), rule.get("maxItems")
        count = f"{low} of " if low is not None and low == high else "list of "
        return f"{count}{inner}"
    low = rule.get("minimum", rule.get("exclusiveMinimum"))
    high = rule.get("maximum", rule.get("exclusiveMaximum"))
    if low is None and high is None:
        return {"boolean": "true or false", "string": "text"}.get(rule["type"], rule["type"])
    sign = ">" if "exclusiveMinimum" in rule else "≥"
    ends = [f"{sign} {low}" if low is not None else "", f"≤ {high}" if high is not None else ""]
    return f"{rule['type']} " + ", ".join(filter(None, ends))


def rows(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Rows of the table for an object's schema."""
    for key, rule in schema["properties"].items():
        if rule.get("type") == "object":
            yield f"| **`{prefix}{key}`** | | | {rule['description']} |"
            yield from rows(rule, f"{prefix}{key}.")
        else:
            default = f"`{json.dumps(rule['default'])}`" if "default" in rule else ""
            yield f"| `{prefix}{key}` | {default} | {bounds(rule)} | {_text(rule)} |"
            if "properties" in rule:
                yield from rows(rule, f"{prefix}{key}.")


def tables() -> str:
    """All tables."""
    survey, field = schemas.schema("config"), schemas.schema("field")
    shared = {"properties": {key: rule for key, rule in field["properties"].items() if key in survey["properties"]}}
    parts = []
    for title, schema in (
        ("Survey only: config.yaml", {"properties": _without(survey, shared)}),
        ("Field only: fields/&lt;field&gt;.yaml", {"properties": _without(field, shared)}),
        ("Survey or field", shared),
    ):
        head = ["| option | default | values | meaning |", "|---|---|---|---|"]
        parts.append("\n".join([f"### {title}", "", *head, *rows(schema)]))
    manifest = schemas.schema("manifest")
    columns = [
        f"| `{key}` | {'yes' if key in manifest['required'] else ''} | {_text(rule)} |"
        for key, rule in manifest["properties"].items()
    ]
    title = "### Columns of the manifest: fields/&lt;field&gt;.tsv"
    parts.append("\n".join([title, "", "| column | required | meaning |", "|---|---|---|", *columns]))
    return "\n\n".join(parts)


def _without(schema: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {key: rule for key, rule in schema["properties"].items() if key not in other["properties"]}


def _text(rule: Mapping[str, Any]) -> str:
    return html.escape(rule["description"], quote=False)


def page() -> str:
    """config/README.md as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it with ``--check``: 1 if it differs."""
    wanted = page()
    if arguments == ["--check"]:
        same = PAGE.read_text(encoding="utf-8") == wanted
        print("config/README.md is as the schemas say" if same else "config/README.md is old; run: pixi run docs")
        return 0 if same else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
