"""Redshifts, line fluxes and figures for a chunk of NIRSpec spectra, with msaexp's resolution and templates."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import UserError, io, log, names, redshift_rows
from ..core import lines, redshift
from ..core.catalogue import summary
from ..provenance import Lineage
from ..redshift_rows import Row
from ..spectra import unbundle

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU, HDUList
    from astropy.table import Table

FLUX_SCALE = 1e-20
"""msaexp's unit of line fluxes in erg/s/cm2, and of flux densities in erg/s/cm2/Å."""

SETUP = {"gratings": "grating", "filters": "filter"}
"""Columns of what a spectrum was taken with, and what msaexp calls it."""


def msa_redshift(
    *,
    field: str,
    spectra: Path,
    line_list: Path,
    redshifts: Path,
    figures: Path,
    metrics: Path,
    z_range: tuple[float, float] = (0.1, 12.0),
    continuum_splines: int = 27,
    velocity_width: float = 100.0,
    dispersion_scale: float = 1.3,
    systematic_error: float = 0.02,
    wavelength_error: float = 0.25,
    min_pixels: int = 50,
    max_peak_ratio: float = 0.1,
) -> None:
    """Fit every source of a chunk.

    Parameters
    ----------
    field : str
        Name of the field.
    spectra : Path
        Input: the chunk's spectra, from msa_extract.
    line_list : Path
        Input: table of line families, resources/lines.ecsv.
    redshifts : Path
        Output: FITS with REDSHIFTS (a row per source, failed ones with flag 0 and their reason), ZGRID and PZ, and
        a MODEL table per spectrum.
    figures : Path
        Output: folder with one figure per fitted source.
    metrics : Path
        Output: JSON.
    z_range : (float, float)
        Range of redshift searched.
    continuum_splines : int
        Number of continuum splines over a spectrum.
    velocity_width : float
        Gaussian sigma of the lines, km/s.
    dispersion_scale : float
        Factor on msaexp's tabulated resolution curve; above 1 is sharper, as point sources are.
    systematic_error : float
        Fraction of the flux added in quadrature to the error.
    wavelength_error : float
        Uncertainty of the wavelength scale in pixels; widens P(z).
    min_pixels : int
        Fewest valid pixels that are fitted.
    max_peak_ratio : float
        Probability of the second redshift over the first, above which the redshift is called ambiguous.
    """
    from astropy.table import Table

    logger = log.of("msa_redshift")
    families = lines.families(Table.read(line_list))
    options = {
        "z_range": list(z_range),
        "continuum_splines": continuum_splines,
        "velocity_width": velocity_width,
        "dispersion_scale": dispersion_scale,
        "systematic_error": systematic_error,
        "wavelength_error": wavelength_error,
        "min_pixels": min_pixels,
        "max_peak_ratio": max_peak_ratio,
    }
    lineage = Lineage.of("msa_redshift", [spectra, line_list], **options)
    chunk = io.open_fits(spectra, extensions=("STATUS",))
    rows, pdfs = [], []
    models: list[tuple[str, str, Table]] = []
    nothing: list[tuple[str, Table]] = []
    grid = redshift.log_grid(*z_range, 0.002)
    with io.atomic_directory(figures) as folder:
        for i, status in enumerate(chunk["STATUS"].data, start=1):
            log.progress(logger, i, len(chunk["STATUS"].data), status["source"])
            figure = folder / names.figure_file(field, status["source"])
            empty = redshift_rows.empty(
                str(status["source"]), float(status["ra"]), float(status["dec"]), str(status["reason"]), families
            )
            job = partial(attempt, empty, unbundle(chunk, empty["id"]), families, options, figure)
            row, pdf, made = redshift_rows.attempt("msa_redshift", empty, grid, job, nothing)
            models += [(row["id"], *model) for model in made]
            rows.append(row)
            pdfs.append(pdf)
    hdus = redshift_rows.product(rows, families, grid, np.array(pdfs))
    hdus.extend(model_hdus(models))
    io.write_fits(redshifts, hdus, lineage)
    io.write_json(metrics, summary(rows))


def attempt(
    empty: Row, spectra: list["HDUList"], families: list[lines.Family], options: dict[str, Any], figure: Path
) -> tuple[Row, redshift.Redshift, list[tuple[str, "Table"]]]:
    """Fit and draw one source: its row, P(z), and the models of its spectra with their gratings."""
    row, result, measured, models, images = fit(empty, spectra, families, options)
    draw(figure, row, result, measured, models, images)
    return row, result, models


def fit(
    empty: Row, spectra: list["HDUList"], families: list[lines.Family], options: dict[str, Any]
) -> tuple[Row, redshift.Redshift, redshift.Lines, list[tuple[str, "Table"]], list[redshift.Array]]:
    """Fit one source's spectra jointly.

    Returns
    -------
    row : dict
        `empty`, filled.
    result : Redshift
    measured : Lines
    models : list of (grating, table)
        Of the spectra that were fitted.
    images : list of ndarray
        Their 2-D spectra.
    """
    candidates = [(sampler(hdus, options["systematic_error"]), hdus["SCI"].data) for hdus in spectra]
    # a spectrum with fewer pixels than its continuum has parameters says nothing
    used = [(s, image) for s, image in candidates if s.valid.sum() > options["continuum_splines"]]
    pixels = sum(int(s.valid.sum()) for s, _ in used)
    if pixels < options["min_pixels"]:
        raise UserError(f"{pixels} valid pixels, fewer than min_pixels: {options['min_pixels']}")
    samplers = [s for s, _ in used]
    resolution = max(float(np.median(s.spec_R_fwhm[1])) for s in samplers)
    fitted = lines.at_resolution(families, resolution)
    data = [spectrum(s, options) for s in samplers]
    low, high = options["z_range"]
    step = float(np.clip(0.3 / resolution, 2e-4, 2e-3))
    blur = options["wavelength_error"] * min(float(np.median(np.gradient(d.wave) / d.wave)) for d in data)
    result = redshift.fit(data, fitted, low=low, high=high, step=step, fine_step=step / 20, blur=blur)
    measured = redshift.measure(data, fitted, result.z)
    flag, reason = redshift.quality(measured, result, max_peak_ratio=options["max_peak_ratio"])
    row = redshift_rows.filled(empty, result, measured, FLUX_SCALE) | {"flag": flag, "reason": reason, "pixels": pixels}
    row |= {key: "+".join(getattr(s.spec, one).upper() for s in samplers) for key, one in SETUP.items()}
    models = [
        (s.spec.grating.upper(), model_table(s, model, continuum))
        for s, model, continuum in zip(samplers, measured.model, measured.continuum, strict=True)
    ]
    return row, result, measured, models, [image for _, image in used]


def sampler(hdus: "HDUList", systematic_error: float) -> Any:
    """msaexp's view of one spectrum: valid pixels, resolution and line profiles."""
    from grizli import utils
    from msaexp.spectrum import SpectrumSampler

    utils.LOGFILE = None  # else a file in /tmp that all users of a node would share

    class Sampler(SpectrumSampler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.spec_R_fwhm: dict[int, Any] = {}  # a dict of the class: instances would overwrite each other's
            super().__init__(*args, **kwargs)
            self.spec_wobs: Any = np.asarray(self["wave"], np.float32)  # table columns cost half of a line's profile
            self.spec_R_fwhm = {order: np.asarray(curve) for order, curve in self.spec_R_fwhm.items()}

    return Sampler(hdus, sys_err=systematic_error)


def spectrum(s: Any, options: dict[str, Any]) -> redshift.Spectrum:
    """What `redshift.fit` needs to know of one spectrum, in units of `FLUX_SCALE`."""
    from msaexp.spectrum import IGM_FUNC

    wave = np.asarray(s.spec_wobs, float)
    to_flam = np.asarray(s.spec["to_flam"], float)
    settings = {"scale_disp": options["dispersion_scale"], "velocity_sigma": options["velocity_width"]}
    return redshift.Spectrum(
        wave=wave,
        flux=np.asarray(s.spec["flux"], float) * to_flam,
        err=np.asarray(s.spec["full_err"], float) * to_flam,
        valid=np.asarray(s.valid, bool),
        continuum=np.asarray(s.bspline_array(nspline=options["continuum_splines"], get_matrix=True), float),
        line=lambda wavelength: np.asarray(s.fast_emission_line(wavelength, line_flux=1.0, **settings), float) / 1e4,
        transmission=lambda z: np.maximum(IGM_FUNC(z, wave * 1e4), 1e-3),
    )


def model_table(s: Any, model: redshift.Array, continuum: redshift.Array) -> "Table":
    """Spectrum and model on the spectrum's wavelengths, in μm and μJy."""
    from astropy.table import Table

    to_flam = np.asarray(s.spec["to_flam"], float)
    columns = {
        "wave": np.asarray(s.spec["wave"], float),
        "flux": np.where(s.valid, s.spec["flux"], np.nan),
        "err": np.where(s.valid, s.spec["full_err"], np.nan),
        "model": model / to_flam,
        "continuum": continuum / to_flam,
    }
    return Table(columns, units={"wave": "um"} | dict.fromkeys(("flux", "err", "model", "continuum"), "uJy"))


def model_hdus(models: list[tuple[str, str, "Table"]]) -> list["BinTableHDU"]:
    """A MODEL table per spectrum of (source, grating, table)."""
    from astropy.io import fits

    hdus = []
    for version, (source, grating, table) in enumerate(models, start=1):
        hdu = fits.BinTableHDU(table, name="MODEL", ver=version)
        hdu.header["SOURCE"], hdu.header["GRATING"] = source, grating
        hdus.append(hdu)
    return hdus


def draw(
    path: Path,
    row: Row,
    result: redshift.Redshift,
    measured: redshift.Lines,
    models: list[tuple[str, "Table"]],
    images: list[redshift.Array],
) -> None:
    """Draw the figure of one source."""
    from ..core.plot_redshift import redshift_figure

    panels = [(table, image, grating) for (grating, table), image in zip(models, images, strict=True)]
    title = f"{row['id']}   z = {row['z']:.4f}   flag {row['flag']}: {row['reason']}"
    figure = redshift_figure(panels, result, measured, title)
    io.write_figure(path, figure, dpi=110)
