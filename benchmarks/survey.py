"""Planning a whole survey: ``pixi run bench survey``.

``python benchmarks/survey.py FOLDER [FIELDS EXPOSURES CHUNK]`` writes one without data, of the size that is measured
here: 200 fields, 10,000 exposures, and more than 100,000 sources, of which nobody knows before they are found. Fields,
filters, grisms, readouts and times are as mixed as in real pure-parallel programmes: few fields are deep and most are
shallow, dispersed exposures stand between direct ones, and nothing but the manifests exists.

``python benchmarks/survey.py run ARGUMENTS`` is Snakemake whose jobs do nothing but make empty products: what is left
is what a run costs besides its jobs, and what lies on disk at once.
"""

import csv
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from pureparallel import config, projection, schemas

ROOT = Path(__file__).parents[1]
INSIDE = [str(ROOT / "pixiw"), "run", "--as-is", "-e", "default", "python", "-m"]
SNAKEMAKE = [*INSIDE, "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
LAUNCH = [*INSIDE, "pureparallel.launch", *SNAKEMAKE[-2:]]
FIELDS, EXPOSURES = 200, 10_000

COLUMNS = (
    *("exposure", "instrument", "mode", "filter", "pupil", "grism", "readpatt", "ngroups", "exptime", "start"),
    *("program", "visit", "kind", "guide_star", "footprint", "size", "checksum", "access", "released", "uri"),
)
FILTER_SETS = (("F200W",), ("F150W",), ("F115W", "F200W"), ("F150W", "F200W"), ("F115W", "F150W", "F200W"))
ODDS = (2, 1, 3, 3, 6)
SIDE = 133.0 / 3600
"""Degrees of NIRISS's field of view."""


def shares(total: int, fields: int, dice: random.Random) -> list[int]:
    """Exposures per field: log-normal, at least three, `total` in all."""
    weights = [dice.lognormvariate(0, 0.8) for _ in range(fields)]
    counts = [max(3, math.floor(total * weight / sum(weights))) for weight in weights]
    counts[counts.index(max(counts))] += total - sum(counts)
    return counts


def sequence(filters: tuple[str, ...], count: int) -> Iterator[tuple[str, str]]:
    """Filter and grism ('' for a direct image) of exposures in their order: images around each pair of spectra."""
    done = 0
    while True:
        for name in filters:
            for grism in ("", "GR150C", "GR150C", "", "GR150R", "GR150R", ""):
                yield name, grism
                done += 1
                if done == count:
                    return


def footprint(ra: float, dec: float) -> str:
    """A square on the sky, as the manifest has it."""
    half, stretch = SIDE / 2, math.cos(math.radians(dec))
    corners = ((-half, -half), (half, -half), (half, half), (-half, half))
    return "POLYGON ICRS" + "".join(f" {ra + x / stretch:.6f} {dec + y:.6f}" for x, y in corners)


def rows(number: int, count: int, start: datetime, dice: random.Random) -> Iterator[dict[str, str]]:
    """Rows of one field's manifest."""
    filters = dice.choices(FILTER_SETS, ODDS)[0]
    ra, dec = dice.uniform(1, 359), dice.uniform(-60, 60)
    rapid, program = dice.random() < 0.2, 1000 + number
    for i, (name, grism) in enumerate(sequence(filters, count)):
        visit = f"{i // 60 % 999 + 1:03d}001"
        exposure = f"jw{program:05d}{visit}_{i // 10 % 60 + 2:02d}101_{i % 60 + 1:05d}_nis"
        groups = dice.randint(8, 15) if grism else dice.randint(4, 8)
        groups *= 3 if rapid and not grism else 1
        seconds = groups * (10.737 if rapid and not grism else 42.947)
        yield {
            "exposure": exposure, "instrument": "NIRISS", "mode": "niriss_wfss" if grism else "niriss_image",
            "filter": name, "pupil": name, "grism": grism,
            "readpatt": "NISRAPID" if rapid and not grism else "NIS", "ngroups": str(groups),
            "exptime": f"{seconds:.3f}", "start": start.isoformat(), "program": str(program), "visit": visit,
            "kind": "pure_parallel", "guide_star": f"S1AB{number:06d}",
            "footprint": footprint(ra + i % 5 * 1e-4, dec + i % 7 * 1e-4),
            "size": str(2048 * 2048 * 2 * groups + 80_000), "checksum": f"md5:{i:032x}", "access": "public",
            "released": "2025-01-01", "uri": f"mast:JWST/product/{exposure}_uncal.fits",
        }  # fmt: skip
        start += timedelta(seconds=round(seconds) + 45 if (i + 1) % 7 else round(seconds) + 600)


def write(folder: Path, fields: int = FIELDS, exposures: int = EXPOSURES, chunk: int = 10, seed: int = 1) -> None:
    """Write a survey's configuration and manifests.

    Parameters
    ----------
    folder : Path
        The working folder; config/ is made in it.
    fields, exposures : int
    chunk : int
        Exposures per process.
    seed : int
    """
    dice = random.Random(seed)
    home = folder / "config" / "fields"
    home.mkdir(parents=True)
    names = [f"survey-{number:04d}" for number in range(1, fields + 1)]
    content = {"fields": names, "crds": {"context": "jwst_1413.pmap"}, "detector1": {"chunk": chunk}}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    begin = datetime(2024, 1, 1)
    for number, (name, count) in enumerate(zip(names, shares(exposures, fields, dice), strict=True), start=1):
        (home / f"{name}.yaml").write_text(f"description: Field {number} of a survey without data.\nsource: mast\n")
        with (home / f"{name}.tsv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
            table.writeheader()
            table.writerows(rows(number, count, begin + timedelta(hours=80 * number), dice))


def cost(folder: Path, *command: str) -> tuple[float, float, str]:
    """CPU seconds and peak memory in MB of a command, and what it printed."""
    log = folder / "cost.log"
    with log.open("wb") as file:
        child = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text


def job(folder: Path, rule: str, wildcards: str) -> tuple[float, float, str]:
    """What a job on a cluster costs before it does anything: Snakemake's start, and reading the workflow."""
    arguments = ["--mode", "remote", "--executor", "dryrun", "--allowed-rules", rule, "--nolock", "--cores", "1"]
    return cost(
        folder, *INSIDE, "pureparallel.job", *SNAKEMAKE[-2:], *arguments, "--target-jobs", f"{rule}:{wildcards}"
    )


def parsing(folder: Path) -> Iterator[tuple[str, float, float]]:
    """Commands that read the survey and plan nothing, with CPU seconds and MB."""
    first = next(csv.DictReader((folder / "config" / "fields" / "survey-0001.tsv").open(), delimiter="\t"))
    chunk = f"{first['filter']}-image-0001"
    yield "Snakemake alone (--version)", *cost(folder, *INSIDE, "snakemake", "--version")[:2]
    yield "parsing, as the driver (--list-rules)", *cost(folder, *SNAKEMAKE, "--list-rules")[:2]
    yield "a job of detector1 on a cluster", *job(folder, "detector1", f"field=survey-0001,chunk={chunk}")[:2]
    # it asks for the times of all fields' exposures
    yield "a job of persistence on a cluster", *job(folder, "persistence", f"field=survey-0001,chunk={chunk}")[:2]
    yield "pixi run plan", *cost(folder, *INSIDE, "pureparallel.projection")[:2]


def run_empty(arguments: Sequence[str]) -> None:
    """Run Snakemake as ``pixi run snakemake`` does, on empty products; writes what it took to empty.json."""
    from pureparallel import launch
    from snakemake import cli  # before its executors: they import each other
    from snakemake.executors import local

    del cli
    dropped, most, done = set[Path](), 0, 0
    alone = threading.Lock()

    def make(_executor: object, job: Any, *_: object) -> None:
        nonlocal dropped, most, done
        for file in (*job.output, *job.log, *([job.benchmark] if job.benchmark else [])):
            path = Path(str(file))
            path.parent.mkdir(parents=True, exist_ok=True)
            if getattr(file, "is_directory", False):
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(b"")
        with alone:
            dropped = {path for path in dropped if path.exists()} | {Path(str(file)) for file in job.temp_output}
            most, done = max(most, len(dropped)), done + 1

    local.Executor.cached_or_run = make
    try:
        launch.main([*SNAKEMAKE[-2:], *arguments])
    finally:
        used = resource.getrusage(resource.RUSAGE_SELF)
        told = {"jobs": done, "most": most, "cpu": used.ru_utime + used.ru_stime, "mb": used.ru_maxrss / 1024}
        Path("empty.json").write_text(json.dumps(told))


def empty(folder: Path, drop: Sequence[str], *arguments: str) -> dict[str, float]:
    """What a run on empty products took: `jobs`, `cpu` [s], `mb`, and the `most` dropped products that lay there."""
    content = yaml.safe_load((folder / "config" / "config.yaml").read_text()) | {"drop": [*drop]}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    cost(folder, *INSIDE[:-1], str(Path(__file__)), "run", "--quiet", "rules", *arguments)
    found: dict[str, float] = json.loads((folder / "empty.json").read_text())
    return found


def driven(fields: int, exposures: int) -> list[str]:
    """A row on a run whose jobs do nothing."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), fields, exposures, chunk=1)
        start = time.monotonic()
        found = empty(Path(name), ("download", "image2"), "--cores", "8", "--resources", "mast=4")
        wall = time.monotonic() - start
    each = f"{1e3 * found['cpu'] / found['jobs']:.1f}"
    return [f"{exposures}", f"{found['jobs']:.0f}", f"{wall:.0f}", each, f"{found['mb']:.0f}", f"{found['most']:.0f}"]


def planned(folder: Path, name: str, *arguments: str) -> list[str]:
    """A row on a dry run that prints no job; to print them all takes as long again."""
    cpu, memory, _ = cost(folder, *LAUNCH, "-n", "--quiet", "rules", "progress", *arguments)
    return [name, "" if arguments else str(jobs(folder)), f"{cpu:.1f}", f"{memory:.0f}"]


def jobs(folder: Path) -> int:
    """How many jobs the survey has."""
    fields = config.load(schemas.read_yaml(folder / "config" / "config.yaml"), folder / "config" / "fields")
    return sum(one.jobs for costs in projection.of_survey(fields).values() for one in costs.values())


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Title, head and rows."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        head = f"A survey of {FIELDS} fields and {EXPOSURES} exposures"
        rows = [[what, f"{cpu:.2f}", f"{memory:.0f}"] for what, cpu, memory in parsing(Path(name))]
        yield f"{head}: reading it (bar: 1.5 CPU s per job)", ["what", "CPU s", "peak memory MB"], rows
        field = "results/survey-0128/survey-0128_photoz.fits"
        rows = [planned(Path(name), "one field, the largest", "--", field), planned(Path(name), "10 exposures per job")]
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), chunk=1)
        rows.append(planned(Path(name), "1 exposure per job"))
    yield f"{head}: dry runs (bars: 120 CPU s, 2000 MB)", ["dry run", "jobs", "CPU s", "peak memory MB"], rows
    head = ["exposures", "jobs", "wall s", "CPU ms per job", "peak memory MB", "dropped products at once"]
    rows = [driven(fields, exposures) for fields, exposures in ((10, 500), (40, 2000))]
    yield "Runs whose jobs do nothing: raw exposures and calibrated images dropped, 8 jobs at once", head, rows


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run_empty(sys.argv[2:])
    else:
        write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
