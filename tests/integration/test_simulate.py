"""The demonstration's simulated field: raw exposures as real ones are, their truth, what jwst makes of them."""

import json
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pureparallel import config
from pureparallel.core.pulls import pulls
from pureparallel.simulate import observe, ramp, schedule, sky
from pureparallel.simulate.pointing import Pointing

FIELD = "sim-niriss"
RESULTS = f"results/{FIELD}"


@pytest.fixture(scope="module")
def field(demo):
    return config.load({"fields": [FIELD]}, demo / "config" / "fields")[FIELD]


@pytest.fixture(scope="module")
def headers(demo, field):
    """Primary headers of the raw exposures by name."""
    return {name: fits.getheader(demo / RESULTS / "uncal" / f"{name}_uncal.fits") for name in field.exposures}


def test_the_field_is_what_a_survey_brings_home(field, headers):
    assert 18 <= len(headers) <= 24
    rows = field.exposures.values()
    assert {row["filter"] for row in rows} == {"F115W", "F150W", "F200W"}
    assert {row["grism"] for row in rows} == {"", "GR150R", "GR150C"}
    assert len({(row["readpatt"], row["ngroups"]) for row in rows}) >= 8


def test_raw_exposures_are_those_of_their_rows(demo, field, headers):
    for name, row in field.exposures.items():
        header = headers[name]
        assert header["FILENAME"] == f"{name}_uncal.fits"
        assert (header["PUPIL"], header["FILTER"]) == (row["filter"], row["grism"] or "CLEAR")
        assert (header["READPATT"], header["NGROUPS"]) == (row["readpatt"], int(row["ngroups"]))
        assert header["DATE-BEG"].startswith(row["start"])
        assert header["VISITYPE"] == "PARALLEL_PURE"
        assert header["SIMULATD"] is True
        shape = fits.getheader(demo / RESULTS / "uncal" / f"{name}_uncal.fits", "SCI")
        assert (shape["NAXIS4"], shape["NAXIS3"], shape["NAXIS2"], shape["NAXIS1"]) == (1, header["NGROUPS"], 512, 512)


def test_header_and_truth_disagree_as_they_should(demo, field, headers):
    mine = field.option("simulate_exposure")
    stars = {}
    for name, header in headers.items():
        truth = fits.getheader(demo / RESULTS / "truth" / f"{name}_truth.fits")
        claimed = fits.getheader(demo / RESULTS / "uncal" / f"{name}_uncal.fits", "SCI")
        east = (claimed["RA_REF"] - truth["TRUE_RA"]) * np.cos(np.deg2rad(truth["TRUE_DEC"]))
        error = float(np.hypot(east, claimed["DEC_REF"] - truth["TRUE_DEC"]) * 3600)
        wrong = schedule.visit(name) in mine["wrong_guide_star"]
        assert abs(error - 1.5 * wrong) < 1.03, (name, error)
        assert abs(claimed["ROLL_REF"] - truth["TRUEROLL"]) <= 0.03 + 1e-9
        assert (header["TARG_RA"] == header["TARG_DEC"] == 0) == (name in mine["no_target"])
        stars.setdefault(header["GDSTARID"], set()).add(schedule.visit(name))
    assert all(len({visit in mine["wrong_guide_star"] for visit in visits}) == 1 for visits in stars.values())
    assert len(stars) == 3
    assert (
        len(
            {round(fits.getval(demo / RESULTS / "uncal" / f"{name}_uncal.fits", "ROLL_REF", "SCI")) for name in headers}
        )
        == 2
    )


def test_the_sky_has_lines_to_find_and_a_star_that_saturates(demo, field):
    table = sky.read_truth(demo / RESULTS / f"{FIELD}_truth.fits")
    option = field.option("simulate_sky")
    wanted = sky.Detectable(option["line_galaxies"], tuple(field.filters), option["line_flux"])
    inside = np.asarray(table["inside"])
    assert 30 <= inside.sum() <= 60
    assert np.sum((sky.features(table, wanted) >= 2) & inside) >= 12
    gaia = Table.read(demo / RESULTS / f"{FIELD}_gaia.ecsv")
    assert len(gaia) >= 5
    first = next(iter(field.exposures))
    assert ramp.read_truth(demo / RESULTS / "truth" / f"{first}_truth.fits")["saturated"].sum(axis=0).max() >= 4


def test_the_accidents_happened_where_the_schedule_says(demo, field):
    mine = field.option("simulate_exposure")
    metrics = {name: demo / RESULTS / "truth" / f"{name}_truth.metrics.json" for name in field.exposures}
    pixels = {name: json.loads(path.read_text())["disturbed_pixels"] for name, path in metrics.items()}
    assert [name for name in pixels if pixels[name]["trail"]] == mine["satellite"]
    assert sum(one["persistence"] > 0 for one in pixels.values()) > 5
    assert sum(one["snowball_core"] > 0 for one in pixels.values()) > 5
    rates = {name: ramp.read_truth(demo / RESULTS / "truth" / f"{name}_truth.fits")["rate"] for name in field.exposures}
    (spoilt,) = mine["scattered_light"]
    direct = [name for name, row in field.exposures.items() if not row["grism"] and name != spoilt]
    assert np.median(rates[spoilt]) > 10 * max(np.median(rates[name]) for name in direct)


def test_rates_are_true_within_their_errors(demo, field):
    found = json.loads((demo / RESULTS / f"{FIELD}_validate_rates.metrics.json").read_text())["exposures"]
    assert set(found) == set(field.exposures)
    for name, one in found.items():
        assert abs(one["median"]) < 0.05, (name, one)
        assert 0.95 < one["mad"] < 1.1, (name, one)
        assert one["pixels"] > 0.8 * 512**2


def test_an_exposure_made_again_is_the_same_and_another_seed_is_another(demo, field, tmp_path, run_in):
    name = "jw09999001001_02101_00002_nis"
    plan = schedule.observation(name, list(field.exposures.values()), field.options)

    def made(label, plan):
        run_in(
            "jwst", "pureparallel", "simulate_exposure", "--observation", json.dumps(plan),
            "--sky", demo / RESULTS / f"{FIELD}_truth.fits", "--uncal", tmp_path / f"{label}_uncal.fits",
            "--truth", tmp_path / f"{label}_truth.fits", "--figure", tmp_path / f"{label}.jpg",
            "--metrics", tmp_path / f"{label}.json", cwd=tmp_path,
        )  # fmt: skip
        return fits.getdata(tmp_path / f"{label}_uncal.fits", "SCI")

    first = fits.getdata(demo / RESULTS / "uncal" / f"{name}_uncal.fits", "SCI")
    assert np.array_equal(made("again", plan), first)
    truths = [demo / RESULTS / "truth" / f"{name}_truth.fits", tmp_path / "again_truth.fits"]
    with fits.open(truths[0]) as old, fits.open(truths[1]) as new:
        assert all(np.array_equal(a.data, b.data) for a, b in zip(old[1:], new[1:], strict=True))
    assert not np.array_equal(made("other", plan | {"seed": 2}), first)


def test_references_made_again_are_the_same(demo, field, tmp_path, run_in):
    """All arrays; the files themselves carry dates."""
    arguments = ["--seed", 1, "--frame", *field.option("simulate.frame"), "--filters", *field.filters]
    run_in(
        "jwst", "pureparallel", "simulate_references", "--references", tmp_path / "cache",
        "--record", tmp_path / "record.json", *arguments, cwd=tmp_path,
    )  # fmt: skip
    cache = demo / RESULTS / "references"
    names, again = (
        {path.relative_to(folder) for path in folder.rglob("[!.]*") if path.is_file()}
        for folder in (cache, tmp_path / "cache")
    )
    assert names == again
    compared = 0
    for path in sorted(names):
        if path.suffix != ".fits":
            continue
        with fits.open(cache / path) as old, fits.open(tmp_path / "cache" / path) as new:
            for a, b in zip(old, new, strict=True):
                if a.data is not None and a.name != "ASDF":
                    assert a.data.tobytes() == b.data.tobytes(), (path, a.name)
                    compared += 1
    assert compared > 50
    record = json.loads((demo / RESULTS / f"{FIELD}_references.json").read_text())
    assert set(record["files"]) == {str(path) for path in names}


def test_an_impossible_sky_is_refused_in_words(tmp_path, run_in):
    done = run_in(
        "jwst", "pureparallel", "simulate_sky", "--field", "dense", "--truth", "t.fits", "--gaia", "g.ecsv",
        "--figure", "f.png", "--metrics", "m.json", "--seed", 1, "--centre", 10, 20, "--radius", 0.1, "--depth", 22,
        "--filters", "F200W", "--line-galaxies", 400, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"field dense: simulate_sky: only \d+ of 400 galaxies", done.stderr)
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_true_pointing_is_the_one_that_the_light_fell_by(demo, field):
    """The brightest unsaturated star of a direct image lies where the truth's pointing puts it."""
    name = "jw09999001001_02101_00001_nis"
    path = demo / RESULTS / "truth" / f"{name}_truth.fits"
    header, rate = fits.getheader(path), fits.getdata(path, "RATE")
    table = sky.read_truth(demo / RESULTS / f"{FIELD}_truth.fits")
    stars = table[np.asarray(table["kind"]) == "star"]
    frame = observe.Frame(*field.option("simulate.frame"))
    pointing = Pointing(header["TRUE_RA"], header["TRUE_DEC"], header["TRUEROLL"])
    seen = 0
    for source in sorted(
        observe.sources(stars, pointing, frame), key=lambda one: -observe.render.count_rate("F200W", one)
    ):
        x, y = round(source.x), round(source.y)
        if not (8 < x < 504 and 8 < y < 504):
            continue
        stamp = rate[y - 3 : y + 4, x - 3 : x + 4] - np.median(rate)
        dy, dx = np.mgrid[-3:4, -3:4]
        centroid = x + np.sum(stamp * dx) / stamp.sum(), y + np.sum(stamp * dy) / stamp.sum()
        assert centroid == pytest.approx((source.x, source.y), abs=0.2)
        seen += 1
        if seen == 2:
            break
    assert seen == 2


@pytest.mark.slow
def test_the_whole_detector_from_nothing_to_its_rates(root, tmp_path, run_in):
    """The first direct and the first dispersed exposure of sim-niriss-full, within the memory that is promised."""
    run_in(
        "default", "python", "-m", "pureparallel.launch", "--snakefile", root / "workflow" / "Snakefile",
        "--directory", tmp_path, "--cores", 2, "--benchmark-extended", "--config", "fields=[sim-niriss-full]",
        "detector1={chunk: 1}", "--",
        *(f"results/sim-niriss-full/detector1/F200W-{mode}-0001" for mode in ("image", "wfss")), cwd=root,
    )  # fmt: skip
    folder = tmp_path / "results" / "sim-niriss-full"
    for name in ("jw09998001001_02101_00001_nis", "jw09998001001_02101_00002_nis"):
        assert fits.getheader(folder / "uncal" / f"{name}_uncal.fits")["SUBARRAY"] == "FULL"
        (path,) = (folder / "detector1").glob(f"*/{name}.metrics.json")
        assert json.loads(path.read_text())["reason"] == ""
        true = ramp.read_truth(folder / "truth" / f"{name}_truth.fits")
        with fits.open(path.with_name(f"{name}_rate.fits")) as rate:
            assert rate["SCI"].data.shape == (2048, 2048)
            reference = rate["DQ"].data & 2**31 != 0
            good = (rate["DQ"].data & 1 == 0) & ~reference
            found = pulls(rate["SCI"].data, rate["ERR"].data, true["rate"], good)
        assert reference[:4].all()
        assert not reference[4:-4, 4:-4].any()
        assert abs(found["median"]) < 0.05
        assert 0.95 < found["mad"] < 1.1
    for rule, limit in (("simulate_exposure", 3000), ("detector1", 2500)):
        jobs = [
            json.loads(path.read_text().splitlines()[0]) for path in (tmp_path / "logs/benchmarks" / rule).iterdir()
        ]
        assert max(job["max_rss"] for job in jobs) < limit
