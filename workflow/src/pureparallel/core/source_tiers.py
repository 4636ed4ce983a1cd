"""Sources of a direct image, masked in tiers, from sharp to wide.

The sharp tiers look for anything that stands out. The wide ones follow halos down to a small part of a pixel's noise,
but only as far around a source as its light can reach, so that bumps of the sky stay sky. `swallowed` finds the
extended sources whose light a background has taken in all the same.

Masking in tiers is an idea of Bagley et al. (2023, ApJ 946, L12).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SMOOTH = 1.5
"""Cells, sigma of the kernel that every tier smooths its cells with."""

EXTENDED = 8.0
"""Pixels; sources of smaller radius are not asked whether the background has swallowed light of theirs."""

GROWTH = 1.0
"""Radii by which such a source is widened."""

LOST = (0.005, 0.5)
"""Of its flux, between which that in the background is taken for its own."""

BRIGHT = 3.0
"""Thresholds above which a source's bright part lies."""

COARSE = 4
"""Pixels on a side of the cells in which that is looked into."""

SLOPE = 2.0
"""Outside of the isophote that a sharp tier sees, the light of a source falls at least with this power of the radius:
Sérsic profiles of index 4 do from their half-light radius on, all others and the wings of stars fall faster."""


@dataclass(frozen=True)
class Tier:
    """How sources are looked for on one scale.

    Attributes
    ----------
    cell : int
        Pixels on a side of the cells that the image is averaged in.
    threshold : float
        Standard deviations of the smoothed cells.
    least : int
        Cells of the smallest source.
    grow : float
        Cells by which it is widened.
    seeded : bool
        Whether only what a known source reaches counts.
    """

    cell: int
    threshold: float
    least: int
    grow: float
    seeded: bool


TIERS = (
    Tier(1, 3.0, 5, 3, seeded=False),
    Tier(2, 3.0, 5, 2, seeded=False),
    Tier(4, 2.5, 3, 1.5, seeded=True),
    Tier(8, 2.5, 2, 1.5, seeded=True),
)


def source_mask(
    residual: Array, usable: Mask, halos: Mask, threshold: float = 1.0, least_free: float = 0.2
) -> tuple[Mask, Mask, list[float]]:
    """Pixels of sources.

    Parameters
    ----------
    residual : ndarray, shape (ny, nx)
        Background subtracted; finite everywhere.
    usable : ndarray of bool, shape (ny, nx)
    halos : ndarray of bool, shape (ny, nx)
        Pixels that belong to sources in any case, as long as enough are free.
    threshold : float
        Factor on all thresholds.
    least_free : float
        A tier that would leave less of the usable pixels gets a higher threshold, or is left out.

    Returns
    -------
    sources, cores : ndarray of bool, shape (ny, nx)
        All, and their bright parts.
    parts : list of float
        Masked part of the usable pixels after each of `TIERS`.
    """
    found, parts = np.zeros(residual.shape, bool), []
    seeds, cores, depth = found, found, 0.0
    for tier in TIERS:
        ratio, noise = significance(residual, usable, found | halos, tier)
        for high in threshold * 1.5 ** np.arange(6):
            limit = tier.threshold * high
            within = reach(seeds, tier, depth / (limit * noise)) if tier.seeded else None
            more = found | regions(ratio, tier, limit, within, found.shape)
            if np.mean(~more[usable]) >= least_free:
                found = more
                break
        if not tier.seeded:
            seeds, depth = found, limit * noise
            cores = regions(ratio, replace(tier, grow=0), BRIGHT * limit, None, found.shape)
        parts.append(float(np.mean(found[usable])))
    both = found | halos
    return (both if np.mean(~both[usable]) >= least_free else found), cores, parts


def swallowed(residual: Array, surface: Array, usable: Mask, cores: Mask) -> Mask:
    """Surroundings of extended sources whose light has gone into the background.

    The background is higher in such a source than on all sides of it, by a flux that is not negligible beside the
    source's; more than a part of that is a bump of the sky that the source happens to lie on.

    Parameters
    ----------
    residual, surface : ndarray, shape (ny, nx)
        The image less the background, and the background.
    usable, cores : ndarray of bool, shape (ny, nx)

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    total, weight = cells(np.where(usable, residual, 0), COARSE), cells(usable, COARSE)
    surface = cells(surface, COARSE) / COARSE**2
    labels, count = ndimage.label(cells(cores, COARSE) > 0)
    flux = np.bincount(labels.ravel(), total.ravel() * COARSE**2 / np.maximum(weight.ravel(), 1), count + 1)
    radius = np.sqrt(np.bincount(labels.ravel(), minlength=count + 1) / np.pi)
    radius[0] = 0
    y, x = np.indices(labels.shape)
    found = np.zeros(labels.shape, bool)
    for label in np.flatnonzero(radius >= EXTENDED / COARSE):
        distance = ndimage.distance_transform_edt(labels != label)
        inside = distance <= GROWTH * radius[label]
        ring = (distance > 1.5 * radius[label]) & (distance <= 2.5 * radius[label])
        cy, cx = y[labels == label].mean(), x[labels == label].mean()
        around = [surface[ring & ((y > cy) == up) & ((x > cx) == right)] for up in (0, 1) for right in (0, 1)]
        height = surface[inside].mean() - max((float(part.mean()) for part in around if part.size), default=np.inf)
        bump = float(height * inside.sum() * COARSE**2)
        if height > 0 and LOST[0] * flux[label] < bump < LOST[1] * flux[label]:
            found |= inside
    return np.repeat(np.repeat(found, COARSE, 0), COARSE, 1)[: cores.shape[0], : cores.shape[1]]


def significance(residual: Array, usable: Mask, known: Mask, tier: Tier) -> tuple[Array, float]:
    """Smoothed cells of a tier over their scatter in what is not known to be source, and that scatter.

    Returns
    -------
    ndarray, shape (ceil(ny / cell), ceil(nx / cell))
    float
        In units of the image.
    """
    blur = ndimage.gaussian_filter
    weight, total = cells(usable, tier.cell), cells(np.where(usable, residual, 0), tier.cell)
    seen = blur(weight, SMOOTH, mode="constant")
    enough = seen > 0.05 * tier.cell**2
    safe = np.where(enough, seen, 1)
    # the square of the kernel is narrower: the noise, but for a factor that is measured
    noise = np.sqrt(blur(weight, SMOOTH / np.sqrt(2), mode="constant")) / safe
    ratio = np.where(
        enough & (noise > 0), blur(total, SMOOTH, mode="constant") / safe / np.where(noise > 0, noise, 1), 0
    )
    free = enough & (cells(~known & usable, tier.cell) > 0.5 * tier.cell**2)
    if free.sum() < 20:
        free = enough
    middle, low = np.percentile(ratio[free], [50, 15.87]) if free.any() else (0.0, -1.0)
    scale = max(middle - low, 1e-30)
    return ratio / scale, float(scale * np.median(noise))


def reach(seeds: Mask, tier: Tier, contrast: float) -> Mask:
    """Cells that the halo of a seed can reach: what is farther from it is structure of the sky.

    Parameters
    ----------
    seeds : ndarray of bool, shape (ny, nx)
    tier : Tier
    contrast : float
        Surface brightness down to which seeds were looked for, over that of this tier.
    """
    labels, count = ndimage.label(seeds)
    near = np.zeros(tuple(-(-n // tier.cell) for n in seeds.shape), bool)
    if not count:
        return near
    radius = np.sqrt(np.bincount(labels.ravel()) / np.pi)
    beyond = radius * (max(contrast, 1) ** (1 / SLOPE) - 1) / tier.cell
    # in a few classes, so that there are not as many distance maps as sources
    classes = np.ceil(2 * np.log2(np.maximum(beyond, 1))).astype(int)
    classes[0] = -1
    for one in np.unique(classes[1:]):
        core = cells((classes == one)[labels], tier.cell) > 0
        near |= ndimage.distance_transform_edt(~core) <= 2 ** (one / 2)
    return near


def regions(ratio: Array, tier: Tier, threshold: float, within: Mask | None, shape: tuple[int, int]) -> Mask:
    """Pixels of the connected, widened cells above a threshold, of a shape."""
    above = ratio > threshold
    labels, count = ndimage.label(above if within is None else above & within, np.ones((3, 3), bool))
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= tier.least
    keep[0] = False
    if not keep.any():
        return np.zeros(shape, bool)
    near = ndimage.distance_transform_edt(~keep[labels]) <= tier.grow
    return np.repeat(np.repeat(near, tier.cell, 0), tier.cell, 1)[: shape[0], : shape[1]]


def cells(image: NDArray, size: int) -> Array:
    """Sums over cells, shape (ceil(ny / size), ceil(nx / size))."""
    if size == 1:
        return image.astype(float)
    ny, nx = image.shape
    padded = np.pad(image, ((0, -ny % size), (0, -nx % size)))
    return padded.reshape(-(-ny // size), size, -(-nx // size), size).sum(axis=(1, 3))
