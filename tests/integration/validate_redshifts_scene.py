"""A field's redshifts and spectra, wrong in known ways, beside a simulated sky; in environment jwst.

``validate_redshifts_scene.py <seed> <lines.ecsv>`` writes truth.fits, table.fits, spectra.fits and known.ecsv in the
working folder.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from pureparallel import redshift_rows, slitless_spectra
from pureparallel.core import lines as line_lists
from pureparallel.core.redshift import log_grid
from pureparallel.provenance import Lineage
from pureparallel.simulate import sed, sky
from pureparallel.slitless_spectra import Setup

CENTRE = (150.1, 2.2)
GRID = log_grid(0.05, 9, 0.001)
SIGMA, WRONG, SCATTER, EAST = 1e-3, 0.3, 2.0, 0.1
"""Of ln(1+z); part of flag 1 that is wrong; scatter of line fluxes over their error; arcsec that positions are off."""

FILTERS = {"F115W": (1.013, 1.283), "F150W": (1.330, 1.671), "F200W": (1.751, 2.226)}
ERROR = 4.0


def rows_of(truth: Table, families: list, rng: np.random.Generator) -> list[dict]:
    """A row per galaxy: the odd ones of flag 3 and right, the even ones of flag 1 and sometimes wrong; then a star."""
    rows = []
    for i, one in enumerate(truth):
        east = EAST / 3600 / np.cos(np.deg2rad(CENTRE[1]))
        row = redshift_rows.empty(str(i + 1), float(one["ra"]) + east, float(one["dec"]), "", families)
        true = 1.0 if str(one["kind"]) == "star" else float(one["z"])
        x = np.log1p(true) + SIGMA * rng.normal()
        flag = 3 if i % 2 else 1
        if flag == 1 and rng.uniform() < WRONG:
            x += 0.3
        row |= {"z": np.expm1(x), "z_low": np.expm1(x - SIGMA), "z_high": np.expm1(x + SIGMA), "flag": flag}
        for family in sed.FAMILIES:
            flux, error = float(one[family.column]), 1e-18
            name = "Ha+NII" if family.name == "Ha" else family.name
            flux += float(one["flux_NII"]) if family.name == "Ha" else 0.0
            if f"flux_{name}" in row:
                row |= {f"flux_{name}": flux + SCATTER * error * rng.normal(), f"flux_err_{name}": error}
        rows.append(row | {"gratings": "GR150R", "filters": "F150W"})
    return rows


def scene(seed: int, line_list: str) -> None:
    """Write everything."""
    rng = np.random.default_rng(seed)
    sky.write_truth(
        Path("truth.fits"), sky.make(CENTRE, 0.8, seed, 25.0, 1.5, margin_arcmin=0.05, bright_star_mag=None)
    )
    truth = sky.read_truth(Path("truth.fits"))
    chosen = (np.asarray(truth["mag_F150W"]) < 24.5) & np.asarray(truth["inside"], bool)
    truth = truth[chosen]
    families = line_lists.families(Table.read(line_list))
    rows = rows_of(truth, families, rng)
    x = np.array([np.log1p(row["z"]) for row in rows])
    pdfs = np.exp(-0.5 * ((np.log1p(GRID) - x[:, None]) / SIGMA) ** 2)
    hdus = redshift_rows.product(rows, families, GRID, pdfs / pdfs.sum(axis=1, keepdims=True))
    table = Table(hdus["REDSHIFTS"].data)
    table["mag"], table["mag_filter"] = np.asarray(truth["mag_F150W"], float), "F150W"
    hdus["REDSHIFTS"] = fits.BinTableHDU(table, name="REDSHIFTS")
    hdus.writeto("table.fits", checksum=True)
    sources = Table({"id": [row["id"] for row in rows], "ra": truth["ra"], "dec": truth["dec"]})
    sources["reason"] = ""
    setups = []
    for name, (low, high) in FILTERS.items():
        wave = np.arange(low, high, 47e-4)
        shape = (len(rows), len(wave))
        setups.append(
            Setup(
                "GR150R", name, wave, np.asarray(sources["id"], str), np.zeros(len(rows)), np.full(len(rows), 47.0),
                np.tile([0.05, 0.25, 0.4, 0.25, 0.05], (len(rows), 1)), np.zeros(shape), np.full(shape, ERROR),
                np.zeros(shape),
            )
        )  # fmt: skip
    slitless_spectra.write(Path("spectra.fits"), sources, setups, Lineage.of("stack", []))
    galaxy = np.asarray(truth["kind"]) == "galaxy"
    known = Table({name: np.asarray(truth[name], float)[galaxy] for name in ("ra", "dec", "z")})
    known["z_err"] = 0.0
    known["z"][0], known["z_err"][1] = np.nan, 0.1  # neither can be compared with
    known.write("known.ecsv")


if __name__ == "__main__":
    scene(int(sys.argv[1]), sys.argv[2])
