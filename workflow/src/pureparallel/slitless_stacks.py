"""Slitless 2-D spectra of a chunk of sources in one FITS file: what `stack` averaged, for the eye and for later use.

STACKS
    A row per source, grism, filter and roll, see `COLUMNS`; the same rows as those of all SPECTRA tables of the chunk.
SCI, ERR, MODEL, CONTAM (images of one dimension)
    The pixels of all stacks, one after the other, row by row: those of a row are ``[first : first + ny * nx]``, to be
    given the shape (ny, nx). Rows run across the dispersion, the middle one on the source's trace; columns are the
    bins of the 1-D spectra, ``wave_first + i * wave_step``. 1e-20 erg/s/cm2/Å in a pixel, NaN where there is nothing.
    SCI is free of CONTAM, the light of all other sources; MODEL is the source's own by photometry, without lines.
    Neighbouring pixels share their noise, and ERR holds for each alone: measure on the 1-D spectra.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, io
from .provenance import Lineage
from .slitless_spectra import FLUX_UNIT

if TYPE_CHECKING:
    from astropy.table import Row, Table

Image = NDArray[np.float32]

IMAGES = ("SCI", "ERR", "MODEL", "CONTAM")

COLUMNS: dict[str, tuple[str | None, str]] = {
    "source": (None, "id of the source"),
    "grism": (None, "disperser"),
    "filter": (None, "blocking filter"),
    "roll": ("deg", "position angle of V3"),
    "exposures": (None, "number stacked"),
    "seconds": ("s", "exposure time of all"),
    "rejected": (None, "part of the good pixels on the source's trace that were outliers"),
    "snr": (None, "signal to noise of the 1-D spectrum, median of its bins"),
    "wave_error": ("Angstrom", "1 sigma of the wavelengths' zero point"),
    "wave_first": ("um", "centre of the first bin"),
    "wave_step": ("um", "width of a bin"),
    "ny": (None, "rows"),
    "nx": (None, "columns"),
    "pixel": ("arcsec", "height of a row"),
    "first": (None, "index of its first pixel in SCI, ERR, MODEL, CONTAM"),
}
"""Unit and description of each column of STACKS."""


def write(path: Path, rows: Sequence[dict[str, Any]], images: Sequence[Image], lineage: Lineage) -> None:
    """Write a chunk's stacks.

    Parameters
    ----------
    path : Path
    rows : sequence of dict
        What `COLUMNS` names but for the places in the file.
    images : sequence of ndarray, shape (4, ny, nx)
        SCI, ERR, MODEL and CONTAM of each row.
    lineage : Lineage
    """
    from astropy.io import fits
    from astropy.table import Table

    first = 0
    for row, image in zip(rows, images, strict=True):
        row |= {"ny": image.shape[1], "nx": image.shape[2], "first": first}
        first += image[0].size
    table: Any = rows
    if not rows:  # as nothing tells the columns' types
        names = [name for name in COLUMNS if name in ("source", "grism", "filter")]
        table = Table({name: np.zeros(0, "U1" if name in names else float) for name in COLUMNS})
    hdus = fits.HDUList([fits.PrimaryHDU(), io.table_hdu(table, "STACKS", COLUMNS)])
    for k, name in enumerate(IMAGES):
        pixels = np.concatenate([np.ravel(image[k]) for image in images]) if images else np.zeros(1)
        hdu = fits.ImageHDU(pixels.astype(np.float32), name=name)
        hdu.header["BUNIT"] = FLUX_UNIT
        hdus.append(hdu)
    io.write_fits(path, hdus, lineage)


@dataclass(frozen=True)
class Stacks:
    """What a file holds: the rows of STACKS, and the packed images by extension."""

    table: "Table"
    arrays: Mapping[str, Image]

    def of(self, row: "Row") -> Image:
        """The images of a row: SCI, ERR, MODEL and CONTAM, shape (4, ny, nx)."""
        ny, nx, first = (int(row[key]) for key in ("ny", "nx", "first"))
        return np.stack([self.arrays[name][first : first + ny * nx].reshape(ny, nx) for name in IMAGES])


def read(path: Path) -> Stacks:
    """Read a file of stacks."""
    from astropy.table import Table

    hdus = io.open_fits(path, extensions=("STACKS", *IMAGES))
    table = Table.read(hdus["STACKS"], mask_invalid=False)
    table.convert_bytestring_to_unicode()
    missing = set(COLUMNS) - set(table.colnames)
    if missing:
        raise UserError(f"{path}: STACKS has no column {', '.join(sorted(missing))}; make it again by stack")
    return Stacks(table, {name: np.asarray(hdus[name].data) for name in IMAGES})
