"""How a run is getting on, from the events that it left."""

import json
import logging
import os
import socket

import pytest
from pureparallel import progress

PLAN = {"planned": {"detector1": 3, "mosaic": 1, "all": 1}}


def job(number, rule="detector1", field="one", log="logs/x.log"):
    return {"job": {"id": number, "rule": rule, "wildcards": {"field": field, "chunk": f"{number:04d}"}, "log": [log]}}


@pytest.fixture
def run(tmp_path):
    """A run that left events, a second apart."""

    def make(*events, host=None, process=None):
        begun = {"begun": {"host": host or socket.gethostname(), "process": process or os.getpid()}}
        path = tmp_path / progress.EVENTS
        path.parent.mkdir(exist_ok=True)
        lines = [json.dumps({"time": 1000.0 + i, **event}) for i, event in enumerate([begun, PLAN, *events])]
        path.write_text("\n".join(lines) + "\n")
        return progress.read(tmp_path)

    return make


def test_there_was_no_run(tmp_path, capsys):
    assert progress.read(tmp_path) is None
    assert progress.main(["--directory", str(tmp_path)]) == progress.NEVER


def test_jobs_are_counted_by_their_last_state(run):
    now = run(job(1), {"finished": 1}, job(2), {"failed": [2]}, job(3))
    assert (
        now.count("finished")["detector1"] == now.count("failed")["detector1"] == now.count("running")["detector1"] == 1
    )
    again = run(job(2), {"failed": [2]}, job(2), {"finished": 2})
    assert again.failed == [] and again.count("finished")["detector1"] == 1


def test_a_run_that_made_everything_has_nothing_running(run):
    assert run(job(1), job(2, rule="mosaic"), {"ended": 0}).count("finished") == {"detector1": 1, "mosaic": 1}


def test_half_a_line_that_is_being_written_is_left_for_later(run, tmp_path):
    run(job(1))
    with (tmp_path / progress.EVENTS).open("a") as file:
        file.write('{"time": 1009, "finis')
    assert progress.read(tmp_path).count("running")["detector1"] == 1


@pytest.mark.parametrize(
    ("events", "process", "host", "code"),
    [
        ([{"ended": 0}], None, None, progress.FINISHED),
        ([job(1), {"failed": [1]}, {"ended": 1}], None, None, progress.FAILED),
        ([job(1)], None, None, progress.RUNNING),
        ([job(1)], 2**22 + 1, None, progress.FAILED),  # no such process: it was killed
        ([job(1)], 2**22 + 1, "elsewhere", progress.RUNNING),
    ],
)
def test_exit_codes(run, tmp_path, capsys, events, process, host, code):
    run(*events, process=process, host=host)
    assert progress.main(["--directory", str(tmp_path), "--follow", "0"]) == code


def test_time_left_follows_from_what_jobs_cost(run):
    now = run(job(1), {"finished": 1})  # 3 s for the first
    assert progress.time_left(now, {"detector1": 10.0, "mosaic": 40.0, "all": 0.0}) == pytest.approx(3 * 60 / 10)
    assert progress.time_left(run(job(1)), {}) is None


def test_stages_and_fields(run):
    text = "\n".join(progress.stages(run(job(1), {"finished": 1}, job(2, field="two"), job(3), {"failed": [3]})))
    assert [line.split() for line in text.splitlines()][1:3] == [
        ["exposures", "3", "1", "1", "1"],
        ["images", "1", "0", "0", "0"],
    ]
    assert "two                                    0        1       0" in text


def test_failures_come_with_the_end_of_their_log(run, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "x.log").write_text("".join(f"line {i}\n\n" for i in range(9)))
    told = list(progress.failures(run(job(7), {"failed": [7]}), tmp_path, tail=2))
    assert told == ["failed: detector1 one 0007", "  logs/x.log", "    line 7", "    line 8"]


def test_a_log_in_object_storage_is_read_where_it_was_written(run, tmp_path):
    copy = tmp_path / ".snakemake" / "storage" / "s3" / "survey" / "logs" / "x.log"
    copy.parent.mkdir(parents=True)
    copy.write_text("why it failed\n")
    told = list(progress.failures(run(job(7, log="s3://survey/logs/x.log"), {"failed": [7]}), tmp_path))
    assert told[1:] == ["  s3://survey/logs/x.log", "    why it failed"]


def test_a_log_that_is_gone_is_no_failure_of_its_own(run, tmp_path):
    assert list(progress.failures(run(job(7), {"failed": [7]}), tmp_path)) == [
        "failed: detector1 one 0007",
        "  logs/x.log",
    ]


def test_the_recorder_keeps_what_tells_of_jobs_and_passes_all(tmp_path):
    log = logging.getLogger("pureparallel.test_progress")
    recorder = progress.Recorder(tmp_path)
    log.addFilter(recorder)
    seen = []
    log.addHandler(handler := logging.Handler())
    handler.emit = seen.append
    log.setLevel(logging.INFO)
    log.info("", extra={"event": "run_info", "stats": {"detector1": 2, "all": 1, "total": 3}})
    told = {"jobid": 4, "rule_name": "detector1", "wildcards": {"field": "one"}, "log": ["a.log"]}
    log.info("", extra={"event": "job_info", **told})
    log.info("words")
    log.info("", extra={"event": "group_error", "job_error_info": [{"jobid": 4}]})
    recorder.close(1)
    now = progress.read(tmp_path)
    assert len(seen) == 4
    assert now.planned == {"detector1": 2}
    assert [(one.rule, one.field, one.state) for one in now.failed] == [("detector1", "one", "failed")]
    assert now.code == progress.FAILED
