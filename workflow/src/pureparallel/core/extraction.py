"""Spectra out of single cut-outs: each column's light, weighted by the source's own profile across the dispersion.

Optimal extraction (Horne 1986, PASP 98, 609) with a profile that is known beforehand, as the direct image shows it in
this roll. It is normalised over all of the source's light: what falls beside a cut-out, or on a pixel that is not
good, is made up for by the rest of the column. Columns stay the detector's own, so that their noise is independent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Image = NDArray[np.floating]

NOISY = 2.0
"""Variance of a pixel over that of its surroundings from which on it counts less than others."""

LINES = 1.5
"""Of a column's light, as if all of it came through the profile's peak: what a line may be off by in a pixel."""

ROUNDS = 4
"""Pixels of a column that may be rejected."""

LIGHT_SPEED = 2.99792458e18
"""Å/s."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a cut-out hold, n of them. NaN, and a variance of infinity, where there is nothing.

    Attributes
    ----------
    wave : ndarray, shape (n,)
        Å.
    flux, contamination, model : ndarray, shape (n,)
        Of the source without contamination, of the contamination, and of the source's own model: 1e-20 erg/s/cm2/Å.
    variance : ndarray, shape (n,)
    good : ndarray of bool, shape (ny, n)
        Pixels that were used.
    """

    wave: Array
    flux: Array
    contamination: Array
    model: Array
    variance: Array
    good: Mask


def density(wave: Array, response: Array) -> Array:
    """1e-20 erg/s/cm2/Å of a DN/s in columns at wavelengths in Å; 0 where they have no response (DN/s per μJy)."""
    microjansky = 1e-9 * LIGHT_SPEED / wave**2  # 1e-29 erg/s/cm2/Hz in units of 1e-20 erg/s/cm2/Å
    return np.divide(microjansky, response, out=np.zeros_like(microjansky), where=response > 0)


def smeared(response: Array, along: Array, samples: int) -> Array:
    """DN/s in each column of a source of a flat spectrum: near a filter's edge, its extent along the dispersion tells.

    Parameters
    ----------
    response : ndarray, shape (n,)
        Of light from the source's position, per column.
    along : ndarray, shape (2 * m + 1,)
        Light along the dispersion in the columns' direction, `samples` per pixel, the middle one at the position.
    samples : int
    """
    half = len(along) // 2 // samples
    pixels = ndimage.map_coordinates(along * samples, [np.arange(-half, half + 1) * samples + len(along) // 2], order=1)
    return ndimage.convolve1d(response, pixels / pixels.sum(), mode="nearest") if pixels.sum() > 0 else response


def profile_on(across: Array, trace: Array, rows: int, samples: int) -> Array:
    """A source's light in the pixels of each column.

    Parameters
    ----------
    across : ndarray, shape (2 * m + 1,)
        Light as it falls on pixels, `samples` per pixel, the middle one at the trace; its sum is 1.
    trace : ndarray, shape (n,)
        Row, 0-based.
    rows : int
    samples : int

    Returns
    -------
    ndarray, shape (rows, n)
        Never negative. Its columns sum to 1 where the cut-out has all of the light.
    """
    place = (np.arange(rows)[:, None] - trace) * samples + len(across) // 2
    return np.maximum(ndimage.map_coordinates(across * samples, [place], order=3, mode="constant"), 0)


def expected(variance: Array, good: Mask) -> Array:
    """Variances to weight by: one for all pixels but those that are noisier than their surroundings.

    Weights that follow a source's own photon noise are lowest where it is brightest: fluxes come out too low, and what
    is extracted of a line depends on how bright it is.

    Parameters
    ----------
    variance : ndarray, shape (ny, n)
    good : ndarray of bool, shape (ny, n)

    Returns
    -------
    ndarray, shape (ny, n)
        Infinite where a pixel is not good.
    """
    if not good.any():
        return np.full(variance.shape, np.inf)
    usual = float(np.median(variance[good]))
    around = ndimage.median_filter(np.where(good, variance, usual), 5, mode="nearest")
    return np.where(good, np.where(variance > NOISY * around, variance, usual), np.inf)


def extract(
    data: Array, contamination: Array, model: Array, variance: Array, weigh: Array, good: Mask, profile: Array,
    least: float,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """The light of each column.

    Parameters
    ----------
    data, contamination, model, variance : ndarray, shape (ny, n)
        DN/s; data with the contamination, model of the source alone.
    weigh : ndarray, shape (ny, n)
        Variances to weight by.
    good : ndarray of bool, shape (ny, n)
    profile : ndarray, shape (ny, n)
        Of `profile_on`.
    least : float
        Part of the source's light that must be on good pixels of a column.

    Returns
    -------
    flux, contamination, model, variance : ndarray, shape (n,)
        DN/s in the column; NaN, and a variance of infinity, where too little of the light was seen.
    """
    weight = np.where(good, profile / weigh, 0)
    norm = np.sum(profile * weight, axis=0)
    enough = (np.sum(profile * good, axis=0) >= least) & (norm > 0)
    weight /= np.where(enough, norm, np.inf)
    known = np.where(good, variance, 0)
    light = (
        np.sum(weight * np.where(good, image, 0), axis=0) for image in (data - contamination, contamination, model)
    )
    flux, others, own = (np.where(enough, one, np.nan) for one in light)
    return flux, others, own, np.where(enough, np.sum(weight**2 * known, axis=0), np.inf)


def reject(
    data: Array, contamination: Array, model: Array, variance: Array, good: Mask, profile: Array, nsigma: float,
    tolerance: float,
) -> Mask:  # fmt: skip
    """Good pixels that do not fit their column's light.

    What is left after the contamination and the source's own model is compared, column by column, with a multiple of
    the profile: a line is no outlier, as it is bright wherever the source is. The worst pixel of a column goes, and
    the rest is judged again without it.

    Parameters
    ----------
    data, contamination, model, variance, profile : ndarray, shape (ny, n)
    good : ndarray of bool, shape (ny, n)
    nsigma : float
        Errors by which an outlier is off.
    tolerance : float
        Part of the modelled light of source and others, there and in the rows beside, that models may miss.

    Returns
    -------
    ndarray of bool, shape (ny, n)
    """
    rest = np.where(good, data - contamination - model, 0)
    kept, across = good.copy(), np.arange(data.shape[1])
    doubt = tolerance * ndimage.maximum_filter1d(np.abs(contamination) + np.abs(model), 3, axis=0)
    # an inclined source's line has its light on fewer rows of a column than its continuum
    brightest = np.where(profile > 0.02 * profile.max(axis=0), profile.max(axis=0), 0)
    for _ in range(ROUNDS):
        weight = np.where(kept, profile / variance, 0)
        norm = np.sum(weight * profile, axis=0)
        safe = np.where(norm > 0, norm, 1)
        leverage = np.minimum(weight * profile / safe, 0.95)
        # the column's light by all other pixels
        others = (np.sum(weight * rest, axis=0) - weight * rest) / (safe * (1 - leverage))
        noise = np.sqrt(np.where(kept, variance, 1) + profile**2 / (safe * (1 - leverage)))
        limit = nsigma * noise + doubt + LINES * np.abs(others) * brightest
        excess = np.where(kept, np.abs(rest - others * profile) / limit, 0)
        worst = excess.argmax(axis=0)
        off = excess[worst, across] > 1
        if not off.any():
            break
        kept[worst[off], across[off]] = False
    return good & ~kept


def columns(
    data: Image, error: Image, bad: Mask, contamination: Image, model: Image, profile: Array, wave: Array,
    response: Array, *, least: float, nsigma: float, tolerance: float, contamination_error: float,
) -> Columns:  # fmt: skip
    """Spectrum of one cut-out on the detector's own columns.

    Parameters
    ----------
    data, error, contamination, model, profile : ndarray, shape (ny, n)
        DN/s but for the profile; NaN allowed where pixels are bad.
    bad : ndarray of bool, shape (ny, n)
    wave, response : ndarray, shape (n,)
        Å; DN/s per μJy.
    least, nsigma, tolerance : float
        See `extract` and `reject`.
    contamination_error : float
        Part of the contamination by which its model is wrong in a pixel.
    """
    good = ~bad & np.isfinite(data) & np.isfinite(error) & (error > 0) & (response > 0)
    rate, sigma = np.where(good, data, 0).astype(float), np.where(good, error, 1).astype(float)
    others, own = contamination.astype(float), model.astype(float)
    doubt = (contamination_error * others) ** 2
    variance, weigh = sigma**2 + doubt, expected(sigma**2, good) + doubt
    good &= ~reject(rate, others, own, np.maximum(weigh, variance), good, profile, nsigma, tolerance)
    *lines, spread = extract(rate, others, own, variance, weigh, good, profile, least)
    unit = density(wave, response)
    seen = np.isfinite(spread)
    spread = np.where(seen, np.where(seen, spread, 0) * unit**2, np.inf)
    flux, contaminating, modelled = (one * unit for one in lines)
    return Columns(wave, flux, contaminating, modelled, spread, good)
