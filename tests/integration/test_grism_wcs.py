"""The step grism_wcs on simulated dispersed images: traces lie where the light is, aligned beforehand or not."""

import json

import pytest


@pytest.fixture(scope="module")
def folder(root, run_in, tmp_path_factory):
    """All products of one scene: a visit whose direct images were aligned, and one of which nothing was."""
    folder = tmp_path_factory.mktemp("grism")
    run_in("jwst", "python", root / "tests" / "integration" / "grism_scene.py", 512, 1, "wcs", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """Errors of all exposures' traces."""
    return json.loads((folder / "grism.json").read_text())["wcs"]


@pytest.mark.slow
def test_traces_are_found_whether_carried_or_blind(found):
    assert {name[7:13]: row["rung"] for name, row in found.items()} == {"001001": "both", "002001": "measured"}
    for row in found.values():
        assert abs(row["along"]) < 0.3
        assert abs(row["across"]) < 0.1
        assert row["traces"] > 10


@pytest.mark.slow
def test_errors_are_honest(found):
    pulls = [row[key] / row[f"error_{key}"] for row in found.values() for key in ("along", "across")]
    assert sum(pull**2 for pull in pulls) / len(pulls) < 4
    assert all(row["error_across"] < 0.1 and row["error_along"] < 0.3 for row in found.values())


@pytest.mark.slow
def test_table_says_what_was_done(folder):
    from astropy.table import Table

    table = Table.read(folder / "wcs.fits", hdu="EXPOSURES")
    assert table["usable"].all()
    blind = table["rung"] == "measured"
    shift = (table["shift_x"] ** 2 + table["shift_y"] ** 2) ** 0.5
    # 0.77 arcsec
    assert (abs(shift[blind] - 11.7) < 0.5).all()
    assert (shift[~blind] < 0.5).all()
    metrics = json.loads((folder / "wcs.json").read_text())
    assert metrics["rungs"] == {"both": 4, "measured": 2}
    assert (folder / "wcs.png").stat().st_size > 10000


@pytest.mark.slow
def test_without_a_measurement_blind_exposures_are_not_usable(folder, run_in, tmp_path):
    from astropy.io import fits
    from astropy.table import Table

    # of a field far away: nothing can be where it is expected
    table = Table.read(folder / "solution.fits", hdu="EXPOSURES")
    table = table[[name[7:13] == "002001" for name in table["exposure"]]][:1]
    table["dec"] += 4 / 3600
    table.meta.clear()  # with the checksum of what it was
    with fits.open(folder / "solution.fits") as hdus:
        groups = fits.BinTableHDU(hdus["GROUPS"].data, name="GROUPS")
        exposures = fits.BinTableHDU(table, name="EXPOSURES")
        fits.HDUList([fits.PrimaryHDU(), groups, exposures]).writeto(tmp_path / "solution.fits")
    rates = tmp_path / "rates"
    rates.mkdir()
    name = str(table["exposure"][0])
    for file in (f"{name}_rate.fits", f"{name}.metrics.json"):
        (rates / file).symlink_to(folder / "rates" / file)
    mosaics = [folder / f"scene_{filter}_mosaic.fits" for filter in ("F150W", "F200W")]
    run_in(
        "jwst", "pureparallel", "grism_wcs", "--field", "sim", "--rates", rates, "--exposures",
        folder / "exposures.fits",
        "--solution", tmp_path / "solution.fits", "--catalogue", folder / "scene_cat.ecsv", "--segmentation",
        folder / "scene_segm.fits", "--mosaics", *mosaics, "--references", folder / "crds",
        "--table", tmp_path / "t.fits", "--figure", tmp_path / "f.png", "--metrics",
        tmp_path / "m.json", cwd=tmp_path,
    )  # fmt: skip
    row = Table.read(tmp_path / "t.fits", hdu="EXPOSURES")[0]
    assert not row["usable"]
    assert row["rung"] == "pointing"
    assert "not where they may be" in row["reason"]
