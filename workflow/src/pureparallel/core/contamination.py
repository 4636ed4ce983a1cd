"""All sources of a dispersed exposure at once: what each contributes, and their spectra, refined on their traces."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from . import dispersed
from .dispersed import Patch, Stamp
from .grism import Optics

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

TRUST = 0.05
"""Of the model's light that fits do not believe in: optics and alignment are not known better."""

EDGE = 0.02
"""Of a trace's brightest pixel: fits look at what is above."""

STEEP = 4.0
"""Standard deviations beyond which pixels count less: lines, and what is left of other sources."""

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
        Of its first order, all pixels together; 0 where it was not fitted.
    """

    stamp: Stamp
    base: Array
    terms: Array
    weights: Array
    patches: list[Patch] = field(default_factory=list)
    snr: float = 0.0

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
        return found

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
        first = dispersed.by_order(one.patches).get(1)
        if first is None:
            continue
        one.snr = float(np.sqrt(np.sum(one.image(first) ** 2 * weight[first.box])))
        if one.snr >= min_snr:
            bright.append(one)
        else:
            one.snr = 0.0
    bright.sort(key=lambda one: -one.snr)
    for one in bright:
        if len(one.terms) != degree + 1:
            scene.expand(one, degree)
    for _ in range(passes):
        for one in bright:
            scene.set(one, fitted(scene, one, data, weight))
    return len(bright)


def fitted(scene: Scene, one: Contributor, data: Image, weight: Image) -> Array:
    """Weights of a contributor's terms, by its first order: least squares that heed outliers little."""
    patch = dispersed.by_order(one.patches)[1]
    box, now = patch.box, one.image(patch)
    others = scene.without(one, box)
    target, basis = data[box] - others, patch.data
    used = (np.abs(basis[0]) > EDGE * np.abs(basis[0]).max()) & (weight[box] > 0)
    if used.sum() < 4 * len(basis):
        return one.weights
    a, b, at = basis[:, used].astype(float), target[used].astype(float), weight[box][used].astype(float)
    doubt = TRUST**2 * (others[used].astype(float) ** 2 + now[used].astype(float) ** 2)
    prior = np.array([PRIOR[0], *[PRIOR[1]] * (len(basis) - 1)]) ** -2
    start = np.zeros(len(basis))
    start[0] = 1.0
    found = one.weights
    for _ in range(3):
        noise = 1 / at + doubt
        off = np.abs(b - found @ a) / np.sqrt(noise)
        w = np.minimum(1, STEEP / np.maximum(off, 1e-9)) / noise
        found = np.linalg.solve((a * w) @ a.T + np.diag(prior), (a * w) @ b + prior * start)
    return found if found[0] > 0 else one.weights
