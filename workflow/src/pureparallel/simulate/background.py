"""The sky behind slitless spectra: every component as the grism and its orders make it look.

A uniform sky disperses into a uniform image, but for the mirror that feeds the camera: each order shows its edges and
its uneven brightness where that order's displacement puts them, blurred by the width of the band. So zodiacal light
makes broad structures, a single line sharp ones. Scattered light reaches the detector on its own way, undispersed.

All of it is simulated. Images are those before the flat field, as light falls onto the detector.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .dispersion import Traces
from .instrument import DETECTOR_SIZE, FILTERS, GRISM_CONFIGURATION, PIXAR_SR, Frame

Array = NDArray[np.float64]

MIRROR_MARGIN = 110.0
"""Pixels by which the pick-off mirror's image extends beyond the detector, on every side."""

EDGE_WIDTH = 8.0
"""Pixels over which that edge, which is out of focus, goes from dark to light."""

MIRROR_WAVES = (
    (1, -2, 0.4, 0.030),
    (3, 1, 2.1, 0.030),
    (-2, 5, 5.2, 0.025),
    (7, 4, 1.2, 0.020),
    (5, -9, 3.6, 0.020),
    (13, 3, 0.9, 0.015),
    (4, 14, 4.4, 0.015),
    (-11, 17, 2.8, 0.010),
)
"""The mirror's uneven brightness: waves over the detector in x and y, phase, and amplitude over the mean."""

HELIUM = 1.0833
"""μm; the line of the component that looks as telluric He I does from a low orbit."""

ZODIACAL = (0.16, -0.8)
"""MJy/sr at 1.5 μm and its power of wavelength: a dark field of high ecliptic latitude, roughly."""

BACKGROUND_ORDERS = (1, 0, 2)
"""Orders that contribute."""


def zodiacal_light(wave: Array) -> Array:
    """Surface brightness of zodiacal light in MJy/sr at wavelengths in μm."""
    level, slope = ZODIACAL
    return level * (wave / 1.5) ** slope


def imaging_rate(band: str) -> float:
    """DN/s per pixel of zodiacal light in a direct image."""
    return float(zodiacal_light(np.array(FILTERS[band].pivot)) / FILTERS[band].photmjsr)


def zodiacal_rate(grism: str, band: str) -> float:
    """DN/s per pixel of zodiacal light in a dispersed image, where no edge is near."""
    return float(sum(weights.sum() for _, weights in _light(grism, band, None)))


def background_components(grism: str, band: str, frame: Frame) -> dict[str, Array]:
    """The components of the sky in a dispersed image.

    Parameters
    ----------
    grism, band : str
        As ``GR150R`` and ``F200W``.
    frame : Frame
        A subarray holds what the full frame holds there.

    Returns
    -------
    dict of str to ndarray, shape (ny, nx)
        ``zodiacal`` and ``scattered``, and ``helium`` where its line is in the band. The median of each over the
        full frame is 1, so that a component's factor is its level in DN/s.
    """
    components = {"zodiacal": _dispersed(grism, band, frame, None), "scattered": _scattered(grism, frame)}
    if FILTERS[band].wave_min < HELIUM < FILTERS[band].wave_max:
        components["helium"] = _dispersed(grism, band, frame, HELIUM)
    return components


@cache
def _traces() -> Traces:
    return Traces.read(GRISM_CONFIGURATION)


def _light(grism: str, band: str, line: float | None) -> list[tuple[Array, Array]]:
    """Displacements along the dispersion and the DN/s per pixel that each brings, by order; zodiacal light or a line.

    Those of light from the middle of the detector are taken for all of it.
    """
    middle, result = (DETECTOR_SIZE - 1) / 2, []
    for order in BACKGROUND_ORDERS:
        if line is None:
            wave = np.linspace(0.98 * FILTERS[band].wave_min, 1.02 * FILTERS[band].wave_max, 400)
            jansky = zodiacal_light(wave) * 1e6 * PIXAR_SR
            brightness = jansky * 1e-23 * 2.99792458e18 / (wave * 1e4) ** 2 * np.gradient(wave) * 1e4
        else:
            wave, brightness = np.array([line]), np.ones(1)
        displacement = _traces().displace(grism, band, order, middle, middle, wave)
        along = displacement[1] if grism == "GR150R" else displacement[0]
        result.append((along, brightness * _traces().sensitivity(grism, band, order, wave)))
    return result


def _dispersed(grism: str, band: str, frame: Frame, line: float | None) -> Array:
    """The mirror in the light of the sky, dispersed; shape (ny, nx)."""
    light = _light(grism, band, line)

    def profile(position: Array) -> Array:
        total = np.zeros(position.shape)
        for displacement, weights in light:
            origin = position[..., None] - displacement
            inside = _rise(origin + MIRROR_MARGIN) * _rise(DETECTOR_SIZE - 1 + MIRROR_MARGIN - origin)
            total += inside @ weights
        return total

    x, y = frame.coordinates()
    along = profile(y if grism == "GR150R" else x)
    middle = np.median(profile(np.arange(float(DETECTOR_SIZE))))
    return along / middle * (1 + _waves(x, y, 0 if grism == "GR150C" else 1, light))


def _waves(x: Array, y: Array, axis: int, light: list[tuple[Array, Array]]) -> Array:
    """The mirror's waves as light dispersed along an axis (0 for x, 1 for y) shows them; shape (ny, nx).

    Dispersion shifts a wave by each displacement: its sum is the same wave times one complex number.
    """
    total = np.zeros((y.size, x.size))
    sum_of_weights = sum(weights.sum() for _, weights in light)
    for nx, ny, phase, amplitude in MIRROR_WAVES:
        kx, ky = 2 * np.pi * nx / DETECTOR_SIZE, 2 * np.pi * ny / DETECTOR_SIZE
        k = (kx, ky)[axis]
        transfer = sum((np.exp(-1j * k * d) @ weights for d, weights in light), 0j) / sum_of_weights
        column, row = amplitude * transfer * np.exp(1j * (ky * y + phase)), np.exp(1j * kx * x)
        total += column.real * row.real - column.imag * row.imag
    return total


def _scattered(grism: str, frame: Frame) -> Array:
    """An inclined band of light over a slope; shape (ny, nx)."""
    tilt = 0.25 if grism == "GR150R" else -0.15

    def pattern(x: Array, y: Array) -> Array:
        u, v = x / DETECTOR_SIZE - 0.5, y / DETECTOR_SIZE - 0.5
        return 1 + 0.3 * u + 0.8 * np.exp(-(((v - tilt * u - 0.12) / 0.16) ** 2))

    coarse = np.arange(8, DETECTOR_SIZE, 16.0)
    return pattern(*frame.coordinates()) / np.median(pattern(coarse[None, :], coarse[:, None]))


def _rise(distance: Array) -> Array:
    """0 outside and 1 inside of an edge, by the distance in pixels inwards."""
    t = np.clip(distance / EDGE_WIDTH + 0.5, 0, 1)
    return t * t * (3 - 2 * t)
