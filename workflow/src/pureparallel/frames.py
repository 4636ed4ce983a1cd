"""Images without their sky as mosaics need them: aligned positions first, pixels when it is their turn."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, io, names
from .core import astrometry, drizzling
from .core.grid import PixelMap
from .core.pointing import Pointing

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

SUFFIX = "_bkgsub.fits"

BYTES = 13
"""Of a pixel that `Pixels` holds."""

CATALOGUES = ("gaia", "catalogue")
"""What align ties parts of a field to, and calls them by."""


@dataclass(frozen=True)
class Frame:
    """An exposure without its pixels.

    Attributes
    ----------
    name : str
    path : Path
    seconds : float
        Effective exposure time.
    factor : float
        Turns surface brightness per nominal pixel into that on the sky.
    positions : PixelMap
    """

    name: str
    path: Path
    seconds: float
    factor: float
    positions: PixelMap


@dataclass(frozen=True)
class Pixels:
    """An exposure's data, error (MJy/sr on the sky) and weight, and which are good, all of shape (ny, nx)."""

    data: NDArray[np.float32]
    error: NDArray[np.float32]
    weight: NDArray[np.float32]
    good: NDArray[np.bool_]


@dataclass(frozen=True)
class Aligned:
    """Where an exposure is.

    Attributes
    ----------
    pointing : Pointing
    part : str
        Of the field: exposures of one part lie on each other.
    corners : ndarray, shape (4, 2)
        RA and Dec in degrees; NaN unless it is a direct image.
    """

    pointing: Pointing
    part: str
    corners: NDArray[np.float64]


def read_solution(path: Path) -> dict[str, Aligned]:
    """All exposures that have a pointing, by name, from the table of align or from what placement made of it."""
    if path.suffix == ".json":
        told = io.read_json(path)["exposures"]
        return {
            name: Aligned(Pointing(one["ra"], one["dec"], one["roll"]), one["part"], np.array(one["corners"], float))
            for name, one in told.items()
        }
    from astropy.table import Table

    table = Table.read(io.open_fits(path, extensions=("EXPOSURES",))["EXPOSURES"], mask_invalid=False)
    missing = {"exposure", "ra", "dec", "roll", "part", "corners"} - set(table.colnames)
    if missing:
        raise UserError(f"{path}: EXPOSURES has no column {', '.join(sorted(missing))}; make it again by align")
    found = {}
    for row in table:
        values = [float(row[key]) for key in ("ra", "dec", "roll")]
        if np.all(np.isfinite(values)):
            found[str(row["exposure"])] = Aligned(Pointing(*values), str(row["part"]), np.array(row["corners"], float))
    return found


def footprints(solution: Mapping[str, Aligned]) -> dict[str, NDArray[np.float64]]:
    """Corners of the direct images, by exposure."""
    return {name: one.corners for name, one in solution.items() if np.all(np.isfinite(one.corners))}


def filter_of(header: Mapping[str, Any]) -> str:
    """The filter of a direct image, on whichever wheel it is."""
    elements = [str(header.get(key, "")) for key in ("PUPIL", "FILTER")]
    return next((one for one in elements if one.startswith("F")), "unknown")


def survey(folders: Sequence[Path], filter: str) -> tuple[dict[str, Path], dict[str, str]]:
    """The images of a filter by exposure, and the reasons of exposures that have none."""
    from astropy.io import fits

    known, reasons = {}, {}
    for path in sorted(path for folder in folders for path in folder.glob("*.metrics.json")):
        told = io.read_json(path)
        if told.get("reason") and not told.get("left_out"):
            reasons[path.name.removesuffix(".metrics.json")] = str(told["reason"])
    for path in sorted(path for folder in folders for path in folder.glob(f"*{SUFFIX}")):
        name = names.check("exposure", path.name.removesuffix(SUFFIX), where=str(path))
        try:
            if filter_of(fits.getheader(path)) == filter:
                known[name] = path
        except OSError as error:
            reasons[name] = f"{path}: not an image ({error}); make it again by background_image"
    return known, reasons


def common_part(solution: Mapping[str, Aligned], among: Iterable[str]) -> str:
    """The part of the field that most of some exposures belong to; the first by name among equals."""
    count = Counter(solution[name].part for name in among if name in solution)
    return max(sorted(count), key=count.__getitem__, default="")


def frame_of(part: str) -> str:
    """What positions in a part of the field refer to: gaia, catalogue (the user's own), or the telescope's pointing."""
    return part if part in CATALOGUES else "pointing"


def read_common_part(path: Path) -> str:
    """The part that most of a field's direct images belong to, by the same file."""
    if path.suffix == ".json":
        return str(io.read_json(path)["common_part"])
    solution = read_solution(path)
    return common_part(solution, footprints(solution))


def look(
    known: Mapping[str, Path], solution: Mapping[str, Aligned], common: str | None = None
) -> tuple[list[Frame], dict[str, str]]:
    """The frames that lie on each other, and the reasons of those that cannot be used.

    They are of the field's common part, by default the most common one of the solution, or of their own most common
    one where none of them is of that.
    """
    frames, reasons = [], {}
    common = common_part(solution, footprints(solution)) if common is None else common
    if not any(one.part == common for name, one in solution.items() if name in known):
        common = common_part(solution, known)
    for name, path in known.items():
        if name not in solution:
            reasons[name] = "align gives it no pointing"
            continue
        one = solution[name]
        if one.part != common:  # it would blur the others
            reasons[name] = f"align could not lay it on the other exposures: it is of part {one.part}, they of {common}"
            continue
        try:
            hdus = io.open_fits(path, extensions=("SCI", "ERR", "DQ", "VAR_RNOISE"))
            image = metadata(hdus)
            astrometry.apply_to_model(image, one.pointing)
            positions = PixelMap.of(partial(image.meta.wcs, with_bounding_box=False), hdus["SCI"].data.shape)
            nominal = image.meta.photometry.pixelarea_steradians
            seconds = float(image.meta.exposure.effective_exposure_time)
            # brightness is per nominal pixel, and drizzling keeps it per area of the sky
            factor = nominal / positions.pixel_area() if nominal else 1.0
            frames.append(Frame(name, path, seconds, factor, positions))
        except UserError as error:
            reasons[name] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reasons[name] = f"{path}: not a calibrated image ({error}); make it again by background_image"
    return frames, reasons


def metadata(hdus: "HDUList") -> SimpleNamespace:
    """What a data model would hold under ``meta``, world coordinates included.

    Opening the model itself costs four times as much, for it checks every keyword against its schemas.
    """
    import asdf

    def attributes(value: Any) -> Any:
        return SimpleNamespace(**{k: attributes(v) for k, v in value.items()}) if isinstance(value, dict) else value

    with asdf.config_context() as config:
        config.validate_on_read = False
        with asdf.open(BytesIO(hdus["ASDF"].data["ASDF_METADATA"].tobytes())) as file:
            return SimpleNamespace(meta=attributes(file.tree["meta"]))


def loader(megabytes: float) -> Callable[[Frame], Pixels]:
    """A reader of pixels that keeps as many exposures as fit into memory."""
    from astropy.io import fits

    held: dict[str, Pixels] = {}

    def load(frame: Frame) -> Pixels:
        if frame.name not in held:
            with fits.open(frame.path, memmap=False) as hdus:
                data, error, noise = (
                    hdus[name].data.astype(np.float32) * np.float32(frame.factor**power)
                    for name, power in (("SCI", 1), ("ERR", 1), ("VAR_RNOISE", 2))
                )
                good = hdus["DQ"].data & drizzling.DO_NOT_USE == 0
            good &= np.isfinite(data) & np.isfinite(noise) & (error > 0) & np.isfinite(error)
            sky = drizzling.sky_variance(error**2, noise, good)
            weight = np.zeros_like(data)
            np.divide(1, sky, out=weight, where=good & (sky > 0))
            held[frame.name] = Pixels(data, error, weight, good & (weight > 0))
            while len(held) > 1 and BYTES * sum(one.data.size for one in held.values()) > megabytes * 2**20:
                held.pop(next(iter(held)))
        return held[frame.name]

    return load
