"""Draw all redshifts of a field: how many there are, of which sources, from which lines, and how well known."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import io
from ..core import lines
from ..core.lines import Family
from ..core.plot_redshift_summary import Redshifts, summary_figure
from ..core.redshift import Array

if TYPE_CHECKING:
    from astropy.table import Table

DETECTED = 3.0
"""Flux over error from which a line is shown."""


def redshift_summary(*, field: str, table: Path, line_list: Path, figure: Path) -> None:
    """Draw a field's redshifts.

    Parameters
    ----------
    field : str
        Name of the field.
    table : Path
        Input: the field's redshifts, from merge_redshifts.
    line_list : Path
        Input: table of line families, resources/lines.ecsv.
    figure : Path
        Output: PNG.
    """
    from astropy.table import Table

    hdus = io.open_fits(table, extensions=("REDSHIFTS", "ZGRID", "PZ"))
    rows = Table.read(hdus["REDSHIFTS"], mask_invalid=False)
    grid = np.asarray(hdus["ZGRID"].data["z"], float)
    pdf = np.asarray(hdus["PZ"].data, float).reshape(len(rows), len(grid))
    z, flag = np.asarray(rows["z"], float), np.asarray(rows["flag"], int)
    seen = detected(rows, lines.families(Table.read(line_list)))
    mag = np.asarray(rows["mag"], float)
    found = Redshifts(z, mag, flag, pdf, grid, *seen)
    io.write_figure(figure, summary_figure(found, f"{field}: redshifts"), dpi=110)


def detected(rows: "Table", families: Iterable[Family]) -> tuple[NDArray[np.int64], Array, Array]:
    """Lines of all sources at S/N of `DETECTED` or more: index of the source, observed wavelength (μm), S/N."""
    z = np.asarray(rows["z"], float)
    found = []
    for family in families:
        flux, err = (np.asarray(rows[f"{key}_{family.name}"], float) for key in ("flux", "flux_err"))
        snr = flux / err
        seen = np.flatnonzero(np.isfinite(z) & (snr >= DETECTED))
        wave = family.wavelengths[np.argmax(family.fractions)] * (1 + z[seen]) / 1e4
        found.append((seen, wave, snr[seen]))
    source, wave, snr = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return source, wave, snr
