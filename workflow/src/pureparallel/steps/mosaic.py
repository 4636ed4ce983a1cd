"""Reject outliers and drizzle the exposures of one filter onto the grid of the field.

Both in one step: they share what costs, which is reading, coordinates and start-up, and what the first decides is a
product of its own all the same, a mask per exposure.
"""

import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import UserError, calibration, io, log
from ..core import drizzling, grid, outliers
from ..core.grid import Grid
from ..frames import Frame, Pixels, footprints, frame_of, loader, look, read_common_part, read_solution, survey
from ..provenance import Lineage

if TYPE_CHECKING:
    from astropy.io.fits import Header

BITS = {"OUTLIER": 0, "DIP": 1}
"""Of the masks: unlike the other exposures, and too far below the sky."""

COVERED = 0.6
"""Part of a pixel's full weight from which on an exposure counts in the median: less is the edge of a hole."""

LARGEST = 1500.0
"""Millions of pixels: a grid that is larger has an exposure that is not where it says."""


@dataclass(frozen=True)
class Median:
    """The median of all exposures and its range around each pixel, on a grid of its own."""

    grid: Grid
    level: NDArray[np.float32]
    steepness: NDArray[np.float32]


def mosaic(
    *,
    field: str,
    filter: str,
    images: list[Path],
    solution: Path,
    image: Path,
    rejected: Path,
    figure: Path,
    metrics: Path,
    pixel_scale: float = 0.04,
    pixfrac: float = 1.0,
    kernel: Literal["square", "turbo", "point"] = "square",
    centre: list[float] | None = None,
    size: list[float] | None = None,
    reject: bool = True,
    nsigma: float = 5.0,
    tolerance: float = 2.0,
    dip_nsigma: float = 6.0,
    memory: float = 1000.0,
) -> None:
    """Make the mosaic of one filter.

    Parameters
    ----------
    field : str
        Name of the field.
    filter : str
        Name of the filter.
    images : list of Path
        Input: folders of <exposure>_bkgsub.fits.
    solution : Path
        Input: where images lie, of placement. They cover the field where centre and size are not given.
    image : Path
        Output: FITS with SCI and ERR in MJy/sr, WHT (inverse variance of the sky) and EXP in s.
    rejected : Path
        Output folder: <exposure>_outliers.fits, whose headers name the bits.
    figure : Path
        Output: the mosaic and its depth, PNG.
    metrics : Path
        Output: JSON.
    pixel_scale : float
        Arcsec per pixel.
    pixfrac : float
        Side of the drops that pixels shrink to before they fall, in pixels.
    kernel : str
        Shape of the drops: square, turbo or point.
    centre : list of float
        RA and Dec of the tangent point, degrees; by default the middle of the field, to the nearest 0.001 degrees.
    size : list of float
        Width and height around the tangent point, arcsec; by default what the field's direct images cover.
    reject : bool
        Look for outliers.
    nsigma : float
        Errors by which an outlier is off the median of the exposures.
    tolerance : float
        Part of the median's local range that is added to that, for sources.
    dip_nsigma : float
        A pixel so many errors below the sky is an outlier whatever the others say.
    memory : float
        MB for pixels of exposures that are held at a time; the sums over the grid come on top.
    """
    logger = log.of("mosaic")
    options = {
        "pixel_scale": pixel_scale, "pixfrac": pixfrac, "kernel": kernel, "centre": centre, "size": size,
        "reject": reject,
        "nsigma": nsigma, "tolerance": tolerance, "dip_nsigma": dip_nsigma,
    }  # fmt: skip
    calibration.ready(["jwst.assign_wcs.pointing"])
    aligned = read_solution(solution)
    known, reasons = survey(images, filter)
    plane = field_grid(footprints(aligned), pixel_scale, centre, size, field)
    part = read_common_part(solution)
    frames, failed = look(known, aligned, part)
    for name, reason in (reasons | failed).items():
        logger.warning("%s is not in the mosaic: %s", name, reason)
    load = loader(memory / 2)
    middle = median(frames, load, plane, memory / 2, dip_nsigma) if reject and len(frames) > 1 else None
    sums, rows = drizzling.Sums.empty(plane.shape), []
    with io.atomic_directory(rejected) as folder:
        for i, frame in enumerate(frames, start=1):
            bits, row = judge(load(frame), frame, middle, options) if reject else (None, {})
            add(sums, load(frame), bits, frame, plane, pixfrac, kernel)
            if bits is not None:
                write_bits(folder / f"{frame.name}_outliers.fits", bits, frame, solution, options)
            rows.append({"exposure": frame.name, "seconds": frame.seconds, **row})
            log.progress(logger, i, len(frames), f"{frame.name}: {100 * row.get('outliers', 0):.2f} % outliers")
    lineage = Lineage.of("mosaic", [*(frame.path for frame in frames), solution], field=field, filter=filter, **options)
    of = {"FIELD": field, "FILTER": filter, "FRAME": (frame_of(part), "that positions refer to")}
    numbers = write(image, figure, sums, plane, frames, of, options, lineage)
    numbers |= {"exposures": rows, "not_used": reasons | failed, "peak_mb": peak()}
    io.write_json(metrics, {"field": field, "filter": filter, **numbers})
    logger.info(
        "%s: %d exposures, %d x %d pixels, 5 sigma at %.2f mag in %.2f″", filter, len(frames), *plane.shape[::-1],
        numbers["depth"], numbers["aperture"],
    )  # fmt: skip


def peak() -> float:
    """Largest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def field_grid(
    known: Mapping[str, NDArray[np.float64]], scale: float, centre: Sequence[float] | None,
    size: Sequence[float] | None, field: str,
) -> Grid:  # fmt: skip
    """The grid of the field, from the footprints of all its images or as it is asked for."""
    if not known:
        raise UserError(f"field {field}: no image can be used for a mosaic; background_image and align say why")
    for key, value, what in (("centre", centre, "RA and Dec in degrees"), ("size", size, "width and height in arcsec")):
        if value and len(value) != 2:
            raise UserError(f"mosaic.{key}: {list(value)} is not two numbers; give {what}")
    place = (float(centre[0]), float(centre[1])) if centre else None
    corners = np.concatenate(list(known.values()))
    plane = Grid.around(corners, scale, centre=place)
    if size:
        plane = plane.sized(float(size[0]), float(size[1]))
    if not plane.shape[0] * plane.shape[1] / 1e6 <= LARGEST:
        middle = np.median(corners, axis=0)
        far = max(known, key=lambda name: float(np.hypot(*(known[name].mean(axis=0) - middle))))
        raise UserError(
            f"field {field}: its grid of {plane.shape[1]} x {plane.shape[0]} pixels is too large. {far} is farthest "
            "from the others: leave it out by select_exposures.exclude, or raise mosaic.pixel_scale"
        )
    return plane


def median(
    frames: Sequence[Frame], load: Callable[[Frame], Pixels], plane: Grid, megabytes: float, dip_nsigma: float
) -> Median:
    """The lower median of all exposures, in pixels of about their own size, strip by strip."""
    native = float(np.sqrt(np.mean([frame.positions.pixel_area() for frame in frames]))) / grid.ARCSEC
    coarse = plane.scaled(max(native, plane.scale))
    boxes = [frame.positions.box(coarse) for frame in frames]
    level = np.full(coarse.shape, np.nan, np.float32)
    for strip in grid.strips(coarse, grid.rows_per_strip(coarse, len(frames), megabytes)):
        parts = [(frame, part) for frame, box in zip(frames, boxes, strict=True) if (part := grid.overlap(box, strip))]
        stack = np.full((len(parts), strip[0].stop - strip[0].start, coarse.shape[1]), np.nan, np.float32)
        for layer, (frame, part) in zip(stack, parts, strict=True):
            pixels = load(frame)
            usable = pixels.good & ~outliers.dips(pixels.data, pixels.error, pixels.good, dip_nsigma)
            data, weight, _ = drizzling.drizzle_one(
                pixels.data, usable, None, frame.positions.on(coarse), part, pixfrac=1.0
            )
            layer[grid.inside(part, strip)] = np.where(weight > COVERED, data, np.nan)
        middle, count = outliers.lower_median(stack) if parts else (np.nan, 0)
        level[strip] = np.where(count > 1, middle, np.nan)
    return Median(coarse, level, outliers.contrast(level))


def judge(
    pixels: Pixels, frame: Frame, middle: Median | None, options: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], dict[str, float]]:
    """Bits of an exposure's outliers, and their numbers."""
    low = outliers.dips(pixels.data, pixels.error, pixels.good, options["dip_nsigma"])
    bits, compared = low * np.uint8(1 << BITS["DIP"]), 0.0
    if middle is not None:
        at = frame.positions.on(middle.grid)
        expected, steep = outliers.expect(middle.level, middle.steepness, at, pixels.error)
        far = outliers.find(
            pixels.data, pixels.error, pixels.good, expected, steep, nsigma=options["nsigma"],
            tolerance=options["tolerance"],
        )  # fmt: skip
        bits |= far * np.uint8(1 << BITS["OUTLIER"])
        compared = float(np.mean(np.isfinite(expected)))
    good = max(int(pixels.good.sum()), 1)
    return bits, {"outliers": float((bits[pixels.good] != 0).sum() / good), "compared": compared}


def write_bits(path: Path, bits: NDArray[np.uint8], frame: Frame, solution: Path, options: Mapping[str, Any]) -> None:
    """Write an exposure's outliers, in the form of other masks."""
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    for name, bit in BITS.items():
        primary.header[f"BIT{bit}"] = name
    hdus = fits.HDUList([primary, fits.ImageHDU(bits, name="MASK")])
    io.write_fits(path, hdus, Lineage.of("mosaic", [frame.path, solution], **options))


def add(
    sums: drizzling.Sums, pixels: Pixels, bits: NDArray | None, frame: Frame, plane: Grid, pixfrac: float, kernel: str
) -> None:
    """Drizzle an exposure onto its part of the grid and add it."""
    box = frame.positions.box(plane)
    weight = pixels.weight if bits is None else np.where(bits == 0, pixels.weight, 0)
    positions = frame.positions.on(plane)
    data, weight, variance = drizzling.drizzle_one(
        pixels.data, weight, pixels.error**2, positions, box, pixfrac=pixfrac, kernel=kernel
    )
    assert variance is not None
    sums.add(box, data, weight, variance, frame.seconds)


def write(
    path: Path, figure: Path, sums: drizzling.Sums, plane: Grid, frames: Sequence[Frame], of: Mapping[str, Any],
    options: Mapping[str, Any], lineage: Lineage,
) -> dict[str, Any]:  # fmt: skip
    """Write the mosaic and its figure, and give its numbers."""
    from astropy.io import fits

    from ..core.plot_mosaic import mosaic_figure

    data, error, weight, seconds = sums.finish()
    factor = drizzling.correlation(error, weight)
    side = max(round(0.4 / plane.scale), 2)
    noise = drizzling.empty_apertures(data, error, side, factor)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = float(-2.5 * np.log10(5 * noise["sigma"] * plane.pixel_area * 1e6) + 8.90)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update(keywords(plane, frames, of, options, factor))
    for name, array, unit in (
        ("SCI", data, "MJy/sr"), ("ERR", error, "MJy/sr"), ("WHT", weight, "sr2/MJy2"), ("EXP", seconds, "s")
    ):  # fmt: skip
        hdu = fits.ImageHDU(array, name=name)
        hdu.header.update(plane.keywords())
        hdu.header["BUNIT"] = unit
        hdus.append(hdu)
    io.write_fits(path, hdus, lineage)
    title = f"{of['FIELD']} {of['FILTER']}: {len(frames)} exposures"
    io.write_figure(figure, mosaic_figure(data, weight, plane, title))
    covered = seconds > 0
    return {
        "pixels": list(plane.shape), "area_arcmin2": float(covered.sum() * (plane.scale / 60) ** 2),
        "seconds": float(np.median(seconds[covered])) if covered.any() else 0.0,
        "correlation": factor, "aperture": side * plane.scale, "depth": depth, "noise": noise,
    }  # fmt: skip


def keywords(
    plane: Grid, frames: Sequence[Frame], of: Mapping[str, Any], options: Mapping[str, Any], factor: float
) -> "Header":
    """The primary header."""
    from astropy.io.fits import Header

    header = Header()
    header.update(of)
    header["NEXPOSUR"] = (len(frames), "exposures in the mosaic")
    header["PIXAR_SR"] = (plane.pixel_area, "[sr] SCI times this is MJy per pixel")
    header["PIXAR_A2"] = (plane.scale**2, "[arcsec2]")
    header["ABMAGZP"] = (8.90 - 2.5 * np.log10(plane.pixel_area * 1e6), "AB magnitude of SCI = 1 in a pixel")
    header["PIXFRAC"] = (options["pixfrac"], "side of the drops, detector pixels")
    header["KERNEL"] = (options["kernel"], "shape of the drops")
    header["CORRFAC"] = (factor if np.isfinite(factor) else 0.0, "of apertures over ERR in quadrature")
    for i, frame in enumerate(frames, start=1):
        header[f"EXPOS{i:03d}"] = frame.name
    return header
