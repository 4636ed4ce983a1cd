"""What goes wrong on clusters, made to happen. Each fault runs the field until it is done, and tells what was seen."""

import json
import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from pureparallel import slurm

from .cluster import Cluster, wait
from .field import MASKS, Driver, Fault, running, step_of


def states(cluster: Cluster, folder: Path, rule: str) -> list[str]:
    """How the jobs of a rule ended that were submitted from a folder."""
    names = slurm.runs(folder)
    return sorted(job["state"] for job in cluster.jobs() if job["name"] in names and rule in job["comment"])


def out_of_memory(folder: Path, cluster: Cluster) -> str:
    """The first attempt gets less memory than it needs."""
    driver = Driver(folder, MASKS, "--set-resources", "detector1:mem_mb=attempt*attempt*220", cluster=cluster)
    driver.wait()
    seen = states(cluster, folder, "detector1")
    assert seen.count("COMPLETED") == 2, seen
    assert set(seen) - {"COMPLETED"} <= {"OUT_OF_MEMORY", "FAILED"}, seen
    assert len(seen) > 2, seen
    return f"{len(seen) - 2} of {len(seen)} jobs killed for memory; repeated with more"


def over_time(folder: Path, cluster: Cluster) -> str:
    """A step hangs, as on a file system that does not answer, until its time is over."""
    driver = Driver(folder, MASKS, "--set-resources", "detector1:runtime=attempt", cluster=cluster)
    job = running(cluster, "detector1")
    os.kill(int(job["step"]), signal.SIGSTOP)
    driver.wait()
    seen = states(cluster, folder, "detector1")
    assert seen == ["COMPLETED", "COMPLETED", "TIMEOUT"], seen
    return "TIMEOUT after a minute; repeated with two"


def cancelled(folder: Path, cluster: Cluster) -> str:
    """Somebody cancels a job."""
    driver = Driver(folder, MASKS, cluster=cluster)
    cluster.ask("scancel", running(cluster, "detector1")["id"])
    driver.wait()
    seen = states(cluster, folder, "detector1")
    assert seen == ["CANCELLED", "COMPLETED", "COMPLETED"], seen
    return "CANCELLED; repeated"


def node_killed(folder: Path, cluster: Cluster) -> str:
    """A node loses its power in the middle of a job, and stays away."""
    driver = Driver(folder, MASKS, cluster=cluster)
    node = running(cluster, "detector1")["node"]
    cluster.kill(node)
    driver.wait()
    seen = states(cluster, folder, "detector1")
    cluster.start_node(node)
    cluster.wait_for_nodes()
    assert seen.count("COMPLETED") == 2, seen
    assert "NODE_FAIL" in seen, seen
    return f"{seen.count('NODE_FAIL')} jobs NODE_FAIL; repeated on other nodes"


def controller_restarted(folder: Path, cluster: Cluster) -> str:
    """The controller is killed under running jobs, and comes back after half a minute."""
    driver = Driver(folder, MASKS, cluster=cluster)
    running(cluster, "detector1")
    cluster.kill("slurmctld")
    time.sleep(30)
    cluster.start_controller()
    told, seen = driver.wait().rpartition("SLURM run ID")[2], states(cluster, folder, "detector1")
    cluster.wait_for_nodes()
    # of a job that it had not saved yet it tells nothing any more, and gives its number to the next one
    assert {"COMPLETED"} <= set(seen) <= {"COMPLETED", "CANCELLED"}, seen
    finished = set(re.findall(r"Finished jobid: (\d+) \(Rule: detector1\)", told)) - {"0"}  # that is a job's own
    assert len(finished) == 2, told[-3000:]
    return f"jobs went on, or were repeated where the controller had forgotten them: {', '.join(seen)}"


def controller_forgets(folder: Path, cluster: Cluster) -> str:
    """The controller is killed under running jobs, and comes back on another machine, without what it knew."""
    driver = Driver(folder, MASKS, cluster=cluster)
    forgotten = running(cluster, "detector1")["id"]
    cluster.kill("slurmctld")
    cluster.forget()
    cluster.start_controller()
    driver.wait()
    told, seen = driver.told(), states(cluster, folder, "detector1")
    cluster.wait_for_nodes()
    assert f"SLURM does not know job {forgotten} any more" in told, told[-3000:]
    assert seen.count("COMPLETED") == 2, seen
    return f"{told.count('SLURM does not know job')} jobs given up after ten looks at the queue; repeated"


def driver_killed(folder: Path, cluster: Cluster) -> str:
    """The driver is killed with SIGKILL, its jobs go on; a new one refuses, `resume` ends them before it begins."""
    first = Driver(folder, MASKS, cluster=cluster)
    os.kill(int(running(cluster, "detector1")["step"]), signal.SIGSTOP)  # so that it outlives what comes now
    first.kill()
    orphans = {job["id"] for job in cluster.jobs("RUNNING", "PENDING")}
    again = Driver(folder, MASKS, cluster=cluster)
    assert again.ended() == 1
    assert re.search(r"still in SLURM's queue: \d+ .* pixi run resume --profile slurm", again.told()), again.told()
    assert {job["id"] for job in cluster.jobs("RUNNING", "PENDING")} <= orphans
    told = Driver(folder, MASKS, cluster=cluster, module="pureparallel.resume").wait()
    stopped = set(re.findall(r"^cancelled (\d+)", told, re.M))
    ended = {job["id"]: job["state"] for job in cluster.jobs() if job["id"] in orphans}
    assert stopped, told
    assert stopped <= orphans
    assert {ended[job] for job in stopped} <= {"CANCELLED", "COMPLETED"}, ended
    return f"a new run was refused; {len(stopped)} jobs of the dead one cancelled by `resume`, then all done"


def second_writer(folder: Path, cluster: Cluster) -> str:
    """The driver is killed, and a plain Snakemake is forced to start the same jobs while the first ones still run."""
    first = Driver(folder, MASKS, cluster=cluster)
    job = running(cluster, "detector1")
    wait(lambda: job["id"] in holders(folder), "the first job's lock")
    step = int(job["step"])
    os.kill(step, signal.SIGSTOP)  # so that it outlives the start of the second one
    first.kill()
    second = Driver(folder, MASKS, "--nolock", "--retries", "0", cluster=cluster, module="snakemake")
    again = wait_for_other(cluster, job)
    time.sleep(20)  # it has found the lock by then, and goes on watching it for longer than that
    os.kill(step, signal.SIGCONT)
    assert second.ended() == 1
    told = second.told()
    assert re.search(rf"SLURM job {job['id']}, process .* is writing it", told), told
    wait(lambda: not cluster.jobs("RUNNING", "COMPLETING"), "the first driver's jobs")
    ended = {one["id"]: one["state"] for one in cluster.jobs()}
    assert (ended[job["id"]], ended[again["id"]]) == ("COMPLETED", "FAILED")
    Driver(folder, MASKS, cluster=cluster, module="pureparallel.resume").wait()
    return "the second writer was refused and told of the first, which finished"


def holders(folder: Path) -> set[str]:
    """Jobs that hold the lock of a product."""
    texts = [path.read_text() for path in folder.glob("results/tiny/detector1/.*.lock")]
    return {json.loads(text)["slurm_job"] for text in texts if text}


def wait_for_other(cluster: Cluster, job: Mapping[str, str]) -> Mapping[str, str]:
    """The same work in a second job, at work."""
    found: list[Mapping[str, str]] = []

    def is_at_work() -> bool:
        same = [one for one in cluster.jobs("RUNNING") if one["comment"] == job["comment"] and one["id"] != job["id"]]
        found[:] = [one for one in same if step_of(one["id"], "detector1")]
        return bool(found)

    wait(is_at_work, "the second job at work", 120)
    return found[0]


FAULTS: dict[str, Fault] = {
    one.__name__: one
    for one in (
        out_of_memory, over_time, cancelled, node_killed, controller_restarted, controller_forgets, driver_killed,
        second_writer,
    )
}  # fmt: skip
SMOKE = ("cancelled",)
