"""Where the sky falls on the detector: the simulator's own geometry, independent of the pipeline's WCS.

A pointing is the sky position of the aperture's reference point and the position angle of V3 there. Pixels are
0-based and those of the frame. The distortion is `instrument.NIS_CEN`, the aperture of SIAF.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .instrument import ARCSEC_PER_RADIAN, NIS_CEN, Frame

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pointing:
    """ICRS position (deg) of the aperture's reference point, and position angle of V3 there (deg, east of north)."""

    ra: float
    dec: float
    roll: float


def attitude(pointing: Pointing) -> Array:
    """Matrix (3, 3) that turns unit vectors of the telescope (V1, V2, V3) into those of the sky (ICRS)."""
    v2, v3 = NIS_CEN.v2_ref / ARCSEC_PER_RADIAN, NIS_CEN.v3_ref / ARCSEC_PER_RADIAN
    ra, dec, roll = np.deg2rad([pointing.ra, pointing.dec, pointing.roll])
    return _about(2, ra) @ _about(1, -dec) @ _about(0, -roll) @ _about(1, v3) @ _about(2, -v2)


def _about(axis: int, angle: float) -> Array:
    """Right-handed rotation about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i] = np.sin(angle)
    matrix[i, j] = -matrix[j, i]
    return matrix


def _vector(longitude: Array, latitude: Array) -> Array:
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])


def to_pixel(ra: ArrayLike, dec: ArrayLike, pointing: Pointing, frame: Frame) -> tuple[Array, Array]:
    """Pixel positions of sky positions, 0-based in the frame.

    Parameters
    ----------
    ra, dec : array_like
        ICRS, deg. Within some arcminutes of the detector: far outside, the distortion has no meaning.
    pointing : Pointing
    frame : Frame

    Returns
    -------
    x, y : ndarray
    """
    sky = _vector(np.deg2rad(np.asarray(ra, float)), np.deg2rad(np.asarray(dec, float)))
    v = np.tensordot(attitude(pointing).T, sky, 1)
    v2 = np.arctan2(v[1], v[0]) * ARCSEC_PER_RADIAN
    v3 = np.arctan2(v[2], np.hypot(v[0], v[1])) * ARCSEC_PER_RADIAN
    x, y = NIS_CEN.from_telescope(v2, v3)
    return x - (frame.xstart - 1), y - (frame.ystart - 1)


def to_sky(x: ArrayLike, y: ArrayLike, pointing: Pointing, frame: Frame) -> tuple[Array, Array]:
    """Sky positions (ICRS, deg; 0 <= ra < 360) of pixel positions; the inverse of `to_pixel`."""
    v2, v3 = NIS_CEN.to_telescope(np.asarray(x, float) + frame.xstart - 1, np.asarray(y, float) + frame.ystart - 1)
    s = np.tensordot(attitude(pointing), _vector(v2 / ARCSEC_PER_RADIAN, v3 / ARCSEC_PER_RADIAN), 1)
    return np.rad2deg(np.arctan2(s[1], s[0])) % 360, np.rad2deg(np.arctan2(s[2], np.hypot(s[0], s[1])))


def dithered(pointing: Pointing, x_arcsec: float, y_arcsec: float) -> Pointing:
    """The pointing after a move by ideal coordinates; V3's position angle at the reference point is kept."""
    x, y = NIS_CEN.from_ideal(x_arcsec, y_arcsec)
    ra, dec = to_sky(x, y, pointing, Frame.full())
    return Pointing(float(ra), float(dec), pointing.roll)


def boresight(pointing: Pointing) -> tuple[float, float, float]:
    """Sky position of V1 and position angle of V3 there, deg: RA_V1, DEC_V1 and PA_V3."""
    m = attitude(pointing)
    ra, dec = np.arctan2(m[1, 0], m[0, 0]), np.arcsin(m[2, 0])
    # V3 in the local basis of east and north
    east = -np.sin(ra) * m[0, 2] + np.cos(ra) * m[1, 2]
    north = m[2, 2] / np.cos(dec)
    return float(np.rad2deg(ra) % 360), float(np.rad2deg(dec)), float(np.rad2deg(np.arctan2(east, north)) % 360)


def corners(pointing: Pointing, frame: Frame) -> Array:
    """Sky positions (ra, dec) of the outer corners of the frame, counted from its first pixel; shape (4, 2)."""
    right, top = frame.nx - 0.5, frame.ny - 0.5
    return np.stack(to_sky([-0.5, right, right, -0.5], [-0.5, -0.5, top, top], pointing, frame), axis=1)


def s_region(pointing: Pointing, frame: Frame) -> str:
    """Footprint as the header's S_REGION has it."""
    return "POLYGON ICRS  " + " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in corners(pointing, frame))


def linear_wcs(pointing: Pointing, frame: Frame) -> dict[str, float]:
    """CRPIX, CRVAL and the PC matrix (CDELT 1 degree per degree is folded out) of the undistorted header WCS.

    CRPIX may lie outside of the frame: it is the aperture's reference point.
    """
    angle = np.deg2rad(pointing.roll + NIS_CEN.v3_idl_y_angle)
    parity = NIS_CEN.v_idl_parity
    return {
        "crpix1": NIS_CEN.x_ref - frame.xstart + 1,
        "crpix2": NIS_CEN.y_ref - frame.ystart + 1,
        "crval1": pointing.ra,
        "crval2": pointing.dec,
        "cdelt1": NIS_CEN.x_coefficients[1] / 3600,
        "cdelt2": NIS_CEN.y_coefficients[2] / 3600,
        "pc1_1": float(parity * np.cos(angle)),
        "pc1_2": float(np.sin(angle)),
        "pc2_1": float(-parity * np.sin(angle)),
        "pc2_2": float(np.cos(angle)),
    }
