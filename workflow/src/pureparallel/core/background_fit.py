"""A smooth background: a plane and cosines, fitted to the levels of boxes as stiffly as these ask for.

The cosines' amplitudes are shrunk by a prior that makes short waves weaker than long ones. Its strength, none at all
included, is what makes the levels most likely: a Gaussian process of few terms, whose smoothness the data choose.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CLIP = 3.0
"""Standard deviations beyond which a pixel of the sky does not count."""

LEAST = 0.1
"""Part of a box that must be sky."""

MODES = 16
"""Cosines along an axis, at most."""

STEEPNESS = 1.5
"""Prior variance of a cosine's amplitude: (1 + k²)^-STEEPNESS, k in half waves over the image."""


def lower_mode(values: NDArray[np.floating]) -> float:
    """The most common value where the excess is on the bright side: clipped by the scatter of the fainter half."""
    kept = values
    for _ in range(10):
        middle, low = np.percentile(kept, [50, 15.87])
        inside = kept[kept < middle + 2.5 * (middle - low)]
        if inside.size in (0, kept.size):
            break
        kept = inside
    return float(np.median(kept))


def fit(values: Array, free: Mask, *, box: int, scale: float, order: int) -> Array:
    """The smooth background that the free pixels make most likely, shape (ny, nx).

    Parameters
    ----------
    values : ndarray, shape (ny, nx)
    free : ndarray of bool, shape (ny, nx)
    box, scale, order
        See `measure`.
    """
    level, error = box_levels(values, free, box)
    known = np.isfinite(level)
    if not known.any():
        return np.full(values.shape, lower_mode(values[free]) if free.any() else 0.0)
    ny, nx = values.shape
    smooth = Cosines(ny, nx, scale, order)
    y, x = (_middles(n, box) for n in (ny, nx))
    amplitudes = smooth.likeliest(level[known], error[known], smooth.design(y, x)[known.ravel()])
    return smooth(amplitudes)


def _middles(n: int, box: int) -> Array:
    """Centres of boxes along an axis; the last box may be smaller."""
    first = np.arange(0, n, box)
    return (first + np.minimum(first + box, n) - 1) / 2


def box_levels(values: Array, free: Mask, box: int) -> tuple[Array, Array]:
    """Clipped means of square boxes and their errors, shape (ceil(ny / box), ceil(nx / box)).

    NaN where less than `LEAST` of a whole box is free.
    """
    ny, nx = values.shape
    rows, columns = -(-ny // box), -(-nx // box)
    padded = np.full((rows * box, columns * box), np.nan, np.float32)
    padded[:ny, :nx] = np.where(free, values, np.nan)
    boxes = np.sort(padded.reshape(rows, box, columns, box).swapaxes(1, 2).reshape(rows * columns, -1), axis=-1)
    order, place = np.arange(boxes.shape[1]), np.arange(len(boxes))
    low, high = np.zeros(len(boxes), int), np.isfinite(boxes).sum(axis=-1)
    enough = high >= max(LEAST * box**2, 4)
    high[~enough] = 1
    for _ in range(4):
        count = high - low
        middle, below = (boxes[place, low + (part * count).astype(int)] for part in (0.5, 0.1587))
        width = CLIP * (middle - below)
        low = np.sum(boxes < (middle - width)[:, None], axis=-1)
        high = np.maximum(np.sum(boxes <= (middle + width)[:, None], axis=-1), low + 1)
    kept = (order >= low[:, None]) & (order < high[:, None])
    level = np.sum(np.where(kept, boxes, 0), axis=-1, dtype=float) / (high - low)
    error = width / CLIP / np.sqrt(high - low)
    error = np.maximum(error, 1e-3 * np.median(error[enough])) if enough.any() else error
    return _grid(np.where(enough, level, np.nan), rows), _grid(np.where(enough, error, np.nan), rows)


def _grid(values: Array, rows: int) -> Array:
    return values.reshape(rows, -1)


class Cosines:
    """Smooth surfaces on an image: cosines of half waves over it, none shorter than a scale, and a plane.

    Parameters
    ----------
    ny, nx : int
    scale : float
        Pixels, half the shortest wave.
    order : int
        0 for a constant alone, 1 for a plane alone.
    """

    def __init__(self, ny: int, nx: int, scale: float, order: int) -> None:
        self.shape, self.order = (ny, nx), order
        my, mx = (int(np.clip(n / scale, 0, MODES)) if order > 1 else 0 for n in (ny, nx))
        ky, kx = (k.ravel() for k in np.indices((my + 1, mx + 1)))
        inside = (ky / max(my, 1)) ** 2 + (kx / max(mx, 1)) ** 2 <= 1
        # the constant is not among them
        self.ky, self.kx = ky[inside][1:], kx[inside][1:]
        self.deviation = (1.0 + (self.ky**2 + self.kx**2)) ** (-STEEPNESS / 2)

    def _axes(self, y: Array, x: Array) -> tuple[Array, Array]:
        """Cosines along each axis, shapes (len(y), ky + 1) and (len(x), kx + 1)."""
        return self._waves(y, self.ky, self.shape[0]), self._waves(x, self.kx, self.shape[1])

    @staticmethod
    def _waves(at: Array, number: NDArray[np.intp], n: int) -> Array:
        return np.cos(np.pi * np.outer((at + 0.5) / n, np.arange(number.max(initial=0) + 1)))

    def _plane(self, y: Array, x: Array) -> list[Array]:
        v, u = ((at + 0.5) / n - 0.5 for at, n in ((y, self.shape[0]), (x, self.shape[1])))
        plane = [np.ones((len(v), len(u)))]
        if self.order > 0:
            plane += [np.broadcast_to(v[:, None], plane[0].shape), np.broadcast_to(u, plane[0].shape)]
        return plane

    def design(self, y: Array, x: Array) -> Array:
        """All terms on a grid of positions, shape (len(y) * len(x), terms): plane first, cosines by their prior."""
        along_y, along_x = self._axes(y, x)
        waves = along_y[:, None, self.ky] * along_x[None, :, self.kx] * self.deviation
        plane = np.stack([part.ravel() for part in self._plane(y, x)], axis=-1)
        return np.hstack([plane, waves.reshape(len(plane), -1)])

    def likeliest(self, level: Array, error: Array, design: Array) -> Array:
        """Amplitudes under the prior's likeliest strength, the plane being free; see `marginal`."""
        free = min(1 + 2 * (self.order > 0), len(level))
        plane, waves = (
            part / error[:, None] for part in (design[:, :free], design[:, design.shape[1] - self.ky.size :])
        )
        data = level / error
        # what the plane explains is taken out of all else
        basis = np.linalg.qr(plane)[0]
        rest, waves_left = data - basis @ (basis.T @ data), waves - basis @ (basis.T @ waves)
        amplitudes = np.zeros(design.shape[1])
        if waves.shape[1] and len(level) > free + 3:
            values, vectors = np.linalg.eigh(waves_left.T @ waves_left)
            values = np.clip(values, 0, None)
            seen = vectors.T @ (waves_left.T @ rest)
            strength = marginal(values, seen, float(rest @ rest), len(level) - free)
            amplitudes[-len(values) :] = vectors @ (strength * seen / (1 + strength * values))
        plane_part = np.linalg.lstsq(plane, data - waves @ amplitudes[amplitudes.size - waves.shape[1] :], rcond=None)[
            0
        ]
        amplitudes[:free] = plane_part
        return amplitudes

    def __call__(self, amplitudes: Array) -> Array:
        """The surface on the whole image."""
        y, x = (np.arange(float(n)) for n in self.shape)
        plane = self._plane(y, x)
        surface = sum((a * part for a, part in zip(amplitudes, plane, strict=False)), np.zeros(self.shape))
        along_y, along_x = self._axes(y, x)
        grid = np.zeros((along_y.shape[1], along_x.shape[1]))
        grid[self.ky, self.kx] = amplitudes[len(plane) :] * self.deviation
        return surface + along_y @ grid @ along_x.T


def marginal(values: Array, seen: Array, total: float, count: int) -> float:
    """Prior variance, over the data's, that makes the data most likely; 0 where none does.

    Parameters
    ----------
    values : ndarray, shape (k,)
        Eigenvalues of the weighted design's Gram matrix.
    seen : ndarray, shape (k,)
        The data in these directions, times the root of the value.
    total : float
        Sum of squares of the weighted data.
    count : int
        Data, less those that free terms took. Their noise is known up to a common factor of one and more.
    """

    def deviance(strength: float) -> float:
        shrunk = strength / (1 + strength * values)
        variance = max((total - float(seen @ (shrunk * seen))) / count, 1.0)
        explained = total - float(seen @ (shrunk * seen))
        return float(np.log1p(strength * values).sum()) + count * np.log(variance) + explained / variance

    grid = np.concatenate([[0.0], np.geomspace(1e-3, 1e9, 61)])
    return float(grid[np.argmin([deviance(strength) for strength in grid])])
