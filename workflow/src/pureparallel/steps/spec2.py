"""Cut the first orders of all sources out of dispersed exposures, with a model of everything that overlaps them."""

import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, batches, calibration, grisms, io, log, names, scenes, spec2_files
from ..core import contamination, cutouts
from ..core.contamination import Scene
from ..core.cutouts import Cutout
from ..core.dispersed import SAMPLES, by_order
from ..core.grid import ARCSEC
from ..core.grism import Optics
from ..core.pointing import Pointing
from ..core.ramps import DO_NOT_USE
from ..provenance import Lineage

if TYPE_CHECKING:
    from astropy.table import Row

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

SUBTRACTED = "_bkgsub.fits"

NEGLIGIBLE = 0.02
"""Of a pixel's noise: orders that stay below it everywhere are left out of the model."""

APERTURE, CAUGHT = 9, 0.75
"""Pixels that a compact line is measured in, and the part of its light that they hold."""


def spec2(
    *,
    dispersed: Path,
    wcs: Path,
    catalogue: Path,
    segmentation: Path,
    mosaics: list[Path],
    references: Path,
    spectra: Path,
    figures: Path,
    gaia: list[Path] | None = None,
    limit: str = "auto",
    line_width: float = 1000.0,
    line_snr: float = 5.0,
    degree: int = 1,
    min_snr: float = 20.0,
    passes: int = 2,
    orders: list[int] | None = None,
    max_half_height: int = 40,
) -> None:
    """Cut sources out of the dispersed exposures of a chunk.

    Parameters
    ----------
    dispersed : Path
        Folder that background_wfss made of this chunk: <exposure>_bkgsub.fits, without sky, in DN/s.
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
    spectra : Path
        Output folder: per exposure <exposure>_spec2.fits, all its cut-outs, and <exposure>.metrics.json, which has the
        reason where there is none; left_out is true where that is on purpose.
    figures : Path
        Output folder: <exposure>_spec2.jpg.
    gaia : list of Path
        Catalogue of stars (ECSV), or none: those that saturate or lie beside the mosaics have traces, too.
    limit : str
        AB magnitude in the exposure's filter of the faintest sources that are cut out, or auto: those of which a line
        of line_width would stand out of all exposures of this grism and filter together.
    line_width : float
        Observed equivalent width of a strong line, in Angstrom, for the automatic limit.
    line_snr : float
        Signal to noise that the line is to have there.
    degree : int
        Of the polynomial in wavelength that a bright source's spectrum by photometry is multiplied by.
    min_snr : float
        Least signal to noise of a first order, all its pixels together, for its spectrum to be refined.
    passes : int
        Times that all bright sources are refined.
    orders : list of int
        Orders that are modelled; by default all that the references have.
    max_half_height : int
        Pixels on either side of a trace that a cut-out has at most.
    """
    logger = log.of("spec2")
    keys = ("limit", "line_width", "line_snr", "degree", "min_snr", "passes", "orders", "max_half_height")
    given = locals()
    options: dict[str, Any] = {key: given[key] for key in keys}
    magnitude = read_limit(limit)
    if orders is not None and 1 not in orders:
        raise UserError(f"spec2.orders: {orders} lacks the first, which is what is extracted")
    options["context"] = calibration.configure(references)
    calibration.ready([module for module, _ in grisms.STEPS])
    rows = read_rows(wcs)
    if not dispersed.is_dir():
        raise UserError(f"{dispersed}: no such folder")
    shared = [wcs, catalogue, segmentation, *mosaics, *(gaia or [])]
    items: dict[str, list[Path]] = {}
    told: dict[str, dict[str, Any]] = {}
    for path in sorted(dispersed.glob("*.metrics.json")):
        name = names.check("exposure", path.name.removesuffix(".metrics.json"), where=str(path))
        told[name] = io.read_json(path)
        items[name] = [] if told[name].get("reason") else [dispersed / f"{name}{SUBTRACTED}", *shared]
    sources: list[scenes.Sources] = []

    def work(name: str, inputs: Sequence[Path], lineage: Lineage, folder: Path) -> Mapping[str, Any]:
        if not inputs:
            return {key: told[name][key] for key in ("reason", "left_out") if key in told[name]}
        if name not in rows or not rows[name]["usable"]:
            why = str(rows[name]["reason"]) if name in rows else "it is not in the table"
            raise UserError(f"grism_wcs cannot place its traces: {why}")
        if not sources:  # once a chunk, and not at all where nothing is to be made
            sources.append(scenes.read_sources(catalogue, segmentation, mosaics, gaia or [], epoch(inputs[0])))
        same = [row for row in rows.values() if row["usable"] and all(row[k] == rows[name][k] for k in ELEMENTS)]
        return extract(name, inputs[0], sources[0], rows[name], len(same), magnitude, lineage, folder)

    batches.run(spectra, items, work, step="spec2", options=options, figures=figures, logger=logger)


ELEMENTS = ("grism", "filter")


def read_limit(limit: str) -> float | None:
    """A magnitude, or None for auto."""
    if limit == "auto":
        return None
    try:
        return float(limit)
    except ValueError as error:
        raise UserError(f"spec2.limit: {limit!r} is neither auto nor a magnitude") from error


def read_rows(path: Path) -> dict[str, "Row"]:
    """The rows of grism_wcs by exposure."""
    from astropy.table import Table

    table = Table.read(io.open_fits(path, extensions=("EXPOSURES",))["EXPOSURES"], mask_invalid=False)
    table.convert_bytestring_to_unicode()
    missing = {"exposure", "usable", "reason", "wave_error", *ELEMENTS} - set(table.colnames)
    if missing:
        raise UserError(f"{path}: no column {', '.join(sorted(missing))}; make it again by grism_wcs")
    return {str(row["exposure"]): row for row in table}


def epoch(path: Path) -> float:
    """Julian year of an exposure."""
    from astropy.io import fits

    return 2000 + (float(fits.getheader(path)["EXPSTART"]) - 51544.5) / 365.25


def extract(
    name: str, path: Path, sources: scenes.Sources, row: "Row", exposures: int, magnitude: float | None,
    lineage: Lineage, folder: Path,
) -> Mapping[str, Any]:  # fmt: skip
    """Model and cut one exposure: write its products into `folder`, and give its metrics."""
    from ..core.plot_spec2 import exposure_figure

    start, options = time.process_time(), lineage.options
    io.open_fits(path, extensions=("SCI", "ERR", "DQ"))  # refuses a file that is not whole
    chain = calibration.Chain("spec2pipeline")
    where = Pointing(*(float(row[key]) for key in ("ra", "dec", "roll")))
    model = chain.run(*grisms.STEPS[1], grisms.open_dispersed(path, where, chain))
    if chain.record["flat_field"]["status"] != "COMPLETE":
        raise UserError(f"{path}: the context has no flat field for it")
    wanted = options["orders"]
    optics = grisms.optics(model, None if wanted is None else tuple(wanted))
    good = (model.dq & DO_NOT_USE == 0) & np.isfinite(model.data) & (np.asarray(model.err) > 0)
    data = np.where(good, np.asarray(model.data), 0).astype(np.float32)
    error = np.where(good, np.asarray(model.err), 0).astype(np.float32)
    noise = float(np.median(error[good]))
    with chain.own("model"):
        scene, x, y, hidden = scenes.build(optics, sources, NEGLIGIBLE * noise)
        refined = contamination.refine(
            scene, data, error**2, good, degree=options["degree"], min_snr=options["min_snr"], passes=options["passes"]
        )
    faintest = automatic_limit(optics, noise, exposures, options) if magnitude is None else magnitude
    with chain.own("cut"):
        rows, places, models, profiles = cut(
            scene, sources, x, y, hidden, faintest, good, error, options["max_half_height"]
        )
        header = keywords(name, optics, model, row, faintest)
        images = {"SCI": np.asarray(model.data), "ERR": np.asarray(model.err), "DQ": model.dq, "TOTAL": scene.total}
        path = folder / f"{name}{spec2_files.SUFFIX}"
        spec2_files.write(path, header, rows, places, models, profiles, images, lineage)
    boxes = [one.box for one in places if one is not None]
    title = f"{name}   {optics.grism} {optics.filter}: {len(boxes)} cut-outs to {faintest:.1f} mag, {refined} refined"
    figure = exposure_figure(np.where(good, data, np.nan), scene.total, noise, boxes, title)
    io.write_figure(folder / f"{name}_spec2.jpg", figure)
    reasons = [one["reason"] for one in rows if one["reason"]]
    metrics = {
        "grism": optics.grism, "filter": optics.filter, "cutouts": len(boxes), "refined": refined, "limit": faintest,
        "without": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "accuracy_pixels": optics.accuracy, **residuals(scene, data, error, good), "steps": chain.record,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cpu_seconds": round(time.process_time() - start, 2),
    }  # fmt: skip
    model.close()
    return metrics


def automatic_limit(optics: Optics, noise: float, exposures: int, options: Mapping[str, Any]) -> float:
    """Magnitude of the faintest source of which a strong line stands out of all exposures together.

    Parameters
    ----------
    optics : Optics
    noise : float
        DN/s, of a pixel.
    exposures : int
        Of this grism and filter.
    options : mapping
        Of the step.
    """
    order = optics.orders[1]
    sensitivity = float(np.mean(order.sensitivity(np.linspace(*order.extracted, 50))))
    per_microjansky = sensitivity * options["line_width"] * 1e-4 * CAUGHT
    return float(23.9 - 2.5 * np.log10(options["line_snr"] * noise * np.sqrt(APERTURE / exposures) / per_microjansky))


def cut(
    scene: Scene, sources: scenes.Sources, x: NDArray, y: NDArray, hidden: Mask, faintest: float, good: Mask,
    error: Image, most: int,
) -> tuple[
    list[dict[str, Any]], list[Cutout | None], list[Image | None], list[tuple[NDArray, NDArray] | None]
]:  # fmt: skip
    """A row, a place, a model and the profiles of every source; None where it has no cut-out."""
    optics = scene.optics
    known = {one.stamp.label: one for one in scene.contributors}
    magnitudes = sources.magnitudes(optics.filter)
    rows: list[dict[str, Any]] = []
    places: list[Cutout | None] = []
    models: list[Image | None] = []
    profiles: list[tuple[NDArray, NDArray] | None] = []
    for i, identifier in enumerate(sources.ids):
        one = known.get(int(identifier))
        row: dict[str, Any] = {
            "id": int(identifier), "ra": sources.ra[i], "dec": sources.dec[i], "x": x[i], "y": y[i],
            "flux": 10 ** (-0.4 * (magnitudes[i] - 23.9)), "mag": magnitudes[i], "snr": 0.0, "fitted": False,
            "complete": 0.0, "contamination": np.nan, "reason": "",
        }  # fmt: skip
        place: Cutout | str
        if magnitudes[i] > faintest:
            place = "fainter than the limit"
        elif hidden[i]:
            place = "in the glare of a star that the mosaic does not show"
        elif one is None:
            place = "far from the detector"
        else:
            half = cutouts.half_height(one.stamp.light, optics.along_x, SAMPLES)
            place = cutouts.place(optics, one.stamp.x, one.stamp.y, min(half, most - cutouts.BESIDE))
        if one is None or isinstance(place, str):
            rows.append(row | {"reason": place})
            places.append(None)
            models.append(None)
            profiles.append(None)
            continue
        own = own_light(one, place)
        rows.append(row | judged(one, place, own, scene.total, good, error))
        places.append(place)
        models.append(own)
        stamp = one.stamp
        start = stamp.left - stamp.x, stamp.low - stamp.y
        profiles.append(cutouts.edge_on(stamp.light, start, SAMPLES, place.along_x))
    return rows, places, models, profiles


def own_light(one: contamination.Contributor, place: Cutout) -> Image:
    """A source's own light in its cut-out: that of its first order."""
    own = np.zeros(tuple(s.stop - s.start for s in place.box), np.float32)
    first = by_order(one.patches).get(1)
    if first is not None:
        contamination.add_part(own, place.box, first, one.image(first))
    return own if place.along_x else own.T


def judged(
    one: contamination.Contributor, place: Cutout, own: Image, total: Image, good: Mask, error: Image
) -> dict[str, Any]:  # fmt: skip
    """What a row says of a cut-out."""
    usable, sigma = place.of(good), place.of(error)
    at = np.clip(np.round(place.trace).astype(int), 0, place.shape[0] - 1)
    bright = own > contamination.EDGE * own.max(initial=0)
    light = float(own[bright].sum())
    others = float((place.of(total) - own)[bright].sum())
    return {
        "snr": float(np.sqrt(np.sum(own[usable] ** 2 / sigma[usable] ** 2))),
        "fitted": one.snr > 0,
        "complete": place.share * float(np.mean(usable[at, np.arange(place.shape[1])])),
        "contamination": others / light if light > 0 else np.nan,
    }


def keywords(name: str, optics: Optics, model: Any, row: "Row", faintest: float) -> dict[str, Any]:
    """The primary header of a file of cut-outs."""
    low, high = optics.orders[1].extracted
    return {
        "EXPOSURE": name, "INSTRUME": str(model.meta.instrument.name), "GRISM": optics.grism, "FILTER": optics.filter,
        "DISPAXIS": (1 if optics.along_x else 2, "1: dispersed along x, 2: along y"),
        "EXPTIME": (float(model.meta.exposure.effective_exposure_time), "[s]"),
        "WAVE_LOW": (low, "[um] the filter lets light through from here"), "WAVE_UP": (high, "[um] to here"),
        "WAVEERR": (float(row["error_x" if optics.along_x else "error_y"]), "[pix] of the wavelengths' zero point"),
        "PIXSCALE": (float(np.sqrt(optics.pixel_area) / ARCSEC), "[arcsec]"),
        "ROLL_REF": (float(row["roll"]), "[deg] position angle of V3"),
        "MAGLIMIT": (faintest, "[mag] AB, of the faintest cut out"),
    }  # fmt: skip


def residuals(scene: Scene, data: Image, error: Image, good: Mask) -> dict[str, Any]:
    """How well the model holds: where it is bright, per refined source, and on all pixels."""
    left = data - scene.total
    of_source = []
    for one in scene.contributors:
        if one.snr <= 0:
            continue
        parts = [(patch.box, one.image(patch)) for patch in one.measured]
        bright = 0.1 * max(own.max() for _, own in parts)
        pairs = [(left[box][use], own[use]) for box, own in parts for use in [(own > bright) & good[box]]]
        missed, light = (np.concatenate(values) for values in zip(*pairs, strict=True))
        if light.size > 20:
            of_source.append(float(missed.sum() / light.sum()))
    away = left[good] / error[good]
    return {
        "residual_over_model": float(np.median(np.abs(of_source))) if of_source else None,
        "residual_over_model_90": float(np.percentile(np.abs(of_source), 90)) if of_source else None,
        "pull_mad": float(1.483 * np.median(np.abs(away - np.median(away)))),
    }
