"""Images without their sky as mosaics need them: aligned positions first, pixels when it is their turn."""

from collections.abc import Callable, Mapping, Sequence
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


def read_solution(path: Path) -> dict[str, tuple[Pointing, bool]]:
    """Pointings of all exposures that have one, and whether they have been aligned with anything."""
    from astropy.table import Table

    table = Table.read(io.open_fits(path, extensions=("EXPOSURES",))["EXPOSURES"], mask_invalid=False)
    missing = {"exposure", "ra", "dec", "roll", "rung"} - set(table.colnames)
    if missing:
        raise UserError(f"{path}: EXPOSURES has no column {', '.join(sorted(missing))}; make it again by align")
    found = {}
    for row in table:
        values = [float(row[key]) for key in ("ra", "dec", "roll")]
        if np.all(np.isfinite(values)):
            found[str(row["exposure"])] = Pointing(*values), str(row["rung"]) != "pointing"
    return found


def filter_of(header: Mapping[str, Any]) -> str:
    """The filter of a direct image, on whichever wheel it is."""
    elements = [str(header.get(key, "")) for key in ("PUPIL", "FILTER")]
    return next((one for one in elements if one.startswith("F")), "unknown")


@dataclass(frozen=True)
class Found:
    """An image's file, filter, footprint (4, 2) in degrees and pointing by align, and whether it was aligned at all."""

    path: Path
    filter: str
    corners: NDArray[np.float64]
    pointing: Pointing
    aligned: bool


def survey(
    folders: Sequence[Path], pointings: Mapping[str, tuple[Pointing, bool]]
) -> tuple[dict[str, Found], dict[str, str]]:
    """All images with a pointing by exposure, and the reasons of those that cannot be used."""
    from astropy.io import fits

    known, reasons = {}, {}
    for path in sorted(path for folder in folders for path in folder.glob("*.metrics.json")):
        told = io.read_json(path)
        if told.get("reason") and not told.get("left_out"):
            reasons[path.name.removesuffix(".metrics.json")] = str(told["reason"])
    for path in sorted(path for folder in folders for path in folder.glob(f"*{SUFFIX}")):
        name = names.check("exposure", path.name.removesuffix(SUFFIX), where=str(path))
        if name not in pointings:
            reasons[name] = "align gives it no pointing"
            continue
        try:
            primary, header = fits.getheader(path), fits.getheader(path, "SCI")
            pointing, aligned = pointings[name]
            astrometry.apply_to_header(header, pointing)
            corners = np.array(str(header["S_REGION"]).split()[2:], float).reshape(-1, 2)
        except (OSError, KeyError, ValueError) as error:
            reasons[name] = f"{path}: not an image with world coordinates ({error}); make it again by background_image"
            continue
        known[name] = Found(path, filter_of(primary), corners, pointing, aligned)
    return known, reasons


def look(known: Mapping[str, Found], filter: str) -> tuple[list[Frame], dict[str, str]]:
    """The frames of a filter, aligned, and the reasons of those that cannot be used."""
    frames, reasons = [], {}
    own = {name: one for name, one in known.items() if one.filter == filter}
    some_aligned = any(one.aligned for one in own.values())
    for name, one in own.items():
        if some_aligned and not one.aligned:  # it would blur the others; where none is aligned, nothing is gained
            reasons[name] = "align could not lay it on the other exposures"
            continue
        try:
            hdus = io.open_fits(one.path, extensions=("SCI", "ERR", "DQ", "VAR_RNOISE"))
            image = metadata(hdus)
            astrometry.apply_to_model(image, one.pointing)
            positions = PixelMap.of(partial(image.meta.wcs, with_bounding_box=False), hdus["SCI"].data.shape)
            nominal = image.meta.photometry.pixelarea_steradians
            seconds = float(image.meta.exposure.effective_exposure_time)
            # brightness is per nominal pixel, and drizzling keeps it per area of the sky
            factor = nominal / positions.pixel_area() if nominal else 1.0
            frames.append(Frame(name, one.path, seconds, factor, positions))
        except UserError as error:
            reasons[name] = str(error)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reasons[name] = f"{one.path}: not a calibrated image ({error}); make it again by background_image"
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
