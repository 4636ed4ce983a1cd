"""Emission-line families: lines that share one free flux, at fixed ratios."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOW_RESOLUTION = 500.0
"""Resolving power below which close lines are fitted as blends."""


@dataclass(frozen=True)
class Family:
    """Lines with one free flux.

    Attributes
    ----------
    name : str
    labels : tuple of str
    wavelengths : ndarray
        Rest frame, vacuum, Å.
    fractions : ndarray
        Share of the family's flux in each line; they sum to 1.
    resolution : {"any", "low", "high"}
        At which resolving power the family is fitted.
    """

    name: str
    labels: tuple[str, ...]
    wavelengths: NDArray[np.float64]
    fractions: NDArray[np.float64]
    resolution: str = "any"


def families(rows: Iterable[Mapping[str, object]]) -> list[Family]:
    """Gather the rows of the line list into families, in the order of their first lines.

    Parameters
    ----------
    rows : iterable of mappings
        With ``family``, ``label``, ``wavelength`` (Å), ``ratio`` and ``resolution``.
    """
    groups: dict[str, list[Mapping[str, object]]] = {}
    for row in rows:
        groups.setdefault(str(row["family"]), []).append(row)
    found = []
    for name, members in groups.items():
        ratios = np.array([float(str(row["ratio"])) for row in members])
        wavelengths = np.array([float(str(row["wavelength"])) for row in members])
        labels = tuple(str(row["label"]) for row in members)
        found.append(Family(name, labels, wavelengths, ratios / ratios.sum(), str(members[0]["resolution"])))
    return found


def at_resolution(lines: Iterable[Family], resolving_power: float) -> list[Family]:
    """The families to fit at a resolving power R: blends below `LOW_RESOLUTION`, single lines above."""
    wanted = ("any", "low" if resolving_power < LOW_RESOLUTION else "high")
    return [family for family in lines if family.resolution in wanted]
