"""Find the best pointing of every exposure that is known beforehand, and how wrong it may be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import UserError, exposures, io, log
from ..core import pointing as core
from ..core.pointing import Aperture, Pointing
from ..exposures import Exposure
from ..provenance import Lineage

if TYPE_CHECKING:
    from astropy.table import Row, Table

COLUMNS: dict[str, tuple[str | None, str]] = {
    "exposure": (None, "name"),
    "group": (None, "visit and guide star: exposures that are wrong together"),
    "guide_star": (None, "GDSTARID"),
    "usual_star": (None, "whether it is the one of most exposures of the observation"),
    "detector": (None, "DETECTOR"),
    "aperture": (None, "APERNAME"),
    "filter": (None, "FILTER"),
    "pupil": (None, "PUPIL"),
    "start": ("d", "MJD, UTC"),
    "ra": ("deg", "of the aperture's reference point, ICRS"),
    "dec": ("deg", "of the aperture's reference point, ICRS"),
    "roll": ("deg", "position angle of V3 there"),
    "error": ("arcsec", "1 sigma per axis"),
    "roll_error": ("deg", "1 sigma"),
    "source": (None, "reference, attitude (of the header) or table"),
    "moved": ("arcsec", "from the header's reference point"),
    "target_distance": ("arcsec", "from TARG_RA, TARG_DEC to the reference point; NaN where they are 0 or missing"),
    "s_region": (None, "footprint, ICRS"),
    "reason": (None, "why there is no pointing"),
}
"""Unit and description of each column of the table."""


def pointing(
    *,
    field: str,
    rates: list[Path],
    table: Path,
    figure: Path,
    metrics: Path,
    attitudes: Path | None = None,
    calculated_error: float = 0.5,
    planned_error: float = 1.0,
    guide_star_error: float = 1.5,
    roll_error: float = 0.03,
) -> None:
    """Tabulate a field's pointings; nothing is written into the exposures.

    Parameters
    ----------
    field : str
        Name of the field.
    rates : list of Path
        Input: folders that detector1 made.
    table : Path
        Output: FITS table POINTING, a row per exposure.
    figure : Path
        Output: footprints on the sky, PNG.
    metrics : Path
        Output: JSON.
    attitudes : Path
        Input: table (ECSV) of attitudes from the guiders' logs, with start, end (MJD) and ra_v1, dec_v1, pa_v3
        (degrees); where it covers an exposure's middle, it is preferred.
    calculated_error : float
        1 sigma per axis of an attitude from telemetry, arcsec.
    planned_error : float
        The same of an attitude as planned.
    guide_star_error : float
        Further error of a visit whose guide star is not its observation's usual one, arcsec.
    roll_error : float
        1 sigma, degrees.
    """
    from astropy.io import fits

    from ..core.plot_pointing import footprints_figure

    logger = log.of("pointing")
    errors = core.Errors(calculated_error, planned_error, guide_star_error, roll_error)
    log_of_guiders = read_attitudes(attitudes) if attitudes is not None else None
    known = {name: one for folder in rates for name, one in exposures.in_folder(folder).items()}
    inputs = [one.path for one in known.values() if isinstance(one, Exposure)]
    lineage = Lineage.of("pointing", [*inputs, *([attitudes] if attitudes else [])], **vars(errors))
    found = solutions(known, errors, log_of_guiders)
    hdus = fits.HDUList([fits.PrimaryHDU(), io.table_hdu(found, "POINTING", COLUMNS)])
    hdus[0].header["FIELD"] = field
    io.write_fits(table, hdus, lineage)
    io.write_figure(figure, footprints_figure(found, f"{field}: footprints"))
    good = found[found["reason"] == ""]
    unusual = sorted(set(good["group"][~np.asarray(good["usual_star"], bool)]))
    io.write_json(
        metrics,
        {
            "field": field,
            "exposures": len(found),
            "without_pointing": {row["exposure"]: row["reason"] for row in found if row["reason"]},
            "groups": len(set(good["group"])),
            "unusual_guide_stars": unusual,
            "moved_arcsec": float(np.nanmax(good["moved"])) if len(good) and np.isfinite(good["moved"]).any() else None,
            "without_target": [str(row["exposure"]) for row in good if not np.isfinite(row["target_distance"])],
        },
    )
    for group in unusual:
        logger.warning(
            "%s: not the usual guide star of its observation; its pointing may be off by %s″", group, guide_star_error
        )
    logger.info("%d exposures in %d groups", len(found), len(set(good["group"])))


def solutions(known: Mapping[str, Exposure | str], errors: core.Errors, guiders: "Table | None") -> "Table":
    """A row per exposure, as `COLUMNS` describes."""
    from astropy.table import Table

    told = {name: one for name, one in known.items() if isinstance(one, Exposure)}
    observations = {name: f"{one.key('PROGRAM')}-{one.key('OBSERVTN')}" for name, one in told.items()}
    stars = {name: str(one.header.get("GDSTARID", "unknown")) for name, one in told.items()}
    usual = core.usual_stars(list(observations.values()), list(stars.values()))
    rows = []
    for name, one in known.items():
        row: dict[str, Any] = {key: np.nan if COLUMNS[key][0] else "" for key in COLUMNS} | {
            "exposure": name, "usual_star": True,
        }  # fmt: skip
        if isinstance(one, str):
            row["reason"] = one
        else:
            star = stars[name]
            row |= {
                "guide_star": star, "usual_star": usual[observations[name]] == star,
                "group": f"{observations[name]}-{one.key('VISIT')}-{star}",
            }  # fmt: skip
            try:
                row |= solved(one, errors, guiders, usual_star=row["usual_star"])
            except UserError as error:
                row["reason"] = str(error)
        rows.append(row)
    return Table(rows=rows, names=list(COLUMNS))


def solved(one: Exposure, errors: core.Errors, guiders: "Table | None", *, usual_star: bool) -> dict[str, Any]:
    """Columns of one exposure."""
    from astropy.io import fits

    sky = fits.getheader(one.path, "SCI")
    v2, v3, angle, parity = (_number(sky, key, one) for key in ("V2_REF", "V3_REF", "V3I_YANG", "VPARITY"))
    aperture = Aperture(v2, v3, angle, int(parity))
    measured = attitude_of(guiders, (one.start + one.end) / 2) if guiders is not None else None
    solution = core.solve(
        _pointing(sky, ("RA_REF", "DEC_REF", "ROLL_REF")),
        _pointing(sky, ("RA_V1", "DEC_V1", "PA_V3")),
        aperture,
        calculated=str(one.header.get("ENGQLPTG", "")).startswith("CALCULATED"),
        errors=errors,
        measured=measured,
    )
    if solution is None:
        raise UserError(f"{one.path}: neither RA_REF, DEC_REF, ROLL_REF nor RA_V1, DEC_V1, PA_V3: it cannot be placed")
    if not usual_star:
        solution = core.doubted(solution, errors)
    scale = tuple(abs(_number(sky, key, one)) * 3600 for key in ("CDELT1", "CDELT2"))
    first = tuple(0.5 - _number(sky, key, one) for key in ("CRPIX1", "CRPIX2"))
    size = int(one.key("SUBSIZE1")), int(one.key("SUBSIZE2"))
    best = solution.pointing
    corners = core.footprint(best, aperture, (first[0], first[1]), size, (scale[0], scale[1]))
    target = [one.header.get(key) or 0.0 for key in ("TARG_RA", "TARG_DEC")]
    return {
        "detector": str(one.key("DETECTOR")), "aperture": str(one.header.get("APERNAME", "")),
        "filter": one.elements[0], "pupil": one.elements[1], "start": one.start,
        "ra": best.ra, "dec": best.dec, "roll": best.roll, "error": solution.error, "roll_error": solution.roll_error,
        "source": solution.source, "moved": solution.moved, "s_region": core.region(corners),
        "target_distance": core.separation(best.ra, best.dec, *target) if any(target) else np.nan,
    }  # fmt: skip


def _number(header: Mapping[str, Any], key: str, one: Exposure) -> float:
    if not isinstance(header.get(key), (int, float)):
        raise UserError(f"{one.path}: keyword {key} is missing from SCI; without it the exposure cannot be placed")
    return float(header[key])


def _pointing(header: Mapping[str, Any], keys: Sequence[str]) -> Pointing | None:
    """What three keywords say; None where one is missing, or where they are the zeros of an unset header."""
    values = [header.get(key) for key in keys]
    if not all(isinstance(value, (int, float)) and np.isfinite(value) for value in values) or values[:2] == [0, 0]:
        return None
    return Pointing(*(float(value) for value in values if value is not None))


def read_attitudes(path: Path) -> "Table":
    """A table of attitudes, checked."""
    from astropy.table import Table

    if not path.is_file():
        raise UserError(f"pointing.attitudes: {path}: no such file")
    try:
        found = Table.read(path, format="ascii.ecsv")
    except Exception as error:
        raise UserError(f"pointing.attitudes: {path}: not a table in ECSV ({error})") from error
    missing = {"start", "end", "ra_v1", "dec_v1", "pa_v3"} - set(found.colnames)
    if missing:
        raise UserError(f"pointing.attitudes: {path}: no column {', '.join(sorted(missing))}")
    return found


def attitude_of(guiders: "Table", when: float) -> Pointing | None:
    """The attitude at a time (MJD); None where the table says nothing of it."""
    rows: Sequence[Row] = [row for row in guiders if row["start"] <= when <= row["end"]]
    return Pointing(*(float(rows[0][key]) for key in ("ra_v1", "dec_v1", "pa_v3"))) if rows else None
