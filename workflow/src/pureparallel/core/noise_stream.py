"""The readout's noise as what it is: one time series per amplifier, whose spectrum tells what to expect between pixels.

Pixels follow each other along the fast axis, line after line, and all amplifiers are read at once. A series is kept in
cells of neighbouring pixels of one line. That 1/f noise is best treated as a stream with a spectrum: Rauscher 2015
(arXiv:1509.06264) and 2024 (NSClean, arXiv:2306.03250).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

CELL = 64
"""Pixels of the fast axis that share an estimate: finer, and there is nothing but the pixels' own noise to see."""


@dataclass(frozen=True)
class Layout:
    """How the detector is read.

    Attributes
    ----------
    fast_axis, slow_axis : int
        FASTAXIS and SLOWAXIS of the header: 1 for x, 2 for y, negative where reading goes towards smaller indices.
    amplifiers : int
        Amplifiers that read at once, each an equal part of the fast axis: 4 for a full frame, 1 for a subarray.
    alternating : bool
        Whether every second amplifier reads the fast axis the other way. It matters little: cells are many pixels.
    """

    fast_axis: int = -2
    slow_axis: int = -1
    amplifiers: int = 1
    alternating: bool = False


class Stream:
    """Images, time series of cells, and the ways between them.

    Series have shape (..., amplifiers, padded): cells in the order of reading, then a gap.
    """

    def __init__(self, shape: tuple[int, int], layout: Layout) -> None:
        self.layout, self._transposed = layout, abs(layout.fast_axis) == 1
        fast, self.lines = shape[::-1] if self._transposed else shape
        self.amplifiers, rest = layout.amplifiers, fast % layout.amplifiers
        if rest:
            raise ValueError(f"{fast} pixels of the fast axis do not divide into {self.amplifiers} amplifiers")
        row = np.arange(fast // self.amplifiers)
        self.cells = max(round(row.size / CELL), 1)
        member = row * self.cells // row.size == np.arange(self.cells)[:, None]
        centres = member @ row / member.sum(axis=1)
        self._sum = member.astype(np.float32)
        self._spread = np.stack([np.interp(row, centres, one) for one in np.eye(self.cells)], axis=1).astype(np.float32)
        self.length = self.cells * self.lines
        # noise does not repeat itself: the gap keeps the end of the series from its beginning
        self.padded = fft.next_fast_len(self.length + self.length // 8, real=True)

    def add(self, image: NDArray) -> Array:
        """Sum of each cell's pixels."""
        series = np.zeros((self.amplifiers, self.padded))
        cells = self._turned(self._sum @ self._rows(image))
        series[:, : self.length] = cells.transpose(0, 2, 1).reshape(self.amplifiers, -1)
        return series

    def image(self, series: Array) -> Image:
        """A series as an image, interpolated along the lines."""
        cells = self._turned(self._folded(series).transpose(0, 2, 1))
        image = (self._spread @ cells.astype(np.float32)).reshape(-1, self.lines)
        return image.T if self._transposed else image

    def by_line(self, series: Array) -> Array:
        """Sum of each line's cells, shape (..., amplifiers, lines)."""
        return self._folded(series).sum(axis=-1)

    def without_rows(self, series: Array, *, keep_mean: bool) -> Array:
        """A series without what all lines have in common, but for their mean: a shift of rows, or the sky."""
        out, cells = np.zeros_like(series), self._folded(series)
        common = cells.mean(axis=-2, keepdims=True)
        if keep_mean:
            common = common - common.mean(axis=-1, keepdims=True)
        out[..., : self.length] = (cells - common).reshape(*series.shape[:-1], self.length)
        return out

    def crowded(self, good: Mask, sources: Mask, least: float) -> Mask:
        """Lines of which sources leave less than a part, as an image."""
        free, total = (self._rows(m).sum(axis=1, keepdims=True) for m in (good & ~sources, good))
        image = np.broadcast_to(free < least * total, (self.amplifiers, self._sum.shape[1], self.lines))
        image = image.reshape(-1, self.lines)
        return image.T if self._transposed else image

    def moved(self, rest: Image, valid: Mask) -> Mask:
        """Rows along the slow axis whose mean is far from the others', to be broadcast."""
        axis = 0 if self._transposed else 1
        number = valid.sum(axis=axis, keepdims=True)
        mean = np.sum(rest, axis=axis, keepdims=True, where=valid) / np.maximum(number, 1)
        if not number.any():
            return number > 0
        away = np.where(number > 0, np.abs(mean - np.median(mean[number > 0])) * np.sqrt(number), 0)
        return away > 6 * max(1.4826 * float(np.median(away[number > 0])), float(np.finfo(np.float32).tiny))

    def _rows(self, image: NDArray) -> NDArray:
        """An image's view of shape (amplifiers, pixels of a line, lines)."""
        return (image.T if self._transposed else image).reshape(self.amplifiers, -1, self.lines)

    def _folded(self, series: Array) -> Array:
        return series[..., : self.length].reshape(*series.shape[:-1], self.lines, self.cells)

    def _turned(self, cells: NDArray) -> NDArray:
        """Cells (amplifier, cell, line) in the order of reading, or back from it."""
        if self.layout.slow_axis < 0:
            cells = cells[:, :, ::-1]
        if self.layout.alternating:
            cells = np.stack([c[::-1] if i % 2 else c for i, c in enumerate(cells)])
        return cells[:, ::-1] if self.layout.fast_axis < 0 else cells


@dataclass(frozen=True)
class Spectrum:
    """Power spectrum of series of cells, by frequency f in cycles per cell.

    Attributes
    ----------
    own, mean : float
        Power is ``own f^-slope`` for the amplifiers' deviations from their mean, and ``mean f^-slope`` for this mean
        times the root of their number: what all amplifiers share is in it.
    slope : float
    """

    own: float
    mean: float
    slope: float

    def roots(self, n: int, factor: float) -> tuple[Array, Array]:
        """Square roots of both powers, times a factor, for series of n."""
        frequency = np.arange(n // 2 + 1) / n
        frequency[0] = frequency[1]
        shape = frequency ** -(self.slope / 2)
        return np.sqrt(factor * self.own) * shape, np.sqrt(factor * self.mean) * shape

    def rms(self, n: int, amplifiers: int) -> float:
        """Of the series."""
        shape = 2 * np.sum((np.arange(1, n // 2 + 1) / n) ** -self.slope) / n
        return float(np.sqrt(((amplifiers - 1) * self.own + self.mean) / amplifiers * shape))


def expectation(series: Array, weights: Array, roots: tuple[Array, Array]) -> Array:
    """The noise to be expected behind measurements of it: the mean of a Gaussian process.

    Parameters
    ----------
    series : ndarray, shape (..., amplifiers, n)
    weights : ndarray, shape (..., amplifiers, n)
        Inverse variances of the measurements, 0 where there is none.
    roots : tuple of ndarray
        `Spectrum.roots`.

    Returns
    -------
    ndarray, shape (..., amplifiers, n)
    """
    n = series.shape[-1]
    double = np.full(n // 2 + 1, 2.0)  # frequencies stand for pairs, but the first, and the last of an even number
    double[[0, -1] if n % 2 == 0 else [0]] = 1
    level = weights.mean(axis=(-1, -2), keepdims=True)
    near = [1 / (1 + level * root**2) for root in roots]

    def split(spectra: NDArray, own: Array, mean: Array) -> NDArray:
        """One factor for the deviations of the amplifiers from their mean, another for the mean."""
        return spectra * own + spectra.mean(axis=-2, keepdims=True) * (mean - own)

    def weighed(spectra: NDArray) -> NDArray:
        return split(fft.rfft(weights * fft.irfft(split(spectra, *roots), n)), *roots)

    def dot(a: NDArray, b: NDArray) -> Array:
        return np.sum((a.real * b.real + a.imag * b.imag) * double, axis=(-1, -2), keepdims=True)

    # with S the covariance's root and W the weights: (1 + S W S) u = S W y, by conjugate gradients; the noise is S u
    residual = split(fft.rfft(weights * series), *roots)
    u, tiny = np.zeros_like(residual), np.finfo(float).tiny
    step = ahead = split(residual, *near)
    square = dot(residual, ahead)
    target = 1e-9 * square
    for _ in range(100):
        if np.all(square <= target):
            break
        moved = step + weighed(step)
        length = square / np.maximum(dot(step, moved), tiny)
        u += length * step
        residual -= length * moved
        ahead = split(residual, *near)
        square, before = dot(residual, ahead), square
        step = ahead + square / np.maximum(before, tiny) * step
    return fft.irfft(split(u, *roots), n)


def fit_spectrum(series: Array, weights: Array, length: int) -> Spectrum:
    """The spectrum behind series with white noise, from their periodograms by Whittle's likelihood.

    Parameters
    ----------
    series, weights : ndarray, shape (m, amplifiers, n)
        Measurements and their inverse variances up to a common factor.
    length : int
        Of the series without their gap.
    """
    amplifiers, n = series.shape[-2:]
    used = weights > 0.2 * np.mean(weights[..., :length], axis=(-1, -2), keepdims=True)
    if not used.any():
        return Spectrum(0.0, 0.0, 1.0)
    count = used.sum(axis=(-1, -2), keepdims=True) / amplifiers
    white = float(np.mean(1 / weights[used]))
    spectra = fft.rfft(np.where(used, series, 0)) / np.sqrt(count)
    mean = spectra.mean(axis=-2, keepdims=True)
    own = np.mean(np.sum(np.abs(spectra - mean) ** 2, axis=-2), axis=0)
    powers = [amplifiers * np.mean(np.abs(mean[:, 0]) ** 2, axis=0), own / max(amplifiers - 1, 1)]
    edges = np.unique(np.geomspace(1, n // 2, 60).astype(int))
    number = np.diff(edges)
    binned = [np.add.reduceat(p[: edges[-1]], edges[:-1]) / number for p in powers]
    frequency = np.add.reduceat(np.arange(edges[-1]), edges[:-1]) / number

    def cost(theta: Array) -> float:
        total = 0.0
        for log_power, power, copies in zip(theta[2:], binned, (1, amplifiers - 1), strict=False):
            expected = white * (np.exp(log_power) * frequency ** -theta[0] + np.exp(theta[1]))
            total += copies * float(np.sum(number * (np.log(expected) + power / expected)))
        return total

    kinds = min(amplifiers, 2)
    start = np.array([1.0, 0.0] + [3.0] * kinds)
    bounds = [(0.3, 2.0), (-1.0, 1.0)] + [(-10.0, 25.0)] * kinds
    slope, _, *logs = optimize.minimize(cost, start, bounds=bounds, method="L-BFGS-B").x
    found = [float(white * np.exp(log) * n**-slope) for log in logs]
    return Spectrum(found[1] if kinds == 2 else 0.0, found[0], float(slope))
