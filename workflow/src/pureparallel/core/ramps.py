"""Ramps: flags of groups, quick slopes, and the large hits that are called snowballs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Flags = NDArray[np.integer]

DO_NOT_USE, SATURATED, JUMP = 1, 2, 4
"""Bits of a group's flags, as the pipeline has them."""


def packed(mask: Mask) -> NDArray[np.uint8]:
    """Eight pixels of a row per byte, the first in the highest bit."""
    return np.packbits(mask, axis=-1)


def unpacked(bits: NDArray[np.uint8], nx: int) -> Mask:
    """The inverse of `packed`, of width `nx`."""
    return np.unpackbits(bits, axis=-1, count=nx).astype(bool)


def slope(data: NDArray[np.floating], flags: Flags, seconds: float) -> NDArray[np.float32]:
    """Mean of the differences between groups that nothing disturbs.

    Not the best slope, but a quick one, and without weights that could hide what it is to show.

    Parameters
    ----------
    data : ndarray, shape (ngroups, ny, nx)
        DN.
    flags : ndarray of int, shape (ngroups, ny, nx)
    seconds : float
        Between groups.

    Returns
    -------
    ndarray, shape (ny, nx)
        DN/s; NaN where no difference is good.
    """
    total, count = np.zeros(data.shape[1:], np.float32), np.zeros(data.shape[1:], np.float32)
    for i in range(1, len(data)):
        good = (flags[i] == 0) & (flags[i - 1] & (DO_NOT_USE | SATURATED) == 0)
        total += np.where(good, data[i] - data[i - 1], 0)
        count += good
    return np.where(count > 0, total / (np.maximum(count, 1) * np.float32(seconds)), np.float32(np.nan))


def stripe_rms(image: NDArray[np.floating], good: Mask, axis: int, *, smooth: int = 31) -> float:
    """Scatter of the medians along one axis, once what is broad has been subtracted.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
    good : ndarray of bool, shape (ny, nx)
        Pixels of the sky.
    axis : int
        Along which medians are taken: 0 for columns, 1 for rows.
    smooth : int
        Pixels; a running median of this width is what counts as broad.

    Returns
    -------
    float
        Scaled median absolute deviation, in the image's unit; NaN where fewer than `smooth` medians are known.
    """
    from scipy.ndimage import median_filter

    enough = good.sum(axis=axis) >= max(16, image.shape[axis] // 10)
    if enough.sum() < smooth:
        return float("nan")
    lines = np.compress(enough, np.where(good, image, np.nan), axis=1 - axis)
    medians = np.nanmedian(lines, axis=axis)
    medians -= median_filter(medians, smooth, mode="nearest")
    return float(1.4826 * np.median(np.abs(medians - np.median(medians))))


def sky_pixels(image: NDArray[np.floating], usable: Mask, *, clip: float = 3.0) -> Mask:
    """Pixels without sources: those within `clip` sigma of the median, sources found on a smoothed image too.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
    usable : ndarray of bool, shape (ny, nx)
    clip : float
    """
    from scipy.ndimage import uniform_filter

    good = usable & np.isfinite(image)
    if not good.any():
        return good
    filled = np.where(good, image, np.median(image[good])).astype(np.float32)
    for picture in (filled, uniform_filter(filled, 5)):
        middle = np.median(picture[good])
        sigma = 1.4826 * np.median(np.abs(picture[good] - middle))
        good &= np.abs(picture - middle) <= clip * sigma
    return good


@dataclass(frozen=True)
class Snowball:
    """A large hit: the group that it arrives in, its centre in pixels, and the radii of its core and its halo."""

    group: int
    y: float
    x: float
    core: float
    halo: float


def find_snowballs(
    flags: Flags, *, nframes: int, min_core: int = 5, min_halo: int = 30, expand: float = 1.5
) -> tuple[list[Snowball], Mask]:
    """Find large hits: a core that saturates at once, within a halo that jumps.

    A star's growing saturated core is not surrounded by jumps, and a cosmic ray saturates too few pixels. Where no
    core need show (at the edges, and in a last group that averages frames from before the hit) a large round halo
    will do, of four times `min_halo`.

    Parameters
    ----------
    flags : ndarray of int, shape (ngroups, ny, nx)
    nframes : int
        Frames averaged in a group. A hit between two of them is seen in that group and in the next.
    min_core, min_halo : int
        Pixels: smallest areas of a core, and of core and halo together.
    expand : float
        Radius to flag over the radius that jumps: the halo goes on below the threshold.

    Returns
    -------
    snowballs : list of Snowball
    mask : ndarray of bool, shape (ngroups, ny, nx)
        Their areas, in the group of the hit and, for averaged groups, in the next.
    """
    from scipy import ndimage

    found: list[Snowball] = []
    mask = np.zeros(flags.shape, bool)
    square = np.ones((3, 3), bool)
    for group in range(1, len(flags)):
        jump, new = flags[group] & JUMP != 0, _newly_saturated(flags, group, nframes)
        labels, _ = ndimage.label(ndimage.binary_opening(jump | new, square), square)
        areas, cores = np.bincount(labels.ravel()), np.bincount(labels.ravel(), new.ravel())
        last = nframes > 1 and group == len(flags) - 1
        for label, box in enumerate(ndimage.find_objects(labels), start=1):
            if areas[label] < min_halo:
                continue
            shape = labels[box] == label
            filled = ndimage.binary_fill_holes(shape)
            if cores[label] >= min_core:
                real = _surrounded(new & (labels == label), jump, box)
            else:
                coreless = last or _at_edge(box, flags.shape[1:])
                real = coreless and filled.sum() >= 4 * min_halo and _round(filled)
            if real:
                # a core that already stepped in the group before was hit between that group's frames
                before = flags[group - 1][box][filled & new[box]] & JUMP != 0
                start = group - 1 if group > 1 and nframes > 1 and before.size and before.mean() > 0.5 else group
                ball = _add(mask, start, box, filled, float(cores[label]), expand, nframes)
                # what comes between two frames is seen in two groups
                if not any(_same(ball, other) for other in found):
                    found.append(ball)
    return found, mask


def _newly_saturated(flags: Flags, group: int, nframes: int) -> Mask:
    """Pixels that saturate in a group; a hit in the last frames of one saturates the next."""
    new = (flags[group] & SATURATED != 0) & (flags[group - 1] & SATURATED == 0)
    if group + 1 < len(flags) and nframes > 1:
        new |= (flags[group + 1] & SATURATED != 0) & (flags[group] & JUMP != 0)
    return new


def _same(one: Snowball, other: Snowball) -> bool:
    """Whether two are one event, seen in neighbouring groups."""
    apart = np.hypot(one.y - other.y, one.x - other.x)
    return abs(one.group - other.group) <= 1 and apart < max(one.core, other.core, 3.0)


def _surrounded(core: Mask, jump: Mask, box: Sequence[slice]) -> bool:
    """Whether more than half of the pixels just outside of a core in a box jump."""
    from scipy.ndimage import binary_dilation

    near = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in box)
    ring = binary_dilation(core[near], iterations=2) & ~core[near]
    return bool(jump[near][ring].mean() > 0.5)


def _at_edge(box: Sequence[slice], shape: tuple[int, int]) -> bool:
    return any(s.start == 0 or s.stop == n for s, n in zip(box, shape, strict=True))


def _round(filled: Mask) -> bool:
    """Whether an area, cut by an edge perhaps, is compact: at least 0.4 as broad as long, and most of its box."""
    height, width = filled.shape
    return min(height, width) >= 0.4 * max(height, width) and bool(filled.mean() > 0.55)


def _add(
    mask: Mask, group: int, box: Sequence[slice], filled: Mask, core: float, expand: float, nframes: int
) -> Snowball:
    """Flag one snowball's expanded area, and describe it."""
    from scipy.ndimage import distance_transform_edt

    radius = float(np.sqrt(filled.sum() / np.pi))
    reach = (expand - 1) * radius
    margin = int(np.ceil(reach))
    grown = distance_transform_edt(~np.pad(filled, margin)) <= reach
    near, inner = [], []
    for s, n in zip(box, mask.shape[1:], strict=True):
        low, high = s.start - margin, s.stop + margin
        near.append(slice(max(low, 0), min(high, n)))
        inner.append(slice(max(-low, 0), high - low - max(high - n, 0)))
    for i in range(group, min(group + (2 if nframes > 1 else 1), len(mask))):
        mask[i][near[0], near[1]] |= grown[inner[0], inner[1]]
    y, x = (float(c.mean()) for c in np.nonzero(filled))
    return Snowball(group, y + box[0].start, x + box[1].start, float(np.sqrt(core / np.pi)), radius * expand)


DEAD, HOT, TELEGRAPH, NO_GAIN, REFERENCE_PIXEL = 1 << 10, 1 << 11, 1 << 15, 1 << 19, 1 << 31
"""Bits of a pixel's flags, as the pipeline has them."""


def unlike_optics(
    image: NDArray[np.floating], error: NDArray[np.floating], usable: Mask, *, hot: float = 20.0, dead: float = 8.0,
    sharpness: float = 0.1,
) -> tuple[Mask, Mask]:  # fmt: skip
    """Pixels that differ from their neighbours as no light can: what they see is spread over several pixels.

    Parameters
    ----------
    image, error : ndarray, shape (ny, nx)
        DN/s.
    usable : ndarray of bool, shape (ny, nx)
    hot, dead : float
        Sigma above and below the median of the 7 x 7 pixels around at which a pixel is looked at.
    sharpness : float
        A pixel is hot if its four neighbours have on average less than this fraction of its excess. The sharpest
        point source has more.

    Returns
    -------
    hot, dead : ndarray of bool, shape (ny, nx)
        Dead pixels have less than half of what surrounds them.
    """
    from scipy.ndimage import convolve

    good = usable & np.isfinite(image) & np.isfinite(error)
    bright, faint = np.zeros_like(good), np.zeros_like(good)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
    count = convolve(good.astype(np.float32), cross, mode="constant")
    known = np.where(good, image, 0).astype(np.float32)
    beside = convolve(known, cross, mode="constant") / np.maximum(count, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        contrast = (known - beside) / error
    # few pixels differ from their next neighbours so much; only these are looked at closely
    candidates = np.argwhere(good & (count >= 3) & ((contrast > hot / 2) | (contrast < -dead / 2)))
    for y, x in candidates:
        box = np.s_[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
        around = float(np.median(image[box][good[box]]))
        excess, neighbours = image[y, x] - around, beside[y, x] - around
        bright[y, x] = excess > hot * error[y, x] and neighbours < sharpness * excess
        faint[y, x] = excess < -dead * error[y, x] and image[y, x] < around / 2 and neighbours > excess / 4
    return bright, faint


def unsteady(data: NDArray[np.floating], flags: Flags, *, gain: float, read_noise: float, sigma: float = 4.0) -> Mask:
    """Pixels with two steps down, or more, among those flagged as jumps: charge that arrives steps up.

    Parameters
    ----------
    data : ndarray, shape (ngroups, ny, nx)
        DN.
    flags : ndarray of int, shape (ngroups, ny, nx)
    gain : float
        e/DN.
    read_noise : float
        DN, of one group.
    sigma : float
        By how much a step has to be below the pixel's median step.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    out = np.zeros(data.shape[1:], bool)
    y, x = np.nonzero((flags & JUMP != 0).sum(axis=0) >= 2)
    steps, flagged = np.diff(data[:, y, x], axis=0), flags[1:, y, x]
    middle = np.median(steps, axis=0)
    noise = np.sqrt(2 * read_noise**2 + np.maximum(middle, 0) / gain)
    down = (flagged & JUMP != 0) & (flagged & (DO_NOT_USE | SATURATED) == 0) & (steps < middle - sigma * noise)
    out[y, x] = down.sum(axis=0) >= 2
    return out


def same_false_alarms(sigma: float, steps: int, reference: int = 9) -> float:
    """The threshold at which long ramps have no more false jumps than one of `reference` steps has at `sigma`."""
    from scipy.stats import norm

    return sigma if steps <= reference else float(norm.isf(norm.sf(sigma) * reference / steps))
