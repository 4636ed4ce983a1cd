import numpy as np
import pytest
from pureparallel.acquire import footprints
from pureparallel.acquire.grouping import ARCSEC, sky, unit
from pureparallel.core import pointing

OUTLINE = footprints.Outline(
    pointing.Aperture(-291.141, -698.015, 0.56126717, -1),
    np.array([(-224.909, -765.639), (-358.642, -764.902), (-357.307, -630.326), (-223.607, -630.968)]),
)  # NIS_CEN of SIAF PRDOPSSOC-075

BORESIGHT = pointing.Pointing(150.0, 2.2, 77.0)


def row(boresight=BORESIGHT, **other):
    """What the archive says of an exposure under an attitude."""
    attitude = pointing.attitude(boresight, 0, 0)
    star = pointing.at(attitude, 207.2, -697.5)  # in the first guider
    corners = sky(unit(*(OUTLINE.corners / 3600).T) @ attitude.T)
    said = {"ra_v1": boresight.ra, "dec_v1": boresight.dec, "pa_v3": boresight.roll, "s_region": region(corners)}
    return {**said, "gs_ra": star.ra, "gs_dec": star.dec, "gs_v3_pa": star.roll, "targ_ra": 0, "targ_dec": 0, **other}


def region(corners):
    return "POLYGON ICRS  " + " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in corners)


def turned(row, by):
    return region(np.roll(footprints.parse_region(row["s_region"]), by, 0))


def distance(a, b):
    """Largest distance of corners, arcsec."""
    return np.linalg.norm(unit(*a.T) - unit(*b.T), axis=1).max() / ARCSEC


UNKNOWN = dict.fromkeys(("ra_v1", "dec_v1", "pa_v3"))


@pytest.mark.parametrize("boresight", [BORESIGHT, pointing.Pointing(0.02, -0.1, 300), pointing.Pointing(80, 89.9, 5)])
def test_boresight_reference_and_region_say_the_same(boresight):
    said = row(boresight)
    first = footprints.place(said, OUTLINE)
    aperture = OUTLINE.aperture
    here = pointing.at(pointing.attitude(boresight, 0, 0), aperture.v2, aperture.v3)
    second = footprints.place(
        {**said, **UNKNOWN, "ra_ref": here.ra, "dec_ref": here.dec, "roll_ref": here.roll}, OUTLINE
    )
    third = footprints.place({**said, **UNKNOWN}, OUTLINE)
    assert (first.source, second.source, third.source) == ("boresight", "reference", "region")
    assert max(first.apart, second.apart, third.apart) < 0.01
    assert distance(first.corners, second.corners) < 1e-3
    assert distance(first.corners, third.corners) < 0.01


def test_the_footprint_is_where_the_general_geometry_puts_the_aperture():
    here = pointing.at(pointing.attitude(BORESIGHT, 0, 0), -291.141, -698.015)
    expected = pointing.footprint(here, OUTLINE.aperture, (-1024, -1024), (2048, 2048), (0.0653, 0.0658))
    found = footprints.place(row(), OUTLINE).corners
    gaps = np.linalg.norm(unit(*found.T)[:, None] - unit(*expected.T), axis=-1).min(1) / ARCSEC
    assert gaps.max() < 1.0  # the distortion, which that geometry leaves out


def test_the_target_plays_no_part():
    said = footprints.place(row(targ_ra=12.0, targ_dec=80.0), OUTLINE)
    assert distance(said.corners, footprints.place(row(), OUTLINE).corners) == 0


def test_a_region_elsewhere_is_told_and_not_followed():
    wrong = row(pointing.Pointing(150.0, 2.2 + 20 / 3600, 77.0))["s_region"]
    found = footprints.place(row(s_region=wrong), OUTLINE)
    assert found.source == "boresight"
    assert found.apart == pytest.approx(20, abs=0.1)
    assert distance(found.corners, footprints.place(row(), OUTLINE).corners) == 0


@pytest.mark.parametrize("by", [0, 1, 2, 3])
def test_the_roll_at_the_guide_star_tells_which_corner_of_a_region_is_the_first(by):
    said = row()
    found = footprints.place({**said, **UNKNOWN, "s_region": turned(said, by)}, OUTLINE)
    assert distance(found.corners, footprints.place(said, OUTLINE).corners) < 0.01


def test_near_the_pole_the_roll_is_compared_at_the_guide_star():
    said = row(pointing.Pointing(200, 89.85, 10))
    assert abs(said["gs_v3_pa"] - 10) > 2 * footprints.ROLL_ERROR
    assert footprints.place({**said, **UNKNOWN}, OUTLINE).source == "region"


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"gs_v3_pa": 77.0 + 45}, "turned by"),
        ({"s_region": "POLYGON ICRS  150 2.2 150.03 2.2 150.03 2.23 150 2.23"}, "not its aperture's"),
        ({"s_region": None}, "neither attitude nor region"),
        ({"s_region": "POLYGON ICRS  0 0 0 0 0 0 0 0"}, "neither attitude nor region"),
        ({"s_region": "CIRCLE ICRS 10 10 1"}, "neither attitude nor region"),
        ({"s_region": "POLYGON ICRS  150 95 150.03 2.2 150.03 2.23 150 2.23"}, "neither attitude nor region"),
    ],
)
def test_what_cannot_be_placed_says_why(other, reason):
    assert reason in footprints.place({**row(), **UNKNOWN, **other}, OUTLINE)


def test_zeros_are_no_attitude():
    found = footprints.place(row(ra_v1=0.0, dec_v1=0.0, pa_v3=0.0), OUTLINE)
    assert found.source == "region"
    assert footprints.place(row(ra_v1=-999), OUTLINE).source == "region"


def test_regions_of_the_manifest_are_read_as_they_were_written():
    corners = np.array([(359.9999999, -0.01), (0.02, -0.01), (0.02, 0.01), (359.98, 0.01)])
    text = footprints.region(corners)
    assert "360." not in text
    assert distance(footprints.parse_region(text), corners) < 4e-3
    closed = region(np.concatenate([corners, corners[:1]]))
    assert footprints.parse_region(closed).shape == (4, 2)
