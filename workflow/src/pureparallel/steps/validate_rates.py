"""Compare a simulated field's count rates with the truth."""

from pathlib import Path

import numpy as np

from .. import UserError, io, log, names
from ..core.pulls import pulls

EVENTS = ("cosmic_ray", "snowball_core", "snowball_halo", "trail", "saturated", "column_jump")
"""Disturbances of which it is told how many of their pixels are left in use."""


def validate_rates(*, field: str, rates: list[Path], truth: list[Path], metrics: Path, figure: Path) -> None:
    """Measure the pulls of all exposures' rates, over the pixels in use.

    Parameters
    ----------
    field : str
        Name of the field.
    rates : list of Path
        Input: folders of <exposure>_rate.fits.
    truth : list of Path
        Input: <exposure>_truth.fits of every exposure.
    metrics : Path
        Output: JSON, per exposure.
    figure : Path
        Output: histograms, medians and widths of the pulls, PNG.
    """
    from ..core.plot_simulation import pulls_figure
    from ..simulate.ramp import read_truth

    logger = log.of("validate_rates")
    files = {path.name.removesuffix("_rate.fits"): path for folder in rates for path in folder.glob("*_rate.fits")}
    found = {}
    for i, path in enumerate(truth, start=1):
        exposure = names.check("exposure", path.name.removesuffix("_truth.fits"), where=str(path))
        log.progress(logger, i, len(truth), exposure)
        if exposure not in files:
            logger.warning("%s has no count rate: detector1 says why", exposure)
            continue
        true = read_truth(path)
        rate = io.open_fits(files[exposure], instrument="NIRISS", extensions=("SCI", "ERR", "DQ"))
        value, error, good = rate["SCI"].data, rate["ERR"].data, (rate["DQ"].data & 1) == 0
        if value.shape != true["rate"].shape:
            raise UserError(f"{files[exposure]}: SCI is {value.shape}, its truth {path} is {true['rate'].shape}")
        header = rate[0].header
        disperser = header["FILTER"] if header["FILTER"].startswith("GR") else ""
        found[exposure] = {
            "label": f"{exposure} {disperser or 'direct'} {header['PUPIL']}",
            "dispersed": bool(disperser),
            **pulls(value, error, true["rate"], good),
            "not_used": float(1 - good.mean()),
            "left_in_use": {name: left(true[name], good) for name in EVENTS},
        }
    if not found:
        raise UserError(
            f"field {field}: none of {len(truth)} simulated exposures has a count rate; see detector1's log"
        )
    io.write_figure(figure, pulls_figure(found, f"{field}: count rates against the truth"))
    io.write_json(metrics, {"field": field, "simulated": True, "exposures": found})
    medians, widths = (np.array([one[key] for one in found.values()]) for key in ("median", "mad"))
    logger.info(
        "%d exposures: median pull %.3f to %.3f, width %.3f to %.3f",
        len(found), np.nanmin(medians), np.nanmax(medians), np.nanmin(widths), np.nanmax(widths),
    )  # fmt: skip


def left(mask: np.ndarray, good: np.ndarray) -> float | None:
    """Fraction of a disturbance's pixels that are in use all the same; None where there was none."""
    mask = mask.any(axis=0)
    return float(good[mask].mean()) if mask.any() else None
