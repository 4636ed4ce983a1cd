"""Estimate redshifts from the catalogue's photometry, and how sure they are: P(z) of every source."""

import contextlib
import io as text
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import UserError, io, log
from ..core import photoz as pz
from ..core.redshift import log_grid
from ..provenance import Lineage

if TYPE_CHECKING:
    from astropy.io.fits import HDUList
    from astropy.table import Table

Array = NDArray[np.float64]

LEAST_FILTERS = 2
"""One filter has no colour."""

FEW_FILTERS = 4
"""Fewer have at most two colours: P(z) of most sources has several peaks."""

BATCH = 500
"""Sources that a process fits at a time, at most."""

TEMPLATES = 12
"""Of the set fsps_QSF_12_v3, which grizli's package carries: stellar populations with dust and emission lines, of which
a source is any non-negative combination."""

CURVES = {"NIRISS": "jwst_niriss_", "NIRCAM": "jwst_"}
"""How the package astro-sedpy names the photon-to-electron curves of an instrument's filters."""

COLUMNS: dict[str, tuple[str | None, str]] = {
    "id": (None, "of the source"),
    "ra": ("deg", "ICRS"),
    "dec": ("deg", "ICRS"),
    "z_phot": (None, "redshift of least expected loss; NaN without a fit"),
    "risk": (None, "that loss: 0 is sure, towards 1 says nothing"),
    "z_low": (None, "16 % of the probability lie below"),
    "z_median": (None, "50 % of the probability lie below"),
    "z_high": (None, "84 % of the probability lie below"),
    "z_mode": (None, "most probable redshift"),
    "z_min_chi2": (None, "redshift of the best fit, without prior"),
    "chi2": (None, "of the best fit"),
    "n_filters": (None, "filters that have a measurement"),
    "reason": (None, "why there is no redshift; P(z) is flat then"),
}
"""Unit and description of each column of PHOTOZ."""


def photoz(
    *,
    field: str,
    photometry: Path,
    redshifts: Path,
    figure: Path,
    metrics: Path,
    threads: int = 1,
    instrument: Literal["NIRISS", "NIRCAM"] = "NIRISS",
    z_range: tuple[float, float] = (0.05, 12.0),
    z_step: float = 0.01,
    prior: Literal["magnitude", "flat"] = "magnitude",
    systematic_error: float = 0.02,
    template_error: float = 0.2,
    galactic_ebv: float = 0.0,
) -> None:
    """Fit every source's photometry with eazy's templates over a range of redshifts.

    Parameters
    ----------
    field : str
        Name of the field.
    photometry : Path
        Input: FITS with the table PHOTOMETRY: id, ra, dec, flux_<FILTER> and flux_err_<FILTER> in μJy.
    redshifts : Path
        Output: FITS with PHOTOZ (a row per source), ZGRID (redshifts) and PZ (probability per bin around them).
    figure : Path
        Output: P(z) of all sources, PNG.
    metrics : Path
        Output: JSON.
    threads : int
        Processes that fit.
    instrument : {"NIRISS", "NIRCAM"}
        Whose filter curves are meant where both instruments have a filter of that name.
    z_range : tuple of float
        Lowest and highest redshift.
    z_step : float
        Step in ln(1+z).
    prior : {"magnitude", "flat"}
        What redshifts are expected: those of galaxies of the source's magnitude, or all alike.
    systematic_error : float
        Uncertainty of every filter's zero point and of the photometry, over the flux.
    template_error : float
        Scale of the templates' own error; 0.2 is 5 % at rest in the optical, 10 % at 0.2 μm and 20 % at 2.5 μm.
    galactic_ebv : float
        E(B-V) of our Galaxy, which dims the templates.
    """
    from ..core.plot_photoz import photoz_figure

    logger = log.of("photoz")
    if not z_range[1] > z_range[0] >= 0:
        raise UserError(f"photoz.z_range: {list(z_range)} is no range; give the lowest redshift first, 0 or more")
    options = {
        "instrument": instrument, "z_range": list(z_range), "z_step": z_step, "prior": prior,
        "systematic_error": systematic_error, "template_error": template_error, "galactic_ebv": galactic_ebv,
    }  # fmt: skip
    lineage = Lineage.of("photoz", [photometry], **options)
    table, names, flux, error = read_photometry(photometry)
    good = pz.usable(flux, error)
    grid = log_grid(*z_range, z_step)
    filters = filter_curves(names, instrument)
    wave = np.array([one.pivot for one in filters]) / 1e4
    logger.info("%d sources, filters %s, %d redshifts", len(table), ", ".join(names), len(grid))
    if len(names) < FEW_FILTERS:
        logger.warning("%d filters: photometric redshifts are degenerate, P(z) has several peaks", len(names))
    fluxes = template_fluxes(filters, grid, galactic_ebv)
    relative = template_error * pz.template_error(wave[None, :] / (1 + grid[:, None]))
    total = pz.with_floor(flux, error, systematic_error)
    chi2 = np.full((len(table), len(grid)), np.nan)
    enough = np.flatnonzero(good.sum(axis=1) >= LEAST_FILTERS)
    size = min(BATCH, max(-(-len(enough) // threads), 1))
    batches = [enough[i : i + size] for i in range(0, len(enough), size)]
    for done, (some, values) in enumerate(fit_all(batches, flux, total, fluxes, relative, threads), start=1):
        chi2[some] = values
        log.progress(logger, done, len(batches), f"{len(some)} sources")
    magnitude = pz.i_magnitude(flux, error, wave)
    expected = pz.magnitude_prior(grid, magnitude if prior == "magnitude" else np.full(len(table), np.nan))
    probability = np.tile(pz.flat(grid), (len(table), 1))
    fitted = np.isfinite(chi2).all(axis=1)
    likelihood = -(chi2 + pz.log_variance(flux, total, relative))[fitted] / 2
    probability[fitted] = pz.probability(likelihood, expected[fitted])
    rows = rows_of(table, names, good, grid, chi2, probability)
    io.write_fits(redshifts, product(field, rows, grid, probability, names), lineage)
    title = f"{field}: photometric redshifts from {', '.join(names)}"
    io.write_figure(figure, photoz_figure(rows, grid, probability[fitted], magnitude[fitted], title))
    found = summary(field, rows, names)
    io.write_json(metrics, found)
    for reason, count in found["reasons"].items():
        logger.warning("%d source%s: %s", count, "" if count == 1 else "s", reason)
    logger.info(
        "%d of %d sources have a redshift, %d with little risk", *(found[k] for k in ("fitted", "sources", "sure"))
    )


def read_photometry(path: Path) -> tuple["Table", list[str], Array, Array]:
    """The table PHOTOMETRY, its filters from blue to red by name, fluxes and errors (n, nf) in μJy."""
    from astropy.table import Table

    hdu = io.open_fits(path, extensions=("PHOTOMETRY",))["PHOTOMETRY"]
    table = Table.read(hdu, mask_invalid=False)
    prefix = "flux_err_"
    names = sorted(name.removeprefix(prefix) for name in table.colnames if name.startswith(prefix))
    missing = [name for name in ("id", "ra", "dec", *(f"flux_{one}" for one in names)) if name not in table.colnames]
    if missing or not names:
        what = ", ".join(missing) or "flux_err_<FILTER>"
        raise UserError(f"{path}: PHOTOMETRY has no column {what}; make it again by photometry")
    flux, error = (
        np.column_stack([np.asarray(table[f"{kind}_{name}"], float) for name in names]) for kind in ("flux", "flux_err")
    )
    return table, names, flux, error


def filter_curves(names: Sequence[str], instrument: str) -> list[Any]:
    """Transmission curves as eazy has them, from the package astro-sedpy: the instrument's, else the other's."""
    with quiet():
        from eazy.filters import FilterDefinition
    import sedpy.observate

    known = set(sedpy.observate.list_available_filters())
    order = [CURVES[instrument], *(prefix for name, prefix in CURVES.items() if name != instrument)]
    found = []
    for name in names:
        candidates = [prefix + name.lower() for prefix in order if prefix + name.lower() in known]
        if not candidates:
            raise UserError(f"PHOTOMETRY: no transmission curve of the filter {name} is known for NIRISS or NIRCam")
        curve = sedpy.observate.Filter(candidates[0])
        wave, throughput = (np.asarray(one, float) for one in (curve.wavelength, curve.transmission))
        found.append(FilterDefinition(name=name, wave=wave, throughput=throughput))
    return found


def template_fluxes(filters: Sequence[Any], grid: Array, galactic_ebv: float = 0.0) -> Array:
    """f_ν of the templates through filters at each redshift, intergalactic absorption and our Galaxy's dust included.

    The same integrals as eazy's TemplateGrid makes, with each redshift's absorption computed once for all templates.

    Returns
    -------
    ndarray, shape (nz, templates, nf)
        In arbitrary units, of each template alike at all redshifts.
    """
    from importlib.resources import files

    with quiet():
        from eazy.igm import Asada24
        from eazy.templates import Template
        from eazy.utils import GalacticExtinction

    folder = files("grizli") / "data" / "templates" / "fsps"
    templates = [Template(file=str(folder / f"fsps_QSF_12_v3_{i:03d}.dat")) for i in range(1, TEMPLATES + 1)]
    rest, igm = templates[0].wave, Asada24()
    if any(not np.array_equal(one.wave, rest) for one in templates):
        raise ValueError("templates are not on the same wavelengths")
    lyman, dust = rest < igm.max_fuv_wave, GalacticExtinction(EBV=galactic_ebv, Rv=3.1)
    result = np.empty((len(grid), len(templates), len(filters)))
    for i, z in enumerate(grid):
        passed = np.ones(len(rest))
        passed[lyman] = igm.full_IGM(z, rest[lyman] * (1 + z))
        passed *= 10 ** (-0.4 * np.asarray(dust(rest * (1 + z)), float))
        result[i] = [one.integrate_filter(list(filters), scale=passed, z=z) for one in templates]
    return result


def fit_all(
    batches: Sequence[NDArray[np.intp]], flux: Array, error: Array, fluxes: Array, relative: Array, threads: int
) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """Fit batches of sources, in as many processes as there are threads.

    Yields
    ------
    rows : ndarray, shape (m,)
    chi2 : ndarray, shape (m, nz)
    """
    tasks = [(flux[rows], error[rows], fluxes, relative) for rows in batches]
    if threads == 1 or len(tasks) < 2:
        yield from zip(batches, map(fit, tasks), strict=True)
        return
    # not forked: libraries may hold threads of their own
    with ProcessPoolExecutor(threads, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from zip(batches, pool.map(fit, tasks), strict=True)


def fit(task: tuple[Array, Array, Array, Array]) -> Array:
    """chi2 of sources (m,) at each redshift by eazy's fit, shape (m, nz).

    Parameters
    ----------
    task : tuple
        Fluxes and errors (m, nf); fluxes of the templates (nz, templates, nf); their relative errors (nz, nf).

    Returns
    -------
    ndarray
        NaN where the least squares did not converge.
    """
    with quiet():
        from eazy.photoz import fit_by_redshift

    flux, error, fluxes, relative = task
    good = pz.usable(flux, error)
    flux, error = np.where(good, flux, 0.0), np.where(good, error, -1.0)  # eazy leaves out what has no error
    ones = np.ones(flux.shape[1])
    chi2 = np.empty((len(flux), len(fluxes)))
    for i, (model, spread) in enumerate(zip(fluxes, relative, strict=True)):
        _, chi2[:, i], coefficients = fit_by_redshift(i, 0.0, model, flux, error, spread, ones, 0, "nnls", True, 1)
        # eazy answers with no template at all when a fit fails, which is right only if none would help
        variance = error**2 + (spread * np.maximum(flux, 0)) ** 2
        helps = ((good * flux / variance) @ model.T > 0).any(axis=1)
        chi2[helps & ~coefficients.any(axis=1), i] = np.nan
    return chi2


def rows_of(
    table: "Table", names: Sequence[str], good: NDArray[np.bool_], grid: Array, chi2: Array, probability: Array
) -> list[dict[str, Any]]:
    """Rows of PHOTOZ, one for every source."""
    found = pz.summarise(grid, probability)
    rows = []
    for i, source in enumerate(table):
        count, bad = int(good[i].sum()), int(np.isnan(chi2[i]).sum())
        reason = ""
        if count < LEAST_FILTERS:
            has = [name for name, one in zip(names, good[i], strict=True) if one]
            reason = f"fewer than {LEAST_FILTERS} filters with a measurement: {', '.join(has) or 'none'}"
        elif bad:
            reason = f"the fit fails at {bad} of {len(grid)} redshifts"
        best = 0 if reason else int(chi2[i].argmin())
        row = {
            "id": int(source["id"]), "ra": float(source["ra"]), "dec": float(source["dec"]), "z_phot": found.z[i],
            "risk": found.risk[i], "z_low": found.low[i], "z_median": found.median[i], "z_high": found.high[i],
            "z_mode": found.mode[i], "z_min_chi2": grid[best], "chi2": chi2[i, best],
        }  # fmt: skip
        if reason:
            row |= {name: np.nan for name in row if name not in ("id", "ra", "dec")}
        rows.append(row | {"n_filters": count, "reason": reason})
    return rows


def product(field: str, rows: list[dict[str, Any]], grid: Array, probability: Array, names: Sequence[str]) -> "HDUList":
    """The field's FITS file."""
    from astropy.io import fits
    from astropy.table import Table

    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            io.table_hdu(rows, "PHOTOZ", COLUMNS),
            fits.BinTableHDU(Table({"z": grid}), name="ZGRID"),
            fits.ImageHDU(probability.astype(np.float32), name="PZ"),
        ]
    )
    hdus[0].header["FIELD"] = field
    hdus[0].header["FILTERS"] = ",".join(names)
    hdus["ZGRID"].header["TCOMM1"] = "redshifts; bins of PZ meet half-way between them"
    hdus["PZ"].header["COMMENT"] = "Probability per bin: a row per row of PHOTOZ, of sum 1, a column per row of ZGRID."
    return hdus


def summary(field: str, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Metrics of a field's redshifts."""
    fitted = [row for row in rows if not row["reason"]]
    width = [(row["z_high"] - row["z_low"]) / 2 / (1 + row["z_median"]) for row in fitted]
    return {
        "field": field,
        "filters": list(names),
        "degenerate": len(names) < FEW_FILTERS,
        "sources": len(rows),
        "fitted": len(fitted),
        "sure": sum(row["risk"] < pz.SURE for row in fitted),
        "median_risk": float(np.median([row["risk"] for row in fitted])) if fitted else None,
        "median_width": float(np.median(width)) if fitted else None,
        "reasons": dict(Counter(row["reason"] for row in rows if row["reason"])),
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """eazy prints what it misses when it is imported; a log has no use for it."""
    with contextlib.redirect_stdout(text.StringIO()):
        yield
