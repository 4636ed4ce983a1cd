"""Subtract the sky from dispersed images, as it is beside all traces and zero orders, and state their noise."""

import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, batches, calibration, grisms, io, log, scenes
from .. import exposures as rate_images
from ..core import background_wfss as sky
from ..core import masks as bitmasks
from ..core.background import rescale, scatter
from ..core.pointing import Pointing
from ..exposures import Exposure, read_verdicts
from ..provenance import Lineage
from .background_image import amplifiers
from .spec2 import NEGLIGIBLE, SUBTRACTED, epoch, read_rows

if TYPE_CHECKING:
    from astropy.table import Row

Image = NDArray[np.floating]

COMPONENTS = ("reference", "constant", "smooth")
"""What the sky may be made of, besides templates of the user."""


def background_wfss(
    *,
    rates: Path,
    masks: Path,
    exposures: Path,
    wcs: Path,
    catalogue: Path,
    segmentation: Path,
    mosaics: list[Path],
    references: Path,
    subtracted: Path,
    figures: Path,
    gaia: list[Path] | None = None,
    templates: list[Path] | None = None,
    components: list[str] | None = None,
    limit: float = 0.2,
    least_free: float = 0.2,
    smooth_scale: float = 128.0,
    stripes: bool = True,
    rescale_errors: bool = True,
    causes: list[str] | None = None,
) -> None:
    """Subtract the sky of the dispersed images of a chunk.

    Parameters
    ----------
    rates : Path
        Folder that detector1 made of this chunk.
    masks : Path
        Folder that mask_artifacts made of it.
    exposures : Path
        Table of exposures, which says which are used.
    wcs : Path
        Table that grism_wcs made.
    catalogue : Path
        Catalogue of sources.
    segmentation : Path
        Whose pixels are whose.
    mosaics : list of Path
        The field's images.
    references : Path
        Input: the record of the reference files, or the root of a CRDS cache, whose operational context then holds.
    subtracted : Path
        Output folder: per exposure <exposure>_bkgsub.fits, in DN/s, whose extension BKG holds what was subtracted, and
        <exposure>.metrics.json, which has the reason where there is no image; left_out is true where that is on
        purpose.
    figures : Path
        Output folder: <exposure>_sky.jpg.
    gaia : list of Path
        Catalogue of stars (ECSV), or none: those that saturate or lie beside the mosaics have traces, too.
    templates : list of Path
        Further components of the sky, FITS images in extension SCI, in any unit and with the flat field in them. One
        whose header has DETECTOR, FILTER or PUPIL is for these alone.
    components : list of str
        What else the sky is made of: reference, the background that CRDS has; constant, even light; smooth, what has
        no template. By default all three.
    limit : float
        Pixels are masked where the model of all sources is brighter than so many times their noise.
    least_free : float
        Fraction of the good pixels that is kept as sky: where sources crowd, the limit is raised.
    smooth_scale : float
        Shortest half wave of the smooth part, pixels.
    stripes : bool
        Subtract medians of columns and rows where they are significant.
    rescale_errors : bool
        Scale the errors of reads and sky to the scatter of the sky; photon noise of sources stays as it is.
    causes : list of str
        Artifacts whose pixels are not to be used, of those that mask_artifacts marks; by default all.
    """
    logger = log.of("background_wfss")
    chosen = list(bitmasks.CAUSES) if causes is None else causes
    wanted = list(COMPONENTS) if components is None else components
    for key, given, possible in (("causes", chosen, bitmasks.CAUSES), ("components", wanted, COMPONENTS)):
        if unknown := [one for one in given if one not in possible]:
            raise UserError(f"background_wfss.{key}: no {unknown[0]!r}; there are {', '.join(possible)}")
    if not {"reference", "constant"} & set(wanted) and not templates:
        raise UserError("background_wfss.components: neither reference nor constant, and no templates: give one")
    options: dict[str, Any] = {
        "components": wanted, "limit": limit, "least_free": least_free, "smooth_scale": smooth_scale,
        "stripes": stripes, "rescale_errors": rescale_errors, "causes": chosen,
    }  # fmt: skip
    verdicts, rows = read_verdicts(exposures), read_rows(wcs)
    options["context"] = calibration.configure(references)
    calibration.ready([module for module, _ in grisms.STEPS])
    shared = [wcs, catalogue, segmentation, *mosaics, *(gaia or []), *(templates or [])]
    known = rate_images.in_folder(rates)
    items: dict[str, list[Path]] = {name: [exposures] for name in known}
    for name, one in known.items():
        if not isinstance(one, str) and not why_not(one, verdicts):
            items[name] = [one.path, masks / f"{name}_mask.fits", exposures, *shared]
    sources: list[scenes.Sources] = []

    def work(name: str, inputs: Sequence[Path], lineage: Lineage, folder: Path) -> Mapping[str, Any]:
        one = known[name]
        if isinstance(one, str):
            raise UserError(f"no rate image: {one}")
        if reason := why_not(one, verdicts):
            return {"reason": reason, "left_out": True}
        if name not in rows or not rows[name]["usable"]:
            why = str(rows[name]["reason"]) if name in rows else "it is not in the table"
            raise UserError(f"grism_wcs cannot place its traces: {why}")
        if not sources:  # once a chunk, and not at all where nothing is to be made
            sources.append(scenes.read_sources(catalogue, segmentation, mosaics, gaia or [], epoch(inputs[0])))
        return subtract(one, inputs[1], sources[0], rows[name], templates or [], lineage, folder)

    batches.run(subtracted, items, work, step="background_wfss", options=options, figures=figures, logger=logger)


def why_not(one: Exposure, verdicts: Mapping[str, str]) -> str:
    """Why an exposure's sky is not subtracted; empty where it is."""
    if one.name not in verdicts:
        return "not in the table of exposures; make the table again by select_exposures"
    kind = str(one.key("EXP_TYPE"))
    return verdicts[one.name] or ("" if kind.endswith("_WFSS") else f"not a dispersed image ({kind})")


def subtract(
    one: Exposure, mask: Path, sources: scenes.Sources, row: "Row", templates: Sequence[Path], lineage: Lineage,
    folder: Path,
) -> Mapping[str, Any]:  # fmt: skip
    """Subtract the sky of one exposure: write its products into `folder`, and give its metrics."""
    from stdatamodels.jwst.datamodels import ImageModel

    from ..core.plot_background_wfss import sky_figure

    start, options = time.process_time(), lineage.options
    rate_images.read_rate(one.path)  # refuses a file that is not whole
    bits, names = bitmasks.read_mask(mask)
    model = ImageModel(str(one.path))
    if bits.shape != model.shape:
        raise UserError(f"{mask}: of shape {bits.shape}, but {one.path} of {model.shape}; make the mask again")
    model.dq = bitmasks.merge(model.dq, bits, options["causes"], names)
    image, error, good = np.array(model.data), np.array(model.err), model.dq & bitmasks.DO_NOT_USE == 0
    light, flat, parts, along_x = expected(one, sources, row, error[good], templates, options["components"])
    try:
        found = sky.measure(
            image, error, good, templates=parts, flat=flat, light=light, along_x=along_x, limit=options["limit"],
            least_free=options["least_free"], remove_stripes=options["stripes"], segments=amplifiers(model),
            smooth_scale=options["smooth_scale"] if "smooth" in options["components"] else 0.0,
        )  # fmt: skip
    except ValueError as problem:
        raise UserError(f"{one.path}: {problem}") from problem
    taken = (found.background + found.stripes).astype(np.float32)
    model.data = image - taken
    if options["rescale_errors"]:
        rescale_variances(model, found)
    model.instance.setdefault("extra_fits", {})["BKG"] = {"data": taken, "header": [["BUNIT", "DN/s", "subtracted"]]}
    calibration.save(folder / f"{one.name}{SUBTRACTED}", model, lineage, keywords(found))
    metrics = measured(image - taken - light, np.asarray(model.err), error, good, found)
    title = f"{one.name}   {' '.join(one.elements)}"
    figure = sky_figure(image, good, light, found, along_x, title)
    io.write_figure(folder / f"{one.name}_sky.jpg", figure)
    model.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return metrics | {"peak_memory_mb": round(peak), "cpu_seconds": round(time.process_time() - start, 2)}


def expected(
    one: Exposure, sources: scenes.Sources, row: "Row", errors: Image, templates: Sequence[Path],
    components: Sequence[str],
) -> tuple[Image, Image, dict[str, Image], bool]:  # fmt: skip
    """What an exposure is expected to show.

    Returns
    -------
    light : ndarray, shape (ny, nx)
        Of all sources, as the detector sees it, DN/s.
    flat : ndarray, shape (ny, nx)
    parts : dict of str to ndarray, shape (ny, nx)
        Templates of the sky.
    along_x : bool
    """
    chain = calibration.Chain("spec2pipeline")
    where = Pointing(*(float(row[key]) for key in ("ra", "dec", "roll")))
    model = grisms.open_dispersed(one.path, where, chain)
    optics = grisms.optics(model)
    flat = chain.reference(model, "flat")
    if flat is None:
        raise UserError(f"{one.path}: the context has no flat field for it")
    flat = np.where(np.isfinite(flat) & (flat > 0), flat, 0)
    parts: dict[str, Image] = {}
    if "reference" in components:
        reference = chain.reference(model, "bkg")
        if reference is None:
            raise UserError(
                f"{one.path}: the context has no background of dispersed sky for it;"
                " take reference out of background_wfss.components"
            )
        parts["reference"] = np.nan_to_num(reference)
    for path in templates:
        if (array := read_template(path, one, flat.shape)) is not None:
            parts[path.stem] = array
    if "constant" in components:
        parts["constant"] = flat
    noise = float(np.median(errors)) if errors.size else 1.0
    scene, *_ = scenes.build(optics, sources, NEGLIGIBLE * noise)
    model.close()
    return scene.total * flat, flat, parts, optics.along_x


def read_template(path: Path, one: Exposure, shape: tuple[int, int]) -> Image | None:
    """A template of the user, cut to the exposure's part of the detector; None where it is for other exposures."""
    hdus = io.open_fits(path, extensions=("SCI",))
    header, array = hdus[0].header, np.nan_to_num(np.asarray(hdus["SCI"].data, np.float32))
    if any(str(header.get(key, one.header.get(key))) != str(one.header.get(key)) for key in SETTING):
        return None
    if array.shape == shape:
        return array
    x, y = (corner - int(header.get(key, 1)) + 1 for corner, key in zip(one.corner, CORNER, strict=True))
    part = array[y : y + shape[0], x : x + shape[1]] if min(x, y) >= 0 else array[:0]
    if part.shape != shape:
        raise UserError(f"{path}: of shape {array.shape}, which does not cover {one.path} of {shape}")
    return part


SETTING, CORNER = ("DETECTOR", "FILTER", "PUPIL"), ("SUBSTRT1", "SUBSTRT2")


def rescale_variances(model: Any, found: sky.Sky) -> None:
    """Replace the variances of reads and photons, and the error with them."""
    model.var_rnoise, model.var_poisson = rescale(
        np.asarray(model.data), found.background, found.sources, np.asarray(model.var_rnoise),
        np.asarray(model.var_poisson), found.factor,
    )  # fmt: skip
    model.err = np.sqrt(np.array(model.var_rnoise) + np.asarray(model.var_poisson))


def keywords(found: sky.Sky) -> dict[str, tuple[Any, str]]:
    """Of the primary header."""
    cards: dict[str, tuple[Any, str]] = {
        "SKYLEVEL": (found.level, "[DN/s] median of the sky, subtracted"),
        "SKYSLOPE": (found.slope, "left along the dispersion, over the sky"),
        "SKYRMS": (found.rms, "left on large scales, over the sky"),
        "SKYSMTH": (found.smooth, "[DN/s] rms of what has no template"),
        "SKYNOISE": (found.factor, "noise of the sky over that stated before"),
    }
    for i, (name, (value, sigma)) in enumerate(found.amplitudes.items(), start=1):
        cards |= {
            f"SKYN{i}": (name, "component of the sky"), f"SKYA{i}": (value, "[DN/s] its median"),
            f"SKYE{i}": (sigma, "[DN/s] 1 sigma"),
        }  # fmt: skip
    return {key: card for key, card in cards.items() if isinstance(card[0], str) or np.isfinite(card[0])}


def measured(left: Image, error: Image, before: Image, good: NDArray[np.bool_], found: sky.Sky) -> dict[str, Any]:
    """Metrics of one exposure: `left` is its image less the sky and the model of its sources."""
    return {
        "sky": found.level,
        "amplitudes": {name: {"value": a, "error": e} for name, (a, e) in found.amplitudes.items()},
        "smooth_rms": found.smooth,
        "residual_slope": found.slope,
        "residual_slope_error": found.slope_error,
        "residual_rms": found.rms,
        "limit": found.limit,
        "masked": float(found.sources[good].mean()),
        "free": float(found.free.mean()),
        "stripes": found.lines,
        "noise_factor": found.factor,
        "pull_mad_before": scatter((left / np.where(before > 0, before, 1))[found.free]),
        "pull_mad": scatter((left / np.where(error > 0, error, 1))[found.free]),
    }
