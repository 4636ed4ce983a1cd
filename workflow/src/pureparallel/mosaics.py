"""What is measured in mosaics: their pixels in microjansky, the sources that were found in them, images of stars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, io
from .core.apertures import Ellipse
from .core.fluxes import Shape
from .core.grid import Grid
from .core.psf_mosaic import RADIUS

Array = NDArray[np.float64]

MICROJANSKY = 1e12
"""Per MJy."""

COLUMNS = (
    "label", "xcentroid", "ycentroid", "sky_centroid", "semimajor_sigma", "semiminor_sigma", "orientation",
    "kron_radius", "is_extended", "reliable", "flags",
)  # fmt: skip
"""Of detect's catalogue, that are needed here."""

LARGEST = 10.0
"""Arcsec: no aperture is larger."""


@dataclass(frozen=True)
class Band:
    """A filter's mosaic in microjansky per pixel.

    Attributes
    ----------
    data, error, weight : ndarray of float32, shape (ny, nx)
        The error allows for the correlations of pixels; the weight is the sky's inverse variance. 0 where there are no
        data.
    exposures : tuple of str
    pixfrac : float
    kernel : str
        As the exposures were drizzled.
    """

    data: NDArray[np.float32]
    error: NDArray[np.float32]
    weight: NDArray[np.float32]
    exposures: tuple[str, ...]
    pixfrac: float
    kernel: str


@dataclass(frozen=True)
class Catalogue:
    """Sources of detect.

    Attributes
    ----------
    ra, dec : ndarray, shape (n,)
        Degrees.
    points : ndarray of bool, shape (n,)
        Those that are not extended.
    reliable : ndarray of bool, shape (n,)
        Those that detect does not doubt.
    flags : ndarray of int, shape (n,)
        Of detect.
    shapes : tuple of Shape
        Labels, positions, and apertures for totals.
    """

    ra: Array
    dec: Array
    points: NDArray[np.bool_]
    reliable: NDArray[np.bool_]
    flags: NDArray[np.int64]
    shapes: tuple[Shape, ...]

    @property
    def places(self) -> Array:
        """0-based pixels x, y, shape (n, 2)."""
        return np.array([(shape.x, shape.y) for shape in self.shapes], float).reshape(-1, 2)


def by_filter(paths: Sequence[Path]) -> dict[str, Path]:
    """Mosaics by filter, which are on one grid."""
    from astropy.io import fits

    found: dict[str, Path] = {}
    grids: dict[Grid, Path] = {}
    for path in paths:
        try:
            filter, grid = str(fits.getheader(path)["FILTER"]), Grid.of(fits.getheader(path, "SCI"))
        except (OSError, KeyError) as error:
            raise UserError(f"{path}: not a mosaic ({error}); make it again by mosaic") from error
        if filter in found:
            raise UserError(f"{path}: {found[filter]} is of {filter} too; give one mosaic per filter")
        grids.setdefault(grid, path)
        if len(grids) > 1:
            raise UserError(f"{path}: not on the grid of {next(iter(grids.values()))}; make both again by mosaic")
        found[filter] = path
    return found


def read_band(path: Path) -> Band:
    """A mosaic of the step mosaic."""
    hdus = io.open_fits(path, extensions=("SCI", "ERR", "WHT"))
    header = hdus[0].header
    unit = float(header["PIXAR_SR"]) * MICROJANSKY
    weight = hdus["WHT"].data / np.float32(unit**2)
    data, error = hdus["SCI"].data * np.float32(unit), hdus["ERR"].data * np.float32(unit * header["CORRFAC"])
    whole = (weight > 0) & np.isfinite(data) & np.isfinite(error)
    for one in (data, error, weight):
        one[~whole] = 0
    exposures = tuple(str(value) for key, value in header.items() if key.startswith("EXPOS") and key[5:].isdigit())
    return Band(data, error, weight, exposures, float(header["PIXFRAC"]), str(header["KERNEL"]))


def read_segments(path: Path, grid: Grid) -> NDArray[np.int32]:
    """Labels of sources on the mosaics' pixels."""
    segments = io.open_fits(path, extensions=("SCI",))["SCI"].data
    if segments.shape != grid.shape:
        raise UserError(
            f"{path}: {segments.shape[1]} x {segments.shape[0]} pixels, but the mosaics have {grid.shape[1]} x "
            f"{grid.shape[0]}; make it again by detect"
        )
    return segments.astype(np.int32)


def read_catalogue(path: Path, segments: NDArray, scale: float, kron: float, smallest: float) -> Catalogue:
    """Sources, with apertures for their totals.

    Parameters
    ----------
    path : Path
    segments : ndarray of int, shape (ny, nx)
        Labels of all of them.
    scale : float
        Arcsec per pixel.
    kron : float
        Axes of the aperture over the Kron radius times the source's own.
    smallest : float
        Arcsec, least semi-axis.
    """
    from astropy.table import Table

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    table = Table.read(path, format="ascii.ecsv")
    missing = [name for name in COLUMNS if name not in table.colnames]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; make it again by detect")

    strange = sorted(set(map(int, table["label"])) - set(np.unique(segments).tolist()))
    if strange:
        raise UserError(f"{path}: source {strange[0]} is not in the segmentation; make both again by detect")

    def column(name: str) -> Array:
        return np.ma.filled(np.ma.asarray(getattr(table[name], "value", table[name]), float), np.nan)

    axes = [
        np.clip(np.nan_to_num(kron * column("kron_radius") * column(name)), smallest / scale, LARGEST / scale)
        for name in ("semimajor_sigma", "semiminor_sigma")
    ]
    shapes = tuple(
        Shape(int(label), float(x), float(y), Ellipse(float(a), float(b), float(theta)))
        for label, x, y, a, b, theta in zip(
            table["label"], column("xcentroid"), column("ycentroid"), *axes, np.nan_to_num(column("orientation")),
            strict=True,
        )
    )  # fmt: skip
    sky = table["sky_centroid"]
    return Catalogue(
        np.array(sky.ra.deg, float), np.array(sky.dec.deg, float), ~np.asarray(table["is_extended"], bool),
        np.asarray(table["reliable"], bool), np.asarray(table["flags"], int), shapes,
    )  # fmt: skip


def read_stars(paths: Sequence[Path], scale: float) -> dict[str, Array]:
    """Images of stars that a user gives, by filter: square, centred on a pixel, cut or padded to the usual size."""
    found = {}
    for path in paths:
        hdu = next((hdu for hdu in io.open_fits(path) if hdu.data is not None), None)
        header: Mapping[str, Any] = {} if hdu is None else hdu.header
        where = f"photometry.psf_files: {path}"
        if hdu is None or not {"FILTER", "PIXELSCL"} <= set(header):
            raise UserError(f"{where}: no image with FILTER and PIXELSCL in its header")
        image = np.asarray(hdu.data, float)
        if image.ndim != 2 or image.shape[0] != image.shape[1] or image.shape[0] % 2 == 0:
            raise UserError(f"{where}: an image of {image.shape}; give a square one of an odd number of pixels")
        if abs(float(header["PIXELSCL"]) / scale - 1) > 0.01:
            raise UserError(
                f"{where}: PIXELSCL is {header['PIXELSCL']}, but the mosaics have {scale:g} arcsec per pixel"
            )
        if not (np.isfinite(image).all() and 0 < image.sum() <= 1.001):
            raise UserError(
                f"{where}: the sum is {image.sum():g}; it must be the part of the light that it holds, up to 1"
            )
        half, own = int(np.ceil(RADIUS / scale)), image.shape[0] // 2
        image = np.pad(image, max(half - own, 0))
        cut = slice(max(own - half, 0), image.shape[0] - max(own - half, 0))
        found[str(header["FILTER"])] = image[cut, cut]
    return found
