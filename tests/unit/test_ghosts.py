"""Ghosts lie opposite to their sources, through each filter's own point, and are masked where they matter."""

import numpy as np
import pytest
from pureparallel.core import ghosts
from pureparallel.core.ghosts import Bright

SHAPE, CORNER, NOISE = (300, 300), (1000, 800), 0.03


def test_reflection_is_its_own_inverse_in_every_filter():
    for filter, pupil in ghosts.AXIS_POINTS:
        name = "GR150R" if filter == "GR150" else filter
        gx, gy = ghosts.position(1100.0, 900.0, name, pupil)
        x, y = ghosts.position(gx, gy, name, pupil)
        assert (float(x), float(y)) == pytest.approx((1100, 900))
        middle = (float(gx) + 1100) / 2, (float(gy) + 900) / 2
        assert middle == pytest.approx(ghosts.AXIS_POINTS[filter, pupil])


def test_filters_have_points_of_their_own():
    at = {name: ghosts.axis_point("CLEAR", name) for name in ("F090W", "F115W", "F140M", "F150W", "F200W")}
    assert len(set(at.values())) == 5
    assert ghosts.axis_point("CLEAR", "F150W") == (1162.6, 937.9)  # niriss_ghost's table
    assert ghosts.axis_point("GR150R", "F150W") == ghosts.axis_point("GR150C", "F150W") == (1156.2, 931.81)
    assert ghosts.axis_point("CLEAR", "F444W") is None


def scene(seed=1):
    rng = np.random.default_rng(seed)
    rate, error = rng.normal(0, NOISE, SHAPE), np.full(SHAPE, NOISE)
    return rate, error, np.ones(SHAPE, bool)


def add_ghost(rate, source, elements=("CLEAR", "F200W")):
    full = ghosts.position(source.x + CORNER[0], source.y + CORNER[1], *elements)
    x, y = (float(c) - o for c, o in zip(full, CORNER, strict=True))
    v, u = np.indices(SHAPE)
    disc = np.hypot(u - x, v - y) < 7
    rate[disc] += 0.01 * source.rate / disc.sum()
    return disc


def test_ghost_is_masked_and_its_light_measured():
    rate, error, good = scene()
    source = Bright(100.0, 120.0, 5000.0)
    disc = add_ghost(rate, source)
    (found,) = ghosts.find([source], rate, error, good, CORNER, ("CLEAR", "F200W"))
    assert ghosts.mask([found], SHAPE, 10)[disc].all()
    assert found.measured > 20
    assert (found.x, found.y) == pytest.approx((2 * 1155.9 - 1100 - 1000, 2 * 943.3 - 920 - 800))


def test_ghost_that_is_not_there_is_told_so():
    (found,) = ghosts.find([Bright(100.0, 120.0, 5000.0)], *scene(), CORNER, ("CLEAR", "F200W"))
    assert abs(found.measured) < 4


def test_faint_sources_and_ghosts_off_the_array_do_not_matter():
    least = NOISE / ghosts.brightness(1.0, 0.01, 10.0)
    sources = [Bright(100.0, 120.0, 0.9 * least), Bright(-400.0, 120.0, 1e6)]
    assert ghosts.find(sources, *scene(), CORNER, ("CLEAR", "F200W")) == []
    assert len(ghosts.find([Bright(100.0, 120.0, 1.1 * least)], *scene(), CORNER, ("CLEAR", "F200W"))) == 1


def test_without_a_known_point_nothing_is_masked():
    assert ghosts.find([Bright(100.0, 120.0, 1e6)], *scene(), CORNER, ("F444W", "GRISMR")) == []


def test_ghost_at_the_edge_or_on_bad_pixels_is_masked_all_the_same():
    rate, error, good = scene()
    edge = Bright(2 * 1155.9 - 1000 - 1000 + 4, 120.0, 5000.0)  # its ghost's centre is four pixels off the array
    (found,) = ghosts.find([edge], rate, error, good, CORNER, ("CLEAR", "F200W"))
    assert found.x == pytest.approx(-4)
    assert 0 < ghosts.mask([found], SHAPE, 10).sum() < np.pi * 50
    good[:] = False
    good[0, 0] = True
    (found,) = ghosts.find([Bright(100.0, 120.0, 5000.0)], rate, error, good, CORNER, ("CLEAR", "F200W"))
    assert np.isnan(found.measured)
