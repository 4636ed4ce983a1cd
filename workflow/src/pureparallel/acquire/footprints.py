"""Where exposures look: from the telescope's attitude and the aperture's outline, never from the target.

A pure parallel's target is the prime's, or 0, 0. What the archive says of the attitude differs between exposures; the
best of it is taken: the boresight, the aperture's reference point, or the attitude under which the aperture's outline
falls on the archive's own region (`S_REGION`), which must then agree with the roll at the guide star. Where there is an
attitude, the region serves as a check.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import pointing
from .grouping import ARCSEC, sky, unit

Array = NDArray[np.float64]

REGION_ERROR = 1.5
"""Arcsec by which a region's corners may differ from those of its aperture under one attitude; those of a region that
was computed without distortion do by half an arcsec."""

ROLL_ERROR = 1.0
"""Degrees by which the roll at the guide star may differ from that of a region: a region turned by a quarter differs by
90."""


@dataclass(frozen=True)
class Outline:
    """An aperture: its reference point and axes, and its corners in the telescope's frame.

    Attributes
    ----------
    aperture : pointing.Aperture
    corners : ndarray, shape (4, 2)
        V2 and V3 in arcsec, in the order of SIAF's vertices, which S_REGION has too.
    """

    aperture: pointing.Aperture
    corners: Array


@dataclass(frozen=True)
class Place:
    """Where an exposure looked.

    Attributes
    ----------
    corners : ndarray, shape (4, 2)
        RA and Dec in degrees.
    source : str
        What it comes from: ``boresight``, ``reference`` or ``region``.
    apart : float
        Largest distance of the archive's region from it, arcsec; NaN where there is none to compare.
    """

    corners: Array
    source: str
    apart: float


@cache
def outline(instrument: str, name: str) -> Outline | None:
    """An aperture of SIAF; None where it has none of that name, or none with an outline."""
    apertures = _siaf(instrument).apertures
    if name not in apertures:
        return None
    one = apertures[name]
    try:
        v2, v3 = one.closed_polygon_points("tel")
    except (TypeError, AttributeError, ValueError, NotImplementedError):  # of apertures that have no corners
        return None
    corners = np.column_stack([v2[:4], v3[:4]]).astype(float)
    if not np.isfinite(corners).all():
        return None
    angle, parity = float(one.V3IdlYAngle), int(one.VIdlParity)
    return Outline(pointing.Aperture(float(one.V2Ref), float(one.V3Ref), angle, parity), corners)


@cache
def _siaf(instrument: str) -> Any:
    import pysiaf

    return pysiaf.Siaf({"NIRISS": "NIRISS", "NIRCAM": "NIRCam", "NIRSPEC": "NIRSpec"}.get(instrument, instrument))


def place(row: Mapping[str, Any], aperture: Outline) -> Place | str:
    """Place an exposure on the sky.

    Parameters
    ----------
    row : mapping
        Of the archive: where known ``ra_v1, dec_v1, pa_v3``, ``ra_ref, dec_ref, roll_ref``, ``s_region``, ``gs_ra,
        gs_dec, gs_v3_pa``; degrees.
    aperture : Outline

    Returns
    -------
    Place or str
        Or why it cannot be placed.
    """
    region = parse_region(row.get("s_region"))
    boresight, reference = _pointing(row, "ra_v1", "dec_v1", "pa_v3"), _pointing(row, "ra_ref", "dec_ref", "roll_ref")
    if boresight is not None:
        attitude, source = pointing.attitude(boresight, 0, 0), "boresight"
    elif reference is not None:
        attitude, source = pointing.attitude(reference, aperture.aperture.v2, aperture.aperture.v3), "reference"
    elif region is None:
        return "neither attitude nor region is known"
    else:
        fitted = _attitude_of(region, aperture, row)
        if isinstance(fitted, str):
            return fitted
        attitude, source = fitted, "region"
    corners = sky(_telescope(aperture.corners) @ attitude.T)
    apart = math.nan if region is None else _farthest(unit(*region.T), unit(*corners.T))
    return Place(corners, source, apart)


def parse_region(text: Any) -> Array | None:
    """Corners (4, 2) in degrees of a region such as ``POLYGON ICRS 1 2 3 4 5 6 7 8``; None where it is none."""
    number = r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
    match = re.fullmatch(rf"\s*POLYGON(?:\s+ICRS)?((?:\s+{number}){{8,10}})\s*", str(text or ""), re.IGNORECASE)
    if match is None:
        return None
    values = np.array(match[1].split(), float).reshape(-1, 2)
    if len(values) == 5 and not np.array_equal(values[0], values[4]):
        return None
    corners = values[:4]
    inside = (np.abs(corners[:, 1]) <= 90).all() and (np.abs(corners[:, 0]) <= 360).all()
    return corners if inside and len(np.unique(corners, axis=0)) == 4 else None


def region(corners: Array) -> str:
    """A footprint as the manifest has it, to 4 mas."""
    words = [f"{round(ra, 6) % 360:.6f} {dec:.6f}" for ra, dec in corners]
    return " ".join(["POLYGON ICRS", *words])


def _pointing(row: Mapping[str, Any], ra: str, dec: str, roll: str) -> pointing.Pointing | None:
    values = [number(row.get(key)) for key in (ra, dec, roll)]
    known = all(map(math.isfinite, values)) and abs(values[1]) <= 90 and (values[0], values[1]) != (0, 0)
    return pointing.Pointing(values[0] % 360, values[1], values[2] % 360) if known else None


def number(value: Any) -> float:
    """A number of the archive; NaN where it says nothing."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return math.nan
    return math.nan if found == -999 else found


def _telescope(v2v3: Array) -> Array:
    """Unit vectors of positions in the telescope's frame."""
    return unit(*(v2v3 / 3600).T)


def _attitude_of(region: Array, aperture: Outline, row: Mapping[str, Any]) -> Array | str:
    """The attitude under which the aperture's outline falls on a region (Wahba's problem, solved by an SVD)."""
    seen, here = unit(*region.T), _telescope(aperture.corners)
    ra, dec, roll = (number(row.get(key)) for key in ("gs_ra", "gs_dec", "gs_v3_pa"))
    known = math.isfinite(ra + dec + roll)
    best, reason = None, ""
    for turn in range(4):
        to = np.roll(seen, -turn, 0)
        left, _, right = np.linalg.svd(to.T @ here)
        matrix = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
        error = np.linalg.norm(here @ matrix.T - to, axis=1).max() / ARCSEC
        off = abs((_roll_at(matrix, ra, dec) - roll + 180) % 360 - 180) if known else 0.0
        if error > REGION_ERROR:
            reason = reason or f"its region is not its aperture's: corners differ by {error:.1f} arcsec"
        elif off > ROLL_ERROR:
            reason = f"its region is turned by {off:.1f} degrees against the roll at the guide star"
        elif best is None and (known or turn == 0):
            best = matrix
    return reason if best is None else best


def _roll_at(attitude: Array, ra: float, dec: float) -> float:
    """Position angle of V3 at a sky position, degrees."""
    x, y, z = attitude.T @ unit(ra, dec)
    return pointing.at(attitude, float(np.arctan2(y, x)) / ARCSEC, float(np.arcsin(np.clip(z, -1, 1))) / ARCSEC).roll


def _farthest(a: Array, b: Array) -> float:
    """Arcsec from the worst corner of either footprint to the nearest of the other."""
    gap = 2 * np.arcsin(np.clip(np.linalg.norm(a[:, None] - b, axis=-1) / 2, 0, 1)) / ARCSEC
    return float(max(gap.min(0).max(), gap.min(1).max()))
