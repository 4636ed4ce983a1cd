"""Which exposures belong to one field: footprints that overlap, or nearly do, on the sphere.

A footprint is a convex quadrilateral of great circles. All geometry is that of unit vectors, so that poles and RA = 0
are places like any other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ARCSEC = np.deg2rad(1 / 3600)

CHUNK = 200_000
"""Pairs of exposures looked at together: some 150 MB."""

CROWDED = 1000
"""Pairs of two cells' exposures above which it is worth while to look for those that matter."""


def unit(ra: ArrayLike, dec: ArrayLike) -> Array:
    """Unit vectors, shape (..., 3), of positions in degrees."""
    ra, dec = np.deg2rad(np.asarray(ra, float)), np.deg2rad(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def sky(vectors: ArrayLike) -> Array:
    """RA and Dec in degrees, shape (..., 2), of vectors of any length: the inverse of `unit`."""
    x, y, z = np.moveaxis(np.asarray(vectors, float), -1, 0)
    return np.stack([np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arctan2(z, np.hypot(x, y)))], axis=-1)


def vertices(corners: ArrayLike) -> Array:
    """Footprints as unit vectors, counter-clockwise as seen from outside of the sphere.

    Parameters
    ----------
    corners : array_like, shape (n, 4, 2)
        RA and Dec in degrees, in either order around the footprint.

    Returns
    -------
    ndarray, shape (n, 4, 3)

    Raises
    ------
    ValueError
        If a footprint is not a convex quadrilateral.
    """
    points = unit(*np.moveaxis(np.asarray(corners, float).reshape(-1, 4, 2), -1, 0))
    turns = _dot(np.cross(points, np.roll(points, -1, 1)), np.roll(points, -2, 1))
    points = np.where((turns < 0).all(1)[:, None, None], points[:, ::-1], points)
    bad = ~((turns < 0).all(1) | (turns > 0).all(1))
    if bad.any():
        raise ValueError(f"footprint {int(np.flatnonzero(bad)[0])} is not a convex quadrilateral")
    return points


def separation(a: Array, b: Array) -> Array:
    """Angles between footprints, pair by pair: the shortest great-circle arc, 0 where they overlap.

    Parameters
    ----------
    a, b : ndarray, shape (n, 4, 3)
        Of `vertices`; pairs less than 90 degrees apart.

    Returns
    -------
    ndarray, shape (n,)
        Radians.
    """
    # convex figures are apart where an edge's great circle has all of the other on its outer side
    apart = _some_edge_parts(a, b) | _some_edge_parts(b, a)
    found = np.zeros(len(a))
    found[apart] = np.minimum(_corners_to_edges(a[apart], b[apart]), _corners_to_edges(b[apart], a[apart]))
    return found


def _some_edge_parts(a: Array, b: Array) -> NDArray[np.bool_]:
    edges = np.cross(a, np.roll(a, -1, 1))
    return (edges @ b.swapaxes(1, 2) < 0).all(2).any(1)


def _corners_to_edges(a: Array, b: Array) -> Array:
    """The shortest arc from any corner of `a` to any edge of `b`."""
    start, end = b, np.roll(b, -1, 1)
    normal = np.cross(start, end)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    corners = a.swapaxes(1, 2)
    beside = (np.cross(normal, start) @ corners >= 0) & (np.cross(end, normal) @ corners >= 0)
    height = np.arcsin(np.clip(np.abs(normal @ corners), 0, 1))
    to_corner = 2 * np.arcsin(np.clip(np.linalg.norm(a[:, None] - b[:, :, None], axis=-1) / 2, 0, 1))
    return np.where(beside, height, to_corner).min((1, 2))


def _dot(a: Array, b: Array) -> Array:
    return np.einsum("...i,...i->...", a, b)


def groups(corners: ArrayLike, separation_arcsec: float, together: Iterable[Iterable[int]] = ()) -> Index:
    """Group footprints that overlap, or lie apart by no more than a separation, directly or through others.

    The groups do not depend on the order of the footprints.

    Parameters
    ----------
    corners : array_like, shape (n, 4, 2)
        RA and Dec in degrees; convex.
    separation_arcsec : float
    together : iterable of iterables of int
        Footprints that belong together whatever lies between them.

    Returns
    -------
    ndarray, shape (n,)
        Number of each footprint's group, counted from 0 in order of appearance.
    """
    given = _Footprints.of(vertices(corners), separation_arcsec * ARCSEC)
    known = [(chain[0], other) for chain in map(list, together) for other in chain[1:]]
    found = _Found(len(given.points))
    found.join(*np.array(known, np.int64).reshape(-1, 2).T)
    found.join(given.lead[given.cell], np.arange(len(given.points)))
    for i, j in _candidates(given, found):
        gap = _angle(given.centre[i], given.centre[j])
        near = gap <= given.inner[i] + given.inner[j] + given.reach  # the circles inside of them are near enough
        open_ = (gap <= given.outer[i] + given.outer[j] + given.reach) & (found.label[i] != found.label[j])
        unsure = np.flatnonzero(~near & open_)
        near[unsure] = separation(given.points[i[unsure]], given.points[j[unsure]]) <= given.reach
        found.join(i[near], j[near])
    return _in_order(found.label)


@dataclass(frozen=True)
class _Footprints:
    """Footprints with the circles inside and around them, sorted into cells.

    Attributes
    ----------
    points : ndarray, shape (n, 4, 3)
    centre : ndarray, shape (n, 3)
    inner, outer : ndarray, shape (n,)
        Radii of the circles about the centre, radians.
    cell : ndarray, shape (n,)
        Number of each one's cell: those that share one overlap.
    order : ndarray, shape (n,)
        By cell.
    first : ndarray, shape (cells + 1,)
        Where each cell begins in `order`.
    reach : float
        Radians.
    """

    points: Array
    centre: Array
    inner: Array
    outer: Array
    cell: Index
    order: Index
    first: Index
    reach: float

    @classmethod
    def of(cls, points: Array, reach: float) -> "_Footprints":
        centre = points.sum(1)
        centre /= np.linalg.norm(centre, axis=1, keepdims=True)
        edges = np.cross(points, np.roll(points, -1, 1))
        edges /= np.linalg.norm(edges, axis=2, keepdims=True)
        inner = np.arcsin(np.clip(_dot(edges, centre[:, None]), 0, 1)).min(1)
        cell = _cells(centre, inner)
        order = np.argsort(cell, kind="stable")
        first = np.searchsorted(cell[order], np.arange(cell.max(initial=-1) + 2))
        return cls(points, centre, inner, _angle(points, centre[:, None]).max(1), cell, order, first, reach)

    @property
    def lead(self) -> Index:
        """One footprint of each cell."""
        return self.order[self.first[:-1]]

    def members(self, cell: int) -> Index:
        """Footprints of a cell."""
        return self.order[self.first[cell] : self.first[cell + 1]]


class _Found:
    """Groups found so far, as the number of each footprint's."""

    def __init__(self, n: int) -> None:
        self.label = np.arange(n)

    def join(self, i: Index, j: Index) -> None:
        """Put footprints `i` and `j`, pair by pair, into one group."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if len(i):
            n = int(self.label.max()) + 1
            graph = coo_array((np.ones(len(i), bool), (self.label[i], self.label[j])), shape=(n, n))
            self.label = connected_components(graph, directed=False)[1][self.label].astype(np.int64)


def _angle(a: Array, b: Array) -> Array:
    return 2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1))


def _cells(centre: Array, inner: Array) -> Index:
    """Cells of space so small that footprints whose centres share one overlap; a number per footprint."""
    size = 2.0 ** np.floor(np.log2(np.maximum(inner, 1e-12)))
    side = 0.99 * size * 2 / np.sqrt(3)  # its diagonal is twice the radius of the circle inside of the smallest
    keys = np.column_stack([np.log2(size), np.floor(centre / side[:, None])]).astype(np.int64)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def _candidates(given: _Footprints, found: _Found) -> Iterator[tuple[Index, Index]]:
    """Pairs of footprints of neighbouring cells that are not in one group yet, nearest cells first, in chunks."""
    from scipy.spatial import cKDTree

    if not len(given.points):
        return
    lead, count = given.lead, np.diff(given.first)
    spread = np.zeros(len(lead))
    np.maximum.at(spread, given.cell, _angle(given.centre, given.centre[lead][given.cell]) + given.outer)
    pairs = cKDTree(given.centre[lead]).query_pairs(2 * spread.max() + given.reach, output_type="ndarray")
    gap = _angle(given.centre[lead[pairs[:, 0]]], given.centre[lead[pairs[:, 1]]])
    inside = gap <= spread[pairs].sum(1) + given.reach
    pairs = pairs[inside][np.argsort(gap[inside], kind="stable")]
    sizes = count[pairs].prod(1)
    part = np.cumsum(np.minimum(sizes, CROWDED)) // CHUNK
    for mine in np.split(pairs, np.flatnonzero(np.diff(part)) + 1):
        mine = mine[found.label[lead[mine[:, 0]]] != found.label[lead[mine[:, 1]]]]
        crowded = count[mine].prod(1) > CROWDED
        if not crowded.all():
            yield _all_pairs(given, mine[~crowded])
        for a, b in mine[crowded]:
            yield from _crowds(given, a, b, found)


def _all_pairs(given: _Footprints, pairs: Index) -> tuple[Index, Index]:
    """All pairs of footprints of pairs of cells."""
    count = np.diff(given.first)
    of = np.repeat(np.arange(len(pairs)), count[pairs].prod(1))
    rank = np.arange(len(of)) - np.searchsorted(of, of)
    width = count[pairs[of, 1]]
    left, right = given.first[pairs[of, 0]] + rank // width, given.first[pairs[of, 1]] + rank % width
    return given.order[left], given.order[right]


def _crowds(given: _Footprints, a: int, b: int, found: _Found) -> Iterator[tuple[Index, Index]]:
    """Pairs of two crowded cells, of those members that reach towards the others, in chunks until they are joined."""
    left, right = given.members(a), given.members(b)
    if found.label[left[0]] == found.label[right[0]]:
        return
    towards = given.centre[right[0]] - given.centre[left[0]]
    towards /= np.linalg.norm(towards)
    margin = given.reach + given.outer.max() ** 2  # of arcs, which bulge beyond their corners
    ends, starts = (given.points[left] @ towards).max(1), (given.points[right] @ towards).min(1)
    left, right = left[ends >= starts.min() - margin], right[starts <= ends.max() + margin]
    step = max(1, CHUNK // max(1, len(right)))
    for begin in range(0, len(left) if len(right) else 0, step):
        if found.label[left[0]] != found.label[right[0]]:
            block = left[begin : begin + step]
            yield np.repeat(block, len(right)), np.tile(right, len(block))


def _in_order(label: Index) -> Index:
    """The same groups, numbered in order of appearance."""
    _, first, which = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which.reshape(-1)]
