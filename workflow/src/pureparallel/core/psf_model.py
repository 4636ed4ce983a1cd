"""A star's image behind JWST's aperture, as far as it is known before any star is looked at.

The aperture is 18 hexagons and three struts. Its autocorrelation is the optical transfer function of a perfect
telescope, one function of distance over wavelength for all filters. Errors of the wavefront are not known but for their
size: where they are independent from segment to segment, light that no longer adds up between segments is spread as
one segment alone would spread it, and the part of it follows from the rms (Ruze 1966, Proc. IEEE 54, 633). Jitter of
the telescope and diffusion of charges blur the rest. Two numbers, blur and wavefront, are what stars can correct.
"""

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]

SEGMENT, PITCH = 1.32, 1.327
"""Metres: a segment from flat to flat, and from centre to centre (JDox, JWST telescope)."""

STRUTS = ((90.0, 0.12), (-60.0, 0.15), (-120.0, 0.15))
"""Direction from the centre in degrees, and width in m, of what holds the secondary mirror; widths approximate."""

BLUR = 0.0202
"""Arcsec, sigma: diffusion of charges in NIRISS's detector, and the telescope's jitter, which is far less (STPSF 2)."""

WAVEFRONT = 65.0
"""nm rms: of telescope and instrument together in flight (Rigby et al. 2023, PASP 135, 048001)."""

WIDTHS = {"W": 0.23, "W2": 0.5, "M": 0.11, "N": 0.012}
"""Of filters over their wavelengths, by the last letter of their names."""

STEP = 0.011
"""Arcsec per sample: less than half a wavelength over the aperture from 0.72 micron on."""

SAMPLES = 1536
"""On a side: light farther out than 8.4 arcsec, 0.2 to 0.5 % of all, folds back, most of it to the edges."""

METRES = 0.01
"""Between samples of the aperture."""

WAVES = 9
"""Per filter."""

ARCSEC = np.pi / 180 / 3600


def band(filter: str) -> tuple[float, float]:
    """First and last wavelength of a filter in micron, as its name has them: to 2 % those at half transmission."""
    match = re.fullmatch(r"F(\d{3})(W2?|M|N)", filter)
    if match is None:
        raise ValueError(f"{filter!r} is not the name of a filter")
    middle, half = int(match[1]) / 100, WIDTHS[match[2]] / 2
    return middle * (1 - half), middle * (1 + half)


@dataclass(frozen=True)
class Star:
    """A star's image on pixels of any position: the part of its light in a pixel that is centred on each sample.

    Attributes
    ----------
    image : ndarray, shape (`SAMPLES`, `SAMPLES`)
        Every `STEP` arcsec along the detector's axes; the star is on the sample in the middle.
    """

    image: Array

    def on(self, x: Array, y: Array) -> Array:
        """Light in pixels at offsets in arcsec from the star (broadcast against each other)."""
        from scipy.ndimage import map_coordinates

        middle = SAMPLES // 2
        y, x = np.broadcast_arrays(y, x)
        return map_coordinates(self.image, [y / STEP + middle, x / STEP + middle], order=3, prefilter=False)


def star(filter: str, pixel: float, *, blur: float = BLUR, wavefront: float = WAVEFRONT) -> Star:
    """A star in pixels of a detector.

    Parameters
    ----------
    filter : str
        All its wavelengths count alike.
    pixel : float
        Arcsec on a side.
    blur : float
        Arcsec, sigma.
    wavefront : float
        nm rms.
    """
    from scipy.ndimage import spline_filter

    whole, segment = _transfer(filter)
    part = strehl(wavefront, float(np.mean(band(filter))))
    fy, fx = fft.fftfreq(SAMPLES, STEP), fft.rfftfreq(SAMPLES, STEP)
    x, y = (np.exp(-2 * (np.pi * blur * f) ** 2) * np.sinc(pixel * f) for f in (fx, fy))
    transfer = (part * whole + (1 - part) * segment) * x * y[:, None]
    image = fft.fftshift(fft.irfft2(transfer, (SAMPLES, SAMPLES))) * (pixel / STEP) ** 2
    return Star(spline_filter(image, order=3))


def strehl(wavefront: float, wave: float) -> float:
    """Part of the light that adds up over the whole aperture, of a wavefront in nm at a wavelength in micron."""
    return float(np.exp(-((2 * np.pi * wavefront / 1000 / wave) ** 2)))


@cache
def _transfer(filter: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Transfer functions of the whole aperture and of single segments, means over a filter, as `rfft2` has them."""
    from scipy.ndimage import map_coordinates

    low, high = band(filter)
    waves = low + (np.arange(WAVES) + 0.5) / WAVES * (high - low)
    fy, fx = fft.fftfreq(SAMPLES, STEP)[:, None], fft.rfftfreq(SAMPLES, STEP)
    found = []
    for correlation in _autocorrelations():
        middle, total = correlation.shape[0] // 2, np.zeros((SAMPLES, SAMPLES // 2 + 1), np.float32)
        for wave in waves:
            scale = wave * 1e-6 / ARCSEC / METRES  # samples of the aperture per cycle per arcsec
            # beyond the aperture's diameter there is nothing
            rows, columns = np.abs(fy[:, 0]) * scale < middle - 1, fx * scale < middle - 1
            y, x = np.broadcast_arrays(fy[rows] * scale + middle, fx[columns] * scale + middle)
            total[np.ix_(rows, columns)] += map_coordinates(correlation, [y, x], np.float32, order=3, prefilter=False)
        found.append((total / np.float32(WAVES)).astype(np.float32))
    return found[0], found[1]


@cache
def _autocorrelations() -> tuple[Array, Array]:
    """Of the whole aperture, and the sum of those of its segments; spline coefficients, 1 in the middle."""
    from scipy.ndimage import spline_filter

    segments = _segments()
    whole = sum(segments, np.zeros_like(segments[0]))
    size = fft.next_fast_len(2 * whole.shape[0], real=True)
    results = []
    for parts in ([whole], segments):
        power = sum(np.abs(fft.rfft2(part, (size, size))) ** 2 for part in parts)
        correlation = fft.fftshift(fft.irfft2(power, (size, size)))
        results.append(spline_filter(correlation / correlation.max(), order=3))
    return results[0], results[1]


def _segments() -> list[Array]:
    """Transmission of each segment behind the struts, every `METRES`; edges are soft by a sample."""
    half = int(np.ceil(2.55 * PITCH / METRES)) + 1
    axis = (np.arange(2 * half + 1) - half) * METRES
    clear = np.ones((len(axis), len(axis)))
    for direction, width in STRUTS:
        c, s = np.cos(np.deg2rad(direction)), np.sin(np.deg2rad(direction))
        shadow = np.clip(0.5 - (np.abs(c * axis[:, None] - s * axis) - width / 2) / METRES, 0, 1)
        clear *= 1 - np.where(c * axis + s * axis[:, None] > 0, shadow, 0)
    found = []
    for q in range(-2, 3):
        for r in range(max(-2, -2 - q), min(2, 2 - q) + 1):
            if q or r:
                dx = np.abs(axis - PITCH * np.sqrt(3) / 2 * q)
                dy = np.abs(axis[:, None] - PITCH * (r + q / 2))
                reach = np.maximum(np.sqrt(3) / 2 * dx + dy / 2, dy)
                found.append(clear * np.clip(0.5 - (reach - SEGMENT / 2) / METRES, 0, 1))
    return found
