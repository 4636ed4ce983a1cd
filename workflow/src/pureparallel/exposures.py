"""Rate images and what lies beside them, as the steps after detector1 read them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, io, names
from .core.ramps import unpacked

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

RATE = "_rate.fits"

DAY = 86400.0


@dataclass(frozen=True)
class Exposure:
    """What a rate image's header says.

    Attributes
    ----------
    name : str
    path : Path
    header : Header
        The primary one.
    """

    name: str
    path: Path
    header: "Header"

    def key(self, name: str) -> Any:
        """A keyword that must be there.

        Raises
        ------
        UserError
            If it is not.
        """
        if self.header.get(name) is None:
            raise UserError(f"{self.path}: keyword {name} is missing; make the rate image again by detector1")
        return self.header[name]

    @property
    def start(self) -> float:
        """MJD."""
        return float(self.key("EXPSTART"))

    @property
    def end(self) -> float:
        """MJD."""
        return float(self.key("EXPEND"))

    @property
    def corner(self) -> tuple[int, int]:
        """0-based full-frame pixel (x, y) of the array's first."""
        return int(self.key("SUBSTRT1")) - 1, int(self.key("SUBSTRT2")) - 1

    @property
    def elements(self) -> tuple[str, str]:
        """FILTER and PUPIL."""
        return str(self.header.get("FILTER", "")), str(self.header.get("PUPIL", ""))

    @property
    def setting(self) -> tuple[str, ...]:
        """What makes exposures alike: detector, elements and subarray."""
        place = [str(self.key(name)) for name in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")]
        return (str(self.key("DETECTOR")), *self.elements, *place)

    def group_times(self) -> NDArray[np.float64]:
        """s since the start at which groups are read, on average, shape (ngroups,)."""
        first = float(self.key("TFRAME")) * (int(self.key("NFRAMES")) + 1) / 2
        return float(self.key("TGROUP")) * np.arange(float(self.key("NGROUPS"))) + first


def in_folder(folder: Path) -> dict[str, Exposure | str]:
    """All exposures that a folder of detector1 speaks of: a rate image, or the reason why there is none."""
    from astropy.io import fits

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found: dict[str, Exposure | str] = {}
    for path in sorted(folder.glob("*.metrics.json")):
        name = names.check("exposure", path.name.removesuffix(".metrics.json"), where=str(path))
        reason = io.read_json(path).get("reason", "")
        rate = folder / f"{name}{RATE}"
        if reason or not rate.is_file():
            found[name] = reason or f"{rate} is missing"
            continue
        try:
            found[name] = Exposure(name, rate, fits.getheader(rate))
        except OSError as error:
            found[name] = f"{rate}: not a FITS file ({error})"
    return found


def readable(folders: Iterable[Path]) -> list[Exposure]:
    """The exposures of several folders that have a rate image."""
    return [one for folder in folders for one in in_folder(folder).values() if isinstance(one, Exposure)]


def left_out(name: str, masked: Mapping[str, Any], exclude: Collection[str], *, exclude_scattered: bool) -> str:
    """Why an exposure that no step failed on is not used; empty where it is.

    Parameters
    ----------
    name : str
    masked : mapping
        Its metrics of mask_artifacts.
    exclude : collection of str
        Exposures that the user leaves out.
    exclude_scattered : bool
        Leave out those that mask_artifacts finds spoilt by scattered light.
    """
    if name in exclude:
        return "left out by the field's configuration (select_exposures.exclude)"
    return str(masked["exclude_reason"]) if exclude_scattered and masked.get("exclude") else ""


def read_verdicts(path: Path) -> dict[str, str]:
    """By exposure of the table of select_exposures, why it is not used; empty where it is."""
    from astropy.table import Table

    table = Table.read(io.open_fits(path, extensions=("EXPOSURES",))["EXPOSURES"], mask_invalid=False)
    table.convert_bytestring_to_unicode()
    return {str(row["exposure"]): "" if row["use"] else str(row["reason"]) or "not used" for row in table}


def read_rate(path: Path) -> "HDUList":
    """A rate image, checked."""
    return io.open_fits(path, extensions=("SCI", "ERR", "DQ"))


def read_groups(path: Path) -> Mapping[str, NDArray[np.bool_]]:
    """What happened in the groups: JUMP, SATURATED and SNOWBALL, each of shape (ngroups, ny, nx)."""
    hdus = io.open_fits(path, extensions=("JUMP", "SATURATED", "SNOWBALL"))
    return {name: unpacked(hdus[name].data, hdus[0].header["NX"]) for name in ("JUMP", "SATURATED", "SNOWBALL")}
