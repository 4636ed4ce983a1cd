"""Photometry of simulated galaxies through the real filter curves.

``photoz_scene.py spectra <seed> <sources>``, in environment jwst, writes spectra.npz in the working folder: the
simulator's spectra, which know nothing of the templates, with their redshifts.

``photoz_scene.py photometry <filters,...>``, in environment msaexp, writes photometry.fits: PHOTOMETRY, as the step
photometry writes it. Errors are those of a shallow pure-parallel field, S/N 5 at 26.5 mag with 2 % of the flux added.
The last sources are what a real catalogue also has: without a filter, with one filter, without any.

``photoz_scene.py grid``, in environment msaexp, writes grid.json: template fluxes, with and without our Galaxy's dust,
beside eazy's own.
"""

import json
import sys
from pathlib import Path

import numpy as np

NOISE = 10 ** (-0.4 * (26.5 - 23.9)) / 5
"""μJy."""


def spectra(seed: int, count: int) -> None:
    """Write f_λ [erg/s/cm2/Å] of galaxies on steps of 2e-4 in ln(wavelength), lines in single steps."""
    from astropy.table import Table
    from pureparallel.simulate import galaxies, sed

    rng = np.random.default_rng(seed)
    table = Table(galaxies.draw(np.sort(rng.uniform(20, 26, count)), rng))
    table["kind"] = "galaxy"
    wave = np.exp(np.arange(np.log(0.7), np.log(5.3), 2e-4))
    flux = np.array([sed.spectrum(row, wave) for row in table])
    for row, one in zip(table, flux, strict=True):
        for line in sed.lines(row):
            if wave[0] < line.wave_micron < wave[-1]:
                i = np.abs(wave - line.wave_micron).argmin()
                one[i] += line.flux / (wave[i] * 2e-4 * 1e4)
    np.savez("spectra.npz", seed=seed, wave=wave, flux=flux.astype(np.float32), z=np.asarray(table["z"]))


def photometry(names: list[str]) -> None:
    """Write the photometry: photon-counting means over the curves."""
    from astropy.io import fits
    from astropy.table import Table
    from pureparallel.steps.photoz import filter_curves

    made = np.load("spectra.npz")
    wave = made["wave"] * 1e4
    step, true = wave * 2e-4, []
    for curve in filter_curves(names, "NIRISS"):
        through = np.interp(wave, curve.wave, curve.throughput, left=0, right=0)
        fnu = (made["flux"] @ (through * wave * step)) / np.sum(through / wave * step) / 2.99792458e18
        true.append(fnu * 1e29)
    flux = np.column_stack(true)
    error = np.hypot(NOISE, 0.02 * flux)
    flux = flux + error * np.random.default_rng(int(made["seed"])).normal(size=flux.shape)
    flux[-1], flux[-2, 1:], flux[-3, 0] = np.nan, np.nan, np.nan
    error[-4, 1:] = np.nan
    count = len(flux)
    table = Table({"id": np.arange(1, count + 1) * 10, "ra": np.full(count, 150.0), "dec": np.full(count, 2.0)})
    for j, name in enumerate(names):
        table[f"flux_{name}"], table[f"flux_err_{name}"] = flux[:, j], error[:, j]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(table, name="PHOTOMETRY")]
    fits.HDUList(hdus).writeto("photometry.fits", overwrite=True, checksum=True)


def grids() -> None:
    """Compare `template_fluxes` with eazy's TemplateGrid."""
    from importlib.resources import files

    from pureparallel.steps.photoz import filter_curves, quiet, template_fluxes

    names, z = ["F090W", "F200W", "F444W"], np.array([0.1, 1.0, 3.0, 6.5, 9.0])
    curves = filter_curves(names, "NIRISS")
    folder = files("grizli") / "data" / "templates" / "fsps"
    with quiet():
        from eazy.photoz import TemplateGrid
        from eazy.templates import Template

        read = [Template(file=str(folder / f"fsps_QSF_12_v3_{i:03d}.dat")) for i in range(1, 13)]
        found = {}
        for ebv in (0.0, 0.3):
            theirs = np.asarray(
                TemplateGrid(z, read, filters=curves, f_numbers=[1, 2, 3], galactic_ebv=ebv, n_proc=-1).tempfilt, float
            )
            ours = template_fluxes(curves, z, ebv)
            found[str(ebv)] = {"worst": float(np.abs(ours / theirs - 1)[theirs > 0].max()), "sum": theirs.sum()}
    dimmed = template_fluxes(curves, z, 0.3) / template_fluxes(curves, z)
    found["dust"] = np.median(-2.5 * np.log10(dimmed[1]), axis=0).tolist()
    Path("grid.json").write_text(json.dumps(found))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["spectra", seed, count]:
            spectra(int(seed), int(count))
        case ["photometry", filters]:
            photometry(filters.split(","))
        case ["grid"]:
            grids()
