"""A small simulated field, taken through SLURM: its folder, its drivers, and what must come out."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from .cluster import Cluster, wait

ROOT = Path(__file__).parents[3]
PARTS = ("config", "locks", "profiles", "resources", "workflow", "pixi.toml", "pixi.lock")
PIXIW = [str(ROOT / "pixiw"), "run", "--as-is", "-e", "default", "python", "-m"]

OPTIONS = """\
description: "Simulated: two exposures of an eighth of the detector in each direction."
source: simulate
simulate: {frame: [897, 897, 256, 256]}
simulate_sky: {radius: 0.15, depth: 25, stars: 3}
"""
MANIFEST = """\
exposure\tmode\tfilter\tgrism\treadpatt\tngroups\tstart
jw09997001001_02101_00001_nis\tniriss_image\tF200W\t\tNIS\t6\t2024-07-01T06:00:00
jw09997001001_02101_00002_nis\tniriss_wfss\tF200W\tGR150R\tNIS\t8\t2024-07-01T06:05:53
"""
TARGET = "results/tiny/tiny_exposures.fits"
MASKS = "results/tiny/mask_artifacts/F200W-wfss-0001"
"""Four jobs away from raw exposures: a detector1 for each of them, persistence, mask_artifacts."""
PRODUCTS = ("detector1", "persistence", "mask_artifacts")

PARTITIONS = """\
partitions:
  short: {max_runtime: 30, max_mem_mb: 4500, max_threads: 2}
  long: {max_runtime: 120, max_mem_mb: 4500, max_threads: 2}
"""
VARIES = ["PP*", "CHECKSUM", "DATASUM", "DATE", "CONTINUE"]

# What a patient cluster waits for is asked for often here.
SETTINGS = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5", "--slurm-partition-config",
            "partitions.yaml")  # fmt: skip


def checkout(folder: Path, survey: str = "tiny") -> Path:
    """A copy of what the workflow consists of, for one field, the small one; it uses the checkout's environments."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        ignore = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=ignore, symlinks=True)
        else:
            shutil.copy(source, folder)
    launcher = folder / "pixiw"
    launcher.write_text(f'#!/bin/sh\nexec "{ROOT}/pixiw" "$@"\n')
    launcher.chmod(0o755)
    (folder / "config" / "fields" / "tiny.yaml").write_text(OPTIONS)
    (folder / "config" / "fields" / "tiny.tsv").write_text(MANIFEST)
    (folder / "config" / "config.yaml").write_text(f"fields: [{survey}]\n")
    (folder / "partitions.yaml").write_text(PARTITIONS)
    return folder


def again(done: Path, folder: Path) -> Path:
    """A copy of a finished folder, of which only the raw exposures are done."""
    shutil.copytree(done, folder, symlinks=True, ignore=shutil.ignore_patterns("results", "logs"))
    simulated = shutil.ignore_patterns(*PRODUCTS, *(f"tiny_{name}.*" for name in ("pointing", "exposures")))
    shutil.copytree(done / "results", folder / "results", ignore=simulated)
    return folder


STARTED: list["Driver"] = []


def end_all() -> None:
    """Kill drivers that a failed test left at work."""
    while STARTED:
        driver = STARTED.pop()
        if driver.process.returncode is None:
            driver.kill()


class Driver:
    """One `pixi run snakemake --profile slurm` in a folder, or another module, as `snakemake` itself."""

    def __init__(
        self, folder: Path, *arguments: str, cluster: Cluster | None, module: str = "pureparallel.launch"
    ) -> None:
        self.folder, self.log = folder, folder / f"{module}.log"
        profile = ("--profile", "slurm", *SETTINGS) if cluster else ("--cores", "2")
        environment = os.environ | (cluster.environment if cluster else {})
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {"XDG_CONFIG_DIRS": str(folder / "profiles")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*PIXIW, module, *profile, *arguments], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.cpu = 0.0
        STARTED.append(self)

    def wait(self, seconds: float = 300) -> str:
        """Wait until it has ended; what it printed. Anything but success is an error."""
        code = self.ended(seconds)
        assert code == 0, self.told()[-6000:]
        return self.told()

    def ended(self, seconds: float = 300) -> int:
        """Wait until it has ended; its exit code."""
        found = wait_for_end(self.process.pid, seconds)
        assert found, f"still at work after {seconds} s:\n{self.told()[-6000:]}"
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = used.ru_utime + used.ru_stime
        return self.process.returncode

    def kill(self) -> None:
        """SIGKILL to it and its children; jobs in the queue notice nothing."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def told(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")


def wait_for_end(pid: int, seconds: float) -> bool:
    """Wait for a child without collecting it."""
    try:
        wait(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), f"process {pid}", seconds)
    except TimeoutError:
        return False
    return True


def differences(folder: Path, expected: Path) -> list[str]:
    """Which files of a folder are not what they are in another; what tells date, commit or checksum does not count.

    Nothing half-made or locked may be left, and no product that the other one does not have.
    """
    from astropy.io import fits

    found = []
    for path in products(folder):
        other = expected / path.relative_to(folder)
        if not other.exists():
            found.append(f"{path.name}: what is it?")
        elif path.suffix == ".fits":
            with fits.open(path, memmap=False, checksum=True) as mine, fits.open(other, memmap=False) as theirs:
                same = fits.FITSDiff(mine, theirs, ignore_keywords=VARIES, ignore_comments=["*"], ignore_hdus=["ASDF"])
                if not same.identical:
                    found.append(f"{path.name}: other values")
    return found


def products(folder: Path) -> list[Path]:
    """All files of the tested stages, hidden ones included."""
    field = folder / "results" / "tiny"
    files = [p for name in PRODUCTS for p in (field / name).rglob("*") if p.is_file()]
    return sorted(p for p in [*files, *field.glob("tiny_*"), *field.glob(".*")] if p.name != ".snakemake_timestamp")


def local(folder: Path) -> Path:
    """The field reduced on this machine: what every other run of it must give."""
    Driver(checkout(folder), TARGET, cluster=None).wait(600)
    return folder


def running(cluster: Cluster, rule: str) -> Mapping[str, str]:
    """A job of a rule, once its step is at work; `step` is the step's process number."""
    found: dict[str, str] = {}

    def is_at_work() -> bool:
        job = cluster.running(rule)
        step = step_of(job["id"], rule) if job else None
        if job and step:
            found.update(job, step=str(step))
        return bool(found)

    wait(is_at_work, f"a job of {rule} at work", 120)
    return found


def step_of(job: str, rule: str) -> int | None:
    """Process number of the step that a job runs."""
    wanted, command = f"SLURM_JOB_ID={job}".encode(), f"pureparallel\0{rule}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_step = command in (process / "cmdline").read_bytes()
            if is_step and wanted in (process / "environ").read_bytes().split(b"\0"):
                return int(process.name)
        except OSError:
            continue
    return None


Fault = Callable[[Path, Cluster], str]
"""Runs the field in a folder and makes something go wrong; tells what was seen."""
