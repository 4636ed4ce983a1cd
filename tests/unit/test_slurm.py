"""What is put right of Snakemake's plugin for SLURM, and of Snakemake in its jobs."""

import asyncio
import contextlib
import importlib
import logging
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
        (found, "query_job_status"),
        (found.Executor, "check_active_jobs"),
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


@pytest.fixture
def look(plugin, executor, monkeypatch):
    """Look at a queue that answers as told; the jobs that are waited for after it, and those that failed."""
    answers, failed = [], []
    monkeypatch.setattr(plugin, "is_query_tool_available", lambda _: False)
    monkeypatch.setattr(plugin, "get_min_job_age", lambda: 300)

    async def answer(*_):
        return (answers[-1], 0.1) if answers[-1] is not None else (None, None)

    monkeypatch.setattr(plugin, "query_job_status", answer)
    slurm.mend_plugin()
    slurm.mend_plugin()
    executor.logger, executor.run_uuid = logging.getLogger("slurm"), "run"
    executor.status_rate_limiter = contextlib.AsyncExitStack()
    executor.next_seconds_between_status_checks = 10
    executor.workflow.executor_settings.status_attempts = 2
    executor.workflow.executor_settings.status_command = "squeue"
    for name in ("failures", "calls", "total_seconds", "min_seconds", "max_seconds"):
        setattr(executor, f"_status_query_{name}", 0)
    executor._status_query_cycle_rows = []
    executor.report_job_error = lambda job, msg, **_: failed.append((job.external_jobid, msg))

    def look(jobs, states):
        answers.append(states)

        async def left():
            return [job async for job in executor.check_active_jobs(jobs)]

        return asyncio.run(left()), failed

    return look


def submitted(*names):
    return [SimpleNamespace(external_jobid=name, aux={}) for name in names]


def test_a_job_that_slurm_has_forgotten_is_given_up(look):
    running, forgotten = jobs = submitted("7", "8")
    for _ in range(slurm.UNSEEN - 1):
        assert look(jobs, {"7": "RUNNING"}) == (jobs, [])
    left, failed = look(jobs, {"7": "RUNNING"})
    assert left == [running]
    assert failed == [(forgotten.external_jobid, "SLURM does not know job 8 any more: it is taken for lost.")]


def test_a_job_that_is_shown_again_is_not_given_up(look):
    jobs = submitted("7", "8_3")
    for _ in range(slurm.UNSEEN - 1):
        look(jobs, {})
    look(jobs, {"7": "PENDING", "8_[1-5]": "PENDING"})
    for _ in range(slurm.UNSEEN - 1):
        assert look(jobs, {}) == (jobs, [])


def test_no_job_is_lost_sight_of_while_slurm_does_not_answer(look):
    jobs = submitted("7", "8")
    for _ in range(2 * slurm.UNSEEN):
        assert look(jobs, None) == (jobs, [])


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
