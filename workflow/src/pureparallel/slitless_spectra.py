"""Slitless 1-D spectra of a chunk of sources in one FITS file: what `stack` hands to `fit_redshift`.

SOURCES
    A row per source: ``id``, ``ra``, ``dec`` (deg) and ``reason``, empty or why there are no spectra.
WAVE, SPECTRA (EXTVER 1, 2, ...)
    One pair per grism and filter, named by GRISM and FILTER in both headers. WAVE has one column, ``wave``: the bins'
    centres (μm), in equal steps. SPECTRA has a row per source and roll:

    ``source``, ``roll``
        The source's id; position angle (deg).
    ``flux``, ``err``, ``contamination``
        Vectors over the bins, 1e-20 erg/s/cm2/Å: the spectrum after the contamination model was subtracted, its error
        (resampling's covariance included) and that model. Where there is nothing, err is 0 or NaN.
    ``profile``
        The source's light along the dispersion, point-spread function included, as it falls on the detector: odd
        number of samples, the middle one at the position that the wavelengths refer to; a cubic spline runs between.
        Integrated over a bin, it is what a line looks like. Its sum does not matter.
    ``dispersion``
        Å per sample of the profile: of a native pixel, where it is sampled in those.

All spectra of a filter should share one wavelength grid, whatever the grism: they are then fitted at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, io
from .core.slitless import Spectra
from .provenance import Lineage

if TYPE_CHECKING:
    from astropy.io.fits import HDUList
    from astropy.table import Table

Array = NDArray[np.float64]

UNIT = 1e-20
"""Of flux densities, erg/s/cm2/Å."""

FLUX_UNIT = "10**-20 erg s-1 cm-2 Angstrom-1"
COLUMNS = {
    "source": (None, "id of the source"),
    "roll": ("deg", "position angle of the observation"),
    "dispersion": ("Angstrom", "per sample of the profile"),
    "profile": (None, "light along the dispersion"),
    "flux": (FLUX_UNIT, "after subtraction of the contamination"),
    "err": (FLUX_UNIT, "0 or NaN where there is nothing"),
    "contamination": (FLUX_UNIT, "model that was subtracted"),
}
MODEL_COLUMNS = {
    "model": (FLUX_UNIT, "lines and continuum"),
    "continuum": (FLUX_UNIT, "stellar light and zero levels"),
}
SOURCE_COLUMNS = {
    "id": (None, "name of the source"),
    "ra": ("deg", "right ascension"),
    "dec": ("deg", "declination"),
    "reason": (None, "why there are no spectra"),
}


@dataclass(frozen=True)
class Setup:
    """All spectra of a chunk taken by one grism through one filter: q spectra of n bins, profiles of m samples.

    Attributes
    ----------
    grism, filter : str
    wave : ndarray, shape (n,)
        μm.
    source : ndarray of str, shape (q,)
    roll, dispersion : ndarray, shape (q,)
        deg; Å per sample of the profile.
    profile : ndarray, shape (q, m)
    flux, err, contamination : ndarray, shape (q, n)
        1e-20 erg/s/cm2/Å.
    """

    grism: str
    filter: str
    wave: Array
    source: NDArray[np.str_]
    roll: Array
    dispersion: Array
    profile: Array
    flux: Array
    err: Array
    contamination: Array

    @property
    def name(self) -> str:
        """Grism and filter."""
        return f"{self.grism} {self.filter}"


def write(path: Path, sources: "Table", setups: Sequence[Setup], lineage: Lineage) -> None:
    """Write a chunk's spectra.

    Parameters
    ----------
    path : Path
    sources : Table
        With ``id``, ``ra``, ``dec`` and ``reason``.
    setups : sequence of Setup
    lineage : Lineage
    """
    from astropy.io import fits
    from astropy.table import Table

    hdus = fits.HDUList([fits.PrimaryHDU(), io.table_hdu(sources[list(SOURCE_COLUMNS)], "SOURCES", SOURCE_COLUMNS)])
    for version, setup in enumerate(setups, start=1):
        wave = io.table_hdu(Table({"wave": setup.wave}), "WAVE", {"wave": ("um", "centre of the bin")})
        columns: dict[str, Any] = {"source": setup.source, "roll": setup.roll, "dispersion": setup.dispersion}
        columns |= {name: np.asarray(getattr(setup, name), np.float32) for name in list(COLUMNS)[3:]}
        spectra = io.table_hdu(Table(columns), "SPECTRA", COLUMNS)
        for hdu in (wave, spectra):
            hdu.header["GRISM"], hdu.header["FILTER"] = setup.grism, setup.filter
            hdu.ver = version
            hdus.append(hdu)
    io.write_fits(path, hdus, lineage)


def read(path: Path) -> tuple["Table", list[Setup]]:
    """Read a chunk's spectra.

    Returns
    -------
    sources : Table
    setups : list of Setup

    Raises
    ------
    UserError
        If something is missing or not as this module's documentation says.
    """
    from astropy.table import Table

    hdus = io.open_fits(path, extensions=("SOURCES",))
    sources = Table.read(hdus["SOURCES"], mask_invalid=False)
    _require(path, "SOURCES", sources.colnames, SOURCE_COLUMNS)
    versions = sorted(hdu.ver for hdu in hdus if hdu.name == "SPECTRA")
    return sources, [_setup(path, hdus, version) for version in versions]


def _require(path: Path, where: str, found: Sequence[str], wanted: Sequence[str] | dict[str, Any]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(f"{path}: {where} has no column {', '.join(missing)}; make it again by stack")


def _setup(path: Path, hdus: "HDUList", version: int) -> Setup:
    where = f"SPECTRA {version}"
    if ("WAVE", version) not in hdus:
        raise UserError(f"{path}: WAVE {version} is missing; make it again by stack")
    hdu, wave = hdus["SPECTRA", version], np.asarray(hdus["WAVE", version].data["wave"], float)
    _require(path, where, hdu.columns.names, COLUMNS)
    numbers = {name: np.asarray(hdu.data[name], float) for name in list(COLUMNS)[1:]}
    steps = np.diff(wave)
    if len(wave) < 2 or not np.allclose(steps, steps[0], rtol=1e-3) or steps[0] <= 0:
        raise UserError(f"{path}: WAVE {version} is not in equal, increasing steps; make it again by stack")
    if numbers["flux"].shape[1:] != wave.shape:
        raise UserError(f"{path}: {where} has {numbers['flux'].shape[1]} bins, WAVE {version} has {len(wave)}")
    if numbers["profile"].shape[1] % 2 == 0:
        raise UserError(f"{path}: {where}: a profile has an even number of samples, so that none is in the middle")
    light = np.nansum(numbers["profile"], axis=1)
    if not (np.all(numbers["dispersion"] > 0) and np.all(light > 0)):
        raise UserError(
            f"{path}: {where}: a dispersion or the sum of a profile is not positive; make it again by stack"
        )
    source = np.char.strip(np.asarray(hdu.data["source"], str))
    return Setup(str(hdu.header["GRISM"]), str(hdu.header["FILTER"]), wave, source, **numbers)


@dataclass(frozen=True)
class Gathered:
    """All spectra on one wavelength grid, arranged by source for the fit.

    Attributes
    ----------
    spectra : Spectra
        Sources in the order asked for; those with fewer spectra than others have empty ones.
    setup, row : ndarray of int, shape (s, k)
        Where each came from: index of its setup and row therein; -1 for an empty one.
    """

    spectra: Spectra
    setup: NDArray[np.int64]
    row: NDArray[np.int64]


def gather(setups: Sequence[Setup], ids: Sequence[str]) -> list[Gathered]:
    """Arrange spectra by wavelength grid and source, grids in increasing wavelength."""
    grids: list[list[int]] = []
    for i, setup in enumerate(setups):
        same = [g for g in grids if _same_grid(setups[g[0]].wave, setup.wave)]
        same[0].append(i) if same else grids.append([i])
    grids.sort(key=lambda members: float(setups[members[0]].wave[0]))
    return [_arranged(setups, members, ids) for members in grids]


def _same_grid(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=0.02 * (a[1] - a[0])))


def _arranged(setups: Sequence[Setup], members: list[int], ids: Sequence[str]) -> Gathered:
    places: dict[str, list[tuple[int, int]]] = {source: [] for source in ids}
    for i in members:
        for row, source in enumerate(setups[i].source):
            if source in places:
                places[source].append((i, row))
    depth = max(1, *(len(found) for found in places.values()))
    wave = setups[members[0]].wave * 1e4
    samples = max(setups[i].profile.shape[1] for i in members)
    shape = (len(ids), depth)
    flux, err, contamination = (np.zeros((*shape, len(wave))) for _ in range(3))
    profile, dispersion = np.zeros((*shape, samples)), np.ones(shape)
    setup_of, row_of = np.full(shape, -1), np.full(shape, -1)
    for s, source in enumerate(ids):
        for k, (i, row) in enumerate(places[source]):
            one = setups[i]
            margin = (samples - one.profile.shape[1]) // 2
            flux[s, k], err[s, k], contamination[s, k] = one.flux[row], one.err[row], one.contamination[row]
            profile[s, k, margin : samples - margin] = one.profile[row]
            dispersion[s, k] = one.dispersion[row]
            setup_of[s, k], row_of[s, k] = i, row
    return Gathered(Spectra(wave, flux, err, contamination, profile, dispersion), setup_of, row_of)


def model_hdu(setup: Setup, model: Array, continuum: Array, version: int) -> Any:
    """A MODEL table, row by row that of SPECTRA of the same version: ``source``, ``roll``, ``model``, ``continuum``.

    Parameters
    ----------
    setup : Setup
    model, continuum : ndarray, shape (q, n)
        1e-20 erg/s/cm2/Å.
    version : int
        EXTVER.
    """
    from astropy.table import Table

    columns = {"source": setup.source, "roll": setup.roll, "model": model, "continuum": continuum}
    described = {name: COLUMNS[name] for name in ("source", "roll")} | MODEL_COLUMNS
    hdu = io.table_hdu(Table(columns), "MODEL", described)
    hdu.header["GRISM"], hdu.header["FILTER"], hdu.ver = setup.grism, setup.filter, version
    return hdu


def of_source(spectra: "HDUList", redshifts: "HDUList", source: str) -> "HDUList | None":
    """All spectra of one source with their models: a table SPECTRUM for each grism, filter and roll.

    Parameters
    ----------
    spectra, redshifts : HDUList
        A chunk's file of spectra, and what `fit_redshift` made of it.
    source : str

    Returns
    -------
    HDUList or None
        None where there is no spectrum.
    """
    from astropy.io import fits
    from astropy.table import Table

    found = fits.HDUList([fits.PrimaryHDU()])
    for hdu in spectra:
        if hdu.name != "SPECTRA":
            continue
        models = redshifts["MODEL", hdu.ver].data
        for row in np.flatnonzero(np.char.strip(np.asarray(hdu.data["source"], str)) == source):
            columns = {"wave": np.asarray(spectra["WAVE", hdu.ver].data["wave"], float)}
            columns |= {name: hdu.data[name][row] for name in ("flux", "err", "contamination")}
            columns |= {name: models[name][row] for name in ("model", "continuum")}
            described = {"wave": ("um", "centre of the bin")} | {name: COLUMNS[name] for name in list(COLUMNS)[4:]}
            one = io.table_hdu(Table(columns), "SPECTRUM", described | MODEL_COLUMNS)
            one.header["SOURCE"], one.header["ROLL"] = source, (float(hdu.data["roll"][row]), "position angle, deg")
            one.header["GRISM"], one.header["FILTER"] = hdu.header["GRISM"], hdu.header["FILTER"]
            one.ver = len(found)
            found.append(one)
    return found if len(found) > 1 else None
