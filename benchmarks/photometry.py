"""Fluxes of simulated stars and galaxies against their truth."""

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "photometry_scene.py"
FILTERS = ("F115W", "F150W", "F200W")

HEAD = (
    "seed", "image of a star", "filter", "S/N > 20", "flux / truth - 1, median", "scatter over error", "stars",
    "galaxies", "colour to F200W, median", "scatter over error", "star's light in 0.15 to 1 arcsec, largest error",
    "CPU s, all filters", "met",
)  # fmt: skip


def run(folder: Path, *command: object) -> float:
    """Run a command in environment jwst; CPU s of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(word) for word in (ROOT / "pixiw", "run", "--as-is", "-e", "jwst", *command)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepare(folder: Path, seed: int, pixels: int, exposures: int) -> list[str]:
    """Simulate a scene, make its mosaics and find its sources; the mosaics' names."""
    run(folder, "python", SCRIPT, pixels, seed, exposures)
    mosaics = [f"scene_{filter}_mosaic.fits" for filter in FILTERS]
    for filter, path in zip(FILTERS, mosaics, strict=True):
        run(
            folder, "pureparallel", "mosaic", "--field", "scene", "--filter", filter, "--images", "images",
            "--solution", "solution.fits", "--image", path, "--rejected", "rejected", "--figure", "mosaic.png",
            "--metrics", "mosaic.json",
        )  # fmt: skip
    run(
        folder, "pureparallel", "detect", "--field", "scene", "--mosaics", *mosaics, "--image", "detection.fits",
        "--segmentation", "scene_segm.fits", "--catalogue", "scene_cat.ecsv", "--register", "scene_sources.ecsv",
        "--figure", "detect.png", "--metrics", "detect.json",
    )  # fmt: skip
    return mosaics


def rows(seeds: Sequence[int] = (1, 2, 3), pixels: int = 512, exposures: int = 3) -> list[list[str]]:
    """Rows of `HEAD`, with the field's stars and without."""
    table = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            mosaics = prepare(folder, seed, pixels, exposures)
            for psf in ("auto", "model"):
                seconds = run(
                    folder, "pureparallel", "photometry", "--field", "scene", "--mosaics", *mosaics, "--segmentation",
                    "scene_segm.fits", "--catalogue", "scene_cat.ecsv", "--images", "images", "--solution",
                    "solution.fits", "--table", f"{psf}_photometry.fits", "--figure", "photometry.png", "--metrics",
                    "photometry.json", "--psf", psf,
                )  # fmt: skip
                run(folder, "python", SCRIPT, "measure", psf)
                found = json.loads((folder / f"{psf}_measured.json").read_text())
                table += [row(seed, psf, filter, found, seconds) for filter in FILTERS]
    return table


def row(seed: int, psf: str, filter: str, found: dict, seconds: float) -> list[str]:
    """A row of `HEAD`."""
    one, within = found["filters"][filter], max(map(abs, found["within"][filter]))
    bias, _, _, pull, count = one["all"]
    colour = one.get("colour")
    met = abs(bias) <= 0.01 and 0.9 <= pull <= 1.15 and within <= 0.01
    return [
        str(seed), psf, filter, str(count), f"{bias:+.2%}", f"{pull:.2f}", f"{one['stars'][0]:+.2%}",
        f"{one['galaxies'][0]:+.2%}", f"{colour[0]:+.2%}" if colour else "", f"{colour[3]:.2f}" if colour else "",
        f"{within:.2%}", f"{seconds:.0f}", "yes" if met else "NO",
    ]  # fmt: skip


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    yield "Photometry (three seeds)", HEAD, rows()
