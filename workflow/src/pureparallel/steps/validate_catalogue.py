"""Compare a simulated field's catalogue, photometry and photometric redshifts with the truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import UserError, io, log
from ..core import completeness, matching
from ..core import matching_scores as scores
from ..core.grid import Grid
from ..core.matching_scores import Array, Found, Mask, Truth

if TYPE_CHECKING:
    from astropy.table import Table

BLEND = 0.2
"""Arcsec: simulated sources nearer to each other count as one."""

COVERED = 0.3
"""Arcsec around a source in which nine tenths of the pixels must have data, for it to be missed."""


def validate_catalogue(
    *,
    field: str,
    truth: Path,
    mosaics: list[Path],
    solution: Path,
    catalogue: Path,
    photometry: Path,
    redshifts: Path,
    metrics: Path,
    figure: Path,
) -> None:
    """Measure completeness, purity, positions, fluxes, their errors, deblending and photometric redshifts.

    Parameters
    ----------
    field : str
        Name of the field.
    truth : Path
        Input: table of simulated sources.
    mosaics : list of Path
        Input: <field>_<filter>_mosaic.fits of all filters: where there are data, and how deep they are.
    solution : Path
        Input: align's solution: whether positions are absolute.
    catalogue : Path
        Input: detected sources (ECSV); those that are not reliable count for nothing but completeness.
    photometry : Path
        Input: their photometry.
    redshifts : Path
        Input: their photometric redshifts.
    metrics : Path
        Output: JSON.
    figure : Path
        Output: all comparisons, PNG.
    """
    from ..core.plot_catalogue import catalogue_figure
    from ..simulate.sky import read_truth

    logger = log.of("validate_catalogue")
    found, filters, plane = read_found(catalogue, photometry, redshifts, mosaics)
    table = read_truth(truth)
    lights = fluxes(table, filters, truth)
    xy = on_plane(plane, table["ra"], table["dec"])
    moved = matching.frame_shift(found.xy, xy)
    xy += moved
    reference = filters.index("F150W") if "F150W" in filters else len(filters) // 2
    depth = coverage(mosaics, filters, xy)
    true, members = (blended(table, xy, lights, reference, *depth, plane.scale, radius) for radius in (BLEND, 0.0))
    partner = scores.partners(found, true, reference)
    report = {
        "field": field,
        "simulated": True,
        "reference": filters[reference],
        "counts": scores.counts(found, true, partner, reference),
        "astrometry": scores.astrometry(found, true, partner, moved) | {"frame": frames(solution)},
        "photometry": {name: scores.photometric(found, true, partner, i) for i, name in enumerate(filters)},
        "pairs": scores.deblended(found, members, reference),
        "photoz": scores.redshift_scores(found, true, partner),
    }
    io.write_json(metrics, report)
    io.write_figure(figure, catalogue_figure(report, f"{field}: catalogue against the truth"))
    for line in sentences(report):
        logger.info("%s", line)


def read_found(
    catalogue: Path, photometry: Path, redshifts: Path, mosaics: Sequence[Path]
) -> tuple[Found, list[str], Grid]:
    """The catalogue with its photometry and redshifts, the filters of the mosaics, and their grid."""
    from astropy.table import Table

    if not mosaics:
        raise UserError("validate_catalogue: no mosaics are given")
    headers = [io.open_fits(path, extensions=("SCI",)) for path in mosaics]
    filters = [str(one[0].header["FILTER"]) for one in headers]
    plane = Grid.of(headers[0]["SCI"].header)
    try:
        detected = Table.read(catalogue, format="ascii.ecsv")
    except FileNotFoundError:
        raise UserError(f"{catalogue}: no such file") from None
    measured = Table.read(io.open_fits(photometry, extensions=("PHOTOMETRY",))["PHOTOMETRY"], mask_invalid=False)
    opened = io.open_fits(redshifts, extensions=("PHOTOZ", "ZGRID", "PZ"))
    estimated = Table.read(opened["PHOTOZ"], mask_invalid=False)
    missing = [name for name in ("label", "sky_centroid", "snr", "reliable") if name not in detected.colnames]
    if missing:
        raise UserError(f"{catalogue}: no column {', '.join(missing)}; make it again by detect")
    labels = np.asarray(detected["label"])
    for path, ids in ((photometry, measured["id"]), (redshifts, estimated["id"])):
        if not np.array_equal(ids, labels):
            raise UserError(f"{path}: its sources are not those of {catalogue}; make it again")
    flux, error = (
        np.column_stack([np.asarray(measured[f"{kind}_{name}"], float) for name in filters])
        for kind in ("flux", "flux_err")
    )
    # of a total; what all filters have in common does not change colours, and is told apart
    error = np.hypot(error, flux * np.asarray(measured["scale_err"], float)[:, None])
    none = np.zeros(len(labels), int)
    marks = [measured[f"flags_{name}"] if f"flags_{name}" in measured.colnames else none for name in filters]
    whole = np.column_stack([np.asarray(one) == 0 for one in marks])
    where = detected["sky_centroid"]
    found = Found(
        on_plane(plane, where.ra.deg, where.dec.deg), flux, error, np.asarray(detected["snr"], float),
        np.asarray(detected["reliable"], bool), whole, np.asarray(estimated["z_phot"], float),
        np.asarray(estimated["risk"], float), opened["PZ"].data.astype(float),
        np.asarray(opened["ZGRID"].data["z"], float),
    )  # fmt: skip
    return found, filters, plane


def on_plane(plane: Grid, ra: Any, dec: Any) -> Array:
    """East and north in arcsec, shape (n, 2), of degrees."""
    x, y = plane.to_pixel(np.asarray(ra, float), np.asarray(dec, float))
    return np.column_stack([(plane.origin[0] - x) * plane.scale, (y - plane.origin[1]) * plane.scale])


def fluxes(table: "Table", filters: Sequence[str], truth: Path) -> Array:
    """True fluxes in μJy, shape (n, nf)."""
    missing = [name for name in filters if f"mag_{name}" not in table.colnames]
    if missing:
        raise UserError(f"{truth}: no magnitudes in {', '.join(missing)}; make it again by simulate_sky")
    return np.column_stack([10 ** (-0.4 * (np.asarray(table[f"mag_{name}"], float) - 23.9)) for name in filters])


def coverage(mosaics: Sequence[Path], filters: Sequence[str], xy: Array) -> tuple[Array, Mask]:
    """Noise of one pixel [μJy] at positions (n, nf), NaN off the data; and whether a filter covers them (n,)."""
    from scipy.ndimage import uniform_filter

    noise, covered = np.full((len(xy), len(filters)), np.nan), np.zeros(len(xy), bool)
    for i, path in enumerate(mosaics):
        hdus = io.open_fits(path, extensions=("SCI", "WHT"))
        plane, weight = Grid.of(hdus["SCI"].header), hdus["WHT"].data
        share = uniform_filter((weight > 0).astype(np.float32), 2 * round(COVERED / plane.scale) + 1, mode="constant")
        x, y = np.rint(plane.origin[0] - xy[:, 0] / plane.scale), np.rint(plane.origin[1] + xy[:, 1] / plane.scale)
        inside = (x >= 0) & (y >= 0) & (x < plane.shape[1]) & (y < plane.shape[0])
        row, column = y[inside].astype(int), x[inside].astype(int)
        with np.errstate(divide="ignore"):
            noise[inside, i] = hdus[0].header["PIXAR_SR"] * 1e12 / np.sqrt(weight[row, column])
        covered[inside] |= share[row, column] > 0.9
    noise[~np.isfinite(noise)] = np.nan
    return noise, covered


def blended(
    table: "Table",
    xy: Array,
    lights: Array,
    reference: int,
    noise: Array,
    covered: Mask,
    pixel: float,
    apart: float,
) -> Truth:
    """Truth with blends, nearer than `apart` arcsec, as one source: their sum, of the kind of the brightest."""
    light = lights[:, reference]
    numbers = matching.blends(xy, apart)
    chief = matching.brightest(numbers, light)
    total = np.stack([np.bincount(numbers, one) for one in lights.T], axis=1)
    radius = np.asarray(table["re_arcsec"] * np.sqrt(np.nan_to_num(np.asarray(table["axis_ratio"]), nan=1.0)))[chief]
    return Truth(
        matching.centroids(xy, numbers, light), total,
        completeness.expected_snr(total, noise[chief], radius, pixel), radius,
        np.asarray(table["kind"] == "star")[chief], np.asarray(table["z"], float)[chief],
        covered[chief] & np.isfinite(noise[chief]).any(axis=1), np.bincount(numbers) == 1,
    )  # fmt: skip


def frames(solution: Path) -> list[str]:
    """What the positions of a field's exposures refer to."""
    groups = io.open_fits(solution, extensions=("GROUPS",))["GROUPS"].data
    return sorted({str(one) for one in groups["frame"]})


def sentences(report: dict[str, Any]) -> list[str]:
    """The metrics in words, for the log."""
    counted, off, z = report["counts"], report["astrometry"], report["photoz"]
    complete, pure = (counted[name]["fraction"] for name in ("complete", "pure"))
    lines = [
        f"{counted['sources']} sources: at {scores.COMPLETE_SNR:g} sigma {complete:.1%} complete,"
        f" at {scores.PURE_SNR:g} sigma {pure:.1%} pure",
        f"photometric redshifts of {z['sources']} galaxies: NMAD {z['nmad']:.3f}, {z['outliers']:.0%} outliers",
    ]
    if off["sources"]:
        lines.append(f"positions of {off['sources']}: {off['absolute_rms']:.1f} mas rms in {', '.join(off['frame'])}")
    for name, one in report["photometry"].items():
        if one["sources"]:
            lines.append(f"{name}: fluxes {one['bias']:+.1%}, pull {one['pull_median']:.2f} ± {one['pull_width']:.2f}")
    return lines
