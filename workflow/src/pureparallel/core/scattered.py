"""Backgrounds: their large scales, what is expected of them, and exposures that scattered light has spoilt.

Light from bright stars far outside of the field, from the Earth's or the Moon's glint or from a bright planet reaches
the detector by stray paths. It comes in broad patterns, brighter than the zodiacal light or of another shape. Three
numbers tell it, each against its own limit: the level over that of zodiacal light, the level over that of other
exposures through the same elements, and the rms of the large scales over the level.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ZODIACAL = (0.10, -0.8)
"""MJy/sr at 1.5 μm where it is darkest, near the ecliptic poles, and its power of wavelength between 0.9 and 2.3 μm,
rounded (JDox, JWST background model; Rigby et al. 2023, PASP 135, 048002). Near the ecliptic, at the elongations that
JWST can point to, it is up to about six times brighter."""

COLLECTING_AREA = 25.4
"""m² (JDox, JWST telescope)."""

INSTRUMENTS = {
    "NIRISS": (0.0656, 1.61),
    "NRCSHORT": (0.031, 2.05),
    "NRCLONG": (0.063, 1.82),
}
"""Pixel scale in arcsec and gain in e/DN (JDox); for NIRCam by channel."""

THROUGHPUT = 0.55
"""Photons detected over photons that enter the telescope inside a filter: right to a third, for all of them."""

COMPARABLE = 3
"""Other exposures through the same elements that make a pattern to compare with: one odd one does not move their
median."""

PLANCK = 6.62607015e-34
ARCSEC = np.pi / 180 / 3600


@dataclass(frozen=True)
class Sky:
    """Large scales of an exposure.

    Attributes
    ----------
    boxes : ndarray, shape (m, n)
        DN/s: the level in each box; NaN where too few pixels are good.
    level : float
        DN/s: their median.
    structure : float
        DN/s: their rms about the level, noise subtracted.
    noise : float
        DN/s: median error of a pixel.
    """

    boxes: Array
    level: float
    structure: float
    noise: float


@dataclass(frozen=True)
class Limits:
    """What an exposure may have before it is taken for scattered light.

    Attributes
    ----------
    zodiacal : float
        Level over the darkest zodiacal light.
    others : float
        Level over the median of other exposures through the same elements.
    structure : float
        Rms of the large scales over the level; of what is left when the others' scaled pattern is subtracted, where
        there are others.
    dispersed_structure : float
        The same for dispersed exposures with no others: their sky has structures of its own.
    nsigma : float
        Rms of the large scales over the noise of one pixel below which no structure counts.
    """

    zodiacal: float = 15.0
    others: float = 2.0
    structure: float = 0.12
    dispersed_structure: float = 0.3
    nsigma: float = 1.0


def box_medians(image: NDArray, good: Mask, box: int = 64, clip: float = 2.5) -> tuple[Array, Array]:
    """Level of the background in square boxes: medians of what is not brighter than the rest.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
    good : ndarray of bool, shape (ny, nx)
    box : int
        Pixels on a side; the last box of a row may be smaller.
    clip : float
        Pixels so many sigma above the median are left out, again and again. Sigma comes from the fainter half, which
        sources leave alone.

    Returns
    -------
    level, error : ndarray, shape (ceil(ny / box), ceil(nx / box))
        NaN where less than a tenth of the pixels of a whole box is good.
    """
    ny, nx = image.shape
    rows, columns = -(-ny // box), -(-nx // box)
    padded = np.full((rows * box, columns * box), np.nan, np.float32)
    padded[:ny, :nx] = np.where(good, image, np.nan)
    values = np.sort(padded.reshape(rows, box, columns, box).swapaxes(1, 2).reshape(rows, columns, -1), axis=-1)
    count = np.isfinite(values).sum(axis=-1)

    def at(fraction: float, among: NDArray[np.int64]) -> Array:
        place = np.maximum((fraction * among).astype(int), 0)[..., None]
        return np.take_along_axis(values, place, axis=-1)[..., 0].astype(float)

    kept = count
    for _ in range(6):
        median, sigma = at(0.5, kept), at(0.5, kept) - at(0.1587, kept)
        kept = np.sum(values <= (median + clip * sigma)[..., None], axis=-1)
    bad = count < 0.1 * box**2
    median, sigma = (np.where(bad, np.nan, a) for a in (at(0.5, kept), sigma))
    return median, 1.2533 * sigma / np.sqrt(np.maximum(kept, 1))


def background(image: NDArray, good: Mask, box: int = 64) -> Array:
    """A smooth background of an image, shape (ny, nx): `box_medians`, interpolated."""
    from scipy.ndimage import median_filter

    level, _ = box_medians(image, good, box)
    if not np.isfinite(level).any():
        return np.zeros(image.shape)
    level = np.where(np.isfinite(level), level, np.nanmedian(level))
    if min(level.shape) >= 3:
        # continued beyond the edges as it falls or rises there, so that a slope is left as it is
        level = median_filter(np.pad(level, 1, mode="reflect", reflect_type="odd"), 3)[1:-1, 1:-1]
    down, along = (_weights(n, m, box) for n, m in zip(image.shape, level.shape, strict=True))
    return down @ level @ along.T


def _weights(pixels: int, boxes: int, box: int) -> Array:
    """Share of each box's level in each pixel along one axis, shape (pixels, boxes): linear between their middles."""
    middle = (np.arange(pixels) + 0.5) / box - 0.5
    return np.stack([np.interp(middle, np.arange(boxes), unit) for unit in np.eye(boxes)], axis=1)


def measure(rate: NDArray, error: NDArray, good: Mask, box: int = 64) -> Sky:
    """Measure the large scales of an exposure.

    Parameters
    ----------
    rate, error : ndarray, shape (ny, nx)
        DN/s.
    good : ndarray of bool, shape (ny, nx)
    box : int

    Raises
    ------
    ValueError
        If no box has enough good pixels.
    """
    boxes, noise = box_medians(rate, good & np.isfinite(rate), box)
    if not np.isfinite(boxes).any():
        raise ValueError("no part of the exposure has enough good pixels to measure its background")
    level = float(np.nanmedian(boxes))
    variance = np.nanmean((boxes - level) ** 2) - np.nanmean(noise**2)
    return Sky(boxes, level, float(np.sqrt(max(variance, 0))), float(np.median(error[good & np.isfinite(error)])))


def zodiacal_rate(instrument: str, filter: str) -> float | None:
    """DN/s per pixel of the darkest zodiacal light through a filter, right to about a third.

    Parameters
    ----------
    instrument : str
        A key of `INSTRUMENTS`.
    filter : str
        Its name gives wavelength and width: ``F200W`` is at 2 μm, W is a quarter of it wide, M a tenth, N a hundredth,
        W2 four fifths. A grism keeps most of the light, in its orders together.

    Returns
    -------
    float or None
        None for names or instruments that are not of this kind, and beyond 2.5 μm, where thermal light takes over.
    """
    match = re.fullmatch(r"F(\d{3})(W2|W|M|N)", filter)
    if match is None or instrument not in INSTRUMENTS or int(match[1]) > 250:
        return None
    wave = int(match[1]) / 100
    width = {"W2": 0.8, "W": 0.25, "M": 0.1, "N": 0.01}[match[2]]
    scale, gain = INSTRUMENTS[instrument]
    jansky = ZODIACAL[0] * (wave / 1.5) ** ZODIACAL[1] * 1e6 * (scale * ARCSEC) ** 2
    # photons per second: F_nu A dnu / (h nu), and dnu / nu is the relative width
    return jansky * 1e-26 * COLLECTING_AREA * width / PLANCK * THROUGHPUT / gain


def residual_structure(sky: Sky, others: Sequence[Sky]) -> float:
    """DN/s: rms of the large scales when the median pattern of other exposures, scaled to its level, is subtracted."""
    usable = [other for other in others if other.boxes.shape == sky.boxes.shape and other.level > 0]
    if len(usable) < COMPARABLE:
        return sky.structure
    pattern = np.median([other.boxes / other.level for other in usable], axis=0)
    left = sky.boxes - sky.level * pattern
    left = left[np.isfinite(left)]
    return float(np.std(left)) if left.size else sky.structure


def judge(
    sky: Sky, expected: float | None, others: Sequence[Sky], *, dispersed: bool, limits: Limits
) -> tuple[list[str], Mapping[str, float | None]]:
    """Whether scattered light has spoilt an exposure.

    Parameters
    ----------
    sky : Sky
    expected : float or None
        `zodiacal_rate`.
    others : sequence of Sky
        Other exposures through the same elements.
    dispersed : bool
    limits : Limits

    Returns
    -------
    reasons : list of str
        One per limit that is passed, with the numbers; empty for a good exposure.
    numbers : mapping
        level, noise and structure in DN/s, and the ratios that were judged; None where there is nothing to compare to.
    """
    level = sky.level
    to_zodiacal = level / expected if expected else None
    to_others = level / float(np.median([o.level for o in others])) if others else None
    compared = len([o for o in others if o.boxes.shape == sky.boxes.shape and o.level > 0]) >= COMPARABLE
    structure = residual_structure(sky, others)
    relative = structure / level if level > 0 else None
    most = limits.structure if compared or not dispersed else limits.dispersed_structure
    reasons = []
    if to_zodiacal is not None and to_zodiacal > limits.zodiacal:
        reasons.append(f"level of {level:.3g} DN/s is {to_zodiacal:.3g} times the darkest zodiacal light")
    if to_others is not None and to_others > limits.others:
        reasons.append(f"level of {level:.3g} DN/s is {to_others:.3g} times that of like exposures")
    if relative is not None and relative > most and structure > limits.nsigma * sky.noise:
        against = "after the pattern of like exposures" if compared else "of its level"
        reasons.append(f"large-scale rms of {structure:.3g} DN/s is {100 * relative:.0f} % {against}")
    numbers = {
        "level": level, "noise": sky.noise, "structure": structure, "structure_over_noise": structure / sky.noise,
        "structure_over_level": relative, "level_over_zodiacal": to_zodiacal, "level_over_others": to_others,
    }  # fmt: skip
    return reasons, numbers
