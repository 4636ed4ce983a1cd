"""How honest errors are: pulls against a known truth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = np.linspace(-6, 6, 61)
"""Edges of the histogram of pulls, whose ends take what lies beyond."""


def pulls(
    value: NDArray[np.floating], error: NDArray[np.floating], truth: NDArray[np.floating], good: NDArray[np.bool_]
) -> dict[str, Any]:
    """Median, width and histogram of (value - truth) / error.

    Parameters
    ----------
    value, error, truth : ndarray
        Of one shape.
    good : ndarray of bool
        Pixels that count; those without a finite value and a positive error never do.

    Returns
    -------
    dict
        ``pixels``; ``median``; ``mad``, 1.4826 times the median absolute deviation: 1 for honest Gaussian errors;
        ``outliers``, the fraction beyond 5; ``histogram`` in `BINS`. NaN where no pixel counts.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        pull = (value - truth) / error
    pull = pull[good & np.isfinite(pull) & (error > 0)]
    if not pull.size:
        return {"pixels": 0, "median": np.nan, "mad": np.nan, "outliers": np.nan, "histogram": [0] * (len(BINS) - 1)}
    median = float(np.median(pull))
    return {
        "pixels": pull.size,
        "median": median,
        "mad": float(1.4826 * np.median(np.abs(pull - median))),
        "outliers": float(np.mean(np.abs(pull) > 5)),
        "histogram": np.histogram(np.clip(pull, BINS[0], BINS[-1]), BINS)[0].tolist(),
    }
