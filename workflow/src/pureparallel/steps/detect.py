"""Find the sources of a field in all its mosaics together, number them for good, and write their catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import UserError, io, log, source_files
from ..core import deblending, detection, source_catalogue, source_ids, source_shapes, star_light
from ..core.grid import Grid
from ..core.source_catalogue import FLAGS, Images
from ..core.source_ids import Register
from ..core.source_shapes import Locus
from ..core.star_light import Star
from ..provenance import Lineage, digest

if TYPE_CHECKING:
    from astropy.table import QTable

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Labels = NDArray[np.int32]

FWHM = 2.3548
"""Of a Gaussian, in standard deviations."""

PIXELS = {"nrcalong": 0.063, "nrcblong": 0.063, "nrc": 0.031, "nis": 0.0656}
"""Arcsec, side of the detectors' pixels, by the beginning of their names."""

COMPACT = 0.08
"""By how much the ratio of a bright point source may exceed the optics'; galaxies that bright exceed it by more."""


@dataclass(frozen=True)
class Band:
    """What is kept of a filter.

    Attributes
    ----------
    filter : str
    path : Path
    sky : Sky or None
        What was subtracted.
    noise : float
        Width of its significance.
    """

    filter: str
    path: Path
    sky: detection.Sky | None
    noise: float


def detect(
    *,
    field: str,
    mosaics: list[Path],
    image: Path,
    segmentation: Path,
    catalogue: Path,
    register: Path,
    figure: Path,
    metrics: Path,
    combine: Literal["weighted", "chi2"] = "weighted",
    kernel_fwhm: float = 0.16,
    threshold: float = 1.5,
    min_snr: float = 4.5,
    min_pixels: int = 5,
    deblend_nsigma: float = 3.0,
    deblend_contrast: float = 0.05,
    background_size: float = 10.0,
    match_radius: float = 0.2,
) -> None:
    """Find and number the sources of a field.

    Parameters
    ----------
    field : str
        Name of the field.
    mosaics : list of Path
        Input: <field>_<filter>_mosaic.fits, one per filter, all on the field's grid.
    image : Path
        Output: FITS with SCI (mean of the filters, MJy/sr), ERR, SNR (what sources are found in) and NFILTERS.
    segmentation : Path
        Output: segmentation map in the calibration pipeline's form.
    catalogue : Path
        Output: table of sources, ECSV, in the form that the calibration pipeline's slitless steps read.
    register : Path
        Output, and input where it exists: ECSV, all sources that the field has ever had, with their numbers.
    figure : Path
        Output: the detection image with its sources, and their numbers by magnitude, JPEG.
    metrics : Path
        Output: JSON.
    combine : str
        How filters are combined: weighted (their mean) or chi2 (each counts where it is positive).
    kernel_fwhm : float
        Arcsec, full width of the Gaussian that images are smoothed with; about that of the smallest sources.
    threshold : float
        Significance down to which pixels belong to a source, standard deviations of the smoothed image's true noise.
    min_snr : float
        Significance of the peak of a source, at least.
    min_pixels : int
        Pixels of a source, at least.
    deblend_nsigma : float
        Noise of the pass to a higher peak, in standard deviations, by which a peak must stand above it to be a source
        of its own.
    deblend_contrast : float
        Part of that pass's height by which it must stand above it as well.
    background_size : float
        Arcsec, side of the boxes in which the rest of the sky is measured and subtracted; 0 leaves it as it is.
    match_radius : float
        Arcsec within which a source is the one that had its number before.
    """
    from ..core.plot_detect import detection_figure

    logger = log.of("detect")
    options = {
        "combine": combine, "kernel_fwhm": kernel_fwhm, "threshold": threshold, "min_snr": min_snr,
        "min_pixels": min_pixels, "deblend_nsigma": deblend_nsigma, "deblend_contrast": deblend_contrast,
        "background_size": background_size, "match_radius": match_radius,
    }  # fmt: skip
    known = source_files.read_register(register, field)  # first: it may refuse
    stack, bands, stars, grid = add_up(field, mosaics, kernel_fwhm, background_size)
    sigma = kernel_fwhm / FWHM / grid.scale
    expected = point_ratio(bands, kernel_fwhm / FWHM)
    images, width, stars = prepare(stack, stars, sigma, combine, expected)
    labels, parents = part(images, options)
    columns, points = describe(images, labels, parents, grid, bands, sigma, expected)
    lineage = Lineage.of("detect", mosaics, field=field, **options)
    run = digest([value for _, value in lineage.inputs])[:12]
    ids, fresh = source_ids.update(known, columns["ra"], columns["dec"], columns["snr"], match_radius, run)
    table = source_files.catalogue_table(columns | {"label": ids}, grid, field)
    numbered = np.concatenate([[0], ids]).astype(np.uint32)[labels]
    write_image(image, images, grid, field, bands, lineage)
    source_files.write_segmentation(segmentation, numbered, grid, lineage)
    source_files.write_ecsv(catalogue, table, lineage)
    source_files.write_ecsv(register, source_files.register_table(fresh, field), lineage)
    io.write_figure(figure, detection_figure(images.significance, images.weight > 0, numbered, table, grid, field))
    numbers = summary(table, bands, width, points, len(stars), known, fresh)
    io.write_json(metrics, {"field": field, "combine": combine, "kernel_fwhm": kernel_fwhm, **numbers})
    logger.info(
        "%d sources, %d of them reliable, %d extended, %d new; %d bright stars", numbers["sources"],
        numbers["reliable"], numbers["extended"], numbers["new"], numbers["bright_stars"],
    )  # fmt: skip


def add_up(
    field: str, mosaics: Sequence[Path], kernel: float, box: float
) -> tuple[detection.Stack, list[Band], list[Star], Grid]:
    """Sums over the filters, what is kept of each, and the stars whose cores are missing in one."""
    grid, stack, first = None, None, None
    bands: list[Band] = []
    stars: list[Star] = []
    for path in mosaics:
        hdus = io.open_fits(path, extensions=("SCI", "ERR", "WHT"))
        here = Grid.of(hdus["SCI"].header)
        if grid is not None and here != grid:
            raise UserError(f"{path}: not on the grid of {first}; make both again by mosaic")
        grid, first = here, first or path
        data, weight = usable(hdus["SCI"].data, hdus["WHT"].data)
        if not weight.any():
            continue
        filter, factor = str(hdus[0].header["FILTER"]), float(hdus[0].header.get("CORRFAC", 0)) or 1.0
        if any(filter == one.filter for one in bands):
            raise UserError(f"{path}: a second mosaic in {filter}; give one per filter")
        variance = np.where(weight > 0, (hdus["ERR"].data.astype(np.float32) * np.float32(factor)) ** 2, 0)
        del hdus
        sky, seen = detection.subtract_sky(data, weight, kernel / FWHM / grid.scale, round(box / grid.scale))
        noise = detection.scale(seen, weight > 0)
        stars += star_light.cores(seen, weight > 0)
        stack = stack or detection.Stack.empty(data.shape)
        stack.add(filter, data, weight, variance, seen)
        bands.append(Band(filter, path, sky, noise))
    if stack is None or grid is None:
        raise UserError(f"field {field}: no mosaic has an exposure; mosaic says why")
    return stack, bands, star_light.merge(stars), grid


def usable(data: NDArray, weight: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A mosaic's data and weight, 0 both where there are none."""
    good = np.isfinite(data) & (weight > 0)
    return np.where(good, data, 0).astype(np.float32), np.where(good, weight, 0).astype(np.float32)


def point_ratio(bands: Sequence[Band], sigma: float) -> float:
    """What `source_shapes` is to expect of point sources, by the optics: the mean of the filters."""
    from astropy.io import fits

    found = []
    for band in bands:
        header = fits.getheader(band.path)
        detector = str(header.get("EXPOS001", "")).rpartition("_")[2]
        pixel = next((size for name, size in PIXELS.items() if detector.startswith(name)), PIXELS["nis"])
        digits = "".join(one for one in band.filter if one.isdigit())
        scale = float(header["PIXAR_A2"]) ** 0.5
        sigmas = [one * sigma for one in source_shapes.SCALES]
        drop = pixel * float(header.get("PIXFRAC", 1))
        found.append(source_shapes.expected_ratio(int(digits or 150) / 100, pixel, drop, scale, sigmas))
    return float(np.mean(found))


def prepare(
    stack: detection.Stack, stars: Sequence[Star], sigma: float, combine: str, expected: float
) -> tuple[Images, float, list[Star]]:
    """The images that sources are found in, the width of the noise before it was scaled, and all bright stars."""
    squares, stack.squares = stack.squares, np.zeros((0, 0), np.float32)
    data, noise = stack.finish()
    covered = stack.weight > 0
    seen = detection.matched(data, stack.weight, sigma)
    width = detection.scale(seen, covered)
    bright = star_light.merge([*stars, *compact(seen, data, stack.weight, sigma, expected)])
    if combine == "chi2":
        seen = detection.as_sigma(squares, len(stack.names)) * covered
    filled = star_light.fill(seen, covered, stars)
    halo = star_light.halo(seen, covered, bright)
    return Images(data, stack.weight, noise, seen, halo, stack.filters, filled), width, bright


def compact(significance: Image, data: Image, weight: Image, sigma: float, expected: float) -> list[Star]:
    """Bright point sources: peaks that are about as sharp as the optics make a point."""
    x, y = star_light.peaks(significance)
    alone = np.broadcast_to(np.int8(0), data.shape)
    sigmas = [one * sigma for one in source_shapes.SCALES]
    ratio, _ = source_shapes.ratios(*source_shapes.heights(data, weight, alone, np.zeros(len(x)), x, y, sigmas))
    points = zip(x[ratio < expected + COMPACT], y[ratio < expected + COMPACT], strict=True)
    return [Star(a, b, 0.0, star_light.reach(float(significance[int(b), int(a)]))) for a, b in points]


def part(images: Images, options: Mapping[str, Any]) -> tuple[Labels, NDArray[np.int32]]:
    """Label the sources, from 1 without gaps, and tell the segment that each was part of (0 of 0)."""
    least, pixels = options["min_snr"], options["min_pixels"]
    found, _ = deblending.segments(images.significance, options["threshold"], least, pixels)
    labels, parents = deblending.deblend(
        found, images.significance, images.noise, images.halo,
        nsigma=options["deblend_nsigma"], contrast=options["deblend_contrast"],
    )  # fmt: skip
    keep = deblending.sure(labels, images.significance, least, pixels)
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels], np.concatenate([[0], parents[keep]])


def describe(
    images: Images, labels: Labels, parents: NDArray[np.int32], grid: Grid, bands: Sequence[Band], sigma: float,
    expected: float,
) -> tuple[dict[str, Any], Locus]:  # fmt: skip
    """All columns of the catalogue but the numbers, and the ratio of point sources."""
    if not labels.any():
        return {name: np.empty(0) for name in ("ra", "dec", "snr")}, Locus(expected, source_shapes.UNSURE, 0)
    columns = source_catalogue.measure(images, labels, grid, sigma)
    columns["ra"], columns["dec"] = grid.to_sky(columns["xcentroid"], columns["ycentroid"])
    ratio, error = columns["concentration"], columns["concentration_err"]
    points = source_shapes.locus(ratio, error, expected)
    by_filter = {band.filter: seen_by(band, columns["xcentroid"], columns["ycentroid"], sigma) for band in bands}
    bits = source_catalogue.flags(images, labels, columns, parents, grid, by_filter, points)
    saturated = bits & 1 << FLAGS["SATURATED"] > 0
    columns["stellarity"] = np.where(saturated, 1.0, source_shapes.stellarity(ratio, error, points))
    columns["flags"], columns["reliable"] = bits, source_catalogue.reliable(bits)
    columns["n_filters"] = np.sum([np.isfinite(one) for one in by_filter.values()], axis=0)
    return columns | {f"snr_{filter}": values for filter, values in by_filter.items()}, points


def seen_by(band: Band, x: Array, y: Array, sigma: float) -> Array:
    """Significance of sources in one filter, NaN where it has no data."""
    hdus = io.open_fits(band.path, extensions=("SCI", "WHT"))
    data, weight = usable(hdus["SCI"].data, hdus["WHT"].data)
    sky = band.sky.at(x, y) if band.sky else np.zeros(len(x))
    return source_shapes.significances(data, weight, sky, x, y, sigma) / band.noise


def write_image(path: Path, images: Images, grid: Grid, field: str, bands: Sequence[Band], lineage: Lineage) -> None:
    """Write the images that sources were found in."""
    from astropy.io import fits

    covered = images.weight > 0
    nothing = np.float32(np.nan)
    error = images.noise / np.sqrt(np.where(covered, images.weight, 1))
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["FIELD"] = field
    hdus[0].header["FILTERS"] = " ".join(band.filter for band in bands)
    hdus[0].header["PIXAR_SR"] = (grid.pixel_area, "[sr]")
    for name, array, unit in (
        ("SCI", np.where(covered, images.data, nothing), "MJy/sr"),
        ("ERR", np.where(covered, error, nothing), "MJy/sr"),
        ("SNR", np.where(covered | images.filled, images.significance, nothing), ""),
        ("NFILTERS", images.filters, ""),
    ):
        hdu = fits.ImageHDU(array, name=name)
        hdu.header.update(grid.keywords())
        if unit:
            hdu.header["BUNIT"] = unit
        hdus.append(hdu)
    hdus["ERR"].header["COMMENT"] = "Of apertures larger than the noise is correlated, in quadrature."
    hdus["SNR"].header["COMMENT"] = "Of a small source centred there, in standard deviations of the true noise."
    io.write_fits(path, hdus, lineage)


def summary(
    table: "QTable", bands: Sequence[Band], width: float, points: Locus, stars: int, known: Register, fresh: Register
) -> dict[str, Any]:
    """Numbers of the catalogue."""
    bits = np.asarray(table["flags"], int)
    return {
        "sources": len(table), "reliable": int(np.sum(table["reliable"])),
        "extended": int(np.sum(table["is_extended"] & table["reliable"])),
        "flags": {name: int(np.sum(bits & 1 << bit > 0)) for name, bit in FLAGS.items()},
        "new": len(fresh.id) - len(known.id), "registered": len(fresh.id),
        "gone": len(fresh.id) - len(table), "bright_stars": stars,
        "noise": {band.filter: band.noise for band in bands}, "noise_combined": width,
        "points": {"ratio": points.ratio, "sigma": points.sigma, "sources": points.sources},
    }  # fmt: skip
