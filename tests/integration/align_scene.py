"""Simulate direct images of three visits, one on a wrong guide star, align them and judge that; in environment jwst.

``align_scene.py <pixels> <seed> [<depth> [<stars>]]`` writes align.json in the working folder. Images are made from the
expected light, with noise and saturated cores; ramps play no part here.
"""

import json
import sys
from pathlib import Path

PIXELS, SEED = int(sys.argv[1]), int(sys.argv[2])
DEPTH = float(sys.argv[3]) if len(sys.argv) > 3 else 26.0
STARS = float(sys.argv[4]) if len(sys.argv) > 4 else 4.0
FOLDER = Path.cwd()
CENTRE, EPOCH = (150.1, 2.2), 2024.5
GROUP_SECONDS, SECONDS, FULL = 42.9, 257.0, 45000.0
READ_NOISE = 0.03
WRONG = "002002"
PLAN = {
    # roll, filter, grism, start
    "jw09999001001_02101_00001_nis": (37.0, "F200W", None, "2024-07-01T06:00:00"),
    "jw09999001001_02101_00002_nis": (37.0, "F200W", "GR150R", "2024-07-01T06:06:00"),
    "jw09999001001_02101_00003_nis": (37.0, "F115W", None, "2024-07-01T06:12:00"),
    "jw09999002001_02101_00001_nis": (97.0, "F150W", None, "2024-07-25T06:00:00"),
    "jw09999002001_02101_00002_nis": (97.0, "F200W", None, "2024-07-25T06:06:00"),
    "jw09999002001_02101_00003_nis": (97.0, "F150W", None, "2024-07-25T06:09:00"),
    "jw09999002002_02101_00001_nis": (97.0, "F150W", None, "2024-07-25T12:00:00"),
    "jw09999002002_02101_00002_nis": (97.0, "F150W", "GR150C", "2024-07-25T12:06:00"),
}


def plan(exposure: str) -> dict:
    """What the simulator asks of an observation."""
    roll, filter, grism, start = PLAN[exposure]
    return {
        "exposure": exposure, "roll": roll, "filter": filter, "grism": grism, "start": start, "seed": SEED,
        "centre": CENTRE, "frame": [1025 - PIXELS // 2, 1025 - PIXELS // 2, PIXELS, PIXELS], "dither": 1.5,
        "pointing_error": 1.0, "roll_error": 0.03, "guide_star_error": 1.5,
        "wrong_guide_star": exposure[7:13] == WRONG,
    }  # fmt: skip


def simulate() -> dict:
    """Write rates, images without background and the catalogue; return true pointings by exposure."""
    import numpy as np
    from pureparallel import calibration, io
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import header, observe, references, sky
    from pureparallel.simulate.instrument import Frame, Readout, seed_for
    from scipy.ndimage import binary_dilation

    frame = Frame(*plan(next(iter(PLAN)))["frame"])
    references.build(FOLDER / "crds", frame, SEED, ["F200W"])
    calibration.configure(FOLDER / "crds", "jwst_0001.pmap")
    calibration.ready(["jwst.assign_wcs"])
    from stdatamodels.jwst.datamodels import ImageModel

    table = sky.make(CENTRE, PIXELS / 512 * 0.28, SEED, DEPTH, star_scale=STARS, epoch=EPOCH)
    catalogue = sky.gaia_catalogue(table)
    catalogue.write(FOLDER / "gaia.ecsv", format="ascii.ecsv", overwrite=True)
    # a survey of the field's own epoch, which states nothing but positions
    catalogue = sky.gaia_catalogue(table, EPOCH)["ra", "dec"]
    catalogue.write(FOLDER / "survey.ecsv", format="ascii.ecsv", overwrite=True)
    true = {}
    for folder in ("rates", "images"):
        (FOLDER / folder).mkdir()
    for exposure in PLAN:
        one = plan(exposure)
        truly = true[exposure] = observe.true_pointing(one)
        meta = header.level1b(
            exposure=exposure, start=one["start"], filter=one["filter"], grism=one["grism"], frame=frame,
            readout=Readout("NIS", 6), header_pointing=observe.header_pointing(one, truly),
            guide_star=observe.guide_star(one),
        )  # fmt: skip
        light = np.zeros(frame.shape)
        if one["grism"] is None:
            light = observe.light(one, observe.sources(table, truly, frame), frame)
        error = np.sqrt((np.maximum(light, 0) + 0.7) / 1.6 / SECONDS + READ_NOISE**2)
        image = light + error * seed_for(SEED, exposure, "noise").normal(size=frame.shape)
        model = ImageModel(image.astype(np.float32))
        model.err, model.dq = error.astype(np.float32), np.zeros(frame.shape, np.uint32)
        model.dq[binary_dilation(light * SECONDS > FULL, iterations=2)] |= 1 | 2
        model.data[light * GROUP_SECONDS > FULL] = np.nan
        for key, value in meta.items():
            model[key] = value
        lineage = Lineage.of("simulate", [], seed=SEED)
        calibration.save(FOLDER / "rates" / f"{exposure}_rate.fits", model, lineage)
        io.write_json(FOLDER / "rates" / f"{exposure}.metrics.json", {"name": exposure, "reason": ""})
        if one["grism"] is None:
            model = calibration.Chain("image2pipeline").run("jwst.assign_wcs", "AssignWcsStep", model)
            calibration.save(FOLDER / "images" / f"{exposure}_bkgsub.fits", model, lineage)
    return true


def align(name: str, **options: object) -> None:
    """Run the step; its files are called after a name."""
    from pureparallel.steps.align import align as step

    step(
        field="sim", images=[FOLDER / "images"], pointing=FOLDER / "pointing.fits", solution=FOLDER / f"{name}.fits",
        figure=FOLDER / f"{name}.png", metrics=FOLDER / f"{name}.metrics.json", **options,
    )  # fmt: skip


def judge(name: str, true: dict) -> dict:
    """Errors of a solution in mas, at the corners of all exposures."""
    import numpy as np
    from astropy.table import Table
    from pureparallel import io
    from pureparallel.core import astrometry
    from pureparallel.simulate import pointing as geometry
    from pureparallel.simulate.instrument import Frame
    from stdatamodels.jwst.datamodels import ImageModel

    hdus = io.open_fits(FOLDER / f"{name}.fits", extensions=("GROUPS", "EXPOSURES"))
    groups = Table.read(hdus["GROUPS"], mask_invalid=False)
    solution = astrometry.read_solution(FOLDER / f"{name}.fits")
    plane, frame = astrometry.Plane(*CENTRE), Frame(*plan(next(iter(PLAN)))["frame"])
    x, y = np.array([0, PIXELS - 1, 0, PIXELS - 1.0]), np.array([0, 0, PIXELS - 1, PIXELS - 1.0])
    error, by_model = {}, {}
    for exposure, truly in true.items():
        there = plane.project(astrometry.unit(*geometry.to_sky(x, y, truly, frame)))
        found = geometry.Pointing(*vars(solution[exposure]).values())
        error[exposure] = 1e3 * (plane.project(astrometry.unit(*geometry.to_sky(x, y, found, frame))) - there)
        image = FOLDER / "images" / f"{exposure}_bkgsub.fits"
        if image.is_file():
            with ImageModel(str(image)) as model:
                astrometry.apply_to_model(model, solution[exposure])
                by_model[exposure] = 1e3 * (plane.project(astrometry.unit(*model.meta.wcs(x, y))) - there)
    direct = np.array([error[one] for one in by_model])
    others = np.mean([error[one] for one in by_model if one[7:13] != WRONG], axis=(0, 1))
    wrong = np.mean([error[one] for one in by_model if one[7:13] == WRONG], axis=(0, 1))
    dispersed = [np.mean(error[one], axis=0) for one in error if one not in by_model]
    return {
        "groups": {
            str(row["group"])[6:13]: {
                key: row[key].item() for key in ("rung", "frame", "stars", "common", "shift_error", "roll_solved",
                                                 "rms_common", "rms_catalogue", "reason")
            } | {"shift": float(np.hypot(row["shift_east"], row["shift_north"]))}
            for row in groups
        },
        "absolute_rms": float(np.sqrt(np.mean(direct**2))),
        "relative_rms": float(np.sqrt(np.mean((direct - direct.mean(axis=(0, 1))) ** 2))),
        "wrong_guide_star": float(np.hypot(*(wrong - others))),
        "dispersed": float(np.max(np.hypot(*np.transpose(dispersed)))),
        "model_less_pointing": float(np.max(np.abs(np.array(list(by_model.values())) - direct))),
    }  # fmt: skip


def main() -> None:
    """All ladders on one scene."""
    from pureparallel.steps.pointing import pointing

    true = simulate()
    pointing(
        field="sim", rates=[FOLDER / "rates"], table=FOLDER / "pointing.fits", figure=FOLDER / "pointing.png",
        metrics=FOLDER / "pointing.json",
    )  # fmt: skip
    ladders = {
        "gaia": {"gaia": [FOLDER / "gaia.ecsv"], "catalogue": FOLDER / "survey.ecsv"},
        "survey": {"catalogue": FOLDER / "survey.ecsv"},
        "field": {},
    }
    found = {}
    for name, options in ladders.items():
        align(name, **options)
        found[name] = judge(name, true)
    (FOLDER / "align.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
