"""Photometric redshifts: how right they are from few and from many filters, and what a large field costs."""

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "photoz_scene.py"
FILTERS = {
    "NIRISS 3": "F115W,F150W,F200W",
    "NIRISS 4": "F090W,F115W,F150W,F200W",
    "7": "F090W,F115W,F150W,F200W,F277W,F356W,F444W",
}

HEAD = (
    "filters", "seed", "prior", "galaxies", "NMAD", "beyond 0.15", "of them sure", "NMAD", "beyond 0.15",
    "truth within 68 %", "median risk",
)  # fmt: skip
COST_HEAD = ("sources", "filters", "processes", "CPU s", "wall s", "peak memory of one, MB", "met")

SCORE = """
import json, sys
import numpy as np
from astropy.io import fits
from pureparallel.core import photoz
with fits.open("z.fits") as hdus:
    rows, grid, pz = hdus["PHOTOZ"].data, hdus["ZGRID"].data["z"].astype(float), hdus["PZ"].data.astype(float)
true, good = np.load("spectra.npz")["z"], rows["reason"] == ""
sure = good & (rows["risk"] < photoz.SURE)
pit = photoz.below(grid, pz[good], true[good])
print(json.dumps({
    "all": photoz.score(rows["z_phot"][good], true[good]), "sure": photoz.score(rows["z_phot"][sure], true[sure]),
    "within": float(np.mean((pit > 0.16) & (pit < 0.84))), "risk": float(np.median(rows["risk"][good])),
}))
"""

MANY = """
import sys
import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
with fits.open("photometry.fits") as hdus:
    few = Table(hdus["PHOTOMETRY"].data)[:-4]
many = few[np.arange(int(sys.argv[1])) % len(few)]
many["id"] = np.arange(1, len(many) + 1)
rng = np.random.default_rng(1)
for name in many.colnames:
    if name.startswith("flux_err_"):
        many[name.replace("_err", "")] += rng.normal(size=len(many)) * many[name]
fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(many, name="PHOTOMETRY")]).writeto("many.fits", checksum=True)
"""


TIMED = """
import resource, sys, time
from pathlib import Path
from pureparallel.steps.photoz import photoz
start, made = time.perf_counter(), {"redshifts": Path("z.fits"), "figure": Path("z.png"), "metrics": Path("z.json")}
photoz(field="many", photometry=Path("many.fits"), threads=int(sys.argv[1]), **made)
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(time.perf_counter() - start, peak)
"""


def run(folder: Path, environment: str, *command: object) -> str:
    """Run a command in an environment; what it prints."""
    words = [str(word) for word in (ROOT / "pixiw", "run", "--as-is", "-e", environment, *command)]
    single = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, check=True, capture_output=True, env=single, text=True)
    return done.stdout


def fit(folder: Path, photometry: str, *more: object) -> None:
    """Run the step."""
    run(
        folder, "msaexp", "pureparallel", "photoz", "--field", "scene", "--photometry", photometry, "--redshifts",
        "z.fits", "--figure", "z.png", "--metrics", "z.json", *more,
    )  # fmt: skip


def rows(seeds: Sequence[int] = (1, 2, 3), sources: int = 300) -> list[list[str]]:
    """Rows of `HEAD`: galaxies of 20 to 26 mag, as many in each magnitude, of which the templates know nothing."""
    table = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(folder, "jwst", "python", SCRIPT, "spectra", seed, sources)
            for label, filters in FILTERS.items():
                run(folder, "msaexp", "python", SCRIPT, "photometry", filters)
                for prior in ("magnitude", "flat"):
                    fit(folder, "photometry.fits", "--prior", prior)
                    found = json.loads(run(folder, "msaexp", "python", "-c", SCORE))
                    every, sure = found["all"], found["sure"]
                    table.append([
                        label, str(seed), prior, str(every["sources"]), f"{every['nmad']:.3f}",
                        f"{every['outliers']:.0%}", str(sure["sources"]), f"{sure['nmad']:.3f}",
                        f"{sure['outliers']:.0%}", f"{found['within']:.0%}", f"{found['risk']:.2f}",
                    ])  # fmt: skip
    return table


def costs(sources: Sequence[int] = (2000, 20000), threads: int = 1) -> list[list[str]]:
    """Rows of `COST_HEAD`, start-up included; bars: 20,000 sources in 15 CPU min, 4 GB."""
    table = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, "jwst", "python", SCRIPT, "spectra", 1, 300)
        for label in ("NIRISS 3", "7"):
            run(folder, "msaexp", "python", SCRIPT, "photometry", FILTERS[label])
            for count in sources:
                (folder / "many.fits").unlink(missing_ok=True)
                run(folder, "msaexp", "python", "-c", MANY, count)
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                wall, peak = run(folder, "msaexp", "python", "-c", TIMED, threads).split()[-2:]
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                met = cpu < 900 * max(count / 20000, 0.05) and float(peak) / 1024 < 4096
                table.append([
                    str(count), label, str(threads), f"{cpu:.0f}", f"{float(wall):.0f}", f"{float(peak) / 1024:.0f}",
                    "yes" if met else "NO",
                ])  # fmt: skip
    return table


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    yield "Photometric redshifts (three seeds)", HEAD, rows()
    yield "Their cost", COST_HEAD, costs()


if __name__ == "__main__":
    for title, head, lines in tables():
        print(title, head, *lines, sep="\n", flush=True)
