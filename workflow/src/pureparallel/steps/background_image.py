"""Subtract the sky from direct images, take out what is left of stripes, and state the noise that they have."""

import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import UserError, batches, calibration, io, log, names
from ..core import background as sky
from ..core.background_fit import box_levels
from ..provenance import Lineage

CAL, DO_NOT_USE = "_cal.fits", 1


def background_image(
    *,
    calibrated: Path,
    subtracted: Path,
    figures: Path,
    box: int = 32,
    scale: float = 64.0,
    order: int = 2,
    threshold: float = 1.0,
    least_free: float = 0.2,
    stripes: bool = True,
    rescale_errors: bool = True,
) -> None:
    """Subtract the background of the direct images of a chunk.

    Parameters
    ----------
    calibrated : Path
        Folder that image2 made of this chunk.
    subtracted : Path
        Output folder: per exposure <exposure>_bkgsub.fits, whose extension BKG holds what was subtracted, and
        <exposure>.metrics.json, which has the reason where there is no image; left_out is true where that is on
        purpose.
    figures : Path
        Output folder: <exposure>_background.jpg.
    box : int
        Pixels on a side of the boxes whose levels the background is fitted to.
    scale : float
        Shortest half wave of the background, pixels: what is smaller is left to sources.
    order : int
        0 for a constant, 1 for a plane, 2 for a background of any shape.
    threshold : float
        Factor on the significance from which on light is a source's; lower ones mask more.
    least_free : float
        Fraction of the good pixels that is kept as sky, however crowded the field.
    stripes : bool
        Subtract medians of columns and rows where they are significant.
    rescale_errors : bool
        Scale the errors of reads and sky to the scatter of the sky; photon noise of sources stays as it is.
    """
    options = {key: value for key, value in locals().items() if key not in ("calibrated", "subtracted", "figures")}
    logger = log.of("background_image")
    if not calibrated.is_dir():
        raise UserError(f"{calibrated}: no such folder")
    calibration.ready(["stdatamodels.jwst.datamodels"])
    items: dict[str, list[Path]] = {}
    told: dict[str, dict[str, Any]] = {}
    for path in sorted(calibrated.glob("*.metrics.json")):
        name = names.check("exposure", path.name.removesuffix(".metrics.json"), where=str(path))
        told[name] = io.read_json(path)
        items[name] = [] if told[name].get("reason") else [calibrated / f"{name}{CAL}"]

    def work(name: str, inputs: Sequence[Path], lineage: Lineage, folder: Path) -> Mapping[str, Any]:
        if inputs:
            return subtract(name, inputs[0], lineage, folder)
        return {key: told[name][key] for key in ("reason", "left_out") if key in told[name]}

    batches.run(subtracted, items, work, step="background_image", options=options, figures=figures, logger=logger)


def subtract(name: str, path: Path, lineage: Lineage, folder: Path) -> Mapping[str, Any]:
    """Subtract the background of one exposure: write its products into `folder`, and give its metrics."""
    from stdatamodels.jwst.datamodels import ImageModel

    from ..core.plot_background import background_figure

    start, options = time.process_time(), lineage.options
    io.open_fits(path, extensions=("SCI", "ERR", "DQ"))  # refuses a file that is not whole
    model = ImageModel(str(path))
    image, error, good = np.array(model.data), np.array(model.err), model.dq & DO_NOT_USE == 0
    try:
        found = sky.measure(
            image, error, good, box=options["box"], scale=options["scale"], order=options["order"],
            threshold=options["threshold"], least_free=options["least_free"], remove_stripes=options["stripes"],
            segments=amplifiers(model),
        )  # fmt: skip
    except ValueError as problem:
        raise UserError(f"{path}: {problem}") from problem
    taken = (found.background + found.stripes).astype(np.float32)
    model.data = image - taken
    if options["rescale_errors"]:
        rescale(model, found)
    model.instance.setdefault("extra_fits", {})["BKG"] = {"data": taken, "header": [["BUNIT", "MJy/sr", "subtracted"]]}
    cards = {
        "BKGLEVEL": (found.pedestal, "[MJy/sr] mean background, subtracted"),
        "BKGRMS": (found.structure, "[MJy/sr] its rms"),
        "BKGNOISE": (found.factor, "noise of the sky over that stated before"),
    }
    calibration.save(folder / f"{name}_bkgsub.fits", model, lineage, cards)
    metrics = measured(image - taken, np.asarray(model.err), error, found)
    title = f"{name}   {model.meta.instrument.filter} {model.meta.instrument.pupil}"
    figure = background_figure(image, good, taken, found, metrics, title)
    io.write_figure(folder / f"{name}_background.jpg", figure)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return metrics | {"peak_memory_mb": round(peak), "cpu_seconds": round(time.process_time() - start, 2)}


def amplifiers(model: Any) -> tuple[int, int]:
    """Amplifiers along y and along x of an exposure."""
    part = model.meta.subarray
    count = int(model.meta.exposure.noutputs or 1)
    if count == 1 or not part.xsize == part.ysize == 2048:
        return 1, 1
    # each reads a part of the fast axis
    return (count, 1) if abs(part.fastaxis) == 2 else (1, count)


def rescale(model: Any, found: sky.Sky) -> None:
    """Replace the variances of reads and photons, and the error with them; the flat's stays."""
    model.var_rnoise, model.var_poisson = sky.rescale(
        np.asarray(model.data), found.background, found.sources, np.asarray(model.var_rnoise),
        np.asarray(model.var_poisson), found.factor,
    )  # fmt: skip
    total = np.array(model.var_rnoise) + np.asarray(model.var_poisson)
    if model.hasattr("var_flat"):
        total = total + np.nan_to_num(model.var_flat)
    model.err = np.sqrt(total)


def measured(left: np.ndarray, error: np.ndarray, before: np.ndarray, found: sky.Sky) -> dict[str, Any]:
    """Metrics of one exposure: `left` is its image less the background."""
    noise = float(np.median(before[found.free]))
    levels, errors = box_levels(left, found.free, 64)
    known = np.isfinite(levels)
    excess = np.mean(levels[known] ** 2) - np.mean(errors[known] ** 2) if known.any() else np.nan
    return {
        "background": found.pedestal,
        "structure": found.structure,
        "noise": noise,
        "sky_median": float(np.median(left[found.free])),
        "large_scale_rms": float(np.sqrt(max(excess, 0))) / noise,
        "masked": float(found.tiers[-1]),
        "masked_by_tier": list(found.tiers),
        "free": float(found.free.mean()),
        "stripes": found.lines,
        "noise_factor": found.factor,
        "pull_mad_before": sky.scatter((left / before)[found.free]),
        "pull_mad": sky.scatter((left / error)[found.free]),
    }
