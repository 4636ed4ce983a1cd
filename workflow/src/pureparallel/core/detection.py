"""Sources stand out of several mosaics together: their significance, in standard deviations of the true noise.

Each mosaic is freed of what is left of its sky, and a pixel's significance is that of a small source centred on it:
what a matched filter finds (Irwin 1985, MNRAS 214, 575). Pixels of a drizzled image share their noise, so that what
weights say of the noise of a smoothed pixel is wrong by a factor. It is measured on the sky, where the smoothed pixels'
scatter is Gaussian with one width, shallow or deep.

Filters are combined by their mean, weighted by inverse variance, or by chi-square (Szalay et al. 1999, AJ 117, 68). The
first is better for sources that are flat in f_nu, the second for those that only one filter sees.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .background_fit import box_levels

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

SOURCE = 2.5
"""Standard deviations above which smoothed pixels are not sky."""

GROW = 5
"""Pixels by which what is not sky is widened."""

REACH = 3.0
"""Sigma at which a kernel ends."""

SAMPLE = 2_000_000
"""Pixels that are enough to measure a width."""

CERTAIN = 1000.0
"""Chi-square beyond which no probability is computed any more."""


@dataclass(frozen=True)
class Sky:
    """Levels of the sky in boxes, and between them.

    Attributes
    ----------
    level : ndarray, shape (my, mx)
    box : int
        Pixels on a side.
    """

    level: NDArray[np.float64]
    box: int

    @classmethod
    def measure(cls, data: Image, free: Mask, box: int) -> "Sky":
        """Clipped means of the boxes' free pixels, and a median filter over 3 x 3 boxes.

        A box without sky has the level of the nearest one that has some.
        """
        level, _ = box_levels(np.asarray(data), free, box)
        known = np.isfinite(level)
        if not known.any():
            return cls(np.zeros((1, 1)), box)
        nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
        return cls(ndimage.median_filter(level[tuple(nearest)], 3, mode="nearest"), box)

    def at(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Levels at 0-based pixel positions, linear between the boxes' centres."""
        places = [(np.asarray(v, float) + 0.5) / self.box - 0.5 for v in (y, x)]
        return ndimage.map_coordinates(self.level, places, order=1, mode="nearest")

    def image(self, shape: tuple[int, int]) -> Image:
        """Levels at all pixels."""
        level = self.level.astype(np.float32)
        for axis, n in enumerate(shape):
            last = level.shape[axis] - 1
            place = np.clip((np.arange(n) + 0.5) / self.box - 0.5, 0, last)
            low = np.minimum(place.astype(int), max(last - 1, 0))
            part = (place - low).reshape((-1, 1) if axis == 0 else (1, -1)).astype(np.float32)
            below, above = (np.take(level, i, axis) for i in (low, np.minimum(low + 1, last)))
            level = below + (above - below) * part
        return level


def matched(data: Image, weight: Image, sigma: float) -> Image:
    """Signal over noise of a round Gaussian source centred on each pixel, were the noise white; 0 without data.

    Parameters
    ----------
    data, weight : ndarray, shape (ny, nx)
        Sky subtracted, and its inverse variance, 0 where there are none. Both finite.
    sigma : float
        Of the Gaussian, pixels.
    """
    root = float(np.sqrt(2))
    signal = ndimage.gaussian_filter(data * weight, sigma, mode="constant", truncate=REACH)
    # the square of the kernel is a Gaussian again; both end at the same radius
    square = ndimage.gaussian_filter(weight, sigma / root, mode="constant", truncate=REACH * root)
    square *= 1 / (4 * np.pi * sigma**2)
    there = (weight > 0) & (square > 0)
    signal[~there] = 0
    square[~there] = 1
    signal /= np.sqrt(square, out=square)
    return signal


def noise_width(values: NDArray[np.floating]) -> tuple[float, float]:
    """Middle and standard deviation of noise among which there are sources, which all are on the bright side.

    Returns
    -------
    float
        Median of what is not clipped.
    float
        Its distance from the percentile that is one standard deviation below; 0 for fewer than 100 values.
    """
    kept = values[:: max(values.size // SAMPLE, 1)]
    if kept.size < 100:
        return 0.0, 0.0
    for _ in range(10):
        middle, low = np.percentile(kept, [50, 15.865])
        inside = kept[kept < middle + SOURCE * (middle - low)]
        if inside.size in (0, kept.size):
            break
        kept = inside
    # what is cut off above makes both smaller: by this much for a Gaussian cut at SOURCE
    return float(middle), float(middle - low) / CUT


def _cut_width() -> float:
    """What `noise_width` finds of a Gaussian of width 1, clipped again and again."""
    from scipy.special import ndtr, ndtri

    middle, width = 0.0, 1.0
    for _ in range(30):
        share = ndtr(middle + SOURCE * width)
        middle, low = ndtri(0.5 * share), ndtri(0.15865 * share)
        width = middle - low
    return float(width)


CUT = _cut_width()


def subtract_sky(data: Image, weight: Image, sigma: float, box: int, passes: int = 2) -> tuple[Sky | None, Image]:
    """Subtract what is left of the sky, in place, and give the significance before it is scaled.

    Parameters
    ----------
    data, weight : ndarray, shape (ny, nx)
        See `matched`.
    sigma : float
        Pixels.
    box : int
        Pixels; 0 leaves the sky as it is.
    passes : int
    """
    significance = matched(data, weight, sigma)
    if not box:
        return None, significance
    covered, level = weight > 0, Sky(np.zeros((1, 1)), box)
    for _ in range(passes):
        fresh = Sky.measure(data, covered & ~sources(significance, covered), box)
        data -= fresh.image(data.shape) * covered
        level = Sky(level.level + fresh.level, box)
        significance = matched(data, weight, sigma)
    return level, significance


def sources(significance: Image, covered: Mask) -> Mask:
    """Pixels that are not sky: above `SOURCE` standard deviations of the noise, and `GROW` pixels around."""
    middle, width = noise_width(significance[covered])
    return ndimage.binary_dilation(significance > middle + SOURCE * width, iterations=GROW)


def scale(significance: Image, covered: Mask) -> float:
    """Divide by the width of the sky's noise, in place; returns that width, 1 where there is too little sky."""
    _, width = noise_width(significance[covered & ~sources(significance, covered)])
    width = width or 1.0
    significance *= 1 / width
    return width


def as_sigma(chi_square: NDArray[np.floating], count: int) -> Image:
    """Standard deviations of a Gaussian that are as rare as a sum of squares of what is positive among Gaussians.

    Of `count` Gaussians, j are positive with binomial probability, and the sum of their squares is then distributed
    as chi-square of j degrees of freedom.

    Parameters
    ----------
    chi_square : ndarray
    count : int
        Number of filters.
    """
    from scipy.special import gammaln, logsumexp, ndtri_exp
    from scipy.stats import chi2

    nodes = np.concatenate([[0.0], np.geomspace(1e-3, CERTAIN, 3000)])
    of = np.arange(1, count + 1)
    share = gammaln(count + 1) - gammaln(of + 1) - gammaln(count - of + 1) - count * np.log(2)
    sigma = -ndtri_exp(logsumexp([a + chi2.logsf(nodes, j) for a, j in zip(share, of, strict=True)], axis=0))
    chi, roots = np.sqrt(chi_square), np.sqrt(nodes)
    return (np.interp(chi, roots, sigma) + np.maximum(chi - roots[-1], 0)).astype(np.float32)


@dataclass
class Stack:
    """Sums over the filters, all of the mosaics' shape.

    Attributes
    ----------
    light, weight, variance, squares : ndarray of float32
        Sums of weight times data, of weight, of squared weight times variance, and of squared positive significances.
    filters : ndarray of uint8
        How many filters have data.
    names : list of str
    """

    light: Image
    weight: Image
    variance: Image
    squares: Image
    filters: NDArray[np.uint8]
    names: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> "Stack":
        """Nothing added yet."""
        light, weight, variance, squares = (np.zeros(shape, np.float32) for _ in range(4))
        return cls(light, weight, variance, squares, np.zeros(shape, np.uint8))

    def add(self, name: str, data: Image, weight: Image, variance: Image, significance: Image) -> None:
        """Add a filter: sky subtracted, with inverse variance of the sky, full variance, and scaled significance."""
        self.light += data * weight
        self.weight += weight
        self.variance += variance * weight**2
        self.squares += np.maximum(significance, 0) ** 2
        self.filters += weight > 0
        self.names.append(name)

    def finish(self) -> tuple[Image, Image]:
        """The weighted mean, and its full noise over that of the sky alone (1 without data). Uses the sums up."""
        divisor = np.where(self.weight > 0, self.weight, 1)
        self.light /= divisor
        self.variance /= divisor
        np.sqrt(self.variance, out=self.variance)
        self.variance[self.weight <= 0] = 1
        return self.light, np.maximum(self.variance, 1, out=self.variance)
