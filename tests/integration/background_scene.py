"""Simulate direct images with extended galaxies, calibrate them, subtract their sky; run in environment jwst.

``background_scene.py <pixels> <seed>`` writes, in the working folder, background.json and all products: ``crds/``,
``rates/``, ``masks/``, ``image2/`` and ``background/``.
"""

import json
import shutil
import sys
from pathlib import Path

PIXELS, SEED = int(sys.argv[1]), int(sys.argv[2])
FOLDER = Path.cwd()
CENTRE, FILTER, CONTEXT = (53.15, -27.8), "F150W", "jwst_0001.pmap"
GALAXIES = ((19.0, 1.5, 1.0), (20.0, 1.0, 4.0), (21.5, 1.2, 1.0))
"""AB magnitude, half-light radius in arcsec and Sérsic index of those put into the second exposure."""

NAMES = [f"jw09999001001_02101_{number:05d}_nis" for number in range(1, 8)]
EMPTY, BRIGHT, CROWDED, UNUSED, DISPERSED, FAILED, SHAPELESS = NAMES


def places() -> list[tuple[float, float]]:
    """Where the galaxies stand, x and y."""
    return [(0.3 * PIXELS, 0.35 * PIXELS), (0.7 * PIXELS, 0.3 * PIXELS), (0.55 * PIXELS, 0.72 * PIXELS)]


def galaxy(place, magnitude, radius, index):
    """A galaxy of a flat spectrum in f_nu."""
    from pureparallel.simulate import render
    from pureparallel.simulate.instrument import PIXEL_SCALE

    level = 3631e-23 * 10 ** (-0.4 * magnitude) * 2.99792458e18
    return render.Source(
        *place, lambda wave: level / (wave * 1e4) ** 2, (), render.Sersic(radius / PIXEL_SCALE, index, 0.7, 30.0)
    )


def simulate() -> dict:
    """Raw exposures and references; the noiseless light of all sources and of each galaxy, DN/s, by exposure."""
    from pureparallel.simulate import background, header, observe, ramp, references, render, sky
    from pureparallel.simulate.detector import make_detector
    from pureparallel.simulate.effects import Effects
    from pureparallel.simulate.instrument import Frame, Readout, seed_for

    start = (2048 - PIXELS) // 2 + 1
    frame, readout = Frame(start, start, PIXELS, PIXELS), Readout("NIS", 6)
    references.build(FOLDER / "crds", frame, SEED, [FILTER])
    truly, detector, known = observe.on_frame(CENTRE, 37.0, frame), make_detector(frame, SEED), {}
    for name in (EMPTY, BRIGHT, CROWDED):
        table = sky.make(CENTRE, PIXELS / 512 * 0.28, SEED, 26.0, 5.0 if name == CROWDED else 1.0, bright_star_mag=None)
        added = [galaxy(place, *what) for place, what in zip(places(), GALAXIES, strict=True)] if name == BRIGHT else []
        alone = [render.direct_image([one], FILTER, frame.shape) for one in added]
        light = render.direct_image(observe.sources(table, truly, frame), FILTER, frame.shape) + sum(alone)
        exposed = ramp.expose(
            light + background.imaging_rate(FILTER), detector, readout, Effects(),
            lambda what, e=name: seed_for(SEED, e, what), filter=FILTER,
        )  # fmt: skip
        meta = header.level1b(
            exposure=name, start=f"2024-07-01T0{NAMES.index(name)}:00:00", filter=FILTER, grism=None, frame=frame,
            readout=readout, header_pointing=truly, guide_star=header.GuideStar("S1", 53.2, -27.7, 15.0),
        )  # fmt: skip
        header.save(FOLDER / f"{name}_uncal.fits", exposed.counts, meta)
        known[name] = {"light": light, "alone": alone, "sky": background.imaging_rate(FILTER)}
    return known


def prepare() -> None:
    """Rates, with some that are not to be calibrated, empty masks but for a square, and the table of exposures."""
    import numpy as np
    from astropy.io import fits
    from pureparallel import io
    from pureparallel.core import masks
    from pureparallel.provenance import Lineage
    from pureparallel.steps.detector1 import detector1

    detector1(
        uncal=[FOLDER / f"{name}_uncal.fits" for name in (EMPTY, BRIGHT, CROWDED)],
        references=FOLDER / "crds", rates=FOLDER / "rates", figures=FOLDER / "figures1",
    )  # fmt: skip
    for name in (UNUSED, DISPERSED, SHAPELESS):
        for ending in ("_rate.fits", ".metrics.json"):
            shutil.copy(FOLDER / "rates" / f"{EMPTY}{ending}", FOLDER / "rates" / f"{name}{ending}")
    fits.setval(FOLDER / "rates" / f"{DISPERSED}_rate.fits", "EXP_TYPE", value="NIS_WFSS")
    io.write_json(FOLDER / "rates" / f"{FAILED}.metrics.json", {"name": FAILED, "reason": "all counts are 7"})
    for name in NAMES:
        square = np.zeros((PIXELS, PIXELS) if name != SHAPELESS else (8, 8), bool)
        square[4:8, 4:8] = True
        bits = masks.combine({"PERSISTENCE": square, "GHOST": np.roll(square, 4, 0)})
        masks.write_mask(FOLDER / "masks" / f"{name}_mask.fits", bits, {}, Lineage.of("mask_artifacts", []))
        spoilt = {"exclude": name == UNUSED, "exclude_reason": "scattered light"}
        io.write_json(FOLDER / "masks" / f"{name}.metrics.json", {"name": name, "reason": "", **spoilt})


def calibrate() -> dict:
    """Run both steps, and the pipeline's own Image2 on one exposure; how the two differ."""
    import numpy as np
    from astropy.io import fits
    from pureparallel.steps.background_image import background_image
    from pureparallel.steps.image2 import image2

    image2(
        rates=FOLDER / "rates", masks=FOLDER / "masks", references=FOLDER / "crds", calibrated=FOLDER / "image2",
        causes=["PERSISTENCE"],
    )  # fmt: skip
    background_image(
        calibrated=FOLDER / "image2", subtracted=FOLDER / "background", figures=FOLDER / "figures"
    )  # fmt: skip
    from jwst.pipeline import Image2Pipeline

    (theirs,) = Image2Pipeline.call(str(FOLDER / "rates" / f"{EMPTY}_rate.fits"), steps={"resample": {"skip": True}})
    ours = fits.open(FOLDER / "image2" / f"{EMPTY}_cal.fits", memmap=False)
    marked = (ours["DQ"].data != theirs.dq) & ((theirs.dq & 1) == 0)
    known = np.isfinite(theirs.data)
    return {
        "same_rate": bool(np.array_equal(ours["SCI"].data[known], theirs.data[known])),
        "same_error": bool(np.array_equal(ours["ERR"].data[known], theirs.err[known])),
        "marked": int(marked.sum()),
        "corner": [float(value) for value in theirs.meta.wcs(0, 0)],
    }


def measure(known: dict) -> dict:
    """What is left of the sky, and what went of the galaxies."""
    import numpy as np
    from astropy.io import fits
    from pureparallel import io
    from pureparallel.core.pulls import pulls
    from pureparallel.core.source_tiers import cells
    from pureparallel.simulate.instrument import PIXEL_SCALE
    from stdatamodels.jwst.datamodels import ImageModel

    found = {}
    y, x = np.indices((PIXELS, PIXELS))
    for name in NAMES:
        metrics = io.read_json(FOLDER / "background" / f"{name}.metrics.json")
        if metrics["reason"]:
            found[name] = {"reason": metrics["reason"], "left_out": metrics.get("left_out", False)}
            continue
        hdus = fits.open(FOLDER / "background" / f"{name}_bkgsub.fits", memmap=False)
        unit, noise = hdus["SCI"].header["PHOTMJSR"], metrics["noise"]
        light, sky = known[name]["light"] * unit, known[name]["sky"] * unit
        wrong = hdus["BKG"].data - sky
        boxes = cells(wrong, 64)[: PIXELS // 64, : PIXELS // 64] / 64**2 / noise
        dark = ((hdus["DQ"].data & 1) == 0) & (light < 0.1 * noise)
        lost = []
        for (cx, cy), (_, radius, _), alone in zip(places(), GALAXIES, known[name]["alone"], strict=False):
            inside = np.hypot(x - cx, y - cy) < 3 * radius / PIXEL_SCALE
            lost.append(float(wrong[inside].sum() / (alone.sum() * unit)))
        model = ImageModel(str(FOLDER / "background" / f"{name}_bkgsub.fits"))
        found[name] = {
            "residual_rms": float(np.sqrt(np.mean(boxes**2))), "residual_max": float(np.abs(boxes).max()),
            "pull": pulls(hdus["SCI"].data, hdus["ERR"].data, light, dark)["mad"], "lost": lost,
            "noise": noise, "factor": metrics["noise_factor"], "masked": metrics["masked"],
            "sum": float(np.nanmax(np.abs(
                hdus["SCI"].data + hdus["BKG"].data - fits.getdata(FOLDER / "image2" / f"{name}_cal.fits", "SCI")
            )) / noise),
            "steps": [getattr(model.meta.cal_step, step) for step in ("assign_wcs", "flat_field", "photom")],
            "corner": [float(value) for value in model.meta.wcs(0, 0)],
            "simulated": bool(hdus[0].header.get("SIMULATD")), "step": hdus[0].header["PPSTEP"],
            "square": [int(hdus["DQ"].data[4:8, 4:8].min()), int(hdus["DQ"].data[8:12, 4:8].max() & 16)],
        }  # fmt: skip
    return found


if __name__ == "__main__":
    light = simulate()
    prepare()
    compared = calibrate()
    (FOLDER / "background.json").write_text(json.dumps(measure(light) | {"pipeline": compared}, indent=1))
