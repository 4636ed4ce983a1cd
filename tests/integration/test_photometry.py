"""The step photometry on simulated mosaics of stars and galaxies, judged against their truth."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

FILTERS = ("F115W", "F150W", "F200W")


@pytest.fixture(scope="module")
def scene(root, run_in, tmp_path_factory):
    """A folder with mosaics and sources, and a function that measures them."""
    folder = tmp_path_factory.mktemp("photometry")
    script = root / "tests" / "integration" / "photometry_scene.py"
    run_in("jwst", "python", script, 448, 1, 3, cwd=folder)
    mosaics = [f"scene_{filter}_mosaic.fits" for filter in FILTERS]
    for filter, path in zip(FILTERS, mosaics, strict=True):
        run_in(
            "jwst", "pureparallel", "mosaic", "--field", "scene", "--filter", filter, "--images", "images",
            "--solution", "solution.fits", "--image", path, "--rejected", "rejected", "--figure", "mosaic.png",
            "--metrics", "mosaic.json", cwd=folder,
        )  # fmt: skip
    run_in(
        "jwst", "pureparallel", "detect", "--field", "scene", "--mosaics", *mosaics, "--image", "detection.fits",
        "--segmentation", "scene_segm.fits", "--catalogue", "scene_cat.ecsv", "--register", "scene_sources.ecsv",
        "--figure", "detect.png", "--metrics", "detect.json", cwd=folder,
    )  # fmt: skip

    def measure(name, *more, paths=mosaics, check=True):
        return run_in(
            "jwst", "pureparallel", "photometry", "--field", "scene", "--mosaics", *paths, "--segmentation",
            "scene_segm.fits", "--catalogue", "scene_cat.ecsv", "--images", "images", "--solution", "solution.fits",
            "--table", f"{name}_photometry.fits", "--figure", f"{name}.png", "--metrics", f"{name}.json", *more,
            cwd=folder, check=check,
        )  # fmt: skip

    measure("auto")
    return folder, measure, script


def metrics(folder, name):
    return json.loads((folder / f"{name}.json").read_text())["filters"]


@pytest.mark.slow
@pytest.mark.parametrize("psf", ["auto", "model"])
def test_fluxes_errors_and_colours_are_right(scene, run_in, psf):
    folder, measure, script = scene
    if psf != "auto":
        measure(psf, "--psf", psf)
    made = {one["psf"] for one in metrics(folder, psf).values()}
    assert made == ({"stars"} if psf == "auto" else {"model"})
    run_in("jwst", "python", script, "measure", psf, cwd=folder)
    found = json.loads((folder / f"{psf}_measured.json").read_text())
    pulls = []
    for filter, one in found["filters"].items():
        bias, _, _, pull, count = one["all"]
        assert count > 25
        assert abs(bias) < 0.01, filter
        pulls.append(pull)
        for kind in ("stars", "galaxies"):
            assert abs(one[kind][0]) < 0.015, (filter, kind)
        assert np.abs(found["within"][filter]).max() < (0.01 if psf == "auto" else 0.015), filter
        if filter != FILTERS[-1]:
            colour, _, _, colour_pull, _ = one["colour"]
            assert abs(colour) < 0.01
            assert 0.6 < colour_pull < (1.3 if psf == "auto" else 1.6)
    if psf == "auto":
        assert 0.8 < np.mean(pulls) < 1.2


@pytest.mark.slow
def test_every_source_has_a_row_and_every_column_a_meaning(scene):
    folder, _, _ = scene
    with fits.open(folder / "auto_photometry.fits") as hdus:
        names = [hdu.name for hdu in hdus]
        assert names == ["PRIMARY", "PHOTOMETRY", "GROWTH", "NOISE", "STARS", *(f"PSF_{filter}" for filter in FILTERS)]
        for hdu in hdus[1:5]:
            assert all(hdu.header[f"TCOMM{i}"] for i in range(1, hdu.header["TFIELDS"] + 1))
        for filter in FILTERS:
            image = hdus[f"PSF_{filter}"].data
            assert 0.97 < image.sum() < 1
            assert np.unravel_index(image.argmax(), image.shape) == (image.shape[0] // 2,) * 2
    table = Table.read(folder / "auto_photometry.fits", "PHOTOMETRY")
    catalogue = Table.read(folder / "scene_cat.ecsv")
    assert table["id"].tolist() == catalogue["label"].tolist()
    for filter in FILTERS:
        flux, error = (np.ma.filled(table[f"{key}_{filter}"], np.nan) for key in ("flux", "flux_err"))
        magnitude, limit = (np.ma.filled(table[f"{key}_{filter}"], np.nan) for key in ("mag", "limit"))
        known = np.isfinite(flux)
        assert (error[known] > 0).all()
        assert (np.isfinite(magnitude) ^ np.isfinite(limit))[known].all()
        assert not (np.isfinite(magnitude) | np.isfinite(limit))[~known].any()
        assert (table[f"flags_{filter}"][~known] & 16 > 0).all()
        seen = np.isfinite(magnitude)
        np.testing.assert_allclose(magnitude[seen], 23.9 - 2.5 * np.log10(flux[seen]), rtol=1e-6)
        assert table[f"flux_aper_{filter}"].shape == (len(table), 4)
    growth = Table.read(folder / "auto_photometry.fits", "GROWTH")
    for filter in FILTERS[:2]:  # blurred to the broadest
        np.testing.assert_allclose(growth[f"matched_{filter}"], growth["matched_F200W"], atol=4e-3)
        assert (growth[f"within_{filter}"] > growth[f"matched_{filter}"])[growth["radius"] < 0.5].all()
    assert (folder / "auto.png").stat().st_size > 50000


@pytest.mark.slow
def test_images_of_stars_can_be_given(scene):
    folder, measure, _ = scene
    for filter in FILTERS:
        with fits.open(folder / "auto_photometry.fits") as hdus:
            image = hdus[f"PSF_{filter}"]
            fits.PrimaryHDU(image.data, image.header).writeto(folder / f"star_{filter}.fits", checksum=True)
    paths = [f"star_{filter}.fits" for filter in FILTERS]
    measure("given", "--psf-files", *paths)
    assert {one["psf"] for one in metrics(folder, "given").values()} == {"file"}
    one, other = (Table.read(folder / f"{name}_photometry.fits", "PHOTOMETRY") for name in ("auto", "given"))
    for filter in FILTERS:
        np.testing.assert_allclose(one[f"flux_{filter}"], other[f"flux_{filter}"], rtol=1e-4)
    fits.PrimaryHDU(np.ones((5, 5)), fits.getheader(folder / paths[0])).writeto(folder / "wrong.fits", checksum=True)
    refused = measure("wrong", "--psf-files", "wrong.fits", check=False)
    assert refused.returncode == 1 and "the part of the light that it holds" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_an_empty_filter_has_no_fluxes_and_does_not_change_others(scene, run_in):
    folder, measure, _ = scene
    run_in(
        "jwst", "pureparallel", "mosaic", "--field", "scene", "--filter", "F090W", "--images", "images", "--solution",
        "solution.fits", "--image", "scene_F090W_mosaic.fits", "--rejected", "rejected", "--figure", "mosaic.png",
        "--metrics", "mosaic.json", cwd=folder,
    )  # fmt: skip
    paths = [f"scene_{filter}_mosaic.fits" for filter in ("F090W", *FILTERS)]
    measure("empty", paths=paths)
    one, other = (Table.read(folder / f"{name}_photometry.fits", "PHOTOMETRY") for name in ("auto", "empty"))
    assert np.isnan(np.ma.filled(other["flux_F090W"], np.nan)).all()
    assert (other["flags_F090W"] == 16).all()
    np.testing.assert_allclose(one["flux_F200W"], other["flux_F200W"], rtol=1e-6)


@pytest.mark.slow
def test_mistakes_are_told(scene):
    folder, measure, _ = scene
    for paths, words in (
        (["scene_F115W_mosaic.fits", "scene_F115W_mosaic.fits"], "one mosaic per filter"),
        (["scene_segm.fits"], "not a mosaic"),
    ):
        refused = measure("mistake", paths=paths, check=False)
        assert refused.returncode == 1 and words in refused.stderr and "Traceback" not in refused.stderr
    shutil.copyfile(folder / "scene_segm.fits", folder / "kept.fits")
    with fits.open(folder / "scene_segm.fits") as hdus:
        hdus["SCI"].data = hdus["SCI"].data[:-1]
        hdus.writeto(folder / "smaller.fits", checksum=True)
    shutil.move(folder / "smaller.fits", folder / "scene_segm.fits")
    refused = measure("mistake", check=False)
    shutil.move(folder / "kept.fits", folder / "scene_segm.fits")
    assert refused.returncode == 1 and "make it again by detect" in refused.stderr
