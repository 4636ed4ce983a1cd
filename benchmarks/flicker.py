"""1/f noise, ours beside others': ``python benchmarks/flicker.py [512] [2048] [<seed>...]``.

One run per seed, in which all ways of cleaning start from the same simulated ramps: tests/integration/flicker_scene.py.
The pipeline's clean_flicker_noise has three settings; snowblind's StreamCleanStep, which skips all frames but the full
one, two.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "flicker_scene.py"
WHEELS = ("CLEAR", "GR150R", "GR150C")
OURS, ABSENT, UNTOUCHED = "pureparallel", "no 1/f noise", "none"
RMS, SKY, FLUX = {"CLEAR": 1.15, "GR150R": 1.4, "GR150C": 1.4}, 0.1, 0.5
"""Bars: of the lines' rms over the floor, and of the changes in per cent."""

HEAD = (
    "exposure", "cleaned by", "line rms over floor", "stripes left over floor", "mean sky off, %",
    "of it by cleaning, %", "compact flux changed, %", "CPU s",
)  # fmt: skip
BAR_HEAD = ("exposure", "quantity", "bar", "mean", "worst", "met")
NOTE = {
    512: "snowblind's StreamCleanStep skips a subarray: it is not here",
    2048: "four amplifiers; below 1, a line's own pixel noise went with the stripes, into all other pixels of the line",
}

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
Found = dict[str, dict[str, dict[str, list[float]]]]
"""By wheel, way and quantity: its values, one per seed."""


def run(pixels: int, seed: int) -> dict[str, Any]:
    """One sky, simulated through every wheel, cleaned in every way."""
    with tempfile.TemporaryDirectory() as folder:
        command = [ROOT / "pixiw", "run", "--as-is", "-e", "jwst", "python", SCRIPT, pixels, seed, *WHEELS]
        done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{SCRIPT.name} failed:\n{done.stderr[-3000:]}")
        return json.loads((Path(folder) / "flicker.json").read_text())


def collected(runs: Sequence[dict[str, Any]]) -> Found:
    """All seeds' numbers, side by side."""
    return {
        wheel: {
            way: {key: [one[wheel]["methods"][way][key] for one in runs] for key in numbers}
            for way, numbers in runs[0][wheel]["methods"].items()
        }
        for wheel in WHEELS
    }


def mean(values: Sequence[float | None]) -> float:
    """Of the sizes of what was measured; NaN where nothing was."""
    sizes = [abs(value) for value in values if value is not None]
    return sum(sizes) / len(sizes) if sizes else float("nan")


def worst(values: Sequence[float | None]) -> float:
    return max((abs(value) for value in values if value is not None), default=float("nan"))


def cells(found: Found) -> list[list[str]]:
    """A row per wheel and way: mean and worst of the seeds, signs left out."""
    rows = []
    for wheel, ways in found.items():
        for way, numbers in ways.items():
            digits = {"literal": 2, "left": 2, "sky": 3, "moved": 3, "flux": 2}
            pairs = [
                f"{mean(values):.{n}f}, {worst(values):.{n}f}" if values != [None] * len(values) else "-"
                for values, n in ((numbers[key], n) for key, n in digits.items())
            ]
            rows.append([wheel, way, *pairs, f"{mean(numbers['cpu']):.1f}"])
    return rows


def bars(found: Found) -> list[list[str]]:
    """A row per bar: yes where the worst seed meets it, and where only the mean does, that."""
    rows = []

    def judge(wheel: str, quantity: str, values: Sequence[float | None], bar: float) -> None:
        met = "yes" if worst(values) < bar else "mean only" if mean(values) < bar else "NO"
        rows.append([wheel, quantity, f"< {bar:g}", f"{mean(values):.3f}", f"{worst(values):.3f}", met])

    for wheel, ways in found.items():
        ours = ways[OURS]
        judge(wheel, "line rms over floor", ours["literal"], RMS[wheel])
        judge(wheel, "sky changed by cleaning, %", ours["moved"], SKY)
        if wheel == "CLEAR":
            judge(wheel, "compact flux changed, %", ours["flux"], FLUX)
        for way, theirs in ways.items():
            if way in (OURS, ABSENT, UNTOUCHED):
                continue
            for key, quantity in (("literal", "line rms"), ("left", "stripes left")):
                ratios = [a / b for a, b in zip(ours[key], theirs[key], strict=True)]
                judge(wheel, f"{quantity} over that of {way}", ratios, 1.0)
    return rows


def tables(seeds: Sequence[int] = (1, 2, 3), sizes: Sequence[int] = (512, 2048)) -> Iterator[Table]:
    """Title, head and rows of each table, as they are ready.

    Parameters
    ----------
    seeds : sequence of int
    sizes : sequence of int
        Of the frame, pixels. At 2048, the full frame, a seed takes ten minutes, so that only the first is run.
    """
    for pixels in sizes:
        mine = seeds if pixels < 2048 else seeds[:1]
        found = collected([run(pixels, seed) for seed in mine])
        named = f"{pixels} x {pixels}, NIS 6, seeds {', '.join(map(str, mine))}"
        yield f"1/f noise, {named}: mean and worst of the seeds ({NOTE[pixels]})", HEAD, cells(found)
        yield f"1/f noise, {named}: bars of ours", BAR_HEAD, bars(found)


def main() -> None:
    """Print the tables in Markdown."""
    given = [int(argument) for argument in sys.argv[1:]]
    sizes, seeds = [n for n in given if n in NOTE], [n for n in given if n not in NOTE]
    for title, head, rows in tables(seeds or (1, 2, 3), sizes or (512, 2048)):
        print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    main()
