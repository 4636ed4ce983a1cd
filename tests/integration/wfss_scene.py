"""Raw dispersed exposures of one simulated sky through detector1 and background_wfss; run in environment jwst.

``wfss_scene.py <pixels> <seed> [sky [<filter> ...]]`` writes sky.json in the working folder. Mosaics, catalogue and
solution are those of ``grism_scene``; exposures are ramps with everything that disturbs a detector.
"""

import json
import shutil
import sys
import time

import numpy as np

sys.argv += ["sky"] * (len(sys.argv) == 3)
from grism_scene import FILTERS, FOLDER, PIXELS, PLAN, SEED, direct_image, inputs, mosaics, plan, tables  # noqa: E402

BOX = 64
"""Pixels on a side of the boxes that the sky is judged by."""

SPOILT, UNKNOWN = "jw09999001001_02101_00098_nis", "jw09999001001_02101_00099_nis"
"""Copies of the first exposure: one that is not used, and one that grism_wcs knows nothing of."""


def simulate() -> dict:
    """Write all inputs; return the plan, the true sky and the light of all sources, before the flat, by exposure."""
    from pureparallel import io
    from pureparallel.core import masks
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import header, observe, ramp, references, sky
    from pureparallel.simulate.detector import make_detector
    from pureparallel.simulate.effects import Effects
    from pureparallel.simulate.instrument import Frame, Readout, seed_for
    from pureparallel.steps.detector1 import detector1

    frame = Frame(*plan(next(iter(PLAN)))["frame"])
    detector, readout = make_detector(frame, SEED), Readout("NIS", 9)
    references.build(FOLDER / "crds", frame, SEED, FILTERS)
    wanted = sky.Detectable(10, FILTERS, 3e-17)
    table = sky.make((150.1, 2.2), PIXELS / 512 * 0.28, SEED, 26.0, 1.5, epoch=2024.5, detectable=wanted)
    sky.gaia_catalogue(table).write(FOLDER / "gaia.ecsv", format="ascii.ecsv", overwrite=True)
    mosaics(table, frame)
    true, rows, lineage = {}, [], Lineage.of("simulate", [], seed=SEED)
    for exposure in [name for name in PLAN if name[7:13] == "001001"]:
        one = plan(exposure)
        truly = observe.true_pointing(one)
        rows.append((exposure, "001001", truly.ra, truly.dec, truly.roll, "gaia"))
        found = observe.sources(table, truly, frame)
        light, level = observe.light(one, found, frame), observe.sky_level(one, frame)
        exposed = ramp.expose(
            light + level, detector, readout, Effects(), lambda what, e=exposure: seed_for(SEED, e, what),
            filter=one["filter"], grism=one["grism"], bright=observe.bright(one, found),
        )  # fmt: skip
        meta = header.level1b(
            exposure=exposure, start="2024-07-01T06:00:00", filter=one["filter"], grism=one["grism"], frame=frame,
            readout=readout, header_pointing=truly, guide_star=header.GuideStar("S1", 150.2, 2.3, 15.0),
            fwcpos=observe.fwcpos(one),
        )  # fmt: skip
        header.save(FOLDER / f"{exposure}_uncal.fits", exposed.counts, meta)
        square = np.zeros(frame.shape, bool)
        square[4:12, 4:12] = True
        halos = exposed.mask("snowball_halo").any(axis=0)
        bits = masks.combine({"GHOST": square | exposed.mask("ghost"), "SNOWBALL": halos})
        masks.write_mask(FOLDER / "masks" / f"{exposure}_mask.fits", bits, {}, lineage)
        true[exposure] = {"plan": one, "sky": level * detector.flat[one["filter"]],
                          "light": light * detector.flat[one["filter"]]}  # fmt: skip
    detector1(
        uncal=sorted(FOLDER.glob("*_uncal.fits")), references=FOLDER / "crds", rates=FOLDER / "rates",
        figures=FOLDER / "figures1",
    )  # fmt: skip
    first = next(iter(true))
    for name in (SPOILT, UNKNOWN):
        shutil.copy(FOLDER / "rates" / f"{first}_rate.fits", FOLDER / "rates" / f"{name}_rate.fits")
        shutil.copy(FOLDER / "masks" / f"{first}_mask.fits", FOLDER / "masks" / f"{name}_mask.fits")
        io.write_json(FOLDER / "rates" / f"{name}.metrics.json", {"name": name, "reason": ""})
    tables(rows, lineage, {SPOILT: "scattered light: level of 9 DN/s", UNKNOWN: ""})
    return true


def boxes(image, good):
    """Means of square boxes of which a tenth is good."""
    rows, columns = (n // BOX for n in image.shape)
    parts = [part[: rows * BOX, : columns * BOX].reshape(rows, BOX, columns, BOX) for part in (image * good, good)]
    total, number = (part.sum(axis=(1, 3)) for part in parts)
    return np.where(number > BOX**2 / 10, total / np.maximum(number, 1), np.nan)


def slope(values, axis: int) -> float:
    """Of a straight line through boxes, from one end of an axis to the other."""
    place = (np.indices(values.shape)[axis] + 0.5) / values.shape[axis]
    known = np.isfinite(values)
    return float(np.polyfit(place[known], values[known], 1)[0])


def judge(true: dict, folder) -> dict:
    """What is wrong with the sky of each exposure, over its level."""
    from astropy.io import fits

    found = {}
    for name, one in true.items():
        with fits.open(folder / f"{name}_bkgsub.fits") as hdus:
            left, error, good = (hdus["SCI"].data, hdus["ERR"].data, hdus["DQ"].data & 1 == 0)
            taken, header, square = hdus["BKG"].data, hdus[0].header, int(hdus["DQ"].data[6, 6])
        with fits.open(FOLDER / "rates" / f"{name}_rate.fits") as hdus:
            same = float(np.nanmax(np.abs(hdus["SCI"].data - taken - left)))
        metrics = json.loads((folder / f"{name}.metrics.json").read_text())
        level, light = float(np.median(one["sky"])), one["light"]
        off, axis = (taken - one["sky"]) / level, 1 if one["plan"]["grism"].endswith("C") else 0
        dark = good & (light < 0.3 * np.median(error))
        bright = good & (light > 0.2 * level)
        remaining = boxes(np.where(dark, (left - light) / level, 0), dark)
        found[name] = {
            "filter": one["plan"]["filter"], "grism": one["plan"]["grism"], "level": level,
            "mean": float(off[good].mean()), "rms": float(np.sqrt(np.nanmean(boxes(off, good | True) ** 2))),
            "slope": slope(boxes(off, good | True), axis), "left_rms": float(np.sqrt(np.nanmean(remaining**2))),
            "left_slope": slope(remaining, axis), "eaten": float((off * level)[bright].sum() / light[bright].sum()),
            "pull": float(1.483 * np.median(np.abs(((left - light) / error)[dark]))), "same": same, "square": square,
            "amplitudes": metrics["amplitudes"], "stated": metrics["residual_rms"], "free": metrics["free"],
            "cpu": metrics["cpu_seconds"], "memory": metrics["peak_memory_mb"], "header": float(header["SKYLEVEL"]),
        }  # fmt: skip
    return found


def pipeline(true: dict) -> dict:
    """What is wrong with the sky that the pipeline's own step subtracts, given the same catalogue and pointings."""
    from pureparallel import calibration, grisms
    from pureparallel.core import astrometry

    calibration.ready(["jwst.background.background_sub_wfss", *(module for module, _ in grisms.STEPS)])
    from jwst.background.background_sub_wfss import subtract_wfss_bkg

    where, found = astrometry.read_solution(FOLDER / "wcs.fits"), {}
    for name, one in true.items():
        start = time.process_time()
        chain = calibration.Chain("spec2pipeline")
        model = grisms.open_dispersed(FOLDER / "rates" / f"{name}_rate.fits", where[name], chain)
        model.meta.source_catalog = direct_image(one["plan"]["filter"])["source_catalog"]
        rate, good = np.array(model.data), model.dq & 1 == 0
        done = subtract_wfss_bkg(
            model, str(grisms.reference(model, "bkg")), str(grisms.reference(model, "wavelengthrange"))
        )
        level, axis = float(np.median(one["sky"])), 1 if one["plan"]["grism"].endswith("C") else 0
        taken = np.where(good, rate - done.data, one["sky"])
        off = boxes((taken - one["sky"]) / level, good)
        found[name] = {
            "filter": one["plan"]["filter"], "grism": one["plan"]["grism"], "level": level,
            "status": str(done.meta.cal_step.bkg_subtract), "rms": float(np.sqrt(np.nanmean(off**2))),
            "slope": slope(off, axis), "cpu": time.process_time() - start,
        }  # fmt: skip
    return found


def main() -> None:
    """The step with all components, and with fewer."""
    from pureparallel.steps.background_wfss import background_wfss
    from pureparallel.steps.grism_wcs import grism_wcs

    true, given = simulate(), inputs()
    common = {"rates": FOLDER / "rates", "exposures": FOLDER / "exposures.fits"}
    grism_wcs(
        field="scene", rates=[common["rates"]], exposures=common["exposures"], solution=FOLDER / "solution.fits",
        table=FOLDER / "wcs.fits", figure=FOLDER / "wcs.png", metrics=FOLDER / "wcs.json", **given,
    )  # fmt: skip
    found = {}
    for name, components in (("all", None), ("no smooth", ["reference", "constant"]), ("reference", ["reference"])):
        folder = FOLDER / name.replace(" ", "_")
        background_wfss(
            **common, masks=FOLDER / "masks", wcs=FOLDER / "wcs.fits", subtracted=folder,
            figures=FOLDER / f"{folder.name}_figures", components=components, **given,
        )  # fmt: skip
        found[name] = judge(true, folder)
    found["pipeline"] = pipeline(true)
    (FOLDER / "sky.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
