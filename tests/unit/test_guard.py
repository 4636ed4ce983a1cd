import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from pureparallel import UserError, cli, guard, io

HOLD = """
import sys, time
from pathlib import Path
from pureparallel import guard
guard.BEAT = 0.1
with guard.writing(Path("product.fits")):
    print("held", flush=True)
    sys.stdin.readline()
"""

RACE = """
import sys, time
from pathlib import Path
from pureparallel import UserError, guard
guard.BEAT, guard.PATIENCE = 0.05, 0.5
try:
    with guard.writing(Path("product.fits")):
        start = time.monotonic()
        time.sleep(0.2)
        print(start, time.monotonic())
except UserError:
    print("refused")
"""


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Seconds become tenths."""
    monkeypatch.setattr(guard, "BEAT", 0.1)
    monkeypatch.setattr(guard, "PATIENCE", 1.0)


@pytest.fixture
def product(tmp_path):
    return tmp_path / "product.fits"


def elsewhere(product, **more):
    """The lock of a holder on another machine."""
    holder = {"machine": "n7 boot pid:[1]", "process": os.getpid(), "slurm_job": "12", "since": "2026-01-01", "id": "x"}
    guard.lock_of(product).write_text(json.dumps(holder | more))
    return guard.lock_of(product)


@pytest.fixture
def holder(tmp_path):
    """A process of this machine that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_and_told_who_writes(product, holder):
    with pytest.raises(UserError, match=rf"product\.fits: process {holder.pid} on .* is writing it"), \
            guard.writing(product):  # fmt: skip
        pass
    holder.communicate(b"\n")
    assert not guard.lock_of(product).exists()
    with guard.writing(product):
        assert guard.lock_of(product).exists()


def test_the_lock_of_a_killed_process_is_taken_at_once(product, holder):
    holder.kill()
    holder.wait()
    assert guard.lock_of(product).exists()
    start = time.monotonic()
    with guard.writing(product):
        assert time.monotonic() - start < guard.PATIENCE / 2
    assert not guard.lock_of(product).exists()


def test_a_silent_holder_on_another_machine_is_taken_over_after_a_while(product):
    elsewhere(product)
    start = time.monotonic()
    with guard.writing(product):
        assert time.monotonic() - start >= guard.PATIENCE
    assert not guard.lock_of(product).exists()


def test_the_number_of_a_process_means_nothing_on_another_machine(product):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    elsewhere(product, process=int(gone.stdout))
    start = time.monotonic()
    with guard.writing(product):
        assert time.monotonic() - start >= guard.PATIENCE


def test_a_holder_on_another_machine_that_lives_is_left_alone(product):
    path, done = elsewhere(product), threading.Event()
    before = path.read_text()

    def live():
        while not done.wait(0.1):
            os.utime(path)

    beats = threading.Thread(target=live)
    beats.start()
    try:
        with pytest.raises(UserError, match=r"SLURM job 12, process .* on n7 since"), guard.writing(product):
            pass
    finally:
        done.set()
        beats.join()
    assert path.read_text() == before


def test_who_slept_while_his_lock_was_taken_over_writes_nothing(product):
    product.write_text("of the other")
    with pytest.raises(UserError, match="taken over by another job"), guard.writing(product):
        path = elsewhere(product)
        with pytest.raises(UserError, match="taken over"), io.atomic_directory(product.with_name("folder")):
            pass
        io.write_text(product, "of the one who slept")
    assert product.read_text() == "of the other"
    assert path.exists()
    assert sorted(one.name for one in product.parent.iterdir()) == sorted([product.name, path.name])


def test_a_lock_that_is_not_whole_is_a_lock(product):
    guard.lock_of(product).write_text("{")
    start = time.monotonic()
    with guard.writing(product):
        assert time.monotonic() - start >= guard.PATIENCE


def test_a_failure_gives_the_lock_back(product):
    with pytest.raises(ZeroDivisionError), guard.writing(product):
        raise ZeroDivisionError
    assert not guard.lock_of(product).exists()


def test_of_many_that_find_a_dead_holder_one_writes_at_a_time(product, tmp_path):
    elsewhere(product)
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = [racer.communicate()[0].strip() for racer in racers]
    times = sorted(tuple(map(float, line.split())) for line in told if line != "refused")
    assert len(told) == 6
    assert times
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))
    assert not list(tmp_path.iterdir())


def test_what_a_step_locks_is_an_output_of_its_rule(root):
    text = "".join(path.read_text() for path in (root / "workflow" / "rules").glob("*.smk"))
    commands = dict(re.findall(r"-e \w+ pureparallel (\w+)((?:.|\n)*?)(?=&>)", text))
    assert len(commands) > 25
    for name, arguments in commands.items():
        flag = cli.product(cli.step(name)).replace("_", "-")
        assert re.search(rf"--{flag} \{{output\.", " ".join(arguments.replace('"', "").split())), name
