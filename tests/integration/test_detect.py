"""The step detect on mosaics of a simulated sky, judged by its truth and read by the calibration pipeline."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

FILTERS = ("F115W", "F150W", "F200W")


@pytest.fixture(scope="module")
def made(root, run_in, tmp_path_factory):
    """A folder with mosaics, and functions that detect in some of them and that run the script of the scene."""
    folder = tmp_path_factory.mktemp("detect")

    def script(*arguments):
        run_in("jwst", "python", root / "tests" / "integration" / "detect_scene.py", *arguments, cwd=folder)

    def detect(field, *more, of=None, filters=FILTERS, check=True):
        mosaics = [f"{of or field}_{filter}_mosaic.fits" for filter in filters]
        outputs = [
            word
            for name, end in (
                ("image", "detection.fits"), ("segmentation", "segm.fits"), ("catalogue", "cat.ecsv"),
                ("register", "sources.ecsv"), ("figure", "detect.jpg"), ("metrics", "metrics.json"),
            )
            for word in (f"--{name}", f"{field}_{end}")
        ]  # fmt: skip
        return run_in(
            "jwst", "pureparallel", "detect", "--field", field, "--mosaics", *mosaics, *outputs, *more, cwd=folder,
            check=check,
        )  # fmt: skip

    script("scene", 512, 1)
    detect("scene")
    return folder, detect, script


def catalogue(folder, field="scene"):
    return Table.read(folder / f"{field}_cat.ecsv", format="ascii.ecsv")


@pytest.mark.slow
def test_sources_are_complete_pure_and_parted(made):
    folder, _, script = made
    script("measure", "scene")
    found = json.loads((folder / "scene_measured.json").read_text())

    def share(key, name):
        part, whole = found[key][name]
        assert whole >= 10
        return part / whole

    assert share("purity", "5") >= 0.95
    assert share("complete", "10-") >= 0.95
    assert share("complete_isolated", "7-10") >= 0.9
    assert found["pairs"][0] / found["pairs"][1] >= 0.8
    right = np.add(found["stars_as_points"], found["galaxies_as_extended"])
    assert right[0] / right[1] >= 0.95
    assert found["offset_mas"]["10-"] < 15


@pytest.mark.slow
def test_the_noise_is_the_true_one_and_numbers_are_on_record(made):
    folder, _, _ = made
    metrics = json.loads((folder / "scene_metrics.json").read_text())
    assert all(0.8 < width < 1.05 for width in metrics["noise"].values())
    with fits.open(folder / "scene_detection.fits") as hdus:
        significance, filters = hdus["SNR"].data, hdus["NFILTERS"].data
        assert np.isnan(hdus["SCI"].data[filters == 0]).all() and np.isfinite(hdus["ERR"].data[filters > 0]).all()
    segments = fits.getdata(folder / "scene_segm.fits", "SCI")
    below = significance[(filters == 3) & (segments == 0) & (significance < 0)]
    assert np.sqrt(np.mean(below**2)) == pytest.approx(1, abs=0.05)  # of noise alone, its negative half
    table = catalogue(folder)
    assert metrics["sources"] == len(table) == metrics["new"] == metrics["registered"]
    assert metrics["reliable"] == table["reliable"].sum()
    assert all(table[name].info.description for name in table.colnames if not name.startswith("sky_"))
    assert str(table["kron_flux"].unit) == "Jy" and str(table["half_light_radius"].unit) == "arcsec"
    assert (folder / "scene_detect.jpg").stat().st_size > 50_000


@pytest.mark.slow
def test_the_calibration_pipeline_reads_catalogue_and_segments(made):
    folder, _, script = made
    script("pipeline", "scene")
    found = json.loads((folder / "scene_pipeline.json").read_text())
    table = catalogue(folder)
    assert found["model"] == "SegmentationMapModel" and found["dtype"] == "uint32"
    assert found["labels"] == found["segments"] == found["dispersed"] == sorted(table["label"])
    assert found["off_mas"] < 0.01 and found["corners_mas"] < 0.01
    assert found["extended"] == table["is_extended"].sum()
    assert found["brighter"] == np.sum(table["isophotal_abmag"] < 25) > 0


@pytest.mark.slow
def test_numbers_stay_with_their_sources(made):
    folder, detect, _ = made
    for name in ("sources.ecsv", "cat.ecsv"):
        shutil.copy(folder / f"scene_{name}", folder / f"first_{name}")
    before = (folder / "scene_sources.ecsv").read_bytes()
    detect("scene")
    assert (folder / "scene_sources.ecsv").read_bytes() == before
    # two filters of three: what is still seen keeps its number, what is not stays in the register
    detect("scene", filters=FILTERS[1:])
    first, second = catalogue(folder, "first"), catalogue(folder)
    register = Table.read(folder / "scene_sources.ecsv", format="ascii.ecsv")
    assert set(first["label"]) | set(second["label"]) == set(register["id"]) == set(range(1, len(register) + 1))
    gone, new = set(first["label"]) - set(second["label"]), set(second["label"]) - set(first["label"])
    assert len(gone) > 3 and len(set(first["label"]) & set(second["label"])) > 100
    assert min(new, default=999) > max(first["label"])
    where = {row["label"]: (row["ra"], row["dec"]) for row in first}
    for row in second:
        if row["label"] in where:
            ra, dec = where[row["label"]]
            assert np.hypot((row["ra"] - ra) * np.cos(np.deg2rad(dec)), row["dec"] - dec) * 3600 < 0.2
    detect("scene")
    third = catalogue(folder)
    assert list(third["label"]) == list(first["label"])
    assert (np.diff(third["label"]) > 0).all()


@pytest.mark.slow
def test_a_star_without_core_is_one_source_and_not_many(made):
    folder, detect, script = made
    script("punch")
    detect("punched")
    x, y = json.loads((folder / "punched.json").read_text())
    table, whole = catalogue(folder, "punched"), catalogue(folder)
    (star,) = table[table["flags"] & 1 << 4 > 0]
    assert np.hypot(star["xcentroid"] - x, star["ycentroid"] - y) < 1.5
    assert not star["is_extended"] and star["reliable"]

    def near(rows):
        distance = np.hypot(rows["xcentroid"] - x, rows["ycentroid"] - y)
        return np.sum(rows["reliable"] & (distance < 60))

    assert near(table) <= near(whole) + 1


@pytest.mark.slow
def test_chi_square_finds_the_same_bright_sources(made):
    folder, detect, _ = made
    detect("chi2", "--combine", "chi2", of="scene")
    one, other = catalogue(folder), catalogue(folder, "chi2")
    bright = one[one["reliable"] & (one["snr"] > 15)]
    apart = np.hypot(
        np.subtract.outer(bright["xcentroid"], other["xcentroid"]),
        np.subtract.outer(bright["ycentroid"], other["ycentroid"]),
    )
    assert np.mean(apart.min(axis=1) < 3) > 0.97


@pytest.mark.slow
def test_a_field_without_sources_has_an_empty_catalogue(made):
    folder, detect, script = made
    script("empty")
    detect("empty", "--min-snr", 6, filters=("F115W",))
    assert len(catalogue(folder, "empty")) == 0
    assert catalogue(folder, "empty").colnames[:3] == catalogue(folder).colnames[:3]
    script("pipeline", "empty")
    assert json.loads((folder / "empty_pipeline.json").read_text())["labels"] == []


@pytest.mark.slow
def test_mistakes_are_told(made):
    folder, detect, _ = made

    def told(*more, field="wrong", **options):
        done = detect(field, *more, check=False, **options)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert not (folder / f"{field}_cat.ecsv").exists()
        return done.stderr

    assert "a second mosaic in F115W; give one per filter" in told(of="scene", filters=("F115W", "F115W"))
    assert "nowhere_F115W_mosaic.fits: no such file" in told(of="nowhere")
    shutil.copy(folder / "scene_sources.ecsv", folder / "wrong_sources.ecsv")
    assert "the register of field scene, not of wrong" in told(of="scene")
    (folder / "wrong_sources.ecsv").write_text("# %ECSV 1.0\n")
    assert "wrong_sources.ecsv: not a table in ECSV" in told(of="scene")
    (folder / "wrong_sources.ecsv").unlink()
    with fits.open(folder / "scene_F150W_mosaic.fits") as hdus:
        for hdu in hdus[1:]:
            hdu.data = hdu.data[:-1]
        hdus.writeto(folder / "short_F150W_mosaic.fits", checksum=True)
        hdus["WHT"].data[:] = 0
        hdus.writeto(folder / "dark_F150W_mosaic.fits", checksum=True)
    shutil.copy(folder / "scene_F115W_mosaic.fits", folder / "short_F115W_mosaic.fits")
    assert "not on the grid of short_F115W_mosaic.fits" in told(of="short", filters=("F115W", "F150W"))
    assert "no mosaic has an exposure" in told(of="dark", filters=("F150W",))
