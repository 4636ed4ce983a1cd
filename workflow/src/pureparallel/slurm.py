"""SLURM as a run of Snakemake sees it: its jobs, their names, and their end."""

import contextlib
import getpass
import importlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

from . import UserError

RUN = re.compile(r"SLURM run ID: ([\w-]+)")
PATIENCE = 120.0
"""Seconds that cancelled jobs have to end."""


def runs(folder: Path) -> set[str]:
    """Names of all runs on SLURM that were started in a working folder."""
    logs = (folder / ".snakemake" / "log").glob("*.log")
    return {name for path in logs for name in RUN.findall(path.read_text(encoding="utf-8", errors="replace"))}


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


def keep_to_squeue() -> None:
    """Keep Snakemake's plugin for SLURM from losing sight of its jobs while the controller is away.

    It asks the controller for MinJobAge before every look at the queue. Without an answer it looks with sacct, which
    needs an accounting, and without an answer from that it forgets its jobs and waits for ever.
    """
    with contextlib.suppress(ImportError):
        plugin: Any = importlib.import_module("snakemake_executor_plugin_slurm")
        plugin.get_min_job_age = remembered(plugin.get_min_job_age)


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
