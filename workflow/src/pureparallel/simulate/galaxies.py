"""Galaxies of the simulated sky: types, redshifts, masses, spectra, lines and shapes at given magnitudes.

Each distribution stands with the paper that measured it. What is not simulated: clustering, lensing, galaxies of
several components, colour gradients, active nuclei.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import sed

Array = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

REDSHIFTS = (0.1, 8.0)


@dataclass(frozen=True)
class Population:
    """What galaxies of one type have in common; distributions are normal, `(mean, sigma)`, unless said.

    Attributes
    ----------
    alpha, z0, slope : float
        p(z|m) ∝ z^alpha exp(-(z/zm)^alpha) with zm = z0 + slope (I - 20), of Benítez (2000, ApJ 536, 571, table 1).
    colour : float
        I - F150W, AB, to use it with our magnitudes.
    ebv : (float, float)
        Median, and sigma in dex.
    slope_uv, slope_optical, slope_nir, break_ratio : (float, float)
        See `sed.galaxy_shape`.
    break_micron : float
    mass_to_light : float
        log10 of M/L_V in solar units today; it falls as (1+z)^-0.8.
    size, size_redshift, size_mass, size_scatter : float
        Semi-major half-light radius at 5e10 solar masses and z = 0 [kpc], powers of (1+z) and of the mass, and dex
        (van der Wel et al. 2014, ApJ 788, 28), taken beyond z = 3 as they are.
    sersic : float
        Median of the index; 0.15 dex of scatter.
    """

    alpha: float
    z0: float
    slope: float
    colour: float
    ebv: tuple[float, float]
    slope_uv: tuple[float, float]
    slope_optical: tuple[float, float]
    slope_nir: tuple[float, float]
    break_ratio: tuple[float, float]
    break_micron: float
    mass_to_light: float
    size: float
    size_redshift: float
    size_mass: float
    size_scatter: float
    sersic: float


_EARLY = {"alpha": 2.46, "z0": 0.431, "slope": 0.0913}
_SPIRAL = {"alpha": 1.81, "z0": 0.390, "slope": 0.0636}
_IRREGULAR = {"alpha": 0.91, "z0": 0.0626, "slope": 0.123}
_EARLY_SIZE = {"size": 5.6, "size_redshift": -1.48, "size_mass": 0.75, "size_scatter": 0.15}
_LATE_SIZE = {"size": 8.9, "size_redshift": -0.75, "size_mass": 0.22, "size_scatter": 0.18}

POPULATIONS = {
    "quiescent": Population(
        **_EARLY, colour=1.6, **_EARLY_SIZE, sersic=3.5, mass_to_light=0.5, ebv=(0.03, 0.20), slope_uv=(1.5, 0.3),
        slope_optical=(-0.3, 0.1), slope_nir=(-1.5, 0.1), break_ratio=(2.1, 0.15), break_micron=0.395,
    ),
    "star-forming": Population(
        **_SPIRAL, colour=0.9, **_LATE_SIZE, sersic=1.3, mass_to_light=0.0, ebv=(0.12, 0.25), slope_uv=(-1.9, 0.2),
        slope_optical=(-1.2, 0.2), slope_nir=(-1.7, 0.1), break_ratio=(1.45, 0.1), break_micron=0.376,
    ),
    "dusty": Population(
        **_SPIRAL, colour=1.2, **_LATE_SIZE, sersic=1.3, mass_to_light=0.4, ebv=(0.50, 0.10), slope_uv=(-1.9, 0.2),
        slope_optical=(-1.1, 0.2), slope_nir=(-1.7, 0.1), break_ratio=(1.50, 0.1), break_micron=0.376,
    ),
    "young": Population(
        **_IRREGULAR, colour=0.4, **_LATE_SIZE, sersic=1.0, mass_to_light=-0.7, ebv=(0.05, 0.30), slope_uv=(-2.3, 0.15),
        slope_optical=(-2.0, 0.2), slope_nir=(-2.0, 0.1), break_ratio=(1.15, 0.1), break_micron=0.372,
    ),
}  # fmt: skip
"""Spectral slopes, breaks, dust and M/L: chosen to look like templates of each kind, not fitted to a survey."""

TYPES = tuple(POPULATIONS)

DUSTY_FRACTION = 0.2
"""Of the spirals."""

EARLY_BEND = 2e10
"""Solar masses, below which the sizes of quiescent galaxies no longer fall with mass (van der Wel et al. 2014)."""


def type_fractions(magnitude: Array) -> Array:
    """Share of each of `TYPES`, shape (n, types), by F150W magnitude (Benítez 2000: E/S0, spirals, irregulars)."""
    faint = np.clip(np.asarray(magnitude, float) + 0.9 - 20, 0, 12)  # I - F150W of the mean galaxy
    early, spiral = 0.35 * np.exp(-0.450 * faint), 0.50 * np.exp(-0.147 * faint)
    return np.stack([early, spiral * (1 - DUSTY_FRACTION), spiral * DUSTY_FRACTION, 1 - early - spiral], axis=-1)


def draw_redshifts(kind: Population, magnitude: Array, rng: np.random.Generator) -> Array:
    """Redshifts of galaxies of one type at F150W magnitudes, within `REDSHIFTS`."""
    from scipy.special import gammainc, gammaincinv

    faint = np.clip(magnitude + kind.colour - 20, 0, 12)
    scale = kind.z0 + kind.slope * faint
    shape = (kind.alpha + 1) / kind.alpha  # (z/zm)^alpha is gamma-distributed
    low, high = (gammainc(shape, (z / scale) ** kind.alpha) for z in REDSHIFTS)
    drawn = gammaincinv(shape, rng.uniform(low, high)) ** (1 / kind.alpha)
    return np.clip(scale * drawn, *REDSHIFTS)


def _normal(rng: np.random.Generator, mean: Array, sigma: Array, low: float, high: float) -> Array:
    return np.clip(rng.normal(mean, sigma), low, high)


def draw(magnitude: Array, rng: np.random.Generator) -> Columns:
    """Everything but the positions of galaxies of given F150W magnitudes.

    Parameters
    ----------
    magnitude : ndarray, shape (n,)
    rng : Generator

    Returns
    -------
    dict of ndarray, shape (n,)
        Columns of the table of sources.
    """
    count = len(magnitude)
    index = (rng.uniform(size=(count, 1)) > np.cumsum(type_fractions(magnitude), axis=1)[:, :-1]).sum(axis=1)
    z = np.empty(count)
    for i, kind in enumerate(POPULATIONS.values()):
        z[index == i] = draw_redshifts(kind, magnitude[index == i], rng)

    def of(name: str) -> NDArray[Any]:
        return np.array([getattr(kind, name) for kind in POPULATIONS.values()])[index]

    ebv, uv, optical, nir, step = (
        of(name) for name in ("ebv", "slope_uv", "slope_optical", "slope_nir", "break_ratio")
    )
    shape: Columns = {
        "z": z,
        "ebv": np.minimum(ebv[:, 0] * 10 ** rng.normal(0, ebv[:, 1]), 1.2),
        "slope_uv": rng.normal(uv[:, 0], uv[:, 1]),
        "slope_optical": rng.normal(optical[:, 0], optical[:, 1]),
        "slope_nir": rng.normal(nir[:, 0], nir[:, 1]),
        "break_micron": of("break_micron"),
        "break_ratio": _normal(rng, step[:, 0], step[:, 1], 1.0, 2.6),
    }
    columns = {"sed_type": np.array(TYPES)[index], "mag_ref": magnitude} | shape
    columns |= _normalised(shape, magnitude, index, of("mass_to_light"), rng)
    columns |= _structure(z, columns["log_mass"], index, of, rng)
    return columns


def _normalised(shape: Columns, magnitude: Array, index: NDArray[np.int64], light: Array, rng: Any) -> Columns:
    """Mass, lines and the continuum's flux: together they have the given magnitude exactly."""
    z = shape["z"]
    column = {name: values[:, None] for name, values in shape.items()}
    wave, _ = sed.filter_grid(sed.REFERENCE_FILTER)
    rest = np.array([0.55, 0.656461])  # V, Hα
    reference, visual, at_ha = sed.galaxy_shape(
        np.column_stack([np.full(len(z), sed.REFERENCE_WAVE), rest * (1 + z)[:, None]]), **column
    ).T
    continuum = sed.galaxy_shape(wave, **column) / reference[:, None]
    fnu = 10 ** (-0.4 * (magnitude + 48.6))
    nothing = np.zeros((len(z), 1))
    level = fnu / sed.mean_fnu(sed.REFERENCE_FILTER, continuum, nothing + sed.REFERENCE_WAVE, nothing)
    log_mass = np.clip(_log_luminosity(level * visual / reference, z) + light - 0.8 * np.log10(1 + z), 6.5, 12)

    ew, abundance = _line_strength(log_mass, z, index, rng)
    over_continuum = ew * (1 + z) * at_ha / reference  # Hα over the continuum at the reference wavelength
    fluxes = _family_fluxes(over_continuum, abundance, shape["ebv"], rng)
    waves, each = _line_arrays(fluxes, z)
    scale = fnu / sed.mean_fnu(sed.REFERENCE_FILTER, continuum, waves, each)
    found: Columns = {"flux_continuum": scale, "log_mass": log_mass, "abundance": abundance, "ew_ha": ew}
    found["sigma_kms"] = np.clip(10 ** (1.89 + 0.34 * (log_mass - 10) + rng.normal(0, 0.1, len(z))), 20, 350)
    return found | {family.column: fluxes[family.name] * scale for family in sed.FAMILIES}


def _cosmology() -> Any:
    from astropy.cosmology import FlatLambdaCDM

    return FlatLambdaCDM(H0=70, Om0=0.3)


def _log_luminosity(flux: Array, z: Array) -> Array:
    """log10 of L_V in solar units, from the observed f_λ at 0.55 (1+z) micron; the Sun has M_V of 4.81 (AB)."""
    angstrom = 5500 * (1 + z)
    apparent = sed.ab(flux * angstrom**2 / sed.LIGHT_SPEED)
    absolute = apparent - _cosmology().distmod(z).value + 2.5 * np.log10(1 + z)
    return -0.4 * (absolute - 4.81)


def _line_strength(
    log_mass: Array, z: Array, index: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Equivalent width of Hα at rest [Å] and 12 + log(O/H).

    EW ∝ M^-0.25 (1+z)^1.8 with 0.3 dex of scatter (Fumagalli et al. 2012, ApJ 757, L22; below 1e9 solar masses, where
    nothing was measured, as at 1e9), (1+z)^1.3 beyond z = 2
    (Faisst et al. 2016, ApJ 821, 122); with 20 Å at 1e10 solar masses today, that meets the 300 Å at z = 4.5 of
    Mármol-Queraltó et al. (2016, MNRAS 460, 3587). Abundances: the mass-metallicity relation of Sanders et al. (2021,
    ApJ 914, 19) near 1e10 solar masses, 0.11 dex lower per unit redshift.
    """
    young, quiescent = index == TYPES.index("young"), index == TYPES.index("quiescent")
    early, late = np.minimum(1 + z, 3), np.maximum((1 + z) / 3, 1)
    typical = 20 * 10 ** (-0.25 * (np.maximum(log_mass, 9) - 10)) * early**1.8 * late**1.3 * np.where(young, 1.6, 1.0)
    ew = np.where(quiescent, 1.5, typical) * 10 ** rng.normal(0, 0.3, len(z))
    abundance = 8.77 + 0.29 * (log_mass - 10) - 0.11 * np.minimum(z, 4) + rng.normal(0, 0.1, len(z))
    return np.minimum(ew, 3000), np.clip(abundance, 7.6, 8.75)


def _family_fluxes(ha: Array, abundance: Array, ebv: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Fluxes of all families, in the units of the observed Hα flux: intrinsic ratios behind the stars' own dust.

    Forbidden and helium lines scatter by 0.08 dex about the calibrations; recombination lines of hydrogen do not.
    """
    fluxes = {}
    at_ha = sed.attenuation(sed.mean_wave(sed.FAMILY["Ha"]))
    for name, ratio in sed.line_ratios(abundance).items():
        dust = 10 ** (-0.4 * ebv * (sed.attenuation(sed.mean_wave(sed.FAMILY[name])) - at_ha))
        scatter = 10 ** (rng.normal(0, 0.08, len(ha)) * (name not in sed.CASE_B))
        fluxes[name] = ha * ratio * dust * scatter
    return fluxes


def _line_arrays(fluxes: Mapping[str, Array], z: Array) -> tuple[Array, Array]:
    """Observed wavelength [micron] and flux of every single line, both of shape (n, lines)."""
    rest = np.concatenate([family.wavelengths for family in sed.FAMILIES])
    each = [fluxes[family.name][:, None] * family.shares for family in sed.FAMILIES]
    return rest * (1 + z)[:, None] / 1e4, np.concatenate(each, axis=1)


def _structure(z: Array, log_mass: Array, index: NDArray[np.int64], of: Any, rng: np.random.Generator) -> Columns:
    """Sizes, Sersic indices, axis ratios and position angles."""
    count = len(z)
    quiescent = index == TYPES.index("quiescent")
    mass = 10**log_mass
    mass = np.where(quiescent, np.maximum(mass, EARLY_BEND), mass) / 5e10
    radius = of("size") * (1 + z) ** of("size_redshift") * mass ** of("size_mass")
    radius = radius * 10 ** rng.normal(0, of("size_scatter"))
    arcsec = radius / _cosmology().kpc_proper_per_arcmin(z).value * 60
    # randomly inclined oblate discs and, rounder, spheroids
    thickness = np.where(quiescent, rng.normal(0.6, 0.12, count), rng.normal(0.25, 0.05, count))
    thickness = np.clip(thickness, 0.12, 0.95)
    cosine = rng.uniform(0, 1, count)
    return {
        "re_arcsec": arcsec,
        "sersic_n": np.clip(of("sersic") * 10 ** rng.normal(0, 0.15, count), 0.5, 5.0),
        "axis_ratio": np.sqrt(thickness**2 + (1 - thickness**2) * cosine**2),
        "pa_deg": rng.uniform(0, 180, count),
    }
