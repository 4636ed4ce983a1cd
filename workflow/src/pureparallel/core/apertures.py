"""Light in apertures: sums over parts of pixels, over what neighbours hide, and the noise that pixels share.

Noise of a mosaic's pixels is correlated, on small scales by drizzling and on large ones by whatever the sky leaves
behind. Apertures on empty sky know all of it (Labbe et al. 2003, AJ 125, 1107): their scatter, in images whose weights
are divided out, is a power of their area between the square root, of white noise, and one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST = 30
"""Apertures beside each other from which on their scatter is measured."""

DRAWN = 4000
"""Places of empty apertures, at most."""


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in pixels: semi-major and -minor axis, and degrees from x towards y."""

    a: float
    b: float
    theta: float = 0.0

    @property
    def area(self) -> float:
        """Pixels."""
        return np.pi * self.a * self.b

    @property
    def reach(self) -> int:
        """Pixels from the centre within which it lies."""
        return int(np.ceil(self.a + 1))

    @property
    def mean_radius(self) -> float:
        """Pixels, of the circle of the same area."""
        return float(np.sqrt(self.a * self.b))

    def scaled(self, factor: float) -> "Ellipse":
        """Larger by a factor."""
        return Ellipse(self.a * factor, self.b * factor, self.theta)

    def cover(self, dx: float, dy: float, half: int) -> Array:
        """Part of each pixel that is inside, shape (2 half + 1,) * 2, of an ellipse at dx, dy from the middle."""
        from photutils.geometry import elliptical_overlap_grid  # type: ignore[import-not-found]

        low_x, low_y, n = -half - 0.5 - dx, -half - 0.5 - dy, 2 * half + 1
        return elliptical_overlap_grid(
            low_x, low_x + n, low_y, low_y + n, n, n, self.a, self.b, np.deg2rad(self.theta), 1, 1
        )  # fmt: skip


def circle(radius: float) -> Ellipse:
    """A circle in pixels."""
    return Ellipse(radius, radius)


def growth(image: Array, radii: ArrayLike) -> Array:
    """Light of an image of a star within radii around the middle of its pixel in the middle.

    Parameters
    ----------
    image : ndarray, shape (2 h + 1, 2 h + 1)
    radii : array_like, shape (n,)
        Pixels, up to h.
    """
    half = image.shape[0] // 2
    return np.array([float((image * circle(r).cover(0.0, 0.0, half)).sum()) for r in np.atleast_1d(radii)])


def cut(image: NDArray, x: int, y: int, half: int, fill: float) -> NDArray:
    """A square around a pixel; `fill` beyond the image's edges."""
    result = np.full((2 * half + 1,) * 2, fill, image.dtype)
    rows, columns = (
        slice(max(c - half, 0), max(min(c + half + 1, n), 0)) for c, n in zip((y, x), image.shape, strict=True)
    )
    if rows.start < rows.stop and columns.start < columns.stop:
        there = tuple(slice(s.start - c + half, s.stop - c + half) for s, c in ((rows, y), (columns, x)))
        result[there] = image[rows, columns]
    return result


def mended(stamp: Array, hidden: Mask, dx: float, dy: float) -> tuple[Array, Mask]:
    """A stamp whose hidden pixels are those opposite of the source; where these are hidden too, nothing.

    Parameters
    ----------
    stamp : ndarray, shape (..., m, m)
    hidden : ndarray of bool, shape (..., m, m)
    dx, dy : float
        Of the source from the stamp's middle, pixels.

    Returns
    -------
    stamp : ndarray, shape (..., m, m)
    lost : ndarray of bool, shape (..., m, m)
        Hidden, and not mended.
    """
    turn = round(2 * dy), round(2 * dx)

    def opposite(image: NDArray, fill: float) -> NDArray:
        turned = image[..., ::-1, ::-1]
        moved = np.full_like(turned, fill)
        pairs = [
            (slice(max(t, 0), n + min(t, 0)), slice(max(-t, 0), n - max(t, 0)))
            for t, n in zip(turn, image.shape[-2:], strict=True)
        ]
        moved[..., pairs[0][0], pairs[1][0]] = turned[..., pairs[0][1], pairs[1][1]]
        return moved

    lost = hidden & opposite(hidden, True)
    return np.where(lost, 0.0, np.where(hidden, opposite(stamp, 0.0), stamp)), lost


@dataclass(frozen=True)
class Noise:
    """Noise of empty apertures against their area, in an image whose weights are inverse variances.

    Attributes
    ----------
    radius : ndarray, shape (n,)
        Pixels.
    apertures : ndarray, shape (n,)
        How many fit beside each other on empty sky.
    sigma, offset : ndarray, shape (n,)
        1.4826 times the median absolute deviation, and the median, of sums of data times the root of the weight.
    factor, power : float
        sigma is the factor times the number of pixels to this power.
    """

    radius: Array
    apertures: Array
    sigma: Array
    offset: Array
    factor: float
    power: float

    def of(self, pixels: ArrayLike, weight: ArrayLike) -> Array:
        """Standard deviation of the sum over so many pixels whose mean weight is given."""
        with np.errstate(divide="ignore"):
            return self.factor * np.asarray(pixels, float) ** self.power / np.sqrt(np.asarray(weight, float))


def empty(data: NDArray, weight: NDArray, blocked: Mask, radii: Sequence[float], seed: int = 0) -> Noise:
    """Measure the noise of empty apertures.

    Parameters
    ----------
    data, weight : ndarray, shape (ny, nx)
        Weight 0 where there are no data.
    blocked : ndarray of bool, shape (ny, nx)
        Sources, and all that is near them.
    radii : sequence of float
        Pixels.
    seed : int
        Of the apertures' places.

    Returns
    -------
    Noise
        That of white noise with the stated weights where too little sky is free for any measurement.
    """
    from scipy.ndimage import distance_transform_edt

    free = ~blocked & (weight > 0) & np.isfinite(data)
    free[0], free[-1], free[:, 0], free[:, -1] = False, False, False, False
    distance = np.asarray(distance_transform_edt(free))
    level = np.where(free, data * np.sqrt(weight), 0)
    rng, rows = np.random.default_rng(seed), []
    for radius in radii:
        inside = np.flatnonzero(distance > radius + 1)
        count = inside.size / (np.pi * radius**2)
        if count < LEAST:
            break
        chosen = rng.choice(inside, min(DRAWN, inside.size), replace=False)
        rows.append((radius, count, *_scatter(level, chosen, radius)))
    if not rows:
        return Noise(np.empty(0), np.empty(0), np.empty(0), np.empty(0), 1.0, 0.5)
    radius, count, sigma, offset = np.array(rows).T
    pixels = np.log(np.pi * radius**2)
    if len(rows) == 1:
        return Noise(radius, count, sigma, offset, float(sigma[0] / np.sqrt(np.pi) / radius[0]), 0.5)
    # the scatter of a scatter falls with the root of their number
    power, factor = np.polyfit(pixels, np.log(sigma), 1, w=np.sqrt(np.minimum(count, DRAWN)))
    return Noise(radius, count, sigma, offset, float(np.exp(factor)), float(power))


def _scatter(level: Array, chosen: NDArray, radius: float) -> tuple[float, float]:
    """Width and median of sums over circles around pixels, given by their flat indices."""
    half = circle(radius).reach
    cover = circle(radius).cover(0.0, 0.0, half)
    used = np.nonzero(cover)
    steps = (used[0] - half) * level.shape[1] + used[1] - half
    sums = np.zeros(len(chosen))
    flat = level.ravel()
    for step, part in zip(steps, cover[used], strict=True):
        sums += part * flat[chosen + step]
    middle = float(np.median(sums))
    return 1.4826 * float(np.median(np.abs(sums - middle))), middle
