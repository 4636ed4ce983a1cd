"""Light of galaxies in apertures: Sersic profiles behind a mosaic's image of a star, as growth curves.

A galaxy's light outside of an aperture depends on its size and on how far its wings reach. A few rings inside of the
aperture tell both, as far as noise allows; for the rest, what galaxies are like counts.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .apertures import growth

Array = NDArray[np.float64]

INDICES = (0.5, 0.8, 1.2, 1.8, 2.7, 4.0)

REACH = 8.0
"""Half-light radii at which profiles end, softly from 7 on, as those of SDSS (Stoughton et al. 2002, AJ 123, 485)."""

USUAL, SPREAD = 1.2, 0.5
"""Sersic index before anything is measured: its middle, and the standard deviation of its natural logarithm."""

RINGS = (0.0, 0.25, 0.4, 0.55, 0.75, 1.0)
"""Edges of rings over the aperture's own axes."""

MISFIT = 0.02
"""Of the light in a ring, relative: galaxies are not quite Sersic's."""

DOUBT = 0.1
"""Relative error of what is added for light outside of an aperture."""


@dataclass(frozen=True)
class Library:
    """Growth curves of many galaxies behind one image of a star.

    Attributes
    ----------
    radius : ndarray, shape (r,)
        Pixels.
    within : ndarray, shape (m, r)
        Part of the light of each model within the radius.
    prior : ndarray, shape (m,)
        Logarithm.
    """

    radius: Array
    within: Array
    prior: Array

    def inside(self, radii: ArrayLike) -> Array:
        """Part of each model's light within radii (k,), shape (m, k)."""
        place = np.interp(np.asarray(radii, float), self.radius, np.arange(len(self.radius)))
        i = np.minimum(place.astype(int), len(self.radius) - 2)
        return self.within[:, i] + (place - i) * (self.within[:, i + 1] - self.within[:, i])

    def weights(self, light: Array, error: Array, radius: float) -> Array:
        """Chance of each model."""
        model = np.diff(self.inside(np.array(RINGS) * radius), axis=1)
        weight = 1 / np.hypot(error, MISFIT * np.maximum(light, 0)) ** 2
        flux = np.sum(model * light * weight, axis=1) / np.sum(model**2 * weight, axis=1)
        chi2 = np.sum((light - flux[:, None] * model) ** 2 * weight, axis=1)
        chance = np.exp(self.prior - (chi2 - chi2.min()) / 2)
        return chance / chance.sum()

    def captured(self, light: Array, error: Array, radius: float) -> tuple[float, float]:
        """Part of a galaxy's light that is inside of an aperture, and its error.

        Parameters
        ----------
        light, error : ndarray, shape (rings,)
            In rings at `RINGS` over the aperture's radius.
        radius : float
            Of the aperture, pixels: the root of the product of its axes.
        """
        part, spread = _mean(self.weights(light, error, radius), self.inside([radius])[:, 0])
        return part, float(np.hypot(spread, DOUBT * (1 - part)))

    def scale(self, light: Array, error: Array, radius: float, within: float) -> tuple[float, float]:
        """All light over that in another aperture, and its relative error.

        Parameters
        ----------
        light, error, radius
            As in `captured`.
        within : float
            Pixels, radius of the other aperture.
        """
        return _mean(self.weights(light, error, radius), 1 / self.inside([within])[:, 0])


def _mean(chance: Array, values: Array) -> tuple[float, float]:
    """Mean over chances, in the logarithm, and the standard deviation there."""
    logarithm = np.log(values)
    mean = float(chance @ logarithm)
    return float(np.exp(mean)), float(np.sqrt(chance @ (logarithm - mean) ** 2))


def library(star: Array, largest: float, smallest: float = 0.3) -> Library:
    """Growth curves of all indices and sizes.

    Parameters
    ----------
    star : ndarray, shape (2 h + 1, 2 h + 1)
        Part of a star's light in each pixel.
    largest, smallest : float
        Half-light radii, pixels.
    """
    half = star.shape[0] // 2
    edges = np.concatenate([[0.0], np.geomspace(0.25, half, 70)])
    light = np.diff(growth(star, edges))
    # the radius that halves a ring's area
    place = np.sqrt((edges[1:] ** 2 + edges[:-1] ** 2) / 2)
    radius = np.concatenate([[0.0], np.geomspace(0.3, 1.2 * REACH * largest, 90)])
    sizes = np.geomspace(smallest, largest, 40)
    widths = np.geomspace(1e-2, 2 * REACH * largest, 90)
    blurred = _blurred(light, place, widths, radius)
    within, prior = [], []
    for index in INDICES:
        sigma, weight = gaussians(index)
        for size in sizes:
            at = np.interp(np.log(np.clip(sigma * size, widths[0], widths[-1])), np.log(widths), np.arange(len(widths)))
            low = np.minimum(at.astype(int), len(widths) - 2)
            part = (at - low)[:, None]
            within.append(weight @ ((1 - part) * blurred[low] + part * blurred[low + 1]))
            prior.append(-0.5 * (np.log(index / USUAL) / SPREAD) ** 2)
    return Library(radius, np.array(within), np.array(prior))


def _blurred(light: Array, place: Array, widths: Array, radius: Array) -> Array:
    """Light within radii (r,) of rings of light (k,) at places (k,) that Gaussians of widths (w,) blur, shape (w, r).

    Light from a place that a Gaussian displaces is within a radius with the probability of a noncentral chi-squared.
    """
    from scipy.special import chndtr

    square = (radius / widths[:, None]) ** 2
    return np.array(
        [chndtr(one[:, None], 2.0, (place / w) ** 2) @ light for one, w in zip(square, widths, strict=True)]
    )


@cache
def gaussians(index: float) -> tuple[Array, Array]:
    """Gaussians whose sum is a Sersic profile that ends at `REACH` (after Hogg & Lang 2013, PASP 125, 719).

    Parameters
    ----------
    index : float
        0.5 to 4.

    Returns
    -------
    sigma, weight : ndarray, shape (g,)
        Widths over the half-light radius of what is left of the profile, and shares of its light.
    """
    from scipy.optimize import nnls
    from scipy.special import gammaincinv

    radius = np.geomspace(1e-3, 1.3 * REACH, 160)
    end = np.clip((REACH + 0.5 - radius) / 1.5, 0, 1)
    profile = end * np.exp(-gammaincinv(2 * index, 0.5) * radius ** (1 / index))
    sigma = np.append(np.geomspace(1e-3, REACH / 2, 60), 1 / np.sqrt(2 * np.log(2)))  # the last is an index of 0.5
    light = radius**2 * profile
    scale = radius**2 / (light + 0.01 * light.max())
    matrix = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / sigma**2 * scale[:, None]
    norm = np.linalg.norm(matrix, axis=0)
    weight, _ = nnls(matrix / norm, light / (light + 0.01 * light.max()), maxiter=5000)
    weight /= norm
    weight /= weight.sum()
    within = weight @ (1 - np.exp(-0.5 * (radius / sigma[:, None]) ** 2))
    half = float(np.interp(0.5, within, radius))
    return sigma[weight > 0] / half, weight[weight > 0]
