"""Downloads from an archive on this machine: what they cost, and what becomes of them where it misbehaves."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

NUMBER = 500
HEAD = (
    "downloads",
    "answers",
    "of them at fault",
    "right",
    "reported missing",
    "wrong (bar: 0)",
    "fetched / size, continued",
)
COST_HEAD = ("file", "wall s", "CPU s", "MB per CPU s beyond the smallest", "peak memory MB")

MEASURE = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, capture_output=True)
wall, used = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""From a process of its own: the memory of the one that a job is started from counts as the job's."""


def under_faults(seed: int) -> list[str]:
    """One row: `NUMBER` downloads, half of all answers at fault; see tests/integration/download_scene.py."""
    from download_scene import survey

    with tempfile.TemporaryDirectory() as folder:
        done = survey(Path(folder), NUMBER, seed)
        answers = [fault for mine in done.faults.values() for fault in mine]
        fetched = sum(done.record(name)["fetched"] for name in done.continued())
        size = sum(len(done.files[name]) for name in done.continued())
        missing = sum(bool(reason) for reason in done.reasons.values())
        return [
            str(NUMBER), str(len(answers)), str(sum(map(bool, answers))), str(len(done.right())), str(missing),
            str(len(done.there() - done.right())), f"{fetched / size:.3f} ({len(done.continued())} files)",
        ]  # fmt: skip


def cost(megabytes: float, *, checksums: bool) -> tuple[float, float, float]:
    """Wall s, CPU s and peak memory (MB) of one job, start-up included."""
    from file_server import exposure, running, uncal

    name = exposure(0)
    content = uncal(name, size=int(megabytes * 1e6), checksums=checksums)
    with tempfile.TemporaryDirectory() as folder, running({f"{name}_uncal.fits": content}, block=1 << 20) as archive:
        words = [
            str(ROOT / "pixiw"), "run", "--as-is", "-e", "default", "pureparallel", "download", "--exposure", name,
            "--uncal", f"{name}_uncal.fits", "--record", "record.json", "--url", archive.url,
        ]  # fmt: skip
        done = subprocess.run([sys.executable, "-c", MEASURE, *words], cwd=folder, check=True, capture_output=True)
        assert json.loads((Path(folder) / "record.json").read_text())["bytes"] == len(content)
    wall, cpu, memory = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu, memory / (1024 if sys.platform == "linux" else 1024**2)


def tables() -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Titles, heads and rows."""
    yield "Downloads under all faults (three seeds)", HEAD, [under_faults(seed) for seed in (1, 2, 3)]
    rows = []
    start = 0.0
    for megabytes, checksums in ((0.2, False), (84.0, False), (84.0, True), (400.0, True)):
        cost(megabytes, checksums=checksums)
        wall, cpu, memory = min(cost(megabytes, checksums=checksums) for _ in range(3))
        start = start or cpu
        rate = f"{megabytes / (cpu - start):.0f}" if megabytes > 1 else "-"
        what = f"{megabytes:g} MB{', FITS checksums' if checksums else ''}"
        rows.append([what, f"{wall:.2f}", f"{cpu:.2f}", rate, f"{memory:.0f}"])
    yield "One download over the loopback, start-up included (best of 3)", COST_HEAD, rows
