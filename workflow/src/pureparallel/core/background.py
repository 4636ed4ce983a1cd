"""The sky of direct images: a smooth background, stripes, and the noise as it is.

A background that follows the data closely eats extended sources; one that is stiff leaves structure. Here sources are
masked down to their faint halos (`source_tiers`), the background is as stiff as what is left asks for
(`background_fit`), and extended sources are asked afterwards whether it has taken light of theirs.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .background_fit import LEAST, fit
from .scattered import background as draft
from .source_tiers import source_mask, swallowed

Array = NDArray[np.float64]
Image = NDArray[np.floating]
Mask = NDArray[np.bool_]

PASSES = 6
"""Of masking sources and fitting the background, each from the one before, at most."""

SURE = 5.0
"""Standard deviations from which on a single line is a stripe, though all lines together look like noise."""


@dataclass(frozen=True)
class Sky:
    """What `measure` found.

    Attributes
    ----------
    background : ndarray, shape (ny, nx)
    stripes : ndarray, shape (ny, nx)
        To be subtracted too.
    sources : ndarray of bool, shape (ny, nx)
    free : ndarray of bool, shape (ny, nx)
        Good pixels without sources.
    factor : float
        True over stated noise of these.
    pedestal : float
        Mean of the background.
    structure : float
        Rms of the background about it.
    lines : dict of str to dict
        By direction: see `stripes`.
    tiers : tuple of float
        Part of the good pixels that is masked when each tier is done.
    """

    background: Array
    stripes: Array
    sources: Mask
    free: Mask
    factor: float
    pedestal: float
    structure: float
    lines: dict[str, dict[str, float]] = field(default_factory=dict)
    tiers: tuple[float, ...] = ()


def measure(
    image: Image, error: Image, good: Mask, *, box: int = 32, scale: float = 64.0, threshold: float = 1.0,
    least_free: float = 0.2, order: int = 2, remove_stripes: bool = True, segments: tuple[int, int] = (1, 1),
) -> Sky:  # fmt: skip
    """Tell the sky of an image from its sources.

    Parameters
    ----------
    image, error : ndarray, shape (ny, nx)
    good : ndarray of bool, shape (ny, nx)
    box : int
        Pixels on a side of the boxes whose levels the background is fitted to.
    scale : float
        Pixels, half the shortest wave of the background.
    threshold : float
        Factor on the thresholds of `source_tiers.TIERS`.
    least_free : float
        Part of the good pixels that is kept as sky: where sources crowd, tiers get higher thresholds.
    order : int
        0 for a constant background, 1 for a plane, 2 for one of any shape.
    remove_stripes : bool
    segments : (int, int)
        Amplifiers along y and along x: columns and rows are lines of one amplifier each.
    """
    noise = typical_error(error, good)
    usable = good & np.isfinite(image) & (error > 0) & (error < 3 * noise)
    if usable.sum() < max(64, 0.01 * usable.size):
        raise ValueError(f"only {usable.sum()} of {usable.size} pixels are good: no background can be measured")
    values = np.where(usable, image, 0).astype(float)
    sources = np.zeros(image.shape, bool)
    halos, surface = sources, draft(values, usable, 2 * box)
    for step in range(PASSES):
        if step:
            surface = fit(values, usable & ~sources, box=box, scale=scale, order=order)
        sources, cores, parts = source_mask(values - surface, usable, halos, threshold, least_free)
        eaten = swallowed(values - surface, surface, usable, cores)
        if step >= 2 and not (eaten & ~halos).any():
            break
        halos = halos | eaten
        sources = sources | eaten if np.mean(~(sources | eaten)[usable]) >= least_free else sources
    free = usable & ~sources
    surface = fit(values, free, box=box, scale=scale, order=order)
    lines, found = np.zeros(image.shape), {}
    if remove_stripes:
        for name, axis in (("columns", 0), ("rows", 1)):
            one, found[name] = stripes(values - surface - lines, free, noise, axis, segments[axis])
            lines += one
        surface = fit(values - lines, free, box=box, scale=scale, order=order)
    factor = scatter(((values - surface - lines) / np.where(usable, error, 1))[free])
    return Sky(
        surface, lines, sources, free, factor, float(surface.mean()), float(surface.std()), found, tuple(parts)
    )  # fmt: skip


def typical_error(error: Image, good: Mask) -> float:
    """Of a pixel of the sky: the lower quartile, for sources have larger ones."""
    known = error[good & np.isfinite(error) & (error > 0)]
    return float(np.percentile(known, 25)) if known.size else 1.0


def scatter(values: Image) -> float:
    """Standard deviation of the core of a distribution, by the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def stripes(residual: Array, free: Mask, noise: float, axis: int, segments: int = 1) -> tuple[Array, dict[str, float]]:
    """What is left of stripes along an axis: medians of the lines' free pixels, as far as they are significant.

    If lines scatter by more than their noise, all are taken, shrunk by the part of noise in them; else only those that
    are beyond doubt.

    Parameters
    ----------
    residual : ndarray, shape (ny, nx)
    free : ndarray of bool, shape (ny, nx)
    noise : float
        Of a pixel.
    axis : int
        Along which the lines run.
    segments : int
        Equal parts of each line that are independent of each other.

    Returns
    -------
    ndarray, shape (ny, nx)
    dict
        ``rms``, of the medians; ``expected``, of these from noise alone; ``share``, the part that is taken out of all;
        ``lines``, the number of those taken out alone.
    """
    lines = residual if axis == 1 else residual.T
    masked = np.where(free if axis == 1 else free.T, lines, np.nan)
    parts = masked.reshape(len(lines) * segments, -1)
    count = np.isfinite(parts).sum(axis=-1)
    known = count >= max(16, LEAST * parts.shape[1])
    if known.sum() < 10:
        return np.zeros(residual.shape), {"rms": 0.0, "expected": 0.0, "share": 0.0, "lines": 0}
    level = np.zeros(len(parts))
    level[known] = np.nanmedian(parts[known], axis=-1)
    level[known] -= np.median(level[known])
    error = np.sqrt(np.pi / 2) * noise / np.sqrt(np.maximum(count, 1))
    pull = level / error
    excess = scatter(pull[known]) ** 2
    certain = known & (np.abs(pull) > SURE * max(1.0, np.sqrt(excess)))
    share = 1 - 1 / excess if excess > 1 + 3 * np.sqrt(4 / known.sum()) else 0.0
    taken = np.where(certain, level, share * level)
    shape = (len(lines), segments, lines.shape[1] // segments)
    image = np.broadcast_to(taken.reshape(len(lines), segments, 1), shape).reshape(lines.shape)
    numbers = {
        "rms": float(np.sqrt(np.mean(level[known] ** 2))), "expected": float(np.sqrt(np.mean(error[known] ** 2))),
        "share": float(share), "lines": int(certain.sum()),
    }  # fmt: skip
    return (image if axis == 1 else image.T), numbers


def rescale(
    image: Image, background: Array, sources: Mask, var_reads: Image, var_photons: Image, factor: float
) -> tuple[Image, Image]:
    """Variances of reads and photons, those of reads and sky times the factor's square; a source's photons stay.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background subtracted.
    background : ndarray, shape (ny, nx)
    sources : ndarray of bool, shape (ny, nx)
        Elsewhere all light is the sky's.
    var_reads, var_photons : ndarray, shape (ny, nx)
    factor : float
        True over stated noise of the sky.

    Returns
    -------
    var_reads, var_photons : ndarray, shape (ny, nx)
    """
    # neighbours share their light: a pixel's own would say less where noise is below
    light = ndimage.uniform_filter(np.where(np.isfinite(image), np.clip(image, 0, None), 0), 3)
    sky = np.clip(background, 0, None)
    share = np.where(sources & (light > 0), sky / np.maximum(sky + light, 1e-30), 1.0)
    return (
        (factor**2 * var_reads).astype(var_reads.dtype),
        (var_photons * (1 + (factor**2 - 1) * share)).astype(var_photons.dtype),
    )
