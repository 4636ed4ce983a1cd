"""Redshifts of simulated slitless spectra against their truth, and their cost beside msaexp's on the same spectra."""

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "fit_scene.py"

HEAD = (
    "spectra", "seed", "sources", "right", "right with 2 lines", "with 1", "NMAD with 2 lines", "flag 3",
    "of them wrong", "P > 0.99", "of them right", "mean P", "truth within 68 %", "PIT in fifths",
    "z pulls with 2 lines", "with 1", "line pulls", "flux / truth", "met",
)  # fmt: skip
COST_HEAD = ("sources", "fit alone, CPU s per source", "whole step", "with figures", "peak memory, MB", "met")
BESIDE_HEAD = ("fitter", "sources", "right", "right with 2 lines", "NMAD", "CPU s per source")

FIT_ALONE = """
import json, resource, sys, time
from dataclasses import fields
from pathlib import Path
from astropy.table import Table
from pureparallel import slitless_spectra
from pureparallel.core import lines, redshift_priors, slitless_fit, slitless_lines, templates
from pureparallel.steps import fit_redshift as step
import inspect
options = {k: p.default for k, p in inspect.signature(step.fit_redshift).parameters.items()}
families = lines.families(Table.read(sys.argv[1]))
stars = step.stellar_templates(Path(sys.argv[2]))
sources, setups = slitless_spectra.read(Path("spectra.fits"))
ids = [str(one) for one in sources["id"]]
taken = []
for _ in range(3):
    start = time.process_time()
    gathered = slitless_spectra.gather(setups, ids)
    settings = slitless_fit.Settings(**{f.name: options[f.name] for f in fields(slitless_fit.Settings)})
    chunk = slitless_fit.chunk([one.spectra for one in gathered], templates.mixtures(families), stars, settings)
    fitter = step.Fitter("field", families, chunk, gathered, setups, {}, options)
    for i, name in enumerate(ids):
        fitter.fit(i, {"id": name})
    taken.append((time.process_time() - start) / len(ids))
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
Path("alone.json").write_text(json.dumps({"cpu": sorted(taken)[1], "memory": memory}))
"""

CONTINUA = """
import glob, os, sys
import grizli
import numpy as np
folder = os.path.join(os.path.dirname(grizli.__file__), "data", "templates", "fsps")
wave = np.exp(np.arange(np.log(900), np.log(60000), 0.0005))
tables = [np.loadtxt(name) for name in sorted(glob.glob(os.path.join(folder, "fsps_QSF_12_v3_nolines_*.dat")))]
np.savez(sys.argv[1], wavelength=wave, flux=np.array([np.interp(wave, t[:, 0], t[:, 1]) for t in tables]))
"""

BESIDE = """
import contextlib, io, json, sys, time
from pathlib import Path
import numpy as np
from astropy.table import Table
from grizli import utils
from msaexp import spectrum
from pureparallel import slitless_spectra
count = int(sys.argv[1])
sources, setups = slitless_spectra.read(Path("spectra.fits"))
ids = [str(one) for one in sources["id"]][:count]
gathered = [one.spectra for one in slitless_spectra.gather(setups, ids)]
waves, ratios = utils.get_line_wavelengths()
wanted = ["Ha+NII", "Hb", "Hg", "OIII", "OII", "SII", "SIII", "HeI-1083", "PaB", "NeIII-3867"]
lines = [{k: waves[k] for k in wanted if k in waves}, {k: ratios[k] for k in wanted if k in ratios}]
settings = dict(
    vel_width=100, scale_disp=1.0, sys_err=0.0, nspline=13, use_full_dispersion=False, err_mask=None,
    err_median_filter=None, eazy_templates=lines, line_complexes=False,
)
def table(i):
    # what it takes is one spectrum: the mean of each filter's, with the mean width of the source
    columns = {name: [] for name in ("wave", "flux", "err", "R", "wave_step")}
    for one in gathered:
        valid = np.isfinite(one.flux[i]) & (one.err[i] > 0)
        weight = np.where(valid, np.where(valid, one.err[i], 1.0) ** -2.0, 0.0)
        total = weight.sum(axis=0)
        good = total > 0
        x = np.arange(one.profile.shape[2]) - one.profile.shape[2] // 2
        sigma = np.sqrt(np.mean(np.sum(one.profile[i] * x**2, axis=1) / one.profile[i].sum(axis=1)) + 1 / 12)
        step = one.wave[1] - one.wave[0]
        to_micro_jansky = 1e-20 * one.wave**2 / 2.998e18 * 1e29
        columns["wave"].append(one.wave[good] / 1e4)
        mean = (weight * np.where(valid, one.flux[i], 0)).sum(axis=0)[good] / total[good]
        columns["flux"].append(mean * to_micro_jansky[good])
        columns["err"].append(total[good] ** -0.5 * to_micro_jansky[good])
        columns["R"].append(one.wave[good] / (2.3548 * sigma * step))
        columns["wave_step"].append(np.full(good.sum(), step / 1e4))
    found = utils.GTable({name: np.concatenate(parts) for name, parts in columns.items()})
    found.meta["GRATING"], found.meta["FILTER"] = "PRISM", "CLEAR"
    return found
def fit(i):
    spec = table(i)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        z, chi2 = spectrum.fit_redshift_grid(spec, zgrid=utils.log_zgrid([0.05, 9.0], 0.002), **settings)
        near = z[chi2.argmin()] + np.array([-0.003, 0.003]) * (1 + z[chi2.argmin()])
        z, chi2 = spectrum.fit_redshift_grid(spec, zgrid=utils.log_zgrid(near, 1e-4), **settings)
    return float(z[chi2.argmin()])
fit(0)  # compiles
start = time.process_time()
found = [fit(i) for i in range(count)]
taken = (time.process_time() - start) / count
Path("beside.json").write_text(json.dumps({"z": found, "cpu": taken}))
"""


def run(folder: Path, environment: str, *command: object) -> float:
    """Run a command in an environment; CPU s of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [str(word) for word in (ROOT / "pixiw", "run", "--as-is", "-e", environment, *command)]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=variables)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def scene(folder: Path, kind: str, sources: int, seed: int) -> None:
    """Simulate spectra; ``niriss, FSPS`` has continua of stellar populations instead of power laws."""
    instrument, _, continua = kind.partition(", ")
    more = []
    if continua:
        run(folder, "msaexp", "python", "-c", CONTINUA, folder / "continua.npz")
        more = ["continua.npz"]
    run(folder, "jwst", "python", SCRIPT, instrument, sources, seed, *more)


def fit(folder: Path, figure_flag: int = 4) -> float:
    """Run the step; CPU s, start-up included."""
    return run(
        folder, "jwst", "pureparallel", "fit_redshift", "--field", "field", "--spectra", "spectra.fits", "--line-list",
        ROOT / "resources" / "lines.ecsv", "--continuum", ROOT / "resources" / "continuum.ecsv", "--redshifts",
        "redshifts.fits", "--figures", "figures", "--metrics", "fit.json", "--min-figure-flag", figure_flag,
    )  # fmt: skip


def judged(folder: Path) -> dict:
    """Redshifts against the truth."""
    run(folder, "jwst", "python", SCRIPT, "judge")
    return json.loads((folder / "judged.json").read_text())


def rows(
    kinds: Sequence[tuple[str, int]] = (("niriss", 200), ("niriss, FSPS", 200), ("nircam", 100)),
    seeds: Sequence[int] = (1, 2, 3),
) -> list[list[str]]:
    """Rows of `HEAD`. A single filter at high resolution leaves single lines ambiguous: no bar on all its sources."""
    table = []
    for kind, sources in kinds:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                scene(folder, kind, sources, seed)
                fit(folder)
                found = judged(folder)
            wrong = 1 - found["right_3"]
            met = found["nmad_several"] <= 2e-3 and wrong <= 0.02 and 0.9 <= found["pull"] <= 1.2
            met &= kind == "nircam" or found["right"] >= 0.85
            table.append([
                kind, str(seed), str(sources), f"{found['right']:.1%}", f"{found['right_several']:.1%}",
                f"{found['right_single']:.1%}", f"{found['nmad_several']:.1e}", str(found["flag_3"]), f"{wrong:.1%}",
                str(found["sure"]), f"{found['right_sure']:.1%}", f"{found['mean_p']:.3f}", f"{found['within_68']:.0%}",
                " ".join(map(str, found["pit"])), f"{found['z_pull_several']:.2f}", f"{found['z_pull_single']:.2f}",
                f"{found['pull']:.2f}", f"{found['flux_ratio']:.3f}", "yes" if met else "NO",
            ])  # fmt: skip
    return table


def costs(sizes: Sequence[int] = (50, 100, 200)) -> list[list[str]]:
    """Rows of `COST_HEAD`: three filters, two grisms, two rolls, the default grid, one chunk."""
    table = []
    for sources in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            scene(folder, "niriss", sources, 1)
            resources = (ROOT / "resources" / "lines.ecsv", ROOT / "resources" / "continuum.ecsv")
            run(folder, "jwst", "python", "-c", FIT_ALONE, *resources)
            alone = json.loads((folder / "alone.json").read_text())
            plain, drawn = fit(folder) / sources, fit(folder, 2) / sources
        met, memory = "yes" if alone["cpu"] <= 0.05 else "NO", f"{alone['memory']:.0f}"
        table.append([str(sources), f"{alone['cpu']:.4f}", f"{plain:.3f}", f"{drawn:.3f}", memory, met])
    return table


def beside(sources: int = 40) -> list[list[str]]:
    """Rows of `BESIDE_HEAD`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene(folder, "niriss", sources, 1)
        fit(folder)
        ours = judged(folder)
        resources = (ROOT / "resources" / "lines.ecsv", ROOT / "resources" / "continuum.ecsv")
        run(folder, "jwst", "python", "-c", FIT_ALONE, *resources)
        alone = json.loads((folder / "alone.json").read_text())["cpu"]
        run(folder, "msaexp", "python", "-c", BESIDE, sources)
        theirs = json.loads((folder / "beside.json").read_text())
        code = (
            "import json, sys; from astropy.table import Table; t = Table.read('truth.fits');"
            " print(json.dumps([t['z'].tolist(), t['lines'].tolist()]))"
        )
        words = [str(ROOT / "pixiw"), "run", "--as-is", "-e", "jwst", "python", "-c", code]
        done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
        truth, lines = json.loads(done.stdout)
    errors = [(z - t) / (1 + t) for z, t in zip(theirs["z"], truth, strict=True)]
    good = [abs(error) < 0.01 for error in errors]
    several = [ok for ok, count in zip(good, lines, strict=True) if count >= 2]
    middle = sorted(errors)[len(errors) // 2]
    width = 1.4826 * sorted(abs(error - middle) for error in errors)[len(errors) // 2]
    found = {
        "fit_redshift": (ours["right"], ours["right_several"], ours["nmad"], alone),
        "msaexp": (sum(good) / len(good), sum(several) / len(several), width, theirs["cpu"]),
    }
    return [
        [name, str(sources), f"{right:.1%}", f"{several:.1%}", f"{nmad:.1e}", f"{cpu:.3f}"]
        for name, (right, several, nmad, cpu) in found.items()
    ]


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    yield "Redshifts of slitless spectra (simulated, three seeds)", HEAD, rows()
    yield "Their cost (three filters, two grisms, two rolls)", COST_HEAD, costs()
    yield "Beside msaexp's SpectrumSampler, on the mean of each filter's spectra", BESIDE_HEAD, beside()
