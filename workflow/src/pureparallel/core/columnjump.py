"""Column jumps: offsets of whole detector columns, which are rows of the image, that appear between two reads.

After CSA-JWST-TN-0003, which finds them in reference pixels and in ramps of more than six groups. Here a row's own
pixels are used, hundreds of them, so that subarrays and short ramps are served as well: every pixel's straight line is
taken out of its ramp, and what is left, averaged along the row, is compared with steps at every read.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SAMPLED = 512
"""Pixels of a row that suffice; longer rows are sampled."""

CLIP = 4.0
"""Sigma from its row's median at which a pixel stops to count."""


@dataclass(frozen=True)
class ColumnJump:
    """An offset of one row of the image.

    Attributes
    ----------
    row : int
    group : int
        The first that has some of it.
    share : float
        Of the offset in that group, whose frames are averaged: 1 if it came before the group's first frame.
    size : float
        DN.
    sigma : float
        Significance.
    """

    row: int
    group: int
    share: float
    size: float
    sigma: float


def steps(ngroups: int, nframes: int) -> tuple[Array, NDArray[np.int64], Array]:
    """All steps that a ramp can show.

    Returns
    -------
    shapes : ndarray, shape (k, ngroups)
        0 before the step, 1 after it, and its share in the group whose frames it divides.
    groups : ndarray of int, shape (k,)
    shares : ndarray, shape (k,)
    """
    found = [(g, 1 - f / nframes) for g in range(ngroups) for f in range(nframes) if g or f]
    groups, shares = np.array([g for g, _ in found]), np.array([s for _, s in found])
    index = np.arange(ngroups)
    shapes = (index > groups[:, None]) + shares[:, None] * (index == groups[:, None])
    return shapes.astype(float), groups, shares


def without_line(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Residuals of straight lines, fitted with equal weights along axis 0."""
    n = len(values)
    time = np.arange(n) - (n - 1) / 2
    basis = np.stack([np.full(n, n**-0.5), time / np.sqrt(np.sum(time**2))]).astype(values.dtype)
    flat = values.reshape(n, -1)
    return (flat - basis.T @ (basis @ flat)).reshape(values.shape)


def find(
    data: NDArray[np.float32],
    bad: NDArray[np.bool_],
    nframes: int,
    *,
    threshold: float = 6.0,
    least: float = 3.0,
    most: int = 3,
) -> list[ColumnJump]:
    """Find column jumps in linearised ramps.

    Parameters
    ----------
    data : ndarray of float32, shape (ngroups, ny, nx)
        DN.
    bad : ndarray of bool, shape (ny, nx)
        Pixels whose ramps are not straight for other reasons: saturated, dead.
    nframes : int
        Frames averaged in a group.
    threshold : float
        Sigma, of a row's level.
    least : float
        DN; smaller ones are left alone.
    most : int
        Jumps looked for in one row.

    Returns
    -------
    list of ColumnJump
        By row and significance. Ramps of fewer than four groups have nothing left to compare with: none.
    """
    if len(data) < 4:
        return []
    stride = max(1, data.shape[2] // SAMPLED)
    residual = without_line(data[:, :, ::stride])
    level, noise = _levels(residual, ~bad[:, ::stride])
    level -= _broad(level)
    found = _search(level, np.maximum(noise, _floor(level)), nframes, threshold, most)
    return [jump for jump in found if abs(jump.size) >= least]


def _levels(residual: NDArray[np.floating], good: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean level of each row in each group, shape (ngroups, ny), and its error, shape (ny,).

    Pixels that differ much from their row's median in any group do not count: cosmic rays and snowballs, bright stars.
    """
    level = np.median(residual, axis=2)
    residual -= level[:, :, None]
    good = good.copy()
    scatter = np.empty(len(residual))
    for group, values in enumerate(residual):
        distance = np.abs(values)
        scatter[group] = 1.4826 * np.median(distance)
        good &= distance < CLIP * scatter[group]
    count = np.maximum(good.sum(axis=1), 1)
    level += np.einsum("gyx,yx->gy", residual, good.astype(residual.dtype)) / count
    noise = np.sqrt(np.mean(scatter**2)) * _lost(len(residual)) / np.sqrt(count)
    return level.astype(float), noise


def _broad(level: Array, width: int = 11) -> Array:
    """What rows have in common with those around them: a jump has one row, the rim of a snowball many."""
    from scipy.ndimage import median_filter

    return median_filter(level, (1, min(width, level.shape[1])), mode="nearest")


def _lost(ngroups: int) -> float:
    """What the scatter of residuals is to be multiplied by: two parameters were fitted to each ramp."""
    return float(np.sqrt(ngroups / (ngroups - 2)))


def _floor(level: Array) -> float:
    """Scatter among rows, whatever it comes from."""
    return float(1.4826 * np.median(np.abs(level)) * _lost(len(level)))


def _search(level: Array, noise: Array, nframes: int, threshold: float, most: int) -> list[ColumnJump]:
    """Compare each row's levels, shape (ngroups, ny), with all steps; once one is found, look for another."""
    shapes, groups, shares = steps(len(level), nframes)
    projected = without_line(shapes.T).T
    norm = np.sqrt(np.sum(projected**2, axis=1))
    # a step that a straight line imitates says nothing
    useful = np.flatnonzero(norm > 0.2)
    basis = projected[useful] / norm[useful, None]
    found: list[ColumnJump] = []
    for row in np.flatnonzero(np.abs(basis @ level).max(axis=0) > threshold * noise):
        values, limit = level[:, row], threshold * float(noise[row])
        chosen: list[int] = []
        while len(chosen) < most:
            best, height = _next(values, basis, chosen)
            if height < limit:
                break
            chosen = _refined(values, basis, [*chosen, best])
        heights = _heights(values, basis[chosen])
        for k, height in zip(useful[chosen], heights, strict=True):
            size, sigma = float(height / norm[k]), float(abs(height) / noise[row])
            found.append(ColumnJump(int(row), int(groups[k]), float(shares[k]), size, sigma))
    return sorted(found, key=lambda jump: (jump.row, -jump.sigma))


def _heights(values: Array, basis: Array) -> Array:
    """Heights of some steps, fitted together."""
    return np.linalg.lstsq(basis.T, values)[0]


def _next(values: Array, basis: Array, chosen: list[int]) -> tuple[int, float]:
    """The step that explains most once those chosen are fitted with it, and its height in the values' unit."""
    others = np.linalg.qr(basis[chosen].T)[0]
    free = basis - basis @ others @ others.T
    norm = np.sqrt(np.sum(free**2, axis=1))
    # a step that the others imitate says nothing
    height = np.where(norm > 0.2, np.abs(free @ values) / np.maximum(norm, 0.2), 0)
    best = int(np.argmax(height))
    return best, float(height[best])


def _refined(values: Array, basis: Array, chosen: list[int]) -> list[int]:
    """Steps of one row, each moved to where it is best, given the others."""
    for _ in range(3):
        for i in range(len(chosen)):
            chosen[i] = _next(values, basis, chosen[:i] + chosen[i + 1 :])[0]
    return chosen


def repair(data: NDArray[np.float32], jumps: list[ColumnJump]) -> None:
    """Take column jumps out of ramps, in place.

    Parameters
    ----------
    data : ndarray of float32, shape (ngroups, ny, nx)
        DN.
    jumps : list of ColumnJump
    """
    for jump in jumps:
        data[jump.group, jump.row] -= np.float32(jump.share * jump.size)
        data[jump.group + 1 :, jump.row] -= np.float32(jump.size)
