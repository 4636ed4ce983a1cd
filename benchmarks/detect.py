"""Sources found in simulated mosaics against their truth, by how filters are combined, and what large mosaics cost."""

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "detect_scene.py"

HEAD = (
    "seed", "combined", "sources", "pure at 5 sigma", "without flags used", "complete at 10 sigma", "of isolated ones",
    "7 to 10 sigma, isolated", "pairs of 0.5 arcsec parted", "stars as points", "galaxies as extended",
    "position, mas (S/N > 10)", "CPU s", "met",
)  # fmt: skip
COST_HEAD = ("pixels", "sources", "CPU s", "peak MB", "met")

TILE = """
import sys
import numpy as np
from pathlib import Path
from astropy.io import fits
for path in sorted(Path().glob("scene_F*_mosaic.fits")):
    with fits.open(path) as hdus:
        for hdu in hdus[1:]:
            hdu.data = np.tile(hdu.data, (5, 5))[: int(sys.argv[1]), : int(sys.argv[1])]
        hdus.writeto(path.name.replace("scene", "large"), checksum=True)
"""


def run(folder: Path, *command: object) -> tuple[float, float]:
    """Run a command in environment jwst; CPU s, and peak MB of the largest child so far."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(word) for word in (ROOT / "pixiw", "run", "--as-is", "-e", "jwst", *command)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, after.ru_maxrss / 1024


def detect(folder: Path, field: str, *more: object) -> tuple[float, float]:
    """Find the sources of a scene."""
    mosaics = sorted(path.name for path in folder.glob(f"{field}_F*_mosaic.fits"))
    return run(
        folder, "pureparallel", "detect", "--field", field, "--mosaics", *mosaics, "--image", f"{field}_detection.fits",
        "--segmentation", f"{field}_segm.fits", "--catalogue", f"{field}_cat.ecsv", "--register",
        f"{field}_sources.ecsv", "--figure", f"{field}.jpg", "--metrics", f"{field}.json", *more,
    )  # fmt: skip


def rows(seeds: Sequence[int] = (1, 2, 3), pixels: int = 512) -> list[list[str]]:
    """Rows of `HEAD`."""

    def of(part: Sequence[int]) -> str:
        return f"{part[0]}/{part[1]}"

    table = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(folder, "python", SCRIPT, "scene", pixels, seed)
            for combine in ("weighted", "chi2"):
                cpu, _ = detect(folder, "scene", "--combine", combine)
                run(folder, "python", SCRIPT, "measure", "scene")
                found = json.loads((folder / "scene_measured.json").read_text())
                pure, complete = found["purity"]["5"], found["complete"]["10-"]
                met = pure[0] >= 0.95 * pure[1] and complete[0] >= 0.95 * complete[1]
                table.append([
                    str(seed), combine, str(found["sources"]), of(pure), of(found["purity_all"]), of(complete),
                    of(found["complete_isolated"]["10-"]), of(found["complete_isolated"]["7-10"]), of(found["pairs"]),
                    of(found["stars_as_points"]), of(found["galaxies_as_extended"]),
                    f"{found['offset_mas']['10-']:.1f}", f"{cpu:.1f}", "yes" if met else "NO",
                ])  # fmt: skip
    return table


def costs(sizes: Sequence[int] = (3000, 6000)) -> list[list[str]]:
    """Rows of `COST_HEAD`: copies of a scene side by side, start-up included; a whole field has about 6000 pixels."""
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "python", SCRIPT, "scene", 512, 1)
        for size in sizes:
            for old in folder.glob("large*"):
                old.unlink()
            run(folder, "python", "-c", TILE, size)
            cpu, peak = detect(folder, "large")
            sources = json.loads((folder / "large.json").read_text())["sources"]
            met = "yes" if peak < 8000 and cpu < 600 else "NO"
            table.append([str(size), str(sources), f"{cpu:.0f}", f"{peak:.0f}", met])
    return table


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    yield "Detection (three seeds)", HEAD, rows()
    yield "Its cost", COST_HEAD, costs()
