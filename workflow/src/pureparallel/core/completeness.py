"""How complete and how pure a catalogue is: expected signal to noise, and fractions with their uncertainty."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PSF_SIGMA = 0.055
"""Arcsec, of a Gaussian as wide as the core of NIRISS's point-spread function in a drizzled mosaic (FWHM 0.13")."""

HALF_LIGHT = 1.1774
"""Half-light radius of a Gaussian over its sigma."""


def expected_snr(flux: Array, noise: Array, radius: Array, pixel: float) -> Array:
    """Signal to noise of sources for a filter that is matched to them, all bands together.

    Sources are taken for Gaussians of their half-light radius, blurred by the point-spread function: of those, a
    matched filter averages the noise of 4 pi sigma² pixels (e.g. Irwin 1985, MNRAS 214, 575).

    Parameters
    ----------
    flux : ndarray, shape (n, nf)
    noise : ndarray, shape (n, nf)
        Of one pixel in the same unit, free of correlations; NaN or 0 where there is no data.
    radius : ndarray, shape (n,)
        Half-light radius, circularised, arcsec.
    pixel : float
        Arcsec.

    Returns
    -------
    ndarray, shape (n,)
        0 where no band has data.
    """
    area = 4 * np.pi * (PSF_SIGMA**2 + (radius / HALF_LIGHT) ** 2) / pixel**2
    good = np.isfinite(noise) & (noise > 0)
    ratio = np.where(good, flux, 0.0) / np.where(good, noise, 1.0) / np.sqrt(area)[:, None]
    return np.sqrt(np.sum(ratio**2, axis=1))


def wilson(count: ArrayLike, total: ArrayLike, sigma: float = 1.0) -> tuple[Array, Array]:
    """Limits of a fraction of which `count` of `total` were seen (Wilson 1927); 0 and 1 where nothing was."""
    k, n = np.asarray(count, float), np.asarray(total, float)
    safe = np.maximum(n, 1)
    p, s = k / safe, sigma**2 / safe
    middle, half = (p + s / 2) / (1 + s), np.sqrt(p * (1 - p) * s + s**2 / 4) / (1 + s)
    return np.where(n > 0, middle - half, 0.0), np.where(n > 0, middle + half, 1.0)


def fractions(value: Array, success: NDArray[np.bool_], edges: Sequence[float]) -> list[dict[str, Any]]:
    """Fraction of successes in bins of a value.

    Returns
    -------
    list of dict
        Per bin ``low``, ``high``, ``sources``, ``fraction`` (NaN without sources) and its 1 sigma limits ``least`` and
        ``most``.
    """
    rows = []
    for low, high in pairwise(edges):
        inside = (value >= low) & (value < high)
        rows.append({"low": float(low), "high": float(high), **fraction(success[inside])})
    return rows


def fraction(success: NDArray[np.bool_]) -> dict[str, Any]:
    """Fraction of successes with its 1 sigma limits; NaN without any try."""
    count, total = int(success.sum()), len(success)
    least, most = wilson(count, total)
    value = count / total if total else float("nan")
    return {"sources": total, "fraction": value, "least": float(least), "most": float(most)}


def depth(rows: Sequence[dict[str, Any]], level: float = 0.5) -> float:
    """Where a fraction that falls from bin to bin crosses a level, between the bins' middles; NaN if it does not.

    Parameters
    ----------
    rows : sequence of dict
        Of `fractions`; bins without sources do not count.
    level : float
    """
    filled = [row for row in rows if row["sources"]]
    middle = [(row["low"] + row["high"]) / 2 for row in filled]
    value = [row["fraction"] for row in filled]
    for i in range(len(filled) - 1, 0, -1):  # from the faint end: a single lost bright source is not the depth
        if value[i - 1] >= level > value[i]:
            return middle[i - 1] + (value[i - 1] - level) / (value[i - 1] - value[i]) * (middle[i] - middle[i - 1])
    return float("nan")
