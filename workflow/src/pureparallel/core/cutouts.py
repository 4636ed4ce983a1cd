"""Cut-outs of first orders: which part of a dispersed image is a source's, and what wavelengths its columns are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grism import Optics

Array = NDArray[np.float64]

FAINT = 0.02
"""Of its peak sensitivity: where an order has less, its light is not cut out."""

BESIDE = 6
"""Pixels on either side of a source's own light, for its background and its wings."""


@dataclass(frozen=True)
class Cutout:
    """The place of a source's first order in an image.

    Rows of a cut-out run across the dispersion and columns along it, in the detector's direction, whichever way the
    grism disperses: a cut-out of a grism that disperses along y is transposed.

    Attributes
    ----------
    box : (slice, slice)
        Rows and columns of the image.
    along_x : bool
        Whether columns are the image's columns.
    wave : ndarray, shape (n,)
        Wavelength of each column in μm, for light of the source's position.
    trace : ndarray, shape (n,)
        Row of the cut-out, 0-based, on which the source's position is dispersed.
    response : ndarray, shape (n,)
        DN/s in a column, all its rows together, of a source of 1 μJy.
    share : float
        Part of the order's columns that are on the image.
    """

    box: tuple[slice, slice]
    along_x: bool
    wave: Array
    trace: Array
    response: Array
    share: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ny, nx = (s.stop - s.start for s in self.box)
        return (ny, nx) if self.along_x else (nx, ny)

    def of(self, image: NDArray) -> NDArray:
        """Its part of an image (ny, nx)."""
        part = image[self.box]
        return part if self.along_x else part.T


def place(
    optics: Optics, x: float, y: float, half_height: float, *, beside: int = BESIDE, least: float = 0.2
) -> Cutout | str:
    """The cut-out of a source.

    Parameters
    ----------
    optics : Optics
    x, y : float
        In the direct image.
    half_height : float
        Pixels of the source's own light on either side of its position, across the dispersion.
    beside : int
        Pixels beyond it.
    least : float
        Part of the columns that must be on the image, at least.

    Returns
    -------
    Cutout or str
        Why there is none.
    """
    order = optics.orders[1]
    wave = order.sampled(0.25)
    wave = wave[order.sensitivity(wave) >= FAINT * order.response.max()]
    if len(wave) < 4:
        return "the first order has no sensitivity"
    tx, ty = (v[0] for v in order.trace(x, y, wave))
    along, across = (tx, ty) if optics.along_x else (ty, tx)
    rise = np.argsort(along)
    along, across, wave = along[rise], across[rise], wave[rise]
    columns = np.arange(int(np.ceil(along[0])), int(np.floor(along[-1])) + 1)
    n_across, n_along = optics.shape if optics.along_x else optics.shape[::-1]
    on = (columns >= 0) & (columns < n_along)
    if on.sum() < max(least * len(columns), 2):
        return "its first order is beside the detector"
    share, columns = float(on.mean()), columns[on]
    row = np.interp(columns, along, across)
    reach = half_height + beside
    first, last = max(int(np.floor(row.min() - reach)), 0), min(int(np.ceil(row.max() + reach)) + 1, n_across)
    if row.max() < 0 or row.min() > n_across - 1 or last - first < 3:
        return "its first order is beside the detector"
    waves = np.interp(columns, along, wave)
    # per column, and not per pixel along the trace, which may be slanted
    slope = order.offset(x, y, waves, derivative=1)[0 if optics.along_x else 1][0]
    box = slice(first, last), slice(int(columns[0]), int(columns[-1]) + 1)
    response = order.sensitivity(waves) / abs(slope)
    return Cutout(box if optics.along_x else box[::-1], optics.along_x, waves, row - first, response, share)


def half_height(light: NDArray, along_x: bool, samples: int, share: float = 0.98) -> float:
    """Pixels on either side of its middle that hold most of a source's light, across the dispersion.

    Parameters
    ----------
    light : ndarray, shape (h, w)
        Of a stamp.
    along_x : bool
        Whether the dispersion runs along x.
    samples : int
        Per pixel.
    share : float
    """
    profile = np.maximum(light.sum(axis=1 if along_x else 0), 0)
    total = np.cumsum(profile)
    if total[-1] <= 0:
        return 2.0
    low, high = np.searchsorted(total, np.array([(1 - share) / 2, (1 + share) / 2]) * total[-1])
    return float(high - low + 1) / 2 / samples


def edge_on(light: NDArray, start: tuple[float, float], samples: int, along_x: bool) -> tuple[Array, Array]:
    """A source's light seen along and across the dispersion, sampled about its position.

    Seen along the dispersion, rows are weighted by the light in them, as optimal extraction does: what is extracted of
    a line is narrower than the source is in all its rows.

    Parameters
    ----------
    light : ndarray, shape (h, w)
        Of a stamp.
    start : (float, float)
        Pixels from the source's position to the first sample, in x and y.
    samples : int
        Per pixel.
    along_x : bool
        Whether the dispersion runs along x.

    Returns
    -------
    along, across : ndarray, shape (2 * m + 1,)
        As many samples per pixel, the middle one at the position, zero beyond the stamp; each sums to 1, or to 0 where
        there is no light.
    """
    from scipy.ndimage import map_coordinates

    image = np.asarray(light if along_x else light.T, float)
    across = image.sum(axis=1)
    along = np.maximum(across, 0) @ image
    starts = start if along_x else start[::-1]
    ends = [
        reach for first, n in zip(starts, image.shape[::-1], strict=True) for reach in (-first, first + n / samples)
    ]
    half = int(np.ceil(max(*ends, 1) * samples))
    moved = []
    for profile, first in zip((along, across), starts, strict=True):
        one = map_coordinates(profile, [np.arange(-half, half + 1) - first * samples], order=3, mode="constant")
        moved.append(one / one.sum() if one.sum() > 0 else np.zeros_like(one))
    return moved[0], moved[1]
