"""What a field promises before any of it is downloaded: its sky, its background, its stars, and what to call it.

All of it is advice: a field's type is set by whoever reduces it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grouping import ARCSEC, sky, unit, vertices

Array = NDArray[np.float64]

OBLIQUITY = 23.4392911
"""Degrees, J2000 (IAU 1976)."""

GALACTIC_POLE = 192.85948, 27.12825
"""RA and Dec in degrees (Hipparcos catalogue, volume 1, section 1.5.3)."""

ZODIACAL_POLE, ZODIACAL_PLANE = 60.0, 202.0
"""Zodiacal light at the ecliptic's poles and in it, at 90 degrees from the Sun: S10 (Leinert et al. 1998, table 17)."""

POLE_BRIGHTNESS = 0.12
"""MJy/sr of it at 2 um at the poles, roughly."""

RESOLVED = (
    ("the Large Magellanic Cloud", 80.894, -69.756, 5.5),
    ("the Small Magellanic Cloud", 13.187, -72.829, 3.0),
    ("M31", 10.685, 41.269, 1.6),
    ("M33", 23.462, 30.660, 0.6),
)
"""Galaxies so near that their stars crowd a field: name, RA, Dec and radius in degrees, generous."""


@dataclass(frozen=True)
class Clusters:
    """The user's catalogue of clusters of galaxies: unit vectors (n, 3), and radii in degrees (n,)."""

    points: Array
    radius: Array


def ecliptic_latitude(ra: float, dec: float) -> float:
    """Degrees."""
    tilt = np.deg2rad(OBLIQUITY)
    return float(np.rad2deg(np.arcsin(unit(ra, dec) @ np.array([0, -np.sin(tilt), np.cos(tilt)]))))


def galactic_latitude(ra: float, dec: float) -> float:
    """Degrees."""
    return float(np.rad2deg(np.arcsin(np.clip(unit(ra, dec) @ unit(*GALACTIC_POLE), -1, 1))))


def background(latitude: float) -> float:
    """Zodiacal light at 2 um in MJy/sr at an ecliptic latitude in degrees, 90 degrees from the Sun.

    A layer of dust that brightens as 1/sin(latitude) up to the plane's value: a rough guide, which knows no season.
    """
    sine = abs(np.sin(np.deg2rad(latitude)))
    flat = ZODIACAL_POLE / ZODIACAL_PLANE
    return float(POLE_BRIGHTNESS / np.sqrt(sine**2 + flat**2 * (1 - sine**2)))


def centre(corners: Array) -> tuple[float, float]:
    """RA and Dec in degrees of the middle of footprints, shape (n, 4, 2)."""
    ra, dec = sky(unit(*np.moveaxis(corners.reshape(-1, 2), -1, 0)).sum(0))
    return float(ra), float(dec)


def area(corners: Array, *, points: int = 4000) -> float:
    """Square arcmin that footprints (n, 4, 2) cover together, from points spread evenly: good to some per cent."""
    figures = vertices(corners)
    middle = unit(*centre(corners))
    height = 1 - (figures @ middle).min()  # of the cap that holds them all
    rank = np.arange(points) + 0.5
    z, turn = 1 - height * rank / points, np.pi * (1 + np.sqrt(5)) * rank
    east = np.cross(middle, np.eye(3)[np.argmin(np.abs(middle))])
    east /= np.linalg.norm(east)
    north = np.cross(middle, east)
    wide = np.sqrt(np.clip(1 - z**2, 0, None))
    spread = z[:, None] * middle + (wide * np.cos(turn))[:, None] * east + (wide * np.sin(turn))[:, None] * north
    covered = np.zeros(points, bool)
    for start in range(0, len(figures), 50):
        covered |= _inside(figures[start : start + 50], spread).any(0)
    return float(2 * np.pi * height * covered.mean() / (60 * ARCSEC) ** 2)


def _inside(figures: Array, points: Array) -> NDArray[np.bool_]:
    """Which points (m, 3) lie in which figures (n, 4, 3): shape (n, m)."""
    return (np.cross(figures, np.roll(figures, -1, 1)) @ points.T >= 0).all(1)


def in_field(corners: Array, points: Array) -> NDArray[np.bool_]:
    """Which points (m, 3) lie in any of a field's footprints (n, 4, 2)."""
    found = np.zeros(len(points), bool)
    figures = vertices(corners)
    middle = unit(*centre(corners))
    near = np.flatnonzero(points @ middle >= (figures @ middle).min())
    for start in range(0, len(figures), 50):
        found[near] |= _inside(figures[start : start + 50], points[near]).any(0)
    return found


@dataclass(frozen=True)
class Facts:
    """What is known of a field's sky: square arcmin, degrees, MJy/sr, and what it seems to be, and why."""

    area: float
    ecliptic_latitude: float
    galactic_latitude: float
    background: float
    advice: str
    reason: str


def facts(corners: Array, bright: int, clusters: Clusters | None, *, crowded: float, latitude: float) -> Facts:
    """Judge a field.

    Parameters
    ----------
    corners : ndarray, shape (n, 4, 2)
        Its footprints, degrees.
    bright : int
        Bright stars in it; -1 where not known.
    clusters : Clusters or None
    crowded : float
        Bright stars per square arcmin above which a field is stellar.
    latitude : float
        Galactic latitude below which it is, degrees.

    Returns
    -------
    Facts
        Its advice is ``extragalactic``, ``stellar`` or ``cluster``.
    """
    ra, dec = centre(corners)
    here, covered, galactic = unit(ra, dec), area(corners), galactic_latitude(ra, dec)
    advice, reason = "extragalactic", f"galactic latitude {galactic:.0f} degrees"
    if clusters is not None and (clusters.points @ here > np.cos(np.deg2rad(clusters.radius))).any():
        advice, reason = "cluster", "it is within a cluster of the catalogue"
    if abs(galactic) < latitude:
        advice, reason = "stellar", f"galactic latitude {galactic:.0f} degrees"
    for name, ra_0, dec_0, radius in RESOLVED:
        if here @ unit(ra_0, dec_0) > np.cos(np.deg2rad(radius)):
            advice, reason = "stellar", f"it is in {name}"
    if bright > crowded * covered:
        advice, reason = "stellar", f"{bright} bright stars in {covered:.1f} square arcmin"
    ecliptic = ecliptic_latitude(ra, dec)
    return Facts(covered, ecliptic, galactic, background(ecliptic), advice, reason)
