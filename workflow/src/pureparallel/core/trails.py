"""Satellite trails: straight lines across the detector, found by Radon transforms.

A bright trail comes within one group: its pixels jump together, and the map of that group's jumps holds a line that no
source can make. A faint one passes the jump detection and is a line in the residual of the rate. Both are looked for;
the width of the mask is measured in the jumps and in the residual.

A line is given by the angle of its normal and its distance from the image's centre, d = u cos a + v sin a, where u and
v are pixels from the centre along x and y.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ANGLE_STEP = 0.5
"""Degrees between the directions that are tried; `_sharpen` finds those between them."""

STRIP = 3
"""Pixels: width of the strips that are summed."""

SEGMENTS = 12
"""Parts of a line that are looked at by themselves: a trail crosses all, a row of sources does not."""

AXIS_MARGIN = 2.5
"""Degrees from the detector's axes within which no line in a residual is trusted: 1/f noise, jumps of rows and
dispersed light run along them."""


@dataclass(frozen=True)
class Trail:
    """A trail.

    Attributes
    ----------
    angle : float
        Degrees, of the normal from x towards y, 0 to 180.
    distance : float
        Pixels, from the image's centre.
    half_width : float
        Pixels.
    significance : float
        Sigma of the strip that found it.
    group : int
        Counted from 0; -1 if found in the residual.
    """

    angle: float
    distance: float
    half_width: float
    significance: float
    group: int

    def mask(self, shape: tuple[int, int]) -> Mask:
        """Pixels of an image that it covers."""
        return np.abs(_offset(self, shape)) <= self.half_width


def find(
    jumps: NDArray[np.bool_], residual: NDArray, ignore: Mask, *, sigma: float = 8.0, grow: float = 1.5, most: int = 4
) -> list[Trail]:
    """Find the trails of an exposure.

    Parameters
    ----------
    jumps : ndarray of bool, shape (ngroups, ny, nx)
        Pixels that jump in each group; no groups if unknown.
    residual : ndarray, shape (ny, nx)
        Rate above the local background over its error; NaN where it is not good.
    ignore : ndarray of bool, shape (ny, nx)
        Pixels that jump for another reason, such as snowballs.
    sigma : float
        A line is taken if its strip stands out so much among all of its direction.
    grow : float
        Pixels added on each side.
    most : int
        Trails per exposure.
    """
    clipped = np.clip(residual, -3, 3)
    shape, found = residual.shape, []
    for group, flags in enumerate(jumps):
        left = flags & ~ignore
        for _ in range(most):
            trail = _in_jumps(left, group, sigma)
            if trail is None:
                break
            left &= ~trail.mask(shape)
            found.append(trail)
    found = _distinct(found, shape)
    for trail in found:
        clipped[replace(trail, half_width=2 * trail.half_width).mask(shape)] = np.nan
    faint = []
    for _ in range(most):
        line = _in_residual(clipped, 1.25 * sigma)  # sources and stripes are in the residual, but not in the jumps
        if line is None:
            break
        clipped[replace(line, half_width=5 * STRIP).mask(shape)] = np.nan
        faint.append(line)
    clipped = np.clip(residual, -3, 3)
    return _distinct([_widened(trail, clipped, grow) for trail in found + faint], shape)[:most]


def _offset(line: Trail, shape: tuple[int, int]) -> Array:
    """Distance of each pixel from a line's middle, signed."""
    (ny, nx), a = shape, np.deg2rad(line.angle)
    u, v = np.arange(nx) - (nx - 1) / 2, np.arange(ny) - (ny - 1) / 2
    return u * np.cos(a) + v[:, None] * np.sin(a) - line.distance


def _along(line: Trail, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Which of `SEGMENTS` equal parts of the line within the image each pixel is beside."""
    (ny, nx), a = shape, np.deg2rad(line.angle)
    u, v = np.arange(nx) - (nx - 1) / 2, np.arange(ny) - (ny - 1) / 2
    position = v[:, None] * np.cos(a) - u * np.sin(a)
    inside = np.abs(_offset(line, shape)) <= max(line.half_width, 1)
    low, high = position[inside].min(), position[inside].max()
    return np.clip((position - low) / max(high - low, 1) * SEGMENTS, 0, SEGMENTS - 1).astype(int)


def _angles() -> Array:
    return np.arange(0, 180, ANGLE_STEP)


def _strips(x: NDArray, y: NDArray, weights: NDArray | None, shape: tuple[int, int]) -> Array:
    """Sums of points over strips of all angles and distances, shape (angles, strips): the Radon transform."""
    ny, nx = shape
    u, v = x - (nx - 1) / 2, y - (ny - 1) / 2
    half = int(np.hypot(nx, ny) / 2 / STRIP) + 1
    sums = np.empty((len(_angles()), 2 * half + 1))
    for row, a in zip(sums, np.deg2rad(_angles()), strict=True):
        place = np.rint((u * np.cos(a) + v * np.sin(a)) / STRIP).astype(np.int64) + half
        row[:] = np.bincount(place, weights, 2 * half + 1)
    return sums


@lru_cache(maxsize=4)
def _areas(shape: tuple[int, int]) -> Array:
    """Pixels in each strip, from every n-th of them: two in a strip's width suffice."""
    step = max(1, min(shape) // 256)
    y, x = np.mgrid[(step - 1) / 2 : shape[0] : step, (step - 1) / 2 : shape[1] : step]
    return _strips(x.ravel(), y.ravel(), None, shape) * step**2


def _candidates(
    excess: Array, areas: Array, shape: tuple[int, int], sigma: float
) -> Iterator[tuple[float, float, float]]:
    """Angle, distance and significance of strips that stand out, the best first, one per line.

    `excess` is in units of its noise; what strips of all kinds scatter by is taken off, sources and all.
    """
    long = areas > STRIP * 0.4 * min(shape)
    values = np.where(long, excess, np.nan)
    if not np.isfinite(values).any():
        return
    middle = np.nanmedian(values)
    spread = max(1.4826 * float(np.nanmedian(np.abs(values - middle))), 1.0)
    score = np.where(long, (excess - middle) / spread, -np.inf)
    half = score.shape[1] // 2
    for _ in range(12):
        i, j = np.unravel_index(np.argmax(score), score.shape)
        if score[i, j] < sigma:
            return
        yield float(_angles()[i]), float((j - half) * STRIP), float(score[i, j])
        near = np.abs((_angles() - _angles()[i] + 90) % 180 - 90) < 4
        columns = np.abs(np.arange(score.shape[1]) - j) * STRIP < 40
        score[np.ix_(near, columns)] = -np.inf


def _in_jumps(flags: Mask, group: int, sigma: float) -> Trail | None:
    """The best line in a map of jumps: of which most pixels along most of it jump."""
    y, x = np.nonzero(flags)
    if len(x) < 0.2 * min(flags.shape):
        return None
    areas = _areas(flags.shape)
    expected = flags.mean() * areas
    excess = (_strips(x, y, None, flags.shape) - expected) / np.sqrt(expected + 1)
    for angle, distance, score in _candidates(excess, areas, flags.shape, sigma):
        line = _sharpened(Trail(angle, distance, STRIP, score, group), x, y, flags.shape)
        if line is None:
            continue
        inside = line.mask(flags.shape)
        part = _along(line, flags.shape)[inside]
        filled = np.bincount(part, flags[inside], SEGMENTS) / np.maximum(np.bincount(part, minlength=SEGMENTS), 1)
        if np.mean(filled > 0.4) >= 0.75:
            return line
    return None


def _sharpened(line: Trail, x: NDArray, y: NDArray, shape: tuple[int, int]) -> Trail | None:
    """The line turned until its profile in the flagged pixels is sharpest, with its middle and half-width there."""
    (ny, nx), reach = shape, 40
    u, v = x - (nx - 1) / 2, y - (ny - 1) / 2
    best, angle, profile = -1.0, line.angle, np.zeros(2 * reach + 2)
    for candidate in line.angle + np.arange(-1.5, 1.51, 0.05):
        a = np.deg2rad(candidate)
        place = u * np.cos(a) + v * np.sin(a) - line.distance + reach
        place = place[(place >= 0) & (place < 2 * reach)]
        # shared between the two bins beside it: along diagonals, whole pixels would fall on every other bin
        left, share = place.astype(np.int64), place % 1
        light = np.bincount(left, 1 - share, 2 * reach + 2) + np.bincount(left + 1, share, 2 * reach + 2)
        light = np.convolve(light, (0.25, 0.5, 0.25), mode="same")
        sharpness = float(np.sum(light**2))
        if sharpness > best:
            best, angle, profile = sharpness, float(candidate), light
    length = _length(replace(line, angle=angle), shape)
    fill = profile / max(length, 1)
    high = fill > (np.median(fill) + np.max(fill)) / 2
    peak = int(np.argmax(fill))
    low, top = peak, peak
    while low > 0 and high[low - 1]:
        low -= 1
    while top < len(high) - 1 and high[top + 1]:
        top += 1
    if top - low + 1 < 3 or fill[low : top + 1].mean() < 0.4:
        return None  # a row of the electronics, or not a line
    turned = angle % 180
    sign = 1 if 0 <= angle < 180 else -1
    middle = line.distance + (low + top) / 2 - reach
    return replace(line, angle=turned, distance=sign * middle, half_width=(top - low + 1) / 2)


def _length(line: Trail, shape: tuple[int, int]) -> float:
    """Pixels of the line's middle within the image."""
    a, (ny, nx) = np.deg2rad(line.angle), shape
    foot, direction = np.array([np.cos(a), np.sin(a)]) * line.distance, np.array([-np.sin(a), np.cos(a)])
    low, high = -np.inf, np.inf
    for start, step, half in zip(foot, direction, (nx / 2, ny / 2), strict=True):
        if abs(step) > 1e-9:
            ends = sorted(((-half - start) / step, (half - start) / step))
            low, high = max(low, ends[0]), min(high, ends[1])
        elif abs(start) > half:
            return 0.0
    return max(high - low, 0.0)


def _in_residual(values: NDArray, sigma: float) -> Trail | None:
    """The best line in a clipped residual: of which most segments are bright; none along the detector's axes."""
    step = max(1, min(values.shape) // 256)
    ny, nx = (n // step * step for n in values.shape)
    blocks = values[:ny, :nx].reshape(ny // step, step, nx // step, step)
    good = np.isfinite(blocks)
    total, count = np.where(good, blocks, 0).sum(axis=(1, 3)), good.sum(axis=(1, 3))
    y, x = np.nonzero(count)
    weight, number = total[y, x], count[y, x].astype(float)
    weight = weight - number * np.sum(weight) / max(np.sum(number), 1)
    x, y = (x + 0.5) * step - 0.5, (y + 0.5) * step - 0.5
    pixels = _strips(x, y, number, values.shape)
    excess = _strips(x, y, weight, values.shape) / np.sqrt(np.maximum(pixels, 1))
    for angle, distance, score in _candidates(excess, pixels, values.shape, sigma):
        if min(angle % 90, 90 - angle % 90) < AXIS_MARGIN:
            continue
        line = _centred(Trail(angle, distance, 2 * STRIP, score, -1), values)
        inside = line.mask(values.shape) & np.isfinite(values)
        part = _along(line, values.shape)[inside]
        mean = np.bincount(part, values[inside], SEGMENTS) / np.maximum(np.bincount(part, minlength=SEGMENTS), 1)
        beside = replace(line, half_width=6 * STRIP).mask(values.shape) & ~inside & np.isfinite(values)
        level = float(np.mean(values[beside])) if beside.any() else 0.0
        # each of the segments by itself, so that a few bright sources on a line make no trail
        if np.mean(mean - level > max(0.15, 0.3 * float(np.median(mean - level)))) >= 0.75:
            return line
    return None


def _centred(line: Trail, values: NDArray) -> Trail:
    """The line turned and moved to where the mean residual along it is largest."""
    best, found = -np.inf, line
    good = np.isfinite(values)
    for angle in line.angle + np.arange(-0.5, 0.51, 0.1):
        offset = _offset(replace(line, angle=angle), values.shape)
        near = good & (np.abs(offset) < 2.5 * STRIP)
        place = np.rint(offset[near]).astype(int) + 3 * STRIP
        size = 6 * STRIP + 1
        profile = np.bincount(place, values[near], size) / np.maximum(np.bincount(place, minlength=size), 1)
        smooth = np.convolve(profile, np.ones(5) / 5, mode="same")
        peak = int(np.argmax(smooth))
        if smooth[peak] > best:
            sign = 1 if 0 <= angle < 180 else -1
            best = float(smooth[peak])
            found = replace(line, angle=angle % 180, distance=sign * (line.distance + peak - 3 * STRIP))
    return replace(found, half_width=float(STRIP))


def _widened(line: Trail, values: NDArray, grow: float) -> Trail:
    """The line as wide as its light can be told in the mean residual along it, and a little wider."""
    offset = np.abs(_offset(line, values.shape))
    good = np.isfinite(values) & (offset < 100)
    place = offset[good].astype(int)
    count = np.bincount(place, minlength=100)
    mean = np.bincount(place, values[good], 100) / np.maximum(count, 1)
    start = int(np.ceil(line.half_width))
    stop = min(3 * start + 3, 90)
    level = float(np.median(mean[stop : stop + 10]))
    scatter = np.maximum(1 / np.sqrt(np.maximum(count, 1)), 0.03)
    width = start
    while width < stop and mean[width] - level > max(0.15, 3 * scatter[width]):
        width += 1
    return replace(line, half_width=max(line.half_width, float(width)) + grow)


def _distinct(trails: list[Trail], shape: tuple[int, int]) -> list[Trail]:
    """One of those that lie on each other: a trail that a group's frames share shows in the next group too."""
    kept: list[Trail] = []
    for trail in sorted(trails, key=lambda one: -one.half_width):
        mask = trail.mask(shape)
        if all(np.mean(other.mask(shape)[mask]) < 0.5 for other in kept):
            kept.append(trail)
    return kept
