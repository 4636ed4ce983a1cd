import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from pureparallel.acquire import advice
from pureparallel.acquire.grouping import sky, unit

SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 60  # 2 arcmin wide


def square(ra, dec, shift=(0.0, 0.0)):
    offset = SQUARE + np.array(shift) / 60
    return np.column_stack([ra + offset[:, 0] / np.cos(np.deg2rad(dec)), dec + offset[:, 1]])


def facts(ra, dec, bright=-1, clusters=None):
    return advice.facts(np.array([square(ra, dec)]), bright, clusters, crowded=3, latitude=10)


@pytest.mark.parametrize(("ra", "dec"), [(0, 0), (150.1, 2.2), (83.8, -69), (270, 66.56), (10, -89)])
def test_latitudes_are_those_of_astropy(ra, dec):
    there = SkyCoord(ra * units.deg, dec * units.deg)
    assert advice.galactic_latitude(ra, dec) == pytest.approx(there.galactic.b.deg, abs=1e-3)
    assert advice.ecliptic_latitude(ra, dec) == pytest.approx(there.barycentricmeanecliptic.lat.deg, abs=1e-3)


def test_the_zodiacal_light_grows_towards_the_ecliptic_from_pole_to_plane():
    levels = [advice.background(b) for b in (90, 60, 30, 10, 0, -10)]
    assert levels[:5] == sorted(levels[:5])
    assert levels[5] == levels[3]
    assert levels[4] / levels[0] == pytest.approx(202 / 60)


@pytest.mark.parametrize("place", [(30.0, 0.0), (359.99, 60.0), (0.0, 88.0)])
def test_the_area_counts_overlaps_once(place):
    one, other = square(*place), square(*place, shift=(1.0, 0.0))
    assert advice.area(np.array([one])) == pytest.approx(4, rel=0.03)
    assert advice.area(np.array([one, other, one])) == pytest.approx(6, rel=0.03)


def test_stars_are_counted_inside_of_footprints_only():
    corners = np.array([square(30, 10), square(30, 10, shift=(6.0, 0.0))])
    offsets = np.array([(0, 0), (6.5, 0.5), (3, 0), (0, 1.5), (-0.9, 0.9)]) / 60
    stars = unit(30 + offsets[:, 0] / np.cos(np.deg2rad(10)), 10 + offsets[:, 1])
    far = -unit(30, 10)[None]
    assert advice.in_field(corners, np.concatenate([stars, far])).tolist() == [True, True, False, False, True, False]


def test_the_centre_is_found_across_ra_zero():
    ra, dec = advice.centre(np.array([square(359.98, 5), square(0.02, 5)]))
    assert min(ra, 360 - ra) < 1e-6
    assert dec == pytest.approx(5, abs=1e-4)
    assert sky(unit(ra, dec))[1] == pytest.approx(dec)


@pytest.mark.parametrize(
    ("where", "bright", "expected", "reason"),
    [
        ((150.1, 2.2), -1, "extragalactic", "latitude"),
        ((150.1, 2.2), 11, "extragalactic", "latitude"),
        ((150.1, 2.2), 14, "stellar", "14 bright stars in"),
        ((80.9, -69.7), -1, "stellar", "Large Magellanic"),
        ((10.7, 41.3), 0, "stellar", "M31"),
        ((266.4, -29.0), -1, "stellar", "galactic latitude"),
    ],
)
def test_advice(where, bright, expected, reason):
    found = facts(*where, bright=bright)
    assert found.advice == expected
    assert reason in found.reason


def test_a_cluster_counts_within_its_radius():
    clusters = advice.Clusters(unit([150.2], [2.2]), np.array([0.15]))
    assert facts(150.1, 2.2, clusters=clusters).advice == "cluster"
    assert facts(150.4, 2.2, clusters=clusters).advice == "extragalactic"
    assert facts(150.1, 2.2, bright=99, clusters=clusters).advice == "stellar"
