"""What galaxies are made of: mixtures of emission lines and of stellar light, with dust and the intergalactic medium.

Every mixture of lines is a corner of what gas in galaxies emits: non-negative sums of them reach the spectra between.
All forbidden lines come with the recombination lines that must accompany them, so that one line alone cannot be taken
for another whose companions are missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .lines import Family

Array = NDArray[np.float64]

CASE_B = {
    "Hd": 0.259, "Hg": 0.468, "Hb": 1.0, "Ha": 2.86, "PaD": 0.0555, "PaG": 0.0904, "PaB": 0.163, "PaA": 0.339,
    "BrG": 0.0275, "BrB": 0.0449, "BrA": 0.0803, "H8": 0.15, "HeI-5877": 0.12, "HeI-7067": 0.03,
}  # fmt: skip
"""Hydrogen and helium over Hβ: case B at 10^4 K (Storey & Hummer 1995, MNRAS 272, 41); H8 with its blend of HeI."""

MIXTURES: dict[str, dict[str, float]] = {
    "metal-rich": {
        "OII": 1.8, "OIII": 0.4, "NII": 1.7, "SII": 1.0, "OI": 0.1, "SIII": 0.35, "HeI-10833": 0.3, "ArIII": 0.04,
        "FeII-12570": 0.05, "FeII-16440": 0.05,
    },
    "typical": {
        "OII": 3.0, "NeIII": 0.3, "OIII": 3.3, "NII": 0.45, "SII": 0.75, "OI": 0.1, "SIII": 0.8, "HeI-10833": 0.5,
        "ArIII": 0.12, "OII-7325": 0.1,
    },
    "low-ionisation": {
        "OII": 6.0, "NeIII": 0.2, "OIII": 1.4, "NII": 0.9, "SII": 1.6, "OI": 0.4, "SIII": 0.6, "HeI-10833": 0.4,
        "OII-7325": 0.15,
    },
    "high-ionisation": {
        "OII": 0.6, "NeIII": 0.75, "OIII-4364": 0.12, "OIII": 10.0, "NII": 0.03, "SII": 0.12, "SIII": 0.4,
        "HeI-10833": 0.8, "ArIII": 0.06,
    },
    "active nucleus": {
        "MgII": 3.0, "NeV-3427": 0.8, "OII": 3.0, "NeIII": 1.3, "HeII-4687": 0.3, "OIII": 16.0, "NII": 3.5, "SII": 2.0,
        "OI": 0.6, "SIII": 1.2, "HeI-10833": 2.0,
    },
    "far-ultraviolet": {
        "CIV": 1.2, "HeII-1640": 0.9, "OIII-1666": 1.2, "CIII-1908": 3.0, "OII": 0.6, "NeIII": 0.75, "OIII-4364": 0.12,
        "OIII": 10.0, "NII": 0.03, "SII": 0.12, "SIII": 0.4, "HeI-10833": 0.8, "ArIII": 0.06,
    },
    "near-infrared": {"SII": 0.8, "NII": 0.8, "SIII": 2.6, "HeI-10833": 2.6, "FeII-12570": 0.25, "FeII-16440": 0.25},
}  # fmt: skip
"""Flux of whole families over Hβ before dust, in addition to `CASE_B`. Chosen to enclose what surveys find: nebulae and
star-forming galaxies from low to high abundance (Kewley et al. 2019, ARA&A 57, 511; Bian, Kewley & Dopita 2018, ApJ
859, 175), active nuclei, the far ultraviolet of young metal-poor galaxies (Stark et al. 2014, MNRAS 445, 3200), the
spread of [SIII] and HeI 10833 (Brinchmann 2023, MNRAS 525, 2087), and [FeII] over Paβ up to that of Seyfert galaxies
(Larkin et al. 1998, ApJS 114, 59)."""

REDDENED = ("metal-rich", "typical", "low-ionisation", "active nucleus")
"""Mixtures that are also there behind dust of `DUST`."""

DUST = 0.8
"""E(B-V) of reddened lines: sums with the unreddened ones reach what lies between."""

STELLAR_DUST = {"hot": (0.0, 0.35, 0.9), "a": (0.0, 0.4), "g": (0.0, 0.6), "cool": (0.0, 1.0), "m": (0.0,)}
"""E(B-V) at which each type of star is a continuum template."""


@dataclass(frozen=True)
class Mixtures:
    """Emission-line templates over a list of single lines.

    Attributes
    ----------
    names : tuple of str, length t
    wavelengths : ndarray, shape (l,)
        Rest frame, vacuum, Å.
    ratios : ndarray, shape (l, t)
        Flux of each line in each template; every column's largest is 1.
    """

    names: tuple[str, ...]
    wavelengths: Array
    ratios: Array


def attenuation(wavelength: ArrayLike) -> Array:
    """k(λ) of starburst galaxies, Calzetti et al. (2000, ApJ 533, 682): A(λ) = k(λ) E(B-V).

    Parameters
    ----------
    wavelength : array_like
        Å. The curve is continued below 1200 Å, and beyond 2.2 μm until it falls to zero.
    """
    inverse = 1e4 / np.asarray(wavelength, float)
    blue = 2.659 * (-2.156 + 1.509 * inverse - 0.198 * inverse**2 + 0.011 * inverse**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 * inverse) + 4.05
    return np.maximum(np.where(inverse > 1 / 0.63, blue, red), 0.0)


def reddening(wavelength: ArrayLike, ebv: float) -> Array:
    """Fraction of light that dust lets through."""
    return 10 ** (-0.4 * ebv * attenuation(wavelength))


_FOREST = ((1215.67, 1.690e-2, 2.354e-3, 1.026e-4), (1025.72, 4.692e-3, 6.536e-4, 2.849e-5))
"""Lyα and Lyβ [Å] and the amplitudes of their forest's optical depth, Inoue et al. (2014, table 2)."""


def transmission(wavelength: ArrayLike, z: ArrayLike, sigma: float = 1e-4) -> Array:
    """Mean transmission of the intergalactic medium, Inoue et al. (2014, MNRAS 442, 1805), Lyα and Lyβ alone.

    Parameters
    ----------
    wavelength : array_like
        Rest frame, Å; nothing comes through below 912.
    z : array_like
        Broadcast against `wavelength`.
    sigma : float
        Of the Gaussian in ln(wavelength) that blurs the steps.
    """
    from scipy.special import erfc

    rest, redshift = np.broadcast_arrays(np.asarray(wavelength, float), np.asarray(z, float))
    through = np.ones(rest.shape)
    if rest.min(initial=np.inf) > 1300:
        return through
    for line, low, middle, high in _FOREST:
        ratio = rest * (1 + redshift) / line  # 1 + redshift of the gas that absorbs here
        tau = np.select([ratio < 2.2, ratio < 5.7], [low * ratio**1.2, middle * ratio**3.7], high * ratio**5.5)
        below = 0.5 * erfc(np.log(rest / line) / sigma / np.sqrt(2))
        through *= 1 - below * np.where(ratio >= 1, -np.expm1(-tau), 0.0)
    return through * (1 - 0.5 * erfc(np.log(rest / 911.75) / sigma / np.sqrt(2)))


def mixtures(families: Sequence[Family]) -> Mixtures:
    """Emission-line templates from the line list.

    Parameters
    ----------
    families : sequence of Family
        All of resources/lines.ecsv; those that are fitted only as blends are left out: here, ratios do their work.
    """
    single = {family.name: family for family in families if family.resolution != "low"}
    owner = [name for name, family in single.items() for _ in family.wavelengths]
    wavelengths = np.concatenate([family.wavelengths for family in single.values()])
    shares = np.concatenate([family.fractions for family in single.values()])

    def column(fluxes: Mapping[str, float], ebv: float) -> Array:
        flux = np.array([fluxes.get(name, 0.0) for name in owner]) * shares * reddening(wavelengths, ebv)
        return flux / flux.max()

    columns = {name: column(CASE_B | extra, 0.0) for name, extra in MIXTURES.items()}
    columns |= {f"{name}, reddened": column(CASE_B | MIXTURES[name], DUST) for name in REDDENED}
    columns["Lya"] = column({"Lya": 1.0}, 0.0)  # scattered as it is, it tells nothing of other lines
    ratios = np.stack(list(columns.values()), axis=1)
    used = ratios.max(axis=1) > 0
    return Mixtures(tuple(columns), wavelengths[used], ratios[used])


@dataclass(frozen=True)
class Continuum:
    """Stellar light in the rest frame.

    Attributes
    ----------
    wavelength : ndarray, shape (n,)
        Å, increasing, in equal steps of its logarithm.
    flux : ndarray, shape (k, n)
        Per unit wavelength, arbitrary units.
    sigma : float
        Of the Gaussian in ln(wavelength) that it has been convolved with.
    """

    wavelength: Array
    flux: Array
    sigma: float = 1e-4

    def smoothed(self, sigma: float) -> "Continuum":
        """Convolved with a Gaussian of sigma in ln(wavelength)."""
        from scipy.ndimage import gaussian_filter1d

        step = float(np.log(self.wavelength[-1] / self.wavelength[0])) / (len(self.wavelength) - 1)
        return Continuum(self.wavelength, gaussian_filter1d(self.flux, sigma / step, axis=1, mode="nearest"), sigma)

    def observed(self, wavelength: Array, z: Array) -> Array:
        """Templates at redshifts `z` (m,) and observed wavelengths (n,) in Å, shape (m, k, n)."""
        rest = wavelength / (1 + z[:, None])
        place = np.log(rest / self.wavelength[0]) / np.log(self.wavelength[1] / self.wavelength[0])
        left = np.clip(place.astype(int), 0, len(self.wavelength) - 2)
        part = np.clip(place - left, 0, 1)
        found = self.flux[:, left] * (1 - part) + self.flux[:, left + 1] * part
        return (found * transmission(rest, z[:, None], self.sigma)).transpose(1, 0, 2)


def continuum(wavelength: Array, types: Mapping[str, Array]) -> Continuum:
    """Continuum templates: types of stars, each at the reddenings of `STELLAR_DUST`.

    Parameters
    ----------
    wavelength : ndarray, shape (n,)
        Å, rest frame, in equal steps of the logarithm.
    types : mapping of str to ndarray, shape (n,)
        Columns of resources/continuum.ecsv.
    """
    flux = [types[name] * reddening(wavelength, ebv) for name, values in STELLAR_DUST.items() for ebv in values]
    return Continuum(np.asarray(wavelength, float), np.array(flux))
