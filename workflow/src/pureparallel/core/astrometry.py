"""Rigid corrections of the telescope's attitude on the sky, and how world coordinates take them.

A correction is a rotation of the sphere. It moves the attitude of every exposure of a visit and guide star alike, on
whichever detector and through whichever filter or grism.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import pointing as attitudes
from .pointing import ARCSEC, Pointing

Array = NDArray[np.float64]

LINEAR = (
    "CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "PC1_1", "PC1_2", "PC2_1", "PC2_2",
)  # fmt: skip
"""Keywords of linear world coordinates that a rotation concerns."""

MAS = 1e-3
"""Arcsec."""


def unit(longitude: ArrayLike, latitude: ArrayLike) -> Array:
    """Unit vectors (3, ...) of longitudes and latitudes in degrees."""
    a, d = np.deg2rad(np.asarray(longitude, float)), np.deg2rad(np.asarray(latitude, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def sky(vectors: Array) -> tuple[Array, Array]:
    """Longitudes (0 to 360) and latitudes in degrees of vectors (3, ...); the inverse of `unit`."""
    x, y, z = vectors
    return np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def axes(ra: float, dec: float) -> Array:
    """East, north and outward at a position in degrees, as rows of a matrix (3, 3)."""
    east, outward = np.array([-np.sin(np.deg2rad(ra)), np.cos(np.deg2rad(ra)), 0.0]), unit(ra, dec)
    return np.stack([east, np.cross(outward, east), outward])


@dataclass(frozen=True)
class Plane:
    """The tangent plane at a position in degrees (gnomonic projection)."""

    ra: float
    dec: float

    def project(self, vectors: Array) -> Array:
        """East and north in arcsec, shape (n, 2), of unit vectors (3, n)."""
        east, north, outward = np.tensordot(axes(self.ra, self.dec), vectors, 1)
        return np.stack([east / outward, north / outward], axis=-1) / ARCSEC

    def deproject(self, xy: Array) -> Array:
        """Unit vectors (3, n) of positions (n, 2) in arcsec."""
        x, y = np.asarray(xy, float).T * ARCSEC
        vectors = np.tensordot(axes(self.ra, self.dec).T, np.stack([x, y, np.ones_like(x)]), 1)
        return vectors / np.linalg.norm(vectors, axis=0)


def rotation(plane: Plane, pivot: Array, correction: Array) -> Array:
    """A correction in the plane (see `registration`) as a rotation (3, 3) of the sphere.

    Parameters
    ----------
    plane : Plane
    pivot : ndarray, shape (2,)
        Arcsec.
    correction : ndarray, shape (3,)
        East, north [arcsec] and roll [rad].
    """
    before, after = plane.deproject(np.stack([pivot, pivot + correction[:2]])).T
    # a position angle grows clockwise about the outward direction
    return _about(after, -float(correction[2])) @ _carry(before, after)


def _carry(before: Array, after: Array) -> Array:
    """The smallest rotation that takes one unit vector to another near it."""
    axis = np.cross(before, after)
    length = float(np.linalg.norm(axis))
    return _about(axis / length, np.arctan2(length, float(before @ after))) if length else np.eye(3)


def _about(axis: Array, angle: float) -> Array:
    """Right-handed rotation about a unit vector (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + 2 * np.sin(angle / 2) ** 2 * cross @ cross


def rotated(pointing: Pointing, turn: Array) -> Pointing:
    """A pointing after a rotation of the sphere, at the same aperture's reference point, whichever it is."""
    return attitudes.at(turn @ attitudes.attitude(pointing, 0, 0), 0, 0)


def on_sky(v2: ArrayLike, v3: ArrayLike, pointing: Pointing, reference: tuple[float, float]) -> Array:
    """Unit vectors (3, n) of places (arcsec) in the telescope's frame.

    Parameters
    ----------
    v2, v3 : array_like, shape (n,)
    pointing : Pointing
        At the reference point.
    reference : (float, float)
        V2 and V3 of the reference point, arcsec.
    """
    places = unit(np.asarray(v2, float) / 3600, np.asarray(v3, float) / 3600)
    return np.tensordot(attitudes.attitude(pointing, *reference), places, 1)


@dataclass(frozen=True)
class Catalogue:
    """Positions of an astrometric catalogue.

    Attributes
    ----------
    label : str
    ra, dec : ndarray, shape (n,)
        Degrees, ICRS, at `epoch`.
    error : ndarray, shape (n,)
        mas, 1 sigma per axis.
    motion : ndarray, shape (n, 2)
        mas/yr east and north; 0 where not known.
    motion_error : ndarray, shape (n,)
        mas/yr, 1 sigma per axis.
    epoch : ndarray, shape (n,)
        Julian years.
    """

    label: str
    ra: Array
    dec: Array
    error: Array
    motion: Array
    motion_error: Array
    epoch: Array

    def __len__(self) -> int:
        return len(self.ra)

    def at(self, epoch: float, plane: Plane) -> tuple[Array, Array]:
        """Positions (n, 2) in a plane at a Julian year, and their errors (n,), both in arcsec."""
        years = epoch - self.epoch
        east = self.motion[:, 0] * years * MAS / 3600 / np.cos(np.deg2rad(self.dec))
        there = unit(self.ra + east, self.dec + self.motion[:, 1] * years * MAS / 3600)
        return plane.project(there), np.hypot(self.error, self.motion_error * years) * MAS

    def around(self, plane: Plane, degrees: float) -> "Catalogue":
        """What lies within some degrees of a plane's centre."""
        return self[axes(plane.ra, plane.dec)[2] @ unit(self.ra, self.dec) > np.cos(np.deg2rad(degrees))]

    def __getitem__(self, keep: NDArray) -> "Catalogue":
        rest = (one[keep] for one in (self.ra, self.dec, self.error, self.motion, self.motion_error, self.epoch))
        return Catalogue(self.label, *rest)


def read_solution(path: Path) -> dict[str, Pointing]:
    """The pointing of every exposure of a solution, grisms included, at its aperture's reference point.

    Parameters
    ----------
    path : Path
        ``{field}_align.fits``, of the step align.
    """
    from astropy.table import Table

    from ..io import open_fits

    table = Table.read(open_fits(path, extensions=("EXPOSURES",))["EXPOSURES"], mask_invalid=False)
    return {str(row["exposure"]): Pointing(*(float(row[key]) for key in ("ra", "dec", "roll"))) for row in table}


def apply_to_model(model: Any, pointing: Pointing) -> None:
    """Give an image of jwst a pointing: its gwcs and its keywords, in place.

    Parameters
    ----------
    model : DataModel
        With `meta.wcs` of the pipeline's assign_wcs, or without, for exposures that will be assigned one.
    pointing : Pointing
        At the aperture's reference point: a row of the solution's EXPOSURES.
    """
    info = model.meta.wcsinfo
    turn = _change(Pointing(info.ra_ref, info.dec_ref, info.roll_ref), pointing, info.v2_ref, info.v3_ref)
    values = {key: getattr(info, key.lower(), None) for key in LINEAR}
    _turn_keywords(values, turn)
    for key, value in values.items():
        if value is not None:
            setattr(info, key.lower(), float(value))
    info.ra_ref, info.dec_ref, info.roll_ref = pointing.ra, pointing.dec, pointing.roll
    boresight = attitudes.at(attitudes.attitude(pointing, info.v2_ref, info.v3_ref), 0, 0)
    model.meta.pointing.ra_v1, model.meta.pointing.dec_v1 = boresight.ra, boresight.dec
    model.meta.pointing.pa_v3 = boresight.roll
    if getattr(info, "s_region", None):
        info.s_region = _turned_region(info.s_region, turn)
    if getattr(model.meta, "wcs", None) is not None:
        from jwst.assign_wcs.pointing import v23tosky

        frames = model.meta.wcs.available_frames
        model.meta.wcs.set_transform(frames[-2], frames[-1], v23tosky(model))


def apply_to_header(header: MutableMapping[str, Any], pointing: Pointing) -> None:
    """Give a header a pointing: its linear world coordinates and the pipeline's own keywords, in place.

    Parameters
    ----------
    header : Header
        Of a SCI extension, with RA_REF, DEC_REF, ROLL_REF, V2_REF and V3_REF.
    pointing : Pointing
        At the aperture's reference point.
    """
    v2, v3 = float(header["V2_REF"]), float(header["V3_REF"])
    turn = _change(Pointing(header["RA_REF"], header["DEC_REF"], header["ROLL_REF"]), pointing, v2, v3)
    _turn_keywords(header, turn)
    header["RA_REF"], header["DEC_REF"], header["ROLL_REF"] = pointing.ra, pointing.dec, pointing.roll
    boresight = attitudes.at(attitudes.attitude(pointing, v2, v3), 0, 0)
    for key, value in (("RA_V1", boresight.ra), ("DEC_V1", boresight.dec), ("PA_V3", boresight.roll)):
        if key in header:
            header[key] = value
    if header.get("S_REGION"):
        header["S_REGION"] = _turned_region(header["S_REGION"], turn)


def _change(before: Pointing, after: Pointing, v2: float, v3: float) -> Array:
    """The rotation that takes one attitude to another."""
    return attitudes.attitude(after, v2, v3) @ attitudes.attitude(before, v2, v3).T


def _turn_keywords(header: MutableMapping[str, Any], turn: Array) -> None:
    """Rotate CRVAL and the matrix CD or PC."""
    ra, dec = header.get("CRVAL1"), header.get("CRVAL2")
    if ra is None or dec is None:
        return
    old = axes(ra, dec)
    new_ra, new_dec = (float(one) for one in sky(turn @ old[2]))
    plane = axes(new_ra, new_dec)[:2] @ turn @ old[:2].T
    for kind in ("CD", "PC"):
        keys = [[f"{kind}{i}_{j}" for j in (1, 2)] for i in (1, 2)]
        values = [[header.get(key) for key in row] for row in keys]
        if any(value is None for row in values for value in row):
            continue
        # CDELT acts between PC and the sky
        scale = np.array([header.get(f"CDELT{i}") or 1.0 for i in (1, 2)]) if kind == "PC" else np.ones(2)
        turned = plane * scale / scale[:, None] @ np.array(values, float)
        for row, changed in zip(keys, turned, strict=True):
            for key, value in zip(row, changed, strict=True):
                header[key] = float(value)
    header["CRVAL1"], header["CRVAL2"] = new_ra, new_dec


def _turned_region(region: str, turn: Array) -> str:
    ra, dec = np.array(region.split()[2:], float).reshape(-1, 2).T
    return attitudes.region(np.column_stack(sky(turn @ unit(ra, dec))))
