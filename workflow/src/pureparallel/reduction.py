"""One raw exposure to a rate image: the pipeline's steps, and between them what faint galaxies need beyond these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, calibration
from .core import columnjump, flicker, jumps, ramps, slope_errors
from .core.columnjump import ColumnJump

CHAIN = (
    ("jwst.group_scale", "GroupScaleStep"),
    ("jwst.dq_init", "DQInitStep"),
    ("jwst.saturation", "SaturationStep"),
    ("jwst.superbias", "SuperBiasStep"),
    ("jwst.refpix", "RefPixStep"),
    ("jwst.linearity", "LinearityStep"),
    ("jwst.dark_current", "DarkCurrentStep"),
    ("jwst.charge_migration", "ChargeMigrationStep"),
    ("jwst.jump", "JumpStep"),
    ("jwst.clean_flicker_noise", "CleanFlickerNoiseStep"),
    ("jwst.ramp_fitting", "RampFitStep"),
    ("jwst.gain_scale", "GainScaleStep"),
)
"""Module and class of the pipeline's steps for near-infrared detectors, in their order; those that jwst leaves off,
or that other instruments need, are not among them."""

REQUIRED = ("dq_init", "saturation", "superbias", "linearity", "dark_current", "ramp_fit")
"""Steps without which there is no rate image."""


@dataclass
class Reduced:
    """One exposure, reduced.

    Attributes
    ----------
    rate : ImageModel
    before : ndarray, shape (ny, nx)
        Mean slope in DN/s before column jumps and 1/f noise were taken out.
    flags : ndarray of uint8, shape (ngroups, ny, nx)
        Of the groups, as the ramps were fitted with.
    column_jumps : list of ColumnJump
    flicker : dict
        What the removal of 1/f noise tells of itself.
    snowballs : list of Snowball
    snowball_mask : ndarray of bool, shape (ngroups, ny, nx)
    dark_missing : bool
        Whether the pipeline left the dark current's noise out, as it does where its model has no array for it.
    bad : dict of str to int
        Pixels newly found bad, by kind.
    steps : dict
        By step: status and CPU seconds.
    """

    rate: Any = None
    before: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    flags: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 0), np.uint8))
    column_jumps: list[ColumnJump] = field(default_factory=list)
    flicker: dict[str, float] = field(default_factory=dict)
    snowballs: list[ramps.Snowball] = field(default_factory=list)
    snowball_mask: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0, 0), bool))
    dark_missing: bool = False
    bad: dict[str, int] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)


def parameters(options: Mapping[str, Any], ngroups: int) -> dict[str, dict[str, Any]]:
    """What the options mean for the pipeline's steps."""
    charge: dict[str, Any] = {
        "reference": {},
        "never": {"skip": True},
        "always": {"skip": False, "signal_threshold": options["charge_threshold"]},
    }[options["charge_migration"]]
    return {
        "ChargeMigrationStep": charge,
        "JumpStep": {
            "rejection_threshold": ramps.same_false_alarms(options["rejection_threshold"], ngroups - 1),
            "expand_large_events": False,  # find_snowballs does
            "maximum_cores": "1",
        },
        "CleanFlickerNoiseStep": {"skip": options["flicker_noise"] != "jwst"},
    }


def calibrate(path: Path, options: Mapping[str, Any]) -> Reduced:
    """Run the pipeline's steps and ours on one raw exposure."""
    from stdatamodels.jwst.datamodels import RampModel

    chain, done = calibration.Chain("detector1pipeline"), Reduced()
    model: Any = RampModel(str(path))
    given = parameters(options, model.shape[1])
    for module, name in CHAIN:
        if name == "JumpStep":
            data, flags = model.data[0], model.groupdq[0]
            done.before = ramps.slope(data, flags, model.meta.exposure.group_time)
            if options["column_jumps"]:
                with chain.own("column_jumps"):
                    repair_columns(model, options, done)
        if name == "RampFitStep":
            with chain.own("events"):
                flag_events(model, chain, options, done)
            # with all flags known: what a snowball left would look like stripes
            if options["flicker_noise"] == "group":
                with chain.own("flicker_noise"):
                    clean_flicker(model, chain, done)
        if name == "JumpStep" and find_jumps(model, chain, given[name]):
            continue
        model = chain.run(module, name, model, **given.get(name, {}))
        if isinstance(model, tuple):
            model = model[0]
        if model is None:
            raise UserError(f"{path}: no pixel has a slope: all are saturated, or flagged otherwise")
    skipped = [name for name in REQUIRED if chain.record[name]["status"] != "COMPLETE"]
    if skipped:
        raise UserError(f"{path}: {', '.join(skipped)} skipped: the context has no reference for it")
    done.rate, done.steps = model, chain.record
    if options["honest_errors"]:
        correct_errors(done, chain)
    if options["bad_pixels"]:
        flag_pixels(done)
    return done


def repair_columns(model: Any, options: Mapping[str, Any], done: Reduced) -> None:
    """Take column jumps out of the groups, before they look like cosmic rays of whole rows."""
    data, flags = model.data[0], model.groupdq[0]
    spoilt = (model.pixeldq & ramps.DO_NOT_USE != 0) | (flags & (ramps.DO_NOT_USE | ramps.SATURATED) != 0).any(axis=0)
    threshold = options["column_jump_threshold"]
    done.column_jumps = columnjump.find(data, spoilt, model.meta.exposure.nframes, threshold=threshold)
    columnjump.repair(data, done.column_jumps)


def clean_flicker(model: Any, chain: calibration.Chain, done: Reduced) -> None:
    """Take 1/f noise out of the groups; the sky that is to stay is the flat's, or the grism's background."""
    exposure, part, instrument = model.meta.exposure, model.meta.subarray, model.meta.instrument
    dispersed = exposure.type.endswith("_WFSS")
    sky = chain.reference(model, "bkg" if dispersed else "flat")
    gain, noise = detector_noise(model, chain)
    full = part.xsize == part.ysize == 2048
    layout = flicker.Layout(part.fastaxis, part.slowaxis, exposure.noutputs if full else 1)
    from jwst.lib.dispaxis import get_dispersion_direction

    axis = get_dispersion_direction(exposure.type, None, instrument.filter, instrument.pupil) if dispersed else None
    found = flicker.clean(
        model.data[0],
        layout,
        group_time=exposure.group_time,
        gain=gain,
        read_noise=noise,
        bad=model.pixeldq & (ramps.DO_NOT_USE | ramps.REFERENCE_PIXEL) != 0,
        group_dq=model.groupdq[0],
        templates=None if sky is None else np.nan_to_num(sky)[None],
        dispersion_axis=axis,
    )
    done.flicker = {
        key: float(getattr(found, key)) for key in ("masked", "rms_before", "rms_after", "floor", "flicker")
    }
    model.meta.cal_step.clean_flicker_noise = "COMPLETE"


def detector_noise(model: Any, chain: calibration.Chain) -> tuple[float, float]:
    """Median gain in e/DN, and read noise of one group in DN; the reference has that of a difference of two reads."""
    gain, noise = chain.reference(model, "gain"), chain.reference(model, "readnoise")
    if gain is None or noise is None:
        raise UserError(f"{model.meta.filename}: no gain or read-noise reference covers it")
    return float(np.nanmedian(gain)), float(np.nanmedian(noise) / np.sqrt(2 * model.meta.exposure.nframes))


def find_jumps(model: Any, chain: calibration.Chain, given: Mapping[str, Any]) -> bool:
    """Flag cosmic rays as the jump step does, with its parameters, where these ask for nothing beyond it.

    Returns
    -------
    bool
        False where the step itself has to be run.
    """
    step = chain.step("jwst.jump", "JumpStep", model, **given)
    gain, noise = chain.reference(model, "gain"), chain.reference(model, "readnoise")
    beyond = step.find_showers or step.after_jump_flag_time1 or step.after_jump_flag_time2 or not step.only_use_ints
    if step.skip or beyond or model.shape[1] < 3 or gain is None or noise is None:
        return False
    with chain.own("jump"):
        useless = ~(gain > 0)
        model.pixeldq[useless] |= ramps.NO_GAIN | ramps.DO_NOT_USE
        thresholds = jumps.Thresholds(
            many=step.rejection_threshold,
            four=step.four_group_rejection_threshold,
            three=step.three_group_rejection_threshold,
            neighbours=(step.min_jump_to_flag_neighbors, step.max_jump_to_flag_neighbors)
            if step.flag_4_neighbors
            else None,
            single_pass=step.min_diffs_single_pass,
        )
        jumps.flag_jumps(model.data[0], model.groupdq[0], gain, noise, model.meta.exposure.nframes, thresholds)
        model.meta.cal_step.jump = "COMPLETE"
    return True


def flag_events(model: Any, chain: calibration.Chain, options: Mapping[str, Any], done: Reduced) -> None:
    """Flag pixels that step down, and the halos of large hits; keep the flags."""
    data, flags = model.data[0], model.groupdq[0]
    if options["bad_pixels"]:
        gain, noise = detector_noise(model, chain)
        wild = ramps.unsteady(data, flags, gain=gain, read_noise=noise)
        wild &= model.pixeldq & ramps.DO_NOT_USE == 0
        model.pixeldq[wild] |= ramps.TELEGRAPH | ramps.DO_NOT_USE
        done.bad["unsteady"] = int(wild.sum())
    done.snowball_mask = np.zeros(flags.shape, bool)
    if options["snowballs"]:
        found = ramps.find_snowballs(flags, nframes=model.meta.exposure.nframes, expand=options["snowball_expand"])
        done.snowballs, done.snowball_mask = found
        flags[done.snowball_mask & (flags & ramps.SATURATED == 0)] |= ramps.JUMP
    done.flags = np.array(flags)
    done.dark_missing = not np.any(model.average_dark_current)


def correct_errors(done: Reduced, chain: calibration.Chain) -> None:
    """Replace the stated variances of the slopes by those that they have."""
    model, exposure = done.rate, done.rate.meta.exposure
    gain, noise = detector_noise(model, chain)
    dark = chain.reference(model, "dark", "AVDRKCUR") if done.dark_missing else None
    model.var_poisson, model.var_rnoise = slope_errors.honest(
        model.data, model.var_poisson, model.var_rnoise, done.flags, nframes=exposure.nframes,
        frame_time=exposure.frame_time, gain=gain, read_noise=noise * np.sqrt(exposure.nframes),
        dark=0.0 if dark is None else np.nan_to_num(dark) / gain,
    )  # fmt: skip
    model.err = np.sqrt(model.var_poisson + model.var_rnoise)


def flag_pixels(done: Reduced) -> None:
    """Flag pixels that are hot or dead beside their neighbours."""
    model = done.rate
    hot, dead = ramps.unlike_optics(model.data, model.err, model.dq & ramps.DO_NOT_USE == 0)
    model.dq[hot] |= ramps.HOT | ramps.DO_NOT_USE
    model.dq[dead] |= ramps.DEAD | ramps.DO_NOT_USE
    done.bad |= {"hot": int(hot.sum()), "dead": int(dead.sum())}
