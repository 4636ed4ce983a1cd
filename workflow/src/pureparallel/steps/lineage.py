"""One page per field with the configuration used and where every product came from."""

import json
from pathlib import Path
from typing import Any

from .. import UserError, __version__, io, log, page
from ..provenance import commit, digest, environment


def lineage(*, field: str, options: str, products: Path, overview: Path, record: Path) -> None:
    """Gather the sidecars of a field's products.

    Parameters
    ----------
    field : str
        Name of the field.
    options : str
        The field's whole configuration, as JSON.
    products : Path
        The field's folder; the sidecars of all products below it are read.
    overview : Path
        Output: HTML page.
    record : Path
        Output: the same as JSON.
    """
    logger = log.of("lineage")
    paths = sorted(path for path in products.rglob("*.prov.json") if not path.parent.name.endswith(".part"))
    try:
        used = json.loads(options)
    except json.JSONDecodeError as error:
        raise UserError(f"--options: not JSON ({error})") from error
    records = [io.read_json(path) for path in paths]
    io.write_json(
        record,
        {
            "field": field,
            "pureparallel": __version__,
            "commit": commit(),
            "environment": environment(),
            "config": used,
            "config_sha256": digest(used),
            "products": records,
        },
    )
    io.write_text(overview, overview_page(field, used, records))
    logger.info("%s: %d products", field, len(records))


def overview_page(field: str, used: dict[str, Any], records: list[dict[str, Any]]) -> str:
    """The page."""
    import yaml

    rows = [
        [
            one["product"]["name"],
            one["step"],
            one["date"],
            one["software"]["commit"][:12] + ("-dirty" if one["software"]["commit"].endswith("-dirty") else ""),
            f"{one['environment']['name']} {one['environment']['lock_digest']}",
            ", ".join(item["name"] for item in one["inputs"]),
            one["product"]["sha256"][:16],
        ]
        for one in records
    ]
    columns = ["product", "step", "date (UTC)", "commit", "environment and lock", "inputs", "SHA-256"]
    text = yaml.safe_dump(used, allow_unicode=True, default_flow_style=None, width=100)
    content = page.details("Configuration used", page.preformatted(text), is_open=True)
    return page.document(f"{field}: lineage", content + "<h2>Products</h2>" + page.table(columns, rows))
