"""Figures of mosaics, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .palette import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS = 1400
"""Larger images are drawn smaller, by means."""

SOFT = 8.0
"""Standard deviations of the noise at which a picture's brightness turns from linear to logarithmic."""

APERTURE = 0.4
"""Arcsec, side of the square that a map's depth is given for."""


def means(image: NDArray, step: int) -> NDArray:
    """Means of blocks of `step` squared pixels over what is finite; NaN where nothing is."""
    if step == 1:
        return image
    rows, columns = (-(-n // step) for n in image.shape)
    total, count = (np.zeros((rows, columns)) for _ in range(2))
    for y in range(step):
        for x in range(step):
            part = image[y::step, x::step]
            finite = np.isfinite(part)
            here = np.s_[: part.shape[0], : part.shape[1]]
            total[here] += np.where(finite, part, 0)
            count[here] += finite
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def spread(image: NDArray) -> tuple[float, float]:
    """Median and 1.4826 times the median absolute deviation of what is finite; 0 and 1 where that is nothing."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    middle = float(np.median(finite))
    return middle, max(1.4826 * float(np.median(np.abs(finite - middle))), 1e-30)


def mosaic_figure(data: NDArray, weight: NDArray, grid: Grid, title: str) -> "Figure":
    """The mosaic, and beside it the AB magnitude of 5 sigma in a square aperture on the sky.

    Parameters
    ----------
    data, weight : ndarray, shape (ny, nx)
        MJy/sr, and the inverse variance of the sky.
    grid : Grid
    title : str
    """
    from matplotlib.figure import Figure

    step = -(-max(data.shape) // PIXELS)
    shown, deep = means(data, step), means(weight, step)
    middle, noise = spread(shown)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = APERTURE / grid.scale / np.sqrt(deep) * grid.pixel_area
        depth = np.where(deep > 0, 8.90 - 2.5 * np.log10(5e6 * sigma), np.nan)
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    extent = _extent(grid)
    drawn = left.imshow(
        np.arcsinh((shown - middle) / noise / SOFT), origin="lower", cmap="gray_r", vmin=-0.3, vmax=3.0, extent=extent,
        interpolation="nearest",
    )  # fmt: skip
    left.set_title("surface brightness", fontsize=10, color=INK)
    usual = depth[np.isfinite(depth)]
    low, high = np.percentile(usual, [2, 99.5]) if usual.size else (0, 1)
    drawn = right.imshow(
        depth, origin="lower", cmap="viridis", vmin=low - 0.05, vmax=high + 0.05, extent=extent, interpolation="nearest"
    )
    right.set_title(f"5 σ in a square of {APERTURE:g}″", fontsize=10, color=INK)
    figure.colorbar(drawn, ax=right, label="AB mag", shrink=0.85)
    for axes in (left, right):
        axes.set(xlabel="east (″)", ylabel="north (″)")
    figure.suptitle(title, fontsize=11, color=INK)
    return figure


def rgb_figure(bands: Mapping[str, NDArray], grid: Grid, title: str) -> "Figure":
    """A colour picture of a field, with colours kept however bright a source is (Lupton et al. 2004, PASP 116, 133).

    Parameters
    ----------
    bands : mapping of str to ndarray, shape (ny, nx)
        MJy/sr by filter, bluest first.
    grid : Grid
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9 * grid.shape[0] / grid.shape[1] + 0.9), layout="constrained")
    axes = figure.subplots()
    axes.imshow(rgb(list(bands.values())), origin="lower", extent=_extent(grid), interpolation="nearest")
    axes.set(xlabel="east (″)", ylabel="north (″)")
    axes.set_title(f"{title}   {', '.join(reversed(list(bands)))} as red to blue", fontsize=11, color=INK)
    return figure


def rgb(bands: list[NDArray]) -> NDArray[np.float64]:
    """Red, green and blue (ny, nx, 3), 0 to 1, of images from blue to red, in units of flux per frequency.

    The first is blue, the last red, and green the mean of those between, or of both. Where one is missing, its
    neighbour stands in; where all are, the picture is white.
    """
    step = -(-max(bands[0].shape) // PIXELS)
    small = [means(band, step) for band in bands]
    small = [band - spread(band)[0] for band in small]
    between = small[1:-1] or small
    finite = [np.isfinite(band) for band in between]
    count = np.sum(finite, axis=0)
    green = np.sum([np.where(f, band, 0) for f, band in zip(finite, between, strict=True)], axis=0)
    green = np.where(count > 0, green / np.maximum(count, 1), np.nan)
    colours = np.stack([small[-1], green, small[0]], axis=-1)
    stand_in = np.where(np.isfinite(colours), colours, np.inf).min(axis=-1, keepdims=True)
    covered = np.isfinite(stand_in)
    colours = np.where(np.isfinite(colours), colours, np.where(covered, stand_in, 0))
    noise = max(spread(band)[1] for band in small)
    light = np.maximum(colours.mean(axis=-1, keepdims=True) + noise, 1e-30)
    stretched = np.arcsinh(light / noise / SOFT * 2) / np.arcsinh(150 / SOFT * 2)
    picture = np.clip(colours + noise, 0, None) * stretched / light
    picture = np.clip(picture / np.maximum(picture.max(axis=-1, keepdims=True), 1), 0, 1)
    return np.where(covered, picture, 1.0)


def _extent(grid: Grid) -> tuple[float, float, float, float]:
    """Offsets of the outer edges from the tangent point in arcsec, east to the left."""
    ny, nx = grid.shape
    x, y = grid.origin
    return (x + 0.5) * grid.scale, (x - nx + 0.5) * grid.scale, (-0.5 - y) * grid.scale, (ny - 0.5 - y) * grid.scale
