import socket
import subprocess
import sys

import pytest
from pureparallel import launch


@pytest.fixture
def folder(tmp_path):
    """A working folder that Snakemake says is locked."""
    (tmp_path / ".snakemake" / "locks").mkdir(parents=True)
    (tmp_path / ".snakemake" / "locks" / "0.input.lock").touch()
    return tmp_path


def is_locked(folder):
    return bool(list((folder / ".snakemake" / "locks").iterdir()))


def hold(folder):
    """Take the lock and let it go; whether it was to be had."""
    file = launch.hold(folder)
    if file is None:
        return False
    file.close()
    return True


def test_the_lock_of_a_killed_run_is_removed(folder):
    (folder / launch.LOCK).write_text(socket.gethostname())
    assert hold(folder)
    assert not is_locked(folder)


@pytest.mark.parametrize("content", ["", "another-host"])
def test_a_lock_that_may_belong_to_a_live_run_stays(folder, content):
    # empty: the last run from here ended by itself, so the lock is somebody else's
    (folder / launch.LOCK).write_text(content)
    assert hold(folder)
    assert is_locked(folder)


def test_the_lock_of_a_run_that_is_alive_stays(folder):
    code = "from pathlib import Path; from pureparallel import launch; f = launch.hold(Path('.')); print(1); input()"
    command = [sys.executable, "-uc", code]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        (folder / ".snakemake" / "locks" / "1.input.lock").touch()
        assert not hold(folder)
        assert is_locked(folder)
        other.communicate(b"\n")
    assert hold(folder)


def test_the_lock_of_a_snakemake_that_was_started_otherwise_stays(folder, tmp_path):
    (folder / launch.LOCK).write_text(socket.gethostname())
    (folder / "Snakefile").write_text("import time\nprint('parsing', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "snakemake", "--cores", "1"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout.readline() == b"parsing\n"
        assert launch.is_used(folder)
        assert hold(folder)
        assert is_locked(folder)
        other.kill()
    assert not launch.is_used(folder)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-n"], True),
        (["-np"], True),
        (["--report", "x.html"], True),
        (["--profile", "slurm"], False),
        (["-j4"], False),
    ],
)
def test_runs_that_only_look_are_known(arguments, expected):
    assert launch.changes_nothing(arguments) is expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], "."), (["--directory", "x"], "x"), (["-d", "y", "-n"], "y"), (["--directory=z", "all"], "z")],
)
def test_the_working_folder_is_snakemakes(arguments, expected):
    assert str(launch.working_folder(arguments)) == expected
