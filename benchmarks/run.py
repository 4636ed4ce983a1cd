"""Cost and quality, printed as tables: ``pixi run bench``.

Costs are CPU seconds and medians of runs made in turn, so that a machine that slows down slows all of them; compare the
ratios, not the seconds.
"""

import importlib
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


def demonstration() -> None:
    """The demonstration's redshift against the values of msaexp's own tests, its count rates, and its jobs by rule."""
    with tempfile.TemporaryDirectory() as folder:
        command = [PIXIW, "run", "--as-is", "-e", "default", "python", "-m", "snakemake", "--cores", "1"]
        arguments = ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--directory", folder, "--benchmark-extended"]
        wall, cpu = cost([*command, *arguments, "--configfile", str(ROOT / "config" / "config.yaml")], Path(folder))
        results = Path(folder) / "results"
        found = json.loads((results / "ceers-msa/ceers-msa_redshifts.metrics.json").read_text())
        code = (
            "from astropy.table import Table; r = Table.read('results/ceers-msa/ceers-msa_redshifts.fits',"
            " hdu='REDSHIFTS')[0]; print(f\"{r['z']:.4f} {r['z_low']:.4f} {r['z_high']:.4f} {r['chi2_dof']:.2f}"
            " {r['flux_OIII-5008'] / r['flux_err_OIII-5008']:.0f}\")"
        )
        shown = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
        rates = json.loads((results / "sim-niriss/sim-niriss_validate_rates.metrics.json").read_text())["exposures"]
        jobs = [
            json.loads(p.read_text().splitlines()[0]) for p in sorted(Path(folder).glob("logs/benchmarks/*/*.jsonl"))
        ]
    z, low, high, chi2, snr = shown.stdout.split()
    head = ["z", "z_low", "z_high", "msaexp's tests", "chi2/dof", "[OIII]5008 S/N", "flags", "wall s", "CPU s"]
    row = [z, low, high, "4.2337-4.2341", chi2, snr, str(found["flags"]), f"{wall:.0f}", f"{cpu:.0f}"]
    table("Demonstration, all of it on one core; its NIRSpec source", head, [row])
    ranges = [f"{min(values):.3f} to {max(values):.3f}" for values in (
        [one[key] for one in rates.values()] for key in ("median", "mad")
    )]  # fmt: skip
    table("Its count rates against the truth", ["exposures", "median pull", "width"], [[str(len(rates)), *ranges]])
    rows = []
    for rule in sorted({job["rule_name"] for job in jobs}):
        mine = [job for job in jobs if job["rule_name"] == rule]
        peak = max(job["max_rss"] for job in mine)
        rows.append([rule, str(len(mine)), f"{sum(job['cpu_time'] for job in mine):.0f}", f"{peak:.0f}"])
    table("Its jobs", ["rule", "jobs", "CPU s, sum", "peak memory MB"], rows)


def simulation() -> None:
    """One exposure of the whole detector, direct and dispersed: cost and memory."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        command = [PIXIW, "run", "--as-is", "-e", "default", "python", "-m", "snakemake", "--cores", "1"]
        arguments = ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--directory", folder, "--benchmark-extended"]
        targets = [
            f"results/sim-niriss-full/uncal/jw09998001001_02101_{n:05d}_nis_uncal.fits" for n in (1, 2)
        ]  # a direct exposure and one through GR150R
        cost([*command, *arguments, "--config", "fields=[sim-niriss-full]", "--", *targets], Path(folder))
        for path in sorted(Path(folder).glob("logs/benchmarks/simulate_exposure/*.jsonl")):
            job = json.loads(path.read_text().splitlines()[0])
            rows.append([job["wildcards"]["exposure"], f"{job['cpu_time']:.0f}", f"{job['max_rss']:.0f}"])
    table("Simulating 2048 x 2048, 6 groups (bars: 60 CPU s, 3000 MB)", ["exposure", "CPU s", "peak memory MB"], rows)


def stages() -> list[str]:
    """Steps that have a benchmark of their own."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "run")


def main() -> None:
    """Run all, or those named."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    whole = {one.__name__: one for one in (overhead, parsing, planning, demonstration, simulation)}
    steps = stages()
    for name in sys.argv[1:] or (*whole, *steps):
        if name in whole:
            whole[name]()
        elif name in steps:
            for title, head, rows in importlib.import_module(name).tables():
                table(title, head, rows)
        else:
            sys.exit(f"bench: there is no {name!r}; there are {', '.join((*whole, *steps))}")


if __name__ == "__main__":
    main()
