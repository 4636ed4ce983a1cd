"""Mask what is neither sky nor source in every exposure, one bit per cause, and tell which exposures to leave out."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, batches, exposures, io, log, names
from ..core import artifacts, scattered
from ..core import masks as bitmasks
from ..core import regions as ds9
from ..exposures import Exposure
from ..provenance import Lineage


def mask_artifacts(
    *,
    rates: Path,
    afterglow: Path,
    masks: Path,
    figures: Path,
    regions: list[Path] | None = None,
    trails: bool = True,
    trail_sigma: float = 8.0,
    trail_grow: float = 1.5,
    snowball_grow: int = 1,
    core_grow: int = 2,
    spikes: bool = True,
    spike_nsigma: float = 2.0,
    spike_reach: float = 300.0,
    ghosts: bool = True,
    ghost_fraction: float = 0.01,
    ghost_radius: float = 10.0,
    ghost_nsigma: float = 1.0,
    scattered_zodiacal: float = 15.0,
    scattered_others: float = 2.0,
    scattered_structure: float = 0.12,
    scattered_dispersed_structure: float = 0.3,
) -> None:
    """Mask the artifacts of all exposures of a chunk.

    Parameters
    ----------
    rates : Path
        Folder that detector1 made of this chunk.
    afterglow : Path
        Folder that persistence made of it.
    masks : Path
        Output folder: per exposure <exposure>_mask.fits, whose header names the bits, and <exposure>.metrics.json.
    figures : Path
        Output folder: <exposure>_mask.jpg.
    regions : list of Path
        DS9 region files. One whose name begins with an exposure or a detector and ends there or goes on with an
        underscore is for those alone, as nrca3_wisp.reg; every other is for all. A region whose text or tag says wisp
        or claw gets that bit: this is how NIRCam's are masked.
    trails : bool
        Look for satellite trails.
    trail_sigma : float
        Significance of a trail.
    trail_grow : float
        Pixels added to a trail on each side.
    snowball_grow : int
        Pixels added around snowballs.
    core_grow : int
        Pixels added around saturated cores.
    spikes : bool
        Look for diffraction spikes.
    spike_nsigma : float
        A spike is masked where its light is brighter than so many errors of one pixel.
    spike_reach : float
        Longest spike, pixels.
    ghosts : bool
        Mask optical ghosts.
    ghost_fraction : float
        Light of a ghost over that of its source.
    ghost_radius : float
        Of the disc that is masked, pixels.
    ghost_nsigma : float
        A ghost is masked if it is expected to be brighter than so many errors of one pixel.
    scattered_zodiacal : float
        An exposure is to be left out if its background is so many times the darkest zodiacal light.
    scattered_others : float
        The same over the background of the chunk's other exposures through the same elements.
    scattered_structure : float
        The same for the rms of its large scales over its background, after the others' pattern where there are others.
    scattered_dispersed_structure : float
        The same for dispersed exposures that can be compared with no others.
    """
    options = {key: value for key, value in locals().items() if key not in ("rates", "afterglow", "masks", "figures")}
    files = options.pop("regions") or []
    logger = log.of("mask_artifacts")
    known = exposures.in_folder(rates)
    rated = {name: e for name, e in known.items() if not isinstance(e, str)}

    @cache
    def sky(name: str) -> scattered.Sky | None:
        """Of an exposure; None where it cannot be measured."""
        try:
            return sky_of(rated[name])
        except (UserError, ValueError):
            return None

    def alike(name: str) -> list[str]:
        return [o for o, e in rated.items() if o != name and e.setting == rated[name].setting]

    items: dict[str, list[Path]] = {name: [] for name in known}
    for name, exposure in rated.items():
        beside = [exposure.path.parent / f"{name}_groups.fits", afterglow / f"{name}_persistence.fits"]
        items[name] = [exposure.path, *beside, *applying(files, exposure), *(rated[o].path for o in alike(name))]

    def work(name: str, inputs: Sequence[Path], lineage: Lineage, folder: Path) -> Mapping[str, Any]:
        exposure = known[name]
        if isinstance(exposure, str):
            raise UserError(f"no rate image: {exposure}")
        others = {other: found for other in alike(name) if (found := sky(other)) is not None}
        return cover(exposure, inputs, others, lineage, folder)

    batches.run(masks, items, work, step="mask_artifacts", options=options, figures=figures, logger=logger)


def applying(files: Sequence[Path], exposure: Exposure) -> list[Path]:
    """Region files that are meant for an exposure."""
    detector = exposure.name.rpartition("_")[2]
    chosen = []
    for path in files:
        stem = path.stem.lower()
        particular = re.match(rf"({names.EXPOSURE}|nis|nrc[ab](?:[1-4]|long))(?:_|$)", stem)
        if particular is None or particular[1] in (exposure.name, detector):
            chosen.append(path)
    return chosen


def observed(exposure: Exposure, groups: Path, glow: Path) -> artifacts.Observed:
    """Read an exposure with what lies beside it."""
    hdus, happened = exposures.read_rate(exposure.path), exposures.read_groups(groups)
    mask = io.open_fits(glow, extensions=("MASK",))["MASK"].data.astype(bool)
    rate = np.asarray(hdus["SCI"].data, float)
    for name, shape in (("MASK", mask.shape), ("JUMP", happened["JUMP"].shape[1:])):
        if shape != rate.shape:
            raise UserError(f"{exposure.path}: of shape {rate.shape}, but {name} beside it of {shape}; make both again")
    return artifacts.Observed(
        rate, np.asarray(hdus["ERR"].data, float), hdus["DQ"].data, happened["JUMP"], happened["SATURATED"],
        happened["SNOWBALL"], mask, exposure.corner, exposure.elements,
    )  # fmt: skip


def sky_of(exposure: Exposure) -> scattered.Sky:
    """The large scales of an exposure."""
    hdus = exposures.read_rate(exposure.path)
    good = hdus["DQ"].data & artifacts.DO_NOT_USE == 0
    return scattered.measure(np.asarray(hdus["SCI"].data, float), np.asarray(hdus["ERR"].data, float), good)


def cover(
    exposure: Exposure, inputs: Sequence[Path], others: Mapping[str, scattered.Sky], lineage: Lineage, folder: Path
) -> Mapping[str, Any]:
    """Mask one exposure, write the mask and its figure, and give its metrics."""
    options = dict(lineage.options)
    limits = scattered.Limits(**{
        key.removeprefix("scattered_"): options.pop(key) for key in list(options) if key.startswith("scattered_")
    })  # fmt: skip
    seen = observed(exposure, inputs[1], inputs[2])
    if not seen.good.any():
        raise UserError(f"{exposure.path}: no pixel is good")
    sky = scattered.measure(seen.rate, seen.error, seen.good)
    channel = str(exposure.header.get("CHANNEL", "")).upper()
    instrument = f"NRC{channel}" if channel in ("SHORT", "LONG") else str(exposure.header.get("INSTRUME"))
    reasons, sky_numbers = artifacts.judge_sky(
        sky, others, (instrument, *seen.elements), limits, dispersed=seen.dispersion is not None
    )
    why = "; ".join(reasons)
    maps, numbers = artifacts.find(seen, artifacts.Settings(**options), uneven=bool(reasons))
    for path in (path for path in inputs[3:] if not path.name.endswith(exposures.RATE)):
        for cause, mask in user_regions(path, exposure, seen.rate.shape).items():
            maps[cause] = maps.get(cause, np.zeros(seen.rate.shape, bool)) | mask
    bits = bitmasks.combine(maps)
    cards = {
        "EXCLUDE": (bool(reasons), "whether the exposure is to be left out"),
        "EXCLWHY": f"scattered light: {why}" if reasons else "",
    }
    bitmasks.write_mask(folder / f"{exposure.name}_mask.fits", bits, cards, lineage)
    draw(folder / f"{exposure.name}_mask.jpg", exposure, seen, bits, why)
    return {
        "exclude": bool(reasons), "exclude_reason": cards["EXCLWHY"], "area": bitmasks.area(bits),
        "masked": float(np.mean(bits != 0)), **numbers, "sky": sky_numbers,
    }  # fmt: skip


def user_regions(path: Path, exposure: Exposure, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    """Masks by cause of a region file; positions on the sky by the header's linear world coordinates."""
    from astropy.io import fits
    from astropy.wcs import WCS

    try:
        found = ds9.parse(path.read_text(encoding="utf-8"), str(path))
    except (UnicodeDecodeError, FileNotFoundError) as error:
        raise UserError(f"{path}: not a DS9 region file ({error})") from error
    wcs = WCS(linear(fits.getheader(exposure.path, "SCI"))) if any(region.sky for region in found) else None

    def to_pixel(ra: NDArray, dec: NDArray) -> tuple[NDArray, NDArray]:
        assert wcs is not None
        x, y = wcs.all_world2pix(ra, dec, 0)
        return x, y

    return ds9.rasterise(found, shape, to_pixel)


def linear(header: Any) -> Any:
    """The celestial part of a header: the pipeline adds axes and keywords that the linear coordinates do not need."""
    from astropy.io.fits import Header

    kept = ("CTYPE", "CRPIX", "CRVAL", "CUNIT", "CDELT")
    plain = Header()
    for axis in "12":
        for name in kept:
            if f"{name}{axis}" in header:
                plain[f"{name}{axis}"] = header[f"{name}{axis}"]
        for other in "12":
            if f"PC{axis}_{other}" in header:
                plain[f"PC{axis}_{other}"] = header[f"PC{axis}_{other}"]
    if "CRVAL1" not in plain:
        raise UserError("the rate image has no world coordinates; draw the regions in image coordinates")
    return plain


def draw(path: Path, exposure: Exposure, seen: artifacts.Observed, bits: NDArray, why: str) -> None:
    """Draw the rate and the mask."""
    from ..core.plot_masks import mask_figure

    title = f"{exposure.name}   {' '.join(seen.elements)}"
    note = f"to be left out, scattered light: {why}" if why else ""
    io.write_figure(path, mask_figure(seen.rate, seen.good, bits, bitmasks.BITS, title, note))
