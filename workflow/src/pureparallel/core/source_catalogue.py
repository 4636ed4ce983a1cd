"""The catalogue of a detection image: what each source is like, and what speaks against it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from . import source_shapes
from .grid import Grid

Image = NDArray[np.float32]
Labels = NDArray[np.int32]
Array = NDArray[np.float64]

FLAGS = {"EDGE": 0, "MISSING": 1, "BLENDED": 2, "STAR_LIGHT": 3, "SATURATED": 4, "SINGLE_FILTER": 5, "SHARP": 6}
"""Bits of the column ``flags``."""

MEANINGS = {
    "EDGE": "its peak lies within 0.3 arcsec of the end of the data",
    "MISSING": "some of its pixels have no data, in one filter at least",
    "BLENDED": "parted from a neighbour that it touches",
    "STAR_LIGHT": "not brighter than a bright star's wings and spikes can be there",
    "SATURATED": "the core of a bright star is missing: its flux is a lower limit",
    "SINGLE_FILTER": "seen in one filter alone: a ghost, an artefact, or a dropout",
    "SHARP": "more compact than a point source",
}

DOUBTFUL = ("EDGE", "STAR_LIGHT", "SINGLE_FILTER", "SHARP")
"""Flags that make a source unreliable."""

EDGE = 0.3
"""Arcsec."""

STARLIKE = 3.0
"""A source that is less than so many times the light that a star can have there may be that light."""

SEEN, UNSEEN = 3.0, 0.3
"""Significance from which a filter sees a source; the part of it in one filter below which another does not."""

SHARPER = 4.0
"""Standard deviations by which a source is more compact than points are."""

WINDOW = 1.2
"""Width of the window of centroids, in those of the kernel that detects."""

KRON = (2.5, 1.4)
"""Factor on the Kron radius, and the least radius of the aperture in standard deviations of the source."""


@dataclass(frozen=True)
class Images:
    """What sources were found in, all of shape (ny, nx).

    Attributes
    ----------
    data, weight : ndarray of float32
        Mean over the filters in MJy/sr, sky subtracted, and inverse variance of its sky noise; 0 without data.
    noise : ndarray of float32
        Noise over that of the sky alone.
    significance : ndarray of float32
        Standard deviations.
    halo : ndarray of float32
        What the light of bright stars can be of it.
    filters : ndarray of uint8
        How many have data.
    filled : ndarray of bool
        Cores of stars, without data.
    """

    data: Image
    weight: Image
    noise: Image
    significance: Image
    halo: Image
    filters: NDArray[np.uint8]
    filled: NDArray[np.bool_]


def measure(images: Images, labels: Labels, grid: Grid, sigma: float) -> dict[str, Any]:
    """Positions, shapes and fluxes of all sources.

    Parameters
    ----------
    images : Images
    labels : ndarray of int32, shape (ny, nx)
        Sources, from 1 without gaps.
    grid : Grid
    sigma : float
        Of the kernel that detected, pixels.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        Columns of the catalogue as far as they follow from these images; positions in pixels, fluxes in Jy.
    """
    from photutils.segmentation import SegmentationImage, SourceCatalog  # type: ignore[import-not-found]

    weight = images.weight
    with np.errstate(divide="ignore"):
        error = np.where(weight > 0, images.noise / np.sqrt(weight), 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(images.data, sigma, truncate=3.0)
    found = SourceCatalog(
        images.data, SegmentationImage(labels), convolved_data=smooth, error=error, mask=weight <= 0, kron_params=KRON
    )
    number = np.arange(1, int(labels.max()) + 1)
    peak = _ints(ndimage.maximum_position(images.significance, labels, number))
    start_x, start_y = peak.T.astype(float)
    x, y = source_shapes.centroids(images.data, weight, labels, number, start_x, start_y, WINDOW * sigma)
    saturated = images.filled[peak[:, 1], peak[:, 0]]
    x, y = (np.where(saturated, middle, value) for middle, value in zip(peak.T, (x, y), strict=True))
    jansky = grid.pixel_area * 1e6
    values, covariance = source_shapes.heights(
        images.data, weight, labels, number, x, y, [one * sigma for one in source_shapes.SCALES]
    )
    ratio, ratio_error = source_shapes.ratios(values, covariance)
    boxes = ndimage.find_objects(labels)
    return {
        "xcentroid": x, "ycentroid": y, "peak": peak,
        "xmin": np.array([box[1].start for box in boxes]), "xmax": np.array([box[1].stop - 1 for box in boxes]),
        "ymin": np.array([box[0].start for box in boxes]), "ymax": np.array([box[0].stop - 1 for box in boxes]),
        "isophotal_flux": _plain(found.segment_flux) * jansky,
        "isophotal_flux_err": _plain(found.segment_flux_err) * jansky,
        "kron_flux": _plain(found.kron_flux) * jansky, "kron_flux_err": _plain(found.kron_flux_err) * jansky,
        "isophotal_area": np.bincount(labels.ravel(), minlength=len(number) + 1)[1:],
        "semimajor_sigma": _plain(found.semimajor_axis), "semiminor_sigma": _plain(found.semiminor_axis),
        "ellipticity": _plain(found.ellipticity), "orientation": _plain(found.orientation),
        "kron_radius": _plain(found.kron_radius), "half_light_radius": _plain(found.flux_radius(0.5)) * grid.scale,
        "snr": images.significance[peak[:, 1], peak[:, 0]].astype(float),
        "concentration": ratio, "concentration_err": ratio_error,
    }  # fmt: skip


def _plain(values: Any) -> Array:
    """Numbers without their unit."""
    return np.atleast_1d(np.asarray(getattr(values, "value", values), float))


def _ints(positions: Any) -> NDArray[np.int64]:
    """Columns x, y of positions given as rows, columns."""
    return np.array(positions, np.int64).reshape(-1, 2)[:, ::-1]


def flags(
    images: Images, labels: Labels, columns: Mapping[str, Any], parents: NDArray, grid: Grid,
    by_filter: Mapping[str, Array], points: source_shapes.Locus,
) -> NDArray[np.int32]:  # fmt: skip
    """Bits of `FLAGS` of all sources, shape (n,).

    Parameters
    ----------
    images, labels, columns, grid
        See `measure`.
    parents : ndarray of int, shape (n + 1,)
        Of `deblending.deblend`.
    by_filter : mapping of str to ndarray, shape (n,)
        Significance in each filter, NaN without data.
    points : Locus
    """
    count = len(parents) - 1
    peak = columns["peak"]
    at = peak[:, 1], peak[:, 0]
    known = (images.weight > 0) | images.filled
    near, dx, dy, inside, _ = source_shapes.stamps(known, peak[:, 0], peak[:, 1], int(EDGE / grid.scale))
    ending = np.any(~(near & inside) & (np.hypot(dx, dy) <= EDGE / grid.scale), axis=(1, 2))
    around = ndimage.grey_dilation(labels, 3)
    lacking = np.bincount(around[images.filters < len(by_filter)], minlength=count + 1)[1:] > 0
    bits = {
        "EDGE": ending,
        "MISSING": lacking,
        "BLENDED": np.bincount(parents)[parents[1:]] > 1,
        "STAR_LIGHT": images.significance[at] < STARLIKE * images.halo[at],
        "SATURATED": images.filled[at],
    }
    bits["STAR_LIGHT"] &= ~bits["SATURATED"]
    bits["SINGLE_FILTER"] = single(by_filter) & ~bits["SATURATED"]
    error = np.hypot(columns["concentration_err"], points.sigma)
    bits["SHARP"] = (points.ratio - columns["concentration"] > SHARPER * error) & ~bits["SATURATED"]
    return sum((one * np.int32(1 << FLAGS[name]) for name, one in bits.items()), np.zeros(count, np.int32))


def single(by_filter: Mapping[str, Array]) -> NDArray[np.bool_]:
    """Sources that one filter of several sees and no other does, for all that they are worth there."""
    table = np.nan_to_num(np.array(list(by_filter.values())), nan=-np.inf)
    if len(table) < 2:
        return np.zeros(table.shape[1], bool)
    *_, second, first = np.sort(table, axis=0)
    return (first > SEEN) & (second < np.clip(UNSEEN * first, 0.5 * SEEN, SEEN))


def reliable(bits: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Sources without any flag of `DOUBTFUL`."""
    return (bits & sum(1 << FLAGS[name] for name in DOUBTFUL)) == 0


def magnitudes(flux: Array, error: Array) -> tuple[Array, Array]:
    """AB magnitudes of fluxes in Jy, and their errors; NaN where a flux is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -2.5 * np.log10(flux) + 8.90, np.where(flux > 0, 2.5 / np.log(10) * error / flux, np.nan)
