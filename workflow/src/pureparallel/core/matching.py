"""Which sources of a catalogue are which of a list that is known to be true: blends, matches, isolation, pairs.

Positions are tangent-plane arcsec (east, north), as `core.astrometry.Plane` makes them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import registration

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

RATIO = 3.0
"""A source whose flux is wrong by more than this factor is not the one that it lies on, but something else."""

FRAME_MATCH, FRAME_REACH, FRAME_ERROR, FRAME_FALSE = 0.15, 5.0, 0.3, 1e-3
"""Arcsec within which sources of two frames match, largest shift between them, its usual size per axis, and the largest
probability that it is another one."""

WING, WING_REACH = 1e-3, 10.0
"""Part of a star's light in an aperture of 0.5" at 1.5" from it, spikes allowed for: a circular aperture of 6.5 m alone
would give a third of that at 1.5 μm. And how many radii away it is still looked for."""


def frame_shift(found: Array, true: Array) -> Array:
    """What moves true positions onto those that were found: a field that no catalogue holds is where it was pointed.

    Sources are known by their pattern; where none stands out, the shift is 0.

    Parameters
    ----------
    found, true : ndarray, shape (n, 2), (m, 2)
        Arcsec.

    Returns
    -------
    ndarray, shape (2,)
        Arcsec east and north.
    """
    first, second = sorted((found, true), key=len)
    low, high = (edge(second, axis=0, initial=0.0) for edge in (np.min, np.max))
    peak = registration.find_shift(
        first, second, lambda xy: np.all((xy >= low) & (xy <= high), axis=1),
        radius=FRAME_MATCH, window=FRAME_REACH, error=FRAME_ERROR,
    )  # fmt: skip
    if peak is None or peak.false > FRAME_FALSE:
        return np.zeros(2)
    return peak.shift if first is true else -peak.shift


def blends(xy: Array, radius: float) -> Indices:
    """Number sources so that those linked by separations below a radius have one number, from 0 in the order given.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    radius : float
        Arcsec: nearer than this, light is that of one source.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if not len(xy):
        return np.zeros(0, np.intp)
    i, j = KDTree(xy).query_pairs(radius, output_type="ndarray").T
    links = coo_array((np.ones(len(i)), (i, j)), shape=(len(xy), len(xy)))
    return np.asarray(connected_components(links, directed=False)[1], np.intp)


def brightest(numbers: Indices, light: Array) -> Indices:
    """Index of the brightest member of each blend, shape (k,)."""
    order = np.lexsort((-light, numbers))
    return order[np.unique(numbers[order], return_index=True)[1]]


def centroids(xy: Array, numbers: Indices, light: Array) -> Array:
    """Positions of blends (k, 2), weighted by their members' light (n,)."""
    total = np.bincount(numbers, light)
    return np.stack([np.bincount(numbers, light * one) / total for one in xy.T], axis=1)


def match(found: Array, true: Array, radius: Array, found_light: Array, true_light: Array) -> Indices:
    """The true source of each that was found, or -1: one to one, near, and of a similar flux rather than not.

    Of all pairs within the radius, those of least (separation/radius)² + (ln flux ratio / ln `RATIO`)² come first: a
    source too faint to be seen, which lies a little nearer by chance, does not take a bright one's place.

    Parameters
    ----------
    found, true : ndarray, shape (n, 2), (m, 2)
    radius : ndarray, shape (m,)
        Arcsec, of each true source.
    found_light, true_light : ndarray, shape (n,), (m,)
        Fluxes in one unit; where one is not finite and positive, separations alone count.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    from scipy.spatial import KDTree

    result = np.full(len(found), -1, np.intp)
    if not len(found) or not len(true):
        return result
    near = KDTree(found).query_ball_point(true, radius)
    j = np.repeat(np.arange(len(true)), [len(one) for one in near])
    i = np.array([k for one in near for k in one], np.intp)
    cost = (np.hypot(*(found[i] - true[j]).T) / radius[j]) ** 2 + _unlike(found_light[i], true_light[j]) ** 2
    taken = np.zeros(len(true), bool)
    for k in np.argsort(cost, kind="stable"):
        if result[i[k]] < 0 and not taken[j[k]]:
            result[i[k]], taken[j[k]] = j[k], True
    return result


def alike(found_light: Array, true_light: Array) -> NDArray[np.bool_]:
    """Whether fluxes agree within `RATIO`; those that are not known do."""
    return _unlike(found_light, true_light) <= 1


def _unlike(one: Array, other: Array) -> Array:
    good = np.isfinite(one) & np.isfinite(other) & (one > 0) & (other > 0)
    ratio = np.where(good, one, 1.0) / np.where(good, other, 1.0)
    return np.abs(np.log(ratio)) / np.log(RATIO)


def isolated(xy: Array, light: Array, radius: float, share: float) -> NDArray[np.bool_]:
    """Sources with less than a share of their own light from others, in every filter; shape (n,).

    Within the radius, all light of a neighbour counts; beyond, what its wings and spikes give an aperture: `WING` of
    its light at the radius, falling with the third power of the distance, as a diffraction pattern does.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    light : ndarray, shape (n, nf)
    radius : float
        Arcsec.
    share : float
    """
    from scipy.spatial import KDTree

    others = np.zeros_like(light)
    if len(xy):
        i, j = KDTree(xy).query_pairs(WING_REACH * radius, output_type="ndarray").T
        apart = np.hypot(*(xy[i] - xy[j]).T) / radius
        seen = np.where(apart < 1, 1.0, WING / np.maximum(apart, 1) ** 3)[:, None]
        np.add.at(others, i, seen * light[j])
        np.add.at(others, j, seen * light[i])
    return (others < share * light).all(axis=1)


@dataclass(frozen=True)
class Pairs:
    """Pairs of true sources, each shape (p,).

    Attributes
    ----------
    first, second : ndarray of int
        The brighter and the fainter.
    separation : ndarray
        Arcsec.
    """

    first: Indices
    second: Indices
    separation: Array


def pairs(xy: Array, light: Array, low: float, high: float, ratio: float, radius: float) -> Pairs:
    """Pairs at a separation, of similar brightness, that no third source disturbs.

    Parameters
    ----------
    xy : ndarray, shape (n, 2)
    light : ndarray, shape (n,)
    low, high : float
        Arcsec.
    ratio : float
        Largest ratio of their light; a third source is one of more than a `ratio`-th of the fainter's.
    radius : float
        Arcsec from either in which there is no third.
    """
    from scipy.spatial import KDTree

    tree = KDTree(xy)
    chosen = []
    for i, j in sorted(tree.query_pairs(high)):
        first, second = (i, j) if light[i] >= light[j] else (j, i)
        apart = float(np.hypot(*(xy[i] - xy[j])))
        if apart < low or light[first] > ratio * light[second]:
            continue
        near = {k for one in (i, j) for k in tree.query_ball_point(xy[one], radius)} - {i, j}
        if not any(light[k] * ratio > light[second] for k in near):
            chosen.append((first, second, apart))
    first, second, apart_ = zip(*chosen, strict=True) if chosen else ((), (), ())
    return Pairs(np.array(first, np.intp), np.array(second, np.intp), np.array(apart_, float))
