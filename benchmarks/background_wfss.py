"""The sky of dispersed exposures against its truth, beside the pipeline's own; for ``benchmarks/run.py`` to print."""

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "wfss_scene.py"

KINDS = {
    "all": "all components",
    "no smooth": "reference and constant",
    "reference": "reference",
    "pipeline": "BackgroundStep of jwst",
}
HEAD = (
    "components", "seed", "exposures", "rms in boxes of 64 px, largest, bar <= 1 %", "slope, largest, bar <= 1 %",
    "flux of spectra eaten, largest, bar <= 1 %", "pull", "CPU s each", "met",
)  # fmt: skip


def rows(seeds: Sequence[int] = (1, 2, 3), pixels: int = 512) -> list[list[str]]:
    """Rows of `HEAD`; see tests/integration/wfss_scene.py.

    Parameters
    ----------
    seeds : sequence of int
    pixels : int
    """
    table = []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            command = ("python", SCRIPT, pixels, seed, "sky", "F115W", "F150W", "F200W")
            words = [str(word) for word in (ROOT / "pixiw", "run", "--as-is", "-e", "jwst", *command)]
            subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environment)
            found = json.loads((Path(folder) / "sky.json").read_text())
        table += [row(seed, kind, list(found[kind].values())) for kind in KINDS]
    return sorted(table, key=lambda one: list(KINDS.values()).index(one[0]))


def row(seed: int, kind: str, found: Sequence[dict]) -> list[str]:
    """A row of `HEAD`."""
    rms, slope = (max(abs(one[key]) for one in found) for key in ("rms", "slope"))
    cells = [KINDS[kind], str(seed), str(len(found)), f"{rms:.2%}", f"{slope:.2%}"]
    cpu = f"{statistics.median(one['cpu'] for one in found):.1f}"
    if kind == "pipeline":
        return [*cells, "-", "-", cpu, "yes" if max(rms, slope) <= 0.01 else "NO"]
    eaten, pull = max(abs(one["eaten"]) for one in found), statistics.median(one["pull"] for one in found)
    return [*cells, f"{eaten:.2%}", f"{pull:.3f}", cpu, "yes" if max(rms, slope, eaten) <= 0.01 else "NO"]


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    yield "Sky of dispersed exposures (simulated, three seeds, over the true sky)", HEAD, rows()
