"""Spectra of several exposures on one wavelength grid, with independent errors.

Resampling ties neighbouring bins together: errors of single bins come out too small, those of sums over a line too
large or the other way round. As spectroperfectionism does (Bolton & Schlegel 2010, PASP 122, 248), all columns are
taken for noisy averages of the spectrum over the wavelengths that they cover, and the root of the information matrix
turns the solution into bins whose errors are independent. What that makes of a line is known, and told by `kernel`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .extraction import Columns
from .outliers import lower_median

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FINE, REACH = 8, 8
"""Points per bin and bins on either side at which a line's response is tabulated."""

BLOCK, MARGIN = 160, 24
"""Bins that are solved for at once, and those on either side of them that are taken along."""

LOST = 1e-9
"""Of the largest eigenvalue of the information: combinations of bins below were not observed."""

LITTLE = 0.05
"""Of the information of the typical bin: bins with less have no spectrum of their own."""


def bins(low: float, high: float, step: float) -> Array:
    """Centres of bins from one wavelength to another, at whole multiples of the step."""
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def overlaps(wave: Array, grid: Array) -> Array:
    """Part of each column that lies in each bin.

    Parameters
    ----------
    wave : ndarray, shape (c,)
        Of the columns' centres, rising or falling.
    grid : ndarray, shape (n,)
        Of the bins' centres, in equal steps.

    Returns
    -------
    ndarray, shape (c, n)
    """
    between = (wave[1:] + wave[:-1]) / 2
    ends = np.concatenate([[2 * wave[0] - between[0]], between, [2 * wave[-1] - between[-1]]])
    low, high = np.minimum(ends[1:], ends[:-1]), np.maximum(ends[1:], ends[:-1])
    step = grid[1] - grid[0]
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    return np.diff(np.clip((edges - low[:, None]) / (high - low)[:, None], 0, 1), axis=1)


def disagree(spectra: Sequence[Columns], grid: Array, nsigma: float, tolerance: float) -> list[Mask]:
    """Columns in which one exposure is far above or below what the others see, after the model is subtracted.

    Exposures are compared with their median, the lower one of two: most outliers are hits. Where only one saw a
    wavelength, nothing is said.

    Parameters
    ----------
    spectra : sequence of Columns
        e of them.
    grid : ndarray, shape (n,)
    nsigma : float
    tolerance : float
        Part of the median's range among three bins, and of its flux, that sampling accounts for.

    Returns
    -------
    list of ndarray of bool, shape (columns,)
    """
    nothing = [np.zeros(len(one.wave), bool) for one in spectra]
    if len(spectra) < 2:
        return nothing
    rest = np.array([_interpolated(one.wave, one.flux - one.model, grid) for one in spectra])
    flux = np.array([_interpolated(one.wave, one.flux, grid) for one in spectra])
    middle, count = lower_median(rest)
    level, _ = lower_median(flux)
    seen = count > 1
    value = np.where(seen, middle, 0)
    steep = ndimage.maximum_filter1d(value, 3) - ndimage.minimum_filter1d(value, 3)
    doubt = tolerance * np.maximum(steep, np.abs(np.where(seen, level, 0)))
    found = []
    for one in spectra:
        order = np.argsort(one.wave)
        near = np.clip(np.rint((one.wave - grid[0]) / (grid[1] - grid[0])).astype(int), 0, len(grid) - 1)
        expected = np.empty(len(one.wave))
        expected[order] = np.interp(one.wave[order], grid[seen], value[seen]) if seen.any() else np.nan
        off = np.abs(one.flux - one.model - expected)
        # the median's own error is about that of an exposure
        limit = nsigma * np.sqrt(2 * one.variance) + doubt[near]
        found.append(seen[near] & np.isfinite(off) & (off > limit))
    return found


def _interpolated(wave: Array, values: Array, grid: Array) -> Array:
    """Values on the grid, linearly; NaN where either neighbour is, and outside."""
    order = np.argsort(wave)
    return np.interp(grid, wave[order], values[order], left=np.nan, right=np.nan)


@dataclass(frozen=True)
class Combined:
    """A spectrum on the grid, n bins. NaN, and an error of 0, where there is nothing.

    Attributes
    ----------
    flux, contamination, model, error : ndarray, shape (n,)
    kernel : ndarray, shape (2 * REACH * FINE + 1,)
        What a bin takes of columns whose centres lie so many bins farther towards long wavelengths, `FINE` points per
        bin, the middle one at 0; the mean of all bins. The sum is 1.
    """

    flux: Array
    contamination: Array
    model: Array
    error: Array
    kernel: Array


def combine(spectra: Sequence[Columns], grid: Array) -> Combined:
    """All exposures of a source as one spectrum with independent errors.

    Parameters
    ----------
    spectra : sequence of Columns
    grid : ndarray, shape (n,)
        Å, in equal steps.
    """
    wave = np.concatenate([one.wave for one in spectra])
    part = np.concatenate([overlaps(one.wave, grid) for one in spectra])
    variance = np.concatenate([one.variance for one in spectra])
    values = np.array(
        [np.concatenate([getattr(one, name) for one in spectra]) for name in ("flux", "contamination", "model")]
    )
    # a column that the grid has a part of only would bring in light from beyond it
    seen = np.isfinite(variance) & (variance > 0) & (part.sum(axis=1) > 1 - 1e-6) & np.isfinite(values).all(axis=0)
    wave, part, values, weight = wave[seen], part[seen], values[:, seen], 1 / variance[seen]
    found = np.full((4, len(grid)), np.nan)
    found[3] = 0
    total = np.zeros(2 * REACH * FINE + 1)
    count = 0
    for start in range(0, len(grid), BLOCK):
        low, high = max(start - MARGIN, 0), min(start + BLOCK + MARGIN, len(grid))
        inner = slice(start - low, min(start + BLOCK, len(grid)) - low)
        near = part[:, low:high].sum(axis=1) > 1 - 1e-6
        if not near.any():
            continue
        operator, error = _solve(part[near, low:high], weight[near])
        good = np.flatnonzero(error[inner] > 0) + inner.start
        out = low + good
        found[:3, out] = values[:, near] @ operator[good].T
        found[3, out] = error[good]
        total += _deposited(operator[good], wave[near], grid[out], grid[1] - grid[0])
        count += len(good)
    # half way between two columns, what a bin takes of others falls off slowly, with alternating signs
    far = np.abs(np.linspace(-1, 1, len(total)))
    flux, contamination, model, error = found
    kernel = total / max(count, 1) * np.cos(np.pi * np.maximum(far - 0.5, 0)) ** 2
    return Combined(flux, contamination, model, error, kernel)


def _solve(part: Array, weight: Array) -> tuple[Array, Array]:
    """What makes bins with independent errors of columns, shape (n, c), and the errors (n,), 0 where there are none."""
    weighted = part.T * weight
    value, vector = np.linalg.eigh(weighted @ part)
    seen = value > LOST * value[-1]
    root = np.where(seen, np.sqrt(np.where(seen, value, 1)), 0)
    inverse = np.where(seen, 1 / np.where(seen, root, 1), 0)
    scale = vector @ (root * vector.sum(axis=0))  # sums of the rows of the root
    covered = weighted.sum(axis=1)
    good = (covered > LITTLE * np.median(covered[covered > 0])) & (scale > 0)
    good &= scale**2 > LITTLE * np.median(scale[good] ** 2) if good.any() else good
    scale = np.where(good, scale, np.inf)
    operator = (vector * inverse) @ (vector.T @ weighted) / scale[:, None]
    return operator, np.where(good, 1 / scale, 0)


def _deposited(operator: Array, wave: Array, grid: Array, step: float) -> Array:
    """The operator's elements by the offset of column and bin, summed."""
    place = ((wave - grid[:, None]) / step + REACH) * FINE
    size = 2 * REACH * FINE + 1
    near = (place > 0) & (place < size - 1)
    first = place[near].astype(int)
    share = place[near] - first
    values = operator[near]
    found = np.bincount(first, values * (1 - share), size) + np.bincount(first + 1, values * share, size)
    return np.asarray(found, float)


def seen_through(along: Array, sample: float, kernel: Array, step: float) -> Array:
    """A source's light along the dispersion, so that its mean over a bin is what `combine` makes of a line.

    Parameters
    ----------
    along : ndarray, shape (2 * m + 1,)
        As it falls on pixels, towards long wavelengths, the middle one at the line.
    sample : float
        Å per sample.
    kernel : ndarray
        Of `Combined`.
    step : float
        Å per bin.

    Returns
    -------
    ndarray, shape (2 * k + 1,)
        Two samples a bin; the sum is 1.
    """
    half = int(np.ceil((len(along) // 2) * sample / step)) + REACH + 1
    fine = np.arange(-half * FINE, half * FINE + 1) * (step / FINE / sample) + len(along) // 2
    light = ndimage.map_coordinates(along, [fine], order=3, mode="constant")
    seen = np.correlate(light, kernel, mode="same")
    # the bin's own width is taken out again: it enters where a line is integrated over it
    box = np.ones(FINE + 1)
    box[[0, -1]] = 0.5
    narrow = seen.copy()
    for _ in range(3):
        narrow += seen - np.convolve(narrow, box / FINE, mode="same")
    narrow = narrow[:: FINE // 2]
    return narrow / narrow.sum()


def liveliness(flux: Array, error: Array) -> Array:
    """Significance of the strongest feature of three bins in each spectrum.

    Parameters
    ----------
    flux, error : ndarray, shape (q, n)
        NaN and 0 where there is nothing.

    Returns
    -------
    ndarray, shape (q,)
    """
    seen = error > 0
    level = ndimage.median_filter(np.where(seen, flux, 0), size=(1, 25), mode="nearest")
    excess = ndimage.uniform_filter1d(np.where(seen, flux - level, 0), 3, axis=1)
    noise = np.sqrt(ndimage.uniform_filter1d(np.where(seen, error, 0) ** 2, 3, axis=1).clip(0) / 3)
    whole = ndimage.minimum_filter1d(seen, 3, axis=1) & (noise > 0)
    return np.max(np.where(whole, excess / np.where(noise > 0, noise, 1), 0), axis=1, initial=0)


@dataclass(frozen=True)
class Plane:
    """One exposure's cut-out, for a picture: ny rows, c columns.

    Attributes
    ----------
    data, model, contamination, variance : ndarray, shape (ny, c)
        1e-20 erg/s/cm2/Å in a pixel, data without the contamination; anything where a pixel is not good.
    good : ndarray of bool, shape (ny, c)
    trace : ndarray, shape (c,)
        Row, 0-based.
    wave : ndarray, shape (c,)
        Å.
    """

    data: Array
    model: Array
    contamination: Array
    variance: Array
    good: Mask
    trace: Array
    wave: Array


def picture(planes: Sequence[Plane], grid: Array, half: int) -> NDArray[np.float32]:
    """Cut-outs of a source on one grid of wavelengths and offsets from the trace, averaged by their weights.

    Pixels are shared linearly, so that noise is smooth over two of them: errors hold for one pixel alone.

    Parameters
    ----------
    planes : sequence of Plane
    grid : ndarray, shape (n,)
        Å, in equal steps.
    half : int
        Rows on either side of the trace.

    Returns
    -------
    ndarray, shape (4, 2 * half + 1, n)
        Data without contamination, error, model, contamination; NaN where there is nothing.
    """
    shape = (2 * half + 1, len(grid))
    sums, variance, norm = np.zeros((3, *shape)), np.zeros(shape), np.zeros(shape)
    for one in planes:
        weight = np.where(one.good, 1 / np.median(one.variance[one.good]) if one.good.any() else 0.0, 0.0)
        part = overlaps(one.wave, grid)
        norm += _straightened(weight, one.trace, half) @ part
        for k, image in enumerate((one.data, one.model, one.contamination)):
            sums[k] += _straightened(np.where(one.good, image, 0) * weight, one.trace, half) @ part
        spread = np.where(one.good, one.variance, 0) * weight**2
        variance += _straightened(spread, one.trace, half, squared=True) @ part**2
    enough = norm > 0.3 * norm.max(initial=0)
    divisor = np.where(enough, norm, np.nan)
    data, model, contamination = sums / divisor
    return np.stack([data, np.sqrt(variance) / divisor, model, contamination]).astype(np.float32)


def _straightened(image: Array, trace: Array, half: int, squared: bool = False) -> Array:
    """Rows about the trace, shape (2 * half + 1, c), linearly between the two around each; with squared weights."""
    place = np.arange(-half, half + 1)[:, None] + trace
    first = np.floor(place).astype(int)
    share, rows = place - first, len(image)
    found = np.zeros(place.shape)
    for row, part in ((first, 1 - share), (first + 1, share)):
        inside = (row >= 0) & (row < rows)
        values = np.take_along_axis(image, np.clip(row, 0, rows - 1), axis=0)
        found += np.where(inside, values, 0) * (part**2 if squared else part)
    return found
