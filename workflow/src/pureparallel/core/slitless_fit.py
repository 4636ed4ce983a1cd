"""Redshifts of slitless spectra: chi2(z) over everything that was observed of a source, and what follows from it.

chi2 of non-negative mixtures of lines and stellar light is found on a coarse grid (`slitless_search`), exactly again
around its deepest minima, and turned into P(z) with the errors scaled so that the best fit has a chi2 per degree of
freedom of at most one. Line fluxes are measured afterwards (`slitless_lines`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from . import slitless
from .nnls import nnls
from .redshift import Peak, Redshift, integral, log_grid, minima
from .slitless import Band, Spectra
from .slitless_search import Grid, grid, search
from .templates import Continuum, Mixtures

Array = NDArray[np.float64]

FINE = 4
"""Points per step of the coarse grid at which chi2 is computed around its minima."""

DENSE = 48
"""Points per step of the coarse grid at which P(z) is tabulated there."""

DEEP = 30.0
"""Minima of chi2, scaled, that may be within this of the deepest are refined."""

BETWEEN = 0.15
"""Part of what lines gain that may be lost between points of the coarse grid."""

PEAKS = 5
"""Minima refined at most."""

USED = 5
"""Templates that a fit typically uses: degrees of freedom taken off."""


@dataclass(frozen=True)
class Settings:
    """How spectra are fitted; see the arguments of the step `fit_redshift`."""

    z_range: tuple[float, float] = (0.05, 9.0)
    grid_step: float = 1.25
    velocity_width: float = 70.0
    contamination_error: float = 0.1
    continuum_error: float = 0.15
    systematic_error: float = 0.02
    clip: float = 5.0
    wavelength_error: float = 0.25


@dataclass(frozen=True)
class Chunk:
    """Sources that are fitted together, and what they share.

    Attributes
    ----------
    bands : list of Band
        Of all sources.
    continuum : list of Continuum
        Smoothed for each band.
    grid : Grid
    width : ndarray, shape (s,)
        Gaussian sigma in ln(wavelength) of a line in each source's sharpest spectrum; infinite without spectra.
    shift : list of float
        The same, per band, of the wavelength scale's own uncertainty.
    """

    bands: list[Band]
    continuum: list[Continuum]
    grid: Grid
    width: Array
    shift: list[float]

    def of(self, source: int) -> list[Band]:
        """One source's bands."""
        return [one.of(slice(source, source + 1)) for one in self.bands]


def chunk(spectra: Sequence[Spectra], mixtures: Mixtures, continuum: Continuum, settings: Settings) -> Chunk:
    """Prepare a chunk of sources.

    Parameters
    ----------
    spectra : sequence of Spectra
        One per wavelength grid; all have the same sources.
    mixtures : Mixtures
    continuum : Continuum
    settings : Settings
    """
    bands = [
        slitless.band(
            piece,
            contamination_error=settings.contamination_error,
            continuum_error=settings.continuum_error,
            systematic_error=settings.systematic_error,
            velocity=settings.velocity_width,
            clip=settings.clip,
        )
        for one in spectra
        for piece in one.pieces()
    ]
    widths = np.array([one.width() for one in bands])
    seen = np.isfinite(widths)
    typical = [np.median(w[s]) if s.any() else 0.005 for w, s in zip(widths, seen, strict=True)]
    sharp = [np.percentile(w[s], 10) for w, s in zip(widths, seen, strict=True) if s.any()]
    step = float(np.clip(settings.grid_step * min(sharp, default=0.003), 1e-4, 5e-3))
    smooth = [continuum.smoothed(float(sigma)) for sigma in typical]
    shared = grid(bands, mixtures, smooth, log_grid(*settings.z_range, step))
    shift = [settings.wavelength_error * one.step / float(one.wave.mean()) for one in bands]
    return Chunk(bands, smooth, shared, widths.min(axis=0), shift)


def brightness(bands: Sequence[Band]) -> tuple[float, float]:
    """Mean flux per Å of a source in its most significant band, or twice its error if that is more; mean wavelength, Å.

    Parameters
    ----------
    bands : sequence of Band
        Of one source.
    """
    found = []
    for one in bands:
        weight = float(np.sum(one.root**2))
        if weight > 0:
            found.append((float(np.sum(one.data * one.root)) / weight, weight**-0.5, float(one.wave.mean())))
    flux, err, wavelength = max(found, key=lambda item: item[0] / item[1])
    return max(flux, 2 * err), wavelength


def fit(chunk: Chunk, source: int, log_prior: Array | None = None) -> Redshift:
    """Fit one source's redshift.

    Parameters
    ----------
    chunk : Chunk
    source : int
    log_prior : ndarray, shape (z,), optional
        ln of the prior density in z on the chunk's grid, up to a constant.

    Returns
    -------
    Redshift
        Peaks are in the order of their probability.
    """
    bands = chunk.of(source)
    values, along = slitless.data(bands)
    total = float(values @ values - along @ along)
    dof = max(sum(int(np.count_nonzero(one.root)) for one in bands) - USED, 1)
    x = np.log1p(chunk.grid.z)
    step = x[1] - x[0]
    rough = total - search(chunk.bands, chunk.grid, source)
    prior = np.zeros(len(x)) if log_prior is None else log_prior
    scale = max(1.0, float(rough.min()) / dof)
    deviance = rough / scale - 2 * prior
    half_width = max(2 * float(chunk.width[source]) + 3 * max(chunk.shift), 3 * step)
    places = minima(x, deviance, PEAKS, half_width)
    windows = _refined(chunk, bands, x, places[:1])
    # others only if they may come near, with what is lost between points of the grid
    reached = float(windows[0].chi2.min()) / scale - 2 * float(prior[places[0]]) + DEEP
    lowest = deviance[places] - BETWEEN * (np.median(deviance) - deviance[places])
    windows += _refined(chunk, bands, x, [i for i, low in zip(places[1:], lowest[1:], strict=True) if low < reached])
    best = min(windows, key=lambda one: float(one.chi2.min()) / scale - 2 * float(np.interp(one.x.mean(), x, prior)))
    return _posterior(x, rough, windows, prior, dof=dof, blur=_blur(bands, chunk.shift, best), half_width=half_width)


@dataclass(frozen=True)
class Window:
    """The exact fit at n redshifts about a minimum of chi2, `FINE` per step of the coarse grid.

    Attributes
    ----------
    x, chi2 : ndarray, shape (n,)
        ln(1+z); chi2.
    matrix, along : ndarray, shapes (n, t, p) and (n, t, d)
        From `slitless.design`.
    amplitudes : ndarray, shape (n, t)
    """

    x: Array
    chi2: Array
    matrix: Array
    along: Array
    amplitudes: Array


def _refined(chunk: Chunk, bands: Sequence[Band], x: Array, places: Sequence[int]) -> list[Window]:
    """Windows about points of the coarse grid `x`, of one source's bands."""
    values, values_along = slitless.data(bands)
    total, step = float(values @ values - values_along @ values_along), x[1] - x[0]
    near = [x[i] + np.arange(-FINE, FINE + 1) * step / FINE for i in places]
    near = [one[(one > x[0] - step / 100) & (one < x[-1] + step / 100)] for one in near]
    found = [slitless.design(bands, chunk.grid.mixtures, chunk.continuum, np.expm1(one)) for one in near]
    if not found:
        return []
    equations = [slitless.normal(*one, values, values_along) for one in found]
    normal, projected = (np.concatenate(parts) for parts in zip(*equations, strict=True))
    amplitudes, gain = nnls(normal, projected)  # of all windows at once
    cuts = np.cumsum([len(one) for one in near])[:-1]
    solved = zip(near, np.split(total - gain, cuts), found, np.split(amplitudes, cuts), strict=True)
    return [Window(one, chi2, *templates, used) for one, chi2, templates, used in solved]


def _blur(bands: Sequence[Band], shift: Sequence[float], window: Window) -> float:
    """Error of ln(1+z) from errors of the spectra's wavelength scales.

    A spectrum moves the redshift as it has a share in it: the information on z of all spectra together, beside what
    templates could take up, is a sum over spectra. Scales err independently of each other in different spectra and
    alike in all bands of the same one, of which the k-th of every band is a part.

    Parameters
    ----------
    bands : sequence of Band
        Of one source.
    shift : sequence of float
        Error of the wavelength scale in each band, in ln(wavelength).
    window : Window
        About the redshift.
    """
    at = int(np.clip(np.argmin(window.chi2), 1, len(window.x) - 2))
    used = window.amplitudes[at] > 0
    amplitudes, templates, components = window.amplitudes[at, used], window.matrix[at, used], window.along[at, used]
    slope = amplitudes @ (window.matrix[at + 1, used] - window.matrix[at - 1, used])
    slope_along = amplitudes @ (window.along[at + 1, used] - window.along[at - 1, used])
    if not len(templates) or not slope.any():
        return 0.0
    normal = templates @ templates.T - components @ components.T
    taken = np.linalg.pinv(normal, rcond=1e-8, hermitian=True) @ (templates @ slope - components @ slope_along)
    share = slope * (slope - taken @ templates)
    share_along = slope_along * (slope_along - taken @ components)
    moved = np.zeros(max(one.root.shape[1] for one in bands))
    total, pixel, direction = 0.0, 0, 0
    for one, error in zip(bands, shift, strict=True):
        k, size = one.root.shape[1], one.nuisance.shape[1]
        here = share[pixel : pixel + one.root[0].size].reshape(k, -1).sum(axis=1)
        here -= share_along[direction : direction + size].reshape(-1, k).sum(axis=0)
        moved[:k] += error * here
        total += float(here.sum())
        pixel, direction = pixel + one.root[0].size, direction + size
    return float(np.linalg.norm(moved)) / total if total > 0 else 0.0


def _posterior(
    x: Array,
    rough: Array,
    windows: Sequence[Window],
    prior: Array,
    *,
    dof: int,
    blur: float,
    half_width: float,
) -> Redshift:
    """P(z) from chi2 on the coarse grid and, in its place, on finer ones in windows, where P(z) is blurred.

    Parameters
    ----------
    x, rough, prior : ndarray, shape (z,)
        ln(1+z), chi2 and ln of the prior on the coarse grid.
    windows : sequence of Window
    dof : int
    blur, half_width : float
        In ln(1+z): of P(z), and of the interval whose probability belongs to one peak.
    """
    from scipy.ndimage import gaussian_filter1d

    fine = (x[1] - x[0]) / DENSE
    reach = max(DENSE, round(4 * blur / fine))
    marks = np.zeros((len(x) - 1) * DENSE + 1, bool)
    marks[::DENSE] = True
    for one in windows:
        middle = round((one.x.mean() - x[0]) / fine)
        marks[max(middle - reach, 0) : middle + reach + 1] = True
    places = np.flatnonzero(marks)
    dense = x[0] + fine * places
    chi2 = np.interp(dense, x, rough)
    for one in windows:
        first = round((one.x[0] - x[0]) / fine)
        inside = (places >= first) & (places <= first + (len(one.x) - 1) * DENSE // FINE)
        chi2[inside] = _spline(len(one.x)) @ one.chi2
    scale = max(1.0, float(chi2.min()) / dof)
    log_pdf = -0.5 * chi2 / scale + np.interp(dense, x, prior)
    pdf = np.exp(log_pdf - log_pdf.max())
    if blur > 0:
        turns = np.flatnonzero(np.diff(np.diff(places, prepend=-2, append=-1) == 1)).reshape(-1, 2)
        for first, last in turns:  # of all runs of neighbours
            pdf[first : last + 1] = gaussian_filter1d(pdf[first : last + 1], blur / fine, mode="nearest")
    z = np.expm1(dense)
    total = integral(pdf, z)
    pdf /= total[-1]
    z_low, z_high = np.interp([0.1587, 0.8413], total / total[-1], z)
    peaks = []
    for i in minima(dense, -log_pdf, PEAKS, 2 * half_width):
        near = np.abs(dense - dense[i]) <= half_width
        peaks.append(Peak(float(z[i]), float(chi2[i]), float(integral(pdf[near], z[near])[-1])))
    peaks.sort(key=lambda peak: -peak.probability)
    return Redshift(peaks[0].z, float(z_low), float(z_high), peaks[0].chi2, dof, tuple(peaks), z, pdf)


@cache
def _spline(count: int) -> Array:
    """Cubic spline through `count` points, `FINE` per step, at all points of which there are `DENSE`: a matrix."""
    from scipy.interpolate import CubicSpline

    points = np.arange(count) / FINE
    return np.asarray(CubicSpline(points, np.eye(count))(np.arange((count - 1) * DENSE // FINE + 1) / DENSE))
