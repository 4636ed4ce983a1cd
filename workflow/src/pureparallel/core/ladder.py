"""The ladder of astrometric references: which groups of exposures can be corrected by what, and what refuses.

A group is what shares one attitude: a visit and its guide star. Groups are first laid on each other by the sources they
have in common, faint galaxies included, which are many more than stars. What hangs together is then laid on the first
catalogue that fits it, as one list. One least-squares solution takes all matches at once, and its parts must pass
checks; what fails is taken out, with the reason, and the rest is solved again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from . import registration
from .astrometry import MAS, Catalogue, Plane
from .groups import Group, Limits, Part, Tie, find_links, hang_together, mean_epoch, tie, typical
from .registration import Fit, Observed, Peak, Priors

Array = NDArray[np.float64]

LEVERAGE = 1 / np.sqrt(2)
"""A roll is solved for where its error is below this share of the one known beforehand: data that say as much."""

FIXED = 1e-10
"""Radians; the prior of a roll that is not solved for."""

FITS = 0.25
"""Least weight of a match that counts."""


@dataclass
class Row:
    """What became of a group.

    Attributes
    ----------
    name : str
    pivot : ndarray, shape (2,)
        Arcsec; what a roll turns about.
    rung : str
        A catalogue's label, where the group's own stars are enough; ``field``, where it hangs on other groups;
        ``pointing``, where it is left as it was.
    frame : str
        What the positions refer to in the end: a catalogue's label, or ``pointing``.
    part : str
        What lies on each other has one: the catalogue's label, or the name of the first of the groups.
    correction, error : ndarray, shape (3,)
        East, north [arcsec] and roll [rad].
    relative_error : float
        Arcsec, 1 sigma per axis, of its shift against those of its part.
    roll_solved : bool
    sources, stars, common : int
        In the list; matches with the catalogue; matches with other groups.
    rms_catalogue, rms_common : float
        Arcsec per axis, weighted by errors; NaN without matches.
    false : float
        Probability that the least certain of the offsets that it hangs on is another.
    reasons : list of str
        Why not a higher rung.
    """

    name: str
    pivot: Array
    sources: int = 0
    rung: str = "pointing"
    frame: str = "pointing"
    part: str = ""
    correction: Array = field(default_factory=lambda: np.zeros(3))
    error: Array = field(default_factory=lambda: np.zeros(3))
    relative_error: float = 0.0
    roll_solved: bool = False
    stars: int = 0
    common: int = 0
    rms_catalogue: float = np.nan
    rms_common: float = np.nan
    false: float = np.nan
    reasons: list[str] = field(default_factory=list)


@dataclass
class State:
    """A solution on its way: what hangs together and on what, and what has been refused."""

    alone: set[int] = field(default_factory=set)
    refused: dict[tuple[frozenset[int], str], str] = field(default_factory=dict)
    notes: dict[int, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Solved:
    """A solution.

    Attributes
    ----------
    rows : list of Row
        One per group.
    observed : Observed
        All that is shared.
    fit : Fit or None
        None where nothing is.
    """

    rows: list[Row]
    observed: Observed
    fit: Fit | None

    def common(self) -> NDArray[np.bool_]:
        """Positions of groups that fit, of sources that other groups have as well."""
        if self.fit is None:
            return np.zeros(0, bool)
        several = np.bincount(self.observed.source, self.observed.group >= 0) > 1
        return (self.observed.group >= 0) & (self.fit.weight > FITS) & several[self.observed.source]

    def stars(self) -> NDArray[np.bool_]:
        """Positions of groups that fit, of sources that are in a catalogue."""
        if self.fit is None:
            return np.zeros(0, bool)
        known = np.isin(self.observed.source, self.observed.source[self.observed.group < 0])
        return (self.observed.group >= 0) & (self.fit.weight > FITS) & known

    def from_catalogue(self) -> Array:
        """Corrected positions less the catalogue's, arcsec, of `stars`; shape (k, 2)."""
        if self.fit is None:
            return np.zeros((0, 2))
        own, which = np.flatnonzero(self.observed.group < 0), self.stars()
        of_source = np.full(int(self.observed.source.max(initial=-1)) + 1, -1)
        of_source[self.observed.source[own]] = own
        # both are known as what they differ from the source
        return self.fit.residual[which] - self.fit.residual[of_source[self.observed.source[which]]]

    def sources(self) -> Array:
        """Corrected positions (k, 2) of all sources that are shared."""
        if self.fit is None:
            return np.zeros((0, 2))
        pivots = np.array([row.pivot for row in self.rows])
        _, first = np.unique(self.observed.source, return_index=True)
        group, xy = self.observed.group[first], self.observed.xy[first]
        moved = registration.corrected(xy, self.fit.correction[group], pivots[group])
        return np.where((group >= 0)[:, None], moved, xy) - self.fit.residual[first]


def climb(groups: Sequence[Group], catalogues: Sequence[Catalogue], plane: Plane, limits: Limits) -> Solved:
    """Bring every group to the highest rung that holds it.

    Parameters
    ----------
    groups : sequence of Group
    catalogues : sequence of Catalogue
        In the order of preference.
    plane : Plane
        That of the groups' positions.
    limits : Limits
    """
    nothing = Observed(np.zeros((0, 2)), np.zeros(0), np.zeros(0, int), np.zeros(0, int))
    solved, state, links = Solved([], nothing, None), State(), find_links(groups, limits)
    if not groups:
        return solved
    for _ in range(4 * len(groups) * (len(catalogues) + 1) + 1):
        parts = hang_together(groups, links, state.alone, limits)
        ties = [tie(groups, part, catalogues, plane, limits, state.refused) for part in parts]
        solved = _solve(groups, parts, ties, plane, limits)
        if not _refuse(solved, parts, ties, limits, state):
            break
    for i, row in enumerate(solved.rows):
        row.reasons = [*state.notes.get(i, []), *_missing(groups, i, links, parts, catalogues, state, limits, row)]
    return solved


def _gather(
    groups: Sequence[Group], part: Part, tied: Tie | None, theta: Array, plane: Plane, radius: float
) -> Observed:
    """What the lists of a part, corrected, and its catalogue have in common."""
    mine = [groups[i] for i in part.members]
    lists = [registration.corrected(one.xy, theta[i], one.pivot) for i, one in zip(part.members, mine, strict=True)]
    numbers = registration.associate(lists, radius)
    xy, error = np.concatenate([one.xy for one in mine]), np.concatenate([one.error for one in mine])
    group, source = np.repeat(part.members, [len(one.xy) for one in mine]), np.concatenate(numbers)
    if tied is not None and len(source):
        mean, epoch = registration.means(lists, numbers), mean_epoch(groups, part)
        there, uncertain = tied.catalogue.at(epoch, plane)
        star, known = registration.mutual(there, mean, radius)
        # stars move between the groups: all are brought to their mean epoch
        motion = np.zeros((len(mean), 2))
        motion[known] = tied.catalogue.motion[star] * MAS
        years = np.array([one.epoch - epoch for one in groups])
        xy = np.concatenate([xy - motion[source] * years[group][:, None], there[star]])
        error = np.concatenate([error, uncertain[star]])
        group, source = np.concatenate([group, np.full(len(star), -1)]), np.concatenate([source, known])
    return Observed(xy, error, group, source)


def _solve(
    groups: Sequence[Group], parts: Sequence[Part], ties: Sequence[Tie | None], plane: Plane, limits: Limits
) -> Solved:
    """All parts in one least-squares solution, twice: the second with nearer matches."""
    theta = np.zeros((len(groups), 3))
    for part, tied in zip(parts, ties, strict=True):
        start = tied.peak.shift if tied is not None else typical(groups, part)[0]
        theta[list(part.members), :2] = start + part.offset
    pivots = np.array([one.pivot for one in groups])
    rolls = np.array([one.roll_error for one in groups])
    priors = Priors(np.array([one.shift_error for one in groups]), rolls, pivots)
    fit, observed = None, Observed(np.zeros((0, 2)), np.zeros(0), np.zeros(0, int), np.zeros(0, int))
    for radius in (limits.radius, limits.radius / 2):
        found = [_gather(groups, part, tied, theta, plane, radius) for part, tied in zip(parts, ties, strict=True)]
        observed = _join(found).shared()
        if not len(observed.error):
            break
        fit = registration.solve(observed, priors, theta)
        solved_for = fit.error[:, 2] < LEVERAGE * rolls
        if not solved_for.all():
            held = Priors(priors.shift, np.where(solved_for, rolls, FIXED), pivots)
            fit = registration.solve(observed, held, np.where([[1, 1, 0]] | solved_for[:, None], fit.correction, 0))
        theta = fit.correction
    solved = Solved([Row(one.name, one.pivot) for one in groups], observed, fit)
    solved.rows[:] = [_row(one, i, solved) for i, one in enumerate(groups)]
    for part, tied in zip(parts, ties, strict=True):
        relative = _relative_errors(part, fit)
        for i, error in zip(part.members, relative, strict=True):
            _judge(solved.rows[i], part, tied, limits)
            solved.rows[i].relative_error = float(error)
            solved.rows[i].part = tied.catalogue.label if tied is not None else groups[part.members[0]].name
    return solved


def _judge(row: Row, part: Part, tied: Tie | None, limits: Limits) -> None:
    """Fill in a row's rung, and how sure it is."""
    row.frame = tied.catalogue.label if tied is not None else "pointing"
    if tied is not None and row.stars >= limits.min_matches:
        row.rung = tied.catalogue.label
    elif len(part.members) > 1:
        row.rung = "field"
    if len(part.members) > 1 or tied is not None:
        row.false = float(np.nanmax([part.false, tied.peak.false if tied is not None else np.nan]))


def _relative_errors(part: Part, fit: Fit | None) -> Array:
    """Errors of shifts against their mean: what all have in common blurs no mosaic, nor moves its spectra."""
    count = len(part.members)
    if fit is None or count == 1:
        return np.zeros(count)
    members, away = np.array(part.members), np.eye(count) - 1 / count
    variance = [
        np.diag(away @ fit.covariance[np.ix_(3 * members + axis, 3 * members + axis)] @ away) for axis in (0, 1)
    ]
    return np.asarray(np.sqrt(np.maximum(np.mean(variance, axis=0), 0)))


def _join(found: Sequence[Observed]) -> Observed:
    start = np.cumsum([0, *(int(one.source.max(initial=-1)) + 1 for one in found)])
    source = np.concatenate([one.source + first for one, first in zip(found, start, strict=False)])
    xy, error, group = (np.concatenate([getattr(one, key) for one in found]) for key in ("xy", "error", "group"))
    return Observed(xy, error, group, source)


def _row(one: Group, i: int, solved: Solved) -> Row:
    """What the solution says of a group, before it is judged."""
    row = Row(one.name, one.pivot, len(one.xy), error=np.array([one.shift_error, one.shift_error, one.roll_error]))
    observed, fit = solved.observed, solved.fit
    mine, common, stars = observed.group == i, solved.common(), solved.stars()
    row.common, row.stars = int((mine & common).sum()), int((mine & stars).sum())
    if fit is None or not (mine & (common | stars)).any():
        return row
    row.correction, row.roll_solved = fit.correction[i], bool(fit.error[i, 2] > FIXED)
    row.error = np.where([True, True, row.roll_solved], fit.error[i], row.error)
    row.rms_common = rms(fit.left_out[mine & common], observed.error[mine & common])
    row.rms_catalogue = rms(solved.from_catalogue()[mine[stars]], observed.error[mine & stars])
    return row


def rms(residual: Array, error: Array) -> float:
    """Per axis, weighted by errors; NaN of nothing."""
    weight = 1 / error**2
    return float(np.sqrt((weight @ (residual**2).sum(axis=1)) / (2 * weight.sum()))) if len(error) else np.nan


def _refuse(solved: Solved, parts: Sequence[Part], ties: Sequence[Tie | None], limits: Limits, state: State) -> bool:
    """Take out what fails its checks; whether there was anything."""
    for part, tied in zip(parts, ties, strict=True):
        if tied is not None and (fault := _fault_of_tie(solved, part, limits)):
            state.refused[frozenset(part.members), tied.catalogue.label] = f"{tied.catalogue.label}: {fault}"
            return True
    several = [i for part in parts if len(part.members) > 1 for i in part.members]
    faults = {i: fault for i in several if (fault := _fault_of_group(solved.rows[i], limits))}
    if not faults:
        return False
    # the loosest alone: the others may be well without it
    worst = max(faults, key=lambda i: _looseness(solved.rows[i]))
    state.alone.add(worst)
    state.notes.setdefault(worst, []).append(f"field: {faults[worst]}")
    return True


def _looseness(row: Row) -> float:
    return float(np.nan_to_num(row.rms_common, nan=np.inf))


def _fault_of_tie(solved: Solved, part: Part, limits: Limits) -> str:
    observed, fit = solved.observed, solved.fit
    if fit is None:
        return "no match is left"
    here = np.isin(observed.source, observed.source[np.isin(observed.group, part.members)])
    stars = here & (observed.group < 0) & (fit.weight > FITS)
    if stars.sum() < limits.min_matches:
        return f"{stars.sum()} stars fit, of {limits.min_matches} needed"
    scatter = rms(fit.left_out[stars], observed.error[stars])
    if scatter > limits.max_rms:
        return f"matches scatter by {scatter:.3f}″, more than {limits.max_rms}″"
    far = max(float(np.hypot(*solved.rows[i].correction[:2])) for i in part.members)
    if len(part.members) == 1 and far > limits.max_shift:
        return f"the shift is {far:.2f}″, more than {limits.max_shift}″"
    return ""


def _fault_of_group(row: Row, limits: Limits) -> str:
    far = float(np.hypot(*row.correction[:2]))
    if row.common + row.stars < limits.min_matches:
        return f"{row.common} common sources fit, of {limits.min_matches} needed"
    if far > limits.max_shift:
        return f"the shift is {far:.2f}″, more than {limits.max_shift}″"
    if row.rms_common > limits.max_rms:
        return f"common sources scatter by {row.rms_common:.3f}″, more than {limits.max_rms}″"
    return ""


def _missing(
    groups: Sequence[Group], i: int, links: Mapping[tuple[int, int], Peak], parts: Sequence[Part],
    catalogues: Sequence[Catalogue], state: State, limits: Limits, row: Row,
) -> list[str]:  # fmt: skip
    """Why a group is not on a higher rung."""
    part = next(one for one in parts if i in one.members)
    reasons: list[str] = []
    for catalogue in catalogues:
        if catalogue.label == row.rung:
            return reasons
        told = state.refused.get((frozenset(part.members), catalogue.label))
        reasons.append(told or f"{catalogue.label}: {row.stars} of its own stars, {limits.min_matches} needed")
    if row.rung == "pointing" and i not in state.alone and len(groups) > 1:
        best = max((peak for pair, peak in links.items() if i in pair), key=lambda one: one.matches, default=None)
        reasons.append(
            f"field: {best.matches} sources in common with another group, false with probability {best.false:.2g}"
            if best is not None else "field: no source in common with another group"
        )  # fmt: skip
    return reasons
