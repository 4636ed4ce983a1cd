"""DS9 regions: shapes cover what DS9 shows, and what is not understood is refused with its line."""

import numpy as np
import pytest
from pureparallel import UserError
from pureparallel.core import regions

SHAPE = (100, 120)
SCALE = 0.065 / 3600


def sky_to_pixel(ra, dec):
    """North up, east to the left, around 10, -30 degrees at pixel (60, 50)."""
    return 60 - (ra - 10) * np.cos(np.deg2rad(-30)) / SCALE, 50 + (dec + 30) / SCALE


def masks(text):
    return regions.rasterise(regions.parse(text, "a.reg"), SHAPE, sky_to_pixel)


def user(text):
    return masks(text)["USER"]


def grid():
    y, x = np.indices(SHAPE)
    return x, y


def test_circle_in_image_coordinates_counts_from_one():
    x, y = grid()
    mask = user("# Region file format: DS9\nglobal color=green\nimage\ncircle(31, 41, 10)")
    truth = np.hypot(x - 30, y - 40) <= 10
    assert (mask ^ truth).sum() < 12
    assert mask[40, 30]


def test_ellipse_and_box_turn_anticlockwise():
    mask = user("image\nellipse(61,51,30,5,30)")
    assert mask[50 + 12, 60 + 21]
    assert not mask[50 - 12, 60 + 21]
    assert mask.sum() == pytest.approx(np.pi * 150, rel=0.02)
    mask = user("image; box(61,51,40,10,90)")
    assert mask[50 + 19, 60]
    assert not mask[50, 60 + 19]
    assert mask.sum() == pytest.approx(400, rel=0.1)


def test_polygon_with_a_notch():
    mask = user("image\npolygon(11,11,41,11,41,41,26,21,11,41)")
    assert mask[15, 25]
    assert not mask[35, 25]
    assert mask[30, 12]


@pytest.mark.parametrize("circle", ['icrs\ncircle(10,-30,0.65")', "fk5\ncircle(0:40:00,-30:00:00,0.0108333')",
                                    "FK5\nCIRCLE 10d -30d 0.000180556d"])  # fmt: skip
def test_sky_positions_and_sizes_in_all_units(circle):
    x, y = grid()
    assert (user(circle) ^ (np.hypot(x - 60, y - 50) <= 10)).sum() < 12


def test_box_on_the_sky_has_its_width_along_right_ascension():
    mask = user('icrs\nbox(10,-30,2.6",0.65",0)')
    assert mask[50, 60 + 19]
    assert not mask[50 + 19, 60]
    turned = user('icrs\nbox(10,-30,2.6",0.65",45)')
    assert turned[50 + 12, 60 + 12]  # anticlockwise with north up and east to the left


def test_words_choose_the_bit_and_minus_takes_away():
    found = masks(
        "image\ncircle(20,20,5) # text={A wisp here}\nbox(60,60,9,9,0) # color=red tag={claw}\n"
        "circle(90,50,9)\n-circle(90,50,4)\n"
    )
    assert set(found) == {"WISP", "CLAW", "USER"}
    assert found["WISP"][19, 19]
    assert found["CLAW"][59, 59]
    assert found["USER"][49, 82]
    assert not found["USER"][49, 89]


def test_regions_beyond_the_array_cover_nothing():
    assert not user("image\ncircle(-500,20,10)").any()
    assert masks("image\n") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\nannulus(5,5,2,3)", r"line 2.*'annulus'.*circle, ellipse"),
        ("circle(5,5,2)", r"line 1.*before any line that names"),
        ("physical\ncircle(5,5,2)", r"line 1.*'physical'.*image, icrs or fk5"),
        ("image\ncircle(5,5)", r"line 2.*2 numbers; it has 3"),
        ("image\ncircle(5,5,x)", r"line 2.*'x' is not a number"),
        ("image\ncircle(5,5,-2)", r"line 2.*negative"),
        ('image\ncircle(5,5,2")', r"line 2.*units"),
        ("icrs\ncircle(5,5,2p)", r"line 2.*units"),
        ("icrs\ncircle(5,95,2)", r"line 2.*not a position"),
        ("icrs\ncircle(5:30,5,2)", r"line 2.*three parts"),
        ("image\npolygon(1,1,2,2)", r"line 2.*three corners"),
        ("image\nhello world", r"line 2.*'hello'"),
        ("image\ncircle(1,2,nan)", r"line 2.*finite"),
    ],
)
def test_what_is_not_understood_is_refused(text, message):
    with pytest.raises(UserError, match=r"a\.reg, " + message):
        regions.parse(text, "a.reg")
