"""Point-spread functions of the simulated NIRISS, one per filter, from the shape of JWST's aperture.

The aperture of 18 hexagonal segments and three struts makes the six spikes and the fainter horizontal pair; errors of
the segments' positions move light from the core into the wings; the diffusion of charges and the jitter of the
telescope smooth it all. The images are the squared Fourier transforms of the aperture at several wavelengths of a
filter, at several samples per pixel: at one sample per pixel, NIRISS undersamples them. Nothing here is fitted to
NIRISS: sizes and spikes are right, single speckles are not.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import correlate1d, uniform_filter, uniform_filter1d

from .instrument import ARCSEC_PER_RADIAN, FILTERS, PIXEL_SCALE, seed_for

Array = NDArray[np.float64]

SEGMENT_PITCH = 1.327
"""Metres between neighbouring segments' centres: 1.32 m from flat to flat and 7 mm of gap (JDox, JWST telescope)."""

SEGMENT_WIDTH = 1.32

STRUTS = ((90.0, 0.12), (-60.0, 0.15), (-120.0, 0.15))
"""Direction from the centre (degrees) and width (m) of the secondary mirror's supports; widths are approximate."""

PISTON_RMS, TILT_RMS = 45e-9, 45e-9
"""Metres of wavefront per segment: 64 nm together, close to JWST's in flight (Rigby et al. 2023, PASP 135, 048001)."""

SMOOTHING = float(np.hypot(0.0008, 0.0202))
"""Arcsec, sigma: jitter of the telescope and diffusion of charges in NIRISS's detector (defaults of STPSF 2)."""

SAMPLES = 5
"""Samples per pixel: those of the shortest wavelengths' images."""

PERIOD = 256
"""Pixels of the Fourier transform: light that belongs farther out folds back, 0.2 to 0.5 % of all."""

RADIUS = 127
"""Pixels at which the point-spread function ends; its sum within is 1."""

CORE_RADIUS = 14
"""Pixels at which the core of `Kernel` has faded into the wings; it starts to fade at `FADE_RADIUS`."""

FADE_RADIUS = 10

WAVES = 12
"""Wavelengths per filter: enough that the wings of neighbouring ones overlap."""

NODES = 3
"""Mean point-spread functions per filter, from blue to red."""


@dataclass(frozen=True)
class Kernel:
    """A filter's point-spread function as a compact core and smooth wings, at `NODES` wavelengths.

    Attributes
    ----------
    wave : ndarray, shape (k,)
        μm.
    core : ndarray, shape (k, m, m)
        `SAMPLES` samples per pixel, not integrated over pixels, 0 from `CORE_RADIUS` on.
    wing : ndarray, shape (k, w, w)
        The rest, one sample per pixel and integrated over it. The sum of core and wing is 1.
    """

    wave: Array
    core: Array
    wing: Array


def psf(filter: str, oversample: int = SAMPLES, half_width_pix: int = 60) -> Array:
    """Point-spread function of a filter, smoothed by jitter and the diffusion of charges, not integrated over pixels.

    Parameters
    ----------
    filter : str
        A key of `instrument.FILTERS`. All its wavelengths count alike.
    oversample : int
        Samples per pixel, at least 3.
    half_width_pix : int
        Pixels from the centre to the edge, up to `RADIUS`.

    Returns
    -------
    ndarray, shape (2 half_width_pix oversample + 1,) * 2
        Light per sample. The sum out to `RADIUS` is 1; what a smaller array lacks fell beyond it.
    """
    if not 0 < half_width_pix <= RADIUS:
        raise ValueError(f"half width of {half_width_pix} pixels; the point-spread function ends at {RADIUS}")
    mean = _nodes(filter, oversample)[1].mean(axis=0)
    centre, half = mean.shape[0] // 2, half_width_pix * oversample
    return mean[centre - half : centre + half + 1, centre - half : centre + half + 1]


@cache
def encircled_energy(filter: str) -> tuple[Array, Array]:
    """Fraction of a star's light within a radius around it, in images: pixels integrate, and every phase is alike.

    Parameters
    ----------
    filter : str
        A key of `instrument.FILTERS`.

    Returns
    -------
    radius : ndarray, shape (n,)
        Pixels, 0 to `RADIUS` + 1 in steps of 0.02.
    fraction : ndarray, shape (n,)
        Never falls; 0 at the centre and 1 at the last radius.
    """
    image = np.pad(_nodes(filter, SAMPLES)[1].mean(axis=0), SAMPLES)
    for axis in (0, 1):  # integrated over pixels, from means over samples instead of values at them
        image = correlate1d(image, [1 / 24, 22 / 24, 1 / 24], axis, mode="constant")
    image = uniform_filter(image, SAMPLES, mode="constant")
    step, fine, half = 0.02, 9, 4 * SAMPLES
    edges = np.arange(0, RADIUS + 1 + step / 2, step)
    # samples are squares, not points: near the centre they are divided, farther out a sliding mean will do
    middle = slice(len(image) // 2 - half, len(image) // 2 + half + 1)
    centre = image[middle, middle].repeat(fine, axis=0).repeat(fine, axis=1) / fine**2
    image[middle, middle] = 0
    light, _ = np.histogram(np.minimum(_radius(len(image), SAMPLES), edges[-1] - step / 2), edges, weights=image)
    light = uniform_filter1d(light, round(1 / SAMPLES / step), mode="reflect")
    light += np.histogram(_radius(len(centre), SAMPLES * fine), edges, weights=centre)[0]
    fraction = np.concatenate([[0.0], np.cumsum(light)])
    fraction /= fraction[-1]
    return _frozen(edges), _frozen(fraction)


@cache
def kernel(filter: str) -> Kernel:
    """Core and wings of a filter's point-spread function, see `Kernel`."""
    wave, images = _nodes(filter, SAMPLES)
    radius = _radius(images.shape[1], SAMPLES)
    fade = 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - FADE_RADIUS) / (CORE_RADIUS - FADE_RADIUS), 0, 1))
    centre, half, size = len(radius) // 2, CORE_RADIUS * SAMPLES, len(radius) // SAMPLES
    inner = slice(centre - half, centre + half + 1)
    wing = (images * (1 - fade)).reshape(len(wave), size, SAMPLES, size, SAMPLES).sum(axis=(2, 4))
    return Kernel(wave, _frozen((images * fade)[:, inner, inner]), _frozen(wing))


@lru_cache(maxsize=2)
def _nodes(filter: str, oversample: int) -> tuple[Array, Array]:
    """Wavelengths (k,) and mean point-spread functions (k, n, n) of equal parts of a filter, n odd, out to `RADIUS`."""
    if oversample < 3:
        raise ValueError(f"{oversample} samples per pixel; the shortest wavelengths need at least 3")
    band = FILTERS[filter]
    edges = np.linspace(band.wave_min, band.wave_max, WAVES + 1)
    waves = ((edges[1:] + edges[:-1]) / 2).reshape(NODES, -1)
    size = PERIOD * oversample
    frequency = fft.fftfreq(size, 1 / oversample)
    smooth = np.exp(-2 * (np.pi * SMOOTHING / PIXEL_SCALE * frequency) ** 2)
    half = RADIUS * oversample + oversample // 2
    images = np.empty((NODES, 2 * half + 1, 2 * half + 1))
    inside = _radius(2 * half + 1, oversample) <= RADIUS
    for image, part in zip(images, waves, strict=True):
        spread = fft.rfft2(sum(_monochromatic(float(wave), size) for wave in part))
        spread *= smooth[:, None] * smooth[: spread.shape[1]]
        whole = fft.fftshift(fft.irfft2(spread, s=(size, size)))
        cut = whole[size // 2 - half : size // 2 + half + 1, size // 2 - half : size // 2 + half + 1]
        # every definition of the centre agrees on a function that is symmetric about it
        image[:] = np.where(inside, np.maximum(cut + cut[::-1, ::-1], 0), 0)
        image /= image.sum()
    return _frozen(waves.mean(axis=1)), _frozen(images)


def _frozen(array: Array) -> Array:
    array.flags.writeable = False  # it is cached, and shared by all who ask
    return array


def _radius(size: int, oversample: int) -> Array:
    offset = (np.arange(size) - size // 2) / oversample
    return np.hypot(offset[:, None], offset)


def _monochromatic(wave: float, size: int) -> Array:
    """Image (size, size) of a point at one wavelength (μm), centred on the first sample, `PERIOD` pixels wide."""
    step = wave * 1e-6 / (PERIOD * PIXEL_SCALE / ARCSEC_PER_RADIAN)
    aperture = _aperture(wave * 1e-6, step)
    rows = fft.fft(aperture, size, axis=0)  # the columns of the padding are empty
    amplitude = fft.fft(rows, size, axis=1)
    return amplitude.real.astype(float) ** 2 + amplitude.imag.astype(float) ** 2


@cache
def _segments() -> tuple[Array, Array, Array]:
    """Centres (18, 2) in m, pistons (18,) in m and tilts (18, 2) of the wavefront.

    Opposite segments have the same piston and opposite tilts: the image is then centred.
    """
    rows = [(q, r) for q in range(-2, 3) for r in range(-2, 3) if 0 < max(abs(q), abs(r), abs(q + r)) <= 2]
    q, r = np.array(rows, float).T
    centres = SEGMENT_PITCH * np.stack([np.sqrt(3) / 2 * q, r + q / 2], axis=1)
    rng = seed_for(0, "wavefront")
    piston, tilt = rng.normal(size=len(rows)), rng.normal(size=(len(rows), 2))
    opposite = [rows.index((-a, -b)) for a, b in rows]
    piston, tilt = piston + piston[opposite], tilt - tilt[opposite]
    piston -= piston.mean()
    reach = SEGMENT_WIDTH / 4  # rms distance from a segment's centre along one axis, nearly
    return centres, PISTON_RMS * piston / piston.std(), TILT_RMS / np.sqrt(2) / reach * tilt / tilt.std()


def _aperture(wave: float, step: float) -> NDArray[np.complex64]:
    """Complex amplitude in the aperture at a wavelength in m, sampled every `step` m; edges are soft by a sample."""
    half = int(np.ceil(2.55 * SEGMENT_PITCH / step)) + 1
    axis = (np.arange(2 * half + 1) - half) * step
    field = np.zeros((len(axis), len(axis)), np.complex64)
    reach = int(np.ceil(SEGMENT_WIDTH / np.sqrt(3) / step)) + 1
    for (x, y), piston, (tilt_x, tilt_y) in zip(*_segments(), strict=True):
        column, row = half + round(x / step), half + round(y / step)
        here = slice(max(row - reach, 0), row + reach + 1), slice(max(column - reach, 0), column + reach + 1)
        dx, dy = axis[here[1]] - x, axis[here[0], None] - y
        slant = np.sqrt(3) / 2 * np.abs(dx) + np.abs(dy) / 2
        clear = np.clip(0.5 - (np.maximum(slant, np.abs(dy)) - SEGMENT_WIDTH / 2) / step, 0, 1)
        field[here] += clear * np.exp(2j * np.pi / wave * (piston + tilt_x * dx + tilt_y * dy))
    for direction, width in STRUTS:
        along, across = np.cos(np.deg2rad(direction)), np.sin(np.deg2rad(direction))
        distance = np.abs(-across * axis + along * axis[:, None])
        shadow = np.clip(0.5 - (distance - width / 2) / step, 0, 1)
        field *= 1 - np.where(along * axis + across * axis[:, None] > 0, shadow, 0)
    return field
