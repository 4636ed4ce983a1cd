"""Cost and quality of the step detector1: ``python benchmarks/detector1.py [512] [2048] [quality]``.

Beside it, in the same run and on the same exposures: the pipeline's own command, one process per exposure, with
snowballs and 1/f cleaning switched on. CPU seconds, user and system, of a process and its children.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "tests" / "integration"
INSIDE = [str(ROOT / "pixiw"), "run", "--as-is", "-e", "jwst"]
CONTEXT = "jwst_0001.pmap"

EXPOSURES = ("F200W:CLEAR:NIS:6", "F200W:GR150R:NIS:8", "F150W:GR150C:NIS:10", "F115W:CLEAR:NISRAPID:25")
"""Filter, grism, readout and groups."""

FULL = ("F200W:CLEAR:NIS:6", "F150W:GR150R:NIS:10")

SEEDS = (1, 2, 3)

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def run(command: Sequence[str | Path], cwd: Path, **environment: str) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a command and its children."""
    with (cwd / "benchmark.log").open("ab") as log:
        child = subprocess.Popen([*INSIDE, *map(str, command)], cwd=cwd, env=os.environ | environment, stdout=log,
                                 stderr=log)  # fmt: skip
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command[0]} failed:\n{(cwd / 'benchmark.log').read_text()[-3000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def ours(folder: Path, uncal: Sequence[Path], out: str) -> tuple[float, float]:
    """All exposures in one process."""
    target = folder / out
    arguments = ["--references", folder / "crds", "--rates", target / "0001"]
    return run(["pureparallel", "detector1", "--uncal", *uncal, *arguments, "--figures", target / "figures"], folder)


def theirs(folder: Path, uncal: Sequence[Path], out: str) -> list[tuple[float, float]]:
    """One process per exposure, with the same steps on."""
    (folder / out).mkdir()
    options = [f"--output_dir={folder / out}", "--steps.jump.expand_large_events=True"]
    options += ["--steps.clean_flicker_noise.skip=False"]
    crds = {
        "CRDS_PATH": str(folder / "crds"), "CRDS_CONTEXT": CONTEXT, "CRDS_OBSERVATORY": "jwst", "CRDS_MODE": "local",
        "CRDS_SERVER_URL": "https://jwst-serverless.stsci.edu", "CRDS_READONLY_CACHE": "1",
    }  # fmt: skip
    return [run(["strun", "calwebb_detector1", path, *options], folder, **crds) for path in uncal]


def cost(pixels: int, exposures: Sequence[str], rounds: int) -> Table:
    """CPU and memory per exposure, ours against theirs, run in turn; the median of the rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(["python", SCRIPTS / "detector1_simulate.py", str(pixels), "1", *exposures], folder)
        uncal = sorted(folder.glob("*_uncal.fits"))
        one, many = [], []
        for i in range(rounds):
            many.append(theirs(folder, uncal, f"theirs{i}"))
            one.append(ours(folder, uncal, f"ours{i}"))
    cpu, own = (sorted(values)[rounds // 2] for values in ([sum(c for c, _ in m) for m in many], [c for c, _ in one]))
    n = len(uncal)
    row = [f"{pixels}", f"{n}", f"{cpu / n:.1f}", f"{own / n:.1f}", f"{own / cpu:.2f}"]
    row += [f"{max(m for r in many for _, m in r):.0f}", f"{max(m for _, m in one):.0f}"]
    head = ["pixels", "exposures", "strun CPU s", "detector1 CPU s", "ratio", "strun peak MB", "detector1 peak MB"]
    return f"detector1: cost per exposure (median of {rounds}, in turn)", head, [row]


def quality() -> Table:
    """What is found of what is injected, by seed and exposure."""
    rows = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(["python", SCRIPTS / "detector1_simulate.py", "512", str(seed), *EXPOSURES], folder)
            ours(folder, sorted(folder.glob("*_uncal.fits")), "out")
            result = folder / "judged.json"
            run(["python", SCRIPTS / "detector1_judge.py", folder / "out" / "0001", folder, result], folder)
            for what, found in zip(EXPOSURES, json.loads(result.read_text()).values(), strict=True):
                area = found["snowball_false_area"] / max(found["snowball_area"], 1)
                rows.append([
                    f"{seed}", what.replace(":", " "), f"{found['rays_flagged']:.4f} of {found['rays']}",
                    f"{100 * found['false_flags']:.2f}", f"{found['snowballs_found']} of {found['snowballs']}",
                    f"{found['snowball_halo']:.3f}" if found["snowballs"] else "-",
                    f"{area:.2f}" if found["snowball_area"] else "-",
                    f"{found['column_jumps_found']} of {found['column_jumps']}, {found['column_jumps_false']} false",
                    f"{found['pull_median']:+.3f} {found['pull_mad']:.3f}",
                    f"{1e3 * found['column_rms_before']:.1f} to {1e3 * found['column_rms']:.1f}",
                ])  # fmt: skip
    head = ["seed", "exposure", "rays above 5 sigma flagged", "false flags % of pixels", "snowballs whole",
            "halo flagged", "false over true area", "column jumps", "pull median, MAD", "column rms mDN/s"]  # fmt: skip
    return "detector1: quality (512 x 512)", head, rows


def tables() -> Iterator[Table]:
    """Title, head and rows of each table, as they are ready."""
    yield cost(512, EXPOSURES * 2, 3)
    yield cost(2048, FULL * 2, 1)
    yield quality()
