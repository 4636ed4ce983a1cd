"""The detector's truth: what every pixel does to the light, before noise.

Every map is drawn for the whole detector in strips of rows, each with random numbers of its own. A subarray draws
only the strips that it crosses, and holds exactly what the full frame holds there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .instrument import AMPLIFIER_ROWS, DETECTOR_SIZE, FILTERS, REFERENCE_BORDER, Frame, seed_for

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

GAIN = 1.61
"""e/DN; the value of NIRISS. All else below is simulated, close to what NIRISS shows."""

READ_NOISE = 7.0
"""DN, standard deviation of one read."""

BIAS = 11000.0
"""DN."""

DARK = 0.02
"""DN/s."""

HOT_FRACTION, WARM_FRACTION, DEAD_FRACTION = 4e-4, 2e-3, 2e-4

HOT_RATES, WARM_RATES = (2.0, 100.0), (0.1, 1.0)
"""DN/s, drawn evenly in the logarithm. Hot pixels are in the bad-pixel mask; warm ones only in the dark."""

FULL_WELL = 44000.0
"""DN above the bias at which a pixel saturates."""

NON_LINEARITY = 1.5e-6
"""1/DN: 6.6 % at saturation."""

STRIP = 64
"""Rows drawn together."""


@dataclass(frozen=True)
class Detector:
    """Truth of the detector on a frame; all arrays have shape (ny, nx).

    Attributes
    ----------
    frame : Frame
    gain : ndarray
        e/DN.
    read_noise : ndarray
        DN, standard deviation of a single read of one frame.
    bias : ndarray
        DN.
    dark : ndarray
        DN/s.
    hot, dead : ndarray of bool
        Pixels in the bad-pixel mask: dark current out of bounds; no response to light or dark current.
    reference_pixel : ndarray of bool
        No response, but the bias and noise of the others.
    flat : dict of str to ndarray
        Response to light relative to the mean pixel, by filter. It does not describe dead and reference pixels.
    linearity : ndarray
        c2 in 1/DN: the true signal is ``x + c2 x^2``, where x is the signal read in DN above the bias.
    saturation : ndarray
        Raw DN, bias included, at which `linearity` ends.
    """

    frame: Frame
    gain: Map
    read_noise: Map
    bias: Map
    dark: Map
    hot: Mask
    dead: Mask
    reference_pixel: Mask
    flat: dict[str, Map]
    linearity: Map
    saturation: Map

    @property
    def sensitive(self) -> Mask:
        """Pixels that respond to light."""
        return ~(self.dead | self.reference_pixel)


def read_out(signal: NDArray[np.floating], linearity: NDArray[np.floating]) -> NDArray[np.floating]:
    """Signal in DN that is read where the true one is `signal`: the inverse of ``x + c2 x^2``.

    Parameters
    ----------
    signal : ndarray, shape (..., ny, nx)
        DN above the bias; noise may have made it negative.
    linearity : ndarray, shape (ny, nx)
        c2 in 1/DN.
    """
    # this form of the root loses no digits at small signals
    return 2 * signal / (1 + np.sqrt(np.maximum(1 + 4 * linearity * signal, 0)))


Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray]


def drawn(frame: Frame, seed: int, name: str, draw: Draw) -> NDArray:
    """A random map on a frame, cut out of the one that the full detector has.

    Parameters
    ----------
    frame : Frame
    seed : int
    name : str
        Of the map; maps of different names are independent.
    draw : callable
        ``draw(rng, shape)`` draws one strip.

    Returns
    -------
    ndarray, shape (ny, nx)
    """
    rows, columns = frame.slices
    first, last = rows.start // STRIP, (rows.stop - 1) // STRIP
    strips = [
        draw(seed_for(seed, "detector", name, str(i)), (STRIP, DETECTOR_SIZE))[:, columns]
        for i in range(first, last + 1)
    ]
    start = rows.start - first * STRIP
    return np.concatenate(strips)[start : start + frame.ny]


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """Standard normal numbers in single precision."""
    return rng.standard_normal(shape, dtype=np.float32)


def uniform(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """Numbers between 0 and 1 in single precision."""
    return rng.random(shape, dtype=np.float32)


def make_detector(frame: Frame, seed: int) -> Detector:
    """Draw the detector.

    Parameters
    ----------
    frame : Frame
    seed : int
        The same seed makes the same detector, on every frame.
    """
    x, y = frame.coordinates()
    edge = DETECTOR_SIZE - REFERENCE_BORDER
    reference = (x < REFERENCE_BORDER) | (x >= edge) | (y < REFERENCE_BORDER) | (y >= edge)
    hot, dead = _bad_pixels(frame, seed, ~reference)
    amplifier = (y // AMPLIFIER_ROWS).astype(int)
    per_amplifier = seed_for(seed, "detector", "amplifiers").standard_normal((3, DETECTOR_SIZE // AMPLIFIER_ROWS))

    gain = np.broadcast_to(GAIN * (1 + 0.004 * per_amplifier[0][amplifier]), frame.shape)
    spread = 1 + 0.05 * drawn(frame, seed, "read_noise", normal)
    read_noise = READ_NOISE * (1 + 0.02 * per_amplifier[1][amplifier]) * np.clip(spread, 0.8, 1.3)
    bias = _bias(frame, seed, per_amplifier[2][amplifier])
    well = FULL_WELL * (1 + 0.01 * np.clip(drawn(frame, seed, "well", normal), -3, 3))
    c2 = NON_LINEARITY * (1 + 0.03 * np.clip(drawn(frame, seed, "linearity", normal), -3, 3))
    return Detector(
        frame=frame,
        gain=gain.astype(np.float32),
        read_noise=read_noise.astype(np.float32),
        bias=bias.astype(np.float32),
        dark=_dark(frame, seed, hot, dead | reference),
        hot=hot,
        dead=dead,
        reference_pixel=reference,
        flat=_flats(frame, seed, reference),
        linearity=np.where(reference, 0, c2).astype(np.float32),
        saturation=(bias + well).astype(np.float32),
    )


def _bad_pixels(frame: Frame, seed: int, light: Mask) -> tuple[Mask, Mask]:
    """Hot pixels, and dead ones: single, and in small round groups."""
    chance = drawn(frame, seed, "bad_pixels", uniform)
    hot = chance < HOT_FRACTION
    dead = chance > 1 - DEAD_FRACTION
    for radius, _, near, distance in _spots(frame, seed_for(seed, "detector", "dead_groups"), 40, (1, 3), reach=3):
        dead[near] |= distance < radius
    return hot & ~dead & light, dead & light


def _bias(frame: Frame, seed: int, amplifier: NDArray) -> NDArray:
    """DN: amplifiers (each row's deviate, shape (ny, 1)), columns, rows, and pixels."""
    rows, columns = frame.slices
    row = seed_for(seed, "detector", "bias_rows").standard_normal((DETECTOR_SIZE, 1))[rows]
    column = seed_for(seed, "detector", "bias_columns").standard_normal((1, DETECTOR_SIZE))[:, columns]
    return BIAS + 150 * amplifier + 60 * column + 30 * row + 40 * drawn(frame, seed, "bias", normal)


def _dark(frame: Frame, seed: int, hot: Mask, none: Mask) -> Map:
    """DN/s: a glow towards one side, warm and hot pixels."""
    x, _ = frame.coordinates()
    spread = np.exp(0.15 * drawn(frame, seed, "dark", normal))
    dark = DARK * (1 + 0.8 * np.exp(-x / 150)) * spread
    warm = drawn(frame, seed, "warm", uniform) < WARM_FRACTION
    rates = drawn(frame, seed, "hot_rates", uniform)
    for pixels, (low, high) in ((warm, WARM_RATES), (hot, HOT_RATES)):
        dark[pixels] = low * (high / low) ** rates[pixels]
    dark[none] = 0
    return dark.astype(np.float32)


def _flats(frame: Frame, seed: int, reference: Mask) -> dict[str, Map]:
    """Each filter's response: pixels, dust, and a large-scale pattern of which a part is the filter's own."""
    pixels = 1 + np.float32(0.004) * drawn(frame, seed, "flat", normal)
    for radius, u, near, distance in _spots(frame, seed_for(seed, "detector", "dust"), 80, (4, 20), reach=40):
        depth = 0.01 + 0.05 * u
        pixels[near] *= 1 - depth / (1 + np.exp((distance - radius) / 1.5))
    common = _large_scale(frame, seed_for(seed, "detector", "flat_common"))
    flats = {}
    for name in FILTERS:
        own = _large_scale(frame, seed_for(seed, "detector", "flat", name))
        flats[name] = pixels * (1 + np.float32(0.02) * common + np.float32(0.006) * own)
        flats[name][reference] = 1
    return flats


def _spots(
    frame: Frame, rng: np.random.Generator, count: int, radii: tuple[float, float], *, reach: int
) -> Iterator[tuple[float, float, tuple[slice, slice], NDArray]]:
    """Round spots: radius, a number between 0 and 1, the pixels up to `reach` from it, and their distances from it."""
    rows, columns = frame.slices
    x, y = frame.coordinates()
    for cx, cy, size, u in rng.random((count, 4)) * [DETECTOR_SIZE, DETECTOR_SIZE, 1, 1]:
        ends = [
            slice(max(int(c) - reach - s.start, 0), max(int(c) + reach + 1 - s.start, 0))
            for c, s in ((cy, rows), (cx, columns))
        ]
        yield (
            radii[0] + (radii[1] - radii[0]) * size,
            u,
            (ends[0], ends[1]),
            np.hypot(x[:, ends[1]] - cx, y[ends[0]] - cy),
        )


def _large_scale(frame: Frame, rng: np.random.Generator) -> Map:
    """A smooth pattern of a few waves over the detector, of the order of one."""
    x, y = (2 * np.pi * c / DETECTOR_SIZE for c in frame.coordinates())
    total = np.zeros(frame.shape, np.float32)
    for _ in range(5):
        (kx, ky), phase, weight = rng.uniform(-2, 2, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.8)
        rows, columns = weight * np.exp(1j * ky * y), np.exp(1j * (kx * x + phase))
        # the product of both, as a real number: two outer products instead of a cosine per pixel
        for row, column in ((rows.real, columns.real), (-rows.imag, columns.imag)):
            total += row.astype(np.float32) * column.astype(np.float32)
    return total
