"""Backgrounds of direct images against their truth and their cost: the rows that ``benchmarks/run.py`` prints."""

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "background_scene.py"

HEAD = (
    "field",
    "seeds",
    "residual rms, bar <= 0.1",
    "largest box",
    "pull, bar 0.97-1.05",
    "flux lost, bar <= 2 %",
    "met",
)
COST_HEAD = (
    "pixels",
    "exposures",
    "image2 + background_image, CPU s each",
    "Image2 of jwst, CPU s each",
    "ratio",
    "met",
)

PIPELINE = """
import sys
from jwst.pipeline import Image2Pipeline
Image2Pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2])
"""


def _run(folder: Path, *command: object) -> float:
    """Run a command in environment jwst; its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    launcher = [str(ROOT / "pixiw"), "run", "--as-is", "-e", "jwst"]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([*launcher, *map(str, command)], cwd=folder, check=True, capture_output=True, env=variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rows(seeds: Sequence[int] = (1, 2, 3), pixels: int = 512) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of both tables, `HEAD` and `COST_HEAD`; see tests/integration/background_scene.py.

    Parameters
    ----------
    seeds : sequence of int
    pixels : int
    """
    found, costs = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _run(folder, "python", SCRIPT, pixels, seed)
            found.append(json.loads((folder / "background.json").read_text()))
            if seed == seeds[-1]:
                costs = cost(folder, pixels)
    table = []
    for number, kind in enumerate(("usual", "with extended galaxies", "crowded"), start=1):
        mine = [one[f"jw09999001001_02101_{number:05d}_nis"] for one in found]
        residual, box = (max(one[key] for one in mine) for key in ("residual_rms", "residual_max"))
        pulls, lost = [one["pull"] for one in mine], [100 * value for one in mine for value in one["lost"]]
        met = residual <= 0.1 and min(pulls) >= 0.97 and max(pulls) <= 1.05 and max(map(abs, lost), default=0) <= 2
        table.append([
            kind, str(len(seeds)), f"{residual:.3f}", f"{box:.3f}", f"{min(pulls):.3f}-{max(pulls):.3f}",
            f"{min(lost):.2f} to {max(lost):.2f} %" if lost else "-", "yes" if met else "NO",
        ])  # fmt: skip
    return table, costs


def cost(folder: Path, pixels: int) -> list[list[str]]:
    """CPU of both steps on the three exposures of a scene, and of the pipeline started for each."""
    names = [f"jw09999001001_02101_{number:05d}_nis" for number in (1, 2, 3)]
    for path in (folder / "rates").iterdir():
        if not path.name.startswith(tuple(names)):
            path.unlink()
    ours = _run(
        folder, "pureparallel", "image2", "--rates", "rates", "--masks", "masks",
        "--references", "crds", "--calibrated", "again",
    )  # fmt: skip
    ours += _run(
        folder, "pureparallel", "background_image", "--calibrated", "again", "--subtracted", "bkg", "--figures", "png"
    )
    crds = {
        "CRDS_PATH": folder / "crds", "CRDS_CONTEXT": "jwst_0001.pmap", "CRDS_OBSERVATORY": "jwst",
        "CRDS_SERVER_URL": "https://jwst-serverless.stsci.edu", "CRDS_MODE": "local", "CRDS_READONLY_CACHE": "1",
    }  # fmt: skip
    settings = [f"{key}={value}" for key, value in crds.items()]
    theirs = sum(
        _run(folder, "env", *settings, "python", "-c", PIPELINE, folder / "rates" / f"{name}_rate.fits", folder)
        for name in names
    )
    each = ours / len(names), theirs / len(names)
    ratio = ours / theirs
    return [[
        str(pixels), str(len(names)), f"{each[0]:.2f}", f"{each[1]:.2f}", f"{ratio:.2f}",
        "yes" if ratio <= 0.6 else "NO",
    ]]  # fmt: skip


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    found, costs = rows()
    yield "Backgrounds of direct images (three seeds)", HEAD, found
    yield "Their cost", COST_HEAD, costs
