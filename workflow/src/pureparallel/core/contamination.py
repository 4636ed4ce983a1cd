"""All sources of a dispersed exposure at once: what each contributes, and their spectra, refined on their traces."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from . import dispersed
from .dispersed import Patch, Stamp
from .grism import HARDLY, Optics

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

TRUST = 0.05
"""Of the model's light that fits do not believe in: optics and alignment are not known better."""

EDGE = 0.02
"""Of a trace's brightest pixel: fits look at what is above."""

STEEP = 4.0
"""Standard deviations beyond which pixels count less: lines, and what is left of other sources."""

HALO = (0.0, 1.5, 3.0, 5.0, 8.0, 13.0, 20.0, 32.0)
"""Pixels across a trace at which a star's light is compared with that of the model of the optics."""

UNKNOWN = 0.2
"""1 sigma of their ratio."""

ALONE = 0.2
"""Of a star's light: where others are brighter, it is not compared."""

PRIOR = (3.0, 0.5)
"""1 sigma of a spectrum's level, over that of photometry, and of each further term."""


@dataclass
class Contributor:
    """A source's part in an exposure.

    Attributes
    ----------
    stamp : Stamp
    base : ndarray, shape (m,)
        Its spectrum by photometry: f_ν over that of the stamp, at the scene's wavelengths.
    terms : ndarray, shape (k, m)
        What multiplies it, weighted by `weights`.
    weights : ndarray, shape (k,)
    patches : list of Patch
        With an image for each term.
    snr : float
        Of what its spectrum is measured in, all pixels together; 0 where it was not fitted.
    halo : ndarray, shape (h,)
        What the light of a star of the model of the optics is multiplied by at distances `HALO` from its traces.
    """

    stamp: Stamp
    base: Array
    terms: Array
    weights: Array
    patches: list[Patch] = field(default_factory=list)
    snr: float = 0.0
    halo: Array = field(default_factory=lambda: np.ones(len(HALO)))

    @property
    def is_model(self) -> bool:
        """Whether it is a star of the model of the optics, which the mosaic does not show."""
        return self.stamp.label < 0

    @property
    def measured(self) -> list[Patch]:
        """Where its spectrum is measured: in its first order; of a star of the model, in all."""
        return [patch for patch in self.patches if patch.order == 1 or self.is_model]

    @property
    def spectrum(self) -> Array:
        """f_ν in μJy at the scene's wavelengths; never negative."""
        return np.maximum(self.base * (self.weights @ self.terms), 0) * self.stamp.flux

    def image(self, patch: Patch) -> Image:
        """Its light in a patch."""
        return np.asarray(np.tensordot(self.weights, patch.data, 1), np.float32)


class Scene:
    """All contributors of an exposure, and the sum of their light.

    Parameters
    ----------
    optics : Optics
    stamps : sequence of Stamp
    wave : ndarray, shape (m,)
        μm, ascending.
    spectra : ndarray, shape (n, m)
        f_ν over that of the stamp.
    limit : float
        DN/s: orders whose brightest pixel stays below are left out.
    shift : (float, float)
        Pixels that everything is moved by.

    Attributes
    ----------
    contributors : list of Contributor
    total : ndarray, shape (ny, nx)
        DN/s.
    """

    def __init__(
        self, optics: Optics, stamps: Sequence[Stamp], wave: Array, spectra: Array, limit: float,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        self.optics, self.wave, self.limit, self.shift = optics, wave, limit, shift
        self.total = np.zeros(optics.shape, np.float32)
        self.contributors = []
        flat = np.ones((1, len(wave)))
        for stamp, base in zip(stamps, spectra, strict=True):
            one = Contributor(stamp, base, flat, np.ones(1))
            one.patches = self.disperse(one)
            dispersed.add(self.total, one.patches)
            self.contributors.append(one)

    def disperse(self, one: Contributor) -> list[Patch]:
        """A contributor's patches."""
        found = []
        for number, order in self.optics.orders.items():
            if number == 1 or dispersed.brightest(one.stamp, order, self.optics.along_x) >= self.limit:
                patch = dispersed.disperse(one.stamp, self.optics, number, self.wave, one.base * one.terms, self.shift)
                if patch is not None:
                    found.append(patch)
        if one.is_model:
            self.shape(found, one.stamp, one.halo)
        return found

    def shape(self, patches: Sequence[Patch], stamp: Stamp, halo: Array) -> None:
        """Multiply light in dispersed orders by what a star's has at distances `HALO` from the trace."""
        for patch in patches:
            if self.optics.orders[patch.order].length > HARDLY and (halo != 1).any():
                patch.data[:] *= self.across(patch, stamp) @ halo.astype(np.float32)

    def across(self, patch: Patch, stamp: Stamp) -> Image:
        """Shares (h, w, n) of a patch's pixels in the distances `HALO` from a source's trace."""
        order, (_, h, w) = self.optics.orders[patch.order], patch.data.shape
        tx, ty = (v[0] + s for v, s in zip(order.trace(stamp.x, stamp.y, order.sampled(2.0)), self.shift, strict=True))
        x, y = patch.left + np.arange(w), patch.low + np.arange(h)[:, None]
        along, beside, trace = (x, y, (tx, ty)) if self.optics.along_x else (y, x, (ty, tx))
        rise = np.argsort(trace[0])
        away = np.log1p(np.abs(beside - np.interp(along, trace[0][rise], trace[1][rise])))
        return np.stack([np.interp(away, np.log1p(HALO), unit) for unit in np.eye(len(HALO))], -1).astype(np.float32)

    def set(self, one: Contributor, weights: Array) -> None:
        """Give a contributor other weights."""
        for patch in one.patches:
            change = np.tensordot(weights - one.weights, patch.data, 1)
            self.total[patch.box] += change.astype(np.float32)
        one.weights = weights

    def expand(self, one: Contributor, degree: int) -> None:
        """Give a contributor's spectrum the freedom of a polynomial; its light stays what it was."""
        low, high = self.optics.orders[1].extracted
        u = np.clip((2 * self.wave - low - high) / (high - low), -1, 1)
        one.terms = np.asarray(legendre.legvander(u, degree).T, float)
        one.weights = np.concatenate([one.weights[:1], np.zeros(degree)])
        one.patches = self.disperse(one)

    def move(self, shift: tuple[float, float]) -> None:
        """Move everything to another shift."""
        self.shift = shift
        self.total[:] = 0
        for one in self.contributors:
            one.patches = self.disperse(one)
            dispersed.add(self.total, one.patches, one.weights)

    def without(self, one: Contributor, box: tuple[slice, slice]) -> Image:
        """The light of all others in a part of the image."""
        rest = self.total[box].copy()
        for patch in one.patches:
            add_part(rest, box, patch, -one.image(patch))
        return rest


def add_part(target: Image, box: tuple[slice, slice], patch: Patch, light: Image) -> None:
    """Add a patch's light to a part of the image, in place.

    Parameters
    ----------
    target : ndarray, shape (h, w)
    box : (slice, slice)
        Its rows and columns of the image.
    patch : Patch
    light : ndarray
        In the patch's shape.
    """
    inner, outer = [], []
    for mine, its in zip(box, patch.box, strict=True):
        start, stop = max(mine.start, its.start), min(mine.stop, its.stop)
        if start >= stop:
            return
        inner.append(slice(start - mine.start, stop - mine.start))
        outer.append(slice(start - its.start, stop - its.start))
    target[tuple(inner)] += light[tuple(outer)]


def refine(
    scene: Scene, data: Image, variance: Image, good: Mask, *, degree: int = 1, min_snr: float = 20.0, passes: int = 2,
) -> int:  # fmt: skip
    """Fit spectra to bright sources' own first orders, the brightest first; faint ones keep those of photometry.

    Of stars of the model of the optics, all orders are fitted, and from the second pass on how their light falls off
    across the traces, too.

    Parameters
    ----------
    scene : Scene
        Changed in place.
    data, variance : ndarray, shape (ny, nx)
        DN/s and its square, without sky.
    good : ndarray of bool, shape (ny, nx)
    degree : int
        Of the polynomial in wavelength that multiplies a spectrum.
    min_snr : float
        Least signal to noise of a first order, all its pixels together, by its photometry.
    passes : int
        Each begins with the brightest again.

    Returns
    -------
    int
        Number of sources fitted.
    """
    weight = np.where(good, 1 / np.where(good, variance, 1), 0).astype(np.float32)
    bright = []
    for one in scene.contributors:
        one.snr = float(np.sqrt(sum(np.sum(one.image(part) ** 2 * weight[part.box]) for part in one.measured)))
        if one.snr >= min_snr:
            bright.append(one)
        else:
            one.snr = 0.0
    bright.sort(key=lambda one: -one.snr)
    for one in bright:
        if len(one.terms) != degree + 1:
            scene.expand(one, degree)
    for turn in range(passes):
        for one in bright:
            if turn and one.is_model:
                fit_halo(scene, one, data, weight)
            scene.set(one, fitted(scene, one, data, weight))
    return len(bright)


def fitted(scene: Scene, one: Contributor, data: Image, weight: Image) -> Array:
    """Weights of a contributor's terms."""
    columns = []
    for patch in one.measured:
        bright = np.abs(patch.data[0]) > EDGE * np.abs(patch.data[0]).max()
        columns.append((patch.data[:, bright], *seen(scene, one, patch, bright, data, weight)))
    a, b, variance = (np.concatenate(parts, axis=-1).astype(float) for parts in zip(*columns, strict=True))
    if np.isfinite(variance).sum() < 4 * len(a):
        return one.weights
    start = np.zeros(len(a))
    start[0] = 1.0
    found = robust(a, b, variance, one.weights, start, np.array([PRIOR[0], *[PRIOR[1]] * (len(a) - 1)]))
    return found if found[0] > 0 else one.weights


def fit_halo(scene: Scene, one: Contributor, data: Image, weight: Image) -> None:
    """Measure how a star's light falls off across its traces, and give it that shape."""
    columns = []
    for patch in one.patches:
        if scene.optics.orders[patch.order].length > HARDLY:
            now = one.image(patch)
            bright = (now**2 * weight[patch.box] > 1) & (scene.without(one, patch.box) < ALONE * now)
            shares = scene.across(patch, one.stamp)[bright].T
            columns.append((shares * now[bright], *seen(scene, one, patch, bright, data, weight)))
    if not sum(len(b) for _, b, _ in columns):
        return
    a, b, variance = (np.concatenate(parts, axis=-1).astype(float) for parts in zip(*columns, strict=True))
    flat = np.ones(len(HALO))
    found = robust(a, b, variance, flat, flat, UNKNOWN * flat)
    dispersed.add(scene.total, one.patches, -one.weights)
    scene.shape(one.patches, one.stamp, found)
    dispersed.add(scene.total, one.patches, one.weights)
    one.halo = one.halo * found


def seen(scene: Scene, one: Contributor, patch: Patch, where: Mask, data: Image, weight: Image) -> tuple[Image, Image]:
    """Data of pixels (n,) of a patch without others' light, and the variance, infinite where they are not good."""
    others, now, at = scene.without(one, patch.box)[where], one.image(patch)[where], weight[patch.box][where]
    variance = np.divide(1, at, out=np.full_like(at, np.inf), where=at > 0)
    return data[patch.box][where] - others, variance + np.float32(TRUST**2) * (others**2 + now**2)


def robust(a: Array, b: Array, variance: Array, found: Array, prior: Array, sigma: Array) -> Array:
    """Least squares that heed outliers little.

    Parameters
    ----------
    a : ndarray, shape (k, n)
    b, variance : ndarray, shape (n,)
    found : ndarray, shape (k,)
        Which outliers are told by first.
    prior, sigma : ndarray, shape (k,)
        What is known beforehand, and its error.

    Returns
    -------
    ndarray, shape (k,)
    """
    for _ in range(3):
        off = np.abs(b - found @ a) / np.sqrt(variance)
        w = np.minimum(1, STEEP / np.maximum(off, 1e-9)) / variance
        found = np.linalg.solve((a * w) @ a.T + np.diag(sigma**-2), (a * w) @ b + prior / sigma**2)
    return found
