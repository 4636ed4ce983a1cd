"""Tables of redshifts: their statistics, and P(z) on one grid."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bin_edges(grid: Array) -> Array:
    """Edges of the bins around each redshift of a grid (z,), shape (z+1,): nothing lies outside of the grid."""
    return np.concatenate([[grid[0]], (grid[1:] + grid[:-1]) / 2, [grid[-1]]])


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Metrics of a set of redshifts: counts per flag, typical chi2, width of P(z) and ambiguity."""
    good = [row for row in rows if row["flag"] > 0]
    return {
        "sources": len(rows),
        "flags": {str(flag): sum(int(row["flag"]) == flag for row in rows) for flag in (3, 2, 1, 0)},
        "median_chi2_dof": float(np.median([row["chi2_dof"] for row in good])) if good else None,
        "median_z_width": float(np.median([row["z_high"] - row["z_low"] for row in good])) if good else None,
        "max_peak_ratio": max((float(row["peak_ratio"]) for row in good), default=None),
        "failed": {str(row["id"]): str(row["reason"]) for row in rows if row["flag"] == 0},
    }


def rebinned(probability: Array, old: Array, new: Array) -> Array:
    """Probabilities (s, z) in the bins of one grid of redshifts as those in the bins of another, wherein they are even.

    What lies outside of the new grid is lost.
    """
    below = np.concatenate([np.zeros((len(probability), 1)), np.cumsum(probability, axis=1)], axis=1)
    edges, wanted = bin_edges(old), bin_edges(new)
    return np.array([np.diff(np.interp(wanted, edges, one)) for one in below]).reshape(len(below), len(new))
