"""Fluxes of a field's sources in all filters: colours at one resolution, totals, and errors as they are.

Images of stars are made for the mosaics, from the telescope's aperture and the field's own stars. Mosaics are blurred
to that of the broadest, their noise is measured on empty sky, and what apertures miss is made up for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import calibration, io, log, starlight
from ..core import flux_table, fluxes, profiles, psf_match, psf_model, psf_stars
from ..core.apertures import Noise, empty, growth
from ..core.fluxes import Image, Sums, Totals
from ..core.grid import Grid
from ..core.plot_photometry import Drawn, photometry_figure
from ..frames import read_solution
from ..mosaics import Band, Catalogue, by_filter, read_band, read_catalogue, read_segments, read_stars
from ..provenance import Lineage
from ..starlight import CURVE, Star

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU

Array = NDArray[np.float64]

EMPTY = (0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1.0)
"""Arcsec, radii of empty apertures."""

SKY = 0.35
"""Arcsec, radius of the empty apertures whose median is the sky: about that of most sources'."""

CLEAR = 0.25
"""Arcsec around segments that are no empty sky."""

BIGGEST = 4.0
"""Arcsec, largest half-light radius of the profiles that totals are judged by."""


@dataclass(frozen=True)
class Measured:
    """One filter's light.

    Attributes
    ----------
    noise : Noise
    sky : float
        uJy per pixel, subtracted.
    weight : float
        Median of the mosaic's, 1/uJy2.
    matched : ndarray, shape (2 h + 1, 2 h + 1)
        Image of a star.
    sums : Sums
    """

    noise: Noise
    sky: float
    weight: float
    matched: Array
    sums: Sums


def photometry(
    *,
    field: str,
    mosaics: list[Path],
    segmentation: Path,
    catalogue: Path,
    images: list[Path],
    solution: Path,
    table: Path,
    figure: Path,
    metrics: Path,
    psf: Literal["auto", "model", "stars"] = "auto",
    psf_files: list[Path] | None = None,
    star_snr: float = 50.0,
    apertures: list[float] | None = None,
    colour_aperture: float = 0.5,
    kron: float = 2.5,
    smallest_kron: float = 0.25,
    background: Literal["field", "none"] = "field",
    floor: float = 0.003,
    nsigma: float = 3.0,
) -> None:
    """Measure fluxes of all sources in all filters.

    Parameters
    ----------
    field : str
        Name of the field.
    mosaics : list of Path
        Input: one per filter, on one grid.
    segmentation : Path
        Input: labels of sources on the grid of the mosaics.
    catalogue : Path
        Input: the sources, ECSV.
    images : list of Path
        Input: folders of the images that the mosaics were made of, for their positions.
    solution : Path
        Input: the table of align.
    table : Path
        Output: FITS with PHOTOMETRY, a row per source, fluxes in uJy; GROWTH, a star's light within radii; NOISE of
        empty apertures; STARS that models were compared with; PSF_<filter>, the image of a star on the mosaic.
    figure : Path
        Output: growth curves, noise, errors and colours, PNG.
    metrics : Path
        Output: JSON.
    psf : str
        Image of a star: model is that of the telescope's aperture. auto fits its blur and wavefront to the field's
        stars, and from three on adds what these have in common beyond that; stars adds that from one on.
    psf_files : list of Path
        Images of stars that are taken as they are: FITS with FILTER and PIXELSCL (arcsec, that of the mosaic), whose
        sum is the part of a star's light that they hold.
    star_snr : float
        Least signal to noise of a star that models are compared with.
    apertures : list of float
        Arcsec, diameters of the fixed apertures; by default 0.3, 0.5, 0.7 and 1.
    colour_aperture : float
        Arcsec, diameter of the aperture that colours are measured in.
    kron : float
        Axes of the aperture for totals over the Kron radius times the source's own.
    smallest_kron : float
        Arcsec, least semi-axis of the aperture for totals.
    background : str
        What is subtracted: the median of empty apertures all over the field, or none.
    floor : float
        Relative error of all fluxes besides noise: images of stars, flat field.
    nsigma : float
        Signal to noise below which there is a limit instead of a magnitude, and that of the limit.
    """
    from astropy.io import fits

    logger = log.of("photometry")
    options = {
        "psf": psf, "star_snr": star_snr, "apertures": sorted(apertures or [0.3, 0.5, 0.7, 1.0]),
        "colour_aperture": colour_aperture, "kron": kron, "smallest_kron": smallest_kron, "background": background,
        "floor": floor, "nsigma": nsigma,
    }  # fmt: skip
    calibration.ready(["jwst.assign_wcs.pointing"])
    paths = by_filter(mosaics)
    grid = Grid.of(fits.getheader(mosaics[0], "SCI"))
    segments = read_segments(segmentation, grid)
    sources = read_catalogue(catalogue, segments, grid.scale, kron, smallest_kron)
    given = read_stars(psf_files or [], grid.scale)
    aligned = read_solution(solution)
    stars: dict[str, Star] = {}
    for filter in sorted(paths, key=psf_model.band):
        band = read_band(paths[filter])
        if not band.weight.any():
            logger.warning("%s: the mosaic is empty", filter)
        elif filter in given:
            stars[filter] = starlight.given(given[filter])
        else:
            stars[filter] = starlight.make(filter, band, grid, sources, segments, images, aligned, options)
            logger.info("%s: image of a star by %s", filter, describe(stars[filter].record))
    target = max(stars, key=lambda name: starlight.half_light(stars[name].image), default="")
    found = {}
    for filter in stars:
        found[filter] = measure(read_band(paths[filter]), filter, target, stars, grid, sources, segments, options)
        log.progress(logger, len(found), len(stars), f"{filter}: {len(sources.shapes)} sources")
    columns = tabulate(found, stars, target, sources, grid.scale, sorted(paths, key=psf_model.band), options)
    lineage = Lineage.of(
        "photometry", [*mosaics, segmentation, catalogue, solution, *(psf_files or [])], field=field, **options
    )
    write(table, columns, found, stars, target, grid, field, options, lineage)
    numbers = summary(columns, found, stars, target, grid.scale, options)
    drawn = {filter: draw(filter, one, stars[filter], columns, grid.scale) for filter, one in found.items()}
    io.write_figure(
        figure, photometry_figure(drawn, CURVE, grid.scale, colour_aperture / 2, columns["is_extended"][0], field)
    )
    io.write_json(metrics, {"field": field, **numbers})


def describe(record: Mapping[str, Any]) -> str:
    """What the image of a star was made from, in words."""
    blur, blur_error = 1000 * record["blur"], 1000 * record["blur_error"]
    return (
        f"{record['psf']}: {record['stars']} stars, blur {blur:.1f} +- {blur_error:.1f} mas, wavefront "
        f"{record['wavefront']:.0f} +- {record['wavefront_error']:.0f} nm"
    )


def measure(
    band: Band, filter: str, target: str, stars: Mapping[str, Star], grid: Grid, sources: Catalogue, segments: NDArray,
    options: Mapping[str, Any],
) -> Measured:  # fmt: skip
    """Match a mosaic to the filter `target`, measure its noise and sky, and sum the light of all sources."""
    from scipy.ndimage import distance_transform_edt

    data, matched = band.data, stars[filter].image
    if filter != target:
        kernel = psf_match.kernel(matched, stars[target].image)
        data, matched = psf_match.convolve(data, kernel), psf_match.convolve(matched, kernel).astype(float)
    near = distance_transform_edt(segments == 0) < CLEAR / grid.scale
    radii = np.array(EMPTY) / grid.scale
    noise, weight = empty(data, band.weight, near, radii.tolist()), float(np.median(band.weight[band.weight > 0]))
    sky = 0.0
    if options["background"] == "field" and noise.radius.size:
        i = int(np.argmin(np.abs(noise.radius * grid.scale - SKY)))
        sky = float(noise.offset[i] / (np.pi * noise.radius[i] ** 2) / np.sqrt(weight))
    covered = band.weight > 0
    image = Image(
        np.where(covered, data - np.float32(sky), 0), band.weight,
        np.where(covered, band.error**2 - 1 / np.where(covered, band.weight, 1), 0), noise,
    )  # fmt: skip
    fixed = [d / 2 / grid.scale for d in options["apertures"]]
    sums = fluxes.measure(image, segments, sources.shapes, fixed, options["colour_aperture"] / 2 / grid.scale)
    return Measured(noise, sky, weight, matched, sums)


def tabulate(
    found: Mapping[str, Measured], stars: Mapping[str, Star], target: str, sources: Catalogue, scale: float,
    filters: Sequence[str], options: Mapping[str, Any],
) -> dict[str, flux_table.Column]:  # fmt: skip
    """The columns of PHOTOMETRY."""
    count, radius = len(sources.shapes), options["colour_aperture"] / 2 / scale
    x, y = sources.places.T
    columns: dict[str, flux_table.Column] = {
        "id": (np.array([shape.label for shape in sources.shapes], np.int32), None, "of detect"),
        "ra": (sources.ra, "deg", "ICRS"), "dec": (sources.dec, "deg", "ICRS"),
        "is_extended": (~sources.points, None, "of detect; others have the total of a star"),
        "reliable": (sources.reliable, None, "of detect"),
        "flags_detect": (sources.flags, None, "flags of detect, whose catalogue names the bits"),
    }  # fmt: skip
    if target:
        library = profiles.library(stars[target].image, BIGGEST / scale)
        goal = float(growth(stars[target].image, [radius])[0])
        totals = fluxes.totals(
            [one.sums for one in found.values()], sources.shapes, sources.points, library, radius, goal
        )
    else:
        totals = Totals(*np.full((4, count), np.nan))
    columns |= flux_table.common(totals, options)
    for filter in filters:
        if filter in found:
            one = found[filter]
            within = goal, float(growth(one.matched, [radius])[0])
            bright = one.sums.colour[0] * totals.scale
            wings = fluxes.wings(x, y, bright, one.matched, radius)
            columns |= flux_table.of_filter(filter, one.sums, totals, within, wings, options)
        else:
            none = Sums.none(count, len(options["apertures"]))
            columns |= flux_table.of_filter(filter, none, totals, (1.0, 1.0), np.zeros(count), options)
    return columns


def write(
    path: Path, columns: Mapping[str, flux_table.Column], found: Mapping[str, Measured], stars: Mapping[str, Star],
    target: str, grid: Grid, field: str, options: Mapping[str, Any], lineage: Lineage,
) -> None:  # fmt: skip
    """Write the table and what it was made with."""
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["FIELD"] = field
    primary.header["TARGET"] = (target, "filter that others are matched to")
    primary.header["APERTURE"] = (options["colour_aperture"], "[arcsec] diameter, for colours")
    hdus = fits.HDUList([primary, as_hdu("PHOTOMETRY", columns)])
    radii, scale = CURVE / grid.scale, grid.scale
    curves: dict[str, flux_table.Column] = {"radius": (CURVE, "arcsec", "radius")}
    for filter, star in stars.items():
        curves[f"within_{filter}"] = (growth(star.image, radii), None, "part of a star's light, on the mosaic")
        curves[f"spread_{filter}"] = (star.spread, None, "rms of this from place to place")
        after = growth(found[filter].matched, radii)
        curves[f"matched_{filter}"] = (after, None, "after matching, for all fluxes here")
    hdus.append(as_hdu("GROWTH", curves))
    hdus.append(noise_table(found, scale))
    hdus.append(stars_table([row for star in stars.values() for row in star.rows]))
    for filter, star in stars.items():
        hdu = fits.ImageHDU(star.image.astype(np.float32), name=f"PSF_{filter}")
        hdu.header["FILTER"], hdu.header["PIXELSCL"] = filter, (scale, "[arcsec]")
        for key, value in star.record.items():
            hdu.header[f"HIERARCH {key}"] = value
        hdus.append(hdu)
    io.write_fits(path, hdus, lineage)


def as_hdu(name: str, columns: Mapping[str, flux_table.Column]) -> "BinTableHDU":
    """A FITS table of columns."""
    from astropy.table import Table

    rows = Table({key: values for key, (values, _, _) in columns.items()})
    return io.table_hdu(rows, name, {key: (unit, text) for key, (_, unit, text) in columns.items()})


def stars_table(rows: Sequence[Mapping[str, Any]]) -> "BinTableHDU":
    """Stars that models were compared with."""
    rings = ", ".join(f"{edge:g}" for edge in psf_stars.EDGES)
    residual = np.array([row["residual"] for row in rows], float).reshape(len(rows), len(psf_stars.EDGES) - 1)
    return as_hdu("STARS", {
        "filter": (np.array([row["filter"] for row in rows], "U8"), None, "filter"),
        "id": (np.array([row["id"] for row in rows], np.int32), None, "of detect"),
        "x": (np.array([row["x"] for row in rows], float), "pix", "0-based centroid"),
        "y": (np.array([row["y"] for row in rows], float), "pix", "0-based centroid"),
        "used": (np.array([row["used"] for row in rows], bool), None, "took part in the fit"),
        "residual": (residual, None, f"star less model over its light, in rings between {rings} arcsec"),
    })  # fmt: skip


def noise_table(found: Mapping[str, Measured], scale: float) -> "BinTableHDU":
    """Empty apertures of all filters, and in the header the power law of each."""

    def column(values: Callable[[Noise, float], Array]) -> Array:
        return np.concatenate([np.empty(0), *(values(one.noise, one.weight) for one in found.values())])

    filters = [filter for filter, one in found.items() for _ in one.noise.radius]
    hdu = as_hdu("NOISE", {
        "filter": (np.array(filters, "U8"), None, "filter"),
        "radius": (column(lambda noise, _: noise.radius * scale), "arcsec", "of the apertures"),
        "pixels": (column(lambda noise, _: np.pi * noise.radius**2), "pix", "of their area"),
        "apertures": (column(lambda noise, _: noise.apertures), None, "that fit beside each other"),
        "sigma": (column(lambda noise, w: noise.sigma / np.sqrt(w)), "uJy", "of their sums, at the median weight"),
        "model": (column(lambda noise, w: noise.of(np.pi * noise.radius**2, w)), "uJy", "its power law"),
        "offset": (column(lambda noise, w: noise.offset / np.sqrt(w)), "uJy", "median of their sums, at that weight"),
    })  # fmt: skip
    for filter, one in found.items():
        hdu.header[f"HIERARCH {filter} factor"] = (one.noise.factor, "sigma of sums times root of weight:")
        hdu.header[f"HIERARCH {filter} power"] = (one.noise.power, "factor times pixels to this power")
        hdu.header[f"HIERARCH {filter} sky"] = (one.sky, "[uJy] per pixel, subtracted")
    return hdu


def summary(
    columns: Mapping[str, flux_table.Column], found: Mapping[str, Measured], stars: Mapping[str, Star], target: str,
    scale: float, options: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Numbers for the metrics."""
    radius = options["colour_aperture"] / 2
    numbers: dict[str, Any] = {"sources": len(columns["id"][0]), "matched_to": target, "filters": {}}
    for filter, one in found.items():
        within = float(growth(one.matched, [radius / scale])[0])
        sigma = float(one.noise.of(np.pi * (radius / scale) ** 2, one.weight)) / within
        flags = columns[f"flags_{filter}"][0]
        offsets = growth(one.matched, CURVE / scale) / growth(stars[target].image, CURVE / scale) - 1
        numbers["filters"][filter] = {
            **stars[filter].record, "within": within, "matching": float(np.abs(offsets[CURVE > 0.1]).max()),
            "sky": one.sky, "noise_factor": one.noise.factor, "noise_power": one.noise.power,
            "depth": float(flux_table.magnitude(5 * sigma)),
            "detected": int(np.isfinite(columns[f"mag_{filter}"][0]).sum()),
            "flags": {name: int((flags >> bit & 1).sum()) for name, bit in fluxes.BITS.items()},
        }  # fmt: skip
    return numbers


def draw(filter: str, one: Measured, star: Star, columns: Mapping[str, flux_table.Column], scale: float) -> Drawn:
    """A filter for the figure."""
    noise, unit = one.noise, 1 / np.sqrt(one.weight)
    flux, error, magnitude = (columns[f"{key}_{filter}"][0] for key in ("flux", "flux_err", "mag"))
    return Drawn(
        star.image, growth(star.image, CURVE / scale), growth(one.matched, CURVE / scale), noise.radius * scale,
        noise.sigma * unit, noise.of(np.pi * noise.radius**2, one.weight), magnitude,
        np.where(np.isfinite(magnitude), error / np.where(flux > 0, flux, np.nan), np.nan),
    )  # fmt: skip
