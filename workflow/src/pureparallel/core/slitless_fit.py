"""Redshifts of slitless spectra: chi2(z) over everything that was observed of a source, and what follows from it.

chi2 of non-negative mixtures of lines and stellar light is found on a coarse grid (`slitless_search`), exactly again
around its deepest minima, and turned into P(z) with the errors scaled so that the best fit has a chi2 per degree of
freedom of at most one. Line fluxes are measured afterwards (`slitless_lines`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import slitless
from .nnls import nnls
from .redshift import Peak, Redshift, integral, log_grid
from .slitless import Band, Spectra
from .slitless_search import Grid, grid, search
from .templates import Continuum, Mixtures

Array = NDArray[np.float64]

FINE = 4
"""Points per step of the coarse grid at which chi2 is computed around its minima."""

DENSE = 12
"""Points per step of the coarse grid at which P(z) is tabulated."""

DEEP = 40.0
"""Minima of chi2, scaled, within this of the deepest are refined."""

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
    blur : float
        The same of the wavelength scale's own uncertainty.
    """

    bands: list[Band]
    continuum: list[Continuum]
    grid: Grid
    width: Array
    blur: float

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
    blur = settings.wavelength_error * float(np.mean([one.step / one.wave.mean() for one in bands]))
    return Chunk(bands, smooth, shared, widths.min(axis=0), blur)


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
    deviance = rough / max(1.0, float(rough.min()) / dof) - 2 * prior
    # between points of the grid, some of what lines gain is lost
    limit = deviance.min() + DEEP + 0.15 * (np.median(deviance) - deviance.min())
    half_width = max(2 * float(chunk.width[source]) + 3 * chunk.blur, 3 * step)
    windows = []
    for i in _minima(x, deviance, half_width):
        if deviance[i] > limit:
            break
        near = x[i] + np.arange(-FINE - 1, FINE + 2) * step / FINE
        near = near[(near >= x[0]) & (near <= x[-1])]
        matrix, directions = slitless.design(bands, chunk.grid.mixtures, chunk.continuum, np.expm1(near))
        windows.append((near, total - nnls(*slitless.normal(matrix, directions, values, along))[1]))
    return _posterior(x, rough, windows, prior, dof=dof, blur=chunk.blur, half_width=half_width)


def _minima(x: Array, values: Array, apart: float) -> list[int]:
    """Indices of the deepest local minima, deepest first, apart by more than `apart`."""
    padded = np.concatenate([[np.inf], values, [np.inf]])
    found = np.flatnonzero((values <= padded[:-2]) & (values <= padded[2:]))
    kept: list[int] = []
    for i in found[np.argsort(values[found], kind="stable")]:
        if all(abs(x[i] - x[j]) > apart for j in kept):
            kept.append(int(i))
        if len(kept) == PEAKS:
            break
    return kept


def _posterior(
    x: Array,
    rough: Array,
    windows: list[tuple[Array, Array]],
    prior: Array,
    *,
    dof: int,
    blur: float,
    half_width: float,
) -> Redshift:
    """P(z) from chi2 on the coarse grid and, in its place, on finer ones in windows.

    Parameters
    ----------
    x, rough, prior : ndarray, shape (z,)
        ln(1+z), chi2 and ln of the prior on the coarse grid.
    windows : list of (ndarray, ndarray)
        ln(1+z) and chi2.
    dof : int
    blur, half_width : float
        In ln(1+z): of P(z), and of the interval whose probability belongs to one peak.
    """
    from scipy.interpolate import CubicSpline
    from scipy.ndimage import gaussian_filter1d

    step = (x[1] - x[0]) / DENSE
    dense = x[0] + step * np.arange((len(x) - 1) * DENSE + 1)
    chi2 = np.interp(dense, x, rough)
    for near, values in windows:
        inside = (dense >= near[0]) & (dense <= near[-1])
        chi2[inside] = CubicSpline(near, values)(dense[inside])
    scale = max(1.0, float(chi2.min()) / dof)
    log_pdf = -0.5 * chi2 / scale + np.interp(dense, x, prior)
    pdf = np.exp(log_pdf - log_pdf.max())
    if blur > 0:
        pdf = gaussian_filter1d(pdf, blur / step, mode="constant")
    z = np.expm1(dense)
    total = integral(pdf, z)
    pdf /= total[-1]
    z_low, z_high = np.interp([0.1587, 0.8413], total / total[-1], z)
    peaks = []
    for i in _minima(dense, -log_pdf, 2 * half_width):
        near = np.abs(dense - dense[i]) <= half_width
        peaks.append(Peak(float(z[i]), float(chi2[i]), float(integral(pdf[near], z[near])[-1])))
    peaks.sort(key=lambda peak: -peak.probability)
    return Redshift(peaks[0].z, float(z_low), float(z_high), peaks[0].chi2, dof, tuple(peaks), z, pdf)
