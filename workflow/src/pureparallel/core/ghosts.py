"""Optical ghosts of NIRISS: reflections of bright sources between filter or grism and detector.

The ghost of a source lies opposite to it, mirrored through a point of the detector that each pair of filter and
pupil elements has of its own, the ghost axis point. With a grism in the beam, it is the zeroth order that is mirrored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

AXIS_POINTS = {
    ("CLEAR", "F090W"): (1168.90, 937.20),
    ("CLEAR", "F115W"): (1156.00, 927.00),
    ("CLEAR", "F140M"): (1170.00, 934.85),
    ("CLEAR", "F150W"): (1162.60, 937.90),
    ("CLEAR", "F158M"): (1162.60, 937.90),
    ("CLEAR", "F200W"): (1155.90, 943.30),
    ("GR150", "F090W"): (1164.38, 932.23),
    ("GR150", "F115W"): (1150.74, 924.08),
    ("GR150", "F140M"): (1164.63, 930.34),
    ("GR150", "F150W"): (1156.20, 931.81),
    ("GR150", "F158M"): (1156.20, 931.81),
    ("GR150", "F200W"): (1149.48, 938.62),
    ("F277W", "CLEARP"): (1183.00, 1600.00),
    ("F356W", "CLEARP"): (1186.00, 1598.00),
    ("F380M", "CLEARP"): (1170.00, 1607.00),
    ("F430M", "CLEARP"): (1168.00, 1605.00),
    ("F444W", "CLEARP"): (1194.40, 1601.80),
    ("F480M", "CLEARP"): (1185.00, 1604.00),
}
"""Full-frame pixels by (FILTER, PUPIL), medians of table niriss_ghost_gap_summary.txt in T. Morishita's package
niriss_ghost (spacetelescope/niriss_ghost), measured on the ground and, for some, in flight. Its single measurements of
F158M, (512.6, 755.7) and (1148, 314), contradict all others: F158M has F150W's here. Each filter has its own entry:
other implementations give F150W another filter's point. The table's spread is 1 to 4 pixels, so that ghosts are placed
to twice that."""


class Bright(NamedTuple):
    """A source: 0-based pixels of the array, and its whole rate in DN/s."""

    x: float
    y: float
    rate: float


@dataclass(frozen=True)
class Ghost:
    """Where a ghost is expected, what is expected of it, and what is there.

    Attributes
    ----------
    x, y : float
        0-based pixels of the array.
    expected : float
        DN/s per pixel.
    measured : float
        Sigma of the mean in the disc over that around it; NaN where nothing is good.
    source : Bright
    """

    x: float
    y: float
    expected: float
    measured: float
    source: Bright


def axis_point(filter: str, pupil: str) -> tuple[float, float] | None:
    """The ghost axis point in full-frame pixels of FILTER and PUPIL, None where none is known."""
    return AXIS_POINTS.get(("GR150" if filter in ("GR150R", "GR150C") else filter, pupil))


def position(x: ArrayLike, y: ArrayLike, filter: str, pupil: str) -> tuple[Array, Array] | None:
    """Where ghosts lie, in full-frame pixels, given those of their sources; None where no axis point is known."""
    point = axis_point(filter, pupil)
    if point is None:
        return None
    return 2 * point[0] - np.asarray(x, float), 2 * point[1] - np.asarray(y, float)


def brightness(rate: float, fraction: float, radius: float) -> float:
    """DN/s per pixel of a ghost: its light fills half of the disc, which is larger because positions are uncertain."""
    return 2 * fraction * rate / (np.pi * radius**2)


def find(
    sources: Sequence[Bright], rate: NDArray, error: NDArray, good: Mask, corner: tuple[int, int],
    elements: tuple[str, str], *, fraction: float = 0.01, radius: float = 10.0, nsigma: float = 1.0,
) -> list[Ghost]:  # fmt: skip
    """Ghosts that matter in an exposure.

    Parameters
    ----------
    sources : sequence of Bright
    rate, error : ndarray, shape (ny, nx)
        DN/s, above the background.
    good : ndarray of bool, shape (ny, nx)
    corner : (int, int)
        0-based full-frame pixel (x, y) of the array's first pixel.
    elements : (str, str)
        FILTER and PUPIL.
    fraction : float
        Of the source's light in its ghost, about 1 % (niriss_ghost).
    radius : float
        Pixels of the disc that is masked.
    nsigma : float
        A ghost matters if its expected light per pixel (`brightness`) is so many times the median error there.
    """
    ny, nx = rate.shape
    found = []
    for source in sources:
        place = position(source.x + corner[0], source.y + corner[1], *elements)
        if place is None:
            continue
        x, y = float(place[0]) - corner[0], float(place[1]) - corner[1]
        if not (-radius < x < nx - 1 + radius and -radius < y < ny - 1 + radius):
            continue
        columns = slice(max(int(x - 3 * radius), 0), int(x + 3 * radius) + 2)
        rows = slice(max(int(y - 3 * radius), 0), int(y + 3 * radius) + 2)
        cut, noise, use = rate[rows, columns], error[rows, columns], good[rows, columns]
        expected = brightness(source.rate, fraction, radius)
        typical = np.median(noise[use]) if use.any() else np.median(error[good])
        if expected < nsigma * typical:
            continue
        v, u = np.ogrid[: cut.shape[0], : cut.shape[1]]
        distance = np.hypot(u - x + columns.start, v - y + rows.start)
        inside, around = use & (distance <= radius), use & (distance > 1.5 * radius) & (distance < 2.5 * radius)
        measured = np.nan
        if inside.sum() > 20 and around.sum() > 20:
            # medians, for sources may lie on the disc and around it
            excess = np.median(cut[inside]) - np.median(cut[around])
            measured = float(excess / (1.2533 * typical * np.sqrt(1 / inside.sum() + 1 / around.sum())))
        found.append(Ghost(x, y, float(expected), measured, source))
    return found


def mask(ghosts: Sequence[Ghost], shape: tuple[int, int], radius: float) -> Mask:
    """Pixels of all ghosts."""
    covered = np.zeros(shape, bool)
    for ghost in ghosts:
        rows, columns = (
            slice(max(int(c - radius), 0), max(min(int(c + radius) + 2, n), 0))
            for c, n in ((ghost.y, shape[0]), (ghost.x, shape[1]))
        )
        y, x = np.ogrid[rows, columns]
        covered[rows, columns] |= (x - ghost.x) ** 2 + (y - ghost.y) ** 2 <= radius**2
    return covered
