"""Correct the pointing of every visit and guide star, by catalogues and by the sources that exposures share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, calibration, io, log
from ..core import astrometry, centroids, keeping, ladder, registration
from ..core.astrometry import MAS, Plane
from ..core.groups import Group, Limits
from ..core.ladder import Row, Solved
from ..core.pointing import Pointing
from ..provenance import Lineage
from ..refcats import read_catalogue

if TYPE_CHECKING:
    from astropy.table import Row as TableRow
    from astropy.table import Table

Array = NDArray[np.float64]

JITTER = 0.005
"""Arcsec per axis: how well a visit's dithers are known (JDox, JWST pointing performance); no correction is better."""

WITHIN = 0.1
"""Arcsec within which sources of a group's exposures are the same."""

NEAR = 1.0
"""Degrees around the field in which a catalogue is of interest."""

DO_NOT_USE, SATURATED = 1, 2

GROUP_COLUMNS: dict[str, tuple[str | None, str]] = {
    "group": (None, "visit and guide star"),
    "usual_star": (None, "whether the guide star is the one of most exposures of the observation"),
    "exposures": (None, "direct images measured"),
    "rung": (None, "a catalogue, field (other groups), or pointing (as it was)"),
    "frame": (None, "what positions refer to in the end: a catalogue, or pointing"),
    "part": (None, "same where groups lie on each other: the catalogue, or the name of one of them"),
    "shift_east": ("arcsec", "correction at the pivot"),
    "shift_north": ("arcsec", "correction at the pivot"),
    "shift_error": ("arcsec", "1 sigma per axis, in the frame"),
    "relative_error": ("arcsec", "1 sigma per axis, against the others of its part"),
    "roll": ("deg", "correction, from north to east"),
    "roll_error": ("deg", "1 sigma"),
    "roll_solved": (None, "whether matches tell more of the roll than is known beforehand"),
    "sources": (None, "measured"),
    "stars": (None, "matches with the catalogue"),
    "common": (None, "matches with other groups"),
    "rms_catalogue": ("mas", "per axis, of stars about the catalogue, weighted"),
    "rms_common": ("mas", "per axis, of common sources about the others, weighted"),
    "false_probability": (None, "that another offset is the right one"),
    "pivot_ra": ("deg", "what the roll turns about"),
    "pivot_dec": ("deg", "what the roll turns about"),
    "prior_error": ("arcsec", "1 sigma per axis, known beforehand"),
    "reason": (None, "why not a higher rung"),
    "kept": (None, "whether the correction is an earlier one, from which the new one does not differ"),
}
"""Unit and description of each column of GROUPS."""

EXPOSURE_COLUMNS: dict[str, tuple[str | None, str]] = {
    "exposure": (None, "name"),
    "group": (None, "visit and guide star"),
    "rung": (None, "of its group"),
    "part": (None, "of its group: same where exposures lie on each other"),
    "ra": ("deg", "of the aperture's reference point, corrected, ICRS"),
    "dec": ("deg", "of the aperture's reference point, corrected, ICRS"),
    "roll": ("deg", "position angle of V3 there, corrected"),
    "corners": ("deg", "RA and Dec of a direct image's corners, corrected, ICRS"),
    "sources": (None, "measured; 0 for exposures that are no direct image"),
    "residual_east": ("mas", "of its sources about those of all exposures, not corrected"),
    "residual_north": ("mas", "of its sources about those of all exposures, not corrected"),
    "residual_matches": (None, "sources that the residual is of"),
}
"""Unit and description of each column of EXPOSURES."""


@dataclass(frozen=True)
class Measured:
    """Sources of one exposure.

    Attributes
    ----------
    name : str
    xy : ndarray, shape (n, 2)
        Arcsec in the field's plane, under the pointing known beforehand; brightest first.
    error : ndarray, shape (n,)
        Arcsec per axis.
    outline : ndarray, shape (4, 2)
    """

    name: str
    xy: Array
    error: Array
    outline: Array


def align(
    *,
    field: str,
    images: list[Path],
    pointing: Path,
    solution: Path,
    figure: Path,
    metrics: Path,
    gaia: list[Path] | None = None,
    catalogue: Path | None = None,
    max_shift: float = 3.0,
    max_rms: float = 0.04,
    min_matches: int = 3,
    max_false: float = 1e-3,
    match_radius: float = 0.15,
    min_snr: float = 10.0,
    max_sources: int = 1000,
    keep: float = 0.5,
) -> None:
    """Solve for a field's pointings; nothing is written into the exposures.

    Parameters
    ----------
    field : str
        Name of the field.
    images : list of Path
        Input: folders of <exposure>_bkgsub.fits.
    pointing : Path
        Input: table of pointings.
    solution : Path
        Output: FITS tables GROUPS, a row per visit and guide star, and EXPOSURES, the corrected pointing of every
        exposure, grisms included. What it held before is kept where that is as good.
    figure : Path
        Output: corrections and residuals, PNG.
    metrics : Path
        Output: JSON.
    gaia : list of Path
        Input: first catalogue (ECSV), or none, with Gaia's columns ra, dec, ref_epoch, pmra, pmdec and their errors.
    catalogue : Path
        Input: catalogue (ECSV) for where the first does not hold, with ra, dec, and as many of Gaia's other columns
        as it has.
    max_shift : float
        Largest correction, arcsec.
    max_rms : float
        Largest scatter of matches per axis, arcsec.
    min_matches : int
        Least number of matches, with a catalogue or with other groups.
    max_false : float
        Largest probability that another offset is the right one.
    match_radius : float
        Arcsec within which sources match once the offset is known.
    min_snr : float
        Signal to noise of the faintest sources.
    max_sources : int
        Sources per exposure, the brightest.
    keep : float
        A group keeps the correction that it had, so that mosaics stay as they are, where the new one differs by less
        than this share of its error, from those of its part as in common with them; 0 keeps none.
    """
    from ..core.plot_align import alignment_figure

    logger = log.of("align")
    calibration.ready(["stdatamodels.jwst.datamodels"])
    limits = Limits(max_shift, max_rms, min_matches, max_false, match_radius)
    every = read_pointings(pointing)
    table = every[every["reason"] == ""]
    files = image_files(images, every, pointing)
    given = [*(("gaia", path) for path in gaia or []), *([("catalogue", catalogue)] if catalogue else [])]
    plane = centre_of(table)
    catalogues = [read_catalogue(path, label).around(plane, NEAR) for label, path in given]
    inputs = [*files.values(), pointing, *(path for _, path in given)]
    options = {**vars(limits), "min_snr": min_snr, "max_sources": max_sources, "keep": keep}
    lineage = Lineage.of("align", inputs, **options)
    measured: dict[str, list[Measured]] = {}
    for i, (name, path) in enumerate(files.items(), start=1):
        one = measure(path, name, row_of(table, name), plane, min_snr, max_sources)
        measured.setdefault(str(row_of(table, name)["group"]), []).append(one)
        log.progress(logger, i, len(files), f"{name}: {len(one.xy)} sources")
    groups = [merged(name, members, table) for name, members in measured.items()]
    solved = ladder.climb(groups, catalogues, plane, limits)
    group_rows = [row_of_group(row, measured, table, plane) for row in solved.rows]
    group_rows += [blind_group(name, table) for name in sorted(set(table["group"]) - set(measured))]
    exposure_rows = corrected_exposures(table, solved, measured, plane, match_radius / 2)
    if keep and solution.is_file():
        group_rows, exposure_rows, kept = keeping.keep(group_rows, exposure_rows, read_before(solution), keep)
        logger.info("%d of %d groups stay as they were", len(kept), len(group_rows))
    write(solution, field, group_rows, exposure_rows, lineage)
    io.write_figure(figure, alignment_figure(group_rows, solved, f"{field}: alignment"))
    io.write_json(metrics, summary(field, group_rows, exposure_rows))
    for row in group_rows:
        shift = float(np.hypot(row["shift_east"], row["shift_north"]))
        logger.info("%s: %s (in %s), shifted by %.3f″", row["group"], row["rung"], row["frame"], shift)
        if row["reason"]:
            logger.warning("%s: %s", row["group"], row["reason"])


def read_pointings(path: Path) -> "Table":
    """The table of pointings, with exposures that have none."""
    from astropy.table import Table

    table = Table.read(io.open_fits(path, extensions=("POINTING",))["POINTING"], mask_invalid=False)
    table.convert_bytestring_to_unicode()
    return table


def read_before(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Groups and exposures of an earlier solution; none where it is another version's."""
    from astropy.table import Table

    hdus = io.open_fits(path, extensions=("GROUPS", "EXPOSURES"))
    found = []
    for name, columns in (("GROUPS", GROUP_COLUMNS), ("EXPOSURES", EXPOSURE_COLUMNS)):
        table = Table.read(hdus[name], mask_invalid=False)
        table.convert_bytestring_to_unicode()
        if set(table.colnames) != set(columns):
            return [], []
        found.append([dict(zip(row.colnames, row, strict=True)) for row in table])
    return found[0], found[1]


def row_of(table: "Table", exposure: str) -> "TableRow":
    """The row of an exposure that is there."""
    return table[np.flatnonzero(table["exposure"] == exposure)[0]]


def image_files(folders: Sequence[Path], table: "Table", pointing: Path) -> dict[str, Path]:
    """Images by exposure that have a pointing, in the order of their names."""
    missing = [str(one) for one in folders if not one.is_dir()]
    if missing:
        raise UserError(f"align: no such folder: {', '.join(missing)}")
    files = {path.name.removesuffix("_bkgsub.fits"): path for one in folders for path in one.glob("*_bkgsub.fits")}
    unknown = sorted(set(files) - set(table["exposure"]))
    if unknown:
        raise UserError(f"{pointing}: no pointing of {', '.join(unknown)}; make the table again by pointing")
    placed = set(table["exposure"][table["reason"] == ""])
    return {name: path for name, path in sorted(files.items()) if name in placed}


def centre_of(table: "Table") -> Plane:
    """The plane of a field: at the mean of its exposures."""
    if not len(table):
        raise UserError("no exposure of the field has a pointing; see the table of pointings for the reasons")
    ra, dec = astrometry.sky(astrometry.unit(table["ra"], table["dec"]).mean(axis=1))
    return Plane(float(ra), float(dec))


def measure(path: Path, name: str, row: "TableRow", plane: Plane, least: float, most: int) -> Measured:
    """Positions of an exposure's sources, by its distortion and its pointing known beforehand."""
    from stdatamodels.jwst.datamodels import ImageModel

    io.open_fits(path, extensions=("SCI", "ERR", "DQ"))  # refuses a file that is not whole
    with ImageModel(str(path)) as model:
        if getattr(model.meta, "wcs", None) is None:
            raise UserError(f"{path}: has no world coordinates (gwcs); make it again by image2")
        frames, info = model.meta.wcs.available_frames, model.meta.wcsinfo
        to_telescope = model.meta.wcs.get_transform(frames[0], frames[-2])
        image, error, flags = (np.asarray(one) for one in (model.data, model.err, model.dq))
        full = flags & SATURATED != 0
        found = centroids.find(image, error, flags & DO_NOT_USE == 0, full, least=least, most=most)
        found += centroids.find_saturated(image, error, full)
        where, reference = Pointing(row["ra"], row["dec"], row["roll"]), (info.v2_ref, info.v3_ref)
        ny, nx = flags.shape
        scale = float(np.sqrt(model.meta.photometry.pixelarea_arcsecsq or 0.0)) or _scale(to_telescope, nx, ny)

    def project(x: Array, y: Array) -> Array:
        v2, v3 = to_telescope(x, y)
        return plane.project(astrometry.on_sky(v2, v3, where, reference))

    outline = project(np.array([0, nx - 1, nx - 1, 0.0]), np.array([0, 0, ny - 1, ny - 1.0]))
    return Measured(name, project(found.x, found.y), found.error * scale, outline)


def _scale(to_telescope: Any, nx: int, ny: int) -> float:
    """Arcsec per pixel in the middle."""
    v2, v3 = to_telescope(np.array([nx / 2, nx / 2 + 1]), np.array([ny / 2, ny / 2]))
    return float(np.hypot((v2[1] - v2[0]) * np.cos(np.deg2rad(v3[0] / 3600)), v3[1] - v3[0]))


def merged(name: str, members: Sequence[Measured], table: "Table") -> Group:
    """The sources of a group, each from all exposures that have it."""
    lists = [one.xy for one in members]
    numbers = np.concatenate(registration.associate(lists, WITHIN))
    xy, error = np.concatenate(lists), np.hypot(np.concatenate([one.error for one in members]), JITTER)
    weight = np.bincount(numbers, 1 / error**2)
    mean = np.stack([np.bincount(numbers, c / error**2) / weight for c in xy.T], axis=1)
    best = np.argsort(-weight, kind="stable")
    rows = [row_of(table, one.name) for one in members]
    return Group(
        name, mean[best], 1 / np.sqrt(weight[best]), [one.outline for one in members],
        float(np.max([row["error"] for row in rows])), float(np.deg2rad(np.max([row["roll_error"] for row in rows]))),
        2000 + (float(np.mean([row["start"] for row in rows])) - 51544.5) / 365.25,
    )  # fmt: skip


def row_of_group(row: Row, measured: Mapping[str, Sequence[Measured]], table: "Table", plane: Plane) -> dict[str, Any]:
    """Row of a group that has images."""
    mine, count = table[table["group"] == row.name], len(measured[row.name])
    (ra,), (dec,) = astrometry.sky(plane.deproject(row.pivot[None]))
    return {
        "group": row.name, "usual_star": bool(mine["usual_star"].all()), "exposures": count,
        "rung": row.rung, "frame": row.frame, "part": row.part,
        "shift_east": float(row.correction[0]), "shift_north": float(row.correction[1]),
        "shift_error": float(np.hypot(np.mean(row.error[:2]), JITTER / np.sqrt(count))),
        "relative_error": float(np.hypot(row.relative_error, JITTER / np.sqrt(count))),
        "roll": float(np.rad2deg(row.correction[2])), "roll_error": float(np.rad2deg(row.error[2])),
        "roll_solved": row.roll_solved, "sources": row.sources, "stars": row.stars, "common": row.common,
        "rms_catalogue": row.rms_catalogue / MAS, "rms_common": row.rms_common / MAS, "false_probability": row.false,
        "pivot_ra": float(ra), "pivot_dec": float(dec), "prior_error": float(np.max(mine["error"])),
        "reason": "; ".join(row.reasons), "kept": False,
    }  # fmt: skip


def blind_group(name: str, table: "Table") -> dict[str, Any]:
    """Row of a group that has no image to be measured on."""
    mine = table[table["group"] == name]
    zero = dict.fromkeys(("exposures", "sources", "stars", "common"), 0) | dict.fromkeys(
        ("shift_east", "shift_north", "roll"), 0.0
    )
    nothing = dict.fromkeys(("rms_catalogue", "rms_common", "false_probability"), np.nan)
    error, roll_error = float(np.max(mine["error"])), float(np.max(mine["roll_error"]))
    return {
        "group": name, "usual_star": bool(mine["usual_star"].all()), "rung": "pointing", "frame": "pointing",
        "part": name, **zero, **nothing, "shift_error": error, "relative_error": error, "roll_error": roll_error,
        "roll_solved": False, "prior_error": error, "pivot_ra": float(mine["ra"][0]),
        "pivot_dec": float(mine["dec"][0]), "reason": "no direct image", "kept": False,
    }  # fmt: skip


def corrected_exposures(
    table: "Table", solved: Solved, measured: Mapping[str, Sequence[Measured]], plane: Plane, radius: float
) -> list[dict[str, Any]]:
    """A row per exposure, whether measured or not."""
    of_group = {row.name: row for row in solved.rows}
    found = {one.name: one for members in measured.values() for one in members}
    shared, rows = solved.sources(), []
    for row in table:
        name, group = str(row["exposure"]), of_group.get(str(row["group"]))
        where = Pointing(*(float(row[key]) for key in ("ra", "dec", "roll")))
        residual, matches, corners = np.full(2, np.nan), 0, np.full((4, 2), np.nan)
        if group is not None:
            where = astrometry.rotated(where, astrometry.rotation(plane, group.pivot, group.correction))
        if group is not None and name in found:
            moved = registration.corrected(found[name].xy, group.correction, group.pivot)
            mine, there = registration.mutual(moved, shared, radius)
            matches = len(mine)
            residual = typical_offset(moved[mine] - shared[there], found[name].error[mine])
            outline = registration.corrected(found[name].outline, group.correction, group.pivot)
            corners = np.stack(astrometry.sky(plane.deproject(outline)), axis=-1)
        rows.append({
            "exposure": name, "group": str(row["group"]), "rung": group.rung if group is not None else "pointing",
            "part": group.part if group is not None else str(row["group"]),
            "ra": where.ra, "dec": where.dec, "roll": where.roll, "corners": corners,
            "sources": len(found[name].xy) if name in found else 0,
            "residual_east": residual[0] / MAS, "residual_north": residual[1] / MAS, "residual_matches": matches,
        })  # fmt: skip
    return rows


def typical_offset(offset: Array, error: Array) -> Array:
    """Weighted mean (2,) of offsets (n, 2) without those that are far from most."""
    if not len(offset):
        return np.full(2, np.nan)
    away = np.hypot(*(offset - np.median(offset, axis=0)).T)
    near = away <= 3 * 1.2 * np.median(away) + 1e-6
    return np.average(offset[near], axis=0, weights=1 / error[near] ** 2)


def write(
    path: Path, field: str, group_rows: Sequence[Mapping[str, Any]], exposure_rows: Sequence[Mapping[str, Any]],
    lineage: Lineage,
) -> None:  # fmt: skip
    """Write the solution."""
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["FIELD"] = field
    hdus.append(io.table_hdu(group_rows, "GROUPS", GROUP_COLUMNS))
    hdus.append(io.table_hdu(exposure_rows, "EXPOSURES", EXPOSURE_COLUMNS))
    io.write_fits(path, hdus, lineage)


def summary(
    field: str, group_rows: Sequence[Mapping[str, Any]], exposure_rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Metrics of the step."""
    residuals = np.array([[row["residual_east"], row["residual_north"]] for row in exposure_rows]).reshape(-1, 2)
    residuals = residuals[np.isfinite(residuals).all(axis=1)]
    keys = ("rung", "frame", "shift_east", "shift_north", "shift_error", "roll", "stars", "common", "rms_catalogue",
            "rms_common", "reason")  # fmt: skip
    return {
        "field": field,
        "groups": {row["group"]: {key: row[key] for key in keys} for row in group_rows},
        "rungs": {rung: sum(row["rung"] == rung for row in group_rows) for rung in {row["rung"] for row in group_rows}},
        "exposures": len(exposure_rows),
        "exposure_rms_mas": float(np.sqrt(np.mean(residuals**2))) if len(residuals) else None,
    }
