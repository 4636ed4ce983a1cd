"""Simulate one raw NIRISS exposure of the simulated sky, with the truth of everything that disturbs it."""

import json
from functools import partial
from pathlib import Path

from .. import UserError, io, log, names
from ..provenance import Lineage, sha256


def simulate_exposure(*, observation: str, sky: Path, uncal: Path, truth: Path, figure: Path, metrics: Path) -> None:
    """Point, take light, read the ramp, write it as Level 1b.

    Parameters
    ----------
    observation : str
        JSON: the exposure's row of the schedule, with what it needs of the others' and of the options.
    sky : Path
        Input: the truth table of the field's sources.
    uncal : Path
        Output: the raw exposure.
    truth : Path
        Output: the expected count rate, where the telescope truly pointed, and one map per disturbance.
    figure : Path
        Output: the ramp, the light and the disturbances.
    metrics : Path
        Output: JSON.
    """
    from ..core.plot_simulation import exposure_figure
    from ..simulate import header, observe, ramp
    from ..simulate import sky as skies
    from ..simulate.detector import make_detector
    from ..simulate.effects import Effects
    from ..simulate.instrument import Frame, Readout, seed_for

    logger = log.of("simulate_exposure")
    plan = json.loads(observation)
    exposure, seed, frame = plan["exposure"], plan["seed"], Frame(*plan["frame"])
    filter, grism, readout = plan["filter"], plan["grism"], Readout(plan["readpatt"], plan["ngroups"])
    try:
        effects = Effects().but(plan["effects"])
    except ValueError as error:
        raise UserError(f"simulate_exposure.effects: {error}") from error
    table = skies.read_truth(sky)
    pointing = observe.true_pointing(plan)
    claimed = observe.header_pointing(plan, pointing)
    found = observe.sources(table, pointing, frame)
    light = observe.light(plan, found, frame) + observe.sky_level(plan, frame)
    exposed = ramp.expose(
        light, make_detector(frame, seed), readout, effects, partial(seed_for, seed, exposure), filter=filter,
        grism=grism, bright=observe.bright(plan, found), previous=observe.previous(plan, table, frame),
    )  # fmt: skip
    meta = header.level1b(
        exposure=exposure, start=plan["start"], filter=filter, grism=grism, frame=frame, readout=readout,
        header_pointing=claimed, guide_star=observe.guide_star(plan), target=(0.0, 0.0) if plan["no_target"] else None,
        fwcpos=observe.fwcpos(plan), visit_exposures=plan["visit_exposures"],
    )  # fmt: skip
    lineage = Lineage.of("simulate_exposure", [sky], observation=plan)
    header.save(uncal, exposed.counts, meta)
    io.write_json(names.sidecar(uncal), lineage.to_dict(product=uncal.name, digest=sha256(uncal)))
    keywords = {
        "TRUE_RA": (pointing.ra, "[deg] true position of the aperture's reference"),
        "TRUE_DEC": (pointing.dec, "[deg] true position of the aperture's reference"),
        "TRUEROLL": (pointing.roll, "[deg] true position angle of V3 there"),
    }
    ramp.write_truth(truth, exposed, lineage, keywords)
    title = f"{exposure}: simulated, {grism or 'direct'} {filter}"
    io.write_figure(figure, exposure_figure(exposed, readout.group_time(frame), title))
    pixels = {name: int(exposed.mask(name).sum()) for name in (*ramp.PER_GROUP, *ramp.PER_PIXEL)}
    io.write_json(metrics, {"exposure": exposure, "simulated": True, "disturbed_pixels": pixels})
    logger.info("%s: %s", exposure, ", ".join(f"{name} {count}" for name, count in pixels.items() if count))
