"""Astrometry against its truth: the rows that ``benchmarks/run.py`` prints."""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "align_scene.py"
BARS = {"absolute_rms": 30.0, "relative_rms": 10.0, "wrong_guide_star": 20.0}
"""mas: rms per axis over the corners of direct images, and the distance of the visit on a wrong guide star."""

HEAD = ("seed", "ladder", "rungs", "stars", "common", "absolute, mas", "relative, mas", "wrong guide star, mas", "met")
SKIES = {"many stars": (26.0, 12.0), "few stars": (26.0, 4.0), "to 21 mag": (21.0, 1.0), "to 20 mag": (20.0, 0.5)}
"""Depth, and factor on the counts of stars. Few stars are often fewer than a catalogue needs on 512 pixels; to 20 mag
there is next to nothing."""


def run(seed: int, *sky: float, pixels: int = 512) -> dict:
    """One scene with all ladders: see tests/integration/align_scene.py."""
    with tempfile.TemporaryDirectory() as folder:
        command = [ROOT / "pixiw", "run", "--as-is", "-e", "jwst", "python", SCRIPT, pixels, seed, *sky]
        subprocess.run([str(part) for part in command], cwd=folder, check=True, capture_output=True)
        return json.loads((Path(folder) / "align.json").read_text())


def rows(seeds: Sequence[int] = (1, 2, 3), skies: Sequence[str] = tuple(SKIES)) -> list[list[str]]:
    """Rows of the table, `HEAD`; what a solution refuses is said to be refused, and meets no bar.

    Parameters
    ----------
    seeds : sequence of int
    skies : sequence of str
        Of `SKIES`.
    """
    return [
        _row(f"{seed}, {sky}", ladder, scene)
        for sky in skies
        for seed in seeds
        for ladder, scene in run(seed, *SKIES[sky]).items()
    ]


def _row(label: str, ladder: str, scene: dict) -> list[str]:
    groups = scene["groups"].values()
    tied = all(row["frame"] != "pointing" for row in groups)
    joined = tied or all(row["rung"] == "field" for row in groups)
    solved = {"absolute_rms": tied, "relative_rms": joined, "wrong_guide_star": joined}
    verdicts = [
        f"{key.split('_')[0]}: {('yes' if scene[key] <= bar else 'NO') if solved[key] else 'refused'}"
        for key, bar in BARS.items()
        if key != "absolute_rms" or ladder != "field"  # which has no catalogue
    ]
    return [
        label, ladder, " ".join(row["rung"] for row in groups),
        *(" ".join(str(row[key]) for row in groups) for key in ("stars", "common")),
        *(f"{scene[key]:.1f}" for key in BARS), ", ".join(verdicts),
    ]  # fmt: skip


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Title, head and rows."""
    yield "Alignment (three seeds; bars 30, 10, 20 mas)", HEAD, rows()
