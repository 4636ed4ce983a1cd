"""What `pixiw run` promises: the right environment, words, folder, variables, order and exit codes."""

import json
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

AWKWARD = ["two words", "$HOME", "it's", '"quoted"', "", "a;b", "*", "é", "line\nbreak", "--flag=x y"]


def shown(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("words", [["show"], ["shell"], ["-e", "default", "python", "show.py"]])
def test_arguments_arrive_unchanged(installed, words):
    assert shown(installed.pixiw("run", *words, *AWKWARD))["argv"] == AWKWARD


def test_a_command_runs_where_the_caller_is_and_a_task_in_the_project(installed, tmp_path):
    script = str(installed.root / "show.py")
    assert shown(installed.pixiw("run", "python", script, cwd=tmp_path))["cwd"] == str(tmp_path)
    assert shown(installed.pixiw("run", "show", cwd=tmp_path))["cwd"] == str(installed.root)
    assert shown(installed.pixiw("run", "elsewhere", cwd=tmp_path))["cwd"] == str(installed.root / "data")


def test_environment_variables(installed):
    told = shown(
        installed.pixiw(
            "run", "elsewhere", PYTHONPATH="/x", PYTHONHOME="", PYTHONDONTWRITEBYTECODE="1", MPLBACKEND="tk"
        )
    )
    env, prefix = told["env"], str(installed.root / ".pixiw" / "default")
    assert told["prefix"] == env["CONDA_PREFIX"] == env["VIRTUAL_ENV"] == prefix
    assert env["PIXI_ENVIRONMENT_NAME"] == "default"
    assert env["PIXI_PROJECT_ROOT"] == str(installed.root)
    assert env["GREETING"] == "hello"
    assert env["WHERE"] == f"{installed.root}/data"
    assert env["EXTRA"] == "hello you"
    assert env["MPLBACKEND"] == "Agg"
    assert env["PATH"].split(":")[0] == f"{prefix}/bin"
    assert not {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE"} & set(env)


def test_exit_codes_and_signals_are_the_command_s_own(installed):
    assert installed.pixiw("run", "fail").returncode == 3
    assert installed.pixiw("run", "python", "-c", "raise SystemExit(41)").returncode == 41
    with subprocess.Popen(installed.command("run", "sleep", "60"), env=installed.env) as process:
        deadline = time.monotonic() + 10
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            assert time.monotonic() < deadline, "pixiw did not become the command"
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


def test_dependencies_run_first_in_order_and_once(project):
    result = project.pixiw("run", "third")
    assert result.returncode == 1, "the task's own environment was never installed"
    assert "environment default is not installed" in result.stderr
    assert project.pixiw("install").returncode == 0
    result = project.pixiw("run", "third", "and more")
    assert result.returncode == 0, result.stderr
    assert (project.root / "order").read_text().splitlines() == ["first", "second", "third and more"]
    assert project.uses_package("other"), "the install task for the other environment did not run"


def test_a_failing_dependency_stops_the_task(installed):
    result = installed.pixiw("run", "after-fail")
    assert result.returncode == 3
    assert "task fail in environment default ended with code 3" in result.stderr
    assert not (installed.root / "never").exists()


def test_tasks_name_their_environment_and_the_command_line_overrules_it(project):
    assert shown(project.pixiw("run", "in-other"))["env"]["PIXI_ENVIRONMENT_NAME"] == "other"
    assert project.pixiw("install", "--all").returncode == 0
    assert shown(project.pixiw("run", "-e", "default", "in-other"))["env"]["PIXI_ENVIRONMENT_NAME"] == "default"


def test_one_quoted_line_is_for_the_shell(installed):
    result = installed.pixiw("run", "echo $GREETING | tr a-z A-Z")
    assert result.stdout == "HELLO\n"


def test_x_takes_a_task_s_name_for_a_command(installed):
    tool = installed.root / ".pixiw" / "default" / "bin" / "show"
    tool.write_text("#!/bin/sh\necho the command\n")
    tool.chmod(0o755)
    try:
        assert installed.pixiw("run", "-x", "show").stdout == "the command\n"
    finally:
        tool.unlink()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "-e", "defaultt", "true"], 1, "no environment defaultt; did you mean default?"),
        (["install", "-e", "othr"], 1, "no environment othr; did you mean other?"),
        (["run", "elsewher"], 127, "no task and no command elsewher; did you mean elsewhere?"),
        (["run", "pythonn"], 127, "no task and no command pythonn; did you mean python?"),
        (["run", "--as_is", "true"], 1, "no option --as_is; did you mean --as-is?"),
        (["instakl"], 1, "no command instakl; did you mean install?"),
        (["run", "-e", "other", "true"], 1, "environment other is not installed. Run: "),
        (["run", "--as-is", "in-other"], 1, "environment other is not installed. Run: "),
    ],
)
def test_mistakes_are_named_with_their_mend(installed, words, code, message):
    result = installed.pixiw(*words)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_named_mend_works_as_it_is_printed(project):
    result = project.pixiw("run", "-e", "other", "true")
    mend = result.stderr.partition("Run: ")[2].strip()
    assert (
        subprocess.run(["/bin/sh", "-c", mend], cwd="/", env=project.env, capture_output=True, check=False).returncode
        == 0
    )
    assert project.uses_package("other")


@pytest.mark.parametrize("options", [[], ["--as-is"], ["--frozen"]])
def test_a_changed_lock_stops_commands_until_it_is_installed(project, options):
    assert project.pixiw("install").returncode == 0
    project.change_lock()
    result = project.pixiw("run", *options, "true")
    assert result.returncode == 1
    assert "environment default was installed from an earlier locks/default.txt" in result.stderr
    assert project.pixiw("install").returncode == 0
    assert project.pixiw("run", *options, "true").returncode == 0


def test_as_is_installs_nothing_even_for_the_install_task(project):
    assert project.pixiw("install").returncode == 0
    project.change_lock()
    stamp = project.root / ".pixiw" / "default" / "locks-synced.json"
    before = stamp.read_bytes()
    assert project.pixiw("run", "--as-is", "install").returncode == 1
    assert stamp.read_bytes() == before


def test_a_nested_launcher_switches_environment(project):
    assert project.pixiw("install", "--all").returncode == 0
    inner = [*project.command("run", "--as-is", "-e", "other", "python"), str(project.root / "show.py")]
    told = shown(project.pixiw("run", *inner))
    assert told["env"]["PIXI_ENVIRONMENT_NAME"] == "other"
    assert told["prefix"] == str(project.root / ".pixiw" / "other")
    assert str(project.root / ".pixiw" / "default" / "bin") not in told["env"]["PATH"].split(":")


def test_a_reader_of_the_checkout_can_run_but_changes_nothing(project, as_nobody, tmp_path):
    assert project.pixiw("install").returncode == 0

    def tree():
        return {
            p: (s.st_mtime_ns, s.st_size) for p in project.root.rglob("*") if stat.S_ISREG((s := p.lstat()).st_mode)
        }

    def run(*words):
        command = [*as_nobody, *project.command(*words)]
        return subprocess.run(command, cwd="/", env=project.env, capture_output=True, text=True, check=False)

    before = tree()
    assert run("run", "id", "-u").stdout == "65534\n"
    assert run("run", "show").returncode == 0
    assert run("install").returncode == 0
    assert tree() == before
    project.change_lock()
    result = run("install")
    assert result.returncode == 1
    assert "Permission denied" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.11"])
def test_an_older_python_finds_a_newer_one(project, version):
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    found += [Path(path) for path in [shutil.which(f"python{version}")] if path and ".pyenv/shims" not in path]
    if not found:
        pytest.skip(f"no Python {version} here")
    (project.bin / "python3").unlink()
    (project.bin / "python3").symlink_to(found[0])
    assert project.pixiw("--version").stdout == "pixiw 7.8.9\n"
    assert project.pixiw("install").returncode == 0
    assert project.pixiw("run", "python", "--version").stdout.startswith("Python 3.12")


PIXI = f"""#!/bin/sh
'''exec' "{sys.executable}" "$0" "$@"
' '''
import json, os, sys
with open(os.environ["PIXI_LOG"], "a") as file:
    print(json.dumps(sys.argv[1:]), file=file)
sys.exit(int(os.environ.get("PIXI_CODE", "0")))
"""


@pytest.fixture
def with_pixi(project):
    """The small project with a pixi on PATH that writes down what it is asked for."""
    (project.bin / "pixi").write_text(PIXI)
    (project.bin / "pixi").chmod(0o755)
    project.env["PIXI_LOG"] = str(project.root.parent / "asked")
    return project


def asked(project):
    log = Path(project.env["PIXI_LOG"])
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def stamp_as_synced(project, environment):
    """What the install task leaves in a pixi environment."""
    prefix = project.root / ".pixi" / "envs" / environment
    (prefix / "bin").mkdir(parents=True, exist_ok=True)
    (prefix / "bin" / "python").symlink_to(sys._base_executable)
    code = "import sys, sync; sync.write_stamp(sys.argv[3], sync.wanted(*sys.argv[1:]) | {'python': sys.version})"
    command = [sys.executable, "-c", code, str(project.root), environment, str(prefix)]
    subprocess.run(command, cwd=project.root / "locks", check=True)


def test_with_pixi_a_task_goes_to_pixi_word_for_word(with_pixi):
    result = with_pixi.pixiw("run", "--frozen", "show", *AWKWARD, PIXI_CODE="7")
    assert result.returncode == 7
    manifest = str(with_pixi.root / "pixi.toml")
    assert asked(with_pixi) == [["run", "--manifest-path", manifest, "--frozen", "show", *AWKWARD]]
    assert (with_pixi.root / ".pixiw" / "backend").read_text() == "pixi\n"


def test_with_pixi_a_command_needs_a_synced_environment_too(with_pixi):
    with_pixi.pixiw("run", "show")
    result = with_pixi.pixiw("run", "--as-is", "-e", "other", "true")
    assert result.returncode == 1
    assert "environment other is not installed" in result.stderr
    stamp_as_synced(with_pixi, "other")
    assert with_pixi.pixiw("run", "--as-is", "-e", "other", "true", "x y").returncode == 0
    manifest = str(with_pixi.root / "pixi.toml")
    assert asked(with_pixi)[1:] == [["run", "--manifest-path", manifest, "--as-is", "-e", "other", "true", "x y"]]
    with_pixi.change_lock("other")
    assert "from an earlier locks/other.txt" in with_pixi.pixiw("run", "--as-is", "-e", "other", "true").stderr


def test_what_pixi_installed_without_pixiw_is_used_by_jobs(with_pixi):
    """`pixi run snakemake` syncs by pixi's own install task; its jobs then come through pixiw."""
    prefix = with_pixi.root / ".pixi" / "envs" / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    env = with_pixi.env | {"CONDA_PREFIX": str(prefix), "PIXI_ENVIRONMENT_NAME": "other"}
    env["PATH"] = f"{Path(shutil.which('uv')).parent}:{env['PATH']}"
    subprocess.run([prefix / "bin" / "python", with_pixi.root / "locks" / "sync.py"], env=env, check=True)
    assert with_pixi.pixiw("run", "--as-is", "-e", "other", "true").returncode == 0
    assert asked(with_pixi)[-1][-1] == "true"


def test_with_pixi_install_makes_each_environment_and_runs_its_install_task(with_pixi):
    stamp_as_synced(with_pixi, "default")
    assert with_pixi.pixiw("install", "-e", "other", "-e", "default").returncode == 0
    manifest = str(with_pixi.root / "pixi.toml")
    expected = []
    for name in ("other", "default"):
        expected.append(["install", "--manifest-path", manifest, "--frozen", "-e", name])
        expected.append(["run", "--manifest-path", manifest, "--frozen", "-e", name, "install"])
    assert asked(with_pixi) == expected


def test_the_choice_of_back_end_is_made_once(with_pixi, installed):
    (installed.bin / "pixi").symlink_to(with_pixi.bin / "pixi")
    try:
        result = installed.pixiw("run", "show", PIXI_LOG=with_pixi.env["PIXI_LOG"])
    finally:
        (installed.bin / "pixi").unlink()
    assert shown(result)["prefix"].startswith(str(installed.root))
    assert asked(with_pixi) == []
    with_pixi.pixiw("run", "show")
    (with_pixi.bin / "pixi").unlink()
    result = with_pixi.pixiw("run", "show")
    assert result.returncode == 1
    assert "installed with pixi, and pixi is not on PATH" in result.stderr


def test_an_installed_checkout_asks_no_version_manager(project):
    """The interpreter is recorded: a slow or broken `python3` on PATH does not matter any more."""
    assert project.pixiw("install").returncode == 0
    for name in ("python3", "python3.12"):
        (project.bin / name).unlink()
        (project.bin / name).write_text("#!/bin/sh\nexit 1\n")
        (project.bin / name).chmod(0o755)
    assert project.pixiw("run", "show").returncode == 0
