"""Redshifts from broad-band photometry: from chi2(z) to P(z), what it says of a source, and how right it is.

Priors, errors and summaries; the templates' fluxes and their fit are eazy's, see `pureparallel.steps.photoz`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TEMPLATE_ERROR = ((0.09, 1.5), (0.13, 1.0), (0.2, 0.5), (0.3, 0.3), (0.45, 0.25), (1.0, 0.25), (1.6, 0.4), (2.5, 1.0))
"""Rest wavelength [μm] and relative error of the templates, of the shape that Brammer et al. (2008, ApJ 686, 1503,
figure 3) found: least in the optical, growing to the ultraviolet and to where dust shines. The numbers are round."""

PRIOR_WAVE = 1.5
"""μm: a source's magnitude, for the prior, is that in its filter nearest to this."""

TO_I = ((0.8, 0.0), (0.9, 0.2), (1.15, 0.5), (1.5, 0.8), (2.0, 1.0), (3.0, 1.2))
"""Wavelength [μm] and I - m (AB) of a typical faint galaxy there: rough, as the prior is wide."""

LOSS_WIDTH = 0.15
"""dz/(1+z) at which a redshift is half wrong (Tanaka et al. 2018, PASJ 70, S9)."""

SURE = 0.2
"""Expected loss below which a redshift counts as sure."""

OUTLIER = 0.15
"""dz/(1+z) beyond which a redshift is an outlier."""


@dataclass(frozen=True)
class Kind:
    """Galaxies of one type at I of 20 to 24 in VVDS (Ilbert et al. 2006, A&A 457, 841), in the form of Benítez (2000).

    Attributes
    ----------
    alpha, z0, slope : float
        p(z|I) ∝ z^alpha exp(-(z/zm)^alpha) with zm = z0 + slope (I - 20).
    share, decline : float
        Of all galaxies, share exp(-decline (I - 20)).
    """

    alpha: float
    z0: float
    slope: float
    share: float
    decline: float


KINDS = (
    Kind(3.331, 0.4518, 0.1368, 0.4320, 0.4717),
    Kind(1.428, 0.1656, 0.1298, 0.0800, 0.3066),
    Kind(1.583, 0.2107, 0.1401, 0.3116, 0.1272),
    Kind(1.345, 0.2042, 0.1377, np.nan, np.nan),  # the rest
)
"""Early, Sbc, Scd and irregular galaxies."""


def edges(grid: Array) -> Array:
    """Edges of the bins around each redshift of a grid, shape (nz + 1,): half-way; the outer bins are halves."""
    return np.concatenate([grid[:1], (grid[1:] + grid[:-1]) / 2, grid[-1:]])


def widths(grid: Array) -> Array:
    """Widths of these bins, shape (nz,)."""
    return np.diff(edges(grid))


def flat(grid: Array) -> Array:
    """P(z) of a source of which nothing is known: the same per unit redshift, shape (nz,)."""
    return widths(grid) / (grid[-1] - grid[0])


def template_error(rest_micron: ArrayLike) -> Array:
    """Relative error of the templates' fluxes at rest wavelengths, before it is scaled by the option."""
    wave, error = np.array(TEMPLATE_ERROR).T
    return np.interp(np.log(np.asarray(rest_micron, float)), np.log(wave), error)


def usable(flux: Array, error: Array) -> NDArray[np.bool_]:
    """Where there is a measurement: a finite flux with a finite, positive error; shape as given."""
    return np.isfinite(flux) & np.isfinite(error) & (error > 0)


def with_floor(flux: Array, error: Array, floor: float) -> Array:
    """Errors with a fraction of the flux, where that is positive, added in quadrature."""
    return np.hypot(error, floor * np.maximum(flux, 0))


def log_variance(flux: Array, error: Array, relative: Array) -> Array:
    """Sum over filters of the logarithm of the variance, at each redshift, shape (n, nz).

    What a likelihood with errors that depend on redshift must have beside chi2.

    Parameters
    ----------
    flux, error : ndarray, shape (n, nf)
        Errors without the templates' own; those not `usable` do not count.
    relative : ndarray, shape (nz, nf)
        Errors of the templates over the flux.
    """
    good = usable(flux, error)
    bright = np.where(good, np.maximum(flux, 0), 0)
    total = np.zeros((len(flux), len(relative)))
    for i in range(flux.shape[1]):
        variance = np.where(good[:, i], error[:, i], 1.0)[:, None] ** 2 + np.outer(bright[:, i], relative[:, i]) ** 2
        total += good[:, i, None] * np.log(variance)
    return total


def i_magnitude(flux: Array, error: Array, wave: Array, least_snr: float = 2.0) -> Array:
    """I-band AB magnitude of each source, roughly, from its filter nearest to `PRIOR_WAVE`; shape (n,).

    Parameters
    ----------
    flux, error : ndarray, shape (n, nf)
        μJy. A flux below `least_snr` errors counts as so many errors.
    wave : ndarray, shape (nf,)
        Pivot wavelengths, μm.

    Returns
    -------
    ndarray
        NaN for a source without any measurement.
    """
    good = usable(flux, error)
    order = np.argsort(np.abs(np.log(wave / PRIOR_WAVE)), kind="stable")
    first = order[np.argmax(good[:, order], axis=1)]
    row = np.arange(len(flux))
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = 23.9 - 2.5 * np.log10(np.maximum(flux, least_snr * error)[row, first])
    return np.where(good.any(axis=1), magnitude + np.interp(wave[first], *np.array(TO_I).T), np.nan)


def magnitude_prior(grid: Array, i_band: Array, uniform: float = 0.2) -> Array:
    """P(z) of galaxies of a magnitude, all types together.

    Parameters
    ----------
    grid : ndarray, shape (nz,)
        Redshifts.
    i_band : ndarray, shape (n,)
        AB; taken as 20 where brighter, as 27 where fainter. NaN gives a flat prior.
    uniform : float
        Share of a flat prior in it, so that no redshift is ruled out: the survey is 24 mag deep.

    Returns
    -------
    ndarray, shape (n, nz)
        Probability per bin; rows sum to 1.
    """
    faint = np.clip(np.nan_to_num(i_band, nan=20.0), 20, 27)[:, None] - 20
    bins = widths(grid)
    share = [kind.share * np.exp(-kind.decline * faint) for kind in KINDS[:-1]]
    share.append(np.maximum(1 - sum(share), 0))
    total = np.zeros((len(faint), len(grid)))
    for kind, part in zip(KINDS, share, strict=True):
        density = grid**kind.alpha * np.exp(-((grid / (kind.z0 + kind.slope * faint)) ** kind.alpha)) * bins
        total += part * density / density.sum(axis=1, keepdims=True)
    known = np.isfinite(i_band)[:, None]
    return np.where(known, (1 - uniform) * total / total.sum(axis=1, keepdims=True), 0) + np.where(
        known, uniform, 1
    ) * flat(grid)


def probability(log_likelihood: Array, prior: Array) -> Array:
    """P(z) per bin, rows summing to 1, of log-likelihoods (n, nz) and a prior per bin, (nz,) or (n, nz)."""
    relative = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True)) * prior
    return relative / relative.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Summary:
    """What P(z) says of each source, all of shape (n,).

    Attributes
    ----------
    z : ndarray
        The redshift of least expected loss.
    risk : ndarray
        That loss: 0 for a sharp P(z), towards 1 for a P(z) that says nothing.
    mode, low, median, high : ndarray
        Most probable redshift; 16, 50 and 84 % of the probability lie below.
    """

    z: Array
    risk: Array
    mode: Array
    low: Array
    median: Array
    high: Array


def summarise(grid: Array, pz: Array) -> Summary:
    """Summary of P(z) per bin (n, nz) on redshifts (nz,).

    The loss of a redshift dz/(1+z) off is 1 - 1 / (1 + (dz/(1+z)/0.15)²) (Tanaka et al. 2018): unlike the mode, which
    sits on a narrow peak however little probability it holds, and the median, which falls between two peaks, its least
    expectation is among redshifts that are nearly right with the greatest probability.
    """
    off = (grid[:, None] - grid[None, :]) / (1 + grid[None, :]) / LOSS_WIDTH
    risk = pz @ (1 - 1 / (1 + off**2)).T
    best = risk.argmin(axis=1)
    low, median, high = percentiles(grid, pz, (0.16, 0.5, 0.84)).T
    mode = grid[(pz / widths(grid)).argmax(axis=1)]
    return Summary(grid[best], risk[np.arange(len(pz)), best], mode, low, median, high)


def percentiles(grid: Array, pz: Array, fractions: Sequence[float]) -> Array:
    """Redshifts below which fractions (k,) of the probability lie, shape (n, k)."""
    at, at_edges = edges(grid), _cumulative(pz)
    return np.array([np.interp(fractions, row, at) for row in at_edges]).reshape(len(pz), len(fractions))


def below(grid: Array, pz: Array, z: Array) -> Array:
    """Probability below a redshift of each source, shape (n,): uniform over 0 to 1 if P(z) is honest and `z` true."""
    at, at_edges = edges(grid), _cumulative(pz)
    return np.array([float(np.interp(one, at, row)) for one, row in zip(z, at_edges, strict=True)])


def _cumulative(pz: Array) -> Array:
    """Probability below every edge of the bins, shape (n, nz + 1)."""
    total = np.concatenate([np.zeros((len(pz), 1)), np.cumsum(pz, axis=1)], axis=1)
    return total / total[:, -1:]


def score(z: Array, true: Array) -> dict[str, float]:
    """How right redshifts are.

    Returns
    -------
    dict
        ``sources``; ``nmad``, 1.4826 times the median of |dz - median(dz)| with dz over 1 + z; ``bias``, that median;
        ``outliers``, the fraction beyond `OUTLIER`. NaN without sources.
    """
    if not len(z):
        return {"sources": 0, "nmad": np.nan, "bias": np.nan, "outliers": np.nan}
    off = (z - true) / (1 + true)
    bias = float(np.median(off))
    nmad = 1.4826 * float(np.median(np.abs(off - bias)))
    return {"sources": len(z), "nmad": nmad, "bias": bias, "outliers": float(np.mean(np.abs(off) > OUTLIER))}
