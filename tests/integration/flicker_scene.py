"""Take 1/f noise out of simulated exposures in several ways, and measure what is left; run in environment jwst.

``flicker_scene.py <pixels> <seed> <wheel>...`` with wheels CLEAR, GR150R and GR150C writes flicker.json in the working
folder. Each exposure is simulated twice, with 1/f noise and without, from the same random numbers. All ways start from
the same ramps, calibrated and flagged as detector1 does it, and all are followed by the pipeline's own fit of slopes.
What reference pixels leave, and put in, counts as left. They see the noise at the ends of a frame only, and so move the
mean of the sky before any cleaning: what cleaning does to it is told apart, as "moved".
"""

import inspect
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pureparallel import calibration, reduction
from pureparallel.core import ramps
from pureparallel.simulate import header, observe, ramp, references, sky
from pureparallel.simulate.detector import make_detector
from pureparallel.simulate.effects import Effects
from pureparallel.simulate.instrument import Frame, Readout, seed_for
from pureparallel.steps.detector1 import detector1

PIXELS, SEED = int(sys.argv[1]), int(sys.argv[2])
FOLDER = Path.cwd()
START = (2048 - PIXELS) // 2 + 1
FRAME = Frame(START, START, PIXELS, PIXELS)
AMPLIFIERS = 4 if FRAME.is_full else 1
FILTER, READOUT, CENTRE = "F200W", Readout("NIS", 6), (150.1, 2.2)
SKY: dict[str, Any] = {"depth_mag": 26.0, "density_scale": 1.25, "star_scale": 7.0}
"""That of the simulated field sim-niriss."""

CLEAN_FLICKER, STREAM = ("jwst.clean_flicker_noise", "CleanFlickerNoiseStep"), ("snowblind", "StreamCleanStep")
THEIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "jwst, default": (*CLEAN_FLICKER, {"skip": False}),
    "jwst, median, flat": (*CLEAN_FLICKER, {"skip": False, "background_method": "median", "apply_flat_field": True}),
    "jwst, model, flat": (*CLEAN_FLICKER, {"skip": False, "background_method": "model", "apply_flat_field": True}),
}
if FRAME.is_full:  # on any other it is skipped
    THEIRS |= {
        "snowblind, default": (*STREAM, {}),
        "snowblind, model": (*STREAM, {"background_method": "integration_model"}),
    }

FAINT = 0.1
"""Of a pixel's noise: signal of sources up to which it counts as free of them."""

BOX, BRIGHT, COMPACT = 3, 8.0, 3.0
"""Of the sources whose flux is measured: half the box less half a pixel, DN/s in the box, pixels of half-light radius
at most."""

LINE = 20
"""Pixels that a line of an amplifier needs, to count."""


def observation(wheel: str) -> dict[str, Any]:
    """What the exposure's simulation depends on."""
    number = 1 + ("CLEAR", "GR150R", "GR150C").index(wheel)
    return {
        "exposure": f"jw09999{SEED:03d}001_02101_{number:05d}_nis", "filter": FILTER,
        "grism": None if wheel == "CLEAR" else wheel, "start": f"2024-07-01T{number:02d}:00:00", "roll": 37.0,
        "seed": SEED, "centre": CENTRE, "frame": (FRAME.xstart, FRAME.ystart, FRAME.nx, FRAME.ny), "dither": 1.5,
        "pointing_error": 0.5, "roll_error": 0.03, "wrong_guide_star": False, "zodiacal": 1.0, "scattered_sky": 0.1,
        "helium_sky": 0.1,
    }  # fmt: skip


class Scene:
    """One exposure, with and without 1/f noise."""

    def __init__(self, plan: dict[str, Any], table: Any) -> None:
        detector, pointing = make_detector(FRAME, SEED), observe.true_pointing(plan)
        found, level = observe.sources(table, pointing, FRAME), observe.sky_level(plan, FRAME)
        light, bright = observe.light(plan, found, FRAME) + level, observe.bright(plan, found)
        meta = header.level1b(
            exposure=plan["exposure"], start=plan["start"], filter=FILTER, grism=plan["grism"], frame=FRAME,
            readout=READOUT, header_pointing=observe.header_pointing(plan, pointing), fwcpos=observe.fwcpos(plan),
            guide_star=observe.guide_star(plan),
        )  # fmt: skip
        self.paths = {}
        for kind, effects in (("quiet", Effects().but({"flicker": False})), ("noisy", Effects())):
            self.exposed = ramp.expose(
                light, detector, READOUT, effects, partial(seed_for, SEED, plan["exposure"]), filter=FILTER,
                grism=plan["grism"], bright=bright,
            )  # fmt: skip
            self.paths[kind] = FOLDER / kind / f"{plan['exposure']}_uncal.fits"
            self.paths[kind].parent.mkdir(exist_ok=True)
            header.save(self.paths[kind], self.exposed.counts, meta)
        self.truth = self.exposed.truth["rate"]
        self.source = self.truth - level * detector.flat[FILTER]
        self.sky = float(np.median(self.truth - self.source))
        hit = ("cosmic_ray", "snowball_core", "snowball_halo", "saturated", "column_jump")
        self.touched = np.any([self.exposed.mask(name).any(axis=0) for name in hit], axis=0)
        compact = [s for s in found if s.profile is None or s.profile.re <= COMPACT]
        self.places = [(round(s.y), round(s.x)) for s in compact] if plan["grism"] is None else []


def prepare(path: Path, *, drifts: bool) -> tuple[Any, calibration.Chain, reduction.Reduced]:
    """A ramp, all of its groups' flags known, before 1/f noise is taken out.

    Where nothing drifts, reference pixels have nothing to correct, and would put in their own noise.
    """
    from stdatamodels.jwst.datamodels import RampModel

    defaults = inspect.signature(detector1).parameters.items()
    options = {name: one.default for name, one in defaults}
    chain, done = calibration.Chain("detector1pipeline"), reduction.Reduced()
    model: Any = RampModel(str(path))
    given = reduction.parameters(options, model.shape[1]) | {"RefPixStep": {} if drifts else {"skip": True}}
    for module, name in reduction.CHAIN:
        if name == "CleanFlickerNoiseStep":
            break
        if name == "JumpStep":
            reduction.repair_columns(model, options, done)
            if reduction.find_jumps(model, chain, given[name]):
                continue
        model = chain.run(module, name, model, **given.get(name, {}))
    reduction.flag_events(model, chain, options, done)
    return model, chain, done


def fit(model: Any, chain: calibration.Chain) -> tuple[np.ndarray, np.ndarray]:
    """Rate in DN/s, and where it may be used."""
    fitted = chain.run("jwst.ramp_fitting", "RampFitStep", model)[0]
    rate = np.array(fitted.data)
    good = (fitted.dq & ramps.DO_NOT_USE == 0) & np.isfinite(rate)
    return np.where(good, rate, 0), good


def clean(name: str, model: Any, chain: calibration.Chain) -> Any:
    """Take 1/f noise out in one of the ways."""
    if name == "pureparallel":
        reduction.clean_flicker(model, chain, reduction.Reduced())
    elif name in THEIRS:
        module, step, settings = THEIRS[name]
        model = chain.run(module, step, model, **settings)
        alias = "stream_clean" if "snowblind" in name else "clean_flicker_noise"
        if chain.record[alias]["status"] != "COMPLETE":
            raise SystemExit(f"{name}: {chain.record[alias]['status']}")
    return model


def lines(image: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and number of pixels of every line of every amplifier that has enough of them."""
    split = (AMPLIFIERS, -1, image.shape[1])
    number = free.reshape(split).sum(axis=1)
    total = np.where(free, image, 0).reshape(split).sum(axis=1)
    enough = number > LINE
    return total[enough] / number[enough], number[enough]


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def measure(scene: Scene) -> dict[str, Any]:
    """Numbers of one exposure, by the way in which it was cleaned."""
    quiet, chain, flags = prepare(scene.paths["quiet"], drifts=False)
    noisy, chain, own_flags = prepare(scene.paths["noisy"], drifts=True)
    reference, usable = fit(quiet, chain)
    # what one of the two flags and the other does not has another noise, not other stripes
    usable &= ~scene.touched & (flags.flags == own_flags.flags).all(axis=0)
    rates, seconds = {}, {}
    for name in ("none", "pureparallel", *THEIRS):
        model, start = noisy.copy(), time.process_time()
        model = clean(name, model, chain)
        seconds[name] = time.process_time() - start
        rates[name], good = fit(model, chain)
        usable &= good
    error = reference - scene.truth
    dim = usable & (scene.source < 0.02)
    sigma = 1.4826 * float(np.median(np.abs(error[dim] - np.median(error[dim]))))
    free = usable & (scene.source < FAINT * sigma)
    floor = sigma * float(np.sqrt(np.mean(1 / lines(error, free)[1])))
    boxes = [np.s_[y - BOX : y + BOX + 1, x - BOX : x + BOX + 1] for y, x in scene.places
             if BOX <= y < PIXELS - BOX and BOX <= x < PIXELS - BOX]  # fmt: skip
    boxes = [box for box in boxes if usable[box].all() and scene.source[box].sum() > BRIGHT]

    def numbers(rate: np.ndarray, cpu: float) -> dict[str, Any]:
        change = rate - reference
        return {
            "literal": rms(lines(rate - scene.truth, free)[0]) / floor,
            "left": rms(lines(change, usable)[0]) / floor,
            "sky": 100 * float(change[free].mean()) / scene.sky,
            "moved": 100 * float((rate - rates["none"])[free].mean()) / scene.sky,
            "flux": 100 * float(np.median([change[b].sum() / scene.source[b].sum() for b in boxes])) if boxes else None,
            "cpu": cpu,
        }  # fmt: skip

    return {
        "floor": floor, "free": float(free.mean()), "sources": len(boxes), "sky": scene.sky,
        "methods": {name: numbers(rates[name], seconds[name]) for name in rates}
        | {"no 1/f noise": numbers(reference, 0.0)},
    }  # fmt: skip


def main(wheels: list[str]) -> dict[str, Any]:
    """Numbers by wheel."""
    references.build(FOLDER / "crds", FRAME, SEED, [FILTER])
    calibration.configure(FOLDER / "crds", "jwst_0001.pmap")
    calibration.ready([*(module for module, _ in reduction.CHAIN), "jwst.lib.dispaxis", "snowblind"])
    table = sky.make(CENTRE, PIXELS / 512 * 0.28, SEED, **SKY)
    return {wheel: measure(Scene(observation(wheel), table)) for wheel in wheels}


if __name__ == "__main__":
    (FOLDER / "flicker.json").write_text(json.dumps(main(sys.argv[3:]), indent=1))
