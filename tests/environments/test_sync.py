"""What an installation promises whatever happens to it: whole, or seen as unfinished and mended by the next run."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "iniconfig"  # what the small project pins, see conftest.py
STAMP = "locks-synced.json"


def installed_file(project):
    return next((project.root / ".pixiw" / "default").glob(f"lib/*/site-packages/{PACKAGE}/__init__.py"))


def start(project, *words):
    """Start pixiw in a process group of its own."""
    command, env = project.command(*words), project.env
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_ten_at_once_install_once(project):
    processes = [start(project, "install") for _ in range(10)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 10, outputs
    assert sum("environment default: installing" in text for text in outputs) == 1
    assert project.uses_package()


def test_who_waits_says_for_whom(project):
    assert project.pixiw("install").returncode == 0
    project.change_lock()
    lock = project.root / ".pixiw" / "default.lock"
    lock.write_text("process 12345 on node7\n")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = start(project, "install")
        assert "process 12345 on node7 is installing it: waiting" in waiting.stdout.readline()
    assert "ready" in waiting.communicate(timeout=60)[0]
    assert waiting.returncode == 0


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.4, 0.6])
def test_killed_at_any_time_it_is_whole_or_refused_and_then_mended(project, delay):
    process = start(project, "install")
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    result = project.pixiw("run", "python", "-c", f"import {PACKAGE}")
    assert result.returncode == 0 or "Run: " in result.stderr, result.stderr
    result = project.pixiw("install")
    assert result.returncode == 0, result.stderr
    assert project.uses_package()


def test_killed_while_uv_works_everything_is_installed_again(project):
    assert project.pixiw("install").returncode == 0
    project.change_lock()
    stamp = project.root / ".pixiw" / "default" / STAMP
    process = start(project, "install")
    deadline = time.monotonic() + 20
    while "unfinished" not in stamp.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    # What a kill leaves may look installed to uv, and not be: here, a file that never arrived.
    installed_file(project).unlink()
    result = project.pixiw("run", "true")
    assert result.returncode == 1
    assert "is only half installed" in result.stderr
    result = project.pixiw("install")
    assert result.returncode == 0, result.stderr
    assert "repairing" in result.stderr
    assert project.uses_package()


def test_a_wrong_hash_is_refused(project):
    lock = project.root / "locks" / "default.txt"
    good = lock.read_text()
    lock.write_text(re.sub(r"sha256:\w{64}", "sha256:" + 64 * "0", good))
    result = project.pixiw("install")
    assert result.returncode == 1
    assert "Hash mismatch" in result.stderr
    assert not project.uses_package()
    lock.write_text(good)
    assert project.pixiw("install").returncode == 0
    assert project.uses_package()


def test_a_pin_without_a_hash_is_refused(project):
    (project.root / "locks" / "default.txt").write_text(f"{PACKAGE}==2.0.0\n")
    result = project.pixiw("install")
    assert result.returncode == 1
    assert "hash" in result.stderr
    assert not project.uses_package()


@pytest.mark.parametrize("free", [0, 20_000, 80_000, 160_000, 300_000])
def test_a_full_disk_is_named_and_mended_when_there_is_space(tmp_path, free, make_project):
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", disk], check=False).returncode
    ):
        pytest.skip("needs to mount a small disk")
    try:
        project = make_project(disk / "a small project")
        filler = disk / "filler"
        space = shutil.disk_usage(disk).free - free
        filler.write_bytes(b"x" * max(0, space // 4096 * 4096))
        result = project.pixiw("install")
        if free < 100_000:
            assert result.returncode == 1, "the disk was not full: this test tests nothing"
        if result.returncode:
            assert "Free space" in result.stderr or "No space left on device" in result.stderr
            assert "Traceback" not in result.stderr
            assert project.pixiw("run", "true").returncode == 1
        filler.unlink()
        result = project.pixiw("install")
        assert result.returncode == 0, result.stderr
        assert project.uses_package()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_moved_checkout_is_installed_again(project):
    assert project.pixiw("install").returncode == 0
    old, project.root = project.root, project.root.with_name("moved")
    old.rename(project.root)
    result = project.pixiw("run", "true")
    assert result.returncode == 1
    assert f"was installed for {old}/.pixiw/default, and has moved" in result.stderr
    assert project.pixiw("install").returncode == 0
    assert project.uses_package()


def test_a_removed_python_is_noticed(project):
    assert project.pixiw("install").returncode == 0
    python = project.root / ".pixiw" / "default" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.12")
    assert "has lost the Python it was made with" in project.pixiw("run", "true").stderr
    assert project.pixiw("install").returncode == 0
    assert project.uses_package()


def test_without_uv_the_pinned_one_is_fetched(project):
    (project.bin / "uv").unlink(missing_ok=True)
    if subprocess.run([project.bin / "python3", "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("this Python has no pip")
    result = project.pixiw("install")
    assert result.returncode == 0, result.stderr
    assert project.uses_package()
    pinned = (ROOT / "locks" / "uv.txt").read_text().partition("uv==")[2].split()[0]
    assert f"uv {pinned}" in project.pixiw("run", "uv", "--version").stdout


def test_a_uv_too_old_is_not_used(project):
    (project.bin / "uv").unlink(missing_ok=True)
    (project.bin / "uv").write_text("#!/bin/sh\necho uv 0.4.30\n")
    (project.bin / "uv").chmod(0o755)
    assert project.pixiw("install").returncode == 0
    assert project.uses_package()


def test_a_missing_compiler_is_named(project):
    with (project.root / "pixi.toml").open("a") as file:
        file.write('\n[feature.build.dependencies]\nc-compiler = "*"\n')
    manifest = project.root / "pixi.toml"
    manifest.write_text(manifest.read_text().replace("other = []", 'other = ["build"]'))
    result = project.pixiw("install", "-e", "other", CC="/no/such/cc")
    assert result.returncode == 1
    assert "there is no C compiler (/no/such/cc)" in result.stderr
    assert project.pixiw("install", "-e", "other", CC="true").returncode == 0


PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "small-package"
version = "1"
[project.scripts]
hello = "small_package:hello"
[tool.hatch.build.targets.wheel]
packages = ["src/small_package"]
"""


def test_the_project_s_own_package_is_editable_compiled_and_checked(project, pins):
    source = project.root / "src" / "small_package" / "__init__.py"
    source.parent.mkdir(parents=True)
    source.write_text("import not_there\n")
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    back_end = ("hatchling", "editables", "packaging", "pathspec", "pluggy", "trove-classifiers")
    (project.root / "locks" / "default.txt").write_text("".join(map(pins, back_end)))
    result = project.pixiw("install")
    assert result.returncode == 1
    assert "the package small-package does not import" in result.stderr
    source.write_text("def hello():\n    print('hello')\n")
    assert project.pixiw("install").returncode == 0
    assert project.pixiw("run", "hello").stdout == "hello\n"
    assert list(source.parent.glob("__pycache__/*.pyc"))
    source.write_text("def hello():\n    print('edited')\n")
    assert project.pixiw("run", "hello").stdout == "edited\n"
    (project.root / "pyproject.toml").write_text(PYPROJECT + "# a comment changes nothing\n")
    assert project.pixiw("run", "true").returncode == 0
    (project.root / "pyproject.toml").write_text(PYPROJECT.replace("hello =", "hullo ="))
    assert "from an earlier pyproject.toml" in project.pixiw("run", "true").stderr
    assert project.pixiw("install").returncode == 0
    assert project.pixiw("run", "hullo").stdout == "edited\n"


def test_state_is_kept_out_of_git(project):
    assert project.pixiw("install").returncode == 0
    assert Path(project.root, ".pixiw", ".gitignore").read_text() == "*\n"
