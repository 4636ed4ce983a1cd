"""Find how lists of positions lie on each other, and solve for the rigid corrections of many lists at once.

All positions are tangent-plane arcsec (east, north). A correction moves a point z of a list by

    shift + roll * (y - pivot_y, -(x - pivot_x))

with the roll in radians, positive from north to east, as position angles are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Covers = Callable[[Array], NDArray[np.bool_]]

TAIL = 0.1
"""Probability that a pointing is wrong beyond its stated error: anywhere within the window."""

CANDIDATES = 12
"""Peaks of the histogram of offsets that are compared."""

RIVAL, FEW = 0.7, 5
"""Share of the best offset's matches, and number, at which another makes it ambiguous whatever the odds: positions
that repeat themselves are not drawn at random, as the odds have it."""

DEGREES_OF_FREEDOM = 4.0
"""Of the t-distribution that pointings' errors are drawn from: one that is far off does not pull the others."""

CUT = 3.0
"""Errors at which a match has lost three quarters of its weight."""


RAYLEIGH = 1.177
"""Median length of a vector whose two components are normal, with sigma 1."""


@dataclass(frozen=True)
class Peak:
    """The best offset between two lists.

    Attributes
    ----------
    shift : ndarray, shape (2,)
        What moves the first list onto the second.
    matches : int
    expected : float
        Matches by chance at an offset.
    false : float
        Probability that the offset is not this one: another peak's, or none because the lists have nothing in common.
    """

    shift: Array
    matches: int
    expected: float
    false: float


def find_shift(
    first: Array, second: Array, covers: Covers, *, radius: float, window: float, error: float
) -> Peak | None:
    """The offset between two lists: the peak in the histogram of all offsets of pairs, judged against the others.

    An offset at which N of M points have a partner has odds of a binomial with the share N / M against one with the
    share of chance; times what is known of the offset beforehand: normal errors, and a tail that is flat.

    Parameters
    ----------
    first : ndarray, shape (n, 2)
    second : ndarray, shape (m, 2)
    covers : callable
        Whether the second list could have points at positions (k, 2).
    radius : float
        Within which two points match.
    window : float
        Largest offset.
    error : float
        1 sigma per axis of the offset, known beforehand.

    Returns
    -------
    Peak or None
        None where no pair is within the window.
    """
    from scipy.spatial import KDTree

    if not len(first) or not len(second):
        return None
    tree = KDTree(second)
    near = tree.query_ball_point(first, window)
    offsets = np.concatenate([second[j] - first[i] for i, j in enumerate(near)])
    if not len(offsets):
        return None
    of_offsets = KDTree(offsets)
    counts = of_offsets.query_ball_point(offsets, radius, return_length=True)
    expected = len(offsets) * (radius / window) ** 2
    peaks: list[tuple[float, Array, int]] = []
    left = np.ones(len(offsets), bool)
    for _ in range(CANDIDATES):
        if not left.any():
            break
        shift = offsets[np.argmax(np.where(left, counts, -1))]
        for _ in range(3):
            shift = offsets[of_offsets.query_ball_point(shift, radius)].mean(axis=0)
        left &= np.hypot(*(offsets - shift).T) > 3 * radius
        left[of_offsets.query_ball_point(shift, 3 * radius)] = False
        matches = len(mutual(first + shift, second, radius)[0])
        inside = max(int(covers(first + shift).sum()), matches)
        peaks.append((_odds(matches, inside, expected) + _prior(shift, radius, window, error), shift, matches))
    peaks.sort(key=lambda peak: -peak[0])
    # weighed against the others and against nothing in common, which has weight 1
    others = np.logaddexp.reduce([0.0, *(peak[0] for peak in peaks[1:])])
    false = float(np.exp(others - np.logaddexp(others, peaks[0][0])))
    if any(peak[2] >= max(RIVAL * peaks[0][2], FEW) for peak in peaks[1:]):
        false = max(false, 0.5)
    return Peak(peaks[0][1], peaks[0][2], expected, false)


def _odds(matches: int, inside: int, expected: float) -> float:
    """Log of the odds that so many matches are real."""
    if not matches:
        return -np.inf
    chance = min(max(expected / inside, 1e-6), 0.99)
    share = min(matches / inside, 0.95)
    if share <= chance:
        return 0.0
    return float(matches * np.log(share / chance) + (inside - matches) * np.log((1 - share) / (1 - chance)))


def _prior(shift: Array, radius: float, window: float, error: float) -> float:
    """Log of the probability of an offset within a radius, known beforehand."""
    normal = np.exp(-(shift @ shift) / (2 * error**2)) / (2 * np.pi * error**2)
    return float(np.log(np.pi * radius**2 * ((1 - TAIL) * normal + TAIL / (np.pi * window**2))))


def mutual(first: Array, second: Array, radius: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of pairs, each the other's nearest, within a radius."""
    from scipy.spatial import KDTree

    if not len(first) or not len(second):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    distance, there = KDTree(second).query(first, distance_upper_bound=radius)
    _, back = KDTree(first).query(second)
    i = np.flatnonzero(np.isfinite(distance))
    i = i[back[there[i]] == i]
    return i, there[i]


def associate(lists: Sequence[Array], radius: float) -> list[NDArray[np.intp]]:
    """Number points of several lists so that those of one source have one number.

    The longest list comes first; each point of the next is given to the source that it matches (`mutual`), or is new.

    Parameters
    ----------
    lists : sequence of ndarray, shape (n_i, 2)
    radius : float

    Returns
    -------
    list of ndarray, shape (n_i,)
    """
    numbers: list[NDArray[np.intp]] = [np.zeros(len(one), np.intp) for one in lists]
    place, seen = np.zeros((0, 2)), np.zeros(0)
    for k in sorted(range(len(lists)), key=lambda k: -len(lists[k])):
        mine, known = mutual(lists[k], place, radius)
        numbers[k][:] = -1
        numbers[k][mine] = known
        place[known] += (lists[k][mine] - place[known]) / (seen[known, None] + 1)
        seen[known] += 1
        new = numbers[k] < 0
        numbers[k][new] = len(place) + np.arange(new.sum())
        place, seen = np.concatenate([place, lists[k][new]]), np.concatenate([seen, np.ones(new.sum())])
    return numbers


def means(lists: Sequence[Array], numbers: Sequence[NDArray[np.intp]]) -> Array:
    """Mean positions (k, 2) of the sources that `associate` numbered."""
    xy, number = np.concatenate(lists), np.concatenate(numbers)
    count = np.bincount(number)
    return np.stack([np.bincount(number, one) / count for one in xy.T], axis=1)


@dataclass(frozen=True)
class Observed:
    """Positions of sources that several lists share.

    Attributes
    ----------
    xy : ndarray, shape (n, 2)
        As the lists have them, uncorrected.
    error : ndarray, shape (n,)
        1 sigma per axis.
    group : ndarray of int, shape (n,)
        List that a position is from; -1 for a catalogue, which is not corrected.
    source : ndarray of int, shape (n,)
    """

    xy: Array
    error: Array
    group: NDArray[np.intp]
    source: NDArray[np.intp]

    def shared(self) -> "Observed":
        """Without the sources that only one list has; numbered anew."""
        count = np.bincount(self.source) if len(self.source) else np.zeros(0, int)
        keep = count[self.source] > 1
        source = np.unique(self.source[keep], return_inverse=True)[1]
        return Observed(self.xy[keep], self.error[keep], self.group[keep], source)


@dataclass(frozen=True)
class Priors:
    """What is known of each list's correction beforehand: 0, with these errors (G,), arcsec and radians, and pivots."""

    shift: Array
    roll: Array
    pivot: Array


@dataclass(frozen=True)
class Fit:
    """Corrections of lists.

    Attributes
    ----------
    correction : ndarray, shape (G, 3)
        East, north [arcsec] and roll [rad].
    error : ndarray, shape (G, 3)
        1 sigma.
    covariance : ndarray, shape (3 G, 3 G)
    residual : ndarray, shape (n, 2)
        Corrected positions minus the source's.
    left_out : ndarray, shape (n, 2)
        Corrected positions minus those that all others give the source.
    weight : ndarray, shape (n,)
        From 0 to 1; small for what does not fit.
    """

    correction: Array
    error: Array
    covariance: Array
    residual: Array
    left_out: Array
    weight: Array


def corrected(xy: Array, correction: Array, pivot: Array) -> Array:
    """Positions (n, 2) moved by corrections (3,) or (n, 3) about pivots (2,) or (n, 2)."""
    away = xy - pivot
    turned = np.stack([away[..., 1], -away[..., 0]], axis=-1)
    return xy + correction[..., :2] + correction[..., 2:] * turned


def solve(observed: Observed, priors: Priors, start: Array, iterations: int = 30) -> Fit:
    """Corrections by robust least squares, with the positions of all sources unknown as well.

    Sources are eliminated from the normal equations; positions are weighted by their errors and by how well they fit
    (Geman & McClure), pointings by a t-distribution.

    Parameters
    ----------
    observed : Observed
        Of `Observed.shared`.
    priors : Priors
    start : ndarray, shape (G, 3)
        First guess, good to about the largest error of a match.
    iterations : int
    """
    count = len(priors.shift)
    free = observed.group >= 0
    index = np.flatnonzero(free)
    pivot = np.where(free[:, None], priors.pivot[observed.group], 0.0)
    away = observed.xy - pivot
    design = np.zeros((2, len(free), 3 * count))
    column = 3 * observed.group[index]
    design[0, index, column], design[1, index, column + 1] = 1, 1
    design[0, index, column + 2], design[1, index, column + 2] = away[index, 1], -away[index, 0]
    theta = np.array(start, float)
    known = 1 / observed.error**2
    weight, scale = np.ones(len(free)), 1.0
    for turn in range(iterations):
        result = _residuals(observed, theta, pivot, known * weight)
        if turn:
            loose = np.hypot(*result[1].T) * np.sqrt(known) * result[2]
            scale = max(1.0, float(np.median(loose)) / RAYLEIGH) if len(loose) else 1.0
            weight = 1 / (1 + (loose / CUT / scale) ** 2) ** 2
        normal, right = _normal(observed, design, known * weight / scale**2)
        before = _prior_weights(theta, priors)
        normal[np.diag_indices(3 * count)] += before.ravel()
        new = np.linalg.solve(normal, right).reshape(count, 3)
        done = bool(turn > 2 and np.abs(new - theta).max(initial=0.0) < 1e-7)
        theta = new
        if done:
            break
    residual, left_out, _ = _residuals(observed, theta, pivot, known * weight)
    covariance = np.linalg.inv(normal)
    error = np.sqrt(np.diag(covariance)).reshape(count, 3)
    return Fit(theta, error, covariance, residual, left_out, weight)


def _prior_weights(theta: Array, priors: Priors) -> Array:
    nu = DEGREES_OF_FREEDOM
    far = (theta[:, :2] ** 2).sum(axis=1) / priors.shift**2
    shift = (nu + 2) / (nu + far) / priors.shift**2
    return np.stack([shift, shift, 1 / priors.roll**2], axis=1)


def _sums(values: Array, source: NDArray[np.intp], count: int) -> Array:
    """Sums over the rows of each source, shape (count, ...)."""
    total = np.zeros((count, *values.shape[1:]))
    np.add.at(total, source, values)
    return total


def _residuals(observed: Observed, theta: Array, pivot: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Corrected positions less their sources' (n, 2), less what all others say (n, 2), and the ratio of errors (n,)."""
    moved = np.where((observed.group >= 0)[:, None], corrected(observed.xy, theta[observed.group], pivot), observed.xy)
    count = int(observed.source.max(initial=-1)) + 1
    total = np.maximum(_sums(weight, observed.source, count), 1e-300)
    mean = _sums(weight[:, None] * moved, observed.source, count) / total[:, None]
    residual = moved - mean[observed.source]
    rest = np.maximum(1 - weight / total[observed.source], 1e-3)
    # of a position less the others' mean, the variance is that of the position over `rest`
    return residual, residual / rest[:, None], np.sqrt(rest)


def _normal(observed: Observed, design: Array, weight: Array) -> tuple[Array, Array]:
    """Normal matrix and right side for the corrections, sources eliminated."""
    size = design.shape[2]
    normal, right = np.zeros((size, size)), np.zeros(size)
    count = int(observed.source.max(initial=-1)) + 1
    total = np.maximum(_sums(weight, observed.source, count), 1e-300)
    for axis in (0, 1):
        rows, value = design[axis], observed.xy[:, axis]
        row_mean = _sums(weight[:, None] * rows, observed.source, count) / total[:, None]
        value_mean = _sums(weight * value, observed.source, count) / total
        rows, value = rows - row_mean[observed.source], value - value_mean[observed.source]
        normal += rows.T @ (weight[:, None] * rows)
        right -= rows.T @ (weight * value)
    return normal, right
