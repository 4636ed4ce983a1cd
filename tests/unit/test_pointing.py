"""Pointings and footprints, against the simulator's geometry, which is another implementation."""

import numpy as np
import pytest
from pureparallel.core import pointing as core
from pureparallel.core.pointing import Aperture, Errors, Pointing
from pureparallel.simulate import pointing as simulated
from pureparallel.simulate.instrument import NIS_CEN, Frame

NIS = Aperture(NIS_CEN.v2_ref, NIS_CEN.v3_ref, NIS_CEN.v3_idl_y_angle, NIS_CEN.v_idl_parity)
PLACES = [(214.9, 52.8, 37.0), (0.0002, -3.0, 181.0), (53.1, -88.9, 300.0), (150.1, 2.2, 0.0)]


@pytest.mark.parametrize("place", PLACES)
def test_the_boresight_and_back(place):
    there = Pointing(*place)
    boresight = core.at(core.attitude(there, NIS.v2, NIS.v3), 0, 0)
    expected = simulated.boresight(simulated.Pointing(*place))
    assert core.separation(boresight.ra, boresight.dec, *expected[:2]) < 1e-6
    assert (boresight.roll - expected[2] + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
    back = core.at(core.attitude(boresight, 0, 0), NIS.v2, NIS.v3)
    assert core.separation(back.ra, back.dec, *place[:2]) < 1e-6
    assert (back.roll - place[2] + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("frame", [Frame.full(), Frame(769, 769, 512, 512), Frame(1, 1537, 256, 512)])
def test_footprints_agree_to_the_distortion(place, frame):
    wcs = simulated.linear_wcs(simulated.Pointing(*place), frame)
    scale = wcs["cdelt1"] * 3600, wcs["cdelt2"] * 3600
    first = 0.5 - wcs["crpix1"], 0.5 - wcs["crpix2"]
    found = core.footprint(Pointing(*place), NIS, first, (frame.nx, frame.ny), scale)
    expected = simulated.corners(simulated.Pointing(*place), frame)
    apart = [core.separation(*a, *b) for a, b in zip(found, expected, strict=True)]
    assert max(apart) < 0.5
    assert core.region(found).startswith("POLYGON ICRS  ")
    assert len(core.region(found).split()) == 10


def test_separations_are_exact_from_milliarcseconds_to_the_whole_sky():
    assert core.separation(10, 60, 10 + 1e-3 / 3600 / np.cos(np.deg2rad(60)), 60) == pytest.approx(1e-3, rel=1e-6)
    assert core.separation(0.5 / 3600, 0, 360 - 0.5 / 3600, 0) == pytest.approx(1, rel=1e-9)
    assert core.separation(10, 20, 190, -20) == pytest.approx(180 * 3600)


ERRORS = Errors(calculated=0.3, planned=1.0, guide_star=1.5, roll=0.03)
THERE = Pointing(214.9, 52.8, 37.0)
BORESIGHT = core.at(core.attitude(THERE, NIS.v2, NIS.v3), 0, 0)


def test_a_consistent_header_is_believed():
    found = core.solve(THERE, BORESIGHT, NIS, calculated=True, errors=ERRORS)
    assert (found.pointing, found.source, found.error, found.moved) == (THERE, "reference", 0.3, 0)
    assert core.solve(THERE, BORESIGHT, NIS, calculated=False, errors=ERRORS).error == 1.0
    assert core.solve(THERE, None, NIS, calculated=True, errors=ERRORS).source == "reference"


def test_a_missing_or_contradicting_reference_point_comes_from_the_attitude():
    found = core.solve(None, BORESIGHT, NIS, calculated=True, errors=ERRORS)
    assert core.separation(found.pointing.ra, found.pointing.dec, THERE.ra, THERE.dec) < 1e-6
    assert found.source == "attitude"
    assert np.isnan(found.moved)
    wrong = Pointing(THERE.ra, THERE.dec + 2 / 3600, THERE.roll)
    found = core.solve(wrong, BORESIGHT, NIS, calculated=True, errors=ERRORS)
    assert found.source == "attitude"
    assert found.moved == pytest.approx(2, rel=1e-4)
    assert found.error == pytest.approx(np.hypot(0.3, 2), rel=1e-4)
    assert core.solve(None, None, NIS, calculated=True, errors=ERRORS) is None


def test_the_guiders_log_is_preferred():
    shifted = Pointing(BORESIGHT.ra, BORESIGHT.dec + 1 / 3600, BORESIGHT.roll)
    found = core.solve(THERE, BORESIGHT, NIS, calculated=False, errors=ERRORS, measured=shifted)
    assert (found.source, found.error) == ("table", 0.3)
    assert found.moved == pytest.approx(1, rel=1e-3)


def test_the_usual_star_is_that_of_most_exposures():
    observations = ["1", "1", "1", "2", "2"]
    assert core.usual_stars(observations, ["a", "b", "a", "b", "b"]) == {"1": "a", "2": "b"}
    solution = core.solve(THERE, None, NIS, calculated=True, errors=ERRORS)
    assert core.doubted(solution, ERRORS).error == pytest.approx(np.hypot(0.3, 1.5))


def test_keywords_are_those_of_the_simulated_header():
    frame = Frame(769, 769, 512, 512)
    wcs = simulated.linear_wcs(simulated.Pointing(*PLACES[0]), frame)
    scale = wcs["cdelt1"] * 3600, wcs["cdelt2"] * 3600
    corners = core.footprint(THERE, NIS, (0.5 - wcs["crpix1"], 0.5 - wcs["crpix2"]), (512, 512), scale)
    found = core.keywords(Pointing(*PLACES[0]), NIS, (wcs["crpix1"], wcs["crpix2"]), scale, corners)
    for key, value in wcs.items():
        assert found[key.upper()] == pytest.approx(value, rel=1e-12), key
