"""1/f noise of simulated exposures: what is left of it, beside what the pipeline's own step leaves of the same."""

import json

import pytest

pytestmark = pytest.mark.slow

RMS = {"CLEAR": 1.15, "GR150R": 1.4, "GR150C": 1.4}
"""Rms of the lines over what the noise of their pixels allows, at most; the benchmark has more than one seed."""


@pytest.fixture(scope="module")
def scene(root, run_in, tmp_path_factory):
    """Numbers by wheel."""
    folder = tmp_path_factory.mktemp("flicker")
    run_in("jwst", "python", root / "tests/integration/flicker_scene.py", 512, 2, *RMS, cwd=folder)
    return json.loads((folder / "flicker.json").read_text())


@pytest.mark.parametrize("wheel", RMS)
def test_the_noise_is_there_and_nothing_else_makes_stripes(scene, wheel):
    methods = scene[wheel]["methods"]
    assert 0.9 < methods["no 1/f noise"]["literal"] < 1.1
    assert methods["none"]["literal"] > 1.5
    assert methods["none"]["left"] > 1.2
    assert scene[wheel]["free"] > 0.4


@pytest.mark.parametrize("wheel", RMS)
def test_lines_are_as_quiet_as_their_pixels_allow(scene, wheel):
    found = scene[wheel]["methods"]
    assert found["pureparallel"]["literal"] < RMS[wheel]
    assert found["pureparallel"]["left"] < 0.85 * found["none"]["left"]


@pytest.mark.parametrize("wheel", RMS)
def test_sky_and_sources_keep_their_light(scene, wheel):
    ours = scene[wheel]["methods"]["pureparallel"]
    assert abs(ours["sky"]) < 0.1
    assert abs(ours["moved"]) < 0.1
    if wheel == "CLEAR":
        assert scene[wheel]["sources"] >= 8
        assert abs(ours["flux"]) < 0.5


@pytest.mark.parametrize("wheel", RMS)
def test_less_is_left_than_by_the_pipeline_with_any_settings(scene, wheel):
    methods = scene[wheel]["methods"]
    others = [found for name, found in methods.items() if name.startswith("jwst")]
    assert len(others) == 3
    for quantity in ("literal", "left"):
        assert methods["pureparallel"][quantity] < 0.9 * min(found[quantity] for found in others)
