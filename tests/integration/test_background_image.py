"""Simulated direct images through image2 and background_image, measured against their truth."""

import json

import pytest

EMPTY, BRIGHT, CROWDED, UNUSED, DISPERSED, FAILED, SHAPELESS = (
    f"jw09999001001_02101_{number:05d}_nis" for number in range(1, 8)
)


@pytest.fixture(scope="module")
def scene(root, run_in, tmp_path_factory):
    """Folder of one small scene."""
    folder = tmp_path_factory.mktemp("background")
    run_in("jwst", "python", root / "tests" / "integration" / "background_scene.py", 384, 1, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(scene):
    """Its numbers."""
    return json.loads((scene / "background.json").read_text())


@pytest.mark.slow
def test_steps_run_one_by_one_give_what_the_pipeline_gives(found):
    same = found["pipeline"]
    assert same["same_rate"]
    assert same["same_error"]
    for name in (EMPTY, BRIGHT, CROWDED):
        assert found[name]["steps"] == ["COMPLETE"] * 3
        assert found[name]["corner"] == pytest.approx(same["corner"], abs=1e-9)


@pytest.mark.slow
def test_only_chosen_artifacts_are_marked(found):
    assert found["pipeline"]["marked"] <= 16
    for name in (EMPTY, BRIGHT, CROWDED):
        persistence, ghost = found[name]["square"]
        assert persistence & 33 == 33
        assert ghost == 0


@pytest.mark.slow
def test_the_sky_goes_and_errors_are_honest(found):
    for name in (EMPTY, BRIGHT, CROWDED):
        assert found[name]["residual_rms"] < 0.1
        assert 0.97 < found[name]["pull"] < 1.05
        assert found[name]["sum"] < 1e-3  # what is left and what was taken are the calibrated image


@pytest.mark.slow
def test_galaxies_keep_their_light(found):
    lost = found[BRIGHT]["lost"]
    assert len(lost) == 3
    assert max(map(abs, lost)) < 0.02


@pytest.mark.slow
def test_others_say_why_there_is_no_image(found):
    assert found[UNUSED] == {"reason": "scattered light", "left_out": True}
    assert found[DISPERSED] == {"reason": "not a direct image (NIS_WFSS)", "left_out": True}
    assert found[FAILED] == {"reason": "no rate image: all counts are 7", "left_out": False}
    assert "of shape (8, 8)" in found[SHAPELESS]["reason"]
    assert not found[SHAPELESS]["left_out"]


@pytest.mark.slow
def test_products_and_figures_are_whole_and_tell_what_they_are(scene, found):
    images = sorted(path.name for path in (scene / "background").glob("*.fits"))
    assert images == [f"{name}_bkgsub.fits" for name in (EMPTY, BRIGHT, CROWDED)]
    assert len(list((scene / "background").glob("*.prov.json"))) == 3
    assert len(list((scene / "background").glob("*.metrics.json"))) == 7
    assert sorted(path.name for path in (scene / "figures").iterdir()) == [
        f"{name}_background.jpg" for name in (EMPTY, BRIGHT, CROWDED)
    ]
    for name in (EMPTY, BRIGHT, CROWDED):
        assert found[name]["simulated"]
        assert found[name]["step"] == "background_image"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--causes", "DUST"], "image2.causes: 'DUST' is no artifact"),
        (["--references", "rates"], "is rates the record or the root of a CRDS cache?"),
        (["--rates", "nowhere"], "nowhere: no such folder"),
        (["--masks", "nowhere"], "nowhere/"),
    ],
)
def test_mistakes_are_told_in_one_line(scene, run_in, tmp_path, change, message):
    given = {
        "--rates": "rates", "--masks": "masks", "--references": "crds",
        "--calibrated": tmp_path / "image2",
    }  # fmt: skip
    given |= dict([change])
    arguments = [str(part) for pair in given.items() for part in pair]
    done = run_in("jwst", "pureparallel", "image2", *arguments, cwd=scene, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "image2").exists()
