"""Drizzling (Fruchter & Hook 2002, PASP 114, 144) of one exposure at a time, and their weighted sum.

Each exposure is drizzled alone, onto its own part of the grid, and added to sums over the field: memory holds one
exposure and the sums, however many exposures there are, and the result is that of drizzling all onto one image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grid import Array, Box

Image = NDArray[np.float32]

DO_NOT_USE = 1


def sky_variance(variance: NDArray, read_variance: NDArray, good: NDArray[np.bool_]) -> NDArray:
    """Variance of every pixel were it to see sky alone, shape (ny, nx).

    Weights must not know the sources: with the full variance, an exposure in which noise makes a source fainter counts
    more, and every source comes out too faint.

    Parameters
    ----------
    variance : ndarray, shape (ny, nx)
        Full, of the data.
    read_variance : ndarray, shape (ny, nx)
        Its part that does not come from light.
    good : ndarray of bool, shape (ny, nx)
    """
    if not good.any():
        return np.full(variance.shape, np.nan, np.float32)
    light = float(np.median(variance[good] - read_variance[good]))
    return read_variance + max(light, 0.0)


def drizzle_one(
    data: NDArray,
    weight: NDArray,
    variance: NDArray | None,
    positions: Array,
    box: Box,
    *,
    pixfrac: float,
    kernel: str = "square",
) -> tuple[Image, Image, Image | None]:
    """Drizzle an exposure onto a part of a grid.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Surface brightness.
    weight : ndarray, shape (ny, nx)
        0 for pixels that are not to be used.
    variance : ndarray, shape (ny, nx), optional
        Of the data.
    positions : ndarray, shape (ny, nx, 2)
        x, y of the pixels on the grid.
    box : (slice, slice)
        Part of the grid.
    pixfrac : float
        Side of the drops in pixels.
    kernel : str
        Shape of the drops: square conserves flux whatever the distortion; turbo and point are cheaper.

    Returns
    -------
    data, weight : ndarray of float32, of the box's shape
        Mean, 0 where there is no weight, and weight: that of a pixel is shared out among those of the grid.
    variance : ndarray of float32, or None
    """
    from drizzle.resample import Drizzle  # type: ignore[import-not-found]

    rows, columns = box
    used = weight > 0
    area = _pixels_per_pixel(positions)
    # the library leaves out pixels whose centres are beside the canvas, though their edges are on it
    pad = int(np.ceil(np.sqrt(area))) + 1
    canvas = Drizzle(
        kernel=kernel, fillval="0", fillval2="0", disable_ctx=True,
        out_shape=(rows.stop - rows.start + 2 * pad, columns.stop - columns.start + 2 * pad),
    )  # fmt: skip
    canvas.add_image(
        np.where(used, data, 0).astype(np.float32),
        exptime=1.0,
        pixmap=positions - np.array([columns.start - pad, rows.start - pad], float),
        data2=None if variance is None else [np.where(used, variance, 0).astype(np.float32)],
        weight_map=np.where(used, weight, 0).astype(np.float32),
        pixfrac=pixfrac,
        pixel_scale_ratio=float(1 / np.sqrt(max(area, 1e-12))),
    )
    inner = slice(pad, -pad), slice(pad, -pad)
    squared = None if variance is None else canvas.out_img2[0][inner]
    return canvas.out_img[inner], canvas.out_wht[inner], squared


def _pixels_per_pixel(positions: Array) -> float:
    """Area of an exposure's pixel in pixels of the grid, in the middle."""
    y, x = positions.shape[0] // 2, positions.shape[1] // 2
    right, up = positions[y, x] - positions[y, x - 1], positions[y, x] - positions[y - 1, x]
    return float(abs(right[0] * up[1] - right[1] * up[0]))


@dataclass(frozen=True)
class Sums:
    """Weighted sums over exposures, all of the grid's shape.

    Attributes
    ----------
    light, weight, variance, seconds : ndarray of float32
        Sums of weight times data, of weight, of squared weight times variance, and of exposure times.
    """

    light: Image
    weight: Image
    variance: Image
    seconds: Image

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> "Sums":
        """Nothing added yet."""
        return cls(*(np.zeros(shape, np.float32) for _ in range(4)))

    def add(self, box: Box, data: Image, weight: Image, variance: Image, seconds: float) -> None:
        """Add an exposure, as `drizzle_one` gives it."""
        self.light[box] += data * weight
        self.weight[box] += weight
        self.variance[box] += variance * weight**2
        self.seconds[box] += np.float32(seconds) * (weight > 0)

    def finish(self) -> tuple[Image, Image, Image, Image]:
        """Mean, its error, weight and exposure time; where no exposure is, NaN, NaN, 0 and 0. Uses the sums up."""
        empty = ~(self.weight > 0)
        divisor = np.where(empty, np.float32(np.nan), self.weight)
        np.divide(self.light, divisor, out=self.light)
        np.sqrt(self.variance, out=self.variance)
        np.divide(self.variance, divisor, out=self.variance)
        return self.light, self.variance, self.weight, self.seconds


def correlation(error: Image, weight: Image) -> float:
    """By how much the noise of a large aperture exceeds what its pixels' errors add up to in quadrature.

    Weights are inverse variances of the exposures' pixels, and drizzling conserves them: of n pixels of even weight w
    the mean has the variance 1 / (n w), while a pixel alone has its own, less because neighbours share their noise.
    The formula of Casertano et al. (2000, AJ 120, 2747), appendix A, is the same for one exposure and no rotation.

    Parameters
    ----------
    error, weight : ndarray
        Of the mosaic.

    Returns
    -------
    float
        Median over covered pixels; NaN if there are none.
    """
    good = (weight > 0) & (error > 0)
    return float(np.median(1 / (np.sqrt(weight[good]) * error[good]))) if good.any() else float("nan")


APERTURES_WITHIN = 2500
"""Pixels on a side of the part of a mosaic in which empty apertures are looked for: more would only cost memory."""


def middle(used: NDArray[np.bool_], length: int) -> slice:
    """The part of an axis, of a length at most, in the middle of what is used."""
    where = np.flatnonzero(used)
    low = max((int(where[0]) + int(where[-1]) + 1 - length) // 2, int(where[0]))
    return slice(low, min(low + length, int(where[-1]) + 1))


def empty_apertures(data: Image, error: Image, side: int, correlation: float) -> dict[str, float]:
    """The noise of square apertures, wherever they fit on empty sky, and what the errors say of it.

    Of white noise in full drops of side s, apertures of side L have 1 - s / (3 L) of what `correlation` says, which is
    that of large ones: part of the noise that they share with their surroundings lies outside.

    Parameters
    ----------
    data, error : ndarray, shape (ny, nx)
        Of a mosaic; of a large one, the middle counts.
    side : int
        Pixels.
    correlation : float
        Of `correlation`.

    Returns
    -------
    dict
        ``apertures``, how many would fit beside each other; ``sigma``, 1.4826 times the median absolute deviation of
        their sums; ``pull``, the same of the sums over their stated errors; ``median`` of these. NaN for fewer than 30.
    """
    from scipy.ndimage import binary_dilation, gaussian_filter, uniform_filter

    none = {"apertures": 0.0, "sigma": np.nan, "pull": np.nan, "median": np.nan}
    covered = np.isfinite(data) & (error > 0)
    if not covered.any():
        return none
    part = tuple(middle(covered.any(axis=axis), APERTURES_WITHIN) for axis in (1, 0))
    data, error, covered = data[part], error[part], covered[part]
    if not covered.any():
        return none
    light, noise = np.where(covered, data, 0), np.where(covered, error, 0)
    seen = gaussian_filter(light / np.where(covered, noise, 1), 2.0)
    spread = 1.4826 * np.median(np.abs(seen[covered] - np.median(seen[covered])))
    blocked = binary_dilation(np.abs(seen - np.median(seen[covered])) > 3 * spread, iterations=side // 2) | ~covered
    free = uniform_filter(blocked.astype(np.float32), side) < 0.5 / side**2
    count = float(free.sum() // side**2)
    if count < 30:
        return none
    sums = uniform_filter(light.astype(float), side)[free] * side**2
    stated = np.sqrt(uniform_filter(noise.astype(float) ** 2, side)[free] * side**2) * correlation

    def width(values: NDArray) -> float:
        return float(1.4826 * np.median(np.abs(values - np.median(values))))

    pull = sums / stated
    return {
        "apertures": count, "sigma": width(sums), "pull": width(pull), "median": float(np.median(pull)),
    }  # fmt: skip
