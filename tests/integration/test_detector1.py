"""The step detector1 on simulated exposures: what it finds, what it refuses, and how it goes on after being killed."""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from astropy.io import fits

pytestmark = pytest.mark.slow

EXPOSURES = ("F200W:CLEAR:NIS:6", "F150W:GR150R:NIS:8", "F115W:CLEAR:NISRAPID:20")
PIXELS = 400


def name(number):
    return f"jw09999001001_02101_{number:05d}_nis"


def command(folder, uncal, out):
    """Arguments of the step."""
    return [
        "pureparallel", "detector1", "--uncal", *uncal, "--references", folder / "crds",
        "--rates", out / "0001", "--figures", out / "0001_figures",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def field(root, run_in, tmp_path_factory):
    """Folder of references, raw exposures and their truth."""
    folder = tmp_path_factory.mktemp("field")
    run_in("jwst", "python", root / "tests/integration/detector1_simulate.py", PIXELS, 3, *EXPOSURES, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def reduced(field, run_in):
    """Folder of products."""
    run_in("jwst", *command(field, sorted(field.glob("*_uncal.fits")), field / "out"), cwd=field)
    return field / "out"


@pytest.fixture(scope="module")
def judged(root, field, reduced, run_in):
    """What was found of what was injected, by exposure."""
    judge = root / "tests/integration/detector1_judge.py"
    run_in("jwst", "python", judge, reduced / "0001", field, field / "judged.json", cwd=field)
    return json.loads((field / "judged.json").read_text())


def test_every_exposure_has_its_products(reduced):
    suffixes = ("_rate.fits", "_rate.prov.json", "_groups.fits", "_groups.prov.json", ".metrics.json")
    expected = {name(i) + suffix for i in (1, 2, 3) for suffix in suffixes}
    assert {path.name for path in (reduced / "0001").iterdir()} == expected
    assert {path.name for path in (reduced / "0001_figures").iterdir()} == {
        f"{name(i)}_detector1.jpg" for i in (1, 2, 3)
    }
    assert {path.name for path in reduced.iterdir()} == {"0001", "0001_figures"}


def test_rates_carry_lineage_and_references_and_no_paths(reduced):
    path = reduced / "0001" / f"{name(1)}_rate.fits"
    with fits.open(path, checksum=True) as hdus:
        header = hdus[0].header
        assert header["PPSTEP"] == "detector1"
        assert header["PPIN0001"].startswith(f"{name(1)}_uncal.fits sha256:")
        assert header["R_SUPERB"].startswith("crds://jwst_niriss_superbias")
        assert header["SIMULATD"] is True
        assert header["FILENAME"] == path.name
        assert {header[key] for key in ("S_DQINIT", "S_SATURA", "S_SUPERB", "S_LINEAR", "S_DARK", "S_JUMP")} == {
            "COMPLETE"
        }
        assert str(reduced.parent) not in repr(header)
        assert hdus["SCI"].data.dtype == np.dtype(">f4")


def test_metrics_tell_what_was_done(reduced):
    for i in (1, 2, 3):
        metrics = json.loads((reduced / "0001" / f"{name(i)}.metrics.json").read_text())
        assert metrics["reason"] == ""
        assert metrics["column_rms"] < 0.9 * metrics["column_rms_before"]
        assert 0 < metrics["do_not_use"] < 0.02
        assert metrics["steps"]["jump"]["status"] == "COMPLETE"
        assert metrics["steps"]["ramp_fit"]["seconds"] > 0
        assert max(metrics["new_bad_pixels"].values()) < 20


def test_cosmic_rays_and_nothing_else_are_flagged(judged):
    for found in judged.values():
        assert found["rays"] > 1000
        assert found["rays_flagged"] > 0.97
        assert found["false_flags"] < 3e-3


def test_snowballs_are_flagged_whole(judged):
    assert sum(found["snowballs"] for found in judged.values()) > 0
    for found in judged.values():
        assert found["snowballs_found"] == found["snowballs"]
        assert found["snowball_false_area"] <= max(found["snowball_area"], 300)


def test_column_jumps_are_found(judged):
    true, found = (sum(one[key] for one in judged.values()) for key in ("column_jumps", "column_jumps_found"))
    assert true >= 5
    assert found >= 0.9 * true
    assert sum(one["column_jumps_false"] for one in judged.values()) <= 1


def test_errors_are_honest(judged):
    for found in judged.values():
        assert 0.97 < found["pull_mad"] < 1.05
        assert abs(found["pull_median"]) < 0.1
        assert found["pull_outliers"] < 1e-3


def test_where_both_do_the_same_nothing_differs_from_the_pipeline(root, field, run_in):
    script = root / "tests/integration/detector1_equal.py"
    run_in("jwst", "python", script, field, field / "equal.json", cwd=field)
    assert json.loads((field / "equal.json").read_text()) == {f"{name(i)}_uncal.fits": [] for i in (1, 2, 3)}


def test_cosmic_rays_are_those_of_the_pipeline_flag_by_flag(root, run_in, tmp_path):
    run_in("jwst", "python", root / "tests/integration/detector1_jumps.py", tmp_path / "jumps.json", cwd=tmp_path)
    differ = json.loads((tmp_path / "jumps.json").read_text())
    assert len(differ) == 18
    assert not any(differ.values())


def edited(field, path, number, edit):
    """A copy of the first exposure under another name, changed."""
    target = path / f"{name(number)}_uncal.fits"
    with fits.open(field / f"{name(1)}_uncal.fits") as hdus:
        edit(hdus)
        hdus.writeto(target)
    return target


def floats(hdus):
    """NaN, in counts that are floats."""
    data = hdus["SCI"].data.astype(np.float32)
    data[0, 2, 5:9] = np.nan
    hdus["SCI"] = fits.ImageHDU(data, name="SCI")


def one_group(hdus):
    hdus[0].header["NGROUPS"] = 1
    hdus["SCI"].data = hdus["SCI"].data[:, :1].copy()


def saturated(hdus):
    hdus["SCI"].data[:] = 65535
    hdus["SCI"].data[0, 0, 0, 0] = 65534


def other_instrument(hdus):
    hdus[0].header["INSTRUME"] = "MIRI"


def no_reference(hdus):
    hdus[0].header["DATE-OBS"] = "2010-01-01"


def untouched(hdus):
    """A good exposure."""


def test_what_cannot_be_reduced_has_its_reason_and_its_neighbours_are_reduced(field, run_in, tmp_path):
    edits = {
        11: floats, 12: one_group, 13: saturated, 14: other_instrument, 15: no_reference, 16: untouched, 17: untouched,
    }  # fmt: skip
    paths = [edited(field, tmp_path, number, edit) for number, edit in edits.items()]
    os.truncate(paths[5], 500_000)
    missing = tmp_path / f"{name(18)}_uncal.fits"
    run_in("jwst", *command(field, [*paths, missing], tmp_path / "out"), cwd=tmp_path)
    reasons = {
        i: json.loads((tmp_path / "out" / "0001" / f"{name(i)}.metrics.json").read_text())["reason"]
        for i in range(11, 19)
    }
    expected = {
        11: "not finite", 12: "1 groups", 13: "all are saturated", 14: "INSTRUME is 'MIRI', expected NIRISS",
        15: "no reference", 16: "not a complete FITS file", 18: "No such file",
    }  # fmt: skip
    assert {i: text in reasons[i] for i, text in expected.items()} == dict.fromkeys(expected, True), reasons
    assert reasons[17] == ""
    assert [path.name for path in sorted((tmp_path / "out" / "0001").glob("*_rate.fits"))] == [f"{name(17)}_rate.fits"]


def test_short_ramps_are_reduced(root, run_in, tmp_path):
    script = root / "tests/integration/detector1_simulate.py"
    run_in("jwst", "python", script, 128, 4, "F200W:CLEAR:NIS:2", "F200W:CLEAR:NIS:3", cwd=tmp_path)
    run_in("jwst", *command(tmp_path, sorted(tmp_path.glob("*_uncal.fits")), tmp_path / "out"), cwd=tmp_path)
    for i in (1, 2):
        metrics = json.loads((tmp_path / "out" / "0001" / f"{name(i)}.metrics.json").read_text())
        assert metrics["reason"] == ""
        assert metrics["do_not_use"] < 0.05


def test_a_wrong_context_stops_the_step_at_once(field, run_in, tmp_path):
    arguments = command(field, sorted(field.glob("*_uncal.fits")), tmp_path / "out")
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"context": "jwst_0002.pmap", "root": str(field / "crds"), "files": {}}))
    arguments[arguments.index(field / "crds")] = record
    done = run_in("jwst", *arguments, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "jwst_0002.pmap is missing; choose a context that the cache holds" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_batch_resumes_with_only_the_unfinished_redone(root, field, run_in, tmp_path):
    uncal = sorted(field.glob("*_uncal.fits"))
    out, part = tmp_path / "out", tmp_path / "out" / ".0001.part"
    launcher = [str(root / "pixiw"), "run", "--as-is", "-e", "jwst"]
    arguments = [*launcher, *map(str, command(field, uncal, out))]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        limit = time.monotonic() + 120
        while not (part / ".records" / f"{name(1)}.json").is_file() and time.monotonic() < limit:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (out / "0001").exists()
    finished = {path.stem: (part / f"{path.stem}_rate.fits").stat() for path in (part / ".records").iterdir()}
    assert 1 <= len(finished) < 3
    done = run_in("jwst", *command(field, uncal, out), cwd=tmp_path)
    assert f"{len(finished)} of 3 are finished already" in done.stderr
    for exposure, before in finished.items():
        after = (out / "0001" / f"{exposure}_rate.fits").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(list((out / "0001").glob("*_rate.fits"))) == 3
    assert len(list((out / "0001_figures").iterdir())) == 3
    assert not part.exists()
