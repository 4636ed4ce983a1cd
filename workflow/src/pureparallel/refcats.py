"""Astrometric catalogues, as users give them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import UserError
from .core.astrometry import Catalogue

Array = NDArray[np.float64]

SURVEY_ERROR = 20.0
"""mas per axis, of a catalogue that does not state its errors."""

UNKNOWN_MOTION = 5.0
"""mas/yr per axis, of a star of Gaia's whose motion was not measured."""


def read_catalogue(path: Path, label: str) -> Catalogue:
    """A catalogue, checked; what it does not state of motions and errors is assumed."""
    from astropy import units
    from astropy.table import Table

    where = f"align.{label}: {path}"
    if not path.is_file():
        raise UserError(f"{where}: no such file")
    try:
        table = Table.read(path, format="ascii.ecsv")
    except Exception as reason:
        raise UserError(f"{where}: not a table in ECSV ({reason})") from reason
    missing = {"ra", "dec"} - set(table.colnames)
    if missing:
        raise UserError(f"{where}: no column {', '.join(sorted(missing))}")

    def column(name: str, unit: str, default: float) -> Array:
        if name not in table.colnames:
            return np.full(len(table), default)
        values = np.ma.filled(np.ma.asarray(table[name], float), np.nan)
        given = table[name].unit
        try:
            return values * (units.Unit(given).to(unit) if given is not None else 1.0)
        except units.UnitConversionError as reason:
            raise UserError(f"{where}: column {name} is in {given}, which is no {unit}") from reason

    motion = np.stack([column("pmra", "mas/yr", 0.0), column("pmdec", "mas/yr", 0.0)], axis=1)
    still = ~np.isfinite(motion).all(axis=1)
    moves = np.where(
        still, UNKNOWN_MOTION, _both(column("pmra_error", "mas/yr", 0.0), column("pmdec_error", "mas/yr", 0.0))
    )
    error = _both(column("ra_error", "mas", SURVEY_ERROR), column("dec_error", "mas", SURVEY_ERROR))
    # the parallax is not applied: a star is off by as much at most
    error = np.hypot(error, np.nan_to_num(column("parallax", "mas", 0.0)))
    epoch = column("ref_epoch", "yr", np.nan)
    if np.isnan(epoch).any() and np.any(motion[~still] != 0):
        raise UserError(f"{where}: proper motions without ref_epoch, the Julian year of the positions")
    found = Catalogue(
        label, column("ra", "deg", np.nan), column("dec", "deg", np.nan), error,
        np.where(still[:, None], 0.0, motion), np.nan_to_num(moves), np.nan_to_num(epoch, nan=2000.0),
    )  # fmt: skip
    return found[np.isfinite(found.ra) & np.isfinite(found.dec) & np.isfinite(found.error)]


def _both(first: Array, second: Array) -> Array:
    """The error per axis of two axes' errors."""
    return np.sqrt((first**2 + second**2) / 2)
