"""SLURM as a run of Snakemake sees it: its jobs, their names, and their end."""

import contextlib
import getpass
import importlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

from . import UserError

RUN = re.compile(r"SLURM run ID: ([\w-]+)")
PATIENCE = 120.0
"""Seconds that cancelled jobs have to end."""

LONGEST = 3
"""Between two looks at the queue at most, as a multiple of the setting for the time between the first ones."""

UNSEEN = 10
"""Looks at the queue in a row that do not show a job, after which it is taken for lost."""


def runs(folder: Path) -> set[str]:
    """Names of all runs on SLURM that were started in a working folder."""
    return {name for path in (folder / ".snakemake" / "log").glob("*.log") if (name := _run_of(path))}


def _run_of(log: Path) -> str | None:
    """The name of the run on SLURM that a log is of; it stands near the top of what may be long."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        return next((found[1] for line in lines if (found := RUN.search(line))), None)


def jobs(names: Iterable[str]) -> dict[str, str]:
    """The user's jobs of some runs that have not ended, with their states.

    Raises
    ------
    UserError
        If SLURM does not answer.
    """
    wanted = ",".join(sorted(names))
    if not wanted:
        return {}
    text = _ask("squeue", "--noheader", "--format=%i %T", f"--user={getpass.getuser()}", f"--name={wanted}")
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def cancel(names: Iterable[str]) -> list[str]:
    """Cancel the jobs of some runs and wait until none of them can write any more; their numbers."""
    names = list(names)
    found = jobs(names)
    if found:
        _ask("scancel", *found)
    end = time.monotonic() + PATIENCE
    while left := jobs(names):
        if time.monotonic() > end:
            told = ", ".join(f"{job} ({state})" for job, state in left.items())
            raise UserError(f"SLURM: jobs do not end: {told}; ask for help with their nodes, then resume again")
        time.sleep(1)
    return list(found)


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        raise UserError(f"SLURM: there is no {command[0]} here; start it where the run was started") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM: {command[0]} does not answer; try again when SLURM does") from None
    if done.returncode:
        raise UserError(f"SLURM: {command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def remembered(ask: Callable[[], int | None]) -> Callable[[], int | None]:
    """The same question, asked until there is an answer, and then no more."""
    known: list[int] = []

    def answer() -> int | None:
        if not known:
            found = ask()
            known.extend([] if found is None else [found])
        return known[0] if known else None

    return answer


def mend_plugin() -> None:
    """Put right what Snakemake's plugin for SLURM (2.8) gets wrong for us, where a run is started."""
    with contextlib.suppress(ImportError):
        plugin: Any = importlib.import_module("snakemake_executor_plugin_slurm")
        _keep_to_squeue(plugin)
        _give_up_lost_jobs(plugin)
        _start_once(plugin)


def _keep_to_squeue(plugin: Any) -> None:
    """Keep it from losing sight of its jobs while the controller is away, and from looking ever less often.

    It asks the controller for MinJobAge before every look at the queue. Without an answer it looks with sacct, which
    needs an accounting, and without an answer from that it forgets its jobs and waits for ever. And it waits ten
    seconds longer after every look that finds nothing new, up to three minutes: by every link of a chain of jobs.
    """
    plugin.get_min_job_age = remembered(plugin.get_min_job_age)
    pause: Any = plugin.RemoteExecutor.next_seconds_between_status_checks

    def wait(executor: Any, seconds: float) -> None:
        first = executor.workflow.executor_settings.init_seconds_before_status_checks
        pause.fset(executor, min(seconds, LONGEST * first))

    plugin.Executor.next_seconds_between_status_checks = property(pause.fget, wait)


def _give_up_lost_jobs(plugin: Any) -> None:
    """Let a job fail, so that it is repeated, that SLURM does not know any more; keep all where it does not answer.

    A controller that was killed may have forgotten a job, and one that ended while nobody looked is soon not shown any
    more: the plugin would wait for both for ever. And it would drop all jobs after too many questions without answer.
    """
    executor: Any = plugin.Executor
    check, ask = executor.check_active_jobs, plugin.query_job_status
    if hasattr(check, "__wrapped__"):
        return
    answers: list[dict[str, str] | None] = []

    @wraps(ask)
    async def query_job_status(*arguments: Any) -> Any:
        answer = await ask(*arguments)
        answers.append(answer[0])
        return answer

    @wraps(check)
    async def check_active_jobs(self: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        answers.clear()
        left = [job async for job in check(self, active_jobs)]
        answer = answers[-1] if answers else None
        if answer is None:
            for job in active_jobs:
                yield job
            return
        shown = {name.partition("_")[0] for name in answer}  # of an array, what its jobs have in common
        for job in left:
            known = job.external_jobid.partition("_")[0] in shown
            job.aux["unseen"] = 0 if known else job.aux.get("unseen", 0) + 1
            if job.aux["unseen"] < UNSEEN:
                yield job
                continue
            log = job.aux.get("slurm_logfile")
            message = f"SLURM does not know job {job.external_jobid} any more: it is taken for lost."
            self.report_job_error(job, msg=message, aux_logs=[str(log)] if log else [])

    executor.check_active_jobs, plugin.query_job_status = check_active_jobs, query_job_status


def _start_once(plugin: Any) -> None:
    """Let a job start Snakemake once, by `job`, with as many cores as it was given.

    By itself it starts one that starts another by srun for every job of a group, one after the other. What runs on
    one node needs no srun: memory, time and accounting are those of the job's script. Arrays stay as they are.
    """
    executor: Any = plugin.Executor
    if hasattr(executor.additional_general_args, "__wrapped__"):
        return
    general, of_job, command = executor.additional_general_args, executor.get_job_args, executor.format_job_exec
    report: Any = importlib.import_module("snakemake_executor_plugin_slurm.efficiency_report")
    ask = report.get_sacct_data

    @wraps(general)
    def additional_general_args(self: Any) -> str:
        return general(self) if self.array_jobs else "--executor local"

    def get_job_args(self: Any, job: Any) -> str:
        told = of_job(self, job)
        return told if self.array_jobs else f"{told} --cores {job.threads}"  # the last one counts

    def format_job_exec(self: Any, job: Any) -> str:
        told = command(self, job)
        return told if self.array_jobs else told.replace(" -m snakemake ", f" -m {__package__}.job ", 1)

    def get_sacct_data(*arguments: Any) -> list[str] | None:
        lines = ask(*arguments)
        return lines and [line.replace(".batch|batch|", ".0|job|", 1) for line in lines]  # batch is left out there

    executor.additional_general_args = additional_general_args
    executor.get_job_args, executor.format_job_exec = get_job_args, format_job_exec
    report.get_sacct_data = get_sacct_data


def quote_python() -> None:
    """Quote the interpreter in the scripts of jobs: Snakemake does not, and a space in its path ends them."""
    for module, name in (
        ("snakemake_interface_executor_plugins.executors.remote", "RemoteExecutor"),
        ("snakemake_executor_plugin_slurm_jobstep", "Executor"),
    ):
        executor: Any = getattr(sys.modules.get(module), name, None)
        if executor is not None and not hasattr(executor.get_python_executable, "__wrapped__"):
            executor.get_python_executable = _quoted(executor.get_python_executable)


def _quoted(ask: Callable[[Any], str]) -> Callable[[Any], str]:
    @wraps(ask)
    def told(executor: Any) -> str:
        return shlex.quote(ask(executor))

    return told
