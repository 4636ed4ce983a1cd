"""Tables of redshifts, the same for spectra of every kind: their rows, and the file of a chunk's sources."""

import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import UserError, log
from .core.lines import Family
from .core.redshift import Array, Lines, Redshift
from .spectra import plain_text

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

Row = dict[str, Any]

NUMBERS = ("z", "z_low", "z_high", "chi2_dof", "peak_ratio", "z_2", "z_3", "p_1", "p_2", "p_3", "z_phot")
"""Columns that are NaN where a fit does not fill them."""

UNITS = {"flux": "erg / (s cm2)", "flux_err": "erg / (s cm2)", "ew": "Angstrom", "ew_err": "Angstrom"}
"""Of what is measured of each family of lines."""


def empty(source: str, ra: float, dec: float, reason: str, families: Iterable[Family]) -> Row:
    """The row of a source that was not fitted.

    Parameters
    ----------
    source : str
    ra, dec : float
        deg.
    reason : str
        Why not.
    families : iterable of Family
        All of the line list, so that all chunks have the same columns.
    """
    row = {"id": source, "ra": ra, "dec": dec} | dict.fromkeys(NUMBERS, np.nan)
    row |= {"flag": 0, "reason": reason, "pixels": 0, "gratings": "", "filters": ""}
    return row | {f"{key}_{family.name}": np.nan for family in families for key in UNITS}


def filled(row: Row, result: Redshift, measured: Lines, unit: float, line_error: float = 0.0) -> Row:
    """`row` with what was found; flag, reason and what was used are the caller's.

    Parameters
    ----------
    row : dict
    result : Redshift
    measured : Lines
    unit : float
        Of the fluxes measured, erg/s/cm2.
    line_error : float
        Fraction of every line's flux added in quadrature to its error.
    """
    row = row | {"z": result.z, "z_low": result.z_low, "z_high": result.z_high}
    row |= {"chi2_dof": result.chi2 / result.dof, "peak_ratio": result.peak_ratio}
    for i, peak in enumerate(result.peaks[:3], start=1):
        row |= {f"p_{i}": peak.probability} | ({f"z_{i}": peak.z} if i > 1 else {})
    flux_err = np.hypot(measured.err, line_error * measured.flux)
    ew_err = np.hypot(measured.ew_err, line_error * measured.ew)
    for i, family in enumerate(measured.families):
        row |= {f"flux_{family.name}": measured.flux[i] * unit, f"flux_err_{family.name}": flux_err[i] * unit}
        row |= {f"ew_{family.name}": measured.ew[i], f"ew_err_{family.name}": ew_err[i]}
    return row


def attempt[T](
    step: str, row: Row, grid: Array, fit: Callable[[], tuple[Row, Redshift, T]], nothing: T
) -> tuple[Row, Array, T]:
    """Fit a source; whatever goes wrong becomes the reason in its row, with flag 0.

    Parameters
    ----------
    step : str
        For the log.
    row : dict
        From `empty`; with a reason in it, nothing is tried.
    grid : ndarray, shape (z,)
    fit : callable
        Returns the row filled, the redshift, and something besides.
    nothing : T
        Taken for the latter after a failure.

    Returns
    -------
    row : dict
    pdf : ndarray, shape (z,)
        Probability in each bin of `grid`; zeros after a failure.
    besides : T
    """
    reason = row["reason"]
    if not reason:
        try:
            filled_row, result, besides = fit()
            return filled_row, result.on(grid), besides
        except UserError as error:
            reason = str(error)
        except Exception as error:
            log.of(step).warning("%s failed:\n%s", row["id"], traceback.format_exc())
            reason = f"fit: {type(error).__name__}: {error}"
    log.of(step).warning("%s: %s", row["id"], reason)
    return row | {"reason": plain_text(reason)}, np.zeros(len(grid)), nothing


def product(rows: Sequence[Row], families: Sequence[Family], grid: Array, pdfs: Array) -> "HDUList":
    """REDSHIFTS (a row per source), ZGRID and PZ, to which models may be appended.

    Parameters
    ----------
    rows : sequence of dict
        All with the columns of `empty`.
    families : sequence of Family
        Of the line list.
    grid : ndarray, shape (z,)
    pdfs : ndarray, shape (s, z)
        Probability in the bin around each redshift.
    """
    from astropy.io import fits
    from astropy.table import Table

    units = {"ra": "deg", "dec": "deg"}
    units |= {f"{key}_{family.name}": unit for family in families for key, unit in UNITS.items()}
    # of no sources, a table has all its columns too
    table = Table(rows=rows or [empty("", np.nan, np.nan, "", families)], units=units)[: len(rows)]
    return fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU(table, name="REDSHIFTS"),
            fits.BinTableHDU(Table({"z": grid}), name="ZGRID"),
            fits.ImageHDU(np.asarray(pdfs, np.float32).reshape(len(rows), len(grid)), name="PZ"),
        ]
    )
