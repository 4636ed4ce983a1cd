"""How right a catalogue is: what it has of a simulated field's sources, where, how bright and at which redshift."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import completeness, matching, photoz
from .pulls import pulls

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

WITHIN = 0.15
"""Arcsec within which a point matches; galaxies match within half of their half-light radius more."""

ALONE, SHARE = 1.5, 0.01
"""An isolated source has less than this share of its light in others within so many arcsec."""

COMPLETE_SNR, PURE_SNR, BRIGHT_SNR, PHOTOZ_SNR = 10.0, 5.0, 20.0, 10.0
"""Signal to noise from which completeness, purity, photometry and astrometry, and photometric redshifts are judged."""

MAGNITUDES = np.arange(18, 28.1, 0.5).tolist()
SNRS = [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 14.0, 20.0, 40.0, 100.0, 1e6]
SEPARATIONS = [0.2, 0.3, 0.4, 0.6, 0.8, 1.0]
"""Edges of bins."""

PAIR_WITHIN, PAIR_RATIO, PAIR_ALONE = 0.15, 4.0, 0.6
"""Of pairs that are to be told apart: arcsec within which a source is one of the two, largest ratio of their light, and
arcsec in which there is no third."""


@dataclass(frozen=True)
class Truth:
    """Simulated sources, blends as one.

    Attributes
    ----------
    xy : ndarray, shape (k, 2)
        Tangent-plane arcsec.
    light : ndarray, shape (k, nf)
        μJy.
    snr : ndarray, shape (k,)
        Expected, of all filters together.
    radius : ndarray, shape (k,)
        Half-light radius, circularised, arcsec.
    star : ndarray of bool, shape (k,)
    z : ndarray, shape (k,)
        NaN for a star.
    covered : ndarray of bool, shape (k,)
        Whether it is on data.
    single : ndarray of bool, shape (k,)
        Whether it is one source alone.
    """

    xy: Array
    light: Array
    snr: Array
    radius: Array
    star: Mask
    z: Array
    covered: Mask
    single: Mask


@dataclass(frozen=True)
class Found:
    """Sources of the catalogue, all of shape (n, ...).

    Attributes
    ----------
    xy : ndarray, shape (n, 2)
        Tangent-plane arcsec.
    flux, error : ndarray, shape (n, nf)
        μJy.
    snr : ndarray, shape (n,)
        Of the detection.
    clean : ndarray of bool, shape (n,)
        Free of doubt.
    whole : ndarray of bool, shape (n, nf)
        Whose photometry is not flagged.
    z, risk : ndarray, shape (n,)
        Photometric redshift and its expected loss; NaN where there is none.
    pz, grid : ndarray, shape (n, nz), (nz,)
        Probability per bin.
    """

    xy: Array
    flux: Array
    error: Array
    snr: Array
    clean: Mask
    whole: Mask
    z: Array
    risk: Array
    pz: Array
    grid: Array


def partners(found: Found, true: Truth, reference: int) -> Indices:
    """The true source of each that was found, or -1."""
    reach = WITHIN + true.radius / 2
    return matching.match(found.xy, true.xy, reach, found.flux[:, reference], true.light[:, reference])


def counts(found: Found, true: Truth, partner: Indices, reference: int) -> dict[str, Any]:
    """Completeness by true magnitude and expected signal to noise, purity by that of the catalogue."""
    light, seen = true.light[:, reference], np.zeros(len(true.xy), bool)
    matched = partner >= 0
    real = matched.copy()
    real[matched] = matching.alike(found.flux[matched, reference], light[partner[matched]])
    seen[partner[real]] = True
    on, magnitude = true.covered, 23.9 - 2.5 * np.log10(light)
    by_magnitude = completeness.fractions(magnitude[on], seen[on], MAGNITUDES)
    expected = true.snr[partner[real]]
    ratio = found.snr[real][expected > 0] / expected[expected > 0]
    return {
        "sources": len(found.xy),
        "doubtful": int((~found.clean).sum()),
        "true": int(on.sum()),
        "complete": completeness.fraction(seen[on & (true.snr >= COMPLETE_SNR)]),
        "complete_by_magnitude": by_magnitude,
        "complete_by_snr": completeness.fractions(true.snr[on], seen[on], SNRS),
        "half_complete_magnitude": completeness.depth(by_magnitude),
        "pure": completeness.fraction(real[found.clean & (found.snr >= PURE_SNR)]),
        "pure_by_snr": completeness.fractions(found.snr[found.clean], real[found.clean], SNRS),
        "pure_by_snr_doubtful_too": completeness.fractions(found.snr, real, SNRS),
        "snr_over_expected": float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else None,
    }


def bright(found: Found, true: Truth, partner: Indices) -> Indices:
    """Sources whose flux and position are judged: bright, free of doubt, alone."""
    alone = matching.isolated(true.xy, true.light, ALONE, SHARE) & true.single & (true.snr > BRIGHT_SNR)
    return np.flatnonzero((partner >= 0) & found.clean & alone[partner])


def astrometry(found: Found, true: Truth, partner: Indices, moved: Array) -> dict[str, Any]:
    """Positions of bright isolated sources less the true ones, mas; those had been moved [arcsec] to be recognised."""
    chosen = bright(found, true, partner)
    off = 1e3 * (found.xy[chosen] - true.xy[partner[chosen]] + moved)
    star = true.star[partner[chosen]]
    if not len(off):
        return {"sources": 0}
    mean = off.mean(axis=0)
    middle = np.median(off, axis=0)
    return {
        "sources": len(off),
        "mean_east": mean[0],
        "mean_north": mean[1],
        "absolute_rms": float(np.sqrt(np.mean(off**2))),
        "relative_rms": float(np.sqrt(np.mean((off - mean) ** 2))),
        "relative_mad": float(1.4826 * np.median(np.abs(off - middle))),
        "stars": {"sources": int(star.sum()), "rms": float(np.sqrt(np.mean(off[star] ** 2))) if star.any() else None},
        "east": off[:, 0].tolist(),
        "north": off[:, 1].tolist(),
        "is_star": star.tolist(),
    }


def photometric(found: Found, true: Truth, partner: Indices, i: int) -> dict[str, Any]:
    """Fluxes of bright isolated sources over the true ones, and the pulls of their errors, in one filter."""
    chosen = bright(found, true, partner)
    flux, error, light = found.flux[chosen, i], found.error[chosen, i], true.light[partner[chosen], i]
    good = found.whole[chosen, i] & photoz.usable(flux, error) & (light > BRIGHT_SNR * error)
    flux, error, light, star = (one[good] for one in (flux, error, light, true.star[partner[chosen]]))
    kinds = {kind: ratios(flux[of], error[of], light[of]) for kind, of in (("stars", star), ("galaxies", ~star))}
    return {
        **ratios(flux, error, light), **kinds, "magnitude": (23.9 - 2.5 * np.log10(light)).tolist(),
        "ratio": (flux / light).tolist(), "is_star": star.tolist(),
    }  # fmt: skip


def ratios(flux: Array, error: Array, light: Array) -> dict[str, Any]:
    """Bias of fluxes, over the flux, its own error, and median and width of their pulls."""
    if not len(flux):
        return {"sources": 0, "bias": None, "bias_error": None, "pull_median": None, "pull_width": None}
    ratio = flux / light
    spread = 1.4826 * np.median(np.abs(ratio - np.median(ratio)))
    pull = pulls(flux, error, light, np.ones(len(flux), bool))
    return {
        "sources": len(flux), "bias": float(np.median(ratio) - 1),
        "bias_error": float(1.25 * spread / len(flux) ** 0.5), "pull_median": pull["median"], "pull_width": pull["mad"],
    }  # fmt: skip


def deblended(found: Found, members: Truth, reference: int) -> list[dict[str, Any]]:
    """Fraction of close pairs of which both are in the catalogue, by separation.

    Parameters
    ----------
    found : Found
    members : Truth
        With blends apart.
    reference : int
        Filter whose light counts.
    """
    light = members.light[:, reference]
    close = matching.pairs(members.xy, light, SEPARATIONS[0], SEPARATIONS[-1], PAIR_RATIO, PAIR_ALONE)
    fit = members.covered & (members.snr > COMPLETE_SNR)
    keep = fit[close.first] & fit[close.second]
    radius = np.full(len(light), PAIR_WITHIN)
    partner = matching.match(found.xy, members.xy, radius, found.flux[:, reference], light)
    has = np.isin(np.arange(len(light)), partner)
    both = has[close.first] & has[close.second]
    return completeness.fractions(close.separation[keep], both[keep], SEPARATIONS)


def redshift_scores(found: Found, true: Truth, partner: Indices) -> dict[str, Any]:
    """Photometric redshifts of galaxies against the true ones, all and the sure ones, and how honest P(z) is."""
    chosen = np.flatnonzero((partner >= 0) & np.isfinite(found.z))
    of = partner[chosen]
    keep = ~true.star[of] & (true.snr[of] > PHOTOZ_SNR) & true.single[of]
    chosen, z = chosen[keep], true.z[of[keep]]
    mine, risk = found.z[chosen], found.risk[chosen]
    sure = risk < photoz.SURE
    below = photoz.below(found.grid, found.pz[chosen], z)
    return {
        **photoz.score(mine, z),
        "sure": photoz.score(mine[sure], z[sure]),
        "within_68": float(np.mean((below > 0.16) & (below < 0.84))) if len(below) else None,
        "true": z.tolist(), "found": mine.tolist(), "risk": risk.tolist(),
        "below": np.histogram(below, 10, (0, 1))[0].tolist(),
    }  # fmt: skip
