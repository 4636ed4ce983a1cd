"""The step spec2 on simulated dispersed images: what overlaps is modelled, and spectra come out as they were drawn."""

import json
import statistics

import numpy as np
import pytest


@pytest.fixture(scope="module")
def folder(root, run_in, tmp_path_factory):
    """All products of one scene."""
    folder = tmp_path_factory.mktemp("grism")
    run_in("jwst", "python", root / "tests" / "integration" / "grism_scene.py", 512, 3, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """Comparison with what was drawn."""
    return json.loads((folder / "grism.json").read_text())


@pytest.mark.slow
def test_contamination_of_bright_overlapping_traces_is_modelled(found):
    rows = found["overlap"]
    assert len(rows) >= 10
    assert statistics.median(abs(row["net"]) for row in rows) < 0.1
    assert statistics.median(row["absolute"] for row in rows) < 0.15
    # what is left are lines of neighbours, which no spectrum of two terms has
    assert np.percentile([abs(row["net"]) for row in rows], 90) < 0.25


@pytest.mark.slow
def test_response_gives_back_spectra(found):
    bright = [ratio for ratio, flux in found["spectra"] if flux > 0.3]
    assert len(bright) >= 10
    assert statistics.median(bright) == pytest.approx(1, abs=0.03)
    assert np.percentile(np.abs(np.array(bright) - 1), 90) < 0.08


@pytest.mark.slow
def test_line_fluxes_of_isolated_sources(found):
    whole, seen, error = np.array(found["lines"]).T
    assert len(whole) >= 6
    assert np.median(whole) == pytest.approx(1, abs=0.04)
    weight = 1 / np.hypot(error, 0.03) ** 2
    assert np.average(seen, weights=weight) == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_every_source_has_a_row_and_a_cutout_or_a_reason(folder):
    from astropy.io import fits
    from astropy.table import Table

    catalogue = Table.read(folder / "scene_cat.ecsv")
    for path in sorted((folder / "spectra").glob("*_spec2.fits")):
        sources = Table.read(path, hdu="SOURCES")
        assert sorted(sources["id"]) == sorted(catalogue["label"])
        assert ((sources["ny"] > 0) == (sources["reason"] == "")).all()
        with fits.open(path) as hdus:
            assert len(hdus["SCI"].data) == (sources["ny"] * sources["nx"]).sum()
            assert len(hdus["WAVELENGTH"].data) == sources["nx"].sum()
            assert np.isfinite(hdus["CONTAM"].data).all()
        metrics = json.loads((folder / "spectra" / path.name.replace("_spec2.fits", ".metrics.json")).read_text())
        assert metrics["cutouts"] == (sources["ny"] > 0).sum() > 15
        assert metrics["pull_mad"] < 1.15
        assert metrics["residual_over_model"] < 0.05
        figure = folder / "figures" / path.name.replace("_spec2.fits", "_spec2.jpg")
        assert figure.stat().st_size > 10000


@pytest.mark.slow
def test_mistakes_and_left_out_exposures_are_told(run_in, folder, tmp_path):
    def run(*extra, check=True):
        mosaics = [folder / f"scene_{filter}_mosaic.fits" for filter in ("F150W", "F200W")]
        return run_in(
            "jwst", "pureparallel", "spec2", "--dispersed", tmp_path / "dispersed", "--wcs", folder / "wcs.fits",
            "--catalogue", folder / "scene_cat.ecsv", "--segmentation", folder / "scene_segm.fits", "--mosaics",
            *mosaics, "--references", folder / "crds", "--spectra", tmp_path / "spectra",
            "--figures", tmp_path / "figures", *extra, cwd=tmp_path, check=check,
        )  # fmt: skip

    assert "no such folder" in run(check=False).stderr
    (tmp_path / "dispersed").mkdir()
    told = {"name": "jw09999001001_02101_00009_nis", "reason": "scattered light", "left_out": True}
    (tmp_path / "dispersed" / "jw09999001001_02101_00009_nis.metrics.json").write_text(json.dumps(told))
    assert "neither auto nor a magnitude" in run("--limit", "deep", check=False).stderr
    assert "lacks the first" in run("--orders", 0, 2, check=False).stderr
    run()
    said = json.loads((tmp_path / "spectra" / "jw09999001001_02101_00009_nis.metrics.json").read_text())
    assert said["reason"] == "scattered light"
    assert said["left_out"]
