"""From dispersed rate images to spectra, beside the pipeline's Spec2 and Spec3: for ``benchmarks/run.py`` to print.

Exposures and sources are the same, and the pipeline cuts out what is as bright as what we do; its model of the
contamination, which it skips by default, is on. Every step runs in a process of its own, on one thread, and what is
measured is its work: neither the launcher nor imports. Both sides read and write files; only ours draws figures. The
pipeline's model works on our mosaic, whose pixels are smaller than its own: the ratio is told without that model, too.
An hour goes by, nearly all of it in the pipeline.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "grism_scene.py"

DENSITY = {512: 4.0, 2048: 0.19}
"""Of sources, over the usual one, by size of the exposures: for 150 sources or more."""

STEPS = ("background_wfss", "spec2", "stack")

HEAD = (
    "pixels", "exposures", "sources", "spectra cut out, ours", "jwst",
    "background_wfss + spec2 + stack = ours, CPU s", "Spec2 + Spec3 = jwst, CPU s", "of which wfss_contam",
    "ratio, bar <= 0.25", "without wfss_contam", "peak memory MB, ours, bar <= 2500", "jwst",
    "contamination and source less truth, ours", "jwst", "met",
)  # fmt: skip

BEGIN = """
import json, resource, sys, time
from pathlib import Path
folder, *rest = sys.argv[1:]
sys.argv[1:] = rest[:4]
sys.path.insert(0, folder)
import grism_scene as scene
import numpy as np
from pureparallel import calibration
scene.PLAN = {name: one for name, one in scene.PLAN.items() if name[7:13] == "001001"}  # of each grism one

def told(name, start, **more):
    cpu, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(name + ".told").write_text(json.dumps({"cpu": cpu, "peak": peak, **more}))
"""
"""Of every script: its arguments are the folder of `SCRIPT`, the four of it, and its own."""

SCENE = """
from pureparallel.simulate import observe
from pureparallel.steps.grism_wcs import grism_wcs
scene.DENSITY = float(rest[4])
table, catalogue, true, frame = scene.simulate()
grism_wcs(
    field="scene", rates=[Path("rates")], exposures=Path("exposures.fits"), solution=Path("solution.fits"),
    table=Path("wcs.fits"), figure=Path("wcs.png"), metrics=Path("wcs.json"), **scene.inputs(),
)
name, one = next(iter(true.items()))
known = set(catalogue["label"]) | set(table["id"][table["mag_ref"] < 20])
light = observe.light(one.plan, [one.found[i] for i in range(len(table)) if table["id"][i] in known], frame)
np.save("truth.npy", light.astype(np.float32))
direct = scene.direct_image(scene.FILTERS[0])
grisms = {name: one.plan["grism"] for name, one in true.items()}
Path("scene.json").write_text(json.dumps({"grisms": grisms, "sources": len(catalogue), "direct": direct}))
"""

OURS = """
from matplotlib.backends import backend_agg
from pureparallel import grisms
from pureparallel.steps.background_wfss import background_wfss
from pureparallel.steps.spec2 import spec2
from pureparallel.steps.stack import stack
calibration.configure(Path("crds"), "jwst_0001.pmap")
if rest[4] != "stack":
    calibration.ready([module for module, _ in grisms.STEPS])
given, start = scene.inputs(), time.process_time()
if rest[4] == "background_wfss":
    background_wfss(
        rates=Path("rates"), masks=Path("masks"), exposures=Path("exposures.fits"), wcs=Path("wcs.fits"),
        subtracted=Path("dispersed"), figures=Path("figures_sky"), **given,
    )
elif rest[4] == "spec2":
    spec2(dispersed=Path("dispersed"), wcs=Path("wcs.fits"), spectra=Path("spectra"), figures=Path("figures"), **given)
else:
    stack(
        field="scene", cutouts=[Path("spectra")], catalogue=given["catalogue"], index=1, of=1,
        spectra=Path("all_spectra.fits"), stacks=Path("all_stacks.fits"), figure=Path("stack.png"),
        metrics=Path("stack.json"),
    )
told(rest[4], start)
"""

JWST = """
calibration.configure(Path("crds"), "jwst_0001.pmap")
calibration.ready(["jwst.pipeline"])
from jwst.pipeline import Spec2Pipeline, Spec3Pipeline
from jwst.wfss_contam import wfss_contam
product, *names = rest[4:]
given = json.loads(Path("scene.json").read_text())["direct"]
members = [{"expname": f"{name}_cal.fits", "exptype": "science"} for name in names]
pipeline = Spec3Pipeline() if names else Spec2Pipeline()
if not names:
    members = [{"expname": f"rates/{product}_rate.fits", "exptype": "science"}]
    kinds = {"source_catalog": "sourcecat", "segmentation_map": "segmap", "direct_image": "direct_image"}
    members += [{"expname": given[key], "exptype": kind} for key, kind in kinds.items()]
    limit = json.loads(Path(f"spectra/{product}.metrics.json").read_text())["limit"]
    pipeline.extract_2d.wfss_mmag_extract, pipeline.wfss_contam.polyfit_degree = limit, 1
    pipeline.wfss_contam.skip = False
association = {"asn_type": "none", "asn_pool": "none", "products": [{"name": product, "members": members}]}
Path(f"{product}_asn.json").write_text(json.dumps(association))
model, contam = wfss_contam.contam_corr, []
def timed(*arguments, **options):
    start = time.process_time()
    found = model(*arguments, **options)
    contam.append(time.process_time() - start)
    np.save(f"{product}_model.npy", found[1].data)
    return found
wfss_contam.contam_corr = timed
pipeline.prefetch_references, pipeline.save_results = False, True
start = time.process_time()
found = pipeline.run(f"{product}_asn.json")
told(product, start, contam=sum(contam), slits=0 if names else len(found[0].slits))
"""

JUDGE = """
from pureparallel import spec2_files
name, truth = rest[4], np.load("truth.npy")
ours, theirs = np.full(truth.shape, np.nan), np.load(f"{name}_model.npy")[: truth.shape[0], : truth.shape[1]]
theirs *= (scene.SCALE / scene.NATIVE) ** 2  # it takes the image's pixels for the detector's
cutouts = spec2_files.read(Path("spectra") / f"{name}_spec2.fits")
for row in cutouts.sources[cutouts.sources["ny"] > 0]:
    pixels = cutouts.of(int(row["id"]))
    total = pixels.contam + pixels.model
    total = total.T if cutouts.header["DISPAXIS"] == 2 else total
    ours[row["low"] : row["low"] + total.shape[0], row["left"] : row["left"] + total.shape[1]] = total
noise = np.median(cutouts.arrays["ERR"][cutouts.arrays["ERR"] > 0])
bright = np.isfinite(ours) & (truth > 3 * noise)
off = {key: float(np.sum(abs(one - truth)[bright]) / truth[bright].sum()) for key, one in
       (("ours", ours), ("jwst", theirs))}
Path("judged.json").write_text(json.dumps(off))
"""


def run(folder: Path, script: str, *arguments: object) -> None:
    """A script in environment jwst, on one thread."""
    command = [
        ROOT / "pixiw",
        "run",
        "--as-is",
        "-e",
        "jwst",
        "python",
        "-c",
        BEGIN + script,
        SCRIPT.parent,
        *arguments,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([str(one) for one in command], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {done.stderr[-3000:]}")


def compare(folder: Path, pixels: int, density: float, filter: str = "F200W") -> dict[str, Any]:
    """Both sides on one scene of two exposures: what each process took, by its name, and what the scene is."""
    scene = (pixels, 1, "all", filter)
    run(folder, SCENE, *scene, density)
    found = json.loads((folder / "scene.json").read_text())
    grisms = found["grisms"]
    for step in STEPS:
        run(folder, OURS, *scene, step)
    for name in grisms:
        run(folder, JWST, *scene, name)
    together = {one: [name for name in grisms if grisms[name] == one] for one in sorted(set(grisms.values()))}
    for grism, names in together.items():
        run(folder, JWST, *scene, grism, *names)
    run(folder, JUDGE, *scene, next(iter(grisms)))
    for name in (*STEPS, *grisms, *together):
        found[name] = json.loads((folder / f"{name}.told").read_text())
    found["cutouts"] = [
        json.loads((folder / "spectra" / f"{name}.metrics.json").read_text())["cutouts"] for name in grisms
    ]
    return found | {"judged": json.loads((folder / "judged.json").read_text()), "together": list(together)}


def row(pixels: int, found: dict[str, Any]) -> list[str]:
    """A row of `HEAD`."""
    names = list(found["grisms"])
    mine, second, third = ([found[key]["cpu"] for key in keys] for keys in (STEPS, names, found["together"]))
    ours, theirs = (max(found[key]["peak"] for key in keys) for keys in (STEPS, (*names, *found["together"])))
    whole, contam = sum(second) + sum(third), sum(found[key]["contam"] for key in names)
    ratio = sum(mine) / whole
    return [
        str(pixels), str(len(names)), str(found["sources"]), str(sum(found["cutouts"])),
        str(sum(found[key]["slits"] for key in names)),
        f"{' + '.join(f'{one:.1f}' for one in mine)} = {sum(mine):.1f}",
        f"{sum(second):.1f} + {sum(third):.1f} = {whole:.1f}", f"{contam:.1f}", f"{ratio:.3f}",
        f"{sum(mine) / (whole - contam):.3f}", f"{ours:.0f}", f"{theirs:.0f}",
        f"{found['judged']['ours']:.1%}", f"{found['judged']['jwst']:.1%}",
        "yes" if ratio <= 0.25 and ours <= 2500 else "NO",
    ]  # fmt: skip


def tables(sizes: Sequence[int] = tuple(DENSITY)) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    rows = []
    for pixels in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(pixels, compare(Path(folder), pixels, DENSITY[pixels])))
    yield "Dispersed exposures to spectra, both grisms, one filter (simulated)", HEAD, rows
