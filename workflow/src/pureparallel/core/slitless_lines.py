"""Line fluxes and equivalent widths of slitless spectra at one redshift, and how far that redshift is to be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lines import Family
from .nnls import nnls
from .redshift import Lines, Redshift
from .slitless_view import View
from .templates import Continuum, Mixtures

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

BESIDE = 0.015
"""How far from a line its continuum is taken, in ln(wavelength)."""

MEASURED, EVIDENT = 0.5, 0.8
"""Part of a line's light that must be on valid bins for its flux to be measured, and for it to speak for a redshift."""

SURE = 0.9
"""Probability of the best peak of P(z) from which a redshift is likely."""

RARE = {
    "CIV", "HeII-1640", "OIII-1666", "MgII", "NeV-3427", "OIII-4364", "HeII-4687", "OI", "HeI-7067", "ArIII",
    "OII-7325", "FeII-12570", "FeII-16440",
}  # fmt: skip
"""Families that are seldom bright: two features of which one is such a line are as often something else."""


def stars_in_use(view: View, mixtures: Mixtures) -> Bools:
    """Which continuum templates the non-negative fit with the line templates `mixtures` uses, shape (c,)."""
    normal, projected = view.normal(view.mixing(mixtures))
    coefficients = nnls(normal[None], projected[None])[0][0]
    return np.asarray(coefficients[mixtures.ratios.shape[1] :] > 0)


def measure(view: View, families: Sequence[Family], stars: Bools) -> Lines:
    """Measure all families by linear least squares: free of each other and of sign.

    Parameters
    ----------
    view : View
        Holds all lines of the families.
    families : sequence of Family
    stars : ndarray of bool, shape (c,)
        Continuum templates that may be used, from `stars_in_use`.

    Returns
    -------
    Lines
        `continuum` and `model`, per unit wavelength, are arrays (k, n) of each band; both hold the fitted zero levels
        and other nuisances.
    """
    found = _solve(view, families, stars, MEASURED)
    flux, err = found.lines()
    level, level_err = _levels(families, view.continuum, view.z, found)
    seen = level > level_err
    width = np.where(seen, level * (1 + view.z), np.nan)
    ew, ew_err = flux / width, np.hypot(err, flux * level_err / np.where(seen, level, np.nan)) / width
    count = len(view.wavelengths)
    light = found.weights[count:] @ view.templates[count:] + _offset(view, found.nuisance)
    model = light + found.weights[:count] @ view.templates[:count]
    return Lines(list(families), flux, err, ew, ew_err, view.per_band(light), view.per_band(model))


def significance(view: View, families: Sequence[Family], stars: Bools) -> Array:
    """S/N of all families as `measure` finds it, shape (f,); NaN where not well covered.

    What is cut by the edge of a band, where sky and neighbours are least certain, is no evidence.
    """
    flux, err = _solve(view, families, stars, EVIDENT).lines()
    return flux / err


@dataclass(frozen=True)
class _Solution:
    """Least squares of f families and c continuum templates.

    Attributes
    ----------
    amplitude : ndarray, shape (f + c,)
        Zero where not used.
    used : ndarray of bool, shape (f + c,)
    count : int
        f.
    weights : ndarray, shape (l + c,)
        The same as sums of the view's lines and continua.
    covariance : ndarray, shape (u, u)
        Of those used, scaled by chi2 where it is high.
    nuisance : ndarray, shape (d,)
        What is left along the nuisances.
    """

    amplitude: Array
    used: Bools
    count: int
    weights: Array
    covariance: Array
    nuisance: Array

    def lines(self) -> tuple[Array, Array]:
        """Fluxes and errors of the families, NaN where not used."""
        err = np.full(len(self.used), np.nan)
        err[self.used] = np.sqrt(np.diag(self.covariance))
        return np.where(self.used, self.amplitude, np.nan)[: self.count], err[: self.count]


def _solve(view: View, families: Sequence[Family], stars: Bools, least: float) -> _Solution:
    """Least squares of the families of which the strongest line has the part `least` of its light on valid bins."""
    mixing = view.mixing(_single(families))
    whole, whole_projected = view.normal(mixing)
    strongest = [family.wavelengths[np.argmax(family.fractions)] for family in families]
    covered = view.seen[np.searchsorted(view.wavelengths, strongest)] >= least
    used = np.concatenate([covered, stars]) & (np.diag(whole) > 0)
    normal, projected = whole[np.ix_(used, used)], whole_projected[used]
    norm = np.sqrt(np.diag(normal))  # templates of equal weight, or the weak ones lose their errors
    inverse = np.linalg.pinv(normal / np.outer(norm, norm), rcond=1e-10, hermitian=True) / np.outer(norm, norm)
    solution = inverse @ projected
    scale = max(1.0, (view.chi2 - float(solution @ projected)) / max(view.pixels - len(solution), 1))
    amplitude = np.zeros(len(used))
    amplitude[used] = solution
    weights = mixing @ amplitude
    left = view.data_along - weights @ view.along
    return _Solution(amplitude, used, len(families), weights, inverse * scale, left)


def _single(families: Sequence[Family]) -> Mixtures:
    """Families as line templates, every one of unit flux."""
    shares = np.zeros((sum(len(f.wavelengths) for f in families), len(families)))
    row = 0
    for i, family in enumerate(families):
        shares[row : row + len(family.wavelengths), i] = family.fractions
        row += len(family.wavelengths)
    return Mixtures(tuple(f.name for f in families), np.concatenate([f.wavelengths for f in families]), shares)


def _levels(families: Sequence[Family], continuum: Continuum, z: float, found: _Solution) -> tuple[Array, Array]:
    """Stellar continuum and its error on both sides of each family's strongest line, beside stars' own absorption."""
    wavelengths = np.array([f.wavelengths[np.argmax(f.fractions)] for f in families]) * (1 + z)
    sides = [continuum.observed(wavelengths * np.exp(side), np.array([z]))[0] for side in (-BESIDE, BESIDE)]
    light = (sides[0] + sides[1]) / 2  # (c, f)
    stars = found.used[found.count :]
    covariance = found.covariance[-stars.sum() :, -stars.sum() :] if stars.any() else np.zeros((0, 0))
    variance = np.einsum("if,ij,jf->f", light[stars], covariance, light[stars])
    return found.amplitude[found.count :] @ light, np.sqrt(np.maximum(variance, 0.0))


def _offset(view: View, nuisance: Array) -> Array:
    """What nuisances add up to over all bins (p,), zero where there are no data."""
    parts, start = [], 0
    for one in view.bands:
        size = one.nuisance.shape[1]
        root = one.root[0].ravel()
        offset = nuisance[start : start + size] @ one.nuisance[0]
        parts.append(np.where(root > 0, offset / np.where(root > 0, root, 1.0), 0.0))
        start += size
    return np.concatenate(parts)


@dataclass(frozen=True)
class Feature:
    """Lines too close to be told apart: their names, the strongest one's rest wavelength (Å), and S/N."""

    name: str
    wavelength: float
    snr: float


def separate(families: Sequence[Family], blend: float) -> list[Family]:
    """Families, those lines apart that are farther from each other than `blend` in ln(wavelength)."""
    found = []
    for family in families:
        if len(family.wavelengths) == 1:
            found.append(family)
            continue
        order = np.argsort(family.wavelengths)
        gaps = np.diff(np.log(family.wavelengths[order])) > blend
        for members in np.split(order, np.flatnonzero(gaps) + 1):
            share = family.fractions[members]
            labels = tuple(family.labels[i] for i in members)
            name = family.name if len(members) == len(order) else f"{family.name} {family.wavelengths[members[0]]:.0f}"
            found.append(Family(name, labels, family.wavelengths[members], share / share.sum(), family.resolution))
    return found


def features(families: Sequence[Family], snr: Array, blend: float) -> list[Feature]:
    """Separate emission features with their S/N, most significant first.

    Parameters
    ----------
    families : sequence of Family
        From `separate`: that a line must be there is no evidence that it is.
    snr : ndarray, shape (f,)
        From `significance`.
    blend : float
        Distance in ln(wavelength) below which two lines are one feature.
    """
    measured = [
        (float(family.wavelengths[np.argmax(family.fractions)]), family.name, float(value))
        for family, value in zip(families, snr, strict=True)
        if np.isfinite(value)
    ]
    groups: list[list[tuple[float, str, float]]] = []
    for one in sorted(measured):
        if groups and np.log(one[0] / groups[-1][-1][0]) < blend:
            groups[-1].append(one)
        else:
            groups.append([one])
    found = []
    for group in groups:
        best = max(group, key=lambda one: one[2])
        names = [name for _, name, snr in group if snr >= 3] or [best[1]]
        found.append(Feature("/".join(names), best[0], best[2]))
    return sorted(found, key=lambda feature: -feature.snr)


def quality(
    found: Sequence[Feature],
    families: Sequence[Family],
    redshift: Redshift,
    *,
    z_phot: tuple[float, float] | None = None,
    max_peak_ratio: float = 0.1,
    min_snr: float = 5.0,
) -> tuple[int, str]:
    """Quality flag and its reason in words.

    Parameters
    ----------
    found : sequence of Feature
        From `features`.
    families : sequence of Family
        What a single feature may be.
    redshift : Redshift
    z_phot : (float, float), optional
        Photometric redshift and its error.
    max_peak_ratio : float
        The second peak's probability over the first's, above which the redshift is ambiguous.
    min_snr : float
        S/N that the most significant feature must have; the others count from 3.

    Returns
    -------
    flag : {3, 2, 1}
        3: two or more separate features that are not `RARE`, one feature at `min_snr`, and no other likely redshift; 2:
        fewer or fainter features, an agreeing photometric redshift and, with it, no other likely one; 1: anything less.
    reason : str
    """
    seen = [feature for feature in found if feature.snr >= 3]
    agrees = z_phot is not None and abs(redshift.z - z_phot[0]) < 3 * min(z_phot[1], 0.1 * (1 + z_phot[0]))
    names = ", ".join(feature.name for feature in seen)
    if not seen:
        return 1, "no line at S/N >= 3: continuum only"
    if seen[0].snr < min_snr and not agrees:
        return 1, f"no line at S/N >= {min_snr:g}: {names} at S/N >= 3"
    likely = redshift.peak_ratio <= max_peak_ratio and redshift.peaks[0].probability >= SURE
    common = sum(any(line.split()[0] not in RARE for line in feature.name.split("/")) for feature in seen)
    if seen[0].snr >= min_snr and common >= 2 and likely:
        return 3, f"{len(seen)} lines at S/N >= 3: {names}"
    if agrees and likely:
        return 2, f"{'one line' if len(seen) == 1 else 'lines'} ({names}) and an agreeing photometric redshift"
    if len(seen) >= 2 and likely:
        return 1, f"{len(seen)} lines at S/N >= 3, of which fewer than two are often bright: {names}"
    return 1, _identities(seen[0], families, redshift)


def _identities(feature: Feature, families: Sequence[Family], redshift: Redshift) -> str:
    """Which lines a feature can be, by the peaks of P(z)."""
    observed = feature.wavelength * (1 + redshift.z)
    found: list[str] = []
    for peak in redshift.peaks[:3]:
        rest = observed / (1 + peak.z)
        name = min(families, key=lambda f: abs(np.log(f.wavelengths[np.argmax(f.fractions)] / rest)))
        miss = abs(np.log(name.wavelengths[np.argmax(name.fractions)] / rest))
        what = name.name if miss < 0.01 else "no line"
        if peak.probability >= 0.01 or not found:
            found.append(f"{what} at z = {peak.z:.3f} ({peak.probability:.0%})")
    text = f"one line at {observed / 1e4:.3f} um: " if len(found) < 2 else f"line at {observed / 1e4:.3f} um may be "
    return text + " or ".join(found)
