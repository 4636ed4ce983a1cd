"""Bright sources of an exposure: their saturated cores, their diffraction spikes, and their light for the ghosts.

JWST's hexagonal segments and mirror make six spikes, 60 degrees apart with one pair along V3, and the secondary
mirror's vertical support a fainter pair across (JDox, JWST telescope: point spread function). NIRISS and NIRCam see V3
within about two degrees of the detector's y axis; the rest is measured. The light in a spike falls as the distance
squared, which holds for every straight edge, so that one number per star tells how far its spikes reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ghosts import Bright

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SPIKES = (30.0, 90.0, 150.0, 210.0, 270.0, 330.0)
"""Degrees from x towards y."""

STRUT = (0.0, 180.0)

BETWEEN = (60.0, 120.0, 240.0, 300.0)
"""Degrees of the darkest directions: between two spikes, and far from the fainter pair."""

FAR = 20.0
"""Pixels from which a spike's sides are free of its own light."""

TURNS = np.arange(-2.0, 2.01, 0.25)
"""Degrees by which the whole pattern may be turned."""

INNER = 12.0
"""Pixels: nearer than this, rings outshine the spikes."""

STEP = 2.0
"""Pixels between samples along a spike."""

BRIGHT = 300.0
"""Noise of a pixel in one that saturates by its light, at least."""

WING_SHARE = 0.03
"""Of a star's light between 8 and 16 pixels from it: right to a factor of two, for stars without a core."""


@dataclass(frozen=True)
class Star:
    """A bright source that has spikes.

    Attributes
    ----------
    x, y : float
        0-based pixels.
    turn : float
        Degrees by which its pattern is turned.
    spike, strut : float
        DN/s times square pixels: light above what is beside, times the distance squared, on the six spikes and on the
        fainter pair.
    seen : int
        Spikes of the six that are significant by themselves.
    inner : float
        Pixels from the centre where its spikes begin.
    """

    x: float
    y: float
    turn: float
    spike: float
    strut: float
    seen: int
    inner: float

    def reach(self, amplitude: float, level: float, most: float) -> float:
        """Pixels from the centre at which a spike falls below a level in DN/s, `most` at most."""
        return min(float(np.sqrt(max(amplitude, 0) / level)), most)


def cores(saturated: Mask, events: Mask, image: NDArray, noise: float, grow: int = 2) -> Mask:
    """Pixels that light has saturated, and those around them that charge may have reached.

    Parameters
    ----------
    saturated : ndarray of bool, shape (ny, nx)
        Saturated in any group.
    events : ndarray of bool, shape (ny, nx)
        Hit by snowballs and the like: what saturates there does so by charge, unless a bright source is there too.
    image : ndarray, shape (ny, nx)
        DN/s above the background; NaN where nothing was measured.
    noise : float
        DN/s, of one pixel.
    grow : int
        Pixels.
    """
    from scipy.ndimage import binary_dilation, generate_binary_structure, label, median, sum_labels

    regions, count = label(saturated, np.ones((3, 3)))
    if not count:
        return np.zeros(saturated.shape, bool)
    numbers = np.arange(1, count + 1)
    hit = sum_labels(events, regions, numbers) / sum_labels(saturated, regions, numbers)
    # pixels beside saturated ones are flagged too: around a star they are bright, around a particle's charge dark
    light = median(image, np.where(np.isfinite(image), regions, 0), numbers)
    by_light = np.concatenate([[False], (hit < 0.5) | (light > BRIGHT * noise)])[regions]
    return binary_dilation(by_light, generate_binary_structure(2, 1), grow) if grow else by_light


def sources(
    image: NDArray, error: NDArray, core: Mask, *, dispersion: str | None, least: float, faintest: float
) -> list[Bright]:
    """Bright sources; in dispersed exposures, compact ones alone, which are zeroth orders.

    Parameters
    ----------
    image, error : ndarray, shape (ny, nx)
        DN/s above the background; NaN where nothing was measured.
    core : ndarray of bool, shape (ny, nx)
        Saturated cores.
    dispersion : {"x", "y"} or None
        Axis that light is dispersed along.
    least : float
        DN/s, the smallest whole rate.
    faintest : float
        Sigma per pixel down to which pixels belong to a source.
    """
    from scipy.ndimage import find_objects, gaussian_filter, label

    filled = np.where(np.isfinite(image), image, 0)
    smooth = gaussian_filter(filled, 1.0)
    noise = np.where(np.isfinite(error) & (error > 0), error, np.inf)
    regions, _ = label((smooth > faintest * noise) | core, np.ones((3, 3)))
    found = []
    for number, box in enumerate(find_objects(regions), start=1):
        here = regions[box] == number
        light, full = np.where(here, filled[box], 0), here & core[box]
        whole = float(light.sum())
        lost = full & ~np.isfinite(image[box])
        if whole <= 0 and not lost.any():
            continue
        y, x = np.indices(here.shape)
        # the peak of a source with a core lies in its core; that of another where its light does
        weight = np.where(full, max(float(light.max()), 1.0), 0) if full.any() else np.maximum(light, 0) ** 2
        cx, cy = ((c * weight).sum() / weight.sum() + b.start for c, b in ((x, box[1]), (y, box[0])))
        if lost.any():
            whole = max(whole, _wing_light(filled, cx, cy) / WING_SHARE)
        if whole < least or (dispersion is not None and not _compact(filled, cx, cy, dispersion)):
            continue
        found.append(Bright(float(cx), float(cy), whole))
    return sorted(found, key=lambda source: -source.rate)


def _wing_light(image: NDArray, x: float, y: float) -> float:
    rows, columns = (slice(max(int(c) - 16, 0), int(c) + 18) for c in (y, x))
    v, u = np.ogrid[rows.start : min(rows.stop, image.shape[0]), columns.start : min(columns.stop, image.shape[1])]
    distance = np.hypot(u - x, v - y)
    return float(image[rows, columns][(distance > 8) & (distance <= 16)].sum())


def _compact(image: NDArray, x: float, y: float, dispersion: str) -> bool:
    """Whether a source is not part of a trace: faint 9 to 14 pixels away on both sides along the dispersion."""
    lines = image if dispersion == "x" else image.T
    along, across = (x, y) if dispersion == "x" else (y, x)
    row, column = round(across), round(along)
    profile = lines[max(row - 2, 0) : row + 3].sum(axis=0)
    peak = profile[max(column - 3, 0) : column + 4].max()
    sides = profile[max(column - 14, 0) : max(column - 8, 0)], profile[column + 9 : column + 15]
    return all(side.size == 0 or float(np.median(side)) < 0.1 * peak for side in sides)


def spiked(
    source: Bright, image: NDArray, noise: float, *, dispersion: str | None, most: float = 300.0, core: float = 0.0
) -> Star | None:
    """Measure a source's spikes; None if it has none.

    Parameters
    ----------
    source : Bright
    image : ndarray, shape (ny, nx)
        DN/s above the background, NaN where not good.
    noise : float
        DN/s, of one pixel.
    dispersion : {"x", "y"} or None
        Light along this axis is not taken for a spike.
    most : float
        Pixels to which spikes are followed.
    core : float
        Pixels: radius of the saturated core.
    """
    inner = max(INNER, core + 3)
    radius = np.arange(inner, max(most, inner + 10 * STEP), STEP)
    axis = {"x": (0.0, 180.0), "y": (90.0, 270.0)}.get(dispersion or "", ())
    directions = [one for one in SPIKES if one not in axis]
    near = radius < inner + 60
    turn, best = 0.0, -np.inf
    for candidate in TURNS:
        rays = [_ray(image, source, one + candidate, radius[near]) for one in directions]
        total = float(np.nansum(_median(rays) * radius[near]))
        if total > best:
            turn, best = float(candidate), total
    seen = _seen(image, source, [one + turn for one in directions], radius[radius >= FAR], noise)
    beside = _median([_ray(image, source, one + turn + side, radius) for one in BETWEEN for side in (-6, 0, 6)])
    amplitudes = [_amplitude(_ray(image, source, one + turn, radius) - beside, radius, noise)[0] for one in directions]
    struts = [
        _amplitude(_ray(image, source, one + turn, radius) - beside, radius, noise)[0]
        for one in STRUT
        if one not in axis
    ]
    amplitude = float(np.median([one for one in amplitudes if np.isfinite(one)] or [0.0]))
    if amplitude <= 0 or not seen:
        return None
    strut = [one for one in struts if np.isfinite(one)]
    return Star(source.x, source.y, turn, amplitude, float(np.median(strut)) if strut else 0.0, seen, inner)


def _seen(image: NDArray, source: Bright, directions: Sequence[float], radius: Array, noise: float) -> int:
    """How many spikes stand out from both of their sides; 0 if too few of those in the image do.

    An elongated source is bright in a third of all directions, but a spike is narrow.
    """
    measured = 0
    seen = 0
    for one in directions:
        sides = [_ray(image, source, one + side, radius) for side in (-18, 18)]
        amplitude, error = _amplitude(_ray(image, source, one, radius) - np.mean(sides, axis=0), radius, noise)
        measured += bool(np.isfinite(amplitude))
        seen += bool(amplitude > 3 * error)
    return seen if seen >= max(3, 0.75 * measured) else 0


def _ray(image: NDArray, source: Bright, angle: float, radius: Array, half: float = 1.0) -> Array:
    """Median over so many pixels to both sides, along a ray; NaN outside of the image."""
    a = np.deg2rad(angle)
    across = np.arange(-half, half + 0.01, 0.5)[:, None]
    x = np.rint(source.x + radius * np.cos(a) - across * np.sin(a)).astype(int)
    y = np.rint(source.y + radius * np.sin(a) + across * np.cos(a)).astype(int)
    inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
    values = np.where(inside, image[np.where(inside, y, 0), np.where(inside, x, 0)], np.nan)
    return _median(values)


def _median(rows: ArrayLike) -> Array:
    """Median over the first axis of what is finite; NaN where nothing is."""
    values = np.sort(np.asarray(rows, float), axis=0)  # NaN at the end
    count = np.isfinite(values).sum(axis=0)
    low, high = np.maximum((count - 1) // 2, 0), count // 2
    low, high = (np.take_along_axis(values, np.minimum(i, len(values) - 1)[None], axis=0)[0] for i in (low, high))
    return np.where(count > 0, (low + high) / 2, np.nan)


def _amplitude(excess: Array, radius: Array, noise: float) -> tuple[float, float]:
    """Light times distance squared, and its error: the weighted median, which sources on the ray do not move."""
    good = np.isfinite(excess)
    if good.sum() < 5:
        return np.nan, np.inf
    values, weight = (excess * radius**2)[good], radius[good] ** -2.0
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    # weights fall as the errors grow; the median of so many values with such weights
    error = 1.2533 * noise / np.sqrt(np.sum(weight**2)) / np.sqrt(2)
    return float(values[order][np.searchsorted(total, total[-1] / 2)]), float(error)


def spikes(
    stars: Sequence[Star], shape: tuple[int, int], level: float, *, width: float = 2.3, most: float = 300.0
) -> Mask:
    """Pixels of all spikes that are brighter than a level.

    Parameters
    ----------
    stars : sequence of Star
    shape : (int, int)
    level : float
        DN/s above what is beside the spikes.
    width : float
        Pixels, sigma of the light across a spike; that of the strut's is a third.
    most : float
        Pixels: no spike is longer.
    """
    covered = np.zeros(shape, bool)
    for star in stars:
        for directions, amplitude, sigma in ((SPIKES, star.spike, width), (STRUT, star.strut, width / 3)):
            reach = star.reach(amplitude, level, most)
            if reach <= star.inner:
                continue
            rows, columns = (
                slice(max(int(c - reach) - 1, 0), max(min(int(c + reach) + 2, n), 0))
                for c, n in ((star.y, shape[0]), (star.x, shape[1]))
            )
            v, u = np.ogrid[rows, columns]
            for direction in directions:
                a = np.deg2rad(direction + star.turn)
                along = (u - star.x) * np.cos(a) + (v - star.y) * np.sin(a)
                across = (v - star.y) * np.cos(a) - (u - star.x) * np.sin(a)
                # a Gaussian across a spike of this brightness is above the level so far from the middle
                brightness = amplitude / np.maximum(along, INNER) ** 2 / level
                half = np.maximum(sigma * np.sqrt(2 * np.log(np.maximum(brightness, 1))), 1.5)
                covered[rows, columns] |= (along > 0) & (along <= reach) & (np.abs(across) <= half)
    return covered
