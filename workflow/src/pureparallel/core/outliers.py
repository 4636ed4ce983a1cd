"""Outliers: pixels that disagree with what the other exposures saw at the same place.

As in AstroDrizzle (Gonzaga et al. 2012, The DrizzlePac Handbook, chapter 4): a median of all exposures is compared with
each of them, and where the image is steep more disagreement is allowed, for the exposures sample it at other phases.
Pure-parallel fields have two to four exposures per pixel. The median is therefore the lower one, as most outliers are
hits of cosmic rays: of two it is the fainter, and of four it survives two hits. What is far below the sky cannot be
sky, and is taken out before.
"""

import numpy as np
from numpy.typing import NDArray

from .grid import Array

Mask = NDArray[np.bool_]

NOISE_RANGE = 2.0
"""Errors of one exposure that the range of nine pixels of a median reaches on empty sky: 1.3 to 1.6 for three."""

FLAT = 3.0
"""Errors of one exposure that the range of nine pixels of a median does not reach beside faint sources."""


def dips(data: NDArray, error: NDArray, good: Mask, nsigma: float) -> Mask:
    """Good pixels that lie so many errors below a sky of 0."""
    return good & (data < -nsigma * error)


def lower_median(stack: NDArray) -> tuple[NDArray, NDArray[np.uint8]]:
    """Median along the first axis of what is finite, the lower one of the two middle values if they are even in number.

    Parameters
    ----------
    stack : ndarray, shape (n, ...)
        Is sorted in place.

    Returns
    -------
    median : ndarray
        NaN where nothing is finite.
    count : ndarray of uint8
        Finite values, at most 255.
    """
    count = np.isfinite(stack).sum(axis=0)
    stack.sort(axis=0)  # NaN comes last
    middle = np.maximum(count - 1, 0) // 2
    return np.take_along_axis(stack, middle[None], axis=0)[0], np.minimum(count, 255).astype(np.uint8)


def contrast(image: NDArray) -> NDArray:
    """Range of an image among each pixel and its eight neighbours that are not NaN; NaN where all are."""
    from scipy.ndimage import maximum_filter, minimum_filter

    empty = ~np.isfinite(image)
    high = maximum_filter(np.where(empty, -np.inf, image), 3, mode="nearest")
    low = minimum_filter(np.where(empty, np.inf, image), 3, mode="nearest")
    some = high >= low
    return np.where(some, np.where(some, high, 0) - np.where(some, low, 0), np.nan).astype(image.dtype)


def blot(image: NDArray, positions: Array) -> tuple[NDArray[np.float32], Mask]:
    """Interpolate an image at positions x, y (ny, nx, 2), linearly among the pixels around that are not NaN.

    Returns
    -------
    value : ndarray of float32, shape (ny, nx)
        NaN outside of the image, and where the pixels around have no more than three quarters of the weight: then the
        nearest may be missing.
    complete : ndarray of bool, shape (ny, nx)
        Where none is missing.
    """
    from scipy.ndimage import map_coordinates

    at = np.moveaxis(positions[..., ::-1], -1, 0)
    here = np.isfinite(image)
    value, weight = (
        map_coordinates(part, at, np.float32, order=1, mode="constant", cval=np.nan)
        for part in (np.where(here, image, 0), here.astype(np.float32))
    )
    enough = weight > 0.75
    return np.where(enough, value / np.where(enough, weight, 1), np.nan), weight > 0.9999


def expect(level: NDArray, steepness: NDArray, positions: Array, error: NDArray) -> tuple[NDArray, NDArray]:
    """What the median says of an exposure's pixels, and its range around them; NaN where it cannot tell.

    Beside a hole it can tell only of a flat sky: a hole may be where the light of a star is.

    Parameters
    ----------
    level, steepness : ndarray
        The median and its `contrast`.
    positions : ndarray, shape (ny, nx, 2)
        x, y of the exposure's pixels on them.
    error : ndarray, shape (ny, nx)
        Of the exposure.
    """
    expected, complete = blot(level, positions)
    steep = nearest(steepness, positions)
    expected[~complete & ~(steep < FLAT * error)] = np.nan
    return expected, steep


def nearest(image: NDArray, positions: Array) -> NDArray:
    """The pixels of an image that are nearest to positions x, y (ny, nx, 2); NaN outside of it."""
    x, y = (np.rint(positions[..., i]).astype(int) for i in (0, 1))
    inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
    return np.where(inside, image[np.where(inside, y, 0), np.where(inside, x, 0)], np.nan)


def find(
    data: NDArray,
    error: NDArray,
    good: Mask,
    expected: NDArray,
    steepness: NDArray,
    *,
    nsigma: float = 5.0,
    tolerance: float = 2.0,
    neighbour: float = 0.6,
) -> Mask:
    """Outliers of one exposure.

    Parameters
    ----------
    data, error : ndarray, shape (ny, nx)
    good : ndarray of bool, shape (ny, nx)
        Pixels to be judged.
    expected : ndarray, shape (ny, nx)
        The median at the exposure's pixels; NaN where fewer than two exposures are.
    steepness : ndarray, shape (ny, nx)
        The median's range around them.
    nsigma : float
        Errors by which an outlier is off.
    tolerance : float
        Part of the steepness, above that of noise, that is added to that. NIRISS undersamples: a star's brightest pixel
        has 20 to 50 % of its light as it falls, and the median is smoother than both.
    neighbour : float
        Beside an outlier, the limit is multiplied by this: hits share their charge with neighbours.
    """
    from scipy.ndimage import binary_dilation

    with np.errstate(invalid="ignore"):
        off = np.abs(data - expected)
        limit = nsigma * error + tolerance * np.maximum(steepness - NOISE_RANGE * error, 0)
        far = good & (off > limit)
        near = good & (off > neighbour * limit)
    return far | (near & binary_dilation(far, np.ones((3, 3), bool)))
