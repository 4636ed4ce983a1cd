"""What a field's own stars say of the two numbers of `psf_model`: blur and wavefront.

Stars are compared with models at their own places, on all their exposures, in rings: few numbers, that know nothing of
what a star cannot tell. What is known beforehand counts as one more measurement: a single faint star does little,
and a field without stars has the model as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import psf_model
from .apertures import circle, cut
from .psf_mosaic import Drizzling, Light, image

Array = NDArray[np.float64]

REACH = 1.2
"""Arcsec around a star in which other sources may not be brighter than `ALONE` of it."""

INNER = 0.9
"""Arcsec within which what a model lacks is measured; beyond it, up to `REACH`, is the sky."""

SINGLE = 0.2, 0.35
"""Arcsec from which on it is a mean over all directions, softly."""

ALONE = 0.02
"""Of a star's light."""

CORE = 0.3
"""Arcsec around it that have to be free of holes, in which saturated pixels and outliers would be."""

HOLLOW = 0.5
"""Least weight there over the median around."""

WINDOW = 0.1
"""Arcsec, sigma of the window of centroids."""

EDGES = (0.0, 0.06, 0.1, 0.14, 0.2, 0.3, 0.45, 0.7, 1.0)
"""Arcsec, of the rings."""

BLURS = (0.004, 0.014, 0.022, 0.03, 0.04, 0.06, 0.09)
"""Arcsec, at which models are made; between them light in rings is interpolated over the blur's square."""

BLUR_ERROR, WAVEFRONT_ERROR = 0.01, 20.0
"""Arcsec and nm: of the numbers that are known beforehand."""

FLOOR = 0.006
"""Of a star's light in a ring, relative: centroids, flat field, and what two numbers do not describe."""

WORST = 0.05
"""Of its light: a star that differs in any ring from the best model by more, and by 5 errors, is none."""


@dataclass(frozen=True)
class Fit:
    """What was fitted.

    Attributes
    ----------
    blur : float
        Arcsec.
    wavefront : float
        nm.
    errors : (float, float)
        Of both.
    used : ndarray of bool, shape (n,)
        Stars that took part.
    residuals : ndarray, shape (n, rings)
        Data less model over the star's light, whichever took part.
    """

    blur: float
    wavefront: float
    errors: tuple[float, float]
    used: NDArray[np.bool_]
    residuals: Array


@dataclass(frozen=True)
class Stamp:
    """A star on a mosaic: its square of data and errors, (2 h + 1, 2 h + 1), around the pixel that it is on.

    Attributes
    ----------
    row : int
        Of the catalogue.
    x, y : float
        Its centroid, 0-based pixels.
    data, error : ndarray
        0 where nothing was measured.
    """

    row: int
    x: float
    y: float
    data: Array
    error: Array

    @property
    def off(self) -> tuple[float, float]:
        """Pixels from the square's middle to the centroid."""
        return self.x - round(self.x), self.y - round(self.y)


def find(
    data: NDArray, error: NDArray, weight: NDArray, segments: NDArray, x: Array, y: Array, points: NDArray[np.bool_],
    *, scale: float, snr: float, most: int,
) -> list[Stamp]:  # fmt: skip
    """Stars that a model can be compared with: bright, alone and whole; the brightest first.

    Parameters
    ----------
    data, error, weight : ndarray, shape (ny, nx)
        Error 0 and weight 0 where there are no data.
    segments : ndarray of int, shape (ny, nx)
        Sources; 0 is sky.
    x, y : ndarray, shape (n,)
        0-based pixels of the sources.
    points : ndarray of bool, shape (n,)
        Which may be stars.
    scale : float
        Arcsec per pixel.
    snr : float
        Least signal to noise within `CORE`.
    most : int
    """
    half = int(np.ceil(REACH / scale))
    core, near = (_distance(half) <= radius / scale for radius in (CORE, REACH))
    found = []
    for row in np.flatnonzero(points & np.isfinite(x) & np.isfinite(y)):
        i, j = round(float(x[row])), round(float(y[row]))
        part, deep = (cut(one, i, j, half, 0) for one in (segments, weight))
        whole = deep[near].min() > 0 and deep[core].min() > HOLLOW * np.median(deep[near])
        if not part[half, half] or not whole:
            continue
        light, noise = (cut(one, i, j, half, 0).astype(float) for one in (data, error))
        others = np.abs(light[near & (part > 0) & (part != part[half, half])]).sum()
        dx, dy = centroid(light, WINDOW / scale)
        if (
            others < ALONE * light[core].sum()
            and np.hypot(dx, dy) < CORE / scale / 2
            and light[core].sum() > snr * np.sqrt(np.sum(noise[core] ** 2))
        ):
            moved = round(i + dx), round(j + dy)
            light, noise = (cut(one, *moved, half, 0).astype(float) for one in (data, error))
            found.append((float(light[core].sum()), Stamp(int(row), i + dx, j + dy, light, noise)))
    return [stamp for _, stamp in sorted(found, key=lambda one: -one[0])[:most]]


def centroid(light: Array, sigma: float) -> tuple[float, float]:
    """Of a star near the middle, from there in pixels, by a Gaussian window that follows it."""
    half = light.shape[0] // 2
    v, u = np.mgrid[-half : half + 1, -half : half + 1]
    x = y = 0.0
    for _ in range(30):
        window = light * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))
        total = float(window.sum())
        if total <= 0:
            return np.inf, np.inf
        # of a Gaussian as wide as the window, the product's centroid moves by half of what it should
        step = 2 * ((window * u).sum() / total - x), 2 * ((window * v).sum() / total - y)
        x, y = float(np.clip(x + step[0], -half, half)), float(np.clip(y + step[1], -half, half))
        if max(map(abs, step)) < 1e-4:
            break
    return x, y


def rings(light: Array, dx: float, dy: float, scale: float) -> Array:
    """Sums in rings between `EDGES`, shape (..., rings), around a star at dx, dy from the middle.

    Parameters
    ----------
    light : ndarray, shape (..., m, m)
    dx, dy : float
        Pixels.
    scale : float
        Arcsec per pixel.
    """
    half = light.shape[-1] // 2
    covers = [circle(edge / scale).cover(dx, dy, half) if edge else np.zeros(light.shape[-2:]) for edge in EDGES]
    return np.einsum("...yx,ryx->...r", light, np.diff(covers, axis=0))


def areas(scale: float) -> Array:
    """Pixels in each ring."""
    return np.pi * np.diff(np.square(EDGES)) / scale**2


def fit(light: Array, error: Array, models: Array, area: Array, wave: float) -> Fit:
    """Find blur and wavefront.

    Parameters
    ----------
    light, error : ndarray, shape (n, rings)
        Of stars, and its errors.
    models : ndarray, shape (n, 2, `BLURS`, rings)
        Part of a star's light in each ring, of a perfect aperture (0) and one that does not add up (1).
    area : ndarray, shape (rings,)
    wave : float
        Micron.
    """
    from scipy.optimize import least_squares

    used = np.ones(len(light), bool)
    prior = np.array([psf_model.BLUR, psf_model.WAVEFRONT])
    width = np.array([BLUR_ERROR, WAVEFRONT_ERROR])

    def residuals(numbers: Array) -> tuple[Array, Array]:
        """In errors, and over the star's light."""
        shape = _between(models, float(numbers[0]), float(numbers[1]), wave)
        found = [_compare(*one, area) for one in zip(light, error, shape, strict=True)]
        return np.array([pull for pull, _ in found]), np.array([off for _, off in found])

    def cost(numbers: Array) -> Array:
        return np.concatenate([residuals(numbers)[0][used].ravel(), (numbers - prior) / width])

    for _ in range(5):
        best = least_squares(cost, prior, bounds=([BLURS[0], 0], [BLURS[-1], 200]), x_scale=width, diff_step=1e-3)
        pulls, off = residuals(best.x)
        good = ~np.any((np.abs(off) > WORST) & (np.abs(pulls) > 5), axis=1) if len(light) else used
        if (good == used).all():
            break
        used = good
    covariance = np.linalg.inv(best.jac.T @ best.jac)
    dof = max(int(used.sum()) * (len(area) - 2), 1)
    factor = np.sqrt(max(float(np.sum(best.fun**2)) / dof, 1.0)) if used.any() else 1.0
    errors = factor * np.sqrt(np.diag(covariance))
    return Fit(float(best.x[0]), float(best.x[1]), (float(errors[0]), float(errors[1])), used, off)


def _between(models: Array, blur: float, wavefront: float, wave: float) -> Array:
    """Models (n, rings) of a blur and a wavefront."""
    square, nodes = blur**2, np.square(BLURS)
    i = int(np.clip(np.searchsorted(nodes, square) - 1, 0, len(nodes) - 2))
    part = (square - nodes[i]) / (nodes[i + 1] - nodes[i])
    blurred = (1 - part) * models[:, :, i] + part * models[:, :, i + 1]
    strehl = psf_model.strehl(wavefront, wave)
    return strehl * blurred[:, 0] + (1 - strehl) * blurred[:, 1]


def _compare(light: Array, error: Array, shape: Array, area: Array) -> tuple[Array, Array]:
    """A star less the model of its brightness on a level sky: in errors, and over its light."""
    weight = 1 / np.hypot(error, FLOOR * light.sum() * np.sqrt(shape))
    design = np.stack([shape, area], axis=1)
    (flux, sky), *_ = np.linalg.lstsq(design * weight[:, None], light * weight)
    off = light - flux * shape - sky * area
    return off * weight, off / max(abs(float(flux)), 1e-30)


def leftover(stamps: Sequence[Stamp], used: NDArray[np.bool_], light: Light, drizzling: Drizzling) -> Array:
    """What stars have in common that a model lacks, over their light; 0 in all, and from `INNER` on everywhere.

    Parameters
    ----------
    stamps : sequence of Stamp
    used : ndarray of bool, shape (n,)
        At least one.
    light : callable
        The model, on the detector.
    drizzling : Drizzling

    Returns
    -------
    ndarray, shape (2 h + 1, 2 h + 1)
        h = `REACH` / scale rounded up.
    """
    from scipy.ndimage import shift

    parts = []
    for stamp in (stamp for stamp, use in zip(stamps, used, strict=True) if use):
        model = image(light, drizzling, stamp.x, stamp.y, REACH)
        if model is None:
            continue
        distance = _distance(model.shape[0] // 2) * drizzling.scale
        # the star's light within, and a level sky, from sums inside and around: the model's light within stays
        regions = distance <= INNER, (distance > INNER) & (distance <= REACH)
        flux, sky = np.linalg.solve(
            [[model[one].sum(), one.sum()] for one in regions], [stamp.data[one].sum() for one in regions]
        )
        dx, dy = stamp.off
        parts.append(shift((stamp.data - sky) / flux - model, (-dy, -dx), order=3, mode="nearest"))
    common = np.median(parts, axis=0) if len(parts) > 2 else np.mean(parts, axis=0)
    distance = _distance(common.shape[0] // 2)
    # farther out, where noise is larger than what is left in single pixels, its mean in rings
    ring = np.rint(distance).astype(int)
    mean = np.bincount(ring.ravel(), common.ravel()) / np.bincount(ring.ravel())
    single = np.clip((SINGLE[1] - distance * drizzling.scale) / (SINGLE[1] - SINGLE[0]), 0, 1)
    inside = distance * drizzling.scale <= INNER
    common = np.where(inside, single * common + (1 - single) * mean[ring], 0)
    return common - inside * common[inside].mean()


def _distance(half: int) -> Array:
    """Pixels from the middle."""
    axis = np.arange(-half, half + 1)
    return np.hypot(axis, axis[:, None])


def compare(filter: str, drizzling: Drizzling, stamps: Sequence[Stamp]) -> Fit:
    """Fit the stars of a mosaic.

    Parameters
    ----------
    filter : str
    drizzling : Drizzling
        Of the mosaic.
    stamps : sequence of Stamp
        None leaves what is known beforehand.
    """
    pixel = drizzling.exposures[0].pixel
    nodes = [[psf_model.star(filter, pixel, blur=b, wavefront=w).on for b in BLURS] for w in (0.0, np.inf)]
    models, light, error = [], [], []
    for stamp in stamps:
        images = [[image(node, drizzling, stamp.x, stamp.y, REACH) for node in row] for row in nodes]
        models.append(rings(np.array(images, float), *stamp.off, drizzling.scale))
        light.append(rings(stamp.data, *stamp.off, drizzling.scale))
        error.append(np.sqrt(rings(stamp.error**2, *stamp.off, drizzling.scale)))
    shape = (len(stamps), 2, len(BLURS), len(EDGES) - 1)
    wave = float(np.mean(psf_model.band(filter)))
    return fit(
        np.reshape(light, shape[::3]), np.reshape(error, shape[::3]), np.reshape(models, shape),
        areas(drizzling.scale), wave,
    )  # fmt: skip
