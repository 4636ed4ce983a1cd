"""By how much an exposure's traces are off: measured on bright sources, and brought together with what was known.

Across its dispersion a trace says where it is to a hundredth of a pixel. Along it, the ends that filters cut, zero
orders and whatever structure spectra have do, the less so the less their spectra are known; every source's own
spectrum is fitted with its shift, and what sources scatter by is what their mean is believed by.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from . import contamination, dispersed
from .astrometry import Plane, rotated, rotation, unit
from .contamination import Contributor, Scene
from .dispersed import Patch
from .grism import Optics
from .pointing import Pointing

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

FLOOR = 0.02
"""Pixels: no shift is known better, for images and traces are not."""

LEAST = 3
"""Sources that a measurement needs."""

CLEAR = 3.0
"""Height of the right peak of a correlation over that of the next."""

WIDE = 15
"""Pixels across the dispersion: what is wider tells little of positions."""

STEPS = 5
"""Of a measurement; each moves the model to where the last one found it."""

FARTHEST = 0.5
"""Pixels that one step moves it by at most: images change over one."""


@dataclass(frozen=True)
class Shift:
    """A shift in pixels, along x and y, and its errors (1 sigma).

    Attributes
    ----------
    value, error : ndarray, shape (2,)
    sources : int
        Measurements that it is the mean of.
    """

    value: Array
    error: Array
    sources: int

    @classmethod
    def unknown(cls) -> "Shift":
        """Nothing was measured."""
        return cls(np.zeros(2), np.full(2, np.inf), 0)


def measure(scene: Scene, data: Image, variance: Image, good: Mask, *, min_snr: float, degree: int) -> Shift:
    """By how much a scene's light lies beside the data; the scene is moved there.

    Parameters
    ----------
    scene : Scene
        Not farther off than about a pixel.
    data, variance : ndarray, shape (ny, nx)
        DN/s and its square, without sky.
    good : ndarray of bool, shape (ny, nx)
    min_snr : float
        Least signal to noise of a source's first order.
    degree : int
        See `contamination.refine`.
    """
    weight = np.where(good, 1 / np.where(good, variance, 1), 0).astype(np.float32)
    contamination.refine(scene, data, variance, good, degree=degree, min_snr=min_snr, passes=1)
    start, found = np.array(scene.shift), Shift.unknown()
    for _ in range(STEPS):
        rows = [row for one in scene.contributors if one.snr > 0 for row in offsets(scene, one, data, weight)]
        if len(rows) < LEAST:
            return Shift.unknown()
        values, errors = np.array(rows).transpose(1, 0, 2)
        value, error = np.transpose([_mean(values[:, i], errors[:, i]) for i in (0, 1)])
        found = Shift(value, error, len(rows))
        x, y = np.array(scene.shift) + np.clip(found.value, -FARTHEST, FARTHEST)
        scene.move((float(x), float(y)))
        contamination.refine(scene, data, variance, good, degree=degree, min_snr=min_snr, passes=1)
        if np.all(np.abs(found.value) < 0.1 * found.error):
            break
    return Shift(np.array(scene.shift) - start, found.error, found.sources)


def offsets(scene: Scene, one: Contributor, data: Image, weight: Image) -> list[tuple[Array, Array]]:
    """Offsets (2,) and errors (2,) of a source's zero and first orders from where the scene has them."""
    orders = dispersed.by_order(one.patches)
    found = (_offset(scene, one, orders[number], data, weight) for number in (0, 1) if number in orders)
    return [row for row in found if row is not None]


def _offset(
    scene: Scene, one: Contributor, patch: Patch, data: Image, weight: Image
) -> tuple[Array, Array] | None:  # fmt: skip
    """Least squares of a patch's spectral terms and its slopes; None where too little of it is seen."""
    box, own = patch.box, one.image(patch)
    if min(own.shape) < 3:
        return None
    others = scene.without(one, box)
    slope_y, slope_x = np.gradient(np.asarray(own, float))
    bright = np.asarray(own > contamination.EDGE * own.max())
    used = bright & (weight[box] > 0)
    if used.sum() < max(bright.sum() / 2, 12):
        return None
    a = np.stack([*patch.data[:, used].astype(float), -slope_x[used], -slope_y[used]])
    b = (data[box] - others - own)[used].astype(float)
    noise = 1 / weight[box][used] + contamination.TRUST**2 * (others[used] ** 2 + own[used] ** 2)
    found = np.zeros(len(a))
    for _ in range(3):
        off = np.abs(b - found @ a) / np.sqrt(noise)
        w = np.minimum(1, contamination.STEEP / np.maximum(off, 1e-9)) / noise
        matrix = (a * w) @ a.T
        matrix[np.diag_indices(len(a))] *= 1 + 1e-9
        found = np.linalg.solve(matrix, (a * w) @ b)
    error = np.sqrt(np.diag(np.linalg.inv(matrix))[-2:])
    return (found[-2:], error) if np.all(np.isfinite(error)) else None


def _mean(values: Array, errors: Array) -> tuple[float, float]:
    """Weighted mean that outliers do not sway, and its error by the values' scatter."""
    extra = 0.0
    for _ in range(10):
        spread = np.hypot(errors, extra)
        middle = _median(values, 1 / spread**2)
        scatter = 1.483 * _median(np.abs(values - middle) / spread, np.ones(len(values)))
        extra = float(np.hypot(extra, np.median(spread) * np.sqrt(max(scatter**2 - 1, 0))))
        if scatter <= 1:
            break
    spread = np.hypot(errors, extra)
    weight = np.minimum(1, 2 * spread / np.maximum(np.abs(values - middle), 1e-9)) / spread**2
    return float(np.average(values, weights=weight)), float(1 / np.sqrt(weight.sum()))


def _median(values: Array, weights: Array) -> float:
    rise = np.argsort(values)
    total = np.cumsum(weights[rise])
    return float(values[rise][np.searchsorted(total, total[-1] / 2)])


def combine(measured: Shift, prior: float) -> tuple[Array, Array]:
    """A measurement and what was known beforehand, as one: value (2,) and error (2,) in pixels.

    Parameters
    ----------
    measured : Shift
    prior : float
        Pixels per axis, 1 sigma, about no shift.
    """
    error = np.hypot(measured.error, FLOOR)
    share = 1 / (1 + (error / prior) ** 2)
    value = np.where(np.isfinite(error), measured.value, 0) * share
    return value, np.sqrt(share) * np.where(np.isfinite(error), error, 0) + np.where(np.isfinite(error), 0, prior)


def search(
    model: Image, data: Image, variance: Image, good: Mask, reach: float, along_x: bool
) -> tuple[Array, float]:  # fmt: skip
    """Where a model's light is found in the data, to a whole pixel.

    Parameters
    ----------
    model, data, variance : ndarray, shape (ny, nx)
    good : ndarray of bool, shape (ny, nx)
    reach : float
        Pixels along each axis.
    along_x : bool
        Whether traces run along x.

    Returns
    -------
    shift : ndarray, shape (2,)
        x and y.
    clearness : float
        Height of that peak over the next one's, which lies 3 pixels or more beside it: along traces it is broad.
    """
    noise = np.sqrt(np.where(good, variance, 1))
    images = []
    for image in (data, model):
        # the brightest shall not decide alone, nor what is as wide as the wings of stars
        seen = np.arcsinh(np.where(good, image, 0) / noise / 3)
        images.append(seen - ndimage.uniform_filter1d(seen, WIDE, axis=0 if along_x else 1))
    seen, there = images
    size = [fft.next_fast_len(n + int(reach) + 1, real=True) for n in data.shape]
    whole = fft.irfft2(fft.rfft2(seen, size) * np.conj(fft.rfft2(there, size)), size)
    n = int(np.ceil(reach))
    near = np.roll(whole, (n, n), (0, 1))[: 2 * n + 1, : 2 * n + 1]
    row, column = np.unravel_index(np.argmax(near), near.shape)
    beside = np.abs(np.arange(2 * n + 1) - (row if along_x else column)) >= 3
    others = near[beside] if along_x else near[:, beside]
    clearness = float(near[row, column] / max(others.max(initial=0), 1e-30)) if near[row, column] > 0 else 0.0
    return np.array([column - n, row - n], float), clearness


def moved(optics: Optics, pointing: Pointing, shift: Array) -> Pointing:
    """The pointing under which an exposure's light lies where it was found, a shift (2,) in pixels from under this one.

    Parameters
    ----------
    optics : Optics
        Under `pointing`.
    pointing : Pointing
    shift : ndarray, shape (2,)
    """
    y, x = ((n - 1) / 2 for n in optics.shape)
    (ra,), (dec,) = optics.sky(x, y)
    (now_ra,), (now_dec,) = optics.sky(x + shift[0], y + shift[1])
    # what is there in the sky is to be seen by that pixel
    plane = Plane(float(now_ra), float(now_dec))
    correction = np.append(plane.project(unit(ra, dec)), 0.0)
    return rotated(pointing, rotation(plane, np.zeros(2), correction))
