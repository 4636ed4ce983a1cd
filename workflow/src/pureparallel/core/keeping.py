"""Earlier corrections of pointings that new ones do not improve on: what is made with them may stay as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
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

    What a whole part has moved by is compared with the error of its place on the sky, and what a group has moved by
    beyond that with its error against the part. What is new in a part of which something stays is laid on that.

    Parameters
    ----------
    groups, exposures : sequence of mapping
        Rows of the new solution, as align writes them.
    before : (sequence of mapping, sequence of mapping)
        Groups and exposures of the old one.
    share : float
        Of these errors, by which nothing may have moved.

    Returns
    -------
    groups, exposures : list of dict
        Exposures that join a group get their new places.
    kept : list of str
        Groups whose other exposures are where they were.
    """
    old_groups = {str(row["group"]): row for row in before[0]}
    old_exposures = {str(row["exposure"]): row for row in before[1]}
    moved = _moved(exposures, old_exposures)
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for row in groups:
        old = old_groups.get(str(row["group"]))
        if old is not None and str(row["group"]) in moved and all(str(row[key]) == str(old[key]) for key in SAME):
            parts.setdefault(str(row["part"]), []).append(row)
    back: dict[str, Array] = {}
    kept: list[str] = []
    for part, rows in parts.items():
        of_part = np.mean([moved[str(row["group"])].mean(axis=0) for row in rows], axis=0)
        stay = [str(row["group"]) for row in rows if _farthest(row, moved, of_part) <= share * row["relative_error"]]
        if stay and np.hypot(*of_part) <= share * min(float(row["shift_error"]) for row in rows):
            kept += stay
            back[part] = -np.mean([moved[name].mean(axis=0) for name in stay], axis=0)
    return (
        [_group(row, old_groups, kept, back) for row in groups],
        [_exposure(row, groups, old_exposures, kept, back) for row in exposures],
        [str(row["group"]) for row in groups if str(row["group"]) in kept],
    )


def _moved(exposures: Rows, before: Mapping[str, Mapping[str, Any]]) -> dict[str, Array]:
    """What the points of each group's exposures have moved by, arcsec east and north, shape (n, 2)."""
    found: dict[str, list[Array]] = {}
    for row in exposures:
        old = before.get(str(row["exposure"]))
        if old is not None and str(old["group"]) == str(row["group"]):
            found.setdefault(str(row["group"]), []).append(displacement(old, row))
    together = {name: np.concatenate(points) for name, points in found.items()}
    return {name: points for name, points in together.items() if len(points)}


def _farthest(row: Mapping[str, Any], moved: Mapping[str, Array], of_part: Array) -> float:
    """How far a group's points have moved at most, beyond what its part has."""
    return float(np.hypot(*(moved[str(row["group"])] - of_part).T).max())


def displacement(old: Mapping[str, Any], new: Mapping[str, Any]) -> Array:
    """What an exposure's reference point and corners, where those are known, have moved by: arcsec, shape (n, 2)."""
    one, two = _points(old), _points(new)
    both = np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1)
    east = ((two[:, 0] - one[:, 0] + 180) % 360 - 180) * np.cos(np.deg2rad(one[:, 1]))
    return np.asarray(np.stack([east, two[:, 1] - one[:, 1]], axis=1)[both] * ARCSEC)


def _points(row: Mapping[str, Any]) -> Array:
    """Reference point and corners, shape (5, 2), degrees."""
    return np.vstack([[float(row["ra"]), float(row["dec"])], np.asarray(row["corners"], float).reshape(4, 2)])


def _group(
    row: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]], kept: Sequence[str], back: Mapping[str, Array]
) -> dict[str, Any]:
    """A group's row, with its old correction, or with its new one on what is kept of its part."""
    if row["group"] in kept:
        return {**row, **{key: before[row["group"]][key] for key in CORRECTION}, "kept": True}
    east, north = back.get(str(row["part"]), np.zeros(2))
    return {
        **row, "shift_east": row["shift_east"] + float(east), "shift_north": row["shift_north"] + float(north),
        "kept": False,
    }  # fmt: skip


def _exposure(
    row: Mapping[str, Any], groups: Rows, before: Mapping[str, Mapping[str, Any]], kept: Sequence[str],
    back: Mapping[str, Array],
) -> dict[str, Any]:  # fmt: skip
    """An exposure's row, where it was, or where it is now beside what is kept of its part."""
    if row["group"] in kept and row["exposure"] in before:
        return {**row, **{key: before[row["exposure"]][key] for key in PLACE}}
    part = next((str(one["part"]) for one in groups if one["group"] == row["group"]), "")
    if part not in back:
        return dict(row)
    east, north = back[part] / ARCSEC
    east /= np.cos(np.deg2rad(float(row["dec"])))
    corners = np.asarray(row["corners"], float) + np.array([east, north])
    return {**row, "ra": float(row["ra"] + east), "dec": float(row["dec"] + north), "corners": corners}
