"""Simulated exposures through detector1, persistence and mask_artifacts, measured against their truth."""

import json

import pytest


@pytest.fixture(scope="module")
def found(root, run_in, tmp_path_factory):
    """Numbers of one small scene."""
    folder = tmp_path_factory.mktemp("masks")
    run_in("jwst", "python", root / "tests" / "integration" / "masks_scene.py", 256, 1, 10, cwd=folder)
    return json.loads((folder / "masks.json").read_text())


def exposure(found, number):
    return found[f"jw09999001001_02101_{number:05d}_nis"]


def complete(row, cause):
    assert row[cause]["pixels"] > 0
    return row[cause]["both"] / row[cause]["pixels"]


@pytest.mark.slow
def test_trails_are_covered_in_direct_and_dispersed_exposures(found):
    for number in (1, 2):
        row = exposure(found, number)
        assert row["trails"] == 1
        assert complete(row, "TRAIL") >= 0.95
        assert row["TRAIL"]["masked"] < 1.8 * row["TRAIL"]["pixels"]
    for number in (3, 4, 5, 6):
        assert exposure(found, number)["trails"] == 0


@pytest.mark.slow
def test_afterglow_of_another_programme_is_covered(found):
    for number in (1, 2):
        row = exposure(found, number)
        assert complete(row, "PERSISTENCE") >= 0.9
        assert row["PERSISTENCE"]["masked"] < 0.01 * 256**2
        assert 0.4 < row["glow_ratio"] < 2.5
    assert exposure(found, 3)["PERSISTENCE"]["masked"] == 0  # hours later


@pytest.mark.slow
def test_ghosts_cores_and_spikes_are_covered(found):
    for number in (1, 3):
        row = exposure(found, number)
        assert complete(row, "GHOST") >= 0.9
        assert complete(row, "SATURATED") >= 0.9
        assert complete(row, "SPIKE") >= 0.8
        assert row["SPIKE"]["masked"] < 2.5 * row["SPIKE"]["pixels"]
    for number in (2, 4):
        assert exposure(found, number)["SPIKE"]["masked"] == 0


@pytest.mark.slow
def test_only_exposures_with_scattered_light_are_to_be_left_out(found):
    rows = [exposure(found, number) for number in range(1, 7)]
    assert [row["exclude"] for row in rows] == [False, False, False, False, True, True]


@pytest.mark.slow
def test_regions_are_for_the_detector_in_their_name(found):
    row = exposure(found, 3)
    assert row["wisp"] == pytest.approx(3.1416 * (0.5 / 0.0656) ** 2, rel=0.1)
    assert row["claw"] == 0


@pytest.mark.slow
def test_an_exposure_without_a_rate_keeps_its_reason(found):
    assert found["failed"] == "no rate image: all counts are 7"
