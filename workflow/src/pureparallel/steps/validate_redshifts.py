"""Compare a field's redshifts with the truth of its simulation, or with other redshifts that a user has."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import UserError, io, log, slitless_spectra
from ..core import lines as line_lists
from ..core import matching, redshift_scores, slitless
from ..core.astrometry import Plane, unit
from ..core.redshift_scores import Array, Expected, Found, Mask, TrueLine
from ..simulate import sed

if TYPE_CHECKING:
    from astropy.table import Table

NOISE = {"contamination_error": 0.1, "continuum_error": 0.15, "systematic_error": 0.02, "velocity": 70.0}
"""Errors that expected signal to noise is computed with: the defaults of fit_redshift."""

ALONE, SHARE = 1.0, 0.1
"""Fluxes of lines are judged where all other light within so many arcsec is less than this share of the source's."""


def validate_redshifts(
    *,
    field: str,
    table: Path,
    line_list: Path,
    spectra: list[Path] | None = None,
    truth: Path | None = None,
    redshifts: Path | None = None,
    metrics: Path,
    figure: Path,
    radius: float = 0.3,
    wrong: float = 0.01,
) -> None:
    """Measure how right redshifts are by flag, how complete against line flux, and how honest their errors.

    Parameters
    ----------
    field : str
        Name of the field.
    table : Path
        Input: the field's redshifts, from merge_redshifts.
    line_list : Path
        Input: table of line families, resources/lines.ecsv.
    spectra : list of Path
        Inputs: the chunks' slitless spectra, from stack: what lines there are to see. Optional.
    truth : Path
        Input: table of simulated sources. This or `redshifts` must be given.
    redshifts : Path
        Input: other redshifts, a table (ECSV, FITS) with ra, dec (deg), z and perhaps z_err, whose rows are left out
        where z_err is more than half of what is `wrong`. Optional.
    metrics : Path
        Output: JSON.
    figure : Path
        Output: all comparisons, PNG.
    radius : float
        Separation within which two sources are the same, arcsec.
    wrong : float
        dz/(1+z) beyond which a redshift is wrong.
    """
    from ..core.plot_validate_redshifts import validation_figure

    logger = log.of("validate_redshifts")
    rows, found = read_found(table)
    if truth is not None:
        known, kind = simulated(truth), "simulated"
    elif redshifts is not None:
        known, kind = others(redshifts, wrong), "other redshifts"
    else:
        raise UserError("validate_redshifts: neither truth nor other redshifts are given; give --truth or --redshifts")
    partner, moved = matched(rows, known, radius)
    report: dict[str, Any] = {"field": field, "against": kind, "wrong": wrong, "radius": radius}
    report |= {"offset_east": moved[0], "offset_north": moved[1]}
    report |= {"sources": len(rows), "matched": int((partner >= 0).sum()), "known": len(known)}
    star = np.zeros(len(rows), bool)
    if truth is not None:
        star[partner >= 0] = np.asarray(known["kind"] == "star")[partner[partner >= 0]]
        report["stars"] = {f"flag_{flag}": int((star & (found.flag == flag)).sum()) for flag in (3, 2, 1, 0)}
    chosen = np.flatnonzero((partner >= 0) & ~star)
    of = partner[chosen]
    mine, z = found.of(chosen), np.asarray(known["z"], float)[of]
    report |= {"redshifts": redshift_scores.by_flag(mine, z, wrong)}
    sure = mine.flag >= 2
    report |= {"calibration": redshift_scores.calibration(mine, z, wrong)}
    report |= {"calibration_sure": redshift_scores.calibration(mine.of(sure), z[sure], wrong)}
    if truth is not None:
        fluxes = compared_lines(rows[chosen], known, of, line_list, np.abs(redshift_scores.errors(mine, z)) < wrong)
        report["lines"] = fluxes
    if truth is not None and spectra:
        ids = [str(one) for one in rows["id"][chosen]]
        there = to_see(spectra, ids, known[of])
        seen = np.array([one is not None for one in there], bool)
        lines = [one for one in there if one is not None]
        report["by_line"] = redshift_scores.against_lines(mine.of(seen), z[seen], lines, wrong)
    report["pairs"] = {
        "z": mine.z.tolist(), "low": mine.low.tolist(), "high": mine.high.tolist(), "true": z.tolist(),
        "flag": mine.flag.tolist(), "id": [str(one) for one in rows["id"][chosen]],
    }  # fmt: skip
    io.write_json(metrics, report)
    io.write_figure(figure, validation_figure(report, f"{field}: redshifts against {sentence(kind)}"), dpi=110)
    for line in sentences(report):
        logger.info("%s", line)


def sentence(kind: str) -> str:
    """What redshifts are compared with, in words."""
    return "the truth of the simulation" if kind == "simulated" else kind


def read_found(path: Path) -> tuple["Table", Found]:
    """The field's table, and what is compared of it."""
    from astropy.table import Table

    hdus = io.open_fits(path, extensions=("REDSHIFTS", "ZGRID", "PZ"))
    rows = Table.read(hdus["REDSHIFTS"], mask_invalid=False)
    rows.convert_bytestring_to_unicode()
    z, low, high = (np.asarray(rows[name], float) for name in ("z", "z_low", "z_high"))
    grid, pdf = np.asarray(hdus["ZGRID"].data["z"], float), np.asarray(hdus["PZ"].data, float)
    return rows, Found(z, low, high, np.asarray(rows["flag"], int), pdf, grid)


def simulated(path: Path) -> "Table":
    """Simulated sources."""
    from ..simulate.sky import read_truth

    return read_truth(path)


def others(path: Path, wrong: float) -> "Table":
    """A user's table of redshifts, without those that are not finite or too uncertain to tell what is `wrong`."""
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv" if path.suffix == ".ecsv" else None)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file (validate_redshifts.redshifts)") from None
    except Exception as error:
        raise UserError(f"{path}: not a table that can be read ({error}); give ECSV or FITS") from error
    missing = [name for name in ("ra", "dec", "z") if name not in table.colnames]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; validate_redshifts needs ra, dec (deg) and z")
    table = table.filled(np.nan) if table.has_masked_columns else table
    good = np.isfinite(np.column_stack([np.asarray(table[name], float) for name in ("ra", "dec", "z")])).all(axis=1)
    z = np.asarray(table["z"], float)
    if "z_err" in table.colnames:
        good &= ~(np.asarray(table["z_err"], float) > wrong / 2 * (1 + z))
    return table[good & (z >= 0)]


def matched(rows: "Table", known: "Table", radius: float) -> tuple[matching.Indices, Array]:
    """The known source of each row, or -1: near and, where magnitudes are known, of a similar brightness.

    And by how many arcsec the field lies east and north of what is known: redshifts are right on whichever frame.
    """
    if not len(rows) or not len(known):
        return np.full(len(rows), -1, np.intp), np.zeros(2)
    plane = Plane(float(np.median(rows["ra"])), float(np.median(rows["dec"])))
    here, there = (plane.project(unit(np.asarray(one["ra"]), np.asarray(one["dec"]))) for one in (rows, known))
    light = np.full(len(rows), np.nan), np.full(len(known), np.nan)
    filters = sorted({str(one) for one in rows["mag_filter"]} - {""})
    if filters and f"mag_{filters[0]}" in known.colnames:
        light = brightness(rows["mag"]), brightness(known[f"mag_{filters[0]}"])
    moved = matching.frame_shift(here, there)
    return matching.match(here, there + moved, np.full(len(known), radius), *light), moved


def brightness(magnitude: Any) -> Array:
    """Flux in μJy of AB magnitudes."""
    return np.asarray(10 ** (-0.4 * (np.asarray(magnitude, float) - 23.9)))


def isolated(known: "Table", of: matching.Indices) -> Mask:
    """Which of the known sources chosen have hardly any light of others upon them."""
    plane = Plane(float(np.median(known["ra"])), float(np.median(known["dec"])))
    xy = plane.project(unit(np.asarray(known["ra"]), np.asarray(known["dec"])))
    return matching.isolated(xy, brightness(known["mag_ref"])[:, None], ALONE, SHARE)[of]


def compared_lines(rows: "Table", known: "Table", of: matching.Indices, line_list: Path, right: Mask) -> dict[str, Any]:
    """Fluxes of lines of sources alone, whose redshift is right, against the true ones."""
    from astropy.table import Table

    names = [family.name for family in line_lists.families(Table.read(line_list))]
    flux = {name: np.asarray(rows[f"flux_{name}"], float) for name in names}
    err = {name: np.asarray(rows[f"flux_err_{name}"], float) for name in names}
    given = {one.name: np.asarray(known[one.column], float)[of] for one in sed.FAMILIES if one.column in known.colnames}
    doublet = sed.FAMILY["OIII"].shares
    true = redshift_scores.true_fluxes(names, given, {"OIII-5008": float(doublet[0]), "OIII-4960": float(doublet[1])})
    result: dict[str, Any] = redshift_scores.line_pulls(flux, err, true, right & isolated(known, of))
    return result


def to_see(paths: Sequence[Path], ids: Sequence[str], known: "Table") -> list[Expected | None]:
    """What lines each source's spectra could show; None for a source without spectra."""
    place = {source: i for i, source in enumerate(ids)}
    found: list[Expected | None] = [None] * len(ids)
    for path in paths:
        sources, setups = slitless_spectra.read(path)
        here = [str(one["id"]) for one in sources if str(one["id"]) in place and not str(one["reason"]).strip()]
        if not here or not setups:
            continue
        gathered = slitless_spectra.gather(setups, here)
        bands = [slitless.band(piece, **NOISE) for one in gathered for piece in one.spectra.pieces()]
        for i, source in enumerate(here):
            row = known[place[source]]
            lines = [TrueLine(one.name, one.wave_micron * 1e4, one.flux) for one in sed.lines(row)]
            one = [band.of(slice(i, i + 1)) for band in bands]
            found[place[source]] = redshift_scores.expected(one, lines, slitless_spectra.UNIT)
    return found


def sentences(report: dict[str, Any]) -> list[str]:
    """The metrics in words, for the log."""
    lines = [f"{report['matched']} of {report['sources']} sources are known"]
    away = float(np.hypot(report["offset_east"], report["offset_north"]))
    if away > report["radius"] / 2:
        lines.append(f"positions differ by {away:.2f}″ throughout, which is allowed for")
    for name, one in report["redshifts"].items():
        if one["sources"]:
            lines.append(f"{name}: {one['sources']} redshifts, {one['right']:.1%} right, NMAD {one['nmad']:.1e}")
    if "by_line" in report and report["by_line"]["with_line"]["sources"]:
        one = report["by_line"]["with_line"]
        lines.append(f"of {one['sources']} with a line at S/N {one['snr']:g}, {one['right']:.1%} are right")
    if "lines" in report and report["lines"]["lines"]:
        one = report["lines"]
        lines.append(f"{one['lines']} line fluxes: pull {one['pull_median']:+.2f} ± {one['pull_width']:.2f}")
    return lines
