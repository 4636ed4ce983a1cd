"""Earlier corrections stay where new ones do not improve on them."""

import numpy as np
import pytest
from pureparallel.core.keeping import displacement, keep

MAS = 1 / 3.6e6


def group(name, **other):
    return {
        "group": name, "rung": "gaia", "frame": "gaia", "part": "gaia", "shift_east": 0.1, "shift_north": 0.2,
        "shift_error": 0.004, "relative_error": 0.004, "roll": 0.01, "pivot_ra": 150.0, "pivot_dec": 2.0,
        "stars": 9, **other,
    }  # fmt: skip


def exposure(name, of, *, moved=0.0, corners=True):
    """An exposure whose declination is off by some mas."""
    dec = 2.0 + moved * MAS
    square = np.array([[150.0, dec], [150.01, dec], [150.01, dec + 0.01], [150.0, dec + 0.01]])
    return {
        "exposure": name, "group": of, "ra": 150.0, "dec": dec, "roll": 30.0, "sources": int(moved),
        "corners": square if corners else np.full((4, 2), np.nan),
    }  # fmt: skip


def test_a_correction_within_its_error_stays_to_the_last_digit():
    before = [group("a")], [exposure("one", "a"), exposure("two", "a", corners=False)]
    now = [exposure("one", "a", moved=1.5), exposure("two", "a", moved=1.9, corners=False)]
    groups, exposures, kept = keep([group("a", shift_north=0.2015, stars=12)], now, before, 0.5)
    assert kept == ["a"]
    assert [row["dec"] for row in exposures] == [2.0, 2.0]
    assert np.array_equal(exposures[0]["corners"], before[1][0]["corners"])
    assert (groups[0]["shift_north"], groups[0]["stars"], groups[0]["kept"]) == (0.2, 12, True)
    assert exposures[0]["sources"] == 1


def test_one_exposure_that_moved_takes_its_group_along_and_no_other():
    before = (
        [group("a"), group("b")],
        [exposure("one", "a"), exposure("two", "a", corners=False), exposure("three", "b")],
    )
    now = [
        exposure("one", "a", moved=1), exposure("two", "a", moved=5, corners=False), exposure("three", "b", moved=0),
    ]  # fmt: skip
    groups, exposures, kept = keep([group("a"), group("b")], now, before, 0.5)
    assert kept == ["b"]
    assert [row["dec"] for row in exposures] == [now[0]["dec"], now[1]["dec"], 2.0]
    assert [row["kept"] for row in groups] == [False, True]


def test_an_exposure_that_joins_keeps_its_distance_from_those_that_stay():
    before = [group("a")], [exposure("one", "a")]
    now = [exposure("one", "a", moved=1), exposure("new", "a", moved=1.3)]
    _, exposures, kept = keep([group("a")], now, before, 0.5)
    assert kept == ["a"]
    assert (exposures[0]["dec"], exposures[1]["ra"]) == (2.0, 150.0)
    assert exposures[1]["dec"] == pytest.approx(2.0 + 0.3 * MAS, abs=1e-12)
    assert exposures[1]["corners"][0, 1] == pytest.approx(2.0 + 0.3 * MAS, abs=1e-12)


def test_a_field_on_its_pointing_may_drift_as_a_whole_and_not_within():
    """Its place on the sky is known to 0.3 arcsec, its groups against each other to some mas."""
    known = {"frame": "pointing", "rung": "field", "part": "a", "shift_error": 0.3}
    before = [group(name, **known) for name in "ab"], [exposure("one", "a"), exposure("two", "b")]
    both = [exposure("one", "a", moved=100), exposure("two", "b", moved=101)]
    late = [group(name, **known) for name in "abc"]
    groups, exposures, kept = keep(late, [*both, exposure("new", "c", moved=102)], before, 0.5)
    assert kept == ["a", "b"]
    assert [row["dec"] for row in exposures[:2]] == [2.0, 2.0]
    assert exposures[2]["dec"] == pytest.approx(2.0 + 1.5 * MAS, abs=1e-12)
    assert groups[2]["shift_north"] == pytest.approx(0.2 - 0.1005)
    apart = [exposure("one", "a", moved=100), exposure("two", "b", moved=110)]
    assert keep(late, apart, before, 0.5)[2] == []
    far = [exposure("one", "a", moved=200), exposure("two", "b", moved=200)]
    assert keep(late, far, before, 0.5)[2] == []


def test_another_frame_is_another_correction():
    before = [group("a", frame="pointing", part="a")], [exposure("one", "a")]
    assert keep([group("a")], [exposure("one", "a")], before, 0.5)[2] == []


def test_a_new_group_and_a_new_visit_of_an_exposure_keep_nothing():
    before = [group("a")], [exposure("one", "a")]
    assert keep([group("b")], [exposure("one", "b")], before, 0.5)[2] == []


def test_a_turn_shows_at_the_corners():
    old, new = exposure("one", "a"), exposure("one", "a")
    new["corners"] = new["corners"] + [[0, 0], [0, 5 * MAS], [0, 0], [0, 0]]
    assert np.hypot(*displacement(old, new).T) == pytest.approx([0, 0, 0.005, 0, 0], rel=1e-6)
    assert len(displacement(old, {**new, "ra": np.nan, "corners": np.full((4, 2), np.nan)})) == 0
