"""Redshifts, line fluxes and figures for a chunk of slitless sources, from all their grisms, filters and rolls."""

import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import UserError, io, log, names, redshift_rows, slitless_spectra
from ..core import lines, redshift_priors, slitless_fit, slitless_lines, slitless_view, templates
from ..core.catalogue import summary
from ..core.redshift import Array, Lines, Redshift, log_grid
from ..provenance import Lineage
from ..redshift_figures import DirectImage, Images
from ..redshift_rows import Row
from ..slitless_spectra import UNIT, Gathered, Setup

OUTPUT_STEP = 0.001
"""Step in ln(1+z) of the grid on which P(z) is written, that of all chunks."""

LIGHT_SPEED = 2.99792458e18
"""Å/s."""


def fit_redshift(
    *,
    field: str,
    spectra: Path,
    line_list: Path,
    continuum: Path,
    photoz: Path | None = None,
    stacks: Path | None = None,
    detection: Path | None = None,
    segmentation: Path | None = None,
    redshifts: Path,
    figures: Path,
    metrics: Path,
    z_range: tuple[float, float] = (0.05, 9.0),
    grid_step: float = 1.25,
    velocity_width: float = 70.0,
    contamination_error: float = 0.1,
    continuum_error: float = 0.15,
    systematic_error: float = 0.02,
    clip: float = 5.0,
    wavelength_error: float = 0.25,
    luminosity_prior: bool = True,
    photoz_outliers: float = 0.05,
    line_error: float = 0.07,
    min_pixels: int = 50,
    max_peak_ratio: float = 0.05,
    min_snr: float = 5.0,
    min_figure_flag: int = 2,
) -> None:
    """Fit every source of a chunk.

    Parameters
    ----------
    field : str
        Name of the field.
    spectra : Path
        Input: the chunk's spectra, from stack.
    line_list : Path
        Input: table of line families, resources/lines.ecsv.
    continuum : Path
        Input: spectra of types of stars, resources/continuum.ecsv.
    photoz : Path
        Input: photometric redshifts, whose P(z) becomes the prior of the sources that are in it. Optional.
    stacks : Path
        Input: the chunk's 2-D spectra, from stack, for figures. Optional.
    detection : Path
        Input: image that sources were detected on, for figures. Optional.
    segmentation : Path
        Input: its segmentation map, whose labels are the sources' ids; with `detection`.
    redshifts : Path
        Output: FITS with REDSHIFTS (a row per source, failed ones with flag 0 and their reason), ZGRID and PZ, and
        a MODEL table per grism and filter.
    figures : Path
        Output: folder with one figure per fitted source.
    metrics : Path
        Output: JSON.
    z_range : (float, float)
        Range of redshift searched.
    grid_step : float
        Step of the first search, in widths (Gaussian sigma) of the sharpest lines.
    velocity_width : float
        Gaussian sigma of the lines, km/s.
    contamination_error : float
        Uncertainty of the contamination that was subtracted, as a fraction of it: of each bin, and of all together.
    continuum_error : float
        Uncertainty of each spectrum's zero level and slope, as a fraction of the source's mean flux in the filter.
    systematic_error : float
        Fraction of the mean flux added in quadrature to the error.
    clip : float
        Significance at which a feature that only one of three or more spectra has is masked; 0 masks none.
    wavelength_error : float
        Uncertainty of each spectrum's wavelength scale in pixels, alike in all filters of one grism and roll; widens
        P(z) by what the source's spectra together leave of it.
    luminosity_prior : bool
        Whether redshifts at which the source would be too luminous are made unlikely; not where there is a
        photometric P(z).
    photoz_outliers : float
        Fraction of photometric redshifts taken to be wrong altogether.
    line_error : float
        Uncertainty of line fluxes besides noise, as a fraction of them: the gas is not where the starlight is, whose
        profile lines are fitted with.
    min_pixels : int
        Fewest valid pixels that are fitted.
    max_peak_ratio : float
        Probability of the second redshift over the first, above which the redshift is called ambiguous.
    min_snr : float
        S/N that the strongest line must have for a flag above 1.
    min_figure_flag : int
        Lowest flag of sources of which a figure is drawn.
    """
    from astropy.table import Table

    options: dict[str, Any] = {
        "z_range": list(z_range),
        "grid_step": grid_step,
        "velocity_width": velocity_width,
        "contamination_error": contamination_error,
        "continuum_error": continuum_error,
        "systematic_error": systematic_error,
        "clip": clip,
        "wavelength_error": wavelength_error,
        "luminosity_prior": luminosity_prior,
        "photoz_outliers": photoz_outliers,
        "line_error": line_error,
        "min_pixels": min_pixels,
        "max_peak_ratio": max_peak_ratio,
        "min_snr": min_snr,
        "min_figure_flag": min_figure_flag,
    }
    logger = log.of("fit_redshift")
    inputs = [spectra, line_list, continuum, *(one for one in (photoz, stacks, detection, segmentation) if one)]
    lineage = Lineage.of("fit_redshift", inputs, **options)
    sources, setups = slitless_spectra.read(spectra)
    families = lines.families(Table.read(line_list))
    settings = slitless_fit.Settings(**{f.name: options[f.name] for f in fields(slitless_fit.Settings)})
    ids = [str(source) for source in sources["id"]]
    gathered = slitless_spectra.gather(setups, ids)
    stars = stellar_templates(continuum)
    everything = [one.spectra for one in gathered]
    chunk = slitless_fit.chunk(everything, templates.mixtures(families), stars, settings) if gathered else None
    priors = photometric_priors(photoz)
    images = Images.read(stacks) if stacks else None
    rows, pdfs, models = [], [], [np.full((2, *setup.flux.shape), np.nan, np.float32) for setup in setups]
    with io.atomic_directory(figures) as folder, ExitStack() as opened:
        direct = opened.enter_context(DirectImage(detection, segmentation)) if detection and segmentation else None
        fitter = Fitter(field, families, chunk, gathered, setups, priors, options, images, direct)
        for i, source in enumerate(sources):
            log.progress(logger, i + 1, len(sources), ids[i])
            empty = fitter.empty(source)
            job = partial(fitter.attempt, i, empty, models, folder)
            row, pdf, _ = redshift_rows.attempt("fit_redshift", empty, fitter.output, job, None)
            rows.append(row)
            pdfs.append(pdf)
    hdus = redshift_rows.product(rows, families, fitter.output, np.array(pdfs))
    for version, (setup, made) in enumerate(zip(setups, models, strict=True), start=1):
        hdus.append(slitless_spectra.model_hdu(setup, made[0], made[1], version))
    io.write_fits(redshifts, hdus, lineage)
    io.write_json(metrics, summary(rows))


def stellar_templates(path: Path) -> templates.Continuum:
    """Continuum templates from the table of types of stars."""
    from astropy.table import Table

    table = Table.read(path)
    missing = [name for name in ("wavelength", *templates.STELLAR_DUST) if name not in table.colnames]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; take resources/continuum.ecsv of this version")
    return templates.continuum(
        np.asarray(table["wavelength"], float),
        {name: np.asarray(table[name], float) for name in templates.STELLAR_DUST},
    )


@dataclass(frozen=True)
class Photometric:
    """A source's photometric redshift, its error, and P(z)."""

    z: float
    error: float
    grid: Array
    pdf: Array


def photometric_priors(path: Path | None) -> dict[str, Photometric]:
    """Photometric redshifts by source, of those that have one."""
    from astropy.table import Table

    if path is None:
        return {}
    hdus = io.open_fits(path, extensions=("PHOTOZ", "PZ", "ZGRID"))
    table = Table.read(hdus["PHOTOZ"], mask_invalid=False)
    grid, pdfs = np.asarray(hdus["ZGRID"].data["z"], float), np.asarray(hdus["PZ"].data, float)
    if pdfs.shape != (len(table), len(grid)):
        raise UserError(f"{path}: PZ is {pdfs.shape}, not {(len(table), len(grid))} as PHOTOZ and ZGRID; make it again")
    return {
        str(row["id"]): Photometric(float(row["z_phot"]), float(row["z_high"] - row["z_low"]) / 2, grid, pdf)
        for row, pdf in zip(table, pdfs, strict=True)
        if np.isfinite(row["z_phot"]) and not ("reason" in table.colnames and str(row["reason"]).strip())
    }


@dataclass(frozen=True)
class Fitter:
    """Everything that the fits of a chunk's sources share."""

    field: str
    families: list[lines.Family]
    chunk: slitless_fit.Chunk | None
    gathered: list[Gathered]
    setups: list[Setup]
    priors: dict[str, Photometric]
    options: dict[str, Any]
    images: Images | None = None
    direct: DirectImage | None = None

    @property
    def output(self) -> Array:
        """Redshifts at which P(z) is written."""
        low, high = self.options["z_range"]
        return log_grid(low, high, OUTPUT_STEP)

    def empty(self, source: Any) -> Row:
        """The row of a source in the table of sources, before it is fitted."""
        where = float(source["ra"]), float(source["dec"])
        row = redshift_rows.empty(str(source["id"]), *where, str(source["reason"]), self.families)
        photometric = self.priors.get(row["id"])
        return row | ({"z_phot": photometric.z} if photometric else {})

    def attempt(self, index: int, empty: Row, models: list[Array], folder: Path) -> tuple[Row, Redshift, None]:
        """Fit and draw one source.

        Parameters
        ----------
        index : int
        empty : dict
        models : list of ndarray, shape (2, q, n)
            Per setup, of all its spectra: model and continuum are written there.
        folder : Path
            Of figures.
        """
        row, result, measured = self.fit(index, empty)
        self.keep(index, measured, models)
        if row["flag"] >= self.options["min_figure_flag"]:
            try:  # what cannot be drawn has its redshift nevertheless
                self.draw(folder / names.figure_file(self.field, row["id"]), index, row, result, measured)
            except Exception:
                log.of("fit_redshift").warning("%s: no figure:\n%s", row["id"], traceback.format_exc())
        return row, result, None

    def fit(self, index: int, empty: Row) -> tuple[Row, Redshift, Lines]:
        """Fit one source: its row, `empty` filled, its redshift and lines."""
        chunk, options = self.chunk, self.options
        bands = chunk.of(index) if chunk else []
        pixels = sum(int(np.count_nonzero(one.root)) for one in bands)
        if chunk is None or pixels < options["min_pixels"]:
            raise UserError(f"{pixels} valid pixels, fewer than min_pixels: {options['min_pixels']}")
        photometric = self.priors.get(empty["id"])
        result = slitless_fit.fit(chunk, index, self.prior(bands, chunk.grid.z, photometric))
        width = 2.3548 * float(chunk.width[index])
        # [NII] is apart from Hα at half of the resolving power from which the list has it so
        fitted = lines.at_resolution(self.families, 2 / width)
        mixtures = chunk.grid.mixtures
        wavelengths = np.concatenate([mixtures.wavelengths, *(family.wavelengths for family in fitted)])
        view = slitless_view.view(bands, chunk.continuum, wavelengths, result.z)
        stars = slitless_lines.stars_in_use(view, mixtures)
        measured = slitless_lines.measure(view, fitted, stars)
        blend = 1.5 * width
        single = slitless_lines.separate(fitted, blend)
        snr = slitless_lines.significance(view, single, stars)
        flag, reason = slitless_lines.quality(
            slitless_lines.features(single, snr, blend),
            fitted,
            result,
            z_phot=(photometric.z, photometric.error) if photometric else None,
            max_peak_ratio=options["max_peak_ratio"],
            min_snr=options["min_snr"],
        )
        row = redshift_rows.filled(empty, result, measured, UNIT, options["line_error"])
        row |= {"flag": flag, "reason": reason, "pixels": pixels}
        setups = [setup for setup, _, _ in self.spectra(index)]
        row["gratings"] = "+".join(sorted({setup.grism for setup in setups}))
        row["filters"] = "+".join(sorted({setup.filter for setup in setups}))
        return row, result, measured

    def prior(self, bands: Sequence[Any], z: Array, photometric: Photometric | None) -> Array | None:
        """ln of the prior at redshifts `z`, None for a flat one."""
        if photometric is not None:
            return redshift_priors.photometric(z, photometric.grid, photometric.pdf, self.options["photoz_outliers"])
        if not self.options["luminosity_prior"]:
            return None
        flux, wavelength = slitless_fit.brightness(bands)
        return redshift_priors.luminosity(z, flux * UNIT * wavelength**2 / LIGHT_SPEED)

    def spectra(self, index: int) -> list[tuple[Setup, int, tuple[int, int]]]:
        """A source's spectra: setup, row in it, and place among those gathered."""
        return [
            (self.setups[one.setup[index, k]], int(one.row[index, k]), (g, k))
            for g, one in enumerate(self.gathered)
            for k in range(one.setup.shape[1])
            if one.setup[index, k] >= 0
        ]

    def whole(self, parts: list[Array]) -> list[Array]:
        """What was computed band by band, per wavelength grid: (k, n) of each."""
        found, start = [], 0
        for one in self.gathered:
            count = len(one.spectra.pieces())
            found.append(np.concatenate(parts[start : start + count], axis=1))
            start += count
        return found

    def keep(self, index: int, measured: Lines, models: list[Array]) -> None:
        """Put a source's model and continuum beside its spectra."""
        model, smooth = self.whole(measured.model), self.whole(measured.continuum)
        for g, one in enumerate(self.gathered):
            for k in np.flatnonzero(one.setup[index] >= 0):
                models[one.setup[index, k]][:, one.row[index, k]] = model[g][k], smooth[g][k]

    def draw(self, path: Path, index: int, row: Row, result: Redshift, measured: Lines) -> None:
        """Draw the figure of one source."""
        from ..core.plot_fit_layout import DPI
        from ..core.plot_fit_redshift import Panel, fit_figure

        model, smooth = self.whole(measured.model), self.whole(measured.continuum)
        panels = []
        for g, one in enumerate(self.gathered):
            rows = [(setup, r, k) for setup, r, (group, k) in self.spectra(index) if group == g]
            if rows:
                used = [k for _, _, k in rows]
                titles = [f"{setup.grism} {setup.roll[r]:.0f}°" for setup, r, _ in rows]
                data = one.spectra
                panels.append(
                    Panel(
                        rows[0][0].filter, titles, data.wave / 1e4, data.flux[index, used], data.err[index, used],
                        model[g][used], smooth[g][used], self.pictures(row["id"], rows, model[g]),
                    )
                )  # fmt: skip
        cutout = self.direct.around(row["id"], row["ra"], row["dec"]) if self.direct else None
        title = f"{row['id']}   z = {row['z']:.4f}   flag {row['flag']}: {row['reason']}"
        io.write_figure(path, fit_figure(panels, result, measured, title, cutout), dpi=DPI)

    def pictures(self, source: str, rows: list[tuple[Setup, int, int]], model: Array) -> dict[str, Array]:
        """2-D spectra with their models, by grism: of setup, row in it, and row of `model`."""
        found: dict[str, Array] = {}
        if self.images is None:
            return found
        for setup in {setup.grism: setup for setup, _, _ in rows}.values():
            models = [(float(one.roll[r]), model[k]) for one, r, k in rows if one.grism == setup.grism]
            found |= self.images.of(source, setup.grism, setup.filter, models)
        return found
