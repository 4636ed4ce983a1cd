"""The sky of dispersed images: components that nobody can have too little of, what is smooth beside them, and stripes.

Behind a grism the sky has structures, orders of a mirror with edges and uneven brightness, that a reference image
holds. Light on other ways, scattered or of lines of the atmosphere, has others. So the sky is a sum of components with
amplitudes that are not negative, found where no trace and no zero order lies, and a smooth image for light of which
there is no template. Where sources' light lies is told by a model of all of them, and by what the image shows besides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .background import Array, Image, Mask, scatter, stripes, typical_error
from .background_fit import Cosines, box_levels
from .flicker import source_mask
from .nnls import nnls

PASSES, LOOKS = 5, 2
"""Of fitting the sky, each from the one before, at most; after the first of them, what is no sky is looked for."""

SETTLED = 2e-4
"""Change of the sky, over its level, from which on no further pass is made."""

BOX = 32
"""Pixels on a side of the boxes whose levels the smooth part is fitted to."""

JUDGED = 64
"""Pixels on a side of the boxes whose levels the sky is judged by."""

LARGEST = 0.5
"""Of the sky's level: standard deviation of the smooth part, at most."""

UNKNOWN = 4.0
"""Significance of light that is not in the model; less would take bright noise, and leave the sky too faint."""

BRIGHTER = 1.5
"""Factor by which the limit of masks grows until enough pixels are free."""

LEAST_LINE = 0.3
"""Part of a line along the dispersion that must be free: what is left beside long traces tells little of stripes."""


@dataclass(frozen=True)
class Sky:
    """What `measure` found.

    Attributes
    ----------
    background : ndarray, shape (ny, nx)
        DN/s.
    stripes : ndarray, shape (ny, nx)
        DN/s, to be subtracted too.
    sources : ndarray of bool, shape (ny, nx)
        Traces and zero orders, of the model and found besides.
    free : ndarray of bool, shape (ny, nx)
        Good pixels elsewhere.
    amplitudes : dict of str to (float, float)
        DN/s of each component where its template has its median, and 1 sigma.
    smooth : float
        DN/s: rms of what is in no template.
    level : float
        DN/s: median of the background.
    limit : float
        Model light that is masked, over a pixel's noise: as was asked for, or where sources crowd a higher one.
    factor : float
        True over stated noise of the free pixels.
    slope, slope_error : float
        Of what is left, from one end of the dispersion's axis to the other, over the level; and 1 sigma.
    rms : float
        Of what is left in large boxes, noise subtracted, over the level.
    lines : dict of str to dict
        By direction: see `background.stripes`.
    """

    background: Array
    stripes: Array
    sources: Mask
    free: Mask
    amplitudes: dict[str, tuple[float, float]]
    smooth: float
    level: float
    limit: float
    factor: float
    slope: float
    slope_error: float
    rms: float
    lines: dict[str, dict[str, float]] = field(default_factory=dict)


def measure(
    image: Image, error: Image, good: Mask, *, templates: Mapping[str, Image], flat: Image, light: Image, along_x: bool,
    limit: float = 0.2, least_free: float = 0.2, smooth_scale: float = 128.0, remove_stripes: bool = True,
    segments: tuple[int, int] = (1, 1),
) -> Sky:  # fmt: skip
    """Tell the sky of a dispersed image from its sources.

    Parameters
    ----------
    image, error : ndarray, shape (ny, nx)
        DN/s, before the flat field.
    good : ndarray of bool, shape (ny, nx)
    templates : mapping of str to ndarray, shape (ny, nx)
        The sky's components as the detector sees them, with the flat field in them; 0 or NaN where one is not known.
    flat : ndarray, shape (ny, nx)
    light : ndarray, shape (ny, nx)
        Model of all sources in all orders as the detector sees them, DN/s.
    along_x : bool
        Whether light is dispersed along x.
    limit : float
        Model light over a pixel's noise above which a pixel is masked.
    least_free : float
        Part of the good pixels that is kept as sky, however crowded the field.
    smooth_scale : float
        Pixels, half the shortest wave of what is in no template; 0 for no such part.
    remove_stripes : bool
        Of columns and of rows.
    segments : (int, int)
        Amplifiers along y and along x.

    Raises
    ------
    ValueError
        If too few pixels are good, or no component has any light.
    """
    noise = typical_error(error, good)
    known = np.logical_and.reduce([np.isfinite(one) & (one != 0) for one in templates.values()], initial=True)
    usable = good & np.isfinite(image) & (error > 0) & (error < 3 * noise) & known & (flat > 0)
    if usable.sum() < max(64, 0.01 * usable.size):
        raise ValueError(f"only {usable.sum()} of {usable.size} pixels are good: no sky can be measured")
    units = _units(templates, usable)
    # faint light of sources stays where nothing is masked: its model is taken away
    values = np.where(usable, image - light, 0).astype(float)
    traces, limit = masked(light / noise, usable, limit, least_free)
    others, surface = np.zeros_like(traces), np.full(image.shape, np.median(values[usable & ~traces]))
    ny, nx = image.shape
    waves = Cosines(ny, nx, smooth_scale, 2 if smooth_scale > 0 else 0)
    for step in range(PASSES):
        free = usable & ~traces & ~others
        before = surface
        fitted = fit(values, surface, free, units, flat, waves)
        surface = fitted.surface
        if step < LOOKS:
            left = np.where(usable, values - surface, 0).astype(np.float32)
            more = traces | source_mask(left, ~usable | traces, 1 if along_x else 2, threshold=UNKNOWN)
            others = more if np.mean(~more[usable]) >= least_free else others
        elif np.max(np.abs(surface - before)[usable]) < SETTLED * abs(np.median(surface[usable])):
            break
    free = usable & ~traces & ~others
    left, lines = values - surface, np.zeros(image.shape)
    told: dict[str, dict[str, float]] = {}
    if remove_stripes:
        lines, told = stripes_beside(left, free, noise, along_x, segments)
        left = left - lines
    level = float(np.median(surface[usable]))
    slope, slope_error, rms, doubt = judged(left, free, along_x, level)
    return Sky(
        surface, lines, traces | others, free,
        {name: (float(a), float(e * doubt)) for name, a, e in zip(units, fitted.value, fitted.error, strict=True)},
        fitted.smooth, level, limit, scatter((left / np.where(usable, error, 1))[free]), slope, slope_error,
        rms, told,
    )  # fmt: skip


def _units(templates: Mapping[str, Image], usable: Mask) -> dict[str, Array]:
    """Templates whose median is 1."""
    if not templates:
        raise ValueError("no component of the sky is given")
    units = {}
    for name, one in templates.items():
        middle = float(np.median(one[usable]))
        if not middle > 0:
            raise ValueError(f"the sky's component {name} has a median of {middle:.3g}: it is no light")
        units[name] = np.where(np.isfinite(one), one, 0).astype(float) / middle
    return units


def masked(light: Image, usable: Mask, limit: float, least_free: float) -> tuple[Mask, float]:
    """Where a model's light is above a limit, or a higher one that leaves enough usable pixels; and that limit."""
    while True:
        mask = light > limit
        if np.mean(~mask[usable]) >= least_free:
            return mask, limit
        limit *= BRIGHTER


@dataclass(frozen=True)
class Fitted:
    """Amplitudes (k,) of the components, their errors, the sky (ny, nx), and the rms of its smooth part."""

    value: Array
    error: Array
    surface: Array
    smooth: float


def fit(
    values: Array, surface: Array, free: Mask, units: Mapping[str, Array], flat: Image, waves: Cosines
) -> Fitted:  # fmt: skip
    """Components and what is smooth, together, from the levels of boxes.

    The smooth part is a Gaussian process: plane and cosines, whose prior variance is the one that makes the levels most
    likely. What it can explain, it may; amplitudes and their errors are those of what it cannot.

    Parameters
    ----------
    values : ndarray, shape (ny, nx)
    surface : ndarray, shape (ny, nx)
        The sky as known so far, which levels are taken about.
    free : ndarray of bool, shape (ny, nx)
    units : mapping of str to ndarray, shape (ny, nx)
    flat : ndarray, shape (ny, nx)
    waves : Cosines
        With no terms but a constant where there is no smooth part.
    """
    level, error = box_levels(values - surface, free, BOX)
    known = np.isfinite(level)
    if not known.any():
        raise ValueError("no part of the sky is free of traces")
    sigma = error[known]
    means = box_means([*units.values(), surface, flat], free, known)
    parts = np.concatenate([means[:-2], [level[known] + means[-2]]]) / sigma
    y, x = ((np.arange(float(n)) + 0.5) * BOX - 0.5 for n in level.shape)
    # without the plane's constant, which is a component of its own
    smooth = waves.design(y, x)[known.ravel()][:, 1:] * (means[-1] / sigma)[:, None]
    basis, root, turned = np.linalg.svd(smooth, full_matrices=False)
    largest = LARGEST * abs(float(np.mean(parts[-1] * sigma))) if smooth.size else 0.0
    strength, normal, doubt = _likeliest(parts, parts @ basis, root, np.geomspace(1e-3, 1, 40) * largest)
    found = nnls(normal[None, :-1, :-1], normal[None, :-1, -1], tolerance=0.0)[0][0]
    rest = basis.T @ (parts[-1] - found @ parts[:-1])
    terms = turned.T @ (strength * root / (1 + strength * root**2) * rest)
    smoothed = flat * waves(np.concatenate([[0.0], terms]))
    error = np.sqrt(doubt * np.diag(np.linalg.pinv(normal[:-1, :-1], hermitian=True)))
    whole = np.tensordot(found, np.stack(list(units.values())), 1) + smoothed
    return Fitted(found, error, whole, float(smoothed.std()))


def _likeliest(parts: Array, along: Array, root: Array, deviations: Array) -> tuple[float, Array, float]:
    """The smooth part's variance that makes levels most likely.

    Parameters
    ----------
    parts : ndarray, shape (k + 1, n)
        Components and, last, levels in boxes, over their errors.
    along : ndarray, shape (k + 1, m)
        The same along the principal axes of the smooth part.
    root : ndarray, shape (m,)
        Singular values.
    deviations : ndarray, shape (s,)
        To be tried, besides none.

    Returns
    -------
    variance : float
    normal : ndarray, shape (k + 1, k + 1)
        Products of the parts, as the smooth part leaves them.
    doubt : float
        Variance of boxes over that of their errors, at least 1.
    """
    variance, size = np.append(0.0, deviations) ** 2, parts.shape[1]
    share = variance[:, None] * root**2 / (1 + variance[:, None] * root**2)
    normal = parts @ parts.T - np.einsum("ki,si,li->skl", along, share, along)
    gain = nnls(normal[:, :-1, :-1], normal[:, :-1, -1], tolerance=0.0)[1]
    chi2 = np.maximum(normal[:, -1, -1] - gain, 0)
    doubt = np.maximum(chi2 / size, 1.0)
    deviance = np.log1p(variance[:, None] * root**2).sum(axis=1) + size * np.log(doubt) + chi2 / doubt
    best = int(np.argmin(deviance))
    return float(variance[best]), normal[best], float(doubt[best])


def box_means(images: Sequence[Image], free: Mask, known: Mask) -> Array:
    """Means of images over the free pixels of each known box, shape (images, boxes)."""
    ny, nx = free.shape
    place = (np.arange(ny) // BOX)[:, None] * known.shape[1] + np.arange(nx) // BOX
    number = np.bincount(place[free], minlength=known.size)[known.ravel()]
    sums = np.array([np.bincount(place[free], one[free], known.size)[known.ravel()] for one in images])
    return sums / np.maximum(number, 1)


def stripes_beside(
    left: Array, free: Mask, noise: float, along_x: bool, segments: tuple[int, int]
) -> tuple[Array, dict[str, dict[str, float]]]:  # fmt: skip
    """What is left of columns and rows; lines along the dispersion that traces mostly cover are left as they are."""
    lines, told = np.zeros(left.shape), {}
    for name, axis in (("columns", 0), ("rows", 1)):
        seen = free
        if axis == (1 if along_x else 0):
            seen = free & (free.mean(axis=axis, keepdims=True) >= LEAST_LINE)
        one, told[name] = stripes(left - lines, seen, noise, axis, segments[axis])
        lines = lines + one
    return lines, told


def judged(left: Array, free: Mask, along_x: bool, level: float) -> tuple[float, float, float, float]:
    """Slope along the dispersion of what is left, its error, its rms in boxes, all over the level; and what errors of
    boxes are to be multiplied by."""
    boxes, error = box_levels(left, free, JUDGED)
    known = np.isfinite(boxes)
    if known.sum() < 3 or not level > 0:
        return np.nan, np.nan, np.nan, 1.0
    values, sigma = boxes[known], error[known]
    doubt = float(np.sqrt(max(np.mean((values - np.average(values, weights=sigma**-2)) ** 2 / sigma**2), 1.0)))
    place = np.indices(boxes.shape)[1 if along_x else 0][known] * JUDGED / left.shape[1 if along_x else 0]
    away = place - np.average(place, weights=sigma**-2)
    power = float(np.sum(away**2 / sigma**2))
    slope = float(np.sum(away * values / sigma**2)) / power if power else np.nan
    slope_error = doubt / np.sqrt(power) if power else np.nan
    rms = float(np.sqrt(max(np.mean(values**2) - np.mean(sigma**2), 0.0)))
    return slope / level, float(slope_error) / level, rms / level, doubt
