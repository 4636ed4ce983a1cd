"""Cost and quality, printed as tables: ``pixi run bench``.

Costs are CPU seconds and medians of runs made in turn, so that a machine that slows down slows all of them; compare the
ratios, not the seconds.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIXIW = str(ROOT / "pixiw")
RUNS = 7


def cost(command: Sequence[str], cwd: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command and its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(commands: dict[str, Sequence[str]], cwd: Path, runs: int = RUNS) -> dict[str, tuple[float, float]]:
    """Median wall and CPU seconds of commands, run in turn after one warm-up each."""
    for command in commands.values():
        cost(command, cwd)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            taken[name].append(cost(command, cwd))
    return {
        name: (statistics.median(w for w, _ in values), statistics.median(c for _, c in values))
        for name, values in taken.items()
    }


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def overhead() -> None:
    """What a rule costs beyond its work: launcher, interpreter, package, and the imports of its environment."""
    imports = {
        "default": "import astropy.io.fits, astropy.table",
        "jwst": "import jwst.pipeline",
        "msaexp": "from msaexp import slit_combine, spectrum",
    }
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for name, code in imports.items():
            inside = [PIXIW, "run", "--as-is", "-e", name]
            found = measure(
                {
                    "launcher": [*inside, "true"],
                    "python": [*inside, "python", "-c", ""],
                    "package": [*inside, "pureparallel", "--version"],
                    "imports": [*inside, "python", "-c", code],
                },
                Path(folder),
            )
            cells = [f"{wall:.2f} / {cpu:.2f}" for wall, cpu in found.values()]
            rows.append([name, *cells])
    head = ["environment", "launcher", "+ python", "+ pureparallel", "+ its imports"]
    table("Start-up, wall / CPU s (median of 7, in turn)", head, rows)


def parsing() -> None:
    """What Snakemake costs to start, to read the workflow and to plan; every remote job pays the second."""
    inside = [PIXIW, "run", "--as-is", "-e", "default", "python", "-m"]
    code = (
        "from pathlib import Path; from pureparallel import config;"
        " config.load({'fields': ['ceers-msa']}, Path('config/fields'))"
    )
    found = measure(
        {
            "snakemake --version": [*inside, "snakemake", "--version"],
            "reading the configuration alone": [*inside[:-2], "python", "-c", code],
            "snakemake --list-rules": [*inside, "snakemake", "--list-rules"],
            "snakemake -n": [*inside, "snakemake", "-n", "--quiet"],
        },
        ROOT,
    )
    table("Parsing, s", ["command", "wall", "CPU"], [[k, f"{w:.2f}", f"{c:.2f}"] for k, (w, c) in found.items()])


def planning() -> None:
    """Dry runs of growing fields."""
    rows = []
    for sources in (100, 1000, 5000):
        with tempfile.TemporaryDirectory() as folder:
            for part in ("config", "locks", "profiles", "resources", "workflow"):
                shutil.copytree(ROOT / part, Path(folder) / part, symlinks=True)
            tsv = Path(folder) / "config" / "fields" / "ceers-msa.tsv"
            header, *lines = tsv.read_text().splitlines()
            more = [line.replace("1345_933", f"1345_{10000 + i}") for i in range(sources) for line in lines]
            tsv.write_text("\n".join([header, *more]) + "\n")
            command = [PIXIW, "run", "--as-is", "-e", "default", "python", "-m", "snakemake", "-n", "--quiet"]
            wall, cpu = cost(command, Path(folder))
        rows.append([f"{sources}", f"{3 * sources}", f"{wall:.1f}", f"{cpu:.1f}"])
    table("Planning a field of NIRSpec sources, s (one run)", ["sources", "slitlets", "wall", "CPU"], rows)


def quality() -> None:
    """The demonstration's redshift against the values of msaexp's own tests, with cost and memory of its jobs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [PIXIW, "run", "--as-is", "-e", "default", "python", "-m", "snakemake", "--cores", "1"]
        arguments = ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--directory", folder, "--benchmark-extended"]
        wall, cpu = cost([*command, *arguments, "--configfile", str(ROOT / "config" / "config.yaml")], Path(folder))
        found = json.loads((Path(folder) / "results/ceers-msa/ceers-msa_redshifts.metrics.json").read_text())
        code = (
            "from astropy.table import Table; r = Table.read('results/ceers-msa/ceers-msa_redshifts.fits',"
            " hdu='REDSHIFTS')[0]; print(f\"{r['z']:.4f} {r['z_low']:.4f} {r['z_high']:.4f} {r['chi2_dof']:.2f}"
            " {r['flux_OIII-5008'] / r['flux_err_OIII-5008']:.0f}\")"
        )
        shown = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        jobs = [
            json.loads(p.read_text().splitlines()[0]) for p in sorted(Path(folder).glob("logs/benchmarks/*/*.jsonl"))
        ]
    z, low, high, chi2, snr = shown.stdout.split()
    head = ["z", "z_low", "z_high", "msaexp's tests", "chi2/dof", "[OIII]5008 S/N", "flags", "wall s", "CPU s"]
    row = [z, low, high, "4.2337-4.2341", chi2, snr, str(found["flags"]), f"{wall:.0f}", f"{cpu:.0f}"]
    table("Demonstration", head, [row])
    rows = [[job["rule_name"], f"{job['s']:.1f}", f"{job['cpu_time']:.1f}", f"{job['max_rss']:.0f}"] for job in jobs]
    table("Its jobs", ["rule", "wall s", "CPU s", "peak memory MB"], rows)


def main() -> None:
    """Run all, or those named."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    known = {function.__name__: function for function in (overhead, parsing, planning, quality)}
    for name in sys.argv[1:] or known:
        known[name]()


if __name__ == "__main__":
    main()
