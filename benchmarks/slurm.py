"""What SLURM costs, and what its faults lose: ``python benchmarks/slurm.py [cost] [field] [faults]``, as root.

On a SLURM of our own on this machine: one node with two processors for the costs, so that it has no more of them than
the run without it, and three nodes for the faults.
"""

import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

cluster: Any = importlib.import_module("tests.integration.slurm.cluster")
field: Any = importlib.import_module("tests.integration.slurm.field")
faults: Any = importlib.import_module("tests.integration.slurm.faults")

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def compared(survey: str, *targets: str) -> Table:
    """The same field without and with SLURM, one after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone, alone_cpu = timed(field.Driver(field.checkout(folder / "alone", survey), *targets, cluster=None))
        one, driver_cpu = cluster.Cluster(folder / "slurm", nodes=1, cpus=2, memory=12000), 0.0
        try:
            one.start()
            driver = field.Driver(field.checkout(folder / "queued", survey), *targets, cluster=one)
            queued, driver_cpu = timed(driver)
            jobs = len(one.jobs())
        finally:
            cpu = driver_cpu + one.stop()
    row = [survey, f"{jobs}", f"{alone:.0f}", f"{queued:.0f}", f"{queued / alone:.2f}", f"{alone_cpu:.0f}"]
    row += [f"{cpu:.0f}", f"{(cpu - alone_cpu) / jobs:.1f}", f"{driver_cpu:.0f}"]
    head = ["field", "jobs of SLURM", "wall s, alone", "wall s, SLURM", "ratio", "CPU s, alone", "CPU s, SLURM",
            "more per job", "of it all the driver's"]  # fmt: skip
    return "SLURM: cost, 2 processors each (bars: 1.5 times the wall time, 3 CPU s per job)", head, [row]


def timed(driver: Any) -> tuple[float, float]:
    """Wall and CPU seconds of a run."""
    start = time.monotonic()
    driver.wait(3600)
    return time.monotonic() - start, driver.cpu


def injected() -> Table:
    """Every fault on a copy of the small field: what was seen, and which products differ from the run without it."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = field.local(folder / "alone")
        one = cluster.Cluster(folder / "slurm")
        try:
            one.start()
            for fault, run in faults.FAULTS.items():
                its_own = field.again(expected, folder / fault)
                start = time.monotonic()
                seen = run(its_own, one)
                wall = time.monotonic() - start
                lost = field.differences(its_own, expected)
                rows.append([run.__doc__.rstrip("."), seen, "; ".join(lost) or "nothing", f"{wall:.0f}"])
        finally:
            one.stop()
    held = f"memory held by cgroups {one.memory_held_by}" if one.memory_held_by else "memory watched by SLURM"
    return f"SLURM: faults ({held})", ["injected", "seen", "lost, or not as without it", "wall s"], rows


CHOICES: dict[str, Callable[[], Table]] = {
    "cost": lambda: compared("tiny", field.TARGET),
    "field": lambda: compared("sim-niriss"),
    "faults": injected,
}


def tables() -> Iterator[Table]:
    """Title, head and rows of each table, as they are ready; those named on the command line, else all."""
    reason = cluster.why_not()
    if reason:
        yield f"SLURM: not measured: {reason}", ["-"], []
        return
    for name in [name for name in sys.argv[1:] if name in CHOICES] or CHOICES:
        yield CHOICES[name]()


if __name__ == "__main__":
    for title, head, rows in tables():
        print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)
