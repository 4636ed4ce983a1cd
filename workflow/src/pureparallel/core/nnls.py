"""Many small non-negative least-squares problems at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]

REDUNDANT = {8: 1e-7, 4: 1e-5}
"""Part of a template (squared, of unit norm) that must be left beside those in use for it to join them, by the bytes of
a number."""

TOGETHER = 768
"""Problems treated together: more would not stay in the processor's cache."""


def nnls(normal: Floats, projected: Floats, *, tolerance: float = 1e-3) -> tuple[Array, Array]:
    """Minimise x'Gx - 2 b'x over x >= 0 for a batch of problems.

    Templates join one by one, that first which lowers chi2 most, and leave when they turn negative: principal pivoting
    of the tableau (G, b), as Lawson & Hanson (1974) but for all problems at the same time.

    Parameters
    ----------
    normal : ndarray, shape (n, t, t)
        G = A'A, in double or in single precision, which is faster. A template with nothing on its diagonal takes no
        part.
    projected : ndarray, shape (n, t)
        b = A'y.
    tolerance : float
        Templates that would lower chi2 by less stay out.

    Returns
    -------
    x : ndarray, shape (n, t)
    gain : ndarray, shape (n,)
        2 b'x - x'Gx: by how much x reduces chi2 from that of nothing.
    """
    x, gain = np.zeros(projected.shape), np.zeros(len(projected))
    live = np.flatnonzero(np.einsum("nii->ni", normal).any(axis=0))
    for start in range(0, len(projected), TOGETHER):
        part = slice(start, start + TOGETHER)
        x[part, live], gain[part] = _pivot(normal[part, live[:, None], live], projected[part, live], tolerance)
    return x, gain


def _pivot(normal: Floats, projected: Floats, tolerance: float) -> tuple[Floats, Floats]:
    count, size = projected.shape
    tableau, scale = _tableau(normal, projected)
    x, gain = np.zeros((count, size)), np.zeros(count)
    used = np.zeros((count, size), bool)
    left, space = np.arange(count), np.empty_like(tableau)
    for _ in range(5 * size):
        value, rest = tableau[:, :size, size], np.einsum("nii->ni", tableau)[:, :size]
        joins = ~used & (value > 0) & (rest > REDUNDANT[tableau.itemsize])
        merit = np.where(joins, value**2 / np.where(joins, rest, 1.0) - tolerance, 0.0)
        merit = np.where(used & (value < 0), 1e30 * (1 - value), merit)  # out with what is negative, first of all
        chosen = np.argmax(merit, axis=1)
        going = np.flatnonzero(merit[np.arange(len(left)), chosen] > 0)
        if len(going) < 0.7 * len(left):  # copying the rest costs more than carrying a few that are done
            x[left], gain[left] = np.where(used, value, 0.0), -tableau[:, size, size]
            tableau, used, left, chosen = tableau[going], used[going], left[going], chosen[going]
            going = np.arange(len(left))
        if not len(going):
            break
        _sweep(tableau, used, chosen, going, space[: len(left)])
    x[left], gain[left] = np.where(used, np.maximum(tableau[:, :size, size], 0.0), 0.0), -tableau[:, size, size]
    return x * scale, gain


def _tableau(normal: Floats, projected: Floats) -> tuple[Floats, Floats]:
    """G with b appended as its last row and column, shape (n, t+1, t+1), templates scaled to unit norm; the scales."""
    size = projected.shape[1]
    diagonal = np.einsum("nii->ni", normal)
    live = diagonal > 1e-14 * np.maximum(diagonal.max(axis=1, keepdims=True, initial=0.0), 1e-300)
    scale = np.where(live, 1 / np.sqrt(np.where(live, diagonal, 1.0)), 0.0)
    tableau = np.empty((len(scale), size + 1, size + 1), normal.dtype)
    np.multiply(normal, scale[:, :, None], out=tableau[:, :size, :size])
    tableau[:, :size, :size] *= scale[:, None, :]
    tableau[:, :size, size] = tableau[:, size, :size] = projected * scale
    tableau[:, size, size] = 0
    return tableau, scale


def _sweep(
    tableau: Floats, used: NDArray[np.bool_], chosen: NDArray[np.int64], going: NDArray[np.int64], space: Floats
) -> None:
    """Exchange one variable of each problem that is `going`: in or out of the set that is in use.

    `space`, as large as the tableau, is written over.
    """
    every = np.arange(len(chosen))
    column = tableau[every, :, chosen]
    pivot = column[every, chosen]
    ratio = np.zeros_like(column)
    ratio[going] = column[going] / pivot[going, None]
    tableau -= np.multiply(column[:, :, None], ratio[:, None, :], out=space)
    chosen = chosen[going]
    ratio = ratio[going] * np.where(used[going, chosen], -1.0, 1.0)[:, None]
    tableau[going, :, chosen] = ratio
    tableau[going, chosen, :] = ratio
    tableau[going, chosen, chosen] = -1 / pivot[going]
    used[going, chosen] ^= True
