"""Draw a field's exposures by filter and grism, from its manifest."""

from pathlib import Path

from .. import UserError, config, io
from ..acquire.plan import footprints_of
from ..core.plot_discover import exposures_figure


def field_map(*, field: str, manifest: Path, figure: Path) -> None:
    """Draw where a field's exposures look.

    Parameters
    ----------
    field : str
        Name of the field.
    manifest : Path
        Input: its manifest.
    figure : Path
        Output: PNG.

    Raises
    ------
    UserError
        If no exposure of the manifest has a footprint.
    """
    rows = [row for row in config.read_manifest(manifest) if row["footprint"]]
    if not rows:
        raise UserError(f"{manifest}: footprint: is empty in every row; discover fills it")
    io.write_figure(figure, exposures_figure(rows, footprints_of, field))
