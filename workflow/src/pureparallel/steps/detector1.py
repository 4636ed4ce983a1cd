"""Reduce raw ramps to rate images with the calibration pipeline jwst, and with what faint galaxies need beyond it."""

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import UserError, batches, calibration, io, log, names, reduction
from ..core import ramps
from ..provenance import Lineage, dependencies

INSTRUMENTS = ("NIRISS",)


def detector1(
    *,
    uncal: list[Path],
    references: Path,
    rates: Path,
    figures: Path,
    rejection_threshold: float = 4.0,
    snowballs: bool = True,
    snowball_expand: float = 1.5,
    flicker_noise: Literal["group", "jwst", "none"] = "group",
    column_jumps: bool = True,
    column_jump_threshold: float = 6.0,
    bad_pixels: bool = True,
    honest_errors: bool = True,
    charge_migration: Literal["reference", "always", "never"] = "reference",
    charge_threshold: float = 25000.0,
) -> None:
    """Reduce raw exposures to rate images.

    Parameters
    ----------
    uncal : list of Path
        Raw exposures, named <exposure>_uncal.fits.
    references : Path
        Input: the record of the reference files, or the root of a CRDS cache, whose operational context then holds.
    rates : Path
        Output folder: per exposure <exposure>_rate.fits, the flags of its groups in <exposure>_groups.fits, and
        <exposure>.metrics.json, which has the reason where it failed.
    figures : Path
        Output folder: <exposure>_detector1.jpg.
    rejection_threshold : float
        Sigma above which a step between two groups is a cosmic ray; ramps of more than ten groups get a threshold
        at which they have no more false alarms than these.
    snowballs : bool
        Flag the halos of large hits.
    snowball_expand : float
        Radius of the flagged halo over the radius that jumps.
    flicker_noise : {"group", "jwst", "none"}
        Subtract 1/f noise from the groups: by a model of its spectrum with sources masked and the sky fitted, by the
        pipeline's clean_flicker_noise, or not at all.
    column_jumps : bool
        Find rows of the image whose level jumps between two reads, and take the jumps out.
    column_jump_threshold : float
        Sigma above which a row's jump is one.
    bad_pixels : bool
        Flag pixels that no reference knows: hot or dead compared with their neighbours, or stepping down.
    honest_errors : bool
        State the variance that the slopes have, that of the dark current included, instead of the pipeline's formula.
    charge_migration : {"reference", "always", "never"}
        Leave out groups in which bright pixels spill charge to their neighbours: as the reference for the filter
        says, always with `charge_threshold`, or never.
    charge_threshold : float
        Signal in DN above which charge spills, with charge_migration always.
    """
    logger = log.of("detector1")
    context = calibration.configure(references)
    calibration.ready([*(module for module, _ in reduction.CHAIN), "jwst.lib.dispaxis"])
    options = {
        "context": context,
        "rejection_threshold": rejection_threshold,
        "snowballs": snowballs,
        "snowball_expand": snowball_expand,
        "flicker_noise": flicker_noise,
        "column_jumps": column_jumps,
        "column_jump_threshold": column_jump_threshold,
        "bad_pixels": bad_pixels,
        "honest_errors": honest_errors,
        "charge_migration": charge_migration,
        "charge_threshold": charge_threshold,
    }
    items = {exposure_of(path): [path] for path in uncal}
    batches.run(rates, items, reduce, step="detector1", options=options, figures=figures, logger=logger)


def exposure_of(path: Path) -> str:
    """The exposure in a raw file's name."""
    if not path.name.endswith("_uncal.fits"):
        raise UserError(f"{path}: not the name of a raw exposure; expected <exposure>_uncal.fits")
    return names.check("exposure", path.name.removesuffix("_uncal.fits"), where=str(path))


def reduce(name: str, inputs: Sequence[Path], lineage: Lineage, folder: Path) -> Mapping[str, Any]:
    """Reduce one exposure: write its products into `folder`, and give its metrics."""
    (uncal,) = inputs
    start = time.process_time()
    kept = refuse(uncal)
    done = reduction.calibrate(uncal, lineage.options)
    image = done.rate
    if not np.any(np.asarray(image.dq) & ramps.DO_NOT_USE == 0):
        raise UserError(f"{uncal}: no pixel of the rate image is usable: all are saturated, or flagged otherwise")
    calibration.save(folder / f"{name}_rate.fits", image, lineage, kept)
    write_groups(folder / f"{name}_groups.fits", done, lineage)
    metrics = measure(done)
    draw(folder / f"{name}_detector1.jpg", done, name, metrics)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return metrics | {
        "software": dependencies(),
        "peak_memory_mb": round(peak),
        "cpu_seconds": round(time.process_time() - start, 2),
    }


def refuse(path: Path) -> dict[str, tuple[Any, str]]:
    """Refuse a raw exposure that cannot be reduced; give the keywords that the pipeline would lose."""
    hdus = io.open_fits(path, extensions=("SCI",))
    header, shape = hdus[0].header, hdus["SCI"].shape
    if header.get("INSTRUME") not in INSTRUMENTS:
        raise UserError(f"{path}: INSTRUME is {header.get('INSTRUME')!r}, expected {' or '.join(INSTRUMENTS)}")
    if len(shape) != 4 or shape[0] != 1:
        raise UserError(f"{path}: SCI has shape {shape}, expected one integration of (groups, rows, columns)")
    if shape[1] < 2 or header.get("NGROUPS") != shape[1]:
        raise UserError(f"{path}: {shape[1]} groups, NGROUPS is {header.get('NGROUPS')}; a slope needs two at least")
    data = hdus["SCI"].data
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise UserError(f"{path}: SCI has {np.sum(~np.isfinite(data))} values that are not finite")
    if data.min() == data.max():
        raise UserError(f"{path}: all counts are {data.min()}; fetch the file again")
    return {"SIMULATD": (True, "simulated: no telescope has seen this")} if header.get("SIMULATD") else {}


def write_groups(path: Path, done: reduction.Reduced, lineage: Lineage) -> None:
    """Write what happened in the groups: JUMP, SATURATED and SNOWBALL, packed along x, and a table of COLUMN_JUMPS."""
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["NGROUPS"], hdus[0].header["NY"], hdus[0].header["NX"] = done.flags.shape
    maps = {
        "JUMP": done.flags & ramps.JUMP != 0,
        "SATURATED": done.flags & ramps.SATURATED != 0,
        "SNOWBALL": done.snowball_mask,
    }
    for name, mask in maps.items():
        hdu = fits.ImageHDU(ramps.packed(mask), name=name)
        hdu.header["PACKED"] = (True, "8 pixels per byte, first in highest bit")
        hdus.append(hdu)
    columns = [("row", "i4"), ("group", "i4"), ("share", "f4"), ("size", "f4"), ("sigma", "f4")]
    rows = [(j.row, j.group, j.share, j.size, j.sigma) for j in done.column_jumps]
    hdus.append(fits.BinTableHDU(np.array(rows, columns), name="COLUMN_JUMPS"))
    io.write_fits(path, hdus, lineage)


def measure(done: reduction.Reduced) -> dict[str, Any]:
    """Metrics of one exposure."""
    rate, dq = np.asarray(done.rate.data), np.asarray(done.rate.dq)
    sky = ramps.sky_pixels(rate, dq & ramps.DO_NOT_USE == 0)
    exposure = done.rate.meta.exposure
    jumps = done.flags & ramps.JUMP != 0
    return {
        "do_not_use": float(np.mean(dq & ramps.DO_NOT_USE != 0)),
        "jump_rate": float(jumps[1:].mean() / exposure.group_time),
        "jump_pixels": float(jumps.any(axis=0).mean()),
        "saturated_pixels": float((done.flags & ramps.SATURATED != 0).any(axis=0).mean()),
        "snowballs": len(done.snowballs),
        "snowball_pixels": float(done.snowball_mask.any(axis=0).mean()),
        "snowball_list": [asdict(one) for one in done.snowballs],
        "sky": float(np.median(rate[sky])) if sky.any() else float("nan"),
        "column_rms_before": ramps.stripe_rms(done.before, sky & np.isfinite(done.before), 0),
        "column_rms": ramps.stripe_rms(rate, sky, 0),
        "row_rms_before": ramps.stripe_rms(done.before, sky & np.isfinite(done.before), 1),
        "row_rms": ramps.stripe_rms(rate, sky, 1),
        "column_jumps": len(done.column_jumps),
        "flicker": done.flicker,
        "new_bad_pixels": done.bad,
        "steps": done.steps,
    }


def draw(path: Path, done: reduction.Reduced, name: str, metrics: Mapping[str, Any]) -> None:
    """Draw the exposure before and after, and its flags."""
    from ..core.plot_exposure import detector1_figure

    figure = detector1_figure(
        done.before, np.asarray(done.rate.data), np.asarray(done.rate.dq), done.flags, done.snowball_mask, name, metrics
    )
    io.write_figure(path, figure)
