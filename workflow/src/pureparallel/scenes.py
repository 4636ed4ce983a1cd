"""A field's sources as dispersed exposures need them: their mosaics, segments, fluxes, and stars that saturate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, io
from .core import astrometry, dispersed, gaps, psf_model, star_wings
from .core.contamination import Scene
from .core.dispersed import Mosaic, Stamp
from .core.grid import ARCSEC, Grid
from .core.grism import Optics
from .refcats import read_catalogue

if TYPE_CHECKING:
    from astropy.table import Table

Array = NDArray[np.float64]

CORE = 0.15
"""Arcsec around a star within which no pixel of a mosaic may be missing, if the mosaic is to show it."""

GLARE = 0.6
"""Arcsec around a star that the mosaic does not show within which detections are pieces of it."""

FAINTEST_STAR = 21.0
"""Magnitude of catalogued stars that are looked after where a mosaic does not show them."""

STAR_REACH = (24, 100)
"""Pixels that a star's light is followed to, at least and at most."""

WAVES = 80
"""At which spectra are known."""


@dataclass(frozen=True)
class Sources:
    """A field's sources.

    Attributes
    ----------
    ids : ndarray of int, shape (n,)
    ra, dec : ndarray, shape (n,)
        Degrees.
    flux, error : ndarray, shape (n, b)
        μJy in the segments, by filter; NaN where a mosaic has no pixel.
    mosaics : mapping of str to Mosaic
        By filter, ascending in wavelength.
    star_ra, star_dec, star_flux : ndarray, shape (s,)
        Degrees, at the field's epoch; μJy, guessed.
    """

    ids: NDArray[np.int64]
    ra: Array
    dec: Array
    flux: Array
    error: Array
    mosaics: Mapping[str, Mosaic]
    star_ra: Array
    star_dec: Array
    star_flux: Array

    def nearest(self, filter: str) -> str:
        """The filter that has a mosaic and is nearest in wavelength."""
        return min(self.mosaics, key=lambda one: abs(np.log(dispersed.pivot(one) / dispersed.pivot(filter))))

    def magnitudes(self, filter: str) -> Array:
        """AB magnitudes (n,) in the nearest filter; infinite where nothing is seen."""
        flux = np.nan_to_num(self.flux[:, list(self.mosaics).index(self.nearest(filter))])
        return np.where(flux > 0, 23.9 - 2.5 * np.log10(np.where(flux > 0, flux, 1)), np.inf)


def read_sources(
    catalogue: Path, segmentation: Path, mosaics: Sequence[Path], gaia: Sequence[Path], epoch: float
) -> Sources:  # fmt: skip
    """Read the products of detection and the mosaics.

    Parameters
    ----------
    catalogue, segmentation : Path
    mosaics : sequence of Path
    gaia : sequence of Path
        Catalogues of stars, or none.
    epoch : float
        Julian year of the field.
    """
    table = read_table(catalogue)
    labels = np.asarray(io.open_fits(segmentation, extensions=("SCI",))["SCI"].data)
    ids = np.asarray(table["label"], np.int64)
    read = {
        filter: (one, error) for filter, one, error in (read_mosaic(path, labels, segmentation) for path in mosaics)
    }
    if not read:
        raise UserError(f"{catalogue}: no mosaic is given beside it")
    found: dict[str, tuple[Mosaic, Array, Array]] = {}
    for filter in sorted(read, key=dispersed.pivot):
        one, error = whole(filter, read)
        found[filter] = one, *_fluxes(one, error, ids)
    flux, sigma = np.stack([one[1] for one in found.values()], 1), np.stack([one[2] for one in found.values()], 1)
    ra, dec = _positions(table, catalogue)
    star_ra, star_dec, star_flux = _stars(gaia, epoch, float(ra.mean()), float(dec.mean()))
    images = {filter: one[0] for filter, one in found.items()}
    if any(_is_on_its_pointing(path) for path in mosaics):
        star_ra, star_dec = _moved(star_ra, star_dec, [one for one, _ in read.values()])
    return Sources(ids, ra, dec, flux, sigma, images, star_ra, star_dec, star_flux)


def _is_on_its_pointing(mosaic: Path) -> bool:
    from astropy.io import fits

    return bool(fits.getheader(mosaic).get("FRAME") == "pointing")


def _moved(ra: Array, dec: Array, mosaics: Sequence[Mosaic]) -> tuple[Array, Array]:
    """Positions of stars as mosaics have them that no catalogue holds in its place."""
    grid = mosaics[0].grid
    x, y = grid.to_pixel(ra, dec)
    dx, dy = star_wings.displacement([one.image for one in mosaics], np.stack([x, y], axis=1), grid.scale)
    return grid.to_sky(x + dx, y + dy)


def read_table(path: Path) -> "Table":
    """The catalogue of sources."""
    from astropy.table import Table

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        table = Table.read(path, format="ascii.ecsv")
    except Exception as reason:
        raise UserError(f"{path}: not a table in ECSV ({reason})") from reason
    if "label" not in table.colnames or not len(table):
        raise UserError(f"{path}: no source, or no column label; make it again by detect")
    return table


def _positions(table: "Table", path: Path) -> tuple[Array, Array]:
    if {"ra", "dec"} <= set(table.colnames):
        return np.asarray(table["ra"], float), np.asarray(table["dec"], float)
    if "sky_centroid" in table.colnames:
        return np.asarray(table["sky_centroid"].ra.deg), np.asarray(table["sky_centroid"].dec.deg)
    raise UserError(f"{path}: no columns ra and dec; make it again by detect")


def read_mosaic(path: Path, labels: NDArray[Any], segmentation: Path) -> tuple[str, Mosaic, NDArray[np.float32]]:
    """A mosaic's filter, the mosaic, and its error times what apertures' noise exceeds that of pixels by."""
    hdus = io.open_fits(path, extensions=("SCI", "ERR"))
    header, image = hdus[0].header, np.asarray(hdus["SCI"].data, np.float32)
    if image.shape != labels.shape:
        raise UserError(f"{segmentation}: of shape {labels.shape}, but {path} of {image.shape}; detect again")
    grid = Grid.of(hdus["SCI"].header)
    mosaic = Mosaic(image, labels, grid, float(header["PIXFRAC"]), str(header["KERNEL"]))
    factor = np.float32(max(float(header.get("CORRFAC", 1.0)), 1.0))
    return str(header["FILTER"]), mosaic, np.asarray(hdus["ERR"].data, np.float32) * factor


def whole(filter: str, mosaics: Mapping[str, tuple[Mosaic, NDArray[np.float32]]]) -> tuple[Mosaic, NDArray[np.float32]]:
    """A mosaic and its error, with sources that it shows in part made whole by other filters, the nearest first."""
    mosaic, error = mosaics[filter]
    others = sorted(mosaics, key=lambda one: abs(np.log(dispersed.pivot(one) / dispersed.pivot(filter))))[1:]
    lenders = [(mosaics[one][0].image, mosaics[one][1]) for one in others]
    image, error = gaps.fill(mosaic.image, error, mosaic.labels, lenders)
    return replace(mosaic, image=image), error


def _fluxes(mosaic: Mosaic, error: NDArray[np.float32], ids: NDArray[np.int64]) -> tuple[Array, Array]:
    known = np.isfinite(mosaic.image) & np.isfinite(error) & (mosaic.labels > 0)
    scale = mosaic.grid.pixel_area * dispersed.MEGAJANSKY
    inside = mosaic.labels[known]
    size = int(max(ids.max(), inside.max(initial=0))) + 1
    count = np.bincount(inside, minlength=size)[ids]
    flux = np.bincount(inside, mosaic.image[known], size)[ids] * scale
    sigma = np.sqrt(np.bincount(inside, error[known].astype(float) ** 2, size)[ids]) * scale
    return np.where(count > 0, flux, np.nan), np.where(count > 0, sigma, np.nan)


def _stars(paths: Sequence[Path], epoch: float, ra: float, dec: float) -> tuple[Array, Array, Array]:
    """Positions at an epoch and guessed fluxes of catalogued stars."""
    from astropy.table import Table

    parts: list[tuple[Array, Array, Array]] = [(np.zeros(0), np.zeros(0), np.zeros(0))]
    plane = astrometry.Plane(ra, dec)
    for path in paths:
        catalogue = read_catalogue(path, "gaia")
        table = Table.read(path, format="ascii.ecsv")
        if "phot_g_mean_mag" not in table.colnames:
            continue
        given = dict(
            zip(np.ma.filled(np.ma.asarray(table["ra"], float), np.nan), table["phot_g_mean_mag"], strict=True)
        )
        magnitude = np.array([np.ma.filled(given[one], np.nan) for one in catalogue.ra], float)
        near = np.flatnonzero((magnitude < FAINTEST_STAR) & np.isfinite(magnitude))
        near = near[astrometry.axes(ra, dec)[2] @ astrometry.unit(catalogue.ra[near], catalogue.dec[near]) > 0.9999]
        xy, _ = catalogue[near].at(epoch, plane)
        there = astrometry.sky(plane.deproject(xy)) if len(near) else (np.zeros(0), np.zeros(0))
        parts.append((*there, 10 ** (-0.4 * (magnitude[near] - 23.9))))
    star_ra, star_dec, flux = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return star_ra, star_dec, flux


@lru_cache(maxsize=8)
def _star(filter: str, pixel: float) -> psf_model.Star:
    return psf_model.star(filter, pixel)


def build(
    optics: Optics, sources: Sources, limit: float, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[Scene, Array, Array, NDArray[np.bool_]]:
    """The scene of an exposure.

    Parameters
    ----------
    optics : Optics
    sources : Sources
    limit : float
        DN/s of the brightest pixel of an order, below which it is left out.
    shift : (float, float)
        Pixels that everything is moved by.

    Returns
    -------
    scene : Scene
        Its stamps' labels are the sources' ids; stars that the mosaic does not show have negative ones.
    x, y : ndarray, shape (n,)
        Of the sources in the direct image.
    hidden : ndarray of bool, shape (n,)
        Sources that are pieces of such a star.
    """
    filter = sources.nearest(optics.filter)
    mosaic = sources.mosaics[filter]
    x, y = optics.direct(sources.ra, sources.dec)
    wave = np.linspace(*optics.orders[1].limits, WAVES)
    pivots = np.array([dispersed.pivot(one) for one in sources.mosaics])
    spectra = dispersed.power_laws(
        wave, pivots, sources.flux, sources.error, optics.orders[1].sensitivity(wave), dispersed.pivot(filter)
    )
    stars, measured = unseen(optics, sources, limit)
    hidden, scale = np.zeros(len(x), bool), float(np.sqrt(optics.pixel_area) / ARCSEC)
    for star in stars:
        hidden |= np.hypot(x - star.x, y - star.y) * scale < GLARE
    stamps = dispersed.cut_stamps(optics, mosaic, [int(one) for one in sources.ids], np.where(hidden, np.nan, x), y)
    kept = [i for i, stamp in enumerate(stamps) if stamp is not None]
    found = [stamp for stamp in stamps if stamp is not None]
    for star, flux in zip(stars, measured, strict=True):
        if flux > 0:
            light = _star(filter, round(scale, 4)).on
            found = [star_wings.without_glare(one, (star.x, star.y), flux, light, scale) for one in found]
    flat = np.ones((len(stars), len(wave)))
    return Scene(optics, found + stars, wave, np.concatenate([spectra[kept], flat]), limit, shift), x, y, hidden


def unseen(optics: Optics, sources: Sources, limit: float) -> tuple[list[Stamp], list[float]]:
    """Stamps of the stars that the mosaic does not show, as far as their light exceeds a limit, and their μJy by their
    wings in it; NaN where those are not told from the sky."""
    filter, pixel = sources.nearest(optics.filter), round(float(np.sqrt(optics.pixel_area) / ARCSEC), 4)
    mosaic = sources.mosaics[filter]
    x, y = optics.direct(sources.star_ra, sources.star_dec)
    stamps, measured = [], []
    for i in hidden_stars(sources, mosaic):
        if not np.isfinite(x[i]):
            continue
        measured.append(by_wings(mosaic, filter, sources.star_ra[i], sources.star_dec[i]))
        flux = measured[-1] if measured[-1] > 0 else float(sources.star_flux[i])
        # seen edge-on, wings fall off as the square of the distance, see `grism.lit`
        rate = flux * optics.orders[1].peak
        reach = float(np.clip(np.sqrt(0.75 * rate / np.pi / max(limit, 1e-6)), *STAR_REACH))
        light = _star(optics.filter, pixel).on
        stamps.append(star_wings.stamp(optics, light, -i - 1, (float(x[i]), float(y[i])), flux, reach))
    return stamps, measured


def by_wings(mosaic: Mosaic, filter: str, ra: float, dec: float) -> float:
    """μJy of a star by its wings in a mosaic that has nothing else of it, or NaN."""
    grid = mosaic.grid
    x, y = (float(v[0]) for v in grid.to_pixel(np.array([ra]), np.array([dec])))
    light = star_wings.measure(mosaic.image, (x, y), grid.scale, _star(filter, round(grid.scale, 4)).on)
    return light * grid.pixel_area * dispersed.MEGAJANSKY


def hidden_stars(sources: Sources, mosaic: Mosaic) -> list[int]:
    """Stars that a mosaic does not show: saturated, masked, or beside it."""
    x, y = mosaic.grid.to_pixel(sources.star_ra, sources.star_dec)
    ny, nx = mosaic.image.shape
    half = int(np.ceil(CORE / mosaic.grid.scale))
    found = []
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        if not np.isfinite(a + b):
            continue
        column, row = round(float(a)), round(float(b))
        part = mosaic.image[
            max(row - half, 0) : max(row + half + 1, 0), max(column - half, 0) : max(column + half + 1, 0)
        ]
        whole = half <= column < nx - half and half <= row < ny - half
        if not whole or not np.isfinite(part).all():
            found.append(i)
    return found
