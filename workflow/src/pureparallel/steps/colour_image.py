"""Draw a field in colour, from the mosaics of its filters."""

from pathlib import Path

import numpy as np

from .. import UserError, io, log
from ..core.grid import Grid


def colour_image(*, field: str, mosaics: list[Path], figure: Path) -> None:
    """Draw the field's mosaics as one picture.

    Parameters
    ----------
    field : str
        Name of the field.
    mosaics : list of Path
        Input: the mosaics, of any number of filters, all on the field's grid.
    figure : Path
        Output: picture.
    """
    from ..core.plot_mosaic import means, rgb_figure

    bands, plane, first = {}, None, None
    for path in mosaics:
        hdus = io.open_fits(path, extensions=("SCI",))
        header = hdus["SCI"].header
        here = Grid.of(header)
        if plane is not None and here != plane:
            raise UserError(f"{path}: not on the grid of {first}; make both again by mosaic")
        plane, first = here, first or path
        data = hdus["SCI"].data
        if np.isfinite(data).any():
            bands[str(hdus[0].header["FILTER"])] = means(data, -(-max(data.shape) // 2000))
    if plane is None or not bands:
        raise UserError(f"field {field}: no mosaic has an exposure; mosaic says why")
    ordered = dict(sorted(bands.items(), key=lambda band: int("".join(c for c in band[0] if c.isdigit()))))
    io.write_figure(figure, rgb_figure(ordered, plane, field), dpi=130)
    log.of("colour_image").info("%s", ", ".join(ordered))
