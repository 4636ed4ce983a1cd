"""Gather what a field's downloads took, and which of them failed and why."""

from dataclasses import asdict
from pathlib import Path

from .. import io, log, page
from ..acquire import summary


def download_summary(*, field: str, records: list[Path], overview: Path, metrics: Path) -> None:
    """Write a row per exposure, also of those that are not there, and why.

    Parameters
    ----------
    field : str
        Name of the field.
    records : list of Path
        What download writes beside each of its raw exposures; of one that is missing, where it belongs.
    overview : Path
        Output: HTML page.
    metrics : Path
        Output: JSON.
    """
    logger = log.of("download_summary")
    rows = summary.rows(path.with_suffix(".fits") for path in records)
    for line in summary.lines(rows):
        logger.info("%s", line)
    size, seconds = sum(row.bytes for row in rows), sum(row.seconds for row in rows)
    states = {state: sum(row.state == state for row in rows) for state in ("fetched", "linked", "missing")}
    io.write_json(
        metrics,
        {
            "exposures": len(rows), **states, "bytes": size, "seconds": seconds,
            "retries": sum(row.retries for row in rows), "rows": [asdict(row) for row in rows],
        },
    )  # fmt: skip
    columns = ["exposure", "state", "MB", "s", "MB/s", "retries", "MB from before", "reason"]
    cells = [
        [
            row.exposure, row.state, f"{row.bytes / 1e6:.1f}", f"{row.seconds:.1f}", _rate(row), f"{row.retries}",
            f"{row.resumed / 1e6:.1f}", row.reason,
        ]
        for row in rows
    ]  # fmt: skip
    told = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    content = f"<p>{told}; {size / 1e9:.2f} GB</p>" + page.table(columns, cells)
    io.write_text(overview, page.document(f"{field}: raw exposures", content))


def _rate(row: summary.Row) -> str:
    """MB per second of what came over the network."""
    return f"{(row.bytes - row.resumed) / 1e6 / row.seconds:.1f}" if row.state == "fetched" and row.seconds else ""
