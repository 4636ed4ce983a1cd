import socket
import subprocess
import sys

import pytest
from pureparallel import UserError, launch, resume, slurm


@pytest.fixture
def folder(tmp_path):
    """A working folder in which two runs were started on SLURM, and one without."""
    logs = tmp_path / ".snakemake" / "log"
    logs.mkdir(parents=True)
    (logs / "a.snakemake.log").write_text("host: x\nSLURM run ID: 11-22\nJob 1 has been submitted\n")
    (logs / "b.snakemake.log").write_text("SLURM run ID: my_33-44\n")
    (logs / "c.snakemake.log").write_text("Provided cores: 2\n")
    return tmp_path


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """No SLURM: commands that write down how they are called; the queue is a file, which scancel empties."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "queue").write_text("7 RUNNING\n8 PENDING\n")
    for name, does in (("squeue", f"cat {tmp_path}/queue"), ("scancel", f": > {tmp_path}/queue")):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\n{does}\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path / "called"


def test_runs_are_found_in_snakemakes_logs(folder):
    assert slurm.runs(folder) == {"11-22", "my_33-44"}


def test_jobs_of_these_runs_are_cancelled_and_no_others_asked_for(folder, queue):
    assert resume.prepare(folder) == ["7", "8"]
    called = queue.read_text().splitlines()
    assert all("--name=11-22,my_33-44" in line for line in called if line.startswith("squeue"))
    assert [line for line in called if line.startswith("scancel")] == ["scancel 7 8"]
    assert called[-1].startswith("squeue")  # it has made sure that they are gone


def test_where_nothing_ran_on_slurm_nobody_is_asked(tmp_path, queue):
    assert resume.prepare(tmp_path) == []
    assert not queue.exists()


def test_jobs_that_do_not_end_stop_it(folder, queue, monkeypatch):
    monkeypatch.setattr(slurm, "PATIENCE", 0.0)
    (folder / "bin" / "scancel").write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match=r"jobs do not end: 7 \(RUNNING\), 8 \(PENDING\)"):
        resume.prepare(folder)


def test_a_driver_on_another_host_stops_it(folder, queue):
    (folder / launch.LOCK).write_text("another-host")
    with pytest.raises(UserError, match="started on another-host"):
        resume.prepare(folder)
    assert not queue.exists()


def test_a_driver_that_is_alive_stops_it(folder, queue):
    code = "from pathlib import Path; from pureparallel import launch; f = launch.hold(Path('.')); print(1); input()"
    with subprocess.Popen(
        [sys.executable, "-uc", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(UserError, match="a run is at work here"):
            resume.prepare(folder)
        other.communicate(b"\n")
    assert not queue.exists()


def test_without_slurm_it_says_so(folder, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="there is no squeue here"):
        resume.prepare(folder)


def test_the_lock_of_the_dead_driver_is_removed_by_the_run_that_follows(folder, queue):
    (folder / launch.LOCK).write_text(socket.gethostname())
    (folder / ".snakemake" / "locks").mkdir()
    (folder / ".snakemake" / "locks" / "0.input.lock").touch()
    resume.prepare(folder)
    launch.hold(folder).close()
    assert not list((folder / ".snakemake" / "locks").iterdir())


def test_a_dry_run_only_tells(folder, queue, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(launch, "main", lambda arguments: print("snakemake", *arguments))
    resume.main(["-n"])
    told = capsys.readouterr()
    assert told.err.splitlines() == ["would cancel 7 (RUNNING)", "would cancel 8 (PENDING)"]
    assert told.out == "snakemake -n\n"
    assert "scancel" not in queue.read_text()


def test_a_plain_run_refuses_to_submit_again_what_is_still_in_the_queue(folder, queue):
    (folder / launch.LOCK).write_text("another-host")  # for `resume` to judge
    with pytest.raises(UserError) as refused:
        launch.refuse_orphans(["--profile", "slurm", "--directory", str(folder)])
    assert "7 (RUNNING), 8 (PENDING)" in str(refused.value)
    assert f"pixi run resume --profile slurm --directory {folder}" in str(refused.value)
    assert (folder / launch.LOCK).read_text() == "another-host"
    assert "scancel" not in queue.read_text()


def test_a_plain_run_goes_on_where_nothing_is_left(folder, queue):
    (folder / "queue").write_text("")
    launch.refuse_orphans(["--directory", str(folder)])


def test_jobs_of_a_run_that_is_alive_are_no_orphans(folder, queue):
    held = launch.hold(folder)
    launch.refuse_orphans(["--directory", str(folder)])
    held.close()
    with pytest.raises(UserError, match="resume"):
        launch.refuse_orphans(["--directory", str(folder)])


@pytest.mark.parametrize(("executor", "looks", "asked"), [("slurm", [], 1), ("slurm", ["-n"], 0), ("local", [], 0)])
def test_the_queue_is_looked_at_by_runs_on_slurm_only(folder, queue, executor, looks, asked):
    arguments = ["--executor", executor, "--directory", str(folder), *looks]
    if asked:
        with pytest.raises(UserError, match="still in SLURM's queue"):
            launch.ready(arguments)
    else:
        launch.ready(arguments)
    assert queue.exists() is bool(asked)
