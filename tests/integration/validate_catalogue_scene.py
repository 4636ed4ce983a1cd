"""Products of a field whose catalogue is wrong in known ways; in environment jwst.

``validate_catalogue_scene.py <seed>`` writes truth, mosaics (the second covers only a half), solution, catalogue,
photometry and redshifts in the working folder, and true.json with what is in them.
"""

import json
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from pureparallel.core import photoz
from pureparallel.core.grid import Grid
from pureparallel.simulate import sky

CENTRE = (150.1, 2.2)
LOST, FALSE, EAST = 0.1, 40, 12.0
"""Fraction lost, false sources, shift in mas."""

FILTERS = {"F115W": (1.0, 1.0), "F150W": (1.03, 2.0)}
"""Factors on fluxes, and on their scatter over the stated error."""

PLANE = Grid(*CENTRE, 0.05, (2600, 2600), (1300.0, 1300.0))


def write(name: str, *hdus) -> None:
    """Write extensions behind an empty one."""
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(name, checksum=True)


def mosaics() -> None:
    """White noise of 0.002 μJy per pixel."""
    for name in FILTERS:
        weight = np.zeros(PLANE.shape, np.float32)
        weight[60:-60, 60 : 1300 if name == "F150W" else -60] = (PLANE.pixel_area * 1e12 / 0.002) ** 2
        write(f"{name}_mosaic.fits", *(fits.ImageHDU(weight, name=one) for one in ("SCI", "WHT")))
        with fits.open(f"{name}_mosaic.fits", mode="update") as hdus:
            hdus[0].header.update({"FILTER": name, "PIXAR_SR": PLANE.pixel_area})
            hdus[1].header.update(PLANE.keywords())


def photometry(table: Table, kept: np.ndarray, ra: np.ndarray, dec: np.ndarray, rng: np.random.Generator) -> Table:
    """Fluxes of what is kept and of what is false."""
    made = Table({"id": np.arange(1, len(ra) + 1), "ra": ra, "dec": dec, "scale_err": np.zeros(len(ra))})
    for name, (factor, scatter) in FILTERS.items():
        true = np.append(10 ** (-0.4 * (np.asarray(table[f"mag_{name}"])[kept] - 23.9)), np.full(FALSE, 0.5))
        error = np.hypot(0.02, 0.01 * true)
        flux = factor * true + scatter * error * rng.normal(size=len(ra))
        missing = (PLANE.to_pixel(ra, dec)[0] > 1290) & (name == "F150W")
        made[f"flux_{name}"], made[f"flux_err_{name}"] = np.where(missing, np.nan, [flux, error])
    return made


def redshifts(ids: np.ndarray, true: np.ndarray, rng: np.random.Generator) -> None:
    """Scattered by 4 %, as their P(z) says."""
    grid = np.expm1(np.linspace(np.log(1.05), np.log(13), 251))
    z = np.expm1(np.log1p(true) + 0.04 * rng.normal(size=len(true)))
    pz = np.exp(-((np.log1p(grid) - np.log1p(z)[:, None]) ** 2) / 2 / 0.04**2) * photoz.widths(grid) / (1 + grid)
    write(
        "photoz.fits",
        fits.BinTableHDU(Table({"id": ids, "z_phot": z, "risk": np.full(len(z), 0.1)}), name="PHOTOZ"),
        fits.BinTableHDU(Table({"z": grid}), name="ZGRID"),
        fits.ImageHDU((pz / pz.sum(axis=1, keepdims=True)).astype(np.float32), name="PZ"),
    )


def scene(seed: int) -> None:
    """Write everything."""
    rng = np.random.default_rng(seed)
    table = sky.make(CENTRE, 1.25, seed, 26.0, 0.8, margin_arcmin=0.05, bright_star_mag=None)
    sky.write_truth(Path("truth.fits"), table)
    mosaics()
    write("align.fits", fits.BinTableHDU(Table({"frame": ["gaia", "gaia"]}), name="GROUPS"))
    x, y = PLANE.to_pixel(table["ra"], table["dec"])
    inside = (np.abs(x - 1300) < 1240) & (np.abs(y - 1300) < 1240)
    kept = np.flatnonzero(inside & (rng.uniform(size=len(table)) > LOST))
    false = PLANE.to_sky(*rng.uniform(60, 2540, (2, FALSE)))
    ra = np.append(table["ra"][kept] + EAST / 3.6e6 / np.cos(np.deg2rad(CENTRE[1])), false[0])
    dec = np.append(table["dec"][kept], false[1])
    made = photometry(table, kept, ra, dec, rng)
    write("phot.fits", fits.BinTableHDU(made, name="PHOTOMETRY"))
    detected = Table({"label": made["id"], "sky_centroid": SkyCoord(ra * u.deg, dec * u.deg)})
    detected["snr"] = made["flux_F115W"] / made["flux_err_F115W"]
    detected["reliable"] = np.arange(len(ra)) < len(ra) - FALSE // 2
    detected.write("cat.ecsv", format="ascii.ecsv")
    z = np.append(np.nan_to_num(np.asarray(table["z"])[kept], nan=1.0), np.ones(FALSE))
    redshifts(np.asarray(made["id"]), z, rng)
    counts = {"sources": len(ra), "true": int(inside.sum()), "kept": len(kept)}
    Path("true.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    scene(int(sys.argv[1]))
