"""How right redshifts are against others that are known, by flag, and how honest P(z) and the errors of lines are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import completeness, photoz, slitless
from .slitless import Band

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LINE_SNR, SEVERAL_SNR = 5.0, 3.0
"""Signal to noise from which a source is said to have a line, and from which two lines make several."""

RATIO_SNR = 10.0
"""Signal to noise of lines whose measured flux is compared with the true one."""

FLUXES = np.round(np.geomspace(1e-18, 4e-16, 9), 20).tolist()
"""Edges of bins of line flux, erg/s/cm2."""

BLENDS = {"Ha+NII": ("Ha", "NII"), "OIII-5008": ("OIII",), "OIII-4960": ("OIII",)}
"""Families of the fit that are made of others in a list of true lines."""


@dataclass(frozen=True)
class Found:
    """Fitted redshifts of n sources.

    Attributes
    ----------
    z, low, high : ndarray, shape (n,)
        NaN where there is none; 16 and 84 % of P(z).
    flag : ndarray of int, shape (n,)
    pdf, grid : ndarray, shape (n, k), (k,)
        Probability per bin.
    """

    z: Array
    low: Array
    high: Array
    flag: NDArray[np.int64]
    pdf: Array
    grid: Array

    def of(self, chosen: "Mask | NDArray[np.intp]") -> "Found":
        """Some of the sources."""
        one = self
        return Found(one.z[chosen], one.low[chosen], one.high[chosen], one.flag[chosen], one.pdf[chosen], one.grid)


def errors(found: Found, z: Array) -> Array:
    """dz/(1+z), shape (n,)."""
    return np.asarray((found.z - z) / (1 + z))


def nmad(values: Array) -> float | None:
    """Standard deviation by the median absolute deviation of what is finite; None of nothing."""
    known = values[np.isfinite(values)]
    return float(1.4826 * np.median(np.abs(known - np.median(known)))) if len(known) else None


def score(error: Array, wrong: float) -> dict[str, Any]:
    """Scatter of dz/(1+z) and fraction right: within `wrong`.

    Returns
    -------
    dict
        ``sources``; ``right`` with its limits ``right_least``, ``right_most``; ``outliers``; ``nmad``; ``bias``, median
        of those right. None where nothing counts.
    """
    right = np.abs(error) < wrong
    part = completeness.fraction(right)
    none = not len(error)
    return {
        "sources": len(error),
        "right": None if none else part["fraction"],
        "right_least": part["least"],
        "right_most": part["most"],
        "outliers": None if none else 1 - part["fraction"],
        "nmad": nmad(error),
        "bias": float(np.median(error[right])) if right.any() else None,
    }


def by_flag(found: Found, z: Array, wrong: float) -> dict[str, Any]:
    """`score` of all sources that have a redshift, and of those of each flag."""
    error, fitted = errors(found, z), np.isfinite(found.z)
    scores = {f"flag_{flag}": score(error[fitted & (found.flag == flag)], wrong) for flag in (3, 2, 1)}
    return {"all": score(error[fitted], wrong)} | scores


def calibration(found: Found, z: Array, wrong: float) -> dict[str, Any]:
    """How honest P(z) is.

    Returns
    -------
    dict
        ``sources``; ``below``, histogram in ten bins of the probability below the true redshift (even if P(z) is
        honest); ``within_68``, fraction inside of 16 to 84 %; ``pull_median`` and ``pull_width`` of those right.
    """
    fitted = np.isfinite(found.z) & (found.pdf.sum(axis=1) > 0) & (z > found.grid[0]) & (z < found.grid[-1])
    one, true = found.of(fitted), z[fitted]
    below = photoz.below(one.grid, one.pdf, true)
    inside = (one.low <= true) & (true <= one.high)
    right = np.abs(errors(one, true)) < wrong
    pull = ((one.z - true) / np.maximum((one.high - one.low) / 2, 1e-9))[right]
    return {
        "sources": len(true),
        "below": np.histogram(below, 10, (0, 1))[0].tolist(),
        "within_68": float(inside.mean()) if len(true) else None,
        "pull_median": float(np.median(pull)) if len(pull) else None,
        "pull_width": nmad(pull),
    }


@dataclass(frozen=True)
class TrueLine:
    """One emission line of a source: family, observed wavelength (Å), flux (erg/s/cm2)."""

    family: str
    wavelength: float
    flux: float


@dataclass(frozen=True)
class Expected:
    """What lines of a source its spectra could show: of the most significant one, and how many there are.

    Attributes
    ----------
    family : str
        Empty without any.
    flux : float
        erg/s/cm2.
    snr : float
    several : bool
        Whether two or more separate features have `SEVERAL_SNR`.
    """

    family: str = ""
    flux: float = 0.0
    snr: float = 0.0
    several: bool = False


def expected(bands: Sequence[Band], lines: Sequence[TrueLine], unit: float) -> Expected:
    """Signal to noise that true lines have in a source's spectra, by their errors and its profile.

    Parameters
    ----------
    bands : sequence of Band
        Of one source each.
    lines : sequence of TrueLine
    unit : float
        Of the spectra, erg/s/cm2/Å.

    Returns
    -------
    Expected
        Lines that the spectra do not resolve count as one.
    """
    seen = [one for one in bands if one.root.any()]
    if not seen or not lines:
        return Expected()
    wave = np.array([line.wavelength for line in lines])
    flux = np.array([line.flux for line in lines])
    variance = sum(np.sum(slitless.response(one, wave)[0] ** 2, axis=(0, 2)) for one in seen)
    single = flux / unit * np.sqrt(variance)
    blend = 1.5 * 2.3548 * min(float(one.width()[0]) for one in seen)
    near = np.abs(np.log(wave[:, None] / wave)) < blend
    snr, total = near @ single, near @ flux
    order = np.argsort(-snr)
    apart: list[int] = []
    for i in order:
        if snr[i] > SEVERAL_SNR and not near[i, apart].any():
            apart.append(int(i))
    best = order[0]
    return Expected(lines[best].family, float(total[best]), float(snr[best]), len(apart) > 1)


def against_lines(found: Found, z: Array, lines: Sequence[Expected], wrong: float) -> dict[str, Any]:
    """How many redshifts are right by what lines there are to see.

    Parameters
    ----------
    found : Found
        Of sources that have a spectrum, fitted or not.
    z : ndarray, shape (n,)
    lines : sequence of Expected
    wrong : float
        dz/(1+z) beyond which a redshift is wrong.
    """
    right = np.abs(errors(found, z)) < wrong  # without a redshift it is not
    snr, flux = np.array([one.snr for one in lines]), np.array([one.flux for one in lines])
    several = np.array([one.several for one in lines], bool)
    error = errors(found, z)
    fitted = np.isfinite(found.z)
    return {
        "with_line": score(np.where(fitted, error, np.inf)[snr >= LINE_SNR], wrong) | {"snr": LINE_SNR},
        "several": score(error[several & fitted], wrong) | {"snr": SEVERAL_SNR},
        "right_by_flux": completeness.fractions(flux, right, FLUXES),
        "sure_by_flux": completeness.fractions(flux, right & (found.flag >= 2), FLUXES),
        "right_by_snr": completeness.fractions(snr, right, [1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 50.0, 1e6]),
        "flux": flux.tolist(),
        "snr": snr.tolist(),
    }


def true_fluxes(families: Sequence[str], truth: Mapping[str, Array], shares: Mapping[str, float]) -> dict[str, Array]:
    """True flux of each family of the fit of which all parts are in a list of true families.

    Parameters
    ----------
    families : sequence of str
        Of the fit.
    truth : mapping of str to ndarray, shape (n,)
        Flux of whole true families.
    shares : mapping of str to float
        Part of a true family's flux that is in a family of the fit, where it is not all.
    """
    found = {}
    for name in families:
        parts = BLENDS.get(name, (name,))
        if all(part in truth for part in parts):
            found[name] = shares.get(name, 1.0) * np.sum([truth[part] for part in parts], axis=0)
    return found


def line_pulls(flux: Mapping[str, Array], err: Mapping[str, Array], true: Mapping[str, Array], good: Mask) -> Any:
    """Measured fluxes of lines against the true ones.

    Parameters
    ----------
    flux, err, true : mapping of str to ndarray, shape (n,)
        By family; NaN where not measured.
    good : ndarray of bool, shape (n,)
        Sources that count: their redshift is right, and nothing lies upon them.

    Returns
    -------
    dict
        ``lines``; ``pull_median``, ``pull_width`` (1 for honest errors), ``pull_std``; ``ratio``, median of measured
        over true of the ``bright`` lines at `RATIO_SNR`; ``measured``, ``true`` and ``family`` of every line with a
        true flux above its error.
    """
    names = [name for name in true if name in flux]
    chosen = {name: good & np.isfinite(flux[name]) & (err[name] > 0) for name in names}

    def every(of: Mapping[str, Array]) -> Array:
        return np.concatenate([np.asarray(of[name], float)[chosen[name]] for name in names] or [np.zeros(0)])

    measured, error, light = every(flux), every(err), every(true)
    pull = (measured - light) / error
    bright = light > RATIO_SNR * error
    shown = light > error
    family = np.concatenate([np.full(int(chosen[name].sum()), name) for name in names] or [np.zeros(0, "U1")])
    return {
        "lines": len(pull),
        "pull_median": float(np.median(pull)) if len(pull) else None,
        "pull_width": nmad(pull),
        "pull_std": float(np.std(pull)) if len(pull) else None,
        "bright": int(bright.sum()),
        "ratio": float(np.median(measured[bright] / light[bright])) if bright.any() else None,
        "measured": measured[shown].tolist(),
        "error": error[shown].tolist(),
        "true": light[shown].tolist(),
        "family": family[shown].tolist(),
    }
