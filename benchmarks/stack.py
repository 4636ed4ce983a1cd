"""Stacked slitless spectra against known lines and empty sky, and their cost: rows of ``benchmarks/run.py``."""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "stack_scene.py"

HEAD = (
    "seed", "grism", "filter", "lines", "zero point, pixels", "flux / truth", "its error", "pulls", "met",
)  # fmt: skip
WHOLE_HEAD = ("seed", "line pulls", "R less C, pulls", "sky, 1 bin", "3 bins", "10 bins", "met")
COST_HEAD = ("sources", "exposures", "spectra", "CPU s", "peak memory, MB")

KNOWN = 0.03
"""Part by which line fluxes are uncertain beside their noise: images do not tell profiles better."""

PLACED = 0.05
"""Pixels by which single lines are off beside their noise, likewise."""

COPIES = """
import json, shutil, sys
from pathlib import Path
import numpy as np
from astropy.io import fits
from astropy.table import Table, vstack
from pureparallel import spec2_files
from pureparallel.steps.stack import stack
times = int(sys.argv[1])
catalogue = Table.read("cat.ecsv", format="ascii.ecsv")
ids = np.asarray(catalogue["label"])
many = vstack([catalogue] * times)
many["label"] = np.arange(len(many)) + 1
many.write("many.ecsv", format="ascii.ecsv", overwrite=True)
Path("many").mkdir()
for path in sorted(Path("cut").glob("*_spec2.fits")):
    name = path.name.removesuffix("_spec2.fits")
    shutil.copy(Path("cut") / f"{name}.metrics.json", "many")
    with fits.open(path) as hdus:
        table = Table(hdus["SOURCES"].data)
        pixels, columns = len(hdus["SCI"].data), len(hdus["WAVELENGTH"].data)
        profiles, parts = len(hdus["ALONG"].data), []
        for k in range(times):
            one = table.copy()
            one["id"] = np.searchsorted(np.sort(ids), one["id"]) + 1 + k * len(ids)
            one["first"] += k * pixels
            one["first_column"] += k * columns
            one["first_profile"] += k * profiles
            parts.append(one)
        new = [hdus[0].copy()]
        new.append(fits.BinTableHDU(vstack(parts), name="SOURCES"))
        for name_of in (*spec2_files.PIXELS, *spec2_files.PER_COLUMN, *spec2_files.PROFILES):
            new.append(fits.ImageHDU(np.tile(hdus[name_of].data, times), name=name_of))
        fits.HDUList(new).writeto(Path("many") / path.name)
stack(
    field="many", cutouts=[Path("many")], catalogue=Path("many.ecsv"), index=1, of=1, spectra=Path("m_spectra.fits"),
    stacks=Path("m_stacks.fits"), figure=Path("m.png"), metrics=Path("many.json"),
)
"""
"""The scene's sources many times over: cost does not depend on where they are."""


def python(folder: str, *arguments: object) -> None:
    """A script in the environment jwst."""
    command = [ROOT / "pixiw", "run", "--as-is", "-e", "jwst", "python", *arguments]
    subprocess.run([str(part) for part in command], cwd=folder, check=True, capture_output=True)


def run(seed: int, times: int = 0) -> dict:
    """One scene, see tests/integration/stack_scene.py; with `times`, also the cost of so many times its sources."""
    with tempfile.TemporaryDirectory() as folder:
        python(folder, SCRIPT, 512, seed)
        found = json.loads((Path(folder) / "stack.json").read_text())
        if times:
            python(folder, "-c", COPIES, times)
            found["many"] = json.loads((Path(folder) / "many.json").read_text())
        return found


def spread(values: Sequence[float]) -> float:
    """Standard deviation, by the median absolute value."""
    return 1.483 * statistics.median(abs(value) for value in values)


def lines(seed: int, found: dict) -> Iterator[list[str]]:
    """Rows of `HEAD`."""
    kinds = sorted({(row["filter"], row["grism"]) for row in found["lines"]})
    for filter, grism in kinds:
        all_of = [row for row in found["lines"] if (row["filter"], row["grism"]) == (filter, grism)]
        strong = [row for row in all_of if row["error"] < 0.2]
        weights = [1 / (row["error"] ** 2 + KNOWN**2) for row in strong]
        mean = sum(w * row["ratio"] for w, row in zip(weights, strong, strict=True)) / sum(weights)
        sharp = [1 / (row["shift_error"] ** 2 + PLACED**2) for row in strong]
        shift = sum(w * row["shift"] for w, row in zip(sharp, strong, strict=True)) / sum(sharp)
        error, pulls = sum(weights) ** -0.5, spread([(row["ratio"] - 1) / row["error"] for row in all_of])
        met = {"zero point": abs(shift) <= 0.3, "flux": abs(mean - 1) <= 0.05}
        yield [
            str(seed), grism, filter, str(len(all_of)), f"{shift:+.3f}", f"{mean:.3f}", f"{error:.3f}", f"{pulls:.2f}",
            ", ".join(f"{key}: {'yes' if value else 'NO'}" for key, value in met.items()),
        ]  # fmt: skip


def whole(seed: int, found: dict) -> list[str]:
    """The row of `WHOLE_HEAD`."""
    pulls = spread([(row["ratio"] - 1) / row["error"] for row in found["lines"]])
    keyed = {(row["source"], row["filter"], row["roll"], row["grism"]): row for row in found["lines"]}
    off = [
        (one["ratio"] - keyed[*key[:3], "GR150C"]["ratio"])
        / (one["error"] ** 2 + keyed[*key[:3], "GR150C"]["error"] ** 2) ** 0.5
        for key, one in keyed.items()
        if key[3] == "GR150R" and (*key[:3], "GR150C") in keyed
    ]
    met = {
        "pulls": 0.9 <= pulls <= 1.2, "grisms": spread(off) <= 1.2,
        "sky": all(0.9 <= value <= 1.1 for value in found["blank"].values()),
    }  # fmt: skip
    return [
        str(seed), f"{pulls:.2f}", f"{spread(off):.2f}", *(f"{found['blank'][size]:.3f}" for size in ("1", "3", "10")),
        ", ".join(f"{key}: {'yes' if value else 'NO'}" for key, value in met.items()),
    ]  # fmt: skip


def tables(seeds: Sequence[int] = (1, 2, 3), times: int = 11) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows of all tables.

    Parameters
    ----------
    seeds : sequence of int
    times : int
        The sources of the first scene that often, for the cost.
    """
    found = {seed: run(seed, times if seed == seeds[0] else 0) for seed in seeds}
    title = "Stacked spectra: lines of known wavelength and flux (bars: 0.3 pixels, 5 %)"
    yield title, HEAD, [row for seed, one in found.items() for row in lines(seed, one)]
    title = "Stacked spectra: errors of lines, between grisms, and of sums of bins of empty sky (bars: 0.9 to 1.2, 1.1)"
    yield title, WHOLE_HEAD, [whole(seed, one) for seed, one in found.items()]
    many = found[seeds[0]]["many"]
    keys = ("sources", "exposures", "spectra", "cpu_seconds", "peak_memory_mb")
    yield "Stacking a field in one process", COST_HEAD, [[str(many[key]) for key in keys]]


if __name__ == "__main__":
    for title, head, rows in tables():
        for row in ([title], head, *rows):
            print("\t".join(row))
