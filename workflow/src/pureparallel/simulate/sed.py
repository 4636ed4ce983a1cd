"""Spectra of simulated sources: continua of few parameters, dust, the intergalactic medium and emission lines.

A galaxy's continuum is a broken power law in the rest frame with a step at the Balmer or 4000 Å break, reddened
(Calzetti et al. 2000) and absorbed by the intergalactic medium (Inoue et al. 2014). A star is a black body with
the water bands of cool atmospheres. Lines follow from the flux of Hα, the oxygen abundance and the same dust.
Everything that a spectrum needs stands in its row of the table of sources, see `pureparallel.simulate.sky`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import instrument

Array = NDArray[np.float64]

LIGHT_SPEED = 2.99792458e18
"""Å/s."""

REFERENCE_FILTER = "F150W"
"""The filter of `mag_ref`: no redshift below 10 brings the Lyman break into it."""

REFERENCE_WAVE = 1.5
"""Wavelength of the column `flux_continuum`, micron."""

BREAK_WIDTH = 0.035
"""Width of the Balmer or 4000 Å break in ln(wavelength): the crowded lines of either side, not one edge."""

SAMPLES = 401
"""Wavelengths over a filter in `magnitude`."""


@dataclass(frozen=True)
class Family:
    """Lines whose ratios atomic physics fixes (or, for [OII], [SII] and CIII], their low-density limit).

    Attributes
    ----------
    name : str
        As in the line list of the redshift fits.
    wavelengths : tuple of float
        Rest frame, vacuum, Å.
    ratios : tuple of float
        Flux relative to the first line.
    """

    name: str
    wavelengths: tuple[float, ...]
    ratios: tuple[float, ...] = (1.0,)

    @property
    def column(self) -> str:
        """Column of the whole family's flux in the table of sources."""
        return "flux_" + self.name.replace("-", "_")

    @cached_property
    def shares(self) -> Array:
        """Share of the family's flux in each line, shape (lines,)."""
        return np.array(self.ratios) / sum(self.ratios)


FAMILIES = (
    Family("CIII-1908", (1906.683, 1908.734), (1, 0.7)),
    Family("OII", (3727.092, 3729.875), (1, 1.4)),
    Family("NeIII", (3869.86, 3968.59), (1, 0.301)),
    Family("Hd", (4102.892,)),
    Family("Hg", (4341.684,)),
    Family("Hb", (4862.683,)),
    Family("OIII", (5008.240, 4960.295), (1, 0.336)),
    Family("HeI-5877", (5877.25,)),
    Family("Ha", (6564.61,)),
    Family("NII", (6585.27, 6549.86), (1, 0.338)),
    Family("SII", (6718.29, 6732.67), (1, 0.75)),
    Family("SIII", (9533.2, 9071.1), (1, 0.405)),
    Family("HeI-10833", (10833.3,)),
    Family("PaG", (10941.09,)),
    Family("PaB", (12821.59,)),
    Family("PaA", (18756.13,)),
)
"""Wavelengths and ratios of resources/lines.ecsv (a test compares them). Lyα is absent: where NIRISS could see it,
beyond z of 5.6, the simulated intergalactic medium lets nothing through."""

FAMILY = {family.name: family for family in FAMILIES}

CASE_B = {"Ha": 2.86, "Hb": 1.0, "Hg": 0.468, "Hd": 0.259, "PaG": 0.0904, "PaB": 0.163, "PaA": 0.339}
"""Recombination lines over Hβ, case B, 10^4 K, 100 cm-3 (Osterbrock & Ferland 2006; Storey & Hummer 1995)."""

HELIUM = {"HeI-5877": 0.13, "HeI-10833": 0.4}
"""Over Hβ: 5877 is case B for He/H of 0.1; 10833 has what collisions from the metastable level add (Benjamin, Skillman
& Smits 1999), some eight times 4471 Å."""


class Line(NamedTuple):
    """One observed line: its name, wavelength [micron], flux [erg/s/cm2] and velocity dispersion [km/s]."""

    name: str
    wave_micron: float
    flux: float
    sigma_kms: float


def attenuation(wave_micron: ArrayLike) -> Array:
    """k(λ) of starbursts, Calzetti et al. (2000, ApJ 533, 682, eq. 4): A(λ) = k(λ) E(B-V).

    Below 0.12 micron its polynomial is extrapolated; beyond 2.2 micron, k falls to 0 and stays there.
    """
    wave = np.asarray(wave_micron, float)
    inverse = 1 / wave
    blue = 2.659 * (-2.156 + 1.509 * inverse - 0.198 * inverse**2 + 0.011 * inverse**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 * inverse) + 4.05
    return np.maximum(np.where(wave < 0.63, blue, red), 0.0)


_FOREST = (
    (1215.67, 1.690e-2, 2.354e-3, 1.026e-4),
    (1025.72, 4.692e-3, 6.536e-4, 2.849e-5),
    (972.54, 2.239e-3, 3.119e-4, 1.360e-5),
)
"""Lyα, Lyβ, Lyγ [Å] and the amplitudes of their forest's optical depth, Inoue et al. (2014, table 2)."""


def igm_transmission(wave_micron: ArrayLike, z: ArrayLike) -> Array:
    """Mean transmission of the intergalactic medium: the forest of Inoue et al. (2014, MNRAS 442, 1805, eq. 21).

    Simplified: three Lyman lines, no damped absorbers, and nothing comes through below 912 Å at rest.

    Parameters
    ----------
    wave_micron : array_like
        Observed.
    z : array_like
        Broadcast against `wave_micron`.
    """
    observed, redshift = np.broadcast_arrays(np.asarray(wave_micron, float) * 1e4, np.asarray(z, float))
    if np.all(observed >= _FOREST[0][0] * (1 + redshift)):
        return np.ones(observed.shape)  # what nearly every call asks for
    depth = np.zeros(observed.shape)
    for line, low, middle, high in _FOREST:
        ratio = observed / line
        tau = np.select([ratio < 2.2, ratio < 5.7], [low * ratio**1.2, middle * ratio**3.7], high * ratio**5.5)
        depth += np.where((ratio >= 1) & (ratio < 1 + redshift), tau, 0.0)
    return np.where(observed < 911.75 * (1 + redshift), 0.0, np.exp(-depth))


def galaxy_shape(
    wave_micron: Array,
    *,
    z: ArrayLike,
    ebv: ArrayLike,
    slope_uv: ArrayLike,
    slope_optical: ArrayLike,
    slope_nir: ArrayLike,
    break_micron: ArrayLike,
    break_ratio: ArrayLike,
) -> Array:
    """Continuum f_λ of a galaxy, in arbitrary units; all arguments broadcast.

    Parameters
    ----------
    wave_micron : ndarray
        Observed.
    z, ebv : array_like
        Redshift; E(B-V) of stars and gas alike.
    slope_uv, slope_optical, slope_nir : array_like
        d ln f_λ / d ln λ before dust below 0.4, at 0.4-1 and at 1-1.6 micron; 1.5 steeper beyond, where the H- opacity
        minimum ends (the 1.6 micron bump).
    break_micron, break_ratio : array_like
        Rest wavelength of the break and f_λ behind over f_λ before it.
    """
    from scipy.special import erf

    rest = np.asarray(wave_micron, float) / (1 + np.asarray(z, float))
    x = np.log(rest)
    optical, near, far = np.log(0.4), np.log(1.0), np.log(1.6)
    log_flux = np.asarray(slope_uv) * np.minimum(x - optical, 0)
    log_flux = log_flux + np.asarray(slope_optical) * np.clip(x - optical, 0, near - optical)
    log_flux = log_flux + np.asarray(slope_nir) * np.clip(x - near, 0, far - near)
    log_flux = log_flux + (np.asarray(slope_nir) - 1.5) * np.maximum(x - far, 0)
    step = 0.5 * (1 + erf((x - np.log(break_micron)) / BREAK_WIDTH))
    log_flux = log_flux + np.log(break_ratio) * step
    dust = 10 ** (-0.4 * np.asarray(ebv) * attenuation(rest))
    return np.exp(log_flux) * dust * igm_transmission(wave_micron, z)


def star_shape(wave_micron: Array, *, teff: ArrayLike) -> Array:
    """f_λ of a star, in arbitrary units: a black body, below 4000 K with the 1.4 and 1.9 micron bands of water.

    The bands' depth grows linearly to 40 % at 2500 K: chosen to look like late M dwarfs, not a model atmosphere.
    """
    wave, temperature = np.asarray(wave_micron, float), np.asarray(teff, float)
    planck = (wave / REFERENCE_WAVE) ** -5 / np.expm1(14387.77 / (wave * temperature))
    depth = np.clip((4000 - temperature) / 1500, 0, 1.2) * 0.4
    bands = np.exp(-0.5 * ((wave - 1.42) / 0.06) ** 2) + np.exp(-0.5 * ((wave - 1.90) / 0.07) ** 2)
    return planck * (1 - depth * bands)


GALAXY_COLUMNS = ("z", "ebv", "slope_uv", "slope_optical", "slope_nir", "break_micron", "break_ratio")


def spectrum(row: Mapping[str, Any], wave_micron: ArrayLike) -> Array:
    """Continuum of one source.

    Parameters
    ----------
    row : mapping
        A row of the table of sources.
    wave_micron : array_like, shape (n,)
        Observed.

    Returns
    -------
    ndarray, shape (n,)
        f_λ [erg/s/cm2/Å].
    """
    wave = np.asarray(wave_micron, float)
    shape = _shape(row, np.append(wave.ravel(), REFERENCE_WAVE))
    return float(row["flux_continuum"]) * (shape[:-1] / shape[-1]).reshape(wave.shape)


def _shape(row: Mapping[str, Any], wave: Array) -> Array:
    if str(row["kind"]) == "star":
        return star_shape(wave, teff=float(row["teff"]))
    return galaxy_shape(wave, **{name: float(row[name]) for name in GALAXY_COLUMNS})


def lines(row: Mapping[str, Any]) -> list[Line]:
    """Emission lines of one source, each line of a doublet for itself; none for a star.

    A line's name is its family's, followed by its wavelength where the family has several, as ``OIII-5008``.
    """
    if str(row["kind"]) == "star":
        return []
    stretch, sigma = (1 + float(row["z"])) / 1e4, float(row["sigma_kms"])
    found = []
    for family in FAMILIES:
        flux = float(row[family.column])
        if flux > 0:
            for wavelength, share in zip(family.wavelengths, family.shares, strict=True):
                name = family.name if len(family.wavelengths) == 1 else f"{family.name}-{wavelength:.0f}"
                found.append(Line(name, wavelength * stretch, flux * float(share), sigma))
    return found


@cache
def filter_grid(name: str) -> tuple[Array, Array]:
    """Wavelengths [micron] over a filter and its transmission there, both of shape (`SAMPLES`,), not to be changed."""
    limits = instrument.FILTERS[name]
    wave = np.linspace(limits.wave_min - 0.03, limits.wave_max + 0.03, SAMPLES)
    transmission = np.asarray(instrument.bandpass(name, wave), float)
    wave.flags.writeable = transmission.flags.writeable = False
    return wave, transmission


def mean_fnu(name: str, continuum: Array, line_waves: Array, line_fluxes: Array) -> Array:
    """Mean f_ν over a filter as a photon-counting detector takes it: ∫ f_λ T λ dλ / ∫ T c/λ dλ.

    Parameters
    ----------
    name : str
        Filter.
    continuum : ndarray, shape (..., `SAMPLES`)
        f_λ on `filter_grid` [erg/s/cm2/Å].
    line_waves, line_fluxes : ndarray, shape (..., m)
        Observed lines [micron], [erg/s/cm2].

    Returns
    -------
    ndarray, shape (...)
        erg/s/cm2/Hz.
    """
    wave, transmission = filter_grid(name)
    angstrom = wave * 1e4
    total = np.trapezoid(continuum * transmission * angstrom, angstrom, axis=-1)
    through = np.asarray(instrument.bandpass(name, line_waves), float)
    total = total + np.sum(line_fluxes * through * line_waves * 1e4, axis=-1)
    return total / np.trapezoid(transmission * LIGHT_SPEED / angstrom, angstrom)


def ab(fnu: ArrayLike) -> Array:
    """AB magnitude of f_ν [erg/s/cm2/Hz]; infinite for nothing."""
    with np.errstate(divide="ignore"):
        return -2.5 * np.log10(np.asarray(fnu, float)) - 48.6


def magnitude(row: Mapping[str, Any], filter: str) -> float:
    """AB magnitude of one source, continuum and lines, through ``instrument.bandpass``."""
    observed = lines(row)
    waves, fluxes = np.array([line.wave_micron for line in observed]), np.array([line.flux for line in observed])
    return float(ab(mean_fnu(filter, spectrum(row, filter_grid(filter)[0]), waves, fluxes)))


def line_ratios(abundance: Array) -> dict[str, Array]:
    """Fluxes of whole families over that of Hα, before dust, at an oxygen abundance.

    [OII], [OIII], [NII] and [NeIII] from R23, O32, N2 and Ne3O2 of Bian, Kewley & Dopita (2018, ApJ 859, 175), for
    analogues of galaxies at z of 2, calibrated at 7.8 to 8.4 and continued beyond. The other forbidden lines are rough,
    chosen to be of the size that star-forming galaxies have: [SII]/Hα and CIII]/Hβ linear in abundance, [SIII]/[SII]
    growing with ionisation as O32 to the power of 0.4.

    Parameters
    ----------
    abundance : ndarray
        12 + log(O/H), 7.6 to 8.75.
    """
    x = np.asarray(abundance, float)
    r23 = 10 ** (138.0430 - 54.8284 * x + 7.2954 * x**2 - 0.32293 * x**3)
    o32 = 10 ** ((8.54 - x) / 0.59)
    oxygen2 = r23 / (1 + o32)
    sulphur2 = 2.86 * 10 ** (-0.80 + 0.64 * (x - 8.4))
    over_hb = {name: np.full(x.shape, value) for name, value in (CASE_B | HELIUM).items()}
    over_hb |= {
        "OII": oxygen2,
        "OIII": oxygen2 * o32,
        "NII": 2.86 * 1.338 * 10 ** ((x - 8.82) / 0.49),  # the calibration is of 6585 Å alone
        "NeIII": 1.301 * oxygen2 * 10 ** ((7.80 - x) / 0.63),  # of 3869 Å alone
        "SII": sulphur2,
        "SIII": sulphur2 * 1.6 * o32**0.4,
        "CIII-1908": 10 ** (-0.3 - 1.2 * (x - 8.0)),
    }
    return {family.name: over_hb[family.name] / CASE_B["Ha"] for family in FAMILIES}


def mean_wave(family: Family) -> float:
    """Rest wavelength of a family [micron], weighted by flux: what its dust is evaluated at."""
    return float(family.shares @ np.array(family.wavelengths)) / 1e4
