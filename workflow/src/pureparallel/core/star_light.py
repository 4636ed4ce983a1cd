"""Bright stars of a mosaic: their masked cores, and how far their wings and spikes pass for sources.

Nothing is assumed of the orientation of spikes, for a mosaic has those of all its rolls. Along a ray from a star, light
times squared distance changes slowly (it is constant in the spikes of straight edges), while a source is a bump in it;
and a mirror's image is the same under a turn by 180 degrees, which sources are not. What a star's own light can be at a
place is therefore the running median along the ray, or that along the opposite ray, whichever is less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALLEST = 6
"""Pixels of a hole that can be a star's core."""

RING = 3
"""Pixels around a hole that tell whether it is a star's."""

AMPLITUDE = 3000.0
"""Significance times squared radius (pixels) of the light around a star's core, at least: galaxies have less."""

FAINTEST = 5.0
"""Significance of the light around a star's core, at least."""

BRIGHT = 200.0
"""Significance of a compact source from which on its wings are looked at."""

INNER = 6.0
"""Pixels from the centre of a star without a hole where its wings begin."""

FARTHEST = 300.0
"""Pixels to which the light of stars is followed."""

ANGLES = 720

PER_RADIUS = 24
"""Samples along a ray while the radius grows by e."""

WINDOW = 1.5
"""Factor to both sides of a radius within which the median is taken."""

SPREAD = 4
"""Angular samples to both sides, of which the brightest counts."""


@dataclass(frozen=True)
class Star:
    """A bright star.

    Attributes
    ----------
    x, y : float
        0-based pixels.
    core : float
        Pixels, radius of its hole; 0 without one.
    reach : float
        Pixels to which its light is followed.
    """

    x: float
    y: float
    core: float
    reach: float


def holes(covered: Mask) -> tuple[NDArray[np.int32], int]:
    """Number the holes in what is covered: missing pixels that are not connected with the edges of the image."""
    labels, count = ndimage.label(~covered, np.ones((3, 3)))
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outside = np.zeros(count + 1, bool)
    outside[rim] = True
    outside[0] = True
    number = np.where(outside, 0, np.cumsum(~outside)).astype(np.int32)
    return number[labels], int((~outside).sum())


def cores(significance: Image, covered: Mask) -> list[Star]:
    """Stars whose cores are missing in one filter: holes with bright light all around.

    Parameters
    ----------
    significance : ndarray, shape (ny, nx)
    covered : ndarray of bool, shape (ny, nx)
    """
    labels, count = holes(covered)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[number] < SMALLEST:
            continue
        around = tuple(slice(max(s.start - RING - 1, 0), s.stop + RING + 1) for s in box)
        hole = labels[around] == number
        ring = ndimage.binary_dilation(hole, iterations=RING) & covered[around]
        if not ring.any():
            continue
        light, radius = float(np.median(significance[around][ring])), np.sqrt(sizes[number] / np.pi)
        if light < FAINTEST or light * radius**2 < AMPLITUDE:
            continue
        # spikes are masked with the core; it is where the hole is thickest
        depth = ndimage.distance_transform_edt(np.pad(hole, 1))[1:-1, 1:-1]
        y, x = (float(v.mean()) for v in np.nonzero(depth > depth.max() - 0.5))
        found.append(Star(x + around[1].start, y + around[0].start, float(depth.max()), FARTHEST))
    return found


def peaks(significance: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions x, y of the highest of 11 x 11 pixels above `BRIGHT`."""
    bright = significance > BRIGHT
    highest = ndimage.maximum_filter(np.where(bright, significance, 0), 11)
    y, x = np.nonzero(bright & (significance == highest))
    return x.astype(float), y.astype(float)


def reach(peak: float) -> float:
    """Pixels to which the light of a star without a hole is followed, by the significance of its peak."""
    return float(min(6 * np.sqrt(peak), FARTHEST))


def merge(stars: Sequence[Star]) -> list[Star]:
    """Each star once: of those that lie in each other's cores the one with the smallest, which is centred best."""
    kept: list[Star] = []
    for star in sorted(stars, key=lambda one: (one.core, one.x, one.y)):
        if not any(np.hypot(star.x - one.x, star.y - one.y) < max(star.core, one.core, INNER) for one in kept):
            kept.append(star)
    return kept


def fill(significance: Image, covered: Mask, stars: Sequence[Star]) -> Mask:
    """Fill the holes of stars with light that rises inwards, in place, so that each is one peak; tell what is filled.

    Parameters
    ----------
    significance : ndarray, shape (ny, nx)
    covered : ndarray of bool, shape (ny, nx)
        By any filter.
    stars : sequence of Star
    """
    labels, _ = holes(covered)
    boxes, filled = ndimage.find_objects(labels), np.zeros(covered.shape, bool)
    for star in stars:
        number = labels[round(star.y), round(star.x)]
        if not number:
            continue
        around = tuple(slice(max(s.start - RING - 1, 0), s.stop + RING + 1) for s in boxes[number - 1])
        hole = labels[around] == number
        top = float(np.max(significance[around], where=covered[around], initial=1.0))
        y, x = np.ogrid[around]
        distance = np.hypot(y - star.y, x - star.x)
        light = top * (2 - distance / distance.max())
        significance[around][hole] = np.maximum(significance[around], light)[hole]
        filled[around] |= hole
    return filled


def halo(significance: Image, known: Mask, stars: Sequence[Star]) -> Image:
    """What the light of stars can be at most, in units of the significance; shape (ny, nx).

    Parameters
    ----------
    significance : ndarray, shape (ny, nx)
    known : ndarray of bool, shape (ny, nx)
        Where it was measured.
    stars : sequence of Star
    """
    result = np.zeros(significance.shape, np.float32)
    for star in stars:
        inner = max(INNER, 0.5 * star.core)
        radius = inner * np.exp(np.arange(0, np.log(star.reach / inner), 1 / PER_RADIUS))
        if len(radius) < 2:
            continue
        light = rays(significance, known, star, radius)
        rows, columns = (
            slice(max(int(c - star.reach), 0), min(int(c + star.reach) + 2, n))
            for c, n in zip((star.y, star.x), significance.shape, strict=True)
        )
        y, x = np.ogrid[rows, columns]
        distance = np.maximum(np.hypot(y - star.y, x - star.x), inner).astype(np.float32)
        ring = np.rint(np.log(distance / inner) * PER_RADIUS).astype(int)
        angle = np.rint(np.arctan2(y - star.y, x - star.x) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
        value = light[angle, np.minimum(ring, len(radius) - 1)] / distance**2
        part = result[rows, columns]
        np.maximum(part, np.where(ring < len(radius), value, 0), out=part)
    return result


def rays(significance: Image, known: Mask, star: Star, radius: NDArray) -> NDArray[np.float32]:
    """A star's own light times squared distance, along all rays; shape (ANGLES, len(radius)).

    Running medians of what is known within `WINDOW`; 0 where nothing is.
    """
    angle = np.arange(ANGLES)[:, None] * (2 * np.pi / ANGLES)
    x = np.rint(star.x + radius * np.cos(angle)).astype(int)
    y = np.rint(star.y + radius * np.sin(angle)).astype(int)
    ny, nx = significance.shape
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    light = np.where(inside & known[y, x], significance[y, x] * radius**2, np.nan)
    half = int(np.log(WINDOW) * PER_RADIUS)
    padded = np.pad(light, ((0, 0), (half, half)), constant_values=np.nan)
    window = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=1)
    ordered = np.sort(window, axis=-1)  # NaN at the end
    count = np.isfinite(ordered).sum(axis=-1)
    middle = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[..., None], axis=-1)[..., 0]
    # a spike between two samples, or a centre that is a pixel off
    wide = ndimage.maximum_filter1d(np.where(count > 0, middle, -np.inf), 2 * SPREAD + 1, axis=0, mode="wrap")
    opposite = np.roll(wide, ANGLES // 2, axis=0)
    own = np.where(np.isfinite(opposite), np.minimum(wide, opposite), wide)
    return np.where(np.isfinite(own), np.maximum(own, 0), 0).astype(np.float32)
