"""The schedule: what an exposure's simulation depends on, and nothing else."""

import copy

import pytest
from pureparallel import UserError, schemas
from pureparallel.simulate import schedule

NAMES = ("jw09999001001_02101_00001_nis", "jw09999001001_02101_00002_nis", "jw09999002001_02101_00001_nis")


def row(exposure, start, grism=""):
    return {"exposure": exposure, "filter": "F200W", "grism": grism, "readpatt": "NIS", "ngroups": "6", "start": start}


@pytest.fixture
def rows():
    starts = ("2024-07-01T06:00:00", "2024-07-01T06:10:00", "2024-07-20T06:00:00")
    return [row(name, start) for name, start in zip(NAMES, starts, strict=True)]


@pytest.fixture
def options():
    return copy.deepcopy(schemas.defaults(schemas.schema("field"))) | {"source": "simulate"}


def test_the_exposure_before_is_the_latest_earlier_one(rows, options):
    planned = [schedule.observation(name, rows[::-1], options) for name in NAMES]
    assert planned[0]["previous"] is None
    assert [one["previous"]["exposure"] for one in planned[1:]] == list(NAMES[:2])


def test_observations_take_the_rolls_in_turn(rows, options):
    options["simulate_exposure"]["rolls"] = [10, 250]
    assert [schedule.observation(name, rows, options)["roll"] for name in NAMES] == [10, 10, 250]


def test_an_appended_exposure_of_another_visit_leaves_the_others_alone(rows, options):
    before = [schedule.observation(name, rows[:2], options) for name in NAMES[:2]]
    assert [schedule.observation(name, rows, options) for name in NAMES[:2]] == before


def test_accidents_befall_only_those_that_are_listed(rows, options):
    mine = options["simulate_exposure"]
    mine |= {"scattered_light": [NAMES[0]], "satellite": [NAMES[1]], "no_target": [NAMES[2]]}
    mine["wrong_guide_star"] = ["002001"]
    planned = [schedule.observation(name, rows, options) for name in NAMES]
    assert [one["effects"].get("scattered", False) for one in planned] == [True, False, False]
    assert [one["effects"].get("trail", False) for one in planned] == [False, True, False]
    assert [one["no_target"] for one in planned] == [False, False, True]
    assert [one["wrong_guide_star"] for one in planned] == [False, False, True]


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("simulate", "centre", [-10, 2], "simulate.centre"),
        ("simulate", "centre", [10, 95], "simulate.centre"),
        ("simulate", "frame", [1537, 1, 1024, 1024], "reaches beyond the 2048 x 2048 detector"),
        ("simulate_exposure", "satellite", ["jw09999009001_02101_00001_nis"], "simulate_exposure.satellite"),
        ("simulate_exposure", "wrong_guide_star", ["009001"], "simulate_exposure.wrong_guide_star: '009001'"),
    ],
)
def test_options_that_do_not_fit_the_field(rows, options, section, key, value, expected):
    options[section][key] = value
    with pytest.raises(UserError, match=r"field\.yaml") as caught:
        schedule.check(rows, options, "field.yaml")
    assert expected in str(caught.value)


def test_an_exposure_of_another_detector_or_at_no_time(rows, options):
    with pytest.raises(UserError, match="only NIRISS is simulated"):
        schedule.check([row("jw09999001001_02101_00001_nrca1", "2024-07-01T06:00:00")], options, "field.yaml")
    with pytest.raises(UserError, match="2024-02-31"):
        schedule.check([row(NAMES[0], "2024-02-31T06:00:00")], options, "field.yaml")
