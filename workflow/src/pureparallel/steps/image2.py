"""Calibrate direct rate images: world coordinates, flat field, surface brightness, and artifacts marked."""

import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import UserError, batches, calibration, io, log
from .. import exposures as rate_images
from ..core import masks as bitmasks
from ..exposures import Exposure
from ..provenance import Lineage

CHAIN = (
    ("jwst.assign_wcs", "AssignWcsStep"),
    ("jwst.flatfield", "FlatFieldStep"),
    ("jwst.photom", "PhotomStep"),
)
"""Module and class of the pipeline's steps, in their order."""


def image2(
    *,
    rates: Path,
    masks: Path,
    references: Path,
    calibrated: Path,
    causes: list[str] | None = None,
    exclude: list[str] | None = None,
    exclude_scattered: bool = True,
) -> None:
    """Calibrate the direct images of a chunk.

    Parameters
    ----------
    rates : Path
        Folder that detector1 made of this chunk.
    masks : Path
        Folder that mask_artifacts made of it.
    references : Path
        Input: the record of the reference files, or the root of a CRDS cache, whose operational context then holds.
    calibrated : Path
        Output folder: per exposure <exposure>_cal.fits, in MJy/sr, and <exposure>.metrics.json, which has the reason
        where there is no image; left_out is true where that is on purpose.
    causes : list of str
        Artifacts whose pixels are not to be used, of those that mask_artifacts marks; by default all.
    exclude : list of str
        Exposures that the user leaves out.
    exclude_scattered : bool
        Leave out exposures that mask_artifacts finds spoilt by scattered light.
    """
    logger = log.of("image2")
    chosen = list(bitmasks.CAUSES) if causes is None else causes
    for cause in chosen:
        if cause not in bitmasks.CAUSES:
            raise UserError(f"image2.causes: {cause!r} is no artifact; there are {', '.join(bitmasks.CAUSES)}")
    context = calibration.configure(references)
    calibration.ready(module for module, _ in CHAIN)
    known = rate_images.in_folder(rates)
    masked = {name: io.read_json(masks / f"{name}.metrics.json") for name in known}
    unused = {
        name: why_not(one, masked[name], exclude or [], exclude_scattered=exclude_scattered)
        for name, one in known.items() if isinstance(one, Exposure)
    }  # fmt: skip
    items: dict[str, list[Path]] = {name: [masks / f"{name}.metrics.json"] for name in known}
    for name, one in known.items():
        if isinstance(one, Exposure) and not unused[name] and not masked[name]["reason"]:
            items[name] = [one.path, masks / f"{name}_mask.fits"]

    def work(name: str, inputs: Sequence[Path], lineage: Lineage, folder: Path) -> Mapping[str, Any]:
        one = known[name]
        if isinstance(one, str):
            raise UserError(f"no rate image: {one}")
        if unused[name]:
            return {"reason": unused[name], "left_out": True}
        if masked[name]["reason"]:
            raise UserError(f"no mask: {masked[name]['reason']}")
        return calibrate(one, inputs[1], lineage, folder)

    options = {"context": context, "causes": chosen}
    batches.run(calibrated, items, work, step="image2", options=options, logger=logger)


def why_not(one: Exposure, masked: Mapping[str, Any], exclude: Sequence[str], *, exclude_scattered: bool) -> str:
    """Why an exposure is not asked to give a calibrated image; empty where it is."""
    kind = str(one.key("EXP_TYPE"))
    if not kind.endswith("_IMAGE"):
        return f"not a direct image ({kind})"
    return rate_images.left_out(one.name, masked, exclude, exclude_scattered=exclude_scattered)


def calibrate(one: Exposure, mask: Path, lineage: Lineage, folder: Path) -> Mapping[str, Any]:
    """Calibrate one exposure: write its image into `folder`, and give its metrics."""
    from stdatamodels.jwst.datamodels import ImageModel

    start = time.process_time()
    rate_images.read_rate(one.path)  # refuses a file that is not whole
    bits, names = bitmasks.read_mask(mask)
    chain, model = calibration.Chain("image2pipeline"), ImageModel(str(one.path))
    if bits.shape != model.shape:
        raise UserError(f"{mask}: of shape {bits.shape}, but {one.path} of {model.shape}; make the mask again")
    for module, name in CHAIN:
        model = chain.run(module, name, model)
    skipped = [name for name, done in chain.record.items() if done["status"] != "COMPLETE"]
    if skipped:
        raise UserError(f"{one.path}: {', '.join(skipped)} skipped: the context has no reference for it")
    # after the pipeline's steps, which would blank these pixels: a reader may still choose by cause
    dq = bitmasks.merge(model.dq, bits, lineage.options["causes"], names)
    before, after = (float(np.mean(flags & bitmasks.DO_NOT_USE != 0)) for flags in (model.dq, dq))
    model.dq = dq
    calibration.save(folder / f"{one.name}_cal.fits", model, lineage)
    return {
        "filter": str(model.meta.instrument.filter),
        "pupil": str(model.meta.instrument.pupil),
        "conversion": float(model.meta.photometry.conversion_megajanskys),
        "pixel_steradian": float(model.meta.photometry.pixelarea_steradians),
        "not_used_before_masks": before,
        "not_used": after,
        "steps": chain.record,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cpu_seconds": round(time.process_time() - start, 2),
    }
