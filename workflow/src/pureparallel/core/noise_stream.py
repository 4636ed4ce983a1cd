"""The readout's noise as what it is: one time series per amplifier, whose spectrum tells what to expect between pixels.

Pixels follow each other along the fast axis, line after line, and all amplifiers are read at once. A series is kept in
cells of neighbouring pixels of one line. That 1/f noise is best treated as a stream with a spectrum: Rauscher 2015
(arXiv:1509.06264) and 2024 (NSClean, arXiv:2306.03250).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize
from scipy.sparse import linalg

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

CELL = 64
"""Pixels of the fast axis that share an estimate: finer, and there is nothing but the pixels' own noise to see."""

STEPS = 400
"""Of the search for the expectation, at most."""


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
        self.fast, self.lines = shape[::-1] if self._transposed else shape
        self.amplifiers, rest = layout.amplifiers, self.fast % layout.amplifiers
        if rest:
            raise ValueError(f"{self.fast} pixels of the fast axis do not divide into {self.amplifiers} amplifiers")
        row = np.arange(self.fast // self.amplifiers)
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
        return self.upright((self._spread @ cells.astype(np.float32)).reshape(-1, self.lines))

    def upright(self, image: NDArray) -> NDArray:
        """An image whose lines run along its first axis, as the detector's images have them."""
        return image.T if self._transposed else image

    def of_lines(self, values: NDArray) -> Array:
        """Numbers of the lines, shape (..., lines), as series of shape (..., padded): all cells of a line are alike."""
        series = np.zeros((*values.shape[:-1], self.padded))
        in_order = values[..., ::-1] if self.layout.slow_axis < 0 else values
        series[..., : self.length] = np.repeat(in_order, self.cells, axis=-1)
        return series

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


@dataclass(frozen=True)
class Light:
    """What else than noise is in the cells: sums of products of a series and of factors of its lines.

    Attributes
    ----------
    rows : ndarray, shape (r, amplifiers, n)
    lines : ndarray, shape (j, n)
    deviation : ndarray, shape (r, j)
        Standard deviation of each product's amplitude, which is 0 in the mean; products with 0 are left out.
    """

    rows: Array
    lines: Array
    deviation: Array

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "Light":
        """No light in series of a shape."""
        return cls(np.zeros((0, *shape)), np.zeros((0, shape[-1])), np.zeros((0, 0)))

    @property
    def terms(self) -> tuple[NDArray[np.intp], ...]:
        """Row and factor of each product that there is."""
        return np.nonzero(self.deviation)

    def amplitudes(self, unknowns: Array) -> Array:
        """The products' amplitudes, shape (r, j), of these in their standard deviations."""
        amplitudes = np.zeros_like(self.deviation)
        amplitudes[self.terms] = unknowns * self.deviation[self.terms]
        return amplitudes

    def cells(self, amplitudes: Array) -> Array:
        """The light of amplitudes of shape (r, j), shape (amplifiers, n)."""
        return np.einsum("ran,rn->an", self.rows, amplitudes @ self.lines)

    def products(self, series: Array) -> Array:
        """Scalar products of a series with each term in units of its standard deviation: the transpose of `cells`."""
        return ((np.einsum("ran,an->rn", self.rows, series) @ self.lines.T) * self.deviation)[self.terms]

    def information(self, weights: Array) -> Array:
        """Scalar products of each term with each other, weighted."""
        row, line = self.terms
        rows = np.einsum("ran,an,san->rsn", self.rows, weights, self.rows, optimize=True)
        lines = self.lines[:, None] * self.lines
        found = np.tensordot(rows, lines, axes=(-1, -1))[row[:, None], row, line[:, None], line]
        return found * np.multiply.outer(self.deviation[self.terms], self.deviation[self.terms])


class _Unknowns:
    """Noise and light as one vector, each number in units of its standard deviation: spectra first, the light last."""

    def __init__(self, shape: tuple[int, ...], roots: tuple[Array, Array], light: Light) -> None:
        self.shape, self.roots, self.light = shape, roots, light
        n = shape[-1]
        double = np.full(n // 2 + 1, 2.0)  # frequencies stand for pairs, but the first, and the last of an even number
        double[[0, -1] if n % 2 == 0 else [0]] = 1
        self.unit = np.sqrt(double / n)  # with it, scalar products of spectra are those of their series
        self.size = 2 * shape[0] * double.size + light.terms[0].size

    def parts(self, vector: Array) -> tuple[NDArray, Array]:
        """The noise's spectra, shape (amplifiers, frequencies), and the light's unknowns."""
        end = self.size - self.light.terms[0].size
        return vector[:end].view(complex).reshape(self.shape[0], -1), vector[end:]

    def cells(self, vector: Array) -> tuple[Array, Array]:
        """The noise and the light that they are, of shape (amplifiers, n) each."""
        spectra, unknowns = self.parts(vector)
        noise = fft.irfft(_split(spectra, *(root / self.unit for root in self.roots)), self.shape[-1])
        return noise, self.light.cells(self.light.amplitudes(unknowns))

    def back(self, cells: Array) -> Array:
        """The transpose of the sum of what `cells` gives."""
        spectra = _split(fft.rfft(cells), *(root * self.unit for root in self.roots))
        return np.append(spectra.ravel().view(float), self.light.products(cells))


def _split(spectra: NDArray, own: Array, mean: Array) -> NDArray:
    """One factor for the deviations of the amplifiers from their mean, another for the mean."""
    return spectra * own + spectra.mean(axis=-2, keepdims=True) * (mean - own)


def expectation(
    series: Array, weights: Array, roots: tuple[Array, Array], light: Light | None = None, start: Array | None = None,
    *, close: float = 1e-4,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The noise and the light to be expected behind measurements of their sum: the mean of a Gaussian process.

    Parameters
    ----------
    series : ndarray, shape (amplifiers, n)
    weights : ndarray, shape (amplifiers, n)
        Inverse variances of the measurements, 0 where there is none.
    roots : tuple of ndarray
        `Spectrum.roots`.
    light : Light, optional
    start : ndarray, optional
        What was found before, from similar measurements: the search begins there.
    close : float
        Residual of the equations over their right side at which the search ends. Slow noise and light are hard to tell
        apart, and take 1e-6.

    Returns
    -------
    noise : ndarray, shape (amplifiers, n)
    amplitudes : ndarray, shape (r, j)
        Of the light's products.
    found : ndarray
        Both, as a start for the next time.
    """
    light = Light.none(series.shape) if light is None else light
    unknowns = _Unknowns(series.shape, roots, light)

    # with S the root of the covariance and W the weights: (1 + S' W S) u = S' W y; the expectation is S u
    def informed(vector: Array) -> Array:
        return vector + unknowns.back(weights * sum(unknowns.cells(vector)))

    # nearly so: with even weights, and noise and light each as if it were alone
    near = [1 / (1 + weights.mean() * root**2) for root in roots]
    alone = np.linalg.inv(np.eye(light.terms[0].size) + light.information(weights))

    def solved(vector: Array) -> Array:
        spectra, of_light = unknowns.parts(vector)
        return np.append(_split(spectra, *near).ravel().view(float), alone @ of_light)

    system, inverse = (linalg.LinearOperator(2 * (unknowns.size,), f, dtype=float) for f in (informed, solved))
    found, _ = linalg.cg(system, unknowns.back(weights * series), start, rtol=close, maxiter=STEPS, M=inverse)
    return unknowns.cells(found)[0], light.amplitudes(unknowns.parts(found)[1]), found


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
    low = slice(0, number.size // 3)
    logs = [np.log(np.maximum(np.median(power[low] * frequency[low]) / white, 1.0)) for power in binned[:kinds]]
    start = np.array([1.0, 0.0, *logs])
    bounds = [(0.3, 2.0), (-1.0, 1.0)] + [(-10.0, 25.0)] * kinds
    slope, _, *logs = optimize.minimize(cost, start, bounds=bounds, method="L-BFGS-B").x
    found = [float(white * np.exp(log) * n**-slope) for log in logs]
    return Spectrum(found[1] if kinds == 2 else 0.0, found[0], float(slope))
