"""How compact sources are, beside a point source: one number with a known error, however faint they are.

A source's light is fitted by two Gaussians at its centroid, one narrower and one wider than the kernel that detects;
the ratio of their heights grows with its size. Both are linear in the pixels, so that the ratio's error follows from
the noise. (SPREAD_MODEL of Desai et al. 2012, ApJ 757, 83, is the same idea with images of
the point-spread function.) The ratio of a point source is that of the field's own stars where there are some, and else
follows from the telescope's aperture and the pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SCALES = (0.77, 1.35)
"""Widths of the two Gaussians, in those of the kernel that detects."""

CHUNK = 4096
"""Sources that are measured at a time."""

PASSES = 10
"""Of moving a window."""

FARTHEST = 1.5
"""Widths of the window by which a centroid may be off the peak."""

APERTURE = 6.5
"""Metres, of the telescope."""

BLUR = 0.02
"""Arcsec, sigma of jitter and diffusion of charges (defaults of STPSF 2 for NIRISS)."""

WIDE, NARROW = 0.05, 0.02
"""How far from what the optics say the ratio of point sources may be (wavefront errors widen them; at 0.03 mean, twice
that), and the width of the interval that holds those of a field."""

UNSURE, SCATTER = 0.02, 0.006
"""Standard deviation of the ratios of point sources: as the optics give it, and at least among the field's own."""

LARGEST = 1.1
"""Ratio up to which extended sources are taken to be spread evenly."""

STARS = 0.2
"""Part of all sources that are points, before they are looked at."""


@dataclass(frozen=True)
class Locus:
    """The ratio of point sources, its standard deviation, and how many of the field's it is of (0: by the optics)."""

    ratio: float
    sigma: float
    sources: int


def stamps(
    image: NDArray, x: Array, y: Array, half: int
) -> tuple[NDArray, Array, Array, NDArray[np.bool_], tuple[NDArray, NDArray]]:
    """Pixels around positions, shape (n, 2 half + 1, 2 half + 1), their offsets from these, and which are in the image.

    Also the indices they have in the image, clipped to it.
    """
    step = np.arange(-half, half + 1)
    rows, columns = np.rint(y).astype(int)[:, None] + step, np.rint(x).astype(int)[:, None] + step
    ny, nx = image.shape
    inside = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
    at = np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]
    return image[at], (columns - x[:, None])[:, None, :], (rows - y[:, None])[:, :, None], inside, at


def heights(
    image: NDArray, weight: NDArray, labels: NDArray, own: NDArray, x: Array, y: Array, sigmas: Sequence[float]
) -> tuple[Array, Array]:
    """Heights of round Gaussians fitted to sources at their positions, and their covariances for white noise.

    Parameters
    ----------
    image, weight : ndarray, shape (ny, nx)
        Sky subtracted, and its inverse variance.
    labels : ndarray of int, shape (ny, nx)
        Pixels of other sources are left out.
    own : ndarray of int, shape (n,)
        Labels of the sources.
    x, y : ndarray, shape (n,)
        0-based pixels.
    sigmas : sequence of float
        Widths of k Gaussians, pixels.

    Returns
    -------
    ndarray, shape (n, k)
    ndarray, shape (n, k, k)
        NaN, both, where no pixel can be used.
    """
    half = int(np.ceil(3 * max(sigmas)))
    value, error = np.full((len(x), len(sigmas)), np.nan), np.full((len(x), len(sigmas), len(sigmas)), np.nan)
    for first in range(0, len(x), CHUNK):
        part = slice(first, first + CHUNK)
        light, dx, dy, inside, at = stamps(image, x[part], y[part], half)
        known, theirs = weight[at], labels[at]
        used = inside & (known > 0) & ((theirs == 0) | (theirs == own[part][:, None, None]))
        shape = np.stack([np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) * used for sigma in sigmas], axis=1)
        norm = np.einsum("nkij,nkij->nk", shape, shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            value[part] = np.einsum("nkij,nij->nk", shape, np.where(used, light, 0)) / norm
            variance = np.where(used, 1 / np.where(known > 0, known, 1), 0)
            both = np.einsum("nkij,nlij,nij->nkl", shape, shape, variance)
            error[part] = both / norm[:, :, None] / norm[:, None, :]
    return value, error


def centroids(
    image: NDArray, weight: NDArray, labels: NDArray, own: NDArray, x: Array, y: Array, sigma: float
) -> tuple[Array, Array]:
    """Centroids in a round Gaussian window that is moved until its centre is the centroid (Bertin & Arnouts 1996).

    A centroid does not go farther from where it starts than `FARTHEST` widths of the window; one that would, stays.

    Parameters
    ----------
    image, weight, labels, own
        See `heights`.
    x, y : ndarray, shape (n,)
        0-based pixels: the peaks.
    sigma : float
        Of the window, pixels.
    """
    found = np.stack([x, y], axis=1).astype(float)
    half = int(np.ceil(3 * sigma))
    for first in range(0, len(x), CHUNK):
        part = slice(first, first + CHUNK)
        light, dx, dy, inside, at = stamps(image, x[part], y[part], half)
        theirs = labels[at]
        used = inside & (weight[at] > 0) & ((theirs == 0) | (theirs == own[part][:, None, None]))
        light = np.where(used, light, 0)
        shift = np.zeros((len(light), 2))
        for _ in range(PASSES):
            u, v = dx - shift[:, 0, None, None], dy - shift[:, 1, None, None]
            seen = light * np.exp(-(u**2 + v**2) / (2 * sigma**2))
            total = seen.sum(axis=(1, 2))
            safe = np.where(total > 0, total, np.inf)
            # twice: the window halves the way to the centroid of a source that is as wide as it is
            shift += 2 * np.stack([(seen * u).sum(axis=(1, 2)), (seen * v).sum(axis=(1, 2))], axis=1) / safe[:, None]
            shift[np.hypot(*shift.T) > FARTHEST * sigma] = 0
        found[part] += shift
    return found[:, 0], found[:, 1]


def ratios(value: Array, error: Array) -> tuple[Array, Array]:
    """Height of the wider Gaussian over that of the narrower, and its error, shapes (n,)."""
    narrow, wide = value[:, 0], value[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = wide / narrow
        variance = error[:, 1, 1] - 2 * ratio * error[:, 0, 1] + ratio**2 * error[:, 0, 0]
        return ratio, np.sqrt(np.maximum(variance, 0)) / np.abs(narrow)


def significances(image: NDArray, weight: NDArray, sky: Array, x: Array, y: Array, sigma: float) -> Array:
    """Signal over white noise of Gaussian sources at positions, in one image; NaN without data. Shape (n,).

    Parameters
    ----------
    image, weight : ndarray, shape (ny, nx)
        Weight 0 where there are no data.
    sky : ndarray, shape (n,)
        To be subtracted.
    x, y : ndarray, shape (n,)
        0-based pixels.
    sigma : float
        Pixels.
    """
    found = np.full(len(x), np.nan)
    for first in range(0, len(x), CHUNK):
        part = slice(first, first + CHUNK)
        light, dx, dy, inside, at = stamps(image, x[part], y[part], int(np.ceil(3 * sigma)))
        known = np.where(inside, weight[at], 0)
        shape = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
        signal = np.sum(np.where(known > 0, (light - sky[part][:, None, None]) * known * shape, 0), axis=(1, 2))
        noise = np.sqrt(np.sum(known * shape**2, axis=(1, 2)))
        half = shape.shape[-1] // 2
        there = known[:, half, half] > 0
        found[part] = np.where(there, signal / np.where(noise > 0, noise, 1), np.nan)
    return found


def expected_ratio(wavelength: float, pixel: float, drop: float, scale: float, sigmas: Sequence[float]) -> float:
    """The ratio of a point source: a round aperture without wavefront errors, and everything that pixels do.

    Parameters
    ----------
    wavelength : float
        Micron.
    pixel, drop, scale : float
        Sides of the detector's pixels, of the drops they are drizzled as, and of the mosaic's pixels, arcsec.
    sigmas : (float, float)
        Widths of the Gaussians, arcsec.
    """
    frequency = np.fft.fftfreq(256, min(scale, 0.04))
    fx, fy = np.meshgrid(frequency, frequency)
    f = np.hypot(fx, fy)
    nu = np.minimum(f * wavelength * 1e-6 / APERTURE * 3600 * 180 / np.pi, 1)
    transfer = 2 / np.pi * (np.arccos(nu) - nu * np.sqrt(1 - nu**2)) * np.exp(-2 * (np.pi * BLUR * f) ** 2)
    for side in (pixel, drop, scale):
        transfer = transfer * np.sinc(fx * side) * np.sinc(fy * side)
    narrow, wide = (
        np.sum(transfer * g) / np.sum(g * g) / sigma**2
        for sigma, g in ((sigma, np.exp(-2 * (np.pi * sigma * f) ** 2)) for sigma in sigmas)
    )
    return float(wide / narrow)


def locus(ratio: Array, error: Array, expected: float) -> Locus:
    """The ratio of a field's point sources: where most sources of small error are, near what is expected.

    Parameters
    ----------
    ratio, error : ndarray, shape (n,)
    expected : float
        Of `expected_ratio`.
    """
    near = np.sort(ratio[np.isfinite(ratio) & (np.abs(ratio - expected) < WIDE) & (error < 0.5 * NARROW)])
    count = np.searchsorted(near, near + NARROW, side="right") - np.arange(len(near))
    if not len(count) or count.max() < 3:
        return Locus(expected, UNSURE, 0)
    first = int(np.argmax(count))
    found = near[first : first + count[first]]
    middle = float(np.median(found))
    return Locus(middle, max(1.4826 * float(np.median(np.abs(found - middle))), SCATTER), len(found))


def stellarity(ratio: Array, error: Array, points: Locus) -> Array:
    """Probability that a source is a point, 0 to 1; `STARS` where nothing is known. Shape (n,).

    Point sources have the ratio of `points`; extended ones any larger one up to `LARGEST`, evenly.
    """
    from scipy.stats import norm

    known = np.isfinite(ratio) & np.isfinite(error)
    value, noise = np.where(known, ratio, points.ratio), np.where(known, error, 1)
    star = norm.logpdf(value, points.ratio, np.hypot(noise, points.sigma)) + np.log(STARS)
    room = LARGEST - points.ratio
    # an extended source is larger than what scatters as points do
    wide = np.hypot(noise, SCATTER)
    above, below = norm.logcdf((value - points.ratio) / wide), norm.logcdf((value - LARGEST) / wide)
    extended = above + np.log1p(-np.exp(np.minimum(below - above, -1e-12))) - np.log(room) + np.log(1 - STARS)
    extended = np.where(value > LARGEST, -np.log(room) + np.log(1 - STARS), extended)
    return np.where(known, 1 / (1 + np.exp(np.clip(extended - star, -500, 500))), STARS)
