"""Segments of sources, and what is one source and what are two: by how far each peak stands above the pass to a higher.

A peak is a source of its own if it is higher than the highest pass to a higher peak by more than noise can make it, and
by more than a part of the pass: the persistence of a peak, and the tree in which lesser peaks join greater ones, of
Chazal et al. (2013, J. ACM 60, 41). It needs no levels, treats faint companions of bright sources as it does faint
pairs, and does not shred large galaxies, whose bumps are noise or a small part of them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Labels = NDArray[np.int32]

HALO = 0.5
"""Part of the light that a bright star can have at a pass, by which a peak must stand above it."""

EIGHT = np.ones((3, 3), bool)


def segments(significance: Image, threshold: float, least: float, pixels: int) -> tuple[Labels, int]:
    """Connected pixels above a threshold, of which one at least is above another, and their number.

    Parameters
    ----------
    significance : ndarray, shape (ny, nx)
    threshold, least : float
        Standard deviations of a segment's pixels, and of its peak.
    pixels : int
        The fewest that make a segment.
    """
    labels, _ = ndimage.label(significance > threshold, EIGHT)
    keep = sure(labels, significance, least, pixels)
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[labels], int(keep.sum())


def sure(labels: Labels, significance: Image, least: float, pixels: int) -> NDArray[np.bool_]:
    """Which labels have a pixel that is so significant, and pixels enough; False for 0. Shape (n + 1,)."""
    size = np.bincount(labels.ravel())
    found = np.zeros(len(size), bool)
    found[labels[significance >= least]] = True
    found[0] = False
    return found & (size >= pixels)


def deblend(
    labels: Labels, significance: Image, noise: Image, halo: Image, *, nsigma: float, contrast: float
) -> tuple[Labels, NDArray[np.int32]]:
    """Split segments into sources.

    Parameters
    ----------
    labels : ndarray of int32, shape (ny, nx)
        From 1 without gaps; 0 is sky.
    significance, noise, halo : ndarray, shape (ny, nx)
        In units of the sky's noise: the image, its own noise, and the light of bright stars that is no source.
    nsigma : float
        Noise of the pass, by which a peak must stand above it.
    contrast : float
        Part of the pass, by which a peak must stand above it.

    Returns
    -------
    ndarray of int32, shape (ny, nx)
        Sources, from 1 without gaps.
    ndarray of int32, shape (n + 1,)
        Segment of each source; 0 of 0.
    """
    result, parents = np.zeros_like(labels), [0]
    for segment, box in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[box] == segment
        need = np.maximum(np.maximum(nsigma * noise[box], contrast * significance[box]), HALO * halo[box])
        parts = split(significance[box], need, inside)
        result[box][inside] = parts[inside] + len(parents) - 1
        parents += [segment] * int(parts.max())
    return result, np.array(parents, np.int32)


def split(height: Image, need: Image, inside: NDArray[np.bool_]) -> Labels:
    """Number the peaks of one segment that stand above their passes by what is needed there, and what belongs to them.

    Parameters
    ----------
    height, need : ndarray, shape (ny, nx)
    inside : ndarray of bool, shape (ny, nx)
        The segment.

    Returns
    -------
    ndarray of int32, shape (ny, nx)
        From 1 without gaps, highest peak first; 0 outside.
    """
    basins, count = ascend(height, inside)
    if count == 1:
        return basins
    top = np.zeros(count + 1)
    np.maximum.at(top, basins[inside], height[inside])
    first, second, at = passes(basins, height)
    parent = list(range(count + 1))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    heights, needs = height.ravel()[at], need.ravel()[at]
    for a, b, level, least in zip(first.tolist(), second.tolist(), heights.tolist(), needs.tolist(), strict=True):
        low, high = sorted((root(a), root(b)), key=lambda one: (top[one], -one))
        if low != high and top[low] - level < least:
            parent[low] = high
    roots = np.array([root(one) for one in range(count + 1)])
    order = sorted(set(roots[1:].tolist()), key=lambda one: (-top[one], one))
    number = np.zeros(count + 1, np.int32)
    number[order] = np.arange(1, len(order) + 1)
    return number[roots][basins]


def ascend(height: Image, inside: NDArray[np.bool_]) -> tuple[Labels, int]:
    """Number the peaks of a segment and all that leads up to each by the steepest steps; 0 outside.

    Of equal heights, the pixel that comes later counts as the higher one.
    """
    ny, nx = height.shape
    level = np.full((ny + 2, nx + 2), -np.inf)
    level[1:-1, 1:-1] = np.where(inside, height, -np.inf)
    index = np.arange(level.size).reshape(level.shape)
    best, up = level[1:-1, 1:-1].copy(), index[1:-1, 1:-1].copy()
    for dy in range(3):
        for dx in range(3):
            beside, there = level[dy : dy + ny, dx : dx + nx], index[dy : dy + ny, dx : dx + nx]
            higher = (beside > best) | ((beside == best) & (there > up))
            np.copyto(best, beside, where=higher)
            np.copyto(up, there, where=higher)
    following = index.ravel()
    following[index[1:-1, 1:-1][inside]] = up[inside]
    while True:
        farther = following[following]
        if np.array_equal(farther, following):
            break
        following = farther
    peaks, number = np.unique(following[index[1:-1, 1:-1][inside]], return_inverse=True)
    basins = np.zeros(height.shape, np.int32)
    basins[inside] = number + 1
    return basins, len(peaks)


def passes(basins: Labels, height: Image) -> tuple[NDArray, NDArray, NDArray]:
    """The highest pass between each two neighbouring basins, highest first.

    Returns
    -------
    first, second : ndarray, shape (n,)
        Basins.
    at : ndarray, shape (n,)
        Flat index of the pass: the lower of its two pixels.
    """
    ny, nx = basins.shape
    index = np.arange(ny * nx).reshape(ny, nx)
    found = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = np.s_[: ny - dy, max(-dx, 0) : nx - max(dx, 0)]
        other = np.s_[dy:, max(dx, 0) : nx - max(-dx, 0)]
        a, b = basins[one], basins[other]
        border = (a != b) & (a > 0) & (b > 0)
        lower = np.where(height[one] <= height[other], index[one], index[other])
        found.append(np.stack([np.minimum(a, b)[border], np.maximum(a, b)[border], lower[border]]))
    first, second, at = np.concatenate(found, axis=1)
    order = np.lexsort((at, -height.ravel()[at]))
    first, second, at = first[order], second[order], at[order]
    _, highest = np.unique(first.astype(np.int64) * (int(basins.max()) + 1) + second, return_index=True)
    highest.sort()
    return first[highest], second[highest], at[highest]
