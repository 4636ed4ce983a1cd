"""Bring the alignment of direct images to the dispersed exposures, and measure on their traces what it leaves."""

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, calibration, grisms, io, log, scenes
from .. import exposures as rate_images
from ..core import astrometry, grism_shift
from ..core.grid import ARCSEC
from ..core.grism_shift import Shift
from ..core.pointing import Pointing
from ..core.ramps import DO_NOT_USE
from ..exposures import Exposure, read_verdicts
from ..frames import read_common_part
from ..provenance import Lineage
from .align import JITTER

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

REACH = 3.0
"""Standard deviations of a pointing within which a field is searched for."""

COLUMNS: dict[str, tuple[str | None, str]] = {
    "exposure": (None, "name"),
    "group": (None, "visit and guide star"),
    "grism": (None, "disperser"),
    "filter": (None, "blocking filter"),
    "usable": (None, "whether traces can be placed"),
    "rung": (None, "carried (from direct images), both (measured, too), measured (alone), or pointing (neither)"),
    "ra": ("deg", "of the aperture's reference point, corrected, ICRS"),
    "dec": ("deg", "of the aperture's reference point, corrected, ICRS"),
    "roll": ("deg", "position angle of V3 there, corrected"),
    "shift_x": ("pixel", "by which light lies beside the solution of the direct images, as applied"),
    "shift_y": ("pixel", "by which light lies beside the solution of the direct images, as applied"),
    "error_x": ("pixel", "1 sigma of where light is"),
    "error_y": ("pixel", "1 sigma of where light is"),
    "measured_x": ("pixel", "shift by bright sources' zero and first orders"),
    "measured_y": ("pixel", "shift by bright sources' zero and first orders"),
    "measured_error_x": ("pixel", "1 sigma"),
    "measured_error_y": ("pixel", "1 sigma"),
    "traces": (None, "zero and first orders measured"),
    "prior_error": ("pixel", "1 sigma per axis, of the direct images' solution or of the pointing"),
    "along_x": (None, "whether the light is dispersed along x"),
    "wave_error": ("Angstrom", "1 sigma of the wavelengths' zero point"),
    "reason": (None, "why not a higher rung"),
}
"""Unit and description of each column of EXPOSURES."""


def grism_wcs(
    *,
    field: str,
    rates: list[Path],
    exposures: Path,
    solution: Path,
    catalogue: Path,
    segmentation: Path,
    mosaics: list[Path],
    references: Path,
    table: Path,
    figure: Path,
    metrics: Path,
    gaia: list[Path] | None = None,
    measure: bool = True,
    min_snr: float = 30.0,
    degree: int = 1,
) -> None:
    """Place the traces of a field's dispersed exposures.

    Parameters
    ----------
    field : str
        Name of the field.
    rates : list of Path
        Input: folders that detector1 made.
    exposures : Path
        Input: table of exposures, which says which are used.
    solution : Path
        Input: align's.
    catalogue : Path
        Input: catalogue of sources.
    segmentation : Path
        Input: whose pixels are whose.
    mosaics : list of Path
        Input: the field's images.
    references : Path
        Input: the record of the reference files, or the root of a CRDS cache, whose operational context then holds.
    table : Path
        Output: FITS table EXPOSURES, a row per dispersed exposure: its pointing, its shift and errors.
    figure : Path
        Output: shifts of all exposures, PNG.
    metrics : Path
        Output: JSON.
    gaia : list of Path
        Input: catalogue of stars (ECSV), or none: those that saturate or lie beside the mosaics have traces, too.
    measure : bool
        Measure shifts on traces, and not only where there is no direct image.
    min_snr : float
        Least signal to noise of a first order, all its pixels together, for it to be measured.
    degree : int
        Of the polynomials that spectra are free to follow while their shift is measured.
    """
    from ..core.plot_spec2 import shift_figure

    logger = log.of("grism_wcs")
    context = calibration.configure(references)
    calibration.ready([module for module, _ in grisms.STEPS])
    groups = read_groups(solution)
    pointings = read_exposures(solution)
    verdicts = read_verdicts(exposures)
    used = [
        one for one in rate_images.readable(rates)
        if str(one.key("EXP_TYPE")).endswith("_WFSS") and verdicts.get(one.name) == ""
    ]  # fmt: skip
    options = {"measure": measure, "min_snr": min_snr, "degree": degree, "context": context}
    given = [exposures, solution, catalogue, segmentation, *mosaics, *(gaia or [])]
    lineage = Lineage.of("grism_wcs", [*(one.path for one in used), *given], **options)
    sources = scenes.read_sources(catalogue, segmentation, mosaics, gaia or [], epoch_of(used)) if used else None
    rows = []
    for i, one in enumerate(used, start=1):
        row: dict[str, Any] = blank(one)
        try:
            if one.name not in pointings or sources is None:
                raise UserError("align gives it no pointing")
            group, pointing = pointings[one.name]
            row |= {"group": group} | solve(one, pointing, groups[group], sources, options)
        except UserError as reason:
            row["reason"] = str(reason)
        except OSError as reason:
            row["reason"] = f"{reason.filename}: {reason.strerror}" if reason.filename else str(reason)
        except Exception as reason:  # what one exposure has does not take the others with it
            logger.warning("%s failed:\n%s", one.name, traceback.format_exc())
            row["reason"] = f"{type(reason).__name__}: {reason}"
        rows.append(row)
        log.progress(logger, i, len(used), f"{one.name}: {row['rung']}")
        if not row["usable"]:
            logger.warning("%s: %s", one.name, row["reason"])
    write(table, field, rows, lineage)
    io.write_figure(figure, shift_figure(rows, f"{field}: dispersed exposures"))
    io.write_json(metrics, summary(field, rows))


def epoch_of(used: Sequence[Exposure]) -> float:
    """Julian year of exposures."""
    return 2000 + (float(np.mean([one.start for one in used])) - 51544.5) / 365.25


def read_groups(path: Path) -> dict[str, tuple[bool, float]]:
    """By visit and guide star, whether its direct images are of the mosaics, and its error per axis in arcsec.

    Where they are, that is the error against the mosaics, whose sources are looked for: where these lie on the sky
    does not matter.
    """
    from astropy.table import Table

    table = Table.read(io.open_fits(path, extensions=("GROUPS", "EXPOSURES"))["GROUPS"], mask_invalid=False)
    common = read_common_part(path)
    found = {}
    for row in table:
        carried = bool(row["sources"] > 0 and str(row["part"]) == common)
        found[str(row["group"])] = carried, float(row["relative_error" if carried else "shift_error"])
    return found


def read_exposures(path: Path) -> dict[str, tuple[str, Pointing]]:
    """Visit and guide star, and the pointing, of every exposure."""
    from astropy.table import Table

    table = Table.read(io.open_fits(path, extensions=("EXPOSURES",))["EXPOSURES"], mask_invalid=False)
    where = astrometry.read_solution(path)
    return {str(row["exposure"]): (str(row["group"]), where[str(row["exposure"])]) for row in table}


def blank(one: Exposure) -> dict[str, Any]:
    """The row of an exposure of which nothing is known."""
    numbers = [key for key, (unit, _) in COLUMNS.items() if unit is not None]
    elements = {"grism": "", "filter": ""} | {
        "grism" if element.startswith("G") else "filter": element for element in one.elements
    }
    return {
        **dict.fromkeys(COLUMNS, ""), **dict.fromkeys(numbers, np.nan), **elements, "exposure": one.name,
        "usable": False, "along_x": False, "traces": 0, "rung": "pointing",
    }  # fmt: skip


def solve(
    one: Exposure, pointing: Pointing, group: tuple[bool, float], sources: scenes.Sources, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Place one exposure's traces: most of its row."""
    carried, error = group
    chain = calibration.Chain("spec2pipeline")
    rate_images.read_rate(one.path)  # refuses a file that is not whole
    model = grisms.open_dispersed(one.path, pointing, chain)
    optics = grisms.optics(model)
    prior = float(np.hypot(error, JITTER) * ARCSEC / np.sqrt(optics.pixel_area))
    row = {"grism": optics.grism, "filter": optics.filter, "along_x": optics.along_x, "prior_error": prior}
    found, reason = Shift.unknown(), ""
    if options["measure"] or not carried:
        data, variance, good = prepared(model, chain)
        level = float(np.sqrt(np.median(variance[good])))
        scene, *_ = scenes.build(optics, sources, level / 2)
        start: NDArray[np.float64] = np.zeros(2)
        if not carried:
            reach = REACH * prior + 1
            start, clear = grism_shift.search(scene.total, data, variance, good, reach, optics.along_x)
            if clear < grism_shift.CLEAR or np.max(np.abs(start)) >= reach:
                reason = f"no direct image was aligned, and its traces are not where they may be ({clear:.1f})"
            scene.move((float(start[0]), float(start[1])))
        if not reason:
            found = grism_shift.measure(
                scene, data, variance, good, min_snr=options["min_snr"], degree=options["degree"]
            )
            found = Shift(start + found.value, found.error, found.sources)
    model.close()
    if not reason and not found.sources and options["measure"]:
        reason = f"fewer than {grism_shift.LEAST} traces are bright enough to be measured"
    usable = carried or bool(found.sources)
    value, sigma = grism_shift.combine(found, prior if carried else np.inf)
    if not usable:
        return row | {"ra": pointing.ra, "dec": pointing.dec, "roll": pointing.roll, "reason": reason}
    where = grism_shift.moved(optics, pointing, value)
    y, x = (n / 2 for n in optics.shape)
    middle = optics.orders[1].dispersion(x, y, [np.mean(optics.orders[1].extracted)])
    along = 0 if optics.along_x else 1
    return row | {
        "usable": True, "rung": ("both" if carried else "measured") if found.sources else "carried",
        "ra": where.ra, "dec": where.dec, "roll": where.roll, "shift_x": value[0], "shift_y": value[1],
        "error_x": sigma[0], "error_y": sigma[1], "measured_x": found.value[0] if found.sources else np.nan,
        "measured_y": found.value[1] if found.sources else np.nan,
        "measured_error_x": found.error[0] if found.sources else np.nan,
        "measured_error_y": found.error[1] if found.sources else np.nan, "traces": found.sources,
        "wave_error": float(sigma[along] * middle[0, 0] * 1e4), "reason": reason,
    }  # fmt: skip


def prepared(model: Any, chain: calibration.Chain) -> tuple[Image, Image, Mask]:
    """A dispersed rate image without most of its sky and flat-fielded: data, variance and good pixels."""
    image, good = np.asarray(model.data), (model.dq & DO_NOT_USE == 0) & np.isfinite(model.data)
    template = chain.reference(model, "bkg")
    shape = np.ones_like(image) if template is None else np.nan_to_num(template)
    terms = np.stack([shape, np.ones_like(image)])[: 1 if template is None else 2]
    free, found = good.copy(), np.zeros(len(terms))
    for _ in range(6):
        found = np.linalg.lstsq(terms[:, free].T.astype(float), image[free].astype(float))[0]
        left = image - np.tensordot(found, terms, 1)
        spread = 1.483 * np.median(np.abs(left[free] - np.median(left[free])))
        free = good & (np.abs(left) < 2.5 * spread)
    model.data = (image - np.tensordot(found, terms, 1)).astype(np.float32)
    model = chain.run(*grisms.STEPS[1], model)
    good &= (model.dq & DO_NOT_USE == 0) & np.isfinite(model.data) & (np.asarray(model.err) > 0)
    variance = np.where(good, np.asarray(model.err), 1) ** 2
    return np.where(good, np.asarray(model.data), 0).astype(np.float32), variance.astype(np.float32), good


def write(path: Path, field: str, rows: Sequence[Mapping[str, Any]], lineage: Lineage) -> None:
    """Write the table."""
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["FIELD"] = field
    hdus.append(io.table_hdu(rows, "EXPOSURES", COLUMNS))
    io.write_fits(path, hdus, lineage)


def summary(field: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Metrics of the step."""
    usable = [row for row in rows if row["usable"]]
    errors = [row["error_x" if row["along_x"] else "error_y"] for row in usable]
    away = [
        row[f"measured_{axis}"] / np.hypot(row[f"measured_error_{axis}"], row["prior_error"])
        for row in usable if row["rung"] == "both" for axis in "xy"
    ]  # fmt: skip
    return {
        "field": field,
        "exposures": len(rows),
        "usable": len(usable),
        "rungs": {rung: sum(row["rung"] == rung for row in rows) for rung in sorted({row["rung"] for row in rows})},
        "zero_point_error_pixels": {"median": np.median(errors), "largest": np.max(errors)} if errors else None,
        "measured_over_expected": float(np.sqrt(np.mean(np.square(away)))) if away else None,
        "reasons": {row["exposure"]: row["reason"] for row in rows if row["reason"]},
    }
