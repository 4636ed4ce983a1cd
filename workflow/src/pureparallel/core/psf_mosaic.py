"""A star's image on a mosaic: placed on every exposure at its sub-pixel position and roll, and drizzled as they were.

The image on the mosaic is not that on a detector. Pixels of the detector and drops widen it, exposures turn its spikes,
and with few of them it differs from place to place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .drizzling import drizzle_one
from .grid import Grid, PixelMap

Array = NDArray[np.float64]

RADIUS = 3.0
"""Arcsec from the middle of an image of a star to its nearest edge."""

CLOSE = 1e-3
"""Pixels to which a place on an exposure is found."""

Light = Callable[[Array, Array], Array]
"""Part of a star's light in a detector's pixels at offsets x, y in arcsec."""


class Exposure:
    """Where an exposure's pixels fall on a grid.

    Parameters
    ----------
    positions : PixelMap
    grid : Grid
    weight : float
        Of its pixels, relative to those of others.

    Attributes
    ----------
    pixel : float
        Side of its pixels, arcsec.
    """

    def __init__(self, positions: PixelMap, grid: Grid, weight: float) -> None:
        from scipy.interpolate import RectBivariateSpline

        self.shape, self.weight = positions.shape, weight
        self._scale = grid.scale
        nodes = grid.to_pixel(positions.ra, positions.dec)
        self._splines = [RectBivariateSpline(positions.y, positions.x, values) for values in nodes]
        middle = np.array(positions.shape)[::-1] / 2
        self.pixel = float(grid.scale * np.sqrt(abs(np.linalg.det(self._slope(middle)))))

    def _slope(self, place: Array) -> Array:
        x, y = place
        return np.array([[float(s.ev(y, x, dy=1)), float(s.ev(y, x, dx=1))] for s in self._splines])

    def find(self, x: float, y: float) -> Array | None:
        """The 0-based pixel position (2,) of a position on the grid; None if it is not on the exposure."""
        last = np.array(self.shape)[::-1] - 0.5
        place = last / 2
        for _ in range(8):
            off = np.array([x, y]) - [float(s.ev(place[1], place[0])) for s in self._splines]
            if np.abs(off).max() < CLOSE:
                return place
            place = np.clip(place + np.linalg.solve(self._slope(place), off), -0.5, last)
        return None

    def around(self, place: Array, half: int) -> tuple[Array, Array, Array]:
        """Offsets x (m,) and y (m,) in arcsec of pixels from a place, and where they fall on the grid (m, m, 2)."""
        columns, rows = (np.arange(round(float(v)) - half, round(float(v)) + half + 1, dtype=float) for v in place)
        # beyond the exposure's edge the splines are prolonged by straight lines
        inside = [np.clip(v, -0.5, n - 0.5) for v, n in ((rows, self.shape[0]), (columns, self.shape[1]))]
        slope = self._slope(place)
        fall = np.stack([s(*inside) for s in self._splines], axis=-1)
        fall += np.stack(np.meshgrid(columns - inside[1], rows - inside[0]), axis=-1) @ slope.T
        return (columns - place[0]) * self.pixel, (rows - place[1]) * self.pixel, fall


@dataclass(frozen=True)
class Drizzling:
    """How a mosaic was made.

    Attributes
    ----------
    exposures : sequence of Exposure
    scale : float
        Arcsec per pixel of the grid.
    pixfrac : float
    kernel : str
    """

    exposures: Sequence[Exposure]
    scale: float
    pixfrac: float
    kernel: str


def image(light: Light, drizzling: Drizzling, x: float, y: float, radius: float = RADIUS) -> Array | None:
    """A star's image around a position of the mosaic.

    Parameters
    ----------
    light : callable
    drizzling : Drizzling
    x, y : float
        0-based pixels of the grid; the star is there to the fraction of a pixel.
    radius : float
        Arcsec.

    Returns
    -------
    ndarray, shape (2 h + 1, 2 h + 1), or None
        Part of the star's light in each pixel, h = radius / scale rounded up; the pixel in the middle is the one that
        the star is on. None where no exposure is.
    """
    half, scale = int(np.ceil(radius / drizzling.scale)), drizzling.scale
    box = slice(0, 2 * half + 1), slice(0, 2 * half + 1)
    corner = np.array([round(x) - half, round(y) - half], float)
    total, weights = np.zeros((2 * half + 1,) * 2), np.zeros((2 * half + 1,) * 2)
    for exposure in drizzling.exposures:
        place = exposure.find(x, y)
        if place is None:
            continue
        reach = int(np.ceil(half * np.sqrt(2) * scale / exposure.pixel)) + 2  # to the corners, whatever the roll
        dx, dy, fall = exposure.around(place, reach)
        share = light(dx[None, :], dy[:, None]) / (exposure.pixel / scale) ** 2
        data, weight, _ = drizzle_one(
            share, np.full(share.shape, exposure.weight), None, fall - corner, box,
            pixfrac=drizzling.pixfrac, kernel=drizzling.kernel,
        )  # fmt: skip
        total += data * weight
        weights += weight
    return total / np.maximum(weights, 1e-30) if weights.any() else None


def everywhere(light: Light, drizzling: Drizzling, covered: NDArray[np.bool_], places: int) -> Array:
    """Images of stars all over a mosaic, shape (n, 2 h + 1, 2 h + 1), as `image` makes them.

    Parameters
    ----------
    light : callable
    drizzling : Drizzling
    covered : ndarray of bool, shape (ny, nx)
        Where the mosaic has data.
    places : int
        About so many stars.
    """
    images = [image(light, drizzling, float(x), float(y)) for x, y in lattice(covered, places)]
    return np.array([one for one in images if one is not None])


def lattice(covered: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """About so many pixels x, y (n, 2), evenly over what is covered.

    A detector's pixels are no multiple of the grid's, and lie at angles to them: a star in the middle of these has all
    sub-pixel positions on the detector.
    """
    step = max(int(np.sqrt(covered.sum() / count)), 1)
    rows, columns = np.nonzero(covered[step // 2 :: step, step // 2 :: step])
    if not rows.size:
        every = np.argwhere(covered)
        return every[len(every) // 2 : len(every) // 2 + 1, ::-1]
    return np.column_stack([columns, rows]) * step + step // 2
