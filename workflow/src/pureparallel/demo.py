"""The demonstration: the whole workflow on the two fields that come with it, its report, and what came of it in short.

Its products are under ``results/``; a second call finds all done and says so.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

FIELDS = ("sim-niriss", "ceers-msa")
RESULTS = Path("results")
REPORT = RESULTS / "report.html"
BENCHMARKS = Path("logs") / "benchmarks"

MOST = 6
"""Rules that are named as those that time went into."""


def snakemake(*arguments: str) -> None:
    """Run Snakemake on the demonstration's fields; ends this process where it fails."""
    fields = ",".join(FIELDS)
    command = [sys.executable, "-m", "pureparallel.launch", "--config", f"fields=[{fields}]", *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


def newest(folder: Path) -> float:
    """Time of the newest product, without the report itself."""
    times = (path.stat().st_mtime for path in folder.rglob("*") if path.is_file() and path != REPORT)
    return max(times, default=0.0)


def metrics(field: str, step: str) -> dict[str, Any]:
    """What a step told of a field; nothing where it is none of its steps."""
    path = RESULTS / field / f"{field}_{step}.metrics.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def row(field: str) -> list[str]:
    """A field in short: exposures in use, sources, redshifts, and whether they are right."""
    exposures, sources = metrics(field, "exposures"), metrics(field, "detect")
    redshifts, judged = metrics(field, "redshifts"), metrics(field, "validate_redshifts")
    used = f"{exposures['used']} of {exposures['exposures']}" if exposures else "-"
    flags = redshifts["flags"]
    return [
        field, used, str(sources.get("reliable", redshifts["sources"])), f"{flags['3']} secure, {flags['2']} likely",
        agreement(judged) if judged else "-",
    ]  # fmt: skip


def agreement(judged: dict[str, Any]) -> str:
    """Secure redshifts against the truth, in words."""
    secure = judged["redshifts"]["flag_3"]
    if not secure["sources"]:
        return "no secure redshift"
    return f"{secure['right']:.0%} right, scatter of dz/(1+z) {secure['nmad']:.1e}"


def times() -> Iterator[tuple[float, str, int]]:
    """CPU seconds, name and number of jobs of every rule that measures itself."""
    for folder in BENCHMARKS.iterdir():
        rows = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines() if line]
        yield sum(float(one["cpu_time"] or 0) for one in rows), folder.name, len(rows)


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a table of text."""
    kept = [list(one) for one in rows]
    widths = [max(map(len, column)) for column in zip(*kept, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(one, widths, strict=True)).rstrip() for one in kept
    )


def summary() -> str:
    """What came of the fields, and where the time went."""
    head = ["field", "exposures", "sources", "redshifts", "secure ones against the truth"]
    spent = sorted(times(), reverse=True)
    most = ", ".join(f"{name} {seconds:.0f} s" for seconds, name, _ in spent[:MOST])
    total = sum(seconds for seconds, *_ in spent)
    return f"{aligned([head, *(row(field) for field in FIELDS)])}\nCPU: {total:.0f} s, of which {most}"


def main() -> None:
    """Reduce the fields, then make the report where it is older than a product."""
    start = time.time()
    snakemake("--quiet", "rules", "host")
    if REPORT.is_file() and REPORT.stat().st_mtime >= newest(REPORT.parent):
        print(f"demo: nothing to do, everything is up to date. Look at {REPORT}")
        return
    part = REPORT.with_name(f".part-{REPORT.name}")  # Snakemake writes in place: a kill would leave half a report
    snakemake("--report", str(part), "--quiet", "all")
    part.replace(REPORT)
    print(summary())
    print(f"demo: done in {time.time() - start:.0f} s. Look at {REPORT}; products are below {RESULTS}/")


if __name__ == "__main__":
    main()
