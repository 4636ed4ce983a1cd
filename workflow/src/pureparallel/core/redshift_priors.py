"""What is known of a source's redshift before its spectrum is fitted."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

HUBBLE, MATTER = 70.0, 0.3
"""km/s/Mpc; density of matter in a flat universe."""

BRIGHT, FAINT_SLOPE = -22.0, -1.3
"""AB magnitude M* and slope of the Schechter function. Between those of the rest-frame optical and near infrared below
z of 2 and of the ultraviolet beyond (Cirasuolo et al. 2010, MNRAS 401, 1166; Bouwens et al. 2015, ApJ 803, 34): the
prior shall only exclude what would be far too luminous."""

LIGHT_SPEED = 299792.458
"""km/s."""


def luminosity(z: Array, fnu: float) -> Array:
    """ln of the prior density in z of a source of given brightness, up to a constant: volume times Schechter function.

    Parameters
    ----------
    z : ndarray, shape (z,)
        Increasing, positive.
    fnu : float
        Observed mean flux density, erg/s/cm2/Hz, positive.
    """
    fine = np.linspace(0, z[-1], 4000)
    inverse = 1 / np.sqrt(MATTER * (1 + fine) ** 3 + 1 - MATTER)
    distance = np.concatenate([[0], np.cumsum((inverse[1:] + inverse[:-1]) / 2 * np.diff(fine))])
    comoving = LIGHT_SPEED / HUBBLE * np.interp(z, fine, distance)  # Mpc
    volume = comoving**2 * np.interp(z, fine, inverse)
    absolute = -2.5 * np.log10(fnu) - 48.6 - 5 * np.log10(comoving * (1 + z) * 1e5) + 2.5 * np.log10(1 + z)
    ratio = 10 ** (-0.4 * (absolute - BRIGHT))
    return np.log(volume) + (FAINT_SLOPE + 1) * np.log(ratio) - ratio


def photometric(z: Array, grid: ArrayLike, pdf: ArrayLike, outliers: float) -> Array:
    """ln of the prior density in z from a photometric P(z), up to a constant.

    Parameters
    ----------
    z : ndarray, shape (z,)
    grid, pdf : array_like, shape (n,)
        Increasing redshifts, and P(z) there in any normalisation.
    outliers : float
        Fraction of photometric redshifts that are wrong altogether: so much of the prior is flat.

    Returns
    -------
    ndarray, shape (z,)
        Zero everywhere if the P(z) is empty.
    """
    at, density = np.asarray(grid, float), np.nan_to_num(np.asarray(pdf, float))
    density = np.interp(z, at, np.maximum(density, 0.0), left=0.0, right=0.0)
    total = float(np.sum(np.diff(z) * (density[1:] + density[:-1]) / 2))
    if total <= 0:
        return np.zeros(len(z))
    return np.log((1 - outliers) * density / total + outliers / (z[-1] - z[0]))
