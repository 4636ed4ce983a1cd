"""Traces and their contamination against what was drawn, and the cost beside the pipeline's own model."""

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
COST_HEAD = (
    "pixels", "sources", "background_wfss + spec2, CPU s", "MB", "spectra", "Spec2 of jwst, CPU s",
    "of which wfss_contam", "MB", "spectra", "ratio, bar <= 0.25", "absolute residual, ours", "jwst",
)  # fmt: skip

PIPELINE = """
import json, resource, sys, time
from pathlib import Path
folder, name, filter = sys.argv[1:4]
sys.argv[1:] = sys.argv[4:]
sys.path.insert(0, folder)
import numpy as np
from grism_scene import direct_image
from pureparallel import calibration, grisms, spec2_files
calibration.configure(Path("crds"), "jwst_0001.pmap")
calibration.ready(["jwst.assign_wcs", "jwst.flatfield", "jwst.extract_2d", "jwst.wfss_contam", "jwst.photom",
                   "jwst.extract_1d", "jwst.srctype"])
from astropy.io import fits
from jwst.wfss_contam.wfss_contam_step import WfssContamStep
from pureparallel.core import astrometry
given = direct_image(filter)
start = time.process_time()
chain = calibration.Chain("spec2pipeline")
where = astrometry.read_solution(Path("wcs.fits"))[name]
model = grisms.open_dispersed(Path("dispersed") / f"{name}_bkgsub.fits", where, chain)
model = chain.run("jwst.flatfield", "FlatFieldStep", model)
shape, noise = model.shape, float(np.nanmedian(model.err))
for key, value in given.items():
    setattr(model.meta, key, value)
model.meta.cal_step.bkg_subtract = "COMPLETE"
slits = chain.run("jwst.extract_2d", "Extract2dStep", model)
slits = chain.run("jwst.srctype", "SourceTypeStep", slits)
step = WfssContamStep(skip=False, polyfit_degree=1, save_simulated_image=True, output_dir=".")
slits = step.process(slits)
contam = time.process_time() - start
slits = chain.run("jwst.photom", "PhotomStep", slits)
chain.run("jwst.extract_1d", "Extract1dStep", slits)
cpu = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
simulated = next(path for path in Path().glob("*simul.fits"))
theirs = fits.getdata(simulated, "SCI")[: shape[0], : shape[1]]
truth, ours = np.load(f"truth_{name}.npy"), np.full(shape, np.nan)
cutouts = spec2_files.read(Path("spectra") / f"{name}_spec2.fits")
for row in cutouts.sources[cutouts.sources["ny"] > 0]:
    pixels = cutouts.of(int(row["id"]))
    total = pixels.contam + pixels.model
    total = total.T if cutouts.header["DISPAXIS"] == 2 else total
    ours[row["low"] : row["low"] + total.shape[0], row["left"] : row["left"] + total.shape[1]] = total
bright = np.isfinite(ours) & (truth > 3 * noise)
residual = {
    key: float(np.sum(abs(one - truth)[bright]) / truth[bright].sum())
    for key, one in (("ours", ours), ("pipeline", theirs))
}
count = {"sources": len(cutouts.sources), "slits": len(slits.slits)}
Path("pipeline.json").write_text(json.dumps({"cpu": cpu, "contam": contam, "peak": peak} | count | residual))
"""


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
    met = statistics.median(absolute) < 0.1 and abs(mean - 1) < 0.05
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


def costs(sizes: Sequence[int] = (512, 2048), filter: str = "F200W") -> list[list[str]]:
    """Rows of `COST_HEAD`: one exposure, start-up not counted; the pipeline on the same products."""
    table = []
    exposure = "jw09999001001_02101_00001_nis"
    for pixels in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(folder, "python", SCRIPT, pixels, 1, "all", filter)
            run(folder, "python", "-c", PIPELINE, SCRIPT.parent, exposure, filter, pixels, 1, "all", filter)
            theirs = json.loads((folder / "pipeline.json").read_text())
            parts = [folder / part / f"{exposure}.metrics.json" for part in ("dispersed", "spectra")]
            mine = [json.loads(path.read_text()) for path in parts]
        ours = sum(one["cpu_seconds"] for one in mine)
        memory = max(one["peak_memory_mb"] for one in mine)
        table.append([
            str(pixels), str(theirs["sources"]), f"{ours:.1f}", str(memory), str(mine[1]["cutouts"]),
            f"{theirs['cpu']:.1f}", f"{theirs['contam']:.1f}", f"{theirs['peak']:.0f}", str(theirs["slits"]),
            f"{ours / theirs['cpu']:.2f}", f"{theirs['ours']:.1%}", f"{theirs['pipeline']:.1%}",
        ])  # fmt: skip
    return table


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    first, second = quality()
    yield "Traces of dispersed exposures (simulated, three seeds; bar: 0.3 px along the dispersion)", WCS_HEAD, first
    yield "Contamination and spectra (simulated, three seeds; bars: 10 %, lines 5 %)", HEAD, second
    yield "Cost of one dispersed exposure", COST_HEAD, costs()
