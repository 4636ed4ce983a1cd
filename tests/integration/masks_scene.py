"""Simulate exposures with every artifact, reduce them, mask them, and measure the masks; run in environment jwst.

``masks_scene.py <pixels> <seed> [<level>]`` writes masks.json in the working folder. `level` is that of the scattered
light in DN/s.
"""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

PIXELS, SEED = int(sys.argv[1]), int(sys.argv[2])
LEVEL = float(sys.argv[3]) if len(sys.argv) > 3 else 40.0
FOLDER = Path.cwd()
CENTRE, START = (53.15, -27.8), datetime(2024, 7, 1)
READ_SECONDS = 24 * 10.73677  # NIS, 6 groups
PLAN = {
    # chunk, filter, grism, start in s, offset of the sky in pixels, what is switched on
    "jw09998001001_02101_00001_nis": ("other", "F200W", None, 0, (37, -29), {}),
    "jw09999001001_02101_00001_nis": ("own", "F200W", None, 300, (0, 0), {"trail": True}),
    "jw09999001001_02101_00002_nis": ("own", "F200W", "GR150R", 600, (0, 0), {"trail": True}),
    "jw09999001001_02101_00003_nis": ("own", "F200W", None, 20000, (0, 0), {}),
    "jw09999001001_02101_00004_nis": ("own", "F150W", "GR150C", 21000, (0, 0), {}),
    "jw09999001001_02101_00005_nis": ("own", "F200W", None, 22000, (0, 0), {"scattered": {"level": LEVEL}}),
    "jw09999001001_02101_00006_nis": ("own", "F150W", "GR150C", 23000, (0, 0), {"scattered": {"level": LEVEL}}),
}
BEFORE = "jw09998001001_02101_00001_nis"
FAILED = "jw09999001001_02101_00009_nis"


def simulate() -> dict:
    """Write references, raw exposures and their truth; return what the truth files do not hold, by exposure."""
    import numpy as np
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import background, effects, header, observe, pointing, ramp, references, render, sky
    from pureparallel.simulate.detector import make_detector
    from pureparallel.simulate.dispersion import Traces
    from pureparallel.simulate.instrument import GRISM_CONFIGURATION, Frame, Readout, seed_for

    # around the ghosts' centre, so that a source and its ghost are both on it
    frame, readout = Frame(1157 - PIXELS // 2, 940 - PIXELS // 2, PIXELS, PIXELS), Readout("NIS", 6)
    references.build(FOLDER / "crds", frame, SEED, ["F150W", "F200W"])
    truly = observe.on_frame(CENTRE, 37.0, frame)
    table = sky.make(CENTRE, PIXELS / 512 * 0.28, SEED, 26.0, bright_star_mag=16.5)
    detector, traces = make_detector(frame, SEED), Traces.read(GRISM_CONFIGURATION)
    known, fluence = {}, None
    for exposure, (_, name, grism, start, (dx, dy), settings) in PLAN.items():
        shifted = pointing.Pointing(truly.ra + dx * 1.8e-5, truly.dec + dy * 1.8e-5, truly.roll)
        found = observe.sources(table, shifted, frame)
        plan = {"filter": name, "grism": grism, "seed": SEED, "exposure": exposure}
        stars = [source for source in found if source.profile is None]
        if grism is None:
            light = render.direct_image(found, name, frame.shape) + background.imaging_rate(name)
            alone = render.direct_image(stars, name, frame.shape)
        else:
            light = render.dispersed_image(found, traces, grism, name, frame.shape)
            light = light + background.background_components(grism, name, frame)["zodiacal"] * background.zodiacal_rate(
                grism, name
            )
            alone = np.zeros(frame.shape)
        bright = observe.bright(plan, found)
        on_it = [b for b in bright if 0 <= b[0] < PIXELS and 0 <= b[1] < PIXELS]
        previous = None
        if exposure != BEFORE and start < 10000:
            previous = ramp.Previous(fluence, start - READ_SECONDS)
        exposed = ramp.expose(
            light, detector, readout, effects.Effects().but(settings), lambda what, e=exposure: seed_for(SEED, e, what),
            filter=name, grism=grism, bright=bright, previous=previous,
        )  # fmt: skip
        if exposure == BEFORE:
            fluence = exposed.truth["rate"].astype(float) * READ_SECONDS
        known[exposure] = {
            "stars": alone, "places": [(s.x, s.y, render.count_rate(name, s)) for s in stars],
            "ghost": effects.ghosts(effects.Ghost(), frame, on_it, name, grism=grism is not None),
            "glow": 0 * alone if previous is None else effects.persistence(
                fluence, previous.delay_s, 0, READ_SECONDS, detector.saturation - detector.bias) / READ_SECONDS,
        }  # fmt: skip
        meta = header.level1b(
            exposure=exposure, start=(START + timedelta(seconds=start)).isoformat(), filter=name, grism=grism,
            frame=frame, readout=readout, header_pointing=shifted, guide_star=header.GuideStar("S1", 53.2, -27.7, 15.0),
        )  # fmt: skip
        header.save(FOLDER / f"{exposure}_uncal.fits", exposed.counts, meta)
        ramp.write_truth(FOLDER / f"{exposure}_truth.fits", exposed, Lineage.of("simulate", [], seed=SEED))
    return known


def reduce() -> None:
    """Rates of both chunks, with one exposure that has failed, and the masks of one."""
    from pureparallel.steps.detector1 import detector1
    from pureparallel.steps.mask_artifacts import mask_artifacts
    from pureparallel.steps.persistence import persistence

    for chunk in ("other", "own"):
        detector1(
            uncal=[FOLDER / f"{name}_uncal.fits" for name, plan in PLAN.items() if plan[0] == chunk],
            references=FOLDER / "crds", rates=FOLDER / chunk, figures=FOLDER / "figures1",
        )  # fmt: skip
    (FOLDER / "own" / f"{FAILED}.metrics.json").write_text(json.dumps({"name": FAILED, "reason": "all counts are 7"}))
    (FOLDER / "nis_wisp.reg").write_text(f'icrs\ncircle({CENTRE[0]}, {CENTRE[1]}, 0.5") # text={{wisp}}\n')
    (FOLDER / "nrca3_claw.reg").write_text("image\nbox(50, 50, 20, 20, 0) # tag={claw}\n")
    persistence(rates=FOLDER / "own", afterglow=FOLDER / "glow", earlier=[FOLDER / "other"])
    mask_artifacts(
        rates=FOLDER / "own", afterglow=FOLDER / "glow", masks=FOLDER / "masks", figures=FOLDER / "figures",
        regions=[FOLDER / "nis_wisp.reg", FOLDER / "nrca3_claw.reg"],
    )  # fmt: skip


def measure(known: dict) -> dict:
    """What the masks hold of the truth, and how much else."""
    import numpy as np
    from pureparallel import exposures, io
    from pureparallel.core import masks
    from pureparallel.simulate.ramp import read_truth

    found = {"failed": io.read_json(FOLDER / "masks" / f"{FAILED}.metrics.json")["reason"]}
    for exposure, (chunk, name, grism, *_) in PLAN.items():
        if chunk != "own":
            continue
        hdus = exposures.read_rate(FOLDER / "own" / f"{exposure}_rate.fits")
        error, good = hdus["ERR"].data, (hdus["DQ"].data & 1) == 0
        truth, extra = read_truth(FOLDER / f"{exposure}_truth.fits"), known[exposure]
        bits, names = masks.read_mask(FOLDER / "masks" / f"{exposure}_mask.fits")
        metrics = io.read_json(FOLDER / "masks" / f"{exposure}.metrics.json")
        glow = io.open_fits(FOLDER / "glow" / f"{exposure}_persistence.fits", extensions=("MASK", "MEAN", "SLOPE"))
        noise = metrics["noise"]
        true = {
            "SNOWBALL": truth["snowball_core"].any(axis=0) | truth["snowball_halo"].any(axis=0),
            "PERSISTENCE": (extra["glow"] > error) & good,
            "TRAIL": truth["trail"].any(axis=0),
            "GHOST": extra["ghost"] > noise,
            "SPIKE": spikes(extra, 2 * noise) if grism is None else np.zeros(good.shape, bool),
            "SATURATED": truth["saturated"].any(axis=0) & (truth["rate"] * READ_SECONDS > 40000),
        }
        row = {"filter": name, "grism": grism or "direct", "exclude": metrics["exclude"], "sky": metrics["sky"]}
        for cause, mask in true.items():
            covered = masks.chosen(bits, [cause], names)
            row[cause] = {
                "pixels": int(mask.sum()), "masked": int(covered.sum()), "both": int((mask & covered).sum()),
                # what was not to be found, for it lies too close to where it was found
                "false": int((covered & ~(mask | true["SATURATED"])).sum()),
            }  # fmt: skip
        lit = true["PERSISTENCE"]
        row["glow_ratio"] = float(np.median(glow["MEAN"].data[lit] / extra["glow"][lit])) if lit.any() else None
        row["wisp"], row["claw"] = (int(masks.chosen(bits, [c], names).sum()) for c in ("WISP", "CLAW"))
        row["trails"] = len(metrics["trails"])
        found[exposure] = row
    return found


def spikes(extra: dict, level: float) -> object:
    """Pixels in which a bright star is so much brighter than at the same distance from it in other directions."""
    import numpy as np

    image, covered = extra["stars"], np.zeros(extra["stars"].shape, bool)
    y, x = np.indices(image.shape)
    for sx, sy, rate in extra["places"]:
        if rate < 5000 or not (0 <= sx < PIXELS and 0 <= sy < PIXELS):
            continue
        distance = np.hypot(x - sx, y - sy)
        ring = distance.astype(int)
        typical = np.array([np.median(image[ring == r]) if (ring == r).any() else 0 for r in range(ring.max() + 1)])
        covered |= (image - typical[ring] > level) & (distance > 8) & (distance < 120)
    return covered


if __name__ == "__main__":
    extra = simulate()
    reduce()
    (FOLDER / "masks.json").write_text(json.dumps(measure(extra), indent=1))
