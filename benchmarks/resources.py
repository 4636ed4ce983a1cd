"""Memory that rules ask for, against what their jobs took: ``pixi run bench resources``.

``python benchmarks/resources.py FOLDER ...`` writes resources.csv anew from working folders in which the workflow has
run with ``--benchmark-extended``, as the default profile has it.
"""

import collections
import csv
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from pureparallel import sizes

ROOT = Path(__file__).parents[1]
MEASURED = Path(__file__).with_suffix(".csv")
COLUMNS = ("rule", "job", "pixels", "largest_mb", "total_mb", "threads", "peak_mb", "cpu_s")
STARTERS = 200.0
"""MB of the two Snakemakes that start a job on a cluster and stay until it ends."""

Row = Mapping[str, str]


def collect(folder: Path) -> Iterator[dict[str, Any]]:
    """Measured jobs of a working folder; sizes are those of data, neither code nor reference files."""
    for path in sorted(folder.glob("logs/benchmarks/*/*.jsonl")):
        job = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
        inputs = [Path(name) for name in job["input_size_mb"] if not name.endswith(".py") and "references" not in name]
        files = [file for one in inputs for file in ([folder / one, *(folder / one).rglob("*")])]
        sizes = [file.stat().st_size / 2**20 for file in files if file.is_file()]
        yield {
            "rule": job["rule_name"], "job": path.stem, "pixels": pixels(folder, job["wildcards"]["field"]),
            "largest_mb": f"{max(sizes, default=0):.2f}", "total_mb": f"{sum(sizes):.2f}", "threads": job["threads"],
            "peak_mb": f"{max([job['max_rss'], *told(folder, job)]):.0f}", "cpu_s": f"{job['cpu_time']:.1f}",
        }  # fmt: skip


def told(folder: Path, job: Mapping[str, Any]) -> Iterator[float]:
    """Peaks in MB that the step itself recorded: Snakemake only looks every 30 s."""
    field, *rest = job["wildcards"]["field"], *(v for k, v in sorted(job["wildcards"].items()) if k != "field")
    products, rule = folder / "results" / field, job["rule_name"]
    files = [*products.glob(f"{'_'.join([field, *rest, rule])}.metrics.json")]
    for path in [*files, *(products / rule / "_".join(rest)).glob("*.metrics.json")]:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        yield from (float(value) for key, value in metrics.items() if key in ("peak_mb", "peak_memory_mb"))


def pixels(folder: Path, field: str) -> int:
    """Columns of the detector that a field's exposures have."""
    from astropy.io import fits

    raw = next((folder / "results" / field / "uncal").glob("*.fits"), None)
    return int(fits.getheader(raw)["SUBSIZE1"]) if raw else 0


def measured() -> list[Row]:
    """The table of measured jobs."""
    with MEASURED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def asked() -> dict[str, str]:
    """What every rule asks for, as it stands there."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    found = re.findall(r"^rule (\w+):\n(?:(?!rule ).*\n)*?        mem_mb=(.+\)),", text, re.M)
    return dict(found)


def request(expression: str, row: Row, attempt: int = 1) -> int:
    """MB that a rule asks for the job of a row."""
    largest, total = float(row["largest_mb"]), float(row["total_mb"])
    rest = math.ceil((total - largest) / largest) if largest else 0
    found = [largest, *([(total - largest) / rest] * rest if rest else [])]
    frame = [1, 1, int(row["pixels"]), int(row["pixels"])]
    known = {"growing": sizes.growing, "by_frame": sizes.by_frame, "option": lambda _: lambda _: frame}
    value = eval(expression, known)
    if "by_frame" in expression:
        return int(value({}, attempt))
    with mock.patch.object(sizes, "megabytes", lambda _: found):
        return int(value({}, collections.defaultdict(list), attempt))


def peaks() -> dict[tuple[str, str, int], float]:
    """Highest peak of the jobs that ask for the same memory, by rule, columns of the detector, and MB asked for."""
    rules = asked()
    found: dict[tuple[str, str, int], float] = {}
    for row in measured():
        key = row["rule"], row["pixels"], request(rules[row["rule"]], row)
        found[key] = max(float(row["peak_mb"]), found.get(key, 0.0))
    return found


def tables() -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Title, head and rows."""
    rows = []
    for (rule, width, mem), peak in peaks().items():
        share = mem / (peak + STARTERS)
        rows.append([rule, width if width != "0" else "-", f"{peak:.0f}", f"{mem}", f"{share:.2f}"])
    head = ["rule", "detector", "peak MB", "asked MB", f"asked over peak + {STARTERS:.0f} MB"]
    yield "Memory that rules ask for, and the peak of their jobs (1.2 to 2 is aimed at)", head, rows


def main(folders: Sequence[str]) -> None:
    """Write the table from working folders."""
    rows = [row for folder in folders for row in collect(Path(folder)) if row["rule"] in asked()]
    with MEASURED.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["rule"], row["pixels"], row["job"])))


if __name__ == "__main__":
    main(sys.argv[1:])
