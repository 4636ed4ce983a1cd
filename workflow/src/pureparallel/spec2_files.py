"""Files of cut-outs: one per dispersed exposure, with the first orders of all its sources.

``{exposure}_spec2.fits`` holds, besides the lineage in its primary header:

Primary header
    EXPOSURE, GRISM, FILTER; DISPAXIS 1 where the light is dispersed along x, 2 along y; EXPTIME [s];
    WAVE_LOW, WAVE_UP [um], between which the filter lets light through; WAVEERR [pix], 1 sigma of the wavelengths' zero
    point; PIXSCALE [arcsec]; ROLL_REF [deg]; MAGLIMIT [mag].
SOURCES (table)
    A row per source of the catalogue, see `COLUMNS`. Where ``reason`` is empty there is a cut-out of ``ny`` rows and
    ``nx`` columns; else ``ny = nx = 0``.
SCI, ERR, DQ, CONTAM, MODEL (images of one dimension)
    The pixels of all cut-outs, one after the other, row by row: those of a source are ``[first : first + ny * nx]``,
    to be given the shape (ny, nx). Rows run across the dispersion, columns along it in the direction of growing
    pixel numbers; the cut-out of a grism that disperses along y is transposed. SCI is flat-fielded and free of sky, but
    *not* of CONTAM, the light of all other sources in all orders; MODEL is the source's own light in its first order.
    DN/s, without unit in DQ, whose bits are the pipeline's.
WAVELENGTH, TRACE, RESPONSE (images of one dimension)
    One value per column: those of a source are ``[first_column : first_column + nx]``. The wavelength [um] of light
    from the source's position; the row (0-based) on which that position is dispersed; and DN/s in the column, all its
    rows together, of a source of 1 uJy. So f_nu [uJy] is the sum over rows of SCI - CONTAM over RESPONSE. Light from
    a position that lies ``d`` pixels farther along the columns is at the wavelength of the column ``d`` pixels back;
    light from beside the position is dispersed beside the trace.
ALONG, ACROSS (images of one dimension)
    The source's light as it falls on the detector, seen along and across the dispersion, by the mosaic in this
    exposure's roll: those of a source are ``[first_profile : first_profile + n_profile]``, two samples a pixel, in the
    direction of growing pixel numbers, the middle one at the source's position; the sum over all of its light is 1.
    In ALONG, rows are weighted by ACROSS, as they are when a spectrum is extracted optimally.

``read`` gives all of it, and ``Cutouts.of(id)`` a source's arrays in shape.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import UserError, io
from .core.cutouts import Cutout
from .provenance import Lineage

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table

Array = NDArray[np.float64]

SUFFIX = "_spec2.fits"

PIXELS = ("SCI", "ERR", "DQ", "CONTAM", "MODEL")
PER_COLUMN = ("WAVELENGTH", "TRACE", "RESPONSE")
PROFILES = ("ALONG", "ACROSS")
UNITS = {"SCI": "adu/s", "ERR": "adu/s", "CONTAM": "adu/s", "MODEL": "adu/s", "WAVELENGTH": "um", "TRACE": "pixel",
         "RESPONSE": "adu/(s uJy)"}  # fmt: skip

COLUMNS: dict[str, tuple[str | None, str]] = {
    "id": (None, "of the catalogue"),
    "ra": ("deg", "ICRS"),
    "dec": ("deg", "ICRS"),
    "x": ("pixel", "in the direct image of this exposure, 0-based; NaN far outside of it"),
    "y": ("pixel", "in the direct image of this exposure, 0-based; NaN far outside of it"),
    "ny": (None, "rows of the cut-out, across the dispersion"),
    "nx": (None, "columns of the cut-out, along the dispersion"),
    "first": (None, "index of its first pixel in SCI, ERR, DQ, CONTAM, MODEL"),
    "first_column": (None, "index of its first column in WAVELENGTH, TRACE, RESPONSE"),
    "n_profile": (None, "samples of ALONG and of ACROSS"),
    "first_profile": (None, "index of its first sample in ALONG and ACROSS"),
    "left": ("pixel", "column of the exposure that its first pixel is from, 0-based"),
    "low": ("pixel", "row of the exposure that its first pixel is from, 0-based"),
    "flux": ("uJy", "in the filter, of the segment"),
    "mag": ("mag", "AB, the same"),
    "snr": (None, "of the model of its first order, all pixels together"),
    "fitted": (None, "whether its spectrum was refined on its own trace"),
    "complete": (None, "part of its columns that are on the detector and good at the trace"),
    "contamination": (None, "light of others over its own, in its cut-out where it is bright itself"),
    "reason": (None, "why there is no cut-out"),
}
"""Unit and description of each column of SOURCES."""


class Pixels(NamedTuple):
    """A source's cut-out: shapes (ny, nx), then (nx,), then (n_profile,). See the module."""

    sci: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: NDArray[np.uint32]
    contam: NDArray[np.float32]
    model: NDArray[np.float32]
    wavelength: Array
    trace: Array
    response: Array
    along: Array
    across: Array


@dataclass(frozen=True)
class Cutouts:
    """What a file holds.

    Attributes
    ----------
    header : Header
        The primary one.
    sources : Table
        All rows of SOURCES.
    arrays : mapping of str to ndarray
        The packed arrays by extension.
    """

    header: "Header"
    sources: "Table"
    arrays: Mapping[str, NDArray[Any]]

    def of(self, identifier: int) -> Pixels | None:
        """A source's cut-out; None if it has none."""
        rows = np.flatnonzero(self.sources["id"] == identifier)
        if not len(rows) or not self.sources["ny"][rows[0]]:
            return None
        row = self.sources[rows[0]]
        shape, first, column = (int(row["ny"]), int(row["nx"])), int(row["first"]), int(row["first_column"])
        images = [self.arrays[name][first : first + shape[0] * shape[1]].reshape(shape) for name in PIXELS]
        lines = [self.arrays[name][column : column + shape[1]] for name in PER_COLUMN]
        sample = int(row["first_profile"])
        lines += [self.arrays[name][sample : sample + int(row["n_profile"])] for name in PROFILES]
        return Pixels(*images, *lines)


def write(
    path: Path, header: Mapping[str, Any], rows: Sequence[dict[str, Any]], places: Sequence[Cutout | None],
    models: Sequence[NDArray[np.float32] | None], profiles: Sequence[tuple[Array, Array] | None],
    images: Mapping[str, NDArray[Any]], lineage: Lineage,
) -> None:  # fmt: skip
    """Write a file of cut-outs.

    Parameters
    ----------
    path : Path
    header : mapping
        Of keyword to value, or to value and comment.
    rows : sequence of dict
        What `COLUMNS` names but for the places in the file.
    places : sequence of Cutout or None
        Of each row.
    models : sequence of ndarray or None
        The source's own light in its cut-out, in the cut-out's shape.
    profiles : sequence of (ndarray, ndarray) or None
        ALONG and ACROSS, of one length.
    images : mapping of str to ndarray, shape (ny, nx)
        SCI, ERR, DQ, and TOTAL: the light of all sources.
    lineage : Lineage
    """
    from astropy.io import fits

    pixels: dict[str, list[NDArray[Any]]] = {name: [] for name in PIXELS}
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in (*PER_COLUMN, *PROFILES)}
    first = first_column = first_profile = 0
    for row, place, model, both in zip(rows, places, models, profiles, strict=True):
        row |= dict.fromkeys(("ny", "nx", "n_profile", "first", "first_column", "first_profile", "left", "low"), 0)
        if place is None or model is None or both is None:
            continue
        ny, nx = place.shape
        row |= {"ny": ny, "nx": nx, "first": first, "first_column": first_column}
        row |= {"n_profile": len(both[0]), "first_profile": first_profile}
        row |= {"left": place.box[1].start, "low": place.box[0].start}
        first, first_column, first_profile = first + ny * nx, first_column + nx, first_profile + len(both[0])
        cut = {name: place.of(images[name]) for name in ("SCI", "ERR", "DQ")}
        cut |= {"CONTAM": place.of(images["TOTAL"]) - model, "MODEL": model}
        for name in PIXELS:
            pixels[name].append(np.ravel(cut[name]))
        for name, line in zip((*PER_COLUMN, *PROFILES), (place.wave, place.trace, place.response, *both), strict=True):
            columns[name].append(line)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update(header)
    hdus.append(io.table_hdu(rows, "SOURCES", COLUMNS))
    for name, parts in (pixels | columns).items():
        kind = np.uint32 if name == "DQ" else np.float32 if name in PIXELS else np.float64
        hdu = fits.ImageHDU(np.concatenate(parts).astype(kind) if parts else np.zeros(1, kind), name=name)
        if name in UNITS:
            hdu.header["BUNIT"] = UNITS[name]
        hdus.append(hdu)
    io.write_fits(path, hdus, lineage)


def read(path: Path) -> Cutouts:
    """Read a file of cut-outs."""
    from astropy.table import Table

    hdus = io.open_fits(path, extensions=("SOURCES", *PIXELS, *PER_COLUMN, *PROFILES))
    table = Table.read(hdus["SOURCES"], mask_invalid=False)
    table.convert_bytestring_to_unicode()
    missing = set(COLUMNS) - set(table.colnames)
    if missing:
        raise UserError(f"{path}: SOURCES has no column {', '.join(sorted(missing))}; make it again by spec2")
    arrays = {name: np.asarray(hdus[name].data) for name in (*PIXELS, *PER_COLUMN, *PROFILES)}
    return Cutouts(hdus[0].header, table, arrays)


def peek(path: Path) -> tuple["Header", Array]:
    """Primary header and wavelengths of all cut-outs, one after the other; only `read` checks the rest of the file."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            return hdus[0].header, np.array(hdus["WAVELENGTH"].data)
    except (OSError, KeyError, ValueError, TypeError):
        cutouts = read(path)  # which says what is wrong
        return cutouts.header, cutouts.arrays["WAVELENGTH"]
