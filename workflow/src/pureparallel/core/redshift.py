"""Redshift of spectra from non-negative continuum and emission-line templates.

chi2(z) is evaluated on a coarse grid, refined around its deepest minima, and turned into a probability with the
errors scaled so that the best fit has a chi2 per degree of freedom of at most one. All spectra of a source are fitted
jointly: each has its own continuum, all share the line fluxes. Line fluxes are measured without the positivity
constraint, so that a line that is not there scatters about zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .catalogue import bin_edges
from .lines import Family

Array = NDArray[np.float64]

PEAK_HALF_WIDTH = 0.015
"""Half-width in dz/(1+z) of the interval whose probability belongs to one peak."""


BLEND = 0.015
"""Distance in ln(wavelength) below which two lines are not independent evidence, as [OIII]4960,5008 at R of 100."""


@dataclass(frozen=True)
class Spectrum:
    """One observed spectrum and how templates look in it.

    Attributes
    ----------
    wave : ndarray, shape (n,)
        μm, increasing.
    flux, err : ndarray, shape (n,)
        Per unit wavelength, in any one unit U per Å.
    valid : ndarray of bool, shape (n,)
    continuum : ndarray, shape (k, n)
        Non-negative continuum templates.
    line : callable
        ``line(wavelength)`` is the profile (n,) of a line of unit flux (in U) at a wavelength in μm.
    transmission : callable
        ``transmission(z)`` is that of the intergalactic medium (n,).
    """

    wave: Array
    flux: Array
    err: Array
    valid: NDArray[np.bool_]
    continuum: Array
    line: Callable[[float], Array]
    transmission: Callable[[float], Array]


@dataclass(frozen=True)
class Peak:
    """A minimum of chi2(z) with the probability around it."""

    z: float
    chi2: float
    probability: float


@dataclass(frozen=True)
class Redshift:
    """Result of `fit`: redshift, 16th and 84th percentile, chi2, peaks (best first) and P(z) on a grid."""

    z: float
    z_low: float
    z_high: float
    chi2: float
    dof: int
    peaks: tuple[Peak, ...]
    grid: Array
    pdf: Array

    @property
    def peak_ratio(self) -> float:
        """Probability of the second peak over that of the first: 0 where there is no other."""
        return self.peaks[1].probability / self.peaks[0].probability if len(self.peaks) > 1 else 0.0

    def on(self, grid: Array) -> Array:
        """Probability in the bin around each redshift of another `grid`; the bins' sum is 1."""
        cumulative = integral(self.pdf, self.grid)
        return np.diff(np.interp(bin_edges(grid), self.grid, cumulative / cumulative[-1]))


@dataclass(frozen=True)
class Lines:
    """Line measurements at one redshift, and the model they belong to.

    Attributes
    ----------
    families : list of Family
    flux, err : ndarray, shape (f,)
        Of whole families, in U, corrected for intergalactic absorption; NaN where not covered. Errors are scaled by
        the fit's chi2.
    ew, ew_err : ndarray, shape (f,)
        Rest-frame equivalent width of whole families, Å, over the continuum before intergalactic absorption; NaN
        without a continuum above its error.
    continuum, model : list of ndarray
        Per spectrum, per unit wavelength.
    """

    families: list[Family]
    flux: Array
    err: Array
    ew: Array
    ew_err: Array
    continuum: list[Array]
    model: list[Array]

    @property
    def snr(self) -> Array:
        """Flux over error; NaN where not covered."""
        return self.flux / self.err


def log_grid(low: float, high: float, step: float) -> Array:
    """Redshifts from `low` to `high` in equal steps of ln(1+z)."""
    count = int(np.ceil(np.log((1 + high) / (1 + low)) / step)) + 1
    return np.expm1(np.linspace(np.log1p(low), np.log1p(high), count))


def design(spectra: Sequence[Spectrum], families: Sequence[Family], z: float) -> tuple[Array, NDArray[np.bool_]]:
    """Templates at redshift `z` over all spectra's pixels.

    Returns
    -------
    matrix : ndarray, shape (t, sum of n)
        Continuum templates of each spectrum in turn, then one row per family.
    covered : ndarray of bool, shape (f,)
        Families of which some line has half of its profile or more on valid pixels. Lines with less are left out:
        an edge of a gap would make them whatever its last pixel wants.
    """
    sizes = [len(s.wave) for s in spectra]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    kinds = sum(len(s.continuum) for s in spectra)
    matrix = np.zeros((kinds + len(families), starts[-1]))
    covered = np.zeros(len(families), bool)
    row = 0
    for s, start, size in zip(spectra, starts, sizes, strict=False):
        here = slice(start, start + size)
        transmission = s.transmission(z)
        matrix[row : row + len(s.continuum), here] = s.continuum * transmission
        row += len(s.continuum)
        for i, family in enumerate(families):
            for wavelength, fraction in zip(family.wavelengths * (1 + z) / 1e4, family.fractions, strict=True):
                if s.wave[0] < wavelength < s.wave[-1]:
                    profile = s.line(wavelength)
                    if profile[s.valid].sum() >= 0.5 * profile.sum():
                        matrix[kinds + i, here] += fraction * profile * transmission
                        covered[i] = True
    return matrix, covered


class _Data:
    """All spectra's valid pixels in one vector, weighted by their errors."""

    def __init__(self, spectra: Sequence[Spectrum]) -> None:
        self.valid = np.concatenate([s.valid for s in spectra])
        self.err = np.concatenate([s.err for s in spectra])[self.valid]
        self.flux = np.concatenate([s.flux for s in spectra])[self.valid] / self.err

    def weighted(self, matrix: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Weighted templates (used templates, pixels) and which templates are used."""
        weighted = matrix[:, self.valid]
        weighted /= self.err
        used = np.any(weighted > 1e-10 * weighted.max(initial=0.0), axis=1)
        return weighted[used], used


def chi2(spectra: Sequence[Spectrum], families: Sequence[Family], grid: Array) -> Array:
    """Chi2 of the best non-negative combination of templates at every redshift of `grid`.

    The problem is reduced to the templates' own space by the Cholesky factor of their normal matrix: tens of rows
    instead of thousands of pixels.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    data = _Data(spectra)
    total = float(data.flux @ data.flux)
    out = np.empty(len(grid))
    for i, z in enumerate(grid):
        weighted, _ = data.weighted(design(spectra, families, z)[0])
        normal = weighted @ weighted.T
        scale = 1 / np.sqrt(np.diag(normal))
        normal *= scale[:, None] * scale
        normal[np.diag_indices_from(normal)] += 1e-10  # blended lines make it singular
        projected = scale * (weighted @ data.flux)
        factor = np.linalg.cholesky(normal)
        target = solve_triangular(factor, projected, lower=True)
        out[i] = total - float(target @ target) + nnls(factor.T, target)[1] ** 2
    return out


def integral(y: Array, x: Array) -> Array:
    """Running integral of `y` over `x` by trapezoids, 0 at the first point."""
    return np.concatenate([[0.0], np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)])


def minima(x: Array, values: Array, count: int, apart: float = 2 * PEAK_HALF_WIDTH) -> list[int]:
    """Indices of the `count` deepest local minima, deepest first, apart by more than `apart` in `x`, ln(1+z)."""
    padded = np.concatenate([[np.inf], values, [np.inf]])
    candidates = np.flatnonzero((values <= padded[:-2]) & (values <= padded[2:]))
    kept: list[int] = []
    for i in candidates[np.argsort(values[candidates], kind="stable")]:
        if all(abs(x[i] - x[j]) > apart for j in kept):
            kept.append(int(i))
        if len(kept) == count:
            break
    return kept


def vertex(x: Array, y: Array, i: int) -> float:
    """Minimum of the parabola through point `i` and its neighbours; the point itself at an edge."""
    if i in (0, len(x) - 1):
        return float(x[i])
    a, b, _ = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2] - y[i], 2)
    return float(x[i] - b / (2 * a)) if a > 0 else float(x[i])


def fit(
    spectra: Sequence[Spectrum],
    families: Sequence[Family],
    *,
    low: float,
    high: float,
    step: float,
    fine_step: float,
    blur: float = 0.0,
    peaks: int = 3,
) -> Redshift:
    """Fit one source's redshift.

    Parameters
    ----------
    spectra : sequence of Spectrum
    families : sequence of Family
    low, high : float
        Range of redshift.
    step, fine_step : float
        Steps in ln(1+z) of the whole range and around the deepest minima.
    blur : float
        Gaussian sigma in ln(1+z) of the wavelength scale's own uncertainty: P(z) is convolved with it.
    peaks : int
        How many minima to refine.
    """
    from scipy.ndimage import gaussian_filter1d

    coarse = log_grid(low, high, step)
    rough = chi2(spectra, families, coarse)
    grids, values = [coarse], [rough]
    for i in minima(np.log1p(coarse), rough, peaks):
        around = np.log1p(coarse[i]) + np.arange(-3 * step, 3 * step, fine_step)
        fine = np.expm1(around[(around > np.log1p(low)) & (around < np.log1p(high))])
        grids.append(fine)
        values.append(chi2(spectra, families, fine))
    grid, first = np.unique(np.concatenate(grids), return_index=True)
    value = np.concatenate(values)[first]

    data = _Data(spectra)
    best = int(np.argmin(value))
    used = data.weighted(design(spectra, families, grid[best])[0])[1]
    dof = max(len(data.flux) - int(used.sum()), 1)
    likelihood = np.exp(-0.5 * (value - value[best]) / max(1.0, value[best] / dof))
    even = log_grid(low, high, fine_step)
    pdf = np.interp(even, grid, likelihood)
    if blur > 0:
        pdf = gaussian_filter1d(pdf, blur / fine_step, mode="constant")
    total = integral(pdf, even)
    pdf /= total[-1]
    z_low, z_high = np.interp([0.1587, 0.8413], total / total[-1], even)
    best_first = minima(np.log1p(grid), value, peaks)
    found = [_peak(vertex(grid, value, i), float(value[i]), even, pdf) for i in best_first]
    return Redshift(found[0].z, float(z_low), float(z_high), found[0].chi2, dof, tuple(found), even, pdf)


def _peak(z: float, chi2: float, grid: Array, pdf: Array) -> Peak:
    near = np.abs(np.log1p(grid) - np.log1p(z)) <= PEAK_HALF_WIDTH
    return Peak(z, chi2, float(integral(pdf[near], grid[near])[-1]))


def measure(spectra: Sequence[Spectrum], families: Sequence[Family], z: float) -> Lines:
    """Fluxes and equivalent widths of all families at redshift `z`, by linear least squares."""
    data = _Data(spectra)
    matrix, covered = design(spectra, families, z)
    weighted, used = data.weighted(matrix)
    used_rows = np.flatnonzero(used)
    norm = np.sqrt(np.sum(weighted**2, axis=1))  # templates of equal weight, or the weak ones lose their errors
    unit = (weighted / norm[:, None]).T
    solution, *_ = np.linalg.lstsq(unit, data.flux, rcond=None)
    residual = data.flux - unit @ solution
    scale = max(1.0, float(residual @ residual) / max(len(data.flux) - len(solution), 1))
    covariance = np.linalg.pinv(unit.T @ unit, hermitian=True) * scale / np.outer(norm, norm)

    kinds = len(matrix) - len(families)
    coefficients, errors = np.zeros(len(matrix)), np.full(len(matrix), np.nan)
    coefficients[used_rows] = solution / norm
    errors[used_rows] = np.sqrt(np.diag(covariance))
    flux = np.where(covered & used[kinds:], coefficients[kinds:], np.nan)
    err = np.where(np.isfinite(flux), errors[kinds:], np.nan)

    is_continuum = used_rows < kinds
    basis = _continuum(spectra)
    emitted = coefficients[:kinds] @ basis
    basis = basis[used_rows[is_continuum]]
    emitted_err = np.sqrt(np.einsum("in,ij,jn->n", basis, covariance[np.ix_(is_continuum, is_continuum)], basis))
    ew, ew_err = _equivalent_widths(spectra, families, z, flux, err, emitted, emitted_err)
    cuts = np.cumsum([len(s.wave) for s in spectra])[:-1]
    continuum, model = coefficients[:kinds] @ matrix[:kinds], coefficients @ matrix
    return Lines(list(families), flux, err, ew, ew_err, np.split(continuum, cuts), np.split(model, cuts))


def _continuum(spectra: Sequence[Spectrum]) -> Array:
    """Continuum templates of all spectra over all pixels, before intergalactic absorption."""
    from scipy.linalg import block_diag

    return np.asarray(block_diag(*(s.continuum for s in spectra)))


def _equivalent_widths(
    spectra: Sequence[Spectrum],
    families: Sequence[Family],
    z: float,
    flux: Array,
    err: Array,
    continuum: Array,
    continuum_err: Array,
) -> tuple[Array, Array]:
    """Rest-frame equivalent widths (Å) over the continuum at each family's strongest line."""
    ew, ew_err = np.full(len(families), np.nan), np.full(len(families), np.nan)
    start = 0
    for s in spectra:
        here = slice(start, start + len(s.wave))
        start += len(s.wave)
        for i, family in enumerate(families):
            wavelength = family.wavelengths[np.argmax(family.fractions)] * (1 + z) / 1e4
            if not (s.wave[0] < wavelength < s.wave[-1]) or not np.isfinite(flux[i]) or np.isfinite(ew[i]):
                continue
            level = np.interp(wavelength, s.wave, continuum[here])
            level_err = np.interp(wavelength, s.wave, continuum_err[here])
            if level > level_err:
                ew[i] = flux[i] / level / (1 + z)
                ew_err[i] = np.hypot(err[i], flux[i] * level_err / level) / level / (1 + z)
    return ew, ew_err


def distinct(families: Sequence[Family]) -> list[str]:
    """Names of families, joined by ``/`` where they are closer than `BLEND`: one feature, not two."""
    strongest = {f.name: float(f.wavelengths[np.argmax(f.fractions)]) for f in families}
    groups: list[list[str]] = []
    for name in sorted(strongest, key=strongest.__getitem__):
        if groups and np.log(strongest[name] / strongest[groups[-1][-1]]) < BLEND:
            groups[-1].append(name)
        else:
            groups.append([name])
    return ["/".join(group) for group in groups]


def quality(
    lines: Lines, redshift: Redshift, *, z_phot: tuple[float, float] | None = None, max_peak_ratio: float = 0.1
) -> tuple[int, str]:
    """Quality flag and its reason in words.

    Parameters
    ----------
    lines : Lines
    redshift : Redshift
    z_phot : (float, float), optional
        Photometric redshift and its error.
    max_peak_ratio : float
        The second peak's probability over the first's, above which the redshift is ambiguous.

    Returns
    -------
    flag : {3, 2, 1}
        3: two or more distinct lines at S/N >= 3; 2: one line and an agreeing photometric redshift; 1: anything less.
    reason : str
    """
    seen = distinct([f for f, snr in zip(lines.families, lines.snr, strict=True) if snr >= 3])
    agrees = z_phot is not None and abs(redshift.z - z_phot[0]) < 3 * z_phot[1]
    if redshift.peak_ratio > max_peak_ratio and not agrees:
        other = redshift.peaks[1]
        return 1, f"ambiguous: z = {other.z:.4f} is {redshift.peak_ratio:.2f} times as likely"
    if len(seen) >= 2:
        return 3, f"{len(seen)} lines at S/N >= 3: {', '.join(seen)}"
    if len(seen) == 1 and agrees:
        return 2, f"one line ({seen[0]}) and an agreeing photometric redshift"
    if len(seen) == 1:
        return 1, f"one line ({seen[0]}), no photometric redshift that confirms it"
    return 1, "no line at S/N >= 3: continuum only"
