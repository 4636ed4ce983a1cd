"""The step align on simulated images with the pipeline's own world coordinates, judged against where they point."""

import json

import pytest


@pytest.fixture(scope="module")
def folder(root, run_in, tmp_path_factory):
    """All products of one scene: three visits, the last on a wrong guide star, and grisms."""
    folder = tmp_path_factory.mktemp("align")
    run_in("jwst", "python", root / "tests" / "integration" / "align_scene.py", 512, 1, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """Numbers of all ladders on the scene."""
    return json.loads((folder / "align.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("ladder", ["gaia", "survey"])
def test_a_catalogue_makes_positions_right(found, ladder):
    scene = found[ladder]
    assert {row["frame"] for row in scene["groups"].values()} == {"gaia" if ladder == "gaia" else "catalogue"}
    assert scene["absolute_rms"] < 30
    assert scene["relative_rms"] < 10
    assert scene["dispersed"] < 30
    for row in scene["groups"].values():
        assert row["rms_catalogue"] < 15
        assert row["shift_error"] < 0.02


@pytest.mark.slow
def test_without_a_catalogue_exposures_lie_on_each_other(found):
    scene = found["field"]
    assert {row["rung"] for row in scene["groups"].values()} == {"field"}
    assert {row["frame"] for row in scene["groups"].values()} == {"pointing"}
    assert scene["relative_rms"] < 10
    assert scene["absolute_rms"] < 1500


@pytest.mark.slow
@pytest.mark.parametrize("ladder", ["gaia", "survey", "field"])
def test_the_visit_on_a_wrong_guide_star_joins_the_others(found, ladder):
    assert found[ladder]["groups"]["002-002"]["shift"] > 0.5
    assert found[ladder]["wrong_guide_star"] < 20


@pytest.mark.slow
def test_the_pipelines_coordinates_take_the_solution_exactly(found):
    assert all(found[ladder]["model_less_pointing"] < 1e-3 for ladder in found)


@pytest.mark.slow
def test_every_exposure_has_a_row_and_residuals(folder):
    from astropy.table import Table

    table = Table.read(folder / "gaia.fits", hdu="EXPOSURES")
    direct = table["sources"] > 0
    assert (len(table), direct.sum()) == (8, 6)
    assert (table["residual_matches"][direct] > 15).all()
    assert (abs(table["residual_east"][direct]) < 15).all()
    metrics = json.loads((folder / "gaia.metrics.json").read_text())
    assert metrics["rungs"] == {"gaia": 3}
    assert metrics["exposure_rms_mas"] < 10
    assert (folder / "gaia.png").stat().st_size > 10000


@pytest.mark.slow
def test_mistakes_are_told(run_in, folder, tmp_path):
    def failed(*extra):
        done = run_in(
            "jwst", "pureparallel", "align", "--field", "sim", "--images", folder / "images", "--pointing",
            folder / "pointing.fits", "--solution", tmp_path / "s.fits", "--figure", tmp_path / "f.png", "--metrics",
            tmp_path / "m.json", *extra, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "s.fits").exists()
        return done.stderr

    assert "align.gaia: nowhere.ecsv: no such file" in failed("--gaia", "nowhere.ecsv")
    assert "no such folder: nowhere" in failed("--images", "nowhere")
