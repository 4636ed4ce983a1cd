"""Draw the survey's fields on the sky, from their manifests."""

from pathlib import Path

from .. import config, io
from ..acquire.plan import footprints_of
from ..core.plot_discover import sky_figure


def sky_map(*, manifests: list[Path], figure: Path) -> None:
    """Draw where the survey's fields are.

    Parameters
    ----------
    manifests : list of Path
        Input: <field>.tsv of every field.
    figure : Path
        Output: PNG.
    """
    fields = {path.stem: footprints_of(config.read_manifest(path)) for path in manifests}
    io.write_figure(figure, sky_figure(fields))
