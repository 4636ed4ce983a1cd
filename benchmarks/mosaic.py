"""Mosaics of simulated stars against their truth, and their cost beside Image3 of the pipeline."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "mosaic_scene.py"

HEAD = (
    "seed", "exposures", "stars", "flux / truth - 1, largest", "astrometry, largest mas", "hits", "caught", "false",
    "star light lost, largest", "pull of empty apertures", "noise correlation", "met",
)  # fmt: skip
COST_HEAD = ("pixels", "exposures", "ours, CPU s", "Image3, CPU s", "ratio", "ours, MB", "Image3, MB", "met")

IMAGE3 = """
import json, resource, sys
from pathlib import Path
from pureparallel import calibration
calibration.configure(Path("crds"), "jwst_0001.pmap")
from jwst.pipeline import Image3Pipeline
calibration.quiet()
members = [{"expname": str(path), "exptype": "science"} for path in sorted(Path("images").absolute().glob("*.fits"))]
product = {"name": "pipeline", "members": members}
Path("asn.json").write_text(json.dumps({
    "asn_type": "image3", "asn_rule": "none", "asn_pool": "none", "program": "09999", "asn_id": "a",
    "products": [product],
}))
skipped = {name: {"skip": True} for name in ("tweakreg", "skymatch", "source_catalog")}
resample = {"pixel_scale": 0.04, "pixfrac": 1.0, "rotation": 0.0}
Image3Pipeline.call("asn.json", output_dir=".", save_results=True, steps={**skipped, "resample": resample})
Path("image3.json").write_text(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def run(folder: Path, *command: object) -> float:
    """Run a command in environment jwst; CPU s of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(word) for word in (ROOT / "pixiw", "run", "--as-is", "-e", "jwst", *command)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def mosaic(folder: Path, name: str, images: str, *more: object) -> float:
    """Make a mosaic of a scene's images; CPU s."""
    return run(
        folder, "pureparallel", "mosaic", "--field", "scene", "--filter", "F115W", "--images", images, "--solution",
        "solution.fits", "--image", f"{name}_mosaic.fits", "--rejected", f"{name}_rejected", "--figure", f"{name}.png",
        "--metrics", f"{name}_metrics.json", *more,
    )  # fmt: skip


def rows(seeds: Sequence[int] = (1, 2, 3), exposures: Sequence[int] = (2, 4), pixels: int = 512) -> list[list[str]]:
    """Rows of `HEAD`: fluxes, outliers and noise against the truth."""
    table = []
    for seed in seeds:
        for number in exposures:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                run(folder, "python", SCRIPT, pixels, seed, number)
                for what, images, more in (
                    ("images", "images", ()), ("clean", "clean", ()), ("unjudged", "clean", ["--no-reject"]),
                    ("light", "light", ["--no-reject"]),
                ):  # fmt: skip
                    mosaic(folder, what, images, *more)
                run(folder, "python", SCRIPT, "measure")
                found = json.loads((folder / "measured.json").read_text())
            flux, eaten = (max(map(abs, found[key])) for key in ("conserved", "eaten"))
            pulls = found["pull"]
            met = flux < 0.003 and eaten < 0.005 and found["caught"] >= 0.95 and 0.9 < pulls["clean"] < 1.1
            table.append([
                str(seed), str(number), str(found["stars"]), f"{flux:.2%}", f"{max(found['offset_mas']):.1f}",
                str(found["hits"]), f"{found['caught']:.1%}", f"{found['false']:.3%}", f"{eaten:.2%}",
                f"{pulls['clean']:.3f}, {pulls['images']:.3f} with hits", f"{found['correlation']:.2f}",
                "yes" if met else "NO",
            ])  # fmt: skip
    return table


def costs(sizes: Sequence[tuple[int, Sequence[int]]] = ((512, (3, 12)), (2048, (3, 9)))) -> list[list[str]]:
    """Rows of `COST_HEAD`, start-up of both included; the pipeline without its alignment, sky and catalogue."""
    table = []
    for pixels, numbers in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(folder, "python", SCRIPT, pixels, 1, max(numbers))
            everything = sorted((folder / "images").glob("*.fits"))
            for number in numbers:
                chosen = folder / f"of_{number}"
                chosen.mkdir()
                for path in everything[:number]:
                    shutil.copyfile(path, chosen / path.name)
                ours = mosaic(folder, "ours", chosen.name)
                theirs = run(folder, "python", "-c", IMAGE3.replace('"images"', f'"{chosen.name}"'))
                mine = json.loads((folder / "ours_metrics.json").read_text())["peak_mb"]
                other = json.loads((folder / "image3.json").read_text())["peak_mb"]
                limit = 0.6 if pixels <= 512 else 0.8
                table.append([
                    str(pixels), str(number), f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}", f"{mine:.0f}",
                    f"{other:.0f}", "yes" if ours / theirs <= limit else "NO",
                ])  # fmt: skip
    return table


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    yield "Mosaics (three seeds)", HEAD, rows()
    yield "Their cost", COST_HEAD, costs()
