"""Where an exposure pointed, from the telescope's attitude and the aperture's place in it; never from the target.

A pure parallel's target is a leftover of the prime's, often 0, 0. Attitude and aperture are what places it on the sky.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ARCSEC = np.deg2rad(1 / 3600)

CONSISTENT = 0.05
"""Arcsec by which the header's two ways to say its pointing may differ; ten times the rounding of its keywords."""


@dataclass(frozen=True)
class Aperture:
    """An aperture's reference point and its axes.

    Attributes
    ----------
    v2, v3 : float
        Arcsec.
    angle : float
        V3IdlYAngle, degrees.
    parity : int
        VIdlParity.
    """

    v2: float
    v3: float
    angle: float
    parity: int


@dataclass(frozen=True)
class Pointing:
    """ICRS position and position angle of V3 (degrees) at an aperture's reference point."""

    ra: float
    dec: float
    roll: float


def separation(ra: float, dec: float, other_ra: float, other_dec: float) -> float:
    """Arcsec between two ICRS positions in degrees."""
    a, b = _unit(np.deg2rad(ra), np.deg2rad(dec)), _unit(np.deg2rad(other_ra), np.deg2rad(other_dec))
    return float(2 * np.arcsin(np.clip(np.linalg.norm(a - b) / 2, 0, 1)) / ARCSEC)


def attitude(pointing: Pointing, v2: float, v3: float) -> Array:
    """Rotation (3, 3) from the telescope's axes to the sky's, of a pointing given at (v2, v3) arcsec.

    The sequence of rotations is that of JWST-STScI-001550, section 5; with v2 = v3 = 0 the pointing is the boresight's.
    """
    ra, dec, roll = np.deg2rad([pointing.ra, pointing.dec, pointing.roll])
    return _turn(2, ra) @ _turn(1, -dec) @ _turn(0, -roll) @ _turn(1, v3 * ARCSEC) @ _turn(2, -v2 * ARCSEC)


def at(matrix: Array, v2: float, v3: float) -> Pointing:
    """The pointing at (v2, v3) arcsec under an attitude: the inverse of `attitude`."""
    x, y = v2 * ARCSEC, v3 * ARCSEC
    point = matrix @ _unit(x, y)
    ra, dec = np.arctan2(point[1], point[0]), np.arcsin(np.clip(point[2], -1, 1))
    # the direction in which V3 grows there, on the sky
    up = matrix @ np.array([-np.cos(x) * np.sin(y), -np.sin(x) * np.sin(y), np.cos(y)])
    east = -np.sin(ra) * up[0] + np.cos(ra) * up[1]
    north = -np.sin(dec) * (np.cos(ra) * up[0] + np.sin(ra) * up[1]) + np.cos(dec) * up[2]
    return Pointing(
        float(np.rad2deg(ra) % 360), float(np.rad2deg(dec)), float(np.rad2deg(np.arctan2(east, north)) % 360)
    )


def footprint(
    pointing: Pointing,
    aperture: Aperture,
    corner: tuple[float, float],
    size: tuple[int, int],
    scale: tuple[float, float],
) -> Array:
    """Corners of an exposure on the sky, without distortion: good to half an arcsec at the corners of NIRISS.

    Parameters
    ----------
    pointing : Pointing
        At the reference point.
    aperture : Aperture
    corner : (float, float)
        First pixel's outer corner relative to the reference point, pixels.
    size : (int, int)
        Pixels in x and y.
    scale : (float, float)
        Arcsec per pixel in x and y.

    Returns
    -------
    ndarray, shape (4, 2)
        RA and Dec in degrees, counter-clockwise in pixels from the first.
    """
    x = corner[0] + np.array([0, size[0], size[0], 0])
    y = corner[1] + np.array([0, 0, size[1], size[1]])
    c, s = np.cos(np.deg2rad(aperture.angle)), np.sin(np.deg2rad(aperture.angle))
    ideal_x, ideal_y = aperture.parity * x * scale[0], y * scale[1]
    matrix = attitude(pointing, aperture.v2, aperture.v3)
    v2, v3 = aperture.v2 + c * ideal_x + s * ideal_y, aperture.v3 - s * ideal_x + c * ideal_y
    sky = matrix @ np.array([_unit(a * ARCSEC, b * ARCSEC) for a, b in zip(v2, v3, strict=True)]).T
    ra, dec = np.rad2deg(np.arctan2(sky[1], sky[0])) % 360, np.rad2deg(np.arcsin(np.clip(sky[2], -1, 1)))
    return np.column_stack([ra, dec])


@dataclass(frozen=True)
class Errors:
    """1 sigma per axis, arcsec and degrees, of what is known of a pointing beforehand.

    Attributes
    ----------
    calculated : float
        Attitude from the guider's telemetry.
    planned : float
        Attitude as planned: the prime's moves may be missing from it.
    guide_star : float
        Further error where the visit's guide star is not its observation's usual one.
    roll : float
    """

    calculated: float = 0.5
    planned: float = 1.0
    guide_star: float = 1.5
    roll: float = 0.03


@dataclass(frozen=True)
class Solution:
    """The best pointing of an exposure known beforehand, where it comes from, and how wrong it may be.

    Attributes
    ----------
    pointing : Pointing
    source : str
        ``reference`` (the header's reference point), ``attitude`` (the header's boresight), ``table`` (another table
        of attitudes).
    error, roll_error : float
        1 sigma per axis in arcsec, and degrees.
    moved : float
        Arcsec from what the header says of its reference point; NaN where it says nothing.
    """

    pointing: Pointing
    source: str
    error: float
    roll_error: float
    moved: float


def solve(
    reference: Pointing | None,
    boresight: Pointing | None,
    aperture: Aperture,
    *,
    calculated: bool,
    errors: Errors,
    measured: Pointing | None = None,
) -> Solution | None:
    """Choose among what is said of a pointing.

    Parameters
    ----------
    reference : Pointing or None
        The header's, at the aperture's reference point.
    boresight : Pointing or None
        The header's, at V1.
    aperture : Aperture
    calculated : bool
        Whether the header's attitude comes from telemetry.
    errors : Errors
    measured : Pointing, optional
        At V1, from a table of attitudes made from the guiders' own logs.

    Returns
    -------
    Solution or None
        None where nothing is said.
    """

    def at_aperture(of: Pointing) -> Pointing:
        return at(attitude(of, 0, 0), aperture.v2, aperture.v3)

    error = errors.calculated if calculated else errors.planned
    if measured is not None:
        chosen, source, error = at_aperture(measured), "table", errors.calculated
    elif boresight is not None:
        chosen, source = at_aperture(boresight), "attitude"
        if reference is not None:
            apart = separation(reference.ra, reference.dec, chosen.ra, chosen.dec)
            if apart <= CONSISTENT:
                chosen, source = reference, "reference"
            else:
                error = float(np.hypot(error, apart))
    elif reference is not None:
        chosen, source = reference, "reference"
    else:
        return None
    moved = separation(reference.ra, reference.dec, chosen.ra, chosen.dec) if reference else float("nan")
    return Solution(chosen, source, error, errors.roll, moved)


def usual_stars(observations: Sequence[str], stars: Sequence[str]) -> dict[str, str]:
    """The guide star that most exposures of each observation name."""
    counts: dict[str, Counter[str]] = {}
    for observation, star in zip(observations, stars, strict=True):
        counts.setdefault(observation, Counter())[star] += 1
    return {observation: count.most_common(1)[0][0] for observation, count in counts.items()}


def doubted(solution: Solution, errors: Errors) -> Solution:
    """The solution of an exposure on a guide star that is not its observation's usual one."""
    return replace(solution, error=float(np.hypot(solution.error, errors.guide_star)))


def keywords(
    pointing: Pointing, aperture: Aperture, reference_pixel: tuple[float, float], scale: tuple[float, float],
    corners: Array,
) -> Mapping[str, Any]:  # fmt: skip
    """A header's world coordinates under a pointing, for steps that write images; the input stays as it is.

    Parameters
    ----------
    pointing : Pointing
    aperture : Aperture
    reference_pixel : (float, float)
        CRPIX1 and CRPIX2.
    scale : (float, float)
        Arcsec per pixel.
    corners : ndarray, shape (4, 2)
        Of `footprint`.
    """
    angle = np.deg2rad(pointing.roll + aperture.angle)
    boresight = at(attitude(pointing, aperture.v2, aperture.v3), 0, 0)
    return {
        "RA_REF": pointing.ra, "DEC_REF": pointing.dec, "ROLL_REF": pointing.roll,
        "CRPIX1": reference_pixel[0], "CRPIX2": reference_pixel[1], "CRVAL1": pointing.ra, "CRVAL2": pointing.dec,
        "CDELT1": scale[0] / 3600, "CDELT2": scale[1] / 3600,
        "PC1_1": float(aperture.parity * np.cos(angle)), "PC1_2": float(np.sin(angle)),
        "PC2_1": float(-aperture.parity * np.sin(angle)), "PC2_2": float(np.cos(angle)),
        "RA_V1": boresight.ra, "DEC_V1": boresight.dec, "PA_V3": boresight.roll,
        "S_REGION": region(corners),
    }  # fmt: skip


def region(corners: Array) -> str:
    """A footprint as S_REGION has it."""
    return "POLYGON ICRS  " + " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in corners)


def _unit(longitude: float, latitude: float) -> Array:
    return np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])


def _turn(axis: int, angle: float) -> Array:
    """Right-handed rotation about a coordinate axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(
        (((1, 0, 0), (0, c, -s), (0, s, c)), ((c, 0, s), (0, 1, 0), (-s, 0, c)), ((c, -s, 0), (s, c, 0), (0, 0, 1)))[
            axis
        ]
    )
