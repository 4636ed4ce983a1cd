"""What is put right of Snakemake's plugin for SLURM, and of Snakemake in its jobs."""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pureparallel import slurm


@pytest.fixture
def plugin(monkeypatch):
    """The plugin, which is as it was when the test ends."""
    found = pytest.importorskip("snakemake_executor_plugin_slurm")
    report = importlib.import_module("snakemake_executor_plugin_slurm.efficiency_report")
    for owner, name in (
        (found, "get_min_job_age"),
        (found.Executor, "additional_general_args"),
        (found.Executor, "get_job_args"),
        (found.Executor, "format_job_exec"),
        (found.Executor, "next_seconds_between_status_checks"),
        (report, "get_sacct_data"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    return found


@pytest.fixture
def executor(plugin):
    """An executor that was never started, for single jobs."""
    made = object.__new__(plugin.Executor)
    made.array_jobs = set()
    made._next_seconds_between_status_checks = None
    settings = SimpleNamespace(init_seconds_before_status_checks=10, pass_command_as_script=False)
    made.workflow = SimpleNamespace(executor_settings=settings)
    return made


def test_what_slurm_once_answered_is_not_asked_again():
    answers = [None, 300, None]
    age = slurm.remembered(lambda: answers.pop(0))
    assert [age(), age(), age(), age()] == [None, 300, 300, 300]


def test_the_plugin_asks_for_what_is_remembered(plugin, monkeypatch):
    monkeypatch.setattr(plugin, "get_min_job_age", iter([300]).__next__)
    slurm.mend_plugin()
    assert plugin.get_min_job_age() == plugin.get_min_job_age() == 300


@pytest.mark.parametrize(("asked", "expected"), [(10, 10), (20, 20), (170, 30)])
def test_the_queue_is_looked_at_again_after_three_times_the_first_pause_at_most(executor, asked, expected):
    slurm.mend_plugin()
    executor.next_seconds_between_status_checks = asked
    assert executor.next_seconds_between_status_checks == expected


def test_a_job_starts_snakemake_once_with_the_cores_it_was_given(plugin, executor, monkeypatch):
    job = SimpleNamespace(threads=3)
    monkeypatch.setattr(plugin.Executor, "get_job_args", lambda *_: "--cores 64")
    monkeypatch.setattr(
        plugin.Executor,
        "format_job_exec",
        lambda self, job: (
            f"python -m snakemake {self.get_job_args(job)} {self.additional_general_args()} x -m snakemake y"
        ),
    )
    slurm.mend_plugin()
    slurm.mend_plugin()
    told = "python -m pureparallel.job --cores 64 --cores 3 --executor local x -m snakemake y"
    assert executor.format_job_exec(job) == told
    executor.array_jobs = {"detector1"}
    told = "python -m snakemake --cores 64 --executor slurm-jobstep --jobs 1 x -m snakemake y"
    assert executor.format_job_exec(job) == told


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # the plugin's
def test_the_report_on_efficiency_counts_the_scripts_of_jobs(plugin, monkeypatch):
    """SLURM's accounting of a job without steps: 50 s of processors in 100 s, 600 of 1000 MB."""
    report = importlib.import_module("snakemake_executor_plugin_slurm.efficiency_report")
    lines = [
        "12|run|rule_detect|00:01:40|00:50.000|1|1||1000M",
        "12.batch|batch||00:01:40|00:50.000|1|1|600M|",
        "12.extern|extern||00:01:40|00:00.001|1|1|1M|",
    ]
    monkeypatch.setattr(report, "get_sacct_data", lambda *_: lines)
    slurm.mend_plugin()
    table = report.parse_sacct_data(report.get_sacct_data("run", None), 0.0, "run", None)
    (row,) = table.to_dict("records")
    assert (row["RuleName"], row["CPU Efficiency (%)"], row["Memory Usage (%)"]) == ("rule_detect", 50, 60)
    monkeypatch.setattr(report, "get_sacct_data", lambda *_: None)
    assert report.get_sacct_data("run", None) is None


def test_a_job_finds_its_own_executors_and_no_plugins():
    code = """
import sys
from pureparallel import job
job.leave_out_plugins()
from snakemake.cli import ExecutorPluginRegistry, ReportPluginRegistry, SchedulerPluginRegistry, StoragePluginRegistry
print(sorted(ExecutorPluginRegistry().plugins), sorted(ReportPluginRegistry().plugins), 'pandas' in sys.modules)
print(sorted(SchedulerPluginRegistry().plugins), StoragePluginRegistry.collect_plugins.__qualname__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "['dryrun', 'local', 'touch'] [] False", "['greedy', 'ilp'] PluginRegistryBase.collect_plugins",
    ]  # fmt: skip


def test_a_space_in_the_interpreters_path_ends_no_job(monkeypatch):
    """Snakemake writes the path into a shell script."""
    remote = importlib.import_module("snakemake_interface_executor_plugins.executors.remote")
    plain = remote.RemoteExecutor.get_python_executable
    monkeypatch.setattr(remote.RemoteExecutor, "get_python_executable", getattr(plain, "__wrapped__", plain))
    monkeypatch.setattr(remote.sys, "executable", "/a checkout/bin/python")
    shared = SimpleNamespace(shared_fs_usage=list(remote.SharedFSUsage))
    executor = SimpleNamespace(workflow=SimpleNamespace(storage_settings=shared))
    slurm.quote_python()
    slurm.quote_python()
    assert remote.RemoteExecutor.get_python_executable(executor) == "'/a checkout/bin/python'"
