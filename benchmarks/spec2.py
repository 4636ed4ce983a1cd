"""Traces and their contamination against what was drawn; for ``benchmarks/run.py`` to print."""

import json
import os
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "grism_scene.py"

WCS_HEAD = (
    "seed", "grism", "filter", "rung", "traces", "along, px", "stated", "across, px", "stated", "met",
)  # fmt: skip
HEAD = (
    "seed", "overlaps", "net residual / model, median", "90 %", "absolute, median", "90 %", "continuum / truth",
    "lines", "whole line / truth", "measured / truth", "pull", "met",
)  # fmt: skip


def run(folder: Path, *command: object) -> float:
    """Run a command in environment jwst; CPU s of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(word) for word in (ROOT / "pixiw", "run", "--as-is", "-e", "jwst", *command)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wcs_rows(seed: int, found: dict) -> list[list[str]]:
    """Rows of `WCS_HEAD`."""
    return [
        [
            str(seed), row["grism"], row["filter"], row["rung"], str(row["traces"]), f"{row['along']:+.3f}",
            f"{row['error_along']:.3f}", f"{row['across']:+.3f}", f"{row['error_across']:.3f}",
            "yes" if abs(row["along"]) < 0.3 else "NO",
        ]
        for row in found["wcs"].values()
    ]  # fmt: skip


def quality_row(seed: int, found: dict) -> list[str]:
    """A row of `HEAD`."""
    net, absolute = (sorted(abs(row[key]) for row in found["overlap"]) for key in ("net", "absolute"))
    spectra = [ratio for ratio, flux in found["spectra"] if flux > 0.3]
    whole, seen, error = zip(*found["lines"], strict=True)
    weight = [1 / (one**2 + 0.03**2) for one in error]
    mean = sum(w * s for w, s in zip(weight, seen, strict=True)) / sum(weight)
    pulls = [(s - 1) / e for s, e in zip(seen, error, strict=True)]
    spread = 1.483 * statistics.median(abs(pull) for pull in pulls)
    met = statistics.median(absolute) < 0.1 and net[int(0.9 * len(net))] < 0.15 and abs(mean - 1) < 0.05
    return [
        str(seed), str(len(net)), f"{statistics.median(net):.1%}", f"{net[int(0.9 * len(net))]:.1%}",
        f"{statistics.median(absolute):.1%}", f"{absolute[int(0.9 * len(absolute))]:.1%}",
        f"{statistics.median(spectra):.3f}", str(len(whole)), f"{statistics.median(whole):.3f}", f"{mean:.3f}",
        f"{spread:.2f}", "yes" if met else "NO",
    ]  # fmt: skip


def quality(
    seeds: Sequence[int] = (1, 2, 3), pixels: int = 512, filters: Sequence[str] = ("F115W", "F150W", "F200W")
) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of `WCS_HEAD` and of `HEAD`."""
    first, second = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            run(Path(name), "python", SCRIPT, pixels, seed, "all", *filters)
            found = json.loads((Path(name) / "grism.json").read_text())
        first += wcs_rows(seed, found)
        second.append(quality_row(seed, found))
    return first, second


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    first, second = quality()
    yield "Traces of dispersed exposures (simulated, three seeds; bar: 0.3 px along the dispersion)", WCS_HEAD, first
    yield "Contamination and spectra (simulated, three seeds; bars: 10 %, net 90 % 15 %, lines 5 %)", HEAD, second
