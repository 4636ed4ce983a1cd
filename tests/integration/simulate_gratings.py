"""Write simulated G235M and G395M spectra of a galaxy at z = 4, as msa_extract does; run in environment msaexp."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from pureparallel import io
from pureparallel.provenance import Lineage
from pureparallel.spectra import bundle
from pureparallel.steps.msa_redshift import sampler

LINES = ((5008.240, 900.0), (4960.295, 302.0), (4862.683, 150.0), (6564.61, 430.0))
"""Rest wavelength in Angstrom, flux in 1e-20 erg/s/cm2."""

Z = 4.0


def spectrum(grating: str, blocking: str, wave: np.ndarray, rng: np.random.Generator) -> fits.HDUList:
    """One simulated spectrum, its lines as msaexp sees them, over a continuum of 0.05 uJy."""
    columns = {"wave": wave, "flux": np.full(len(wave), 1.0), "err": np.full(len(wave), 0.02)}
    table = Table(columns, units={"wave": "um", "flux": "uJy", "err": "uJy"})

    def hdus() -> fits.HDUList:
        hdu = fits.BinTableHDU(table, name="SPEC1D")
        hdu.header["GRATING"], hdu.header["FILTER"] = grating, blocking
        return fits.HDUList([fits.PrimaryHDU(), hdu])

    seen = sampler(hdus(), 0.0)
    flam = np.zeros(len(wave))
    for rest, flux in LINES:
        observed = rest * (1 + Z) / 1e4
        if wave[0] < observed < wave[-1]:
            profile = seen.fast_emission_line(observed, line_flux=1.0, scale_disp=1.3, velocity_sigma=100.0)
            flam += flux * np.asarray(profile) / 1e4
    table["flux"] = 0.05 + flam / np.asarray(seen.spec["to_flam"]) + rng.normal(0, 0.02, len(wave))
    return fits.HDUList([hdus()[1], fits.ImageHDU(np.zeros((27, len(wave))), name="SCI")])


def mostly_lost(hdus: fits.HDUList) -> fits.HDUList:
    """The same spectrum with ten pixels left."""
    hdus["SPEC1D"].data["flux"][10:] = np.nan
    return hdus


rng = np.random.default_rng(1)
blue, red = np.arange(1.7, 3.1, 0.00106), np.arange(2.9, 5.2, 0.0018)
found = [
    ("both", "G235M", spectrum("G235M", "F170LP", blue, rng)),
    ("both", "G395M", spectrum("G395M", "F290LP", red, rng)),
    ("one", "G235M", mostly_lost(spectrum("G235M", "F170LP", blue, rng))),
    ("one", "G395M", spectrum("G395M", "F290LP", red, rng)),
    ("none", "G235M", mostly_lost(spectrum("G235M", "F170LP", blue, rng))),
]
rows = [{"source": name, "ra": 1.0, "dec": 2.0, "slitlets": 3, "reason": ""} for name in ("both", "one", "none")]
io.write_fits(Path("spectra.fits"), bundle(rows, found), Lineage.of("simulated", []))
