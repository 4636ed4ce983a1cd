"""How a run is getting on, and what failed in it and why: ``pixi run status``.

While Snakemake runs, `Recorder` writes what happens to a file in the working folder, one event per line. All else reads
that file: a run can be looked at from another terminal, or from any machine that sees the folder, with no server.
"""

import argparse
import contextlib
import json
import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import UserError, arrivals, config, projection

EVENTS = Path(".snakemake") / "pureparallel.events.jsonl"

FINISHED, FAILED, RUNNING, NEVER = 0, 1, 3, 4
"""Exit codes of ``pixi run status``: all was made, a job failed or the run was ended, it goes on, there was none."""


class Recorder(logging.Filter):
    """Lets every record of Snakemake's log pass, and writes down those that tell of jobs.

    A filter, because Snakemake removes the handlers that its logger had.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        path = folder / EVENTS
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._write(begun={"host": socket.gethostname(), "process": os.getpid()})

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the event of a record; a full disk must not end the run."""
        with contextlib.suppress(OSError, ValueError):
            event = _event(vars(record))
            if event:
                self._write(**event)
        return True

    def close(self, code: int) -> None:
        """Write the exit code of the run."""
        with contextlib.suppress(OSError, ValueError):
            self._write(ended=code)
            self._file.close()

    def _write(self, **event: Any) -> None:
        self._file.write(json.dumps({"time": round(time.time(), 2), **event}) + "\n")
        self._file.flush()


@contextlib.contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Record the run of Snakemake within, and tell at its end what failed."""
    from snakemake.logging import logger

    recorder, code = Recorder(folder), 1
    logger.addFilter(recorder)
    try:
        yield
        code = 0
    except SystemExit as end:
        code = int(bool(end.code))
        raise
    finally:
        logger.removeFilter(recorder)
        recorder.close(code)
        run = read(folder)
        if code and run is not None and run.failed:
            print(f"{len(run.failed)} jobs failed:", *failures(run, folder), sep="\n", file=sys.stderr)


def _event(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a log record is worth keeping."""
    kind = record.get("event")
    if kind == "run_info":
        return {"planned": {rule: count for rule, count in record["stats"].items() if rule not in ("total", "all")}}
    if kind == "job_info":
        told = {"id": record["jobid"], "rule": record["rule_name"], "wildcards": dict(record["wildcards"] or {})}
        # of those in object storage it says what it will do with them
        return {"job": told | {"log": [str(path).partition(" (")[0] for path in record["log"] or ()]}}
    if kind == "job_finished":
        return {"finished": record["job_id"]}
    if kind == "job_error":
        return {"failed": [record["jobid"]]}
    if kind == "group_error":
        return {"failed": [job["jobid"] for job in record["job_error_info"]]}
    return {}


@dataclass
class Job:
    """One job of a run."""

    rule: str
    wildcards: Mapping[str, str]
    log: list[str]
    state: str = "running"
    """Or finished, or failed; on a cluster, what runs may still be in the queue."""

    @property
    def field(self) -> str:
        """The field that it works on; ``survey`` where it works on all."""
        return self.wildcards.get("field", "survey")


@dataclass
class Run:
    """What is known of a run."""

    begun: float = 0.0
    last: float = 0.0
    host: str = ""
    process: int = 0
    ended: int | None = None
    planned: dict[str, int] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether its Snakemake is at work; taken for granted of another host's."""
        if self.ended is not None:
            return False
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def count(self, state: str) -> Counter[str]:
        """Jobs in a state, by rule."""
        return Counter(job.rule for job in self.jobs.values() if job.state == state and job.rule in self.planned)

    @property
    def failed(self) -> list[Job]:
        """Jobs that failed and were not made since."""
        return [job for job in self.jobs.values() if job.state == "failed"]

    @property
    def code(self) -> int:
        """Exit code for scripts."""
        if self.is_alive:
            return RUNNING
        return FINISHED if self.ended == 0 else FAILED


def read(folder: Path) -> Run | None:
    """The last run in a working folder, or None."""
    path = folder / EVENTS
    if not path.is_file():
        return None
    run = Run()
    with path.open(encoding="utf-8") as file:
        for line in file:
            with contextlib.suppress(ValueError):  # the last line, when it is being written
                _add(run, json.loads(line))
    return run


def _add(run: Run, event: Mapping[str, Any]) -> None:
    """Add one event to what is known of a run."""
    run.last = event["time"]
    if "begun" in event:
        run.begun, run.host, run.process = event["time"], event["begun"]["host"], event["begun"]["process"]
    elif "planned" in event:
        run.planned = dict(event["planned"])
    elif "job" in event:
        job = event["job"]
        run.jobs[job["id"]] = Job(job["rule"], job["wildcards"], job["log"])
    elif "finished" in event:
        _mark(run, [event["finished"]], "finished")
    elif "failed" in event:
        _mark(run, event["failed"], "failed")
    elif "ended" in event:
        run.ended = event["ended"]
        if run.ended == 0:  # nothing is left; with --quiet, Snakemake does not tell of every job that it is finished
            _mark(run, run.jobs, "finished")


def _mark(run: Run, jobs: Iterable[int], state: str) -> None:
    for job in jobs:
        if job in run.jobs:
            run.jobs[job].state = state


def time_left(run: Run, weights: Mapping[str, float]) -> float | None:
    """Seconds until a run ends, if what is left goes as fast as what is done did; None before anything is done.

    Parameters
    ----------
    run : Run
    weights : mapping of str to float
        What a job of each rule costs, in any unit.
    """
    done = run.count("finished")
    made = sum(weights.get(rule, 1.0) * count for rule, count in done.items())
    rest = sum(weights.get(rule, 1.0) * (count - done[rule]) for rule, count in run.planned.items())
    return (run.last - run.begun) * rest / made if made else None


def weights(folder: Path, configfiles: list[Path]) -> dict[str, float]:
    """Mean CPU seconds of a job, by rule, from the survey's projection; empty where there is no configuration."""
    try:
        content, fields = arrivals.survey(folder, configfiles)
        known = projection.of_survey(config.load(content, fields))
    except (UserError, KeyError, OSError, StopIteration):
        return {}
    rules = {rule for costs in known.values() for rule in costs}
    sums = {rule: projection.total(costs[rule] for costs in known.values() if rule in costs) for rule in rules}
    return {rule: one.cpu / one.jobs for rule, one in sums.items()}


def headline(run: Run, weights: Mapping[str, float]) -> str:
    """A run in one line."""
    done, of = sum(run.count("finished").values()), sum(run.planned.values())
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.begun))
    if run.is_alive:
        left = time_left(run, weights)
        state = (
            f"running since {when}, {f'about {projection.duration(left)} left' if left is not None else 'just begun'}"
        )
    elif run.ended is None:
        state = f"of {when}, killed after {projection.duration(run.last - run.begun)}"
    else:
        state = (
            f"of {when}, {'finished' if run.ended == 0 else 'failed'} after {projection.duration(run.last - run.begun)}"
        )
    return f"run {state}: {done} of {of} jobs made, {len(run.failed)} failed"


def stages(run: Run) -> Iterator[str]:
    """A line per stage, and one per field that has jobs running or failed."""
    counts = {state: run.count(state) for state in ("finished", "running", "failed")}
    yield f"{'':24}{'jobs':>8}{'made':>8}{'running':>9}{'failed':>8}"
    known = {rule for rules in projection.STAGES.values() for rule in rules}
    others = tuple(rule for rule in run.planned if rule not in known)
    for stage, rules in {**projection.STAGES, "others": others}.items():
        planned = sum(run.planned.get(rule, 0) for rule in rules)
        if planned:
            made, running, failed = (sum(count[rule] for rule in rules) for count in counts.values())
            yield f"{stage:24}{planned:>8}{made:>8}{running:>9}{failed:>8}"
    by_field: dict[str, Counter[str]] = {}
    for job in run.jobs.values():
        by_field.setdefault(job.field, Counter())[job.state] += 1
    yield ""
    for name, states in sorted(by_field.items()):
        if states["running"] or states["failed"]:
            yield f"{name:32}{states['finished']:>8}{states['running']:>9}{states['failed']:>8}"


def failures(run: Run, folder: Path, tail: int = 5) -> Iterator[str]:
    """Every job that failed, with its log's last lines."""
    for job in run.failed:
        yield f"failed: {job.rule} {' '.join(job.wildcards.values())}"
        for log in job.log:
            yield f"  {log}"
            with contextlib.suppress(OSError):
                text = _copy(folder, log).read_text(encoding="utf-8", errors="replace")
                yield from (f"    {line}" for line in [line for line in text.splitlines() if line.strip()][-tail:])


def _copy(folder: Path, log: str) -> Path:
    """A log here, where it is in object storage."""
    scheme, is_stored, name = log.partition("://")
    return folder / ".snakemake" / "storage" / scheme / name if is_stored else folder / log


def main(arguments: list[str] | None = None) -> int:
    """Print how the last run in a working folder is getting on; its state is the exit code."""
    parser = argparse.ArgumentParser(
        prog="pixi run status", description=(__doc__ or "").partition("\n")[0],
        epilog="exit code: 0 all made, 1 a job failed or the run was ended, 3 it goes on, 4 there was no run",
    )  # fmt: skip
    parser.add_argument("--directory", type=Path, default=Path(), help="working folder")
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="as given to Snakemake")
    parser.add_argument("--tail", type=int, default=5, help="lines of the log of a job that failed")
    parser.add_argument("--follow", type=float, metavar="SECONDS", help="print again every so often until it ends")
    given = parser.parse_args(arguments)
    costs = weights(given.directory, given.configfile)
    while True:
        run = read(given.directory)
        if run is None:
            print(f"{given.directory}: no run was started here by `pixi run snakemake`")
            return NEVER
        print(headline(run, costs), *stages(run), *failures(run, given.directory, given.tail), sep="\n", flush=True)
        if run.code != RUNNING or not given.follow:
            return run.code
        time.sleep(given.follow)


if __name__ == "__main__":
    sys.exit(main())
