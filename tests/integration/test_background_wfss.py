"""Simulated dispersed ramps through detector1 and background_wfss, measured against their truth."""

import json

import pytest

SPOILT, UNKNOWN = "jw09999001001_02101_00098_nis", "jw09999001001_02101_00099_nis"


@pytest.fixture(scope="module")
def scene(root, run_in, tmp_path_factory):
    """Folder of one small scene."""
    folder = tmp_path_factory.mktemp("sky")
    run_in("jwst", "python", root / "tests" / "integration" / "wfss_scene.py", 512, 1, "sky", "F200W", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(scene):
    """Its numbers, with all components of the sky, and with fewer."""
    return json.loads((scene / "sky.json").read_text())


@pytest.mark.slow
def test_a_percent_of_the_sky_is_left_at_most_and_no_slope(found):
    for row in found["all"].values():
        assert row["rms"] < 0.007
        assert row["left_rms"] < 0.007
        assert abs(row["slope"]) < 0.01
        assert abs(row["left_slope"]) < 0.01


@pytest.mark.slow
def test_spectra_keep_their_light(found):
    assert all(abs(row["eaten"]) < 0.005 for row in found["all"].values())


@pytest.mark.slow
def test_light_that_no_template_has_needs_the_smooth_part(found):
    with_it, without = ([row["rms"] for row in found[name].values()] for name in ("all", "no smooth"))
    assert sum(with_it) < 0.7 * sum(without)
    assert [list(row["amplitudes"]) for row in found["reference"].values()] == [["reference"]] * len(with_it)


@pytest.mark.slow
def test_amplitudes_are_those_of_the_simulated_sky(found):
    for row in found["all"].values():
        amplitude = row["amplitudes"]["reference"]
        # of the zodiacal light; a tenth of it is scattered besides
        assert amplitude["value"] == pytest.approx(row["level"] / 1.1, rel=0.08)
        assert 0 < amplitude["error"] < 0.05 * row["level"]


@pytest.mark.slow
def test_products_are_whole_and_errors_honest(scene, found):
    for name, row in found["all"].items():
        assert row["same"] == 0  # what is left and what was taken are the rate
        assert row["square"] & 17 == 17  # DO_NOT_USE and OUTLIER, of the mask
        assert 0.97 < row["pull"] < 1.03
        assert row["header"] == pytest.approx(row["level"], rel=0.01)
        assert (scene / "all_figures" / f"{name}_sky.jpg").stat().st_size > 10000
        record = json.loads((scene / "all" / f"{name}_bkgsub.prov.json").read_text())
        assert any(f"{name}_mask.fits" in str(one) for one in record["inputs"])


@pytest.mark.slow
def test_what_is_left_out_has_its_reason(scene):
    spoilt, unknown = (
        json.loads((scene / "all" / f"{name}.metrics.json").read_text()) for name in (SPOILT, UNKNOWN)
    )  # fmt: skip
    assert spoilt["left_out"]
    assert spoilt["reason"].startswith("scattered light")
    assert "left_out" not in unknown
    assert "grism_wcs cannot place its traces" in unknown["reason"]
    assert not list((scene / "all").glob(f"{SPOILT}_*"))
    assert not list((scene / "all").glob(f"{UNKNOWN}_*"))


@pytest.mark.slow
def test_templates_of_the_user_are_for_those_they_name(scene, run_in, found, tmp_path):
    import numpy as np
    from astropy.io import fits

    name = next(iter(found["all"]))
    header = fits.getheader(scene / "rates" / f"{name}_rate.fits")
    ramp = np.linspace(0.5, 1.5, 2048, dtype=np.float32) * np.ones((2048, 1), np.float32)
    for stem, grism in (("slope", header["FILTER"]), ("other", "GR000")):
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(ramp, name="SCI")])
        hdus[0].header["FILTER"] = grism
        hdus.writeto(tmp_path / f"{stem}.fits")
    mosaic = scene / "scene_F200W_mosaic.fits"
    common = (
        "--rates", scene / "rates", "--masks", scene / "masks", "--exposures", scene / "exposures.fits",
        "--wcs", scene / "wcs.fits", "--catalogue", scene / "scene_cat.ecsv", "--segmentation",
        scene / "scene_segm.fits", "--mosaics", mosaic, "--references", scene / "crds",
    )  # fmt: skip
    run_in(
        "jwst", "pureparallel", "background_wfss", *common, "--subtracted", tmp_path / "sky", "--figures",
        tmp_path / "figures", "--templates", tmp_path / "slope.fits", tmp_path / "other.fits", cwd=tmp_path,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "sky" / f"{name}.metrics.json").read_text())
    assert list(metrics["amplitudes"]) == ["reference", "slope", "constant"]
    done = run_in(
        "jwst", "pureparallel", "background_wfss", *common, "--subtracted", tmp_path / "none", "--figures",
        tmp_path / "none_figures", "--components", "zodiacal", cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "background_wfss.components: no 'zodiacal'; there are reference, constant, smooth" in done.stderr
    assert "Traceback" not in done.stderr
