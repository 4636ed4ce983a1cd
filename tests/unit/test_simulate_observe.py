"""Pointings, their errors, and light that lingers."""

import numpy as np
import pytest
from pureparallel.simulate import observe, sky
from pureparallel.simulate.instrument import FWCPOS_REF, Frame
from pureparallel.simulate.pointing import Pointing, to_pixel

FRAME = [897, 641, 256, 256]
CENTRE = [214.9, 52.8]


def planned(exposure="jw09999001001_02101_00001_nis", **over):
    one = {
        "exposure": exposure, "filter": "F200W", "grism": None, "readpatt": "NIS", "ngroups": 6,
        "start": "2024-07-01T06:10:00", "roll": 37.0, "seed": 3, "centre": CENTRE, "frame": FRAME, "previous": None,
        "visit_exposures": 3, "wrong_guide_star": False, "no_target": False, "effects": {}, "dither": 1.5,
        "pointing_error": 0.5, "roll_error": 0.03, "guide_star_error": 1.5, "zodiacal": 1.0, "scattered_sky": 0.1,
        "helium_sky": 0.1,
    }  # fmt: skip
    return one | over


def separation(a: Pointing, b: Pointing) -> float:
    """Arcsec."""
    return float(np.hypot((a.ra - b.ra) * np.cos(np.deg2rad(a.dec)), a.dec - b.dec) * 3600)


@pytest.mark.parametrize("roll", [0.0, 97.0, 301.5])
@pytest.mark.parametrize("centre", [CENTRE, [0.0001, -80.0]])
def test_the_fields_centre_falls_on_the_middle_of_the_frame(centre, roll):
    frame = Frame(*FRAME)
    x, y = to_pixel(*centre, observe.on_frame(centre, roll, frame), frame)
    assert (float(x), float(y)) == pytest.approx((127.5, 127.5), abs=1e-3)


def test_dithers_have_their_size_and_are_each_exposures_own():
    names = [f"jw09999001001_02101_{n:05d}_nis" for n in range(1, 101)]
    on = observe.on_frame(CENTRE, 37.0, Frame(*FRAME))
    far = np.array([separation(on, observe.true_pointing(planned(name))) for name in names])
    assert np.sqrt(np.mean(far**2) / 2) == pytest.approx(1.5, rel=0.15)
    assert len(set(far)) == len(names)
    assert separation(on, observe.true_pointing(planned(dither=0.0))) < 1e-6


def test_header_errors_stay_within_their_bounds_and_belong_to_the_visit():
    visits = [f"jw09999{n:03d}001_02101_00001_nis" for n in range(1, 60)]
    truth = Pointing(*CENTRE, 37.0)
    claimed = [observe.header_pointing(planned(name), truth) for name in visits]
    errors = [separation(truth, one) for one in claimed]
    assert 0.3 < max(errors) < 0.5 + 5 * observe.JITTER
    assert max(abs(one.roll - 37) for one in claimed) <= 0.03
    other = observe.header_pointing(planned("jw09999001001_04101_00002_nis"), truth)
    assert 0 < separation(claimed[0], other) < 8 * observe.JITTER


def test_the_wrong_guide_star_is_another_star_and_moves_the_field():
    truth, right, wrong = Pointing(*CENTRE, 37.0), planned(), planned(wrong_guide_star=True)
    moved = separation(observe.header_pointing(right, truth), observe.header_pointing(wrong, truth))
    assert moved == pytest.approx(1.5, rel=1e-3)
    assert observe.guide_star(right).name != observe.guide_star(wrong).name
    assert observe.guide_star(right) == observe.guide_star(planned("jw09999001002_02101_00001_nis"))


def test_the_filter_wheel_rests_near_its_place_for_a_visit():
    one, two = (planned(f"jw09999001001_02101_0000{n}_nis", grism="GR150R") for n in (1, 2))
    assert observe.fwcpos(planned()) is None
    assert observe.fwcpos(one) == observe.fwcpos(two) != FWCPOS_REF["GR150R"]
    assert abs(observe.fwcpos(one) - FWCPOS_REF["GR150R"]) <= observe.FWCPOS_ERROR


def test_sources_keep_their_direction_on_the_sky():
    table = sky.make(tuple(CENTRE), 0.1, 3, 25.0)
    frame = Frame(*FRAME)
    pointing = observe.on_frame(CENTRE, 37.0, frame)
    (one,) = observe.sources(table[np.asarray(table["kind"]) == "galaxy"][:1], pointing, frame)
    row = table[np.asarray(table["kind"]) == "galaxy"][0]
    # position angles grow counter-clockwise on the sky, and V3 is 37 degrees east of north: to its own east, the
    # detector's parity turns the other way round
    axis = observe.sources(
        table[np.asarray(table["kind"]) == "galaxy"][:1], observe.on_frame(CENTRE, 57.0, frame), frame
    )
    turned = (axis[0].profile.angle - one.profile.angle + 90) % 180 - 90
    assert abs(turned) == pytest.approx(20, abs=0.1)
    assert one.profile.re > 0
    x, y = to_pixel(row["ra"], row["dec"], pointing, frame)
    assert (one.x, one.y) == pytest.approx((float(x), float(y)), abs=1e-6)


def test_light_of_the_exposure_before_persists_only_for_so_long():
    table = sky.make(tuple(CENTRE), 0.14, 3, 22.0, margin_arcmin=0.02)
    frame = Frame(*FRAME)
    before = planned("jw09999001001_02101_00009_nis", start="2024-07-01T06:00:00")
    assert observe.previous(planned(), table, frame) is None
    found = observe.previous(planned(previous=before), table, frame)
    assert found.delay_s == pytest.approx(600 - 6 * 4 * 10.73677)
    assert found.fluence.shape == frame.shape
    assert found.fluence.max() > 1e4  # the star that saturates
    # it fell where the earlier pointing put it, which is not where this one does
    here = observe.sources(table, observe.true_pointing(planned()), frame)
    now = observe.light(planned(), here, frame)
    assert np.hypot(*np.subtract(*(np.unravel_index(a.argmax(), a.shape) for a in (found.fluence, now)))) > 3


def test_the_sky_of_a_dispersed_exposure_is_its_components_sum():
    direct = observe.sky_level(planned(), Frame(*FRAME))
    assert 0.1 < direct < 5
    grism = planned(grism="GR150C", filter="F115W")
    whole = observe.sky_level(grism, Frame(*FRAME))
    none = observe.sky_level(grism | {"scattered_sky": 0.0, "helium_sky": 0.0}, Frame(*FRAME))
    assert np.all(whole > none)
    assert np.median(whole / none) == pytest.approx(1.2, abs=0.1)
    # another visit, another zodiacal light
    other = observe.sky_level(planned("jw09999002001_02101_00001_nis"), Frame(*FRAME))
    assert other != direct
