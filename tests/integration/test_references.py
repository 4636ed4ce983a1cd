"""Reference files fetched from a server that answers as CRDS does: all of them, once, whole, and the same for ever."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parent))
from crds_server import CONTEXT, running, unspoilt

COLUMNS = ("mode", "filter", "grism", "readpatt", "start")


@pytest.fixture(scope="module")
def truth(demo):
    """The cache that the server has."""
    return demo / "results" / "sim-niriss" / "references"


@pytest.fixture(scope="module")
def exposures(root):
    """Rows of the manifest."""
    head, *lines = (root / "config/fields/sim-niriss.tsv").read_text().splitlines()
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
    return json.dumps([{key: row[key] for key in COLUMNS} for row in rows])


@pytest.fixture
def command(root, tmp_path, exposures):
    """The command that fetches into tmp_path/cache."""

    def words(server, record="record.json", context=CONTEXT):
        return [
            str(root / "pixiw"), "run", "--as-is", "-e", "jwst", "pureparallel", "references", "--exposures", exposures,
            "--record", str(tmp_path / record), "--context", context, "--cache", str(tmp_path / "cache"), "--server",
            server,
        ]  # fmt: skip

    return words


def fetch(words, cwd):
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


def parts(cache):
    """What is not whole yet."""
    return [path for path in cache.rglob("*") if ".part" in path.name]


def test_a_bundle_serves_jobs_that_do_not_see_the_cache(truth, command, tmp_path, run_in):
    with running(truth) as server:
        done = fetch([*command(server.url), "--bundle", str(tmp_path / "references")], tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["root"] == "references"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(tmp_path / "record.json", elsewhere)
    shutil.copytree(tmp_path / "references", elsewhere / "references", copy_function=shutil.copyfile)  # as a store does
    shutil.rmtree(tmp_path / "cache")
    name = next(path for path, one in record["files"].items() if "photom" in one["types"])
    script = (
        "import sys; from pathlib import Path; from pureparallel import calibration\n"
        "calibration.configure(Path(sys.argv[1]))\n"
        "from crds.core import config; print(config.locate_file(sys.argv[2], 'jwst'))\n"
    )
    asked = ["python", "-c", script, elsewhere / "record.json", Path(name).name]
    assert run_in("jwst", *asked, cwd=tmp_path).stdout.strip() == str(elsewhere / "references" / name)
    (elsewhere / "references" / name).write_bytes(b"another")
    assert "(SHA-1)" in run_in("jwst", *asked, cwd=tmp_path, check=False).stderr


def test_six_at_once_fetch_every_file_once_and_later_ones_none(truth, command, tmp_path, demo, run_in):
    with running(truth) as server:
        words = [command(server.url, f"record{i}.json") for i in range(6)]
        jobs = [subprocess.Popen(one, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for one in words]
        told = [job.communicate()[1] for job in jobs]
        address = server.url
    assert [job.returncode for job in jobs] == [0] * 6, told
    assert set(server.downloads.values()) == {1}
    records = [json.loads((tmp_path / f"record{i}.json").read_text()) for i in range(6)]
    assert all(record["files"] == records[0]["files"] for record in records)
    assert records[0]["context"] == CONTEXT
    for name in records[0]["files"]:
        assert (tmp_path / "cache" / name).read_bytes() == (truth / name).read_bytes()
    assert not parts(tmp_path / "cache")
    # without a server nothing more is needed, and nothing is written
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    again = fetch(command(address), tmp_path)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before
    # what was fetched is what reductions of the same exposures have used
    used = set()
    for path in (demo / "results/sim-niriss").glob("detector1/*/*_rate.fits"):
        header = fits.getheader(path)
        used |= {str(header[key]).removeprefix("crds://") for key in header if key.startswith("R_")}
    fetched = {Path(name).name for name in records[0]["files"]}
    assert len(used) > 7
    assert used - {"N/A"} <= fetched


def test_a_file_that_is_not_what_was_promised_is_never_seen(truth, command, tmp_path):
    victim = "jwst_niriss_gain_0001.fits"
    with running(truth) as server:
        for spoil in (lambda content: content[:-1], lambda content: b"\0" + content[1:]):
            server.spoil = lambda name, content, spoil=spoil: spoil(content) if name == victim else content
            failed = fetch(command(server.url), tmp_path)
            assert failed.returncode == 1
            assert victim in failed.stderr and "Traceback" not in failed.stderr
            assert not list((tmp_path / "cache").rglob(victim))
            assert not (tmp_path / "record.json").exists()
        server.spoil = unspoilt
        kept = set((tmp_path / "cache").rglob("*_0001.*")) - set(parts(tmp_path / "cache"))
        asked = dict(server.downloads)
        assert fetch(command(server.url), tmp_path).returncode == 0
    assert all(server.downloads[path.name] == asked[path.name] for path in kept)


def test_a_mapping_that_was_corrected_in_place_stops_everything(truth, command, tmp_path, demo, run_in):
    with running(truth) as server:
        assert fetch(command(server.url), tmp_path).returncode == 0
        (mapping,) = (tmp_path / "cache").rglob("jwst_niriss_gain_0001.rmap")
        old = json.loads((tmp_path / "cache/pureparallel.json").read_text())[mapping.name]["sha1"]
        mapping.write_text(mapping.read_text().replace("Simulated gain", "Corrected gain"))
        new = hashlib.sha1(mapping.read_bytes()).hexdigest()
        refused = fetch(command(server.url, "second.json"), tmp_path)
    (uncal,) = (demo / "results/sim-niriss/uncal").glob("jw09999001001_02101_00001_nis_uncal.fits")
    options = ("--uncal", uncal, "--references", "record.json", "--rates", "rates", "--figures", "figures")
    job = run_in("jwst", "pureparallel", "detector1", *options, cwd=tmp_path, check=False)
    for done in (refused, job):
        assert done.returncode == 1
        assert all(word in done.stderr for word in (mapping.name, old, new))
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "second.json").exists()
    assert not (tmp_path / "rates").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": "jwst_0002.pmap"}, "jwst_0002.pmap"),
        ({"server": "http://127.0.0.1:9"}, "http://127.0.0.1:9 does not tell"),
    ],
)
def test_mistakes_are_told_in_one_line(truth, command, tmp_path, change, message):
    with running(truth) as server:
        failed = fetch(command(**({"server": server.url} | change)), tmp_path)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
def test_jobs_need_no_network(truth, command, tmp_path, demo, root):
    with running(truth) as server:
        assert fetch(command(server.url), tmp_path).returncode == 0
    (uncal,) = (demo / "results/sim-niriss/uncal").glob("jw09999001001_02101_00001_nis_uncal.fits")
    cut_off = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*cut_off, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody leave the network")
    words = [
        str(root / "pixiw"), "run", "--as-is", "-e", "jwst", "pureparallel", "detector1", "--uncal", str(uncal),
        "--references", "record.json", "--rates", "rates", "--figures", "figures",
    ]  # fmt: skip
    done = fetch([*cut_off, *words], tmp_path)
    assert done.returncode == 0, done.stderr
    with fits.open(tmp_path / "rates/jw09999001001_02101_00001_nis_rate.fits") as hdus:
        assert hdus[0].header["CRDS_CTX"] == CONTEXT
