"""Stars with cosmic rays through the step mosaic, measured against their truth."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

OPTIONS = ("--field", "scene", "--filter", "F115W", "--solution", "solution.fits")
EXPOSURES = 4


@pytest.fixture(scope="module")
def scene(root, run_in, tmp_path_factory):
    """A folder with images, and a function that makes a mosaic of a folder of them."""
    folder = tmp_path_factory.mktemp("mosaic")
    script = root / "tests" / "integration" / "mosaic_scene.py"
    run_in("jwst", "python", script, 320, 1, EXPOSURES, cwd=folder)

    def make(name, images, *more, check=True):
        outputs = ("--image", f"{name}_mosaic.fits", "--rejected", f"{name}_rejected", "--figure", f"{name}.png")
        return run_in(
            "jwst", "pureparallel", "mosaic", *OPTIONS, *outputs, "--metrics", f"{name}_metrics.json",
            "--images", images, *more, cwd=folder, check=check,
        )  # fmt: skip

    return folder, make, script


def metrics(folder, name):
    return json.loads((folder / f"{name}_metrics.json").read_text())


@pytest.mark.slow
def test_flux_noise_and_outliers_against_the_truth(scene, run_in):
    folder, make, script = scene
    for name, images, more in (
        ("images", "images", ()), ("clean", "clean", ()), ("unjudged", "clean", ["--no-reject"]),
        ("light", "light", ["--no-reject"]),
    ):  # fmt: skip
        make(name, images, *more)
    run_in("jwst", "python", script, "measure", cwd=folder)
    found = json.loads((folder / "measured.json").read_text())
    assert found["stars"] >= 9
    assert np.abs(found["conserved"]).max() < 0.003
    assert np.abs(found["eaten"]).max() < 0.005
    assert np.max(found["offset_mas"]) < 5  # the images' own pointings are half an arcsec off
    assert found["hits"] > 500
    assert found["caught"] >= 0.95
    assert found["false"] < 5e-4
    # apertures of 0.4 arcsec: what pixels of 0.0656 share with their surroundings lies in part outside
    for pull in found["pull"].values():
        assert pull == pytest.approx(1 - 0.0656 / (3 * 0.4), abs=0.04)
    assert metrics(folder, "images")["depth"] == pytest.approx(metrics(folder, "clean")["depth"], abs=0.05)
    with fits.open(folder / "images_mosaic.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["SCI", "ERR", "WHT", "EXP"]
        covered = hdus["WHT"].data > 0
        assert np.isfinite(hdus["SCI"].data[covered]).all() and np.isnan(hdus["SCI"].data[~covered]).all()
        assert hdus["EXP"].data.max() == pytest.approx(EXPOSURES * 7 * 4 * 10.73677)
    assert len(list((folder / "images_rejected").glob("*_outliers.fits"))) == EXPOSURES
    assert (folder / "images.png").stat().st_size > 10000


@pytest.mark.slow
def test_strips_do_not_change_the_mosaic_and_memory_does_not_grow_with_exposures(scene):
    folder, make, _ = scene
    (folder / "many").mkdir()
    table = Table.read(folder / "solution.fits", "EXPOSURES")
    for row in list(table):
        for i in range(1, 6):
            name = row["exposure"].replace("_02101_", f"_0210{i}_")
            shutil.copyfile(
                folder / "images" / f"{row['exposure']}_bkgsub.fits", folder / "many" / f"{name}_bkgsub.fits"
            )
            table.add_row([name, *list(row)[1:]])
    with fits.open(folder / "solution.fits") as hdus:
        more = fits.table_to_hdu(table)
        more.name = "EXPOSURES"
        fits.HDUList([hdus[0], more]).writeto(folder / "many.fits", checksum=True)
    make("once", "images")
    make("strips", "images", "--memory", 2)
    with fits.open(folder / "once_mosaic.fits") as one, fits.open(folder / "strips_mosaic.fits") as other:
        for name in ("SCI", "ERR", "WHT", "EXP"):
            np.testing.assert_array_equal(one[name].data, other[name].data)
    make("many", "many", "--memory", 2, "--solution", "many.fits")
    few, many = metrics(folder, "strips"), metrics(folder, "many")
    assert len(many["exposures"]) == 5 * len(few["exposures"])
    assert many["peak_mb"] < few["peak_mb"] + 15  # 16 more exposures of 1.3 MB, with positions, would be 48


@pytest.mark.slow
def test_exposures_that_cannot_be_used_are_told_and_the_rest_goes_on(scene):
    folder, make, _ = scene
    (folder / "odd").mkdir()
    paths = sorted((folder / "images").glob("*_bkgsub.fits"))
    for path in paths:
        shutil.copyfile(path, folder / "odd" / path.name)
    broken = folder / "odd" / paths[0].name
    broken.write_bytes(broken.read_bytes()[:-100000])
    strange = folder / "odd" / paths[1].name.replace("_02101_", "_09101_")
    shutil.copyfile(paths[1], strange)
    make("odd", "odd")
    found = metrics(folder, "odd")
    assert len(found["exposures"]) == EXPOSURES - 1
    reasons = found["not_used"]
    assert "not a complete FITS file" in reasons[broken.name.removesuffix("_bkgsub.fits")]
    assert reasons[strange.name.removesuffix("_bkgsub.fits")] == "align gives it no pointing"
    # a filter without exposures has an empty mosaic on the same grid
    make("empty", "images", "--filter", "F200W")
    with fits.open(folder / "empty_mosaic.fits") as hdus:
        assert hdus["SCI"].shape == tuple(found["pixels"])
        assert np.isnan(hdus["SCI"].data).all() and not hdus["EXP"].data.any()
    with fits.open(folder / "solution.fits") as hdus:
        hdus["EXPOSURES"].data["corners"] = np.nan
        hdus.writeto(folder / "nothing.fits", checksum=True)
    nothing = make("none", "images", "--solution", "nothing.fits", check=False)
    assert nothing.returncode != 0 and "no image can be used" in nothing.stderr and "Traceback" not in nothing.stderr


@pytest.mark.slow
def test_exposures_that_do_not_lie_on_each_other_are_not_mixed(scene):
    folder, make, _ = scene
    with fits.open(folder / "solution.fits") as hdus:
        names = hdus["EXPOSURES"].data["exposure"]
        hdus["EXPOSURES"].data["part"][names == names[1]] = "away"
        hdus.writeto(folder / "parts.fits", checksum=True)
    make("parts", "clean", "--solution", "parts.fits")
    found = metrics(folder, "parts")
    assert len(found["exposures"]) == EXPOSURES - 1
    assert "of part away" in found["not_used"][names[1]]
    assert fits.getheader(folder / "parts_mosaic.fits")["FRAME"] == "gaia"


@pytest.mark.slow
def test_a_grid_is_of_the_size_that_is_asked_for(scene):
    folder, make, _ = scene
    make("sized", "clean", "--centre", 150.1, 2.2, "--size", 30, 20)
    with fits.open(folder / "sized_mosaic.fits") as hdus:
        header = hdus["SCI"].header
        assert hdus["SCI"].shape == (501, 751)
        assert (header["CRVAL1"], header["CRVAL2"], header["CRPIX1"], header["CRPIX2"]) == (150.1, 2.2, 376, 251)


@pytest.mark.slow
def test_colour_image_of_mosaics_on_one_grid(scene, run_in):
    folder, make, _ = scene
    make("blue", "clean")
    make("small", "clean", "--pixel-scale", 0.06)
    draw = ("jwst", "pureparallel", "colour_image", "--field", "scene", "--figure", "colour.png", "--mosaics")
    run_in(*draw, "blue_mosaic.fits", cwd=folder)
    assert (folder / "colour.png").stat().st_size > 10000
    refused = run_in(*draw, "blue_mosaic.fits", "small_mosaic.fits", cwd=folder, check=False)
    assert refused.returncode != 0 and "not on the grid of blue_mosaic.fits" in refused.stderr
