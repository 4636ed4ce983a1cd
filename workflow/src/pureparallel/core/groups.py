"""Groups of exposures on the sky: which hang together by common sources, and which catalogue they lie on.

A group is what shares one attitude: a visit and its guide star.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from . import registration
from .astrometry import Catalogue, Plane
from .registration import Peak

Array = NDArray[np.float64]

BRIGHTEST = 400
"""Sources of a group that the histogram of offsets is made of."""

Refused = MutableMapping[tuple[frozenset[int], str], str]
"""Why a catalogue does not hold some groups."""


@dataclass(frozen=True)
class Limits:
    """What a solution must fulfil.

    Attributes
    ----------
    max_shift : float
        Arcsec, of a group's correction.
    max_rms : float
        Arcsec per axis, of matches about their solution.
    min_matches : int
        With a catalogue, and with other groups.
    max_false : float
        Probability that another offset is the right one.
    radius : float
        Arcsec within which sources match once the offset is known; it covers what rolls do at the edges.
    """

    max_shift: float = 3.0
    max_rms: float = 0.04
    min_matches: int = 3
    max_false: float = 1e-3
    radius: float = 0.15


@dataclass(frozen=True)
class Group:
    """Exposures that are wrong together, merged into one list.

    Attributes
    ----------
    name : str
    xy : ndarray, shape (n, 2)
        Arcsec in the field's plane, brightest first.
    error : ndarray, shape (n,)
        Arcsec, 1 sigma per axis.
    footprints : list of ndarray, shape (k, 2)
        Convex outlines of its exposures, arcsec.
    shift_error, roll_error : float
        1 sigma of its pointing, arcsec per axis and radians.
    epoch : float
        Julian year.
    """

    name: str
    xy: Array
    error: Array
    footprints: Sequence[Array]
    shift_error: float
    roll_error: float
    epoch: float

    @property
    def pivot(self) -> Array:
        """Middle of its exposures."""
        return np.mean([one.mean(axis=0) for one in self.footprints], axis=0)

    def covers(self, xy: Array) -> NDArray[np.bool_]:
        """Whether positions (n, 2) are on any of its exposures."""
        return np.any([inside(xy, one) for one in self.footprints], axis=0)


def inside(xy: Array, outline: Array) -> NDArray[np.bool_]:
    """Whether points (n, 2) are within a convex outline, of either sense."""
    edge = np.roll(outline, -1, axis=0) - outline
    away = xy[:, None] - outline
    side = edge[:, 0] * away[..., 1] - edge[:, 1] * away[..., 0]
    return np.all(side >= 0, axis=1) | np.all(side <= 0, axis=1)


@dataclass(frozen=True)
class Part:
    """Groups that hang together.

    Attributes
    ----------
    members : tuple of int
    offset : ndarray, shape (m, 2)
        Of each member's correction to that of the first.
    false : float
        Of the least certain link.
    """

    members: tuple[int, ...]
    offset: Array
    false: float


@dataclass(frozen=True)
class Tie:
    """A part on a catalogue: which, and the first member's correction by it."""

    catalogue: Catalogue
    peak: Peak


def find_links(groups: Sequence[Group], limits: Limits) -> dict[tuple[int, int], Peak]:
    """Offsets of all pairs of groups that overlap, whether or not they are certain."""
    found = {}
    for a, b in combinations(range(len(groups)), 2):
        first, second = sorted((groups[a], groups[b]), key=lambda one: len(one.xy))
        peak = registration.find_shift(
            first.xy[:BRIGHTEST], second.xy[:BRIGHTEST], second.covers, radius=limits.radius,
            window=2 * limits.max_shift, error=float(np.hypot(first.shift_error, second.shift_error)),
        )  # fmt: skip
        if peak is not None:
            sign = 1 if first is groups[a] else -1
            found[a, b] = Peak(sign * peak.shift, peak.matches, peak.expected, peak.false)
    return found


def certain(peak: Peak, limits: Limits) -> bool:
    return peak.matches >= limits.min_matches and peak.false <= limits.max_false


def hang_together(
    groups: Sequence[Group], links: Mapping[tuple[int, int], Peak], alone: set[int], limits: Limits
) -> list[Part]:
    """Groups tied by certain links, the strongest first; a link that contradicts stronger ones does not count."""
    part = {i: i for i in range(len(groups))}
    offset = np.zeros((len(groups), 2))
    false = dict.fromkeys(part, np.nan)
    strongest = sorted(links.items(), key=lambda item: -item[1].matches)
    for (a, b), peak in strongest:
        if {a, b} & alone or not certain(peak, limits) or part[a] == part[b]:
            continue
        # what moves a onto b, when b is corrected by `offset`
        move = offset[b] + peak.shift - offset[a]
        old, new = part[a], part[b]
        worst = float(np.nanmax([false[old], false[new], peak.false]))
        for i in part:
            if part[i] == old:
                offset[i] += move
                part[i] = new
        false[new] = worst
    parts = []
    for label in sorted(set(part.values())):
        members = tuple(i for i in part if part[i] == label)
        parts.append(Part(members, offset[list(members)] - offset[members[0]], false[label]))
    return parts


def typical(groups: Sequence[Group], part: Part) -> tuple[Array, float]:
    """The first member's correction for which all corrections are likeliest, and its error."""
    errors = np.array([groups[i].shift_error for i in part.members])
    nu = registration.DEGREES_OF_FREEDOM
    best = -np.median(part.offset, axis=0)
    for _ in range(20):
        far = ((part.offset + best) ** 2).sum(axis=1) / errors**2
        weight = (nu + 2) / (nu + far) / errors**2
        best = -(weight @ part.offset) / weight.sum()
    return best, float(1 / np.sqrt(np.sum(1 / errors**2)))


def tie(
    groups: Sequence[Group], part: Part, catalogues: Sequence[Catalogue], plane: Plane, limits: Limits, refused: Refused
) -> Tie | None:
    """The first catalogue that a part lies on as one list; why others do not hold it goes to `refused`."""
    start, error = typical(groups, part)
    moves = [start + offset for offset in part.offset]
    lists = [groups[i].xy + move for i, move in zip(part.members, moves, strict=True)]
    merged = registration.means(lists, registration.associate(lists, limits.radius))
    outlines = [one + move for i, move in zip(part.members, moves, strict=True) for one in groups[i].footprints]

    def covers(xy: Array) -> NDArray[np.bool_]:
        return np.any([inside(xy, one) for one in outlines], axis=0)

    for catalogue in catalogues:
        key = frozenset(part.members), catalogue.label
        if key in refused:
            continue
        there, _ = catalogue.at(mean_epoch(groups, part), plane)
        near = np.any([inside(there, _grown(one, limits.max_shift)) for one in outlines], axis=0)
        peak = registration.find_shift(
            there[near], merged, covers, radius=limits.radius, window=limits.max_shift, error=error
        )
        if peak is None:
            refused[key] = f"{catalogue.label}: {near.sum()} positions near, none beside a source"
        elif peak.matches < limits.min_matches:
            refused[key] = f"{catalogue.label}: {peak.matches} matches, of {limits.min_matches} needed"
        elif peak.false > limits.max_false:
            refused[key] = f"{catalogue.label}: the offset is ambiguous (false with probability {peak.false:.2g})"
        else:
            return Tie(catalogue, Peak(start - peak.shift, peak.matches, peak.expected, peak.false))
    return None


def mean_epoch(groups: Sequence[Group], part: Part) -> float:
    """Julian year that a part's positions refer to."""
    return float(np.mean([groups[i].epoch for i in part.members]))


def _grown(outline: Array, by: float) -> Array:
    """A convex outline with its corners moved outward, so that the edges of a rectangle move by `by` at least."""
    away = outline - outline.mean(axis=0)
    return outline + 2 * by * away / np.hypot(*away.T)[:, None]
