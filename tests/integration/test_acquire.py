"""The rules of downloads, run by Snakemake on a field of MAST whose archive is on this machine."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from file_server import exposure, running, uncal

SECRET = "0123456789abcdef-this-must-never-be-seen"
NAMES = [exposure(i) for i in range(6)]
TARGET = "results/a-field/a-field_download.html"


@pytest.fixture(scope="module")
def files():
    """Six exposures, without checksums, as MAST's are."""
    return {f"{name}_uncal.fits": uncal(name, size=144000, checksums=False, seed=i) for i, name in enumerate(NAMES)}


@pytest.fixture
def snakemake(root, tmp_path, files):
    """Start Snakemake on a field of these files; ``snakemake(archive, *arguments)``."""
    begun = []

    def start(archive, *arguments):
        fields = tmp_path / "config" / "fields"
        if not fields.is_dir():
            fields.mkdir(parents=True)
            (tmp_path / "config" / "config.yaml").write_text("fields: [a-field]\n")
            (fields / "a-field.yaml").write_text(
                "source: mast\ncrds: {context: jwst_1413.pmap}\n"
                f'download: {{url: "{archive.url}", backoff: 0.1, retries: 2}}\n'
            )
            head = ["exposure", "mode", "filter", "readpatt", "ngroups", "start", "size", "access", "uri"]
            rows = [
                [name, "niriss_image", "F200W", "NIS", "6", f"2024-07-01T06:{i:02d}:00",
                 str(len(files[f"{name}_uncal.fits"])), "exclusive", f"{name[:25]}/{name}_uncal.fits"]
                for i, name in enumerate(NAMES)
            ]  # fmt: skip
            (fields / "a-field.tsv").write_text("\n".join("\t".join(row) for row in [head, *rows]) + "\n")
        words = [str(root / "pixiw"), "run", "--as-is", "-e", "default", "python", "-m", "snakemake"]
        words += [
            "--snakefile",
            str(root / "workflow" / "Snakefile"),
            "--resources",
            "mast=2",
            "--cores",
            "6",
            *arguments,
        ]
        environment = os.environ | {"MAST_API_TOKEN": SECRET}
        said = tmp_path / f"said{len(begun)}.txt"
        with said.open("w") as file:
            begun.append(
                subprocess.Popen(
                    words, cwd=tmp_path, stdout=file, stderr=file, env=environment, start_new_session=True
                )
            )  # fmt: skip
        return begun[-1], said

    yield start
    for one in begun:
        if one.poll() is None:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()


def finished(begun, code=0):
    """What Snakemake said, once it has ended as expected."""
    job, said = begun
    assert job.wait() == code, said.read_text()
    return said.read_text()


def planned(text):
    """Jobs by rule that a dry run tells of."""
    table = text.partition("Job stats:")[2].partition("total")[0]
    return dict(re.findall(r"^(\w+) +(\d+)$", table, re.M))


@pytest.mark.slow
def test_one_that_is_missing_stops_no_other_and_its_reason_is_told(snakemake, files, tmp_path):
    lost = f"{NAMES[2]}_uncal.fits"
    manners = {"token": SECRET, "exclusive": set(files), "plan": lambda name, _: "404" if name == lost else ""}
    with running(files, **manners) as archive:
        said = finished(snakemake(archive, "--keep-going", TARGET), code=1)
        assert "a-field: 5 of 6 raw exposures are there" in said
        assert f"a-field: {NAMES[2]}: 127.0.0.1 has no such file (HTTP 404)" in said
        assert "Traceback" not in said
        archive.plan, before = (lambda *_: ""), len(archive.asked)
        finished(snakemake(archive, TARGET))
        assert [one.name for one in archive.asked[before:]] == [lost]
        for name, content in files.items():
            assert (tmp_path / "results" / "a-field" / "uncal" / name).read_bytes() == content
        # how patiently a file is fetched is no reason to fetch it again; what it is, is one
        options = tmp_path / "config/fields/a-field.yaml"
        options.write_text(options.read_text().replace("retries: 2", "retries: 5, stall: 30"))
        assert "Nothing to be done" in finished(snakemake(archive, "--dry-run", TARGET))
        manifest = tmp_path / "config/fields/a-field.tsv"
        manifest.write_text(manifest.read_text().replace("\t155520\t", "\t158400\t", 1))
        changed = planned(finished(snakemake(archive, "--dry-run", TARGET)))
        assert changed == {"download": "1", "download_summary": "1"}


@pytest.mark.slow
def test_a_killed_run_is_continued_and_fetches_what_is_missing_alone(snakemake, files, tmp_path):
    with running(files, token=SECRET, exclusive=set(files), rate=40000.0) as archive:
        job, said = snakemake(archive, TARGET)
        folder = tmp_path / "results" / "a-field" / "uncal"
        while sum(path.stat().st_size > 30000 for path in folder.glob("*.part")) < 2:
            assert job.poll() is None, said.read_text()
            time.sleep(0.05)
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        assert len(archive.asked) == 2  # no more at once than the resource allows
        archive.rate = 0.0
        time.sleep(1)
        parts = {path.name.removesuffix(".part"): path.stat().st_size for path in folder.glob("*.part")}
        before = {name: archive.sent(name) for name in files}
        finished(snakemake(archive, "--unlock"))
        finished(snakemake(archive, TARGET))
        for name, content in files.items():
            assert (folder / name).read_bytes() == content
            assert archive.sent(name) - before[name] == len(content) - parts.get(name, 0)
        assert not list(folder.glob("*.part*"))


@pytest.mark.slow
def test_the_token_is_in_no_log_process_list_product_or_report(snakemake, files, tmp_path):
    with running(files, token=SECRET, exclusive=set(files), plan=lambda _, n: "cut 0.5" if not n else "") as archive:
        begun, seen = snakemake(archive, TARGET), ""
        while begun[0].poll() is None:
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen += process.read_bytes().replace(b"\0", b" ").decode("latin-1")
                except OSError:
                    continue
            time.sleep(0.02)
        finished(begun)
        finished(snakemake(archive, TARGET, "--report", "report.zip"))
        assert {one.authorization for one in archive.asked} == {f"token {SECRET}"}
    shutil.unpack_archive(tmp_path / "report.zip", tmp_path / "report")
    assert "pureparallel download" in seen
    assert SECRET not in seen
    looked = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "a-field_download.html" for path in (tmp_path / "report").rglob("*"))
    assert {"logs", ".snakemake", "results"} <= {path.relative_to(tmp_path).parts[0] for path in looked}
    for path in looked:
        assert SECRET.encode() not in path.read_bytes(), path
