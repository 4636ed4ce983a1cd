"""What sources' light looks like behind a grism: their images in a mosaic, moved along their traces.

An image in a mosaic is already as wide as the optics and the pixels made it, and a little wider, by the drizzling.
That little is taken out; what is left, resampled to the exposure's pixels and roll, is the monochromatic image, and a
trace is its sum over wavelengths. Sums are convolutions of the image with the trace, both sampled at half pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from .grid import ARCSEC, Grid
from .grism import HARDLY, Optics, Order

Array = NDArray[np.float64]
Image = NDArray[np.float32]

SAMPLES = 2
"""Per pixel, in either direction."""

MARGIN = 5
"""Pixels of the mosaic around a source that its interpolation looks at."""

MIRROR = 6.5
"""Metres."""

MEGAJANSKY = 1e12
"""μJy."""


@dataclass(frozen=True)
class Mosaic:
    """A field's image in one filter, and which pixels are whose.

    Attributes
    ----------
    image : ndarray, shape (ny, nx)
        MJy/sr; NaN where there is none.
    labels : ndarray of int, shape (ny, nx)
        0 where there is no source.
    grid : Grid
    pixfrac : float
    kernel : str
        How it was drizzled, see `drizzle_blur`.
    """

    image: Image
    labels: NDArray[np.integer]
    grid: Grid
    pixfrac: float = 1.0
    kernel: str = "square"


@dataclass(frozen=True)
class Stamp:
    """A source's light in the direct image of an exposure.

    Attributes
    ----------
    label : int
    x, y : float
        The source's position in the direct image, pixels.
    left, low : int
        Pixel in whose middle the first sample lies.
    light : ndarray of float32, shape (h, w)
        μJy per pixel, `SAMPLES` per pixel.
    """

    label: int
    x: float
    y: float
    left: int
    low: int
    light: Image

    @property
    def flux(self) -> float:
        """μJy."""
        return float(self.light.sum(dtype=float)) / SAMPLES**2


@dataclass(frozen=True)
class Patch:
    """A part of a dispersed image.

    Attributes
    ----------
    order : int
    left, low : int
        First pixel.
    data : ndarray of float32, shape (k, h, w)
        DN/s, for each of k spectra.
    """

    order: int
    left: int
    low: int
    data: Image

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the image."""
        _, h, w = self.data.shape
        return slice(self.low, self.low + h), slice(self.left, self.left + w)


def drizzle_blur(pixfrac: float, pixel: float, scale: float, kernel: str = "square") -> float:
    """Variance per axis, in arcsec², that drizzling adds to images: a drop's and an output pixel's.

    Parameters
    ----------
    pixfrac : float
    pixel, scale : float
        Arcsec per pixel of the exposures and of the mosaic.
    kernel : str
        ``point`` has no drops.
    """
    drop = 0.0 if kernel == "point" else pixfrac * pixel
    return (drop**2 + scale**2) / 12


def sharpened(image: Array, variance: float) -> Array:
    """An image less wide by a variance (pixels²), to first order: what a diffusion had added is taken back.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
    variance : float
        Per axis; well below that of the narrowest image.
    """
    return image - variance / 2 * ndimage.laplace(image, mode="nearest") if variance else image


def cut_stamps(
    optics: Optics, mosaic: Mosaic, labels: Sequence[int], x: Array, y: Array
) -> list[Stamp | None]:  # fmt: skip
    """Sources on an exposure's pixels.

    Parameters
    ----------
    optics : Optics
    mosaic : Mosaic
    labels : sequence of int
    x, y : ndarray, shape (n,)
        Positions in the exposure's direct image; NaN where they are far away.

    Returns
    -------
    list of Stamp or None
        None for sources that have no pixel, or are far away.
    """
    boxes = ndimage.find_objects(mosaic.labels)
    here = [
        i for i, label in enumerate(labels)
        if np.isfinite(x[i]) and 0 < label <= len(boxes) and boxes[label - 1] is not None
    ]  # fmt: skip
    stamps: list[Stamp | None] = [None] * len(labels)
    if here:
        at, turn = local_maps(optics, mosaic.grid, x[here], y[here])
        pixel = np.sqrt(optics.pixel_area) / ARCSEC
        blur = drizzle_blur(mosaic.pixfrac, pixel, mosaic.grid.scale, mosaic.kernel) / mosaic.grid.scale**2
        for k, i in enumerate(here):
            stamps[i] = _stamp(mosaic, boxes[labels[i] - 1], labels[i], (x[i], y[i]), (at[k], turn[k]), blur)
    return stamps


def local_maps(optics: Optics, grid: Grid, x: Array, y: Array) -> tuple[Array, Array]:
    """Pixels of the mosaic around positions in the direct image, to first order.

    Returns
    -------
    at : ndarray, shape (n, 2)
        x and y in the mosaic.
    turn : ndarray, shape (n, 2, 2)
        Derivatives: rows x and y in the mosaic, columns x and y in the exposure.
    """
    dx, dy = np.array([0, 0.5, -0.5, 0, 0]), np.array([0, 0, 0, 0.5, -0.5])
    there = grid.to_pixel(*optics.sky((x[:, None] + dx).ravel(), (y[:, None] + dy).ravel()))
    place = np.stack(there, axis=-1).reshape(-1, 5, 2)
    return place[:, 0], np.stack([place[:, 1] - place[:, 2], place[:, 3] - place[:, 4]], axis=-1)


def _stamp(
    mosaic: Mosaic, box: tuple[slice, slice], label: int, where: tuple[float, float], map: tuple[Array, Array],
    blur: float,
) -> Stamp:  # fmt: skip
    """A source on half pixels; `map` is that of `local_maps`, `blur` in pixels² of the mosaic."""
    at, turn = map
    rows, columns = (
        slice(max(s.start - MARGIN, 0), min(s.stop + MARGIN, n)) for s, n in zip(box, mosaic.image.shape, strict=True)
    )
    part, mine = np.array(mosaic.image[rows, columns], float), mosaic.labels[rows, columns] == label
    missing = ~np.isfinite(part)
    if missing.all():
        part[:] = 0
    elif missing.any():
        nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
        part = part[tuple(nearest)]
    part = sharpened(part, blur)
    corners = np.array([[c, r] for r in (box[0].start - 1, box[0].stop) for c in (box[1].start - 1, box[1].stop)])
    moved = (corners - at) @ np.linalg.inv(turn).T
    left, low = (int(np.floor(w + v)) for w, v in zip(where, moved.min(axis=0), strict=True))
    right, top = (int(np.ceil(w + v)) for w, v in zip(where, moved.max(axis=0), strict=True))
    sx = left + np.arange((right - left) * SAMPLES + 1) / SAMPLES - where[0]
    sy = low + np.arange((top - low) * SAMPLES + 1) / SAMPLES - where[1]
    mx = at[0] - columns.start + turn[0, 0] * sx + turn[0, 1] * sy[:, None]
    my = at[1] - rows.start + turn[1, 0] * sx + turn[1, 1] * sy[:, None]
    light = ndimage.map_coordinates(part, [my, mx], order=3, mode="nearest")
    light *= ndimage.map_coordinates(mine.astype(np.float32), [my, mx], order=0, mode="constant")
    factor = abs(np.linalg.det(turn)) * mosaic.grid.pixel_area * MEGAJANSKY
    return Stamp(label, *where, left, low, (light * factor).astype(np.float32))


def disperse(
    stamp: Stamp, optics: Optics, number: int, wave: Array, spectra: Array, shift: tuple[float, float] = (0.0, 0.0)
) -> Patch | None:  # fmt: skip
    """A source's light in one order.

    Parameters
    ----------
    stamp : Stamp
    optics : Optics
    number : int
        Of the order.
    wave : ndarray, shape (m,)
        μm, ascending.
    spectra : ndarray, shape (k, m)
        Flux densities f_ν at `wave`, over that of the stamp.
    shift : (float, float)
        Pixels that everything is moved by.

    Returns
    -------
    Patch or None
        None where nothing falls on the image.
    """
    order = optics.orders[number]
    points = _points(stamp, order, optics.shape, shift)
    if points is None:
        return None
    waves, dx, dy, weight = points
    rate = np.array([np.interp(waves, wave, one) for one in np.atleast_2d(spectra)]) * weight
    # the trace's first sample on a whole pixel, so that those of the sum which are wanted are every second one
    u, v = dx * SAMPLES, dy * SAMPLES
    left, low = (SAMPLES * int(np.floor((c.min() - 1) / SAMPLES)) for c in (u, v))
    wider = core_variance(waves, optics) * SAMPLES**2
    trace = deposit(
        v - low, u - left, np.concatenate([rate, rate * (wider - np.average(wider, weights=rate[0] + 1e-30))])
    )
    size = [a + b - 1 for a, b in zip(trace.shape[1:], stamp.light.shape, strict=True)]
    padded = [fft.next_fast_len(n, real=True) for n in size]
    transform = fft.rfft2(trace, padded).reshape(2, len(rate), padded[0], -1)
    product = (transform[0] + transform[1] * _diffusion(padded)) * fft.rfft2(stamp.light, padded)
    whole = fft.irfft2(product, padded)[:, : size[0] : SAMPLES, : size[1] : SAMPLES]
    return _clipped(number, stamp.left + left // SAMPLES, stamp.low + low // SAMPLES, whole, optics.shape)


def _points(
    stamp: Stamp, order: Order, shape: tuple[int, int], shift: tuple[float, float]
) -> tuple[Array, Array, Array, Array] | None:
    """Wavelengths, offsets and DN/s per μJy of points of a trace that bring the stamp onto the image."""
    wave = order.sampled(1 / SAMPLES)
    dx, dy = (v[0] + s for v, s in zip(order.offset(stamp.x, stamp.y, wave), shift, strict=True))
    h, w = (n / SAMPLES for n in stamp.light.shape)
    on = (stamp.left + dx < shape[1]) & (stamp.left + w + dx > -1) & (stamp.low + dy < shape[0])
    on &= stamp.low + h + dy > -1
    if not on.any():
        return None
    width = np.gradient(wave)
    width[[0, -1]] /= 2
    return wave[on], dx[on], dy[on], (order.sensitivity(wave) * width)[on]


def core_variance(wave: Array, optics: Optics) -> Array:
    """Variance per axis, in pixels², of the middle of a star's image at wavelengths in μm: that of an Airy disc."""
    return (0.42 * wave * 1e-6 / MIRROR / ARCSEC) ** 2 * ARCSEC**2 / optics.pixel_area


def _diffusion(shape: Sequence[int]) -> Image:
    """Transform of half of the second derivative in samples: what adds a variance of 1 to an image, to first order."""
    rows, columns = (np.cos(2 * np.pi * f) - 1 for f in (fft.fftfreq(shape[0]), fft.rfftfreq(shape[1])))
    return (rows[:, None] + columns).astype(np.float32)


def deposit(row: Array, column: Array, rate: Array) -> Image:
    """Share points among the samples around them so that sums with them interpolate to third order.

    Parameters
    ----------
    row, column : ndarray, shape (n,)
        At least 1.
    rate : ndarray, shape (k, n)

    Returns
    -------
    ndarray of float32, shape (k, ny, nx)
        Just large enough.
    """
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    ny, nx = int(i.max()) + 3, int(j.max()) + 3
    shares = _cubic(row - i)[:, None] * _cubic(column - j)
    around = np.arange(-1, 3)
    places = (i + around[:, None, None]) * nx + j + around[:, None]
    total = [np.bincount(places.ravel(), (shares * one).ravel(), ny * nx) for one in rate]
    return np.array(total, np.float32).reshape(-1, ny, nx)


def _cubic(t: Array) -> Array:
    """Weights (4, n) of samples at -1, 0, 1, 2 for values at t (n,), 0 to 1 (Lagrange)."""
    a, b, c = t - 1, t - 2, t + 1
    return np.array([-t * a * b / 6, c * a * b / 2, -c * t * b / 2, c * t * a / 6])


def _clipped(number: int, left: int, low: int, data: Image, shape: tuple[int, int]) -> Patch | None:
    """The part of a patch that is on the image."""
    _, h, w = data.shape
    rows, columns = slice(max(-low, 0), min(shape[0] - low, h)), slice(max(-left, 0), min(shape[1] - left, w))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return Patch(number, max(left, 0), max(low, 0), np.ascontiguousarray(data[:, rows, columns], np.float32))


def brightest(stamp: Stamp, order: Order, along_x: bool) -> float:
    """DN/s of the brightest pixel of a source's trace, about: its light summed along the dispersion."""
    if order.length < HARDLY:
        return float(stamp.light.max()) * order.peak
    return float(stamp.light.sum(axis=1 if along_x else 0).max()) / SAMPLES * order.peak


def add(image: Image, patches: Iterable[Patch], spectrum: Array | None = None) -> None:
    """Add patches to an image, in place.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
    patches : iterable of Patch
    spectrum : ndarray, shape (k,), optional
        Weights of the patches' spectra; 1 by default.
    """
    for patch in patches:
        image[patch.box] += patch.data.sum(axis=0) if spectrum is None else np.tensordot(spectrum, patch.data, 1)


def power_laws(
    wave: Array, pivots: Array, fluxes: Array, errors: Array, response: Array, reference: float | None = None
) -> Array:  # fmt: skip
    """Spectra through photometry: a power law for each source, as faint ones allow no more.

    Parameters
    ----------
    wave : ndarray, shape (m,)
        μm.
    pivots : ndarray, shape (b,)
        Of the bands, μm.
    fluxes, errors : ndarray, shape (n, b)
        In one unit; NaN where there are none.
    response : ndarray, shape (m,)
        Of the band through which spectra are to have a mean of 1, photons weighted.
    reference : float, optional
        Wavelength in μm of another band that spectra are to be 1 at instead, where the fluxes are that one's.

    Returns
    -------
    ndarray, shape (n, m)
        f_ν over its mean.
    """
    known = np.isfinite(fluxes) & (errors > 0) & (fluxes > 2 * errors)
    value = np.where(known, np.log(np.where(known, fluxes, 1.0)), 0.0)
    # 5 %: spectra are no power laws
    weight = np.where(known, 1 / (np.divide(errors, fluxes, out=np.ones_like(fluxes), where=known) ** 2 + 0.05**2), 0)
    x = np.log(pivots / np.average(wave, weights=response)) * np.ones_like(value)
    s0, s1, s2 = (np.sum(weight * x**k, axis=1) for k in range(3))
    t0, t1 = np.sum(weight * value, axis=1), np.sum(weight * x * value, axis=1)
    # a slope of 0 +- 1.5 is known beforehand
    slope = (s0 * t1 - s1 * t0) / np.where(s0 > 0, s0 * s2 - s1**2 + s0 / 1.5**2, 1.0)
    spectra = (wave / np.average(wave, weights=response)) ** np.where(s0 > 0, slope, 0.0)[:, None]
    middle = float(np.average(wave, weights=response))
    if reference is not None and abs(np.log(reference / middle)) > 0.1:
        at = (reference / middle) ** np.where(s0 > 0, slope, 0.0)
        return spectra / at[:, None]
    return spectra / np.average(spectra, axis=1, weights=response)[:, None]


def pivot(filter: str) -> float:
    """Wavelength of a filter in μm, by its name."""
    return int(filter[1:4]) / 100


def by_order(patches: Iterable[Patch]) -> Mapping[int, Patch]:
    """Patches by their order."""
    return {patch.order: patch for patch in patches}
