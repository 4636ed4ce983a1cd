"""Earlier corrections of pointings that new ones do not improve on: what is made with them may stay as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[Mapping[str, Any]]

ARCSEC = 3600.0

SAME = ("rung", "frame", "part")
"""What must not have changed of a group."""

CORRECTION = ("shift_east", "shift_north", "roll", "pivot_ra", "pivot_dec")
"""What is kept of a group."""

PLACE = ("ra", "dec", "roll", "corners")
"""What is kept of an exposure."""


def keep(
    groups: Rows, exposures: Rows, before: tuple[Rows, Rows], share: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """A new solution with those of the old corrections that are as good.

    Parameters
    ----------
    groups, exposures : sequence of mapping
        Rows of the new solution, as align writes them.
    before : (sequence of mapping, sequence of mapping)
        Groups and exposures of the old one.
    share : float
        Of the new correction's error, by which no exposure of the group may have moved.

    Returns
    -------
    groups, exposures : list of dict
        Exposures that join a group get their new places.
    kept : list of str
        Groups whose other exposures are where they were.
    """
    old_groups = {str(row["group"]): row for row in before[0]}
    old_exposures = {str(row["exposure"]): row for row in before[1]}
    moved: dict[str, float] = {}
    for row in exposures:
        old = old_exposures.get(str(row["exposure"]))
        if old is not None and str(old["group"]) == str(row["group"]):
            group = str(row["group"])
            moved[group] = max(moved.get(group, 0.0), displacement(old, row))
    kept = [
        str(row["group"]) for row in groups
        if str(row["group"]) in old_groups
        and all(str(row[key]) == str(old_groups[str(row["group"])][key]) for key in SAME)
        and moved.get(str(row["group"]), np.inf) <= share * float(row["shift_error"])
    ]  # fmt: skip
    new_groups = [
        {**row, **({key: old_groups[row["group"]][key] for key in CORRECTION} if row["group"] in kept else {}),
         "kept": row["group"] in kept}
        for row in groups
    ]  # fmt: skip
    new_exposures = [
        {**row, **{key: old_exposures[row["exposure"]][key] for key in PLACE}}
        if row["group"] in kept and row["exposure"] in old_exposures
        else dict(row)
        for row in exposures
    ]
    return new_groups, new_exposures, kept


def displacement(old: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """How far an exposure has moved, arcsec: its reference point, or its farthest corner where those are known."""
    one, two = _points(old), _points(new)
    both = np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1)
    if not both.any():
        return np.inf
    east = ((two[:, 0] - one[:, 0] + 180) % 360 - 180) * np.cos(np.deg2rad(one[:, 1]))
    north = two[:, 1] - one[:, 1]
    return float(np.hypot(east, north)[both].max()) * ARCSEC


def _points(row: Mapping[str, Any]) -> NDArray[np.float64]:
    """Reference point and corners, shape (5, 2), degrees."""
    return np.vstack([[float(row["ra"]), float(row["dec"])], np.asarray(row["corners"], float).reshape(4, 2)])
