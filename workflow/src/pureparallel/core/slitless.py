"""Slitless spectra of many sources, and what templates look like in them.

A *band* holds all spectra that share one wavelength grid, as those of both grisms and all rolls through one filter do.
Pixels are weighted by their errors, and what is uncertain in each spectrum without depending on redshift (its zero
level, its slope, the contamination that was subtracted) is projected out with a Gaussian prior. Whatever is fitted
then only meets products of such whitened vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .templates import Continuum, Mixtures

Array = NDArray[np.float64]

REACH = 24
"""Half-width of a line's response in bins: light farther out is left to the wings' last value."""

FINE = 16
"""Points per bin at which a source's cumulative light profile is tabulated."""

LONGEST = 128
"""Bins of a band."""

FEATURE = 7
"""Bins that a feature which is masked takes with it."""

UNLIKE = 0.7
"""By how much of itself a line may look different in spectra of the same source."""

LIGHT_SPEED = 299792.458
"""km/s."""


@dataclass(frozen=True)
class Spectra:
    """Spectra of s sources in one band, up to k of each, on n wavelength bins.

    Attributes
    ----------
    wave : ndarray, shape (n,)
        Centres of the bins, Å, in equal steps.
    flux, err, contamination : ndarray, shape (s, k, n)
        Per Å, in any one unit. Where ``err`` is not positive and finite, or the flux is not finite, there is nothing.
    profile : ndarray, shape (s, k, m)
        Light of the source along the dispersion, point-spread function included; m odd, centred.
    dispersion : ndarray, shape (s, k)
        Å per sample of the profile, positive.
    """

    wave: Array
    flux: Array
    err: Array
    contamination: Array
    profile: Array
    dispersion: Array

    def pieces(self) -> "list[Spectra]":
        """Cut into pieces of at most `LONGEST` bins, each to be a band of its own: products grow as the square."""
        count = -(-len(self.wave) // LONGEST)
        cuts = np.linspace(0, len(self.wave), count + 1).astype(int)
        return [self._bins(slice(a, b)) for a, b in pairwise(cuts)]

    def _bins(self, part: slice) -> "Spectra":
        flux, err, contamination = self.flux[..., part], self.err[..., part], self.contamination[..., part]
        return Spectra(self.wave[part], flux, err, contamination, self.profile, self.dispersion)


@dataclass(frozen=True)
class Band:
    """`Spectra`, ready to be fitted. s sources, k spectra, n bins, m nuisances per spectrum.

    Attributes
    ----------
    wave : ndarray, shape (n,)
        Å.
    step : float
        Width of a bin, Å.
    root : ndarray, shape (s, k, n)
        1/error, contamination's uncertainty included; 0 where there is nothing.
    data : ndarray, shape (s, k, n)
        Flux times `root`.
    nuisance : ndarray, shape (s, m, k*n)
        Directions to be projected out: a product <a, b> of whitened vectors is a·b less the sum over directions of
        (a·d)(d·b).
    light : ndarray, shape (s, k, t)
        Cumulative light over offsets of -`REACH` to `REACH` bins, `FINE` points per bin.
    """

    wave: Array
    step: float
    root: Array
    data: Array
    nuisance: Array
    light: Array

    @cached_property
    def edges(self) -> Array:
        """Edges of the bins, shape (n+1,), Å."""
        return np.append(self.wave, self.wave[-1] + self.step) - self.step / 2

    @cached_property
    def reach(self) -> float:
        """Distance from a line's centre in bins within which all sources have 99.5 % of its light."""
        spread = np.abs(np.arange(self.light.shape[-1]) / FINE - REACH)
        outside = (self.light > 0.0025) & (self.light < 0.9975)
        return float(np.max(np.where(outside, spread, 0.0), initial=1.0)) + 1.0

    def width(self) -> Array:
        """Gaussian sigma in ln(wavelength) of a line in the sharpest spectrum of each source, shape (s,)."""
        offsets = (np.arange(self.light.shape[-1]) + 0.5) / FINE - REACH
        density = np.diff(self.light, axis=-1, append=self.light[..., -1:])
        rms = np.sqrt(np.sum(density * offsets**2, axis=-1) + 1 / 12)  # and the bin itself
        seen = self.root.any(axis=2)
        return np.min(np.where(seen, rms, np.inf), axis=1) * self.step / self.wave.mean()

    def of(self, sources: "slice | NDArray[np.int64]") -> "Band":
        """Some of the sources."""
        return Band(
            self.wave, self.step, self.root[sources], self.data[sources], self.nuisance[sources], self.light[sources]
        )


def band(
    spectra: Spectra,
    *,
    contamination_error: float,
    continuum_error: float,
    systematic_error: float,
    velocity: float,
    clip: float = 0.0,
) -> Band:
    """Prepare spectra for the fit.

    Parameters
    ----------
    spectra : Spectra
    contamination_error : float
        Uncertainty of the contamination model as a fraction: once of each bin, once of the whole.
    continuum_error : float
        Uncertainty of each spectrum's zero level and slope, as a fraction of the source's typical flux in the band.
    systematic_error : float
        Fraction of the typical flux added in quadrature to the error.
    velocity : float
        Gaussian sigma of lines, km/s.
    clip : float
        Significance of features in one spectrum alone at which they are masked; 0 for never. See `strangers`.
    """
    s = spectra
    step = float(s.wave[-1] - s.wave[0]) / (len(s.wave) - 1)
    valid = np.isfinite(s.flux) & np.isfinite(s.err) & (s.err > 0)
    if clip > 0:
        valid &= ~strangers(s.flux, s.err, valid, clip)
    flux, err = np.where(valid, s.flux, 0.0), np.where(valid, s.err, 1.0)
    contamination = np.where(valid & np.isfinite(s.contamination), s.contamination, 0.0)
    level = _level(flux, err, valid)
    variance = err**2 + (contamination_error * contamination) ** 2 + (systematic_error * level) ** 2
    root = np.where(valid, 1 / np.sqrt(variance), 0.0)
    directions = _directions(contamination_error * contamination, continuum_error * level) * root[:, None]
    directions = directions.reshape(*directions.shape[:2], -1)
    normal = directions @ directions.swapaxes(1, 2) + np.eye(directions.shape[1])
    nuisance = np.linalg.solve(np.linalg.cholesky(normal), directions)
    sigma = velocity / LIGHT_SPEED * float(s.wave.mean()) / step
    return Band(s.wave, step, root, flux * root, nuisance, _light(s.profile, s.dispersion / step, sigma))


def strangers(flux: Array, err: Array, valid: NDArray[np.bool_], significance: float) -> NDArray[np.bool_]:
    """Bins with a feature that one spectrum has and the source's other spectra do not, as zero orders of others have.

    Each spectrum, less its own running median, is compared with the median of the others, both blurred. A feature must
    be significant and be more than `UNLIKE` of what the others have there: lines differ somewhat between directions of
    dispersion. Two spectra cannot tell which is wrong: nothing is found in fewer than three.

    Returns
    -------
    ndarray of bool, shape (s, k, n)
    """
    from scipy.ndimage import binary_dilation, gaussian_filter1d, median_filter

    k = flux.shape[1]
    found = np.zeros(flux.shape, bool)
    weight = np.where(valid, np.where(valid, err, 1.0) ** -2.0, 0.0)
    smooth = median_filter(np.where(valid, flux, 0.0), size=(1, 1, 4 * FEATURE + 1), mode="nearest")
    rest = np.where(valid, flux - smooth, 0.0)
    total = gaussian_filter1d(weight, 1.0, axis=2)
    blurred = gaussian_filter1d(weight * rest, 1.0, axis=2) / np.where(total > 0, total, 1.0)
    # the variance of a blurred value: the kernel squared is a kernel narrower by the root of two
    noise = np.sqrt(gaussian_filter1d(weight, 0.5**0.5, axis=2) * 0.5 / np.pi**0.5) / np.where(total > 0, total, 1.0)
    seen = total > 0.3 * np.median(weight, axis=2, keepdims=True)
    for i in range(k):
        others = np.delete(np.where(seen, blurred, np.nan), i, axis=1)
        enough = np.count_nonzero(np.isfinite(others), axis=1) >= 2
        middle = np.median(np.where(enough[:, None], others, 0.0), axis=1) if k > 2 else np.zeros_like(blurred[:, 0])
        middle = np.where(np.isfinite(middle), middle, np.inf)
        found[:, i] = (np.abs(blurred[:, i] - middle) > significance * noise[:, i] + UNLIKE * np.abs(middle)) & enough
    return binary_dilation(found, np.ones((1, 1, FEATURE)))


def _directions(contamination: Array, continuum: Array) -> Array:
    """What each spectrum may hold besides templates, at one sigma of its prior: shape (s, 3*k, k, n).

    Contamination (s, k, n); zero level and slope, the same for all spectra (s, 1, 1).
    """
    k, n = contamination.shape[1:]
    each = np.eye(k)[:, :, None]  # one direction per spectrum
    forms = (np.ones(n), np.linspace(-1.0, 1.0, n))
    return np.concatenate(
        [contamination[:, None] * each, *(continuum[..., None] * each * form for form in forms)], axis=1
    )


def _level(flux: Array, err: Array, valid: NDArray[np.bool_]) -> Array:
    """Typical absolute flux of each source's spectra, shape (s, 1, 1); what noise alone makes is taken off."""
    weight = np.where(valid, err**-2.0, 0.0)
    total = np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1e-300)
    mean = (weight * flux).sum(axis=(1, 2), keepdims=True) / total
    return np.sqrt(np.maximum(mean**2 - 1 / total, 0.0))


def _light(profile: Array, bins: Array, sigma: float) -> Array:
    """Cumulative light of profiles with samples of a width in `bins`, blurred by sigma bins.

    Between samples runs a cubic spline: straight lines would widen what is hardly sampled by a sixth of a sample
    squared.
    """
    from scipy.ndimage import gaussian_filter1d, spline_filter1d

    offsets = np.arange(-REACH * FINE, REACH * FINE + 1) / FINE
    clean = np.pad(np.maximum(np.nan_to_num(profile), 0.0), ((0, 0), (0, 0), (3, 3)))
    knots = spline_filter1d(clean, order=3, axis=2, mode="mirror")
    place = np.clip(offsets / bins[..., None] + clean.shape[-1] // 2, 1, clean.shape[-1] - 3.001)
    left = place.astype(int)
    t = place - left
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    density = np.zeros(place.shape)
    for shift, weight in enumerate(weights, start=-1):
        density += np.take_along_axis(knots, left + shift, axis=2) * weight / 6
    density = np.maximum(density, 0.0)
    if sigma > 0:
        density = gaussian_filter1d(density, sigma * FINE, axis=2, mode="constant")
    cumulative = np.cumsum(density, axis=2) - 0.5 * density
    total = cumulative[..., -1:]
    return cumulative / np.where(total > 0, total, 1.0)


def lines(band: Band, wavelength: Array) -> Array:
    """Spectra of lines of unit flux, per unit wavelength.

    Parameters
    ----------
    band : Band
    wavelength : ndarray, shape (u,)
        Observed, Å.

    Returns
    -------
    ndarray, shape (s, k, u, n)
    """
    place = ((band.edges - wavelength[:, None]) / band.step + REACH) * FINE
    place = np.clip(place, 0, band.light.shape[-1] - 1.001)
    left = place.astype(int)
    cumulative = band.light.take(left, axis=-1)
    cumulative += (band.light.take(left + 1, axis=-1) - cumulative) * (place - left)
    found = np.diff(cumulative, axis=-1)
    found /= band.step
    return found


def response(band: Band, wavelength: Array) -> Array:
    """Whitened spectra of lines of unit flux, shape (s, k, u, n), at observed wavelengths (u,) in Å."""
    return lines(band, wavelength) * band.root[:, :, None]


def design(bands: Sequence[Band], mixtures: Mixtures, continuum: Sequence[Continuum], z: Array) -> tuple[Array, Array]:
    """Whitened templates of one source over all its pixels.

    Parameters
    ----------
    bands : sequence of Band
        Of one source each.
    mixtures : Mixtures
    continuum : sequence of Continuum
        Smoothed for each band.
    z : ndarray, shape (z,)

    Returns
    -------
    matrix : ndarray, shape (z, t, p)
        Lines first; p counts all bands' spectra and bins.
    along : ndarray, shape (z, t, d)
        Their components along the nuisances of all spectra.
    """
    count, kinds = mixtures.ratios.shape[1], len(continuum[0].flux)
    sizes = [one.root[0].size for one in bands]
    matrix, along = np.zeros((len(z), count + kinds, sum(sizes))), []
    for one, light, stop in zip(bands, continuum, np.cumsum(sizes), strict=True):
        k, n = one.root.shape[1:]
        part = matrix[:, :, stop - k * n : stop]
        templates = part.reshape(*part.shape[:2], k, n)  # a view
        margin = one.reach * one.step
        observed = mixtures.wavelengths[:, None] * (1 + z)
        near = np.any((observed > one.edges[0] - margin) & (observed < one.edges[-1] + margin), axis=1)
        if near.any():
            single = lines(one, observed[near].ravel())[0].reshape(k, near.sum(), len(z) * n)
            mixed = (mixtures.ratios[near].T @ single).reshape(k, count, len(z), n)
            np.multiply(mixed.transpose(2, 1, 0, 3), one.root[0], out=templates[:, :count])
        np.multiply(light.observed(one.wave, z)[:, :, None], one.root[0], out=templates[:, count:])
        along.append(part @ one.nuisance[0].T)
    return matrix, np.concatenate(along, axis=2)


def data(bands: Sequence[Band]) -> tuple[Array, Array]:
    """Whitened data of one source over all its pixels (p,), and its components along all nuisances (d,)."""
    along = [one.nuisance[0] @ one.data[0].ravel() for one in bands]
    return np.concatenate([one.data[0].ravel() for one in bands]), np.concatenate(along)


def normal(matrix: Array, along: Array, values: Array, values_along: Array) -> tuple[Array, Array]:
    """Normal matrices (z, t, t) and vectors (z, t) of whitened templates and data."""
    return (
        matrix @ matrix.swapaxes(1, 2) - along @ along.swapaxes(1, 2),
        matrix @ values - along @ values_along,
    )
