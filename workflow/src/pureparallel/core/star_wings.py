"""Stars whose middles a mosaic does not show: how bright they are by their wings, and what they look like."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .dispersed import SAMPLES, Stamp
from .grid import ARCSEC
from .grism import Optics

Array = NDArray[np.float64]
Image = NDArray[np.float32]

Light = Callable[[Array, Array], Array]

RADII = np.geomspace(0.03, 2.0, 100)
"""Arcsec at which profiles are known."""

ANGLES = 180

INNER, WIDTH = 0.15, 0.6
"""Arcsec from the nearest known pixel to where wings are measured, and the width of the ring."""

PAIRS, LEAST, KNOWN = 12, 9, 0.9
"""Of opposite parts of a ring, how many of them must be known, and what part of one's pixels."""

LARGEST = 0.5
"""Arcsec, of a hole: farther out, wings are not told from the sky."""

GLARE = 6.0
"""Arcsec from a star to which its light is taken off sources."""


FARTHEST, ALIKE = 2.0, 0.15
"""Arcsec that a field may be off its pointing; and that stars may differ in what they are off."""


def displacement(images: Iterable[Image], stars: Array, scale: float) -> Array:
    """What moves catalogued stars onto the holes that they leave in a field's mosaics, where they saturate.

    Parameters
    ----------
    images : iterable of ndarray, shape (ny, nx)
        On one grid, NaN where nothing is known.
    stars : ndarray, shape (n, 2)
        Pixels x and y.
    scale : float
        Arcsec per pixel.

    Returns
    -------
    ndarray, shape (2,)
        Pixels, by most pairs of a star and a hole that agree; 0 without any.
    """
    found = np.concatenate([np.zeros((0, 2)), *(_holes(image, INNER / scale) for image in images)])
    offset = (found[:, None] - stars).reshape(-1, 2)
    offset = offset[np.hypot(*offset.T) * scale < FARTHEST]
    if not len(offset):
        return np.zeros(2)
    agree = np.hypot(*(offset[:, None] - offset).T) * scale < ALIKE
    return np.asarray(offset[agree[np.argmax(agree.sum(axis=1))]].mean(axis=0))


def _holes(image: Image, radius: float) -> Array:
    """Middles x, y of holes at least as large as a circle, that the image surrounds."""
    labels, count = ndimage.label(~np.isfinite(image))
    size = np.bincount(labels.ravel(), minlength=count + 1)
    open_ones = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    index = np.setdiff1d(np.flatnonzero(size > np.pi * radius**2), [0, *open_ones])
    return np.array(ndimage.center_of_mass(labels > 0, labels, index)).reshape(-1, 2)[:, ::-1]


def profile(light: Light) -> Array:
    """Mean over all directions, at `RADII`, of a star's light in pixels at offsets x, y in arcsec."""
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    return light(np.outer(RADII, np.cos(angle)), np.outer(RADII, np.sin(angle))).mean(axis=1)


def measure(image: Image, where: tuple[float, float], scale: float, light: Light) -> float:
    """A star's light by its wings.

    A mirror's image is the same under a turn by 180 degrees, which sources are not: of opposite parts of a ring, the
    fainter one counts. All directions together have the mean of spikes and gaps, however the telescope was turned.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        NaN where nothing is known.
    where : (float, float)
        Pixels x and y of the star.
    scale : float
        Arcsec per pixel.
    light : callable
        Part of a star's light in pixels of the image at offsets x, y (broadcast) in arcsec.

    Returns
    -------
    float
        In units of the image times pixels; NaN where too little of its wings is known.
    """
    x, y = where
    reach = (LARGEST + INNER + WIDTH) / scale + 1
    rows, columns = (
        slice(max(int(c - reach), 0), max(min(int(c + reach) + 2, n), 0))
        for c, n in zip((y, x), image.shape, strict=True)
    )
    part = image[rows, columns]
    known = np.isfinite(part)
    if not known.any():
        return np.nan
    down, across = (np.arange(s.start, s.stop) - c for s, c in ((rows, y), (columns, x)))
    away = np.hypot(down[:, None], across) * scale
    hole = float(away[known].min())
    if hole > LARGEST:
        return np.nan
    inner = INNER + hole
    ring = (away > inner) & (away < inner + WIDTH)
    expected = np.interp(away, RADII, profile(light))
    part_of_ring = np.floor((np.arctan2(down[:, None], across) / np.pi + 1) * PAIRS).astype(int) % (2 * PAIRS)
    whole = np.bincount(part_of_ring[ring], minlength=2 * PAIRS)
    seen, mine = part_of_ring[ring & known], ring & known
    pixels, total, model = (
        np.bincount(seen, values[mine], 2 * PAIRS) for values in (np.ones_like(away), part, expected)
    )
    use = pixels >= np.maximum(KNOWN * whole, 4)
    level = np.where(use, total / np.where(use, model, 1), np.inf).reshape(2, PAIRS).min(axis=0)
    use = np.isfinite(level)
    return max(float(level[use].mean()), 0.0) if use.sum() >= LEAST else np.nan


def stamp(optics: Optics, light: Light, label: int, where: tuple[float, float], flux: float, reach: float) -> Stamp:
    """A star as the model of the optics has it.

    Parameters
    ----------
    optics : Optics
    light : callable
        Part of a star's light in pixels at offsets x, y (broadcast) in arcsec along the detector's axes.
    label : int
    where : (float, float)
        In the direct image.
    flux : float
        μJy.
    reach : float
        Pixels on either side.
    """
    scale = np.sqrt(optics.pixel_area) / ARCSEC
    left, low = (int(np.floor(w - reach)) for w in where)
    sx, sy = (
        (first + np.arange(int(2 * reach + 2) * SAMPLES + 1) / SAMPLES - w) * scale
        for first, w in zip((left, low), where, strict=True)
    )
    return Stamp(label, *where, left, low, (flux * light(sx, sy[:, None])).astype(np.float32))


def without_glare(source: Stamp, where: tuple[float, float], flux: float, light: Light, scale: float) -> Stamp:
    """A source without what its segment holds of a star's light.

    Parameters
    ----------
    source : Stamp
    where : (float, float)
        Of the star in the direct image.
    flux : float
        Of the star, μJy.
    light : callable
        See `stamp`.
    scale : float
        Arcsec per pixel.
    """
    sx, sy = (
        (first + np.arange(n) / SAMPLES - at) * scale
        for first, n, at in zip((source.left, source.low), source.light.shape[::-1], where, strict=True)
    )
    if np.hypot(np.abs(sx).min(), np.abs(sy).min()) > GLARE:
        return source
    glare = flux * light(sx, sy[:, None])
    left = np.maximum(source.light - glare, np.minimum(source.light, 0))
    return replace(source, light=np.where(source.light != 0, left, 0).astype(np.float32))
