"""The projection against the demonstration as it ran."""

import json

import pytest
from pureparallel import config, projection, schemas

SAMPLED = 1.0, 14.0
"""Seconds within which a job must end: Snakemake samples it twice a second, and then misses up to half a minute."""


@pytest.fixture(scope="module")
def ran(demo):
    """Jobs of the demonstration whose CPU time is known, by rule: CPU seconds and peak memory in MB of each."""
    found = {}
    for path in sorted(demo.glob("logs/benchmarks/*/*.jsonl")):
        job = json.loads(path.read_text().splitlines()[0])
        if SAMPLED[0] < job["s"] < SAMPLED[1]:
            found.setdefault(job["rule_name"], []).append((job["cpu_time"], job["max_rss"]))
    return found


@pytest.fixture(scope="module")
def costs(demo):
    fields = config.load(schemas.read_yaml(demo / "config" / "config.yaml"), demo / "config" / "fields")
    every = projection.of_survey(fields)
    return {
        rule: projection.total(costs[rule] for costs in every.values() if rule in costs)
        for rule in {rule for costs in every.values() for rule in costs}
    }


def test_cpu_time_is_as_projected_up_to_the_machine_s_speed(ran, costs):
    """Within 30 per cent on the machine that the models were fitted on; another one may be faster, or shared."""
    assert sum(map(len, ran.values())) >= 10
    mine = sum(costs[rule].cpu / costs[rule].jobs * len(jobs) for rule, jobs in ran.items())
    assert 0.5 < mine / sum(cpu for jobs in ran.values() for cpu, _ in jobs) < 2


def test_memory_is_as_projected(ran, costs):
    wrong = {}
    for rule, jobs in ran.items():
        peak = max(memory for _, memory in jobs)
        if not 0.6 < costs[rule].memory / peak < 1.7 and rule not in projection.guessed():
            wrong[rule] = (costs[rule].memory, peak)
    assert not wrong


def test_disk_is_as_projected(demo, costs):
    real = sum(path.stat().st_size for path in (demo / "results").rglob("*") if path.is_file()) / 2**20
    report = (demo / "results" / "report.html").stat().st_size / 2**20
    assert 0.7 < sum(one.disk for one in costs.values()) / (real - report) < 1.3
