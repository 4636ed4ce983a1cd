"""Names: what a field, an exposure, a source and a product may be called, and nothing else may be.

Names from manifests reach paths and command lines, so every one is matched in full against a pattern here.
"""

import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from . import UserError

FIELD = r"[a-z0-9]+(?:-[a-z0-9]+)*"
"""Lower-case words joined by hyphens. No underscore: that separates the parts of a product's name."""

EXPOSURE = r"jw[0-9]{11}_[0-9a-z]{5}_[0-9]{5}(?:-seg[0-9]{3})?_[a-z0-9]+"
"""STScI's ``jw<ppppp><ooo><vvv>_<ggsaa>_<eeeee>_<detector>``."""

SLITLET = r"[0-9]{1,5}"
SOURCE = r"[A-Za-z0-9][A-Za-z0-9_+-]{0,63}"
FILTER = r"F[0-9]{3}(?:W2?|M|N)"
CHUNK = rf"(?:{FILTER}-(?:image|wfss)-(?:[0-9]{{1,4}}-)?)?[0-9]{{4}}"
"""Of sources, or of the exposures of a mode through a filter; later batches of these have their number."""

WILDCARDS = {
    "field": FIELD,
    "exposure": EXPOSURE,
    "slitlet": f"{EXPOSURE}_phot\\.{SLITLET}\\.{SOURCE}",
    "chunk": CHUNK,
    "filter": FILTER,
}
"""Wildcard constraints of the workflow."""


def check(kind: str, name: str, *, where: str) -> str:
    """Return `name` if it is a legal name of its `kind`.

    Parameters
    ----------
    kind : {"field", "exposure", "slitlet", "source"}
    name : str
    where : str
        The file and key that the name stands in, for the message.

    Raises
    ------
    UserError
        If the name does not match its pattern in full.
    """
    pattern = {"field": FIELD, "exposure": EXPOSURE, "slitlet": SLITLET, "source": SOURCE}[kind]
    if not re.fullmatch(pattern, name):
        raise UserError(f"{where}: {name!r} is not a legal {kind} name; it must match {pattern}")
    return name


def detector(exposure: str) -> str:
    """The detector in an exposure's name."""
    return exposure.rpartition("_")[2]


def flags(options: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """Options as flags of a command line, quoted for the shell; those that are empty are left out.

    >>> flags({"z_range": [0, 12], "regions": [], "trails": False, "chunk": 3}, without=("chunk",))
    '--z-range 0 12 --no-trails'
    """
    words = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if key in without or value in ("", []):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(words)


def slitlet_file(row: Mapping[str, str]) -> str:
    """Name of a calibrated NIRSpec slitlet, msaexp's convention, from its row in the manifest."""
    return f"{row['exposure']}_phot.{row['slitlet']}.{row['source']}.fits"


def parse_slitlet(path: Path) -> tuple[str, str, str]:
    """Exposure, slitlet and source of a slitlet's file name (the inverse of `slitlet_file`)."""
    match = re.fullmatch(rf"({EXPOSURE})_phot\.({SLITLET})\.({SOURCE})\.fits", path.name)
    if match is None:
        raise UserError(f"{path.name}: not a slitlet's name; expected <exposure>_phot.<slitlet>.<source>.fits")
    return match[1], match[2], match[3]


def chunks[T](items: list[T], size: int) -> dict[str, list[T]]:
    """Split `items` in order into chunks of `size`, numbered from ``0001``.

    In order, so that a manifest that grows at its end leaves all but the last chunk as they were.
    """
    return {f"{i // size + 1:04d}": items[i : i + size] for i in range(0, len(items), size)}


def sidecar(path: Path) -> Path:
    """The lineage record beside a product: ``x.fits`` -> ``x.prov.json``."""
    return path.with_suffix(".prov.json")


def spectrum_file(field: str, source: str) -> str:
    """Name of one source's spectrum."""
    return f"{field}_{source}_spec.fits"


def figure_file(field: str, source: str) -> str:
    """Name of one source's redshift figure."""
    return f"{field}_{source}_redshift.png"
