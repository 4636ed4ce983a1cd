"""Grouping against a reference of another kind: plane geometry, pair by pair, in a projection that keeps great circles
straight."""

import itertools
import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pureparallel.acquire import grouping

ARCSEC = grouping.ARCSEC


def footprint(ra, dec, roll, half=(66.0, 66.0), shift=(0.0, 0.0)):
    """Corners (4, 2) of a rectangle, in arcsec from a position: the tangent plane's."""
    centre = grouping.unit(ra, dec)
    east = np.array([-np.sin(np.deg2rad(ra)), np.cos(np.deg2rad(ra)), 0])
    c, s = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
    x, y = np.array([-1, 1, 1, -1]) * half[0], np.array([-1, -1, 1, 1]) * half[1]
    x, y = shift[0] + c * x - s * y, shift[1] + s * x + c * y
    return grouping.sky(centre + ARCSEC * (x[:, None] * east + y[:, None] * np.cross(centre, east)))


def reference_distance(a, b):
    """Arcsec between two footprints, in the plane that touches the sphere between them."""
    points = [grouping.unit(*one.T) for one in (a, b)]
    middle = sum(one.sum(0) for one in points)
    middle /= np.linalg.norm(middle)
    if any((one @ middle <= 0.5).any() for one in points):
        return math.inf
    axis = np.eye(3)[np.argmin(np.abs(middle))]
    u = np.cross(middle, axis) / np.linalg.norm(np.cross(middle, axis))
    v = np.cross(middle, u)
    planes = [[(float(p @ u / (p @ middle)), float(p @ v / (p @ middle))) for p in one] for one in points]
    edges = [list(zip(plane, plane[1:] + plane[:1], strict=True)) for plane in planes]
    if any(contains(planes[i], corner) for i, j in ((0, 1), (1, 0)) for corner in planes[j]):
        return 0.0
    if any(cross(p, q) for p, q in itertools.product(*edges)):
        return 0.0
    gaps = [to_segment(p, e) for i, j in ((0, 1), (1, 0)) for p in planes[i] for e in edges[j]]
    return min(gaps) / ARCSEC


def side(p, q, r):
    return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])


def contains(plane, point):
    sides = [side(p, q, point) for p, q in zip(plane, plane[1:] + plane[:1], strict=True)]
    return all(one >= 0 for one in sides) or all(one <= 0 for one in sides)


def cross(e, f):
    return side(*e, f[0]) * side(*e, f[1]) <= 0 and side(*f, e[0]) * side(*f, e[1]) <= 0


def to_segment(p, segment):
    (x0, y0), (x1, y1) = segment
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    t = min(1.0, max(0.0, ((p[0] - x0) * (x1 - x0) + (p[1] - y0) * (y1 - y0)) / length))
    return math.hypot(p[0] - x0 - t * (x1 - x0), p[1] - y0 - t * (y1 - y0))


def reference_groups(corners, separation):
    """Groups as sets, and the smallest difference of any distance from the separation."""
    group = [{i} for i in range(len(corners))]
    closest = math.inf
    for i, j in itertools.combinations(range(len(corners)), 2):
        distance = reference_distance(corners[i], corners[j])
        if distance > 0:
            closest = min(closest, abs(distance - separation))
        if distance <= separation and group[i] is not group[j]:
            group[i] |= group[j]
            for k in group[i]:
                group[k] = group[i]
    return {frozenset(one) for one in group}, closest


def as_sets(label):
    return {frozenset(np.flatnonzero(label == one).tolist()) for one in set(label.tolist())}


PLACES = st.sampled_from([(0.0, 90.0), (77.0, -90.0), (0.0, 0.0), (359.99, 20.0), (150.1, 2.2), (210.0, 89.97)])
SHAPES = st.tuples(
    st.floats(-500, 500), st.floats(-500, 500), st.floats(0, 360), st.floats(10, 130), st.floats(10, 130), st.booleans()
)


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(place=PLACES, shapes=st.lists(SHAPES, min_size=1, max_size=14), separation=st.sampled_from([0.0, 30.0, 90.0]),
       seed=st.integers(0, 9), sizes=st.sampled_from([(200_000, 1000), (3, 0)]))  # fmt: skip
def test_groups_are_those_of_brute_force_whatever_the_order(place, shapes, separation, seed, sizes):
    corners = np.array([footprint(*place, roll, (w, h), (x, y)) for x, y, roll, w, h, _ in shapes])
    corners = np.array([one[::-1] if shape[5] else one for one, shape in zip(corners, shapes, strict=True)])
    expected, closest = reference_groups(corners, separation)
    if closest < 1e-2:  # the plane's distances are right to a few mas
        return
    order = np.random.default_rng(seed).permutation(len(corners))
    with patch.multiple(grouping, CHUNK=sizes[0], CROWDED=sizes[1]):
        assert as_sets(grouping.groups(corners, separation)) == expected
        turned = grouping.groups(np.roll(corners, seed % 4, 1)[order], separation)
    assert {frozenset(order[list(one)].tolist()) for one in as_sets(turned)} == expected


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(place=PLACES, a=SHAPES, b=SHAPES)
def test_separation_is_that_of_the_plane(place, a, b):
    one, two = (footprint(*place, roll, (w, h), (x, y)) for x, y, roll, w, h, _ in (a, b))
    found = grouping.separation(*(grouping.vertices([corners]) for corners in (one, two)))[0] / ARCSEC
    assert found == pytest.approx(reference_distance(one, two), abs=1e-2)


@pytest.mark.parametrize(("gap", "expected"), [(29.9, 1), (30.1, 2)])
@pytest.mark.parametrize("place", [(0.0, 0.0), (180.0, 45.0), (10.0, 89.999), (0.0, -90.0)])
def test_the_limit_is_thirty_arcsec_everywhere(place, gap, expected):
    pair = [footprint(*place, 0, shift=(x, 0)) for x in (-66 - gap / 2, 66 + gap / 2)]
    assert grouping.groups(pair, 30).max() + 1 == expected


def test_neighbours_across_ra_zero_and_over_the_pole_are_one_field():
    across = [footprint(359.995, 10, 20), footprint(0.005, 10, 20)]
    over = [footprint(0, 89.99, 0), footprint(180, 89.99, 0)]
    assert grouping.groups(across + over, 0).tolist() == [0, 0, 1, 1]


def test_crossed_slits_overlap_though_no_corner_lies_in_the_other():
    slits = [footprint(30, 40, 0, (200, 5)), footprint(30, 40, 90, (200, 5))]
    assert grouping.groups(slits, 0).tolist() == [0, 0]


def test_what_belongs_together_stays_together_and_draws_others_in():
    far = [footprint(10, 0, 0), footprint(50, 0, 0), footprint(50, 0.04, 0), footprint(90, 0, 0)]
    assert grouping.groups(far, 30).tolist() == [0, 1, 1, 2]
    assert grouping.groups(far, 30, together=[[3, 0], [1]]).tolist() == [0, 1, 1, 0]


def test_a_bow_tie_is_refused():
    corners = footprint(10, 0, 0)
    with pytest.raises(ValueError, match="footprint 1 is not a convex"):
        grouping.groups([corners, corners[[0, 2, 1, 3]]], 30)


def test_nothing_and_one_are_groups_too():
    assert grouping.groups(np.empty((0, 4, 2)), 30).tolist() == []
    assert grouping.groups([footprint(1, 2, 3)], 30).tolist() == [0]


def test_crowded_cells_are_joined_by_their_nearest_members_alone(monkeypatch):
    monkeypatch.setattr(grouping, "CHUNK", 50)
    monkeypatch.setattr(grouping, "CROWDED", 10)
    rng = np.random.default_rng(5)
    left, right = (
        [footprint(20, -30, rng.uniform(0, 360), shift=(x + dx, dy)) for dx, dy in rng.normal(0, 2, (40, 2))]
        for x in (0, 500)
    )
    assert len(as_sets(grouping.groups(left + right, 30))) == 2
    bridge = [footprint(20, -30, 0, (140, 20), (250, 0))]
    assert len(as_sets(grouping.groups(left + right + bridge, 30))) == 1


def test_narrow_footprints_side_by_side_stay_apart_wherever_they_lie():
    gap = -26.2 * math.sin(np.deg2rad(20)), 26.2 * math.cos(np.deg2rad(20))
    for ra, dec in np.random.default_rng(3).uniform((0, -90), (360, 90), (200, 2)):
        pair = [footprint(ra, dec, 20, (130, 12.6), shift) for shift in ((0, 0), gap)]
        assert grouping.groups(pair, 0.0).tolist() == [0, 1]
        assert grouping.groups(pair, 1.5).tolist() == [0, 0]
