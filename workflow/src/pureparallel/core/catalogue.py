"""Statistics of redshift tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


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
