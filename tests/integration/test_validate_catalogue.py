"""The step validate_catalogue on a field whose catalogue is wrong in known ways."""

import json

import pytest

INPUTS = (
    "--field", "scene", "--truth", "truth.fits", "--mosaics", "F115W_mosaic.fits", "F150W_mosaic.fits", "--solution",
    "align.fits", "--catalogue", "cat.ecsv", "--photometry", "phot.fits", "--redshifts", "photoz.fits", "--metrics",
    "metrics.json", "--figure", "figure.png",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(root, run_in, tmp_path_factory):
    """The products, and what the step says of them."""
    folder = tmp_path_factory.mktemp("catalogue")
    run_in("jwst", "python", root / "tests" / "integration" / "validate_catalogue_scene.py", 1, cwd=folder)
    run_in("jwst", "pureparallel", "validate_catalogue", *INPUTS, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_what_was_lost_and_what_is_false_are_counted(found, folder):
    true, counts = json.loads((folder / "true.json").read_text()), found["counts"]
    assert counts["sources"] == true["sources"]
    assert counts["true"] == pytest.approx(true["true"], rel=0.03)  # blends are one
    assert counts["complete"]["fraction"] == pytest.approx(true["kept"] / true["true"], abs=0.02)
    assert counts["doubtful"] == 20
    assert counts["pure"]["fraction"] == pytest.approx(true["kept"] / (true["kept"] + 20), abs=0.03)


def test_positions_are_off_by_what_they_were_moved(found):
    off = found["astrometry"]
    assert off["frame"] == ["gaia"]
    assert off["sources"] > 100
    assert off["mean_east"] == pytest.approx(12, abs=1)
    assert off["mean_north"] == pytest.approx(0, abs=1)
    assert off["relative_rms"] < 2


def test_fluxes_and_errors_are_judged_filter_by_filter(found):
    blue, red = (found["photometry"][name] for name in ("F115W", "F150W"))
    assert abs(blue["bias"]) < 4 * blue["bias_error"] < 0.015
    assert blue["pull_width"] == pytest.approx(1, abs=0.2)
    assert red["bias"] == pytest.approx(0.03, abs=4 * red["bias_error"])
    assert red["pull_width"] == pytest.approx(2, abs=0.4)
    assert red["sources"] < 0.75 * blue["sources"]  # half of the field has no F150W


def test_redshifts_are_as_good_as_they_were_made(found):
    z = found["photoz"]
    assert z["nmad"] == pytest.approx(0.04, abs=0.008)
    assert z["outliers"] < 0.01
    assert z["within_68"] == pytest.approx(0.68, abs=0.1)
    assert z["sure"]["sources"] == z["sources"]


def test_the_figure_is_there(folder):
    assert (folder / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "figure.png").stat().st_size > 50_000


def test_products_that_do_not_belong_together_are_refused(run_in, folder, tmp_path):
    from astropy.io import fits

    with fits.open(folder / "photoz.fits") as hdus:
        hdus["PHOTOZ"].data["id"][0] = 999
        hdus.writeto(tmp_path / "photoz.fits", checksum=True)
    done = run_in(
        "jwst", "pureparallel", "validate_catalogue", *INPUTS, "--redshifts", tmp_path / "photoz.fits", cwd=folder,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "photoz.fits: its sources are not those of cat.ecsv; make it again" in done.stderr
    assert "Traceback" not in done.stderr
