"""Where a grism sends the light of a sky position: sky to direct image, direct image to trace, and how much of it.

The pipeline's world coordinates are exact but dear to evaluate point by point. They are smooth: sampled once per
exposure and written as Chebyshev polynomials, they serve all sources and wavelengths at once.

Positions are 0-based pixels of the exposure; the direct image is what the detector would have seen without the grism.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from .grid import Grid

Array = NDArray[np.float64]

ToGrism = Callable[[Array, Array, Array, int], tuple[Array, Array]]
"""Pixels x, y in the dispersed image of x, y in the direct image, wavelengths [μm] and an order."""

ToSky = Callable[[Array, Array], tuple[Array, Array]]
"""RA and Dec in degrees of pixels x, y of the direct image."""

ACCURACY = 0.03
"""Pixels by which the polynomials may miss what they stand for: the pipeline's inverse for NIRCam interpolates, and is
good to 0.01."""

DEGREE_XY, DEGREE_WAVE = 4, 6
"""Of the polynomials. Those of instruments are of degree 2 in position and, but for an inverse, in wavelength."""

DEGREE_SKY = 5
"""SIAF's distortion polynomials have it."""

UNEVEN = 0.5
"""Dispersion over its median, beyond which a trace is not believed."""

LEAST = 48
"""Samples of an order, however little it is dispersed: filters' edges are to be seen."""

HARDLY = 8.0
"""Pixels: shorter traces are hardly dispersed."""

MICROJANSKY = 1e-12
"""MJy."""


@dataclass(frozen=True)
class Surface:
    """Polynomials of two variables on a box.

    Attributes
    ----------
    middle, half : ndarray, shape (2,)
        The box is where both variables are within `half` of `middle`.
    degree : int
    coefficients : ndarray, shape (..., (degree + 1)**2)
    """

    middle: Array
    half: Array
    degree: int
    coefficients: Array

    @classmethod
    def fit(cls, x: Array, y: Array, values: Array, degree: int) -> "Surface":
        """Least squares through values (..., n) at points (n,)."""
        low, high = np.array([[v.min(), v.max()] for v in (x, y)]).T
        empty = cls((low + high) / 2, (high - low) / 2, degree, np.zeros(0))
        inverse = np.linalg.pinv(empty.terms(x, y))
        return cls(empty.middle, empty.half, degree, values @ inverse.T)

    def terms(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Shape (n, (degree + 1)**2) of points (n,)."""
        u, v = ((np.asarray(c, float) - m) / h for c, m, h in zip((x, y), self.middle, self.half, strict=True))
        first, second = (chebyshev.chebvander(c, self.degree) for c in (u, v))
        return (first[:, :, None] * second[:, None, :]).reshape(len(first), (self.degree + 1) ** 2)

    def __call__(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Values (..., n) at points (n,)."""
        return self.coefficients @ self.terms(np.atleast_1d(x), np.atleast_1d(y)).T


@dataclass(frozen=True)
class Order:
    """One order of a grism through a filter.

    Attributes
    ----------
    number : int
    limits : (float, float)
        Wavelengths [μm] between which the trace is known.
    extracted : (float, float)
        Wavelengths [μm] between which the filter lets the light through, within `limits`.
    surface : Surface
        Of the offset's coefficients, shape (DEGREE_WAVE + 1, 2, ...): Chebyshev in wavelength over `limits`; x and y.
    wave, response : ndarray, shape (n,)
        Wavelengths in μm, ascending, and DN/s per μm of wavelength of a source of 1 μJy, in all pixels; positive
        somewhere.
    """

    number: int
    limits: tuple[float, float]
    extracted: tuple[float, float]
    surface: Surface
    wave: Array
    response: Array

    def sensitivity(self, wave: ArrayLike) -> Array:
        """DN/s per μm and μJy at wavelengths in μm."""
        return np.interp(np.asarray(wave, float), self.wave, self.response, left=0.0, right=0.0)

    def offset(self, x: ArrayLike, y: ArrayLike, wave: ArrayLike, derivative: int = 0) -> tuple[Array, Array]:
        """Pixels from the direct image to the light of wavelengths, or their derivative per μm.

        Parameters
        ----------
        x, y : array_like, shape (n,)
            In the direct image.
        wave : array_like, shape (m,)
            μm.
        derivative : int

        Returns
        -------
        dx, dy : ndarray, shape (n, m)
        """
        low, high = self.limits
        coefficients = self.surface(x, y)
        if derivative:
            coefficients = np.asarray(chebyshev.chebder(coefficients, derivative, scl=2 / (high - low)), float)
        dx, dy = chebyshev.chebval((2 * np.asarray(wave, float) - low - high) / (high - low), coefficients)
        return dx, dy

    def trace(self, x: ArrayLike, y: ArrayLike, wave: ArrayLike) -> tuple[Array, Array]:
        """Pixels (n, m) in the dispersed image of sources (n,) at wavelengths (m,) in μm."""
        dx, dy = self.offset(x, y, wave)
        return np.reshape(x, (-1, 1)) + dx, np.reshape(y, (-1, 1)) + dy

    def dispersion(self, x: ArrayLike, y: ArrayLike, wave: ArrayLike) -> Array:
        """μm per pixel along the trace, shape (n, m), always positive."""
        return 1 / np.hypot(*self.offset(x, y, wave, derivative=1))

    @cached_property
    def length(self) -> float:
        """Pixels of the trace where the order is sensitive."""
        low, high = self._lit
        x, y = self.surface.middle
        return float(np.max((high - low) / self.dispersion(x, y, np.linspace(low, high, 9))))

    @cached_property
    def peak(self) -> float:
        """DN/s per pixel along the trace, where it is brightest, of 1 μJy; of an order hardly dispersed, in all."""
        wave, (x, y) = self.sampled(2.0), self.surface.middle
        sensitivity = self.sensitivity(wave)
        if self.length < HARDLY:
            return float(np.trapezoid(sensitivity, wave))
        return float(np.max(sensitivity * self.dispersion(x, y, wave)))

    @cached_property
    def _lit(self) -> tuple[float, float]:
        lit = np.flatnonzero(self.response > 0)
        low, high = np.clip(self.wave[lit[[0, -1]]], *self.limits)
        return float(low), float(high)

    def sampled(self, step: float = 0.5) -> Array:
        """Wavelengths [μm], from one end of the sensitivity to the other, at most `step` pixels apart."""
        return np.linspace(*self._lit, max(int(np.ceil(self.length / step)), LEAST) + 1)


@dataclass(frozen=True)
class Optics:
    """One dispersed exposure's geometry and sensitivity.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    grism, filter : str
        Such as GR150R and F200W.
    along_x : bool
        Whether the light is dispersed along rows (x) rather than columns (y).
    plane : Grid
        A tangent plane in arcsec.
    to_pixel, to_plane : Surface
        Pixels x, y of the direct image of places on the plane, and the inverse.
    orders : mapping of int to Order
    pixel_area : float
        Nominal solid angle of a pixel, sr, that the sensitivities refer to.
    accuracy : float
        Largest error in pixels of any of the polynomials at the points that they were fitted to.
    """

    shape: tuple[int, int]
    grism: str
    filter: str
    along_x: bool
    plane: Grid
    to_pixel: Surface
    to_plane: Surface
    orders: Mapping[int, Order]
    pixel_area: float
    accuracy: float

    def direct(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Array, Array]:
        """Pixels x, y (n,) in the direct image of positions in degrees; NaN for those far beyond its edges."""
        xi, eta = self.plane.to_pixel(np.atleast_1d(ra), np.atleast_1d(dec))
        near = np.ones(len(xi), bool)
        for value, middle, half in zip((xi, eta), self.to_pixel.middle, self.to_pixel.half, strict=True):
            near &= np.abs(value - middle) <= half
        x, y = np.full((2, len(xi)), np.nan)
        x[near], y[near] = inverted(np.array([xi[near], eta[near]]), self.to_pixel, self.to_plane)
        return x, y

    def sky(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """RA and Dec in degrees of pixels (n,) of the direct image."""
        return self.plane.to_sky(*self.to_plane(x, y))


def sky_surfaces(to_sky: ToSky, shape: tuple[int, int], margin: float) -> tuple[Grid, Surface, Surface, float]:
    """A plane at an image's middle and the polynomials between it and the image.

    Parameters
    ----------
    to_sky : callable
    shape : (int, int)
    margin : float
        Pixels around the image where they are to hold, too.

    Returns
    -------
    plane : Grid
        One arcsec per pixel.
    to_pixel, to_plane : Surface
    accuracy : float
        Pixels.
    """
    ny, nx = shape
    nodes = [_nodes(-margin, n - 1 + margin, 3 * DEGREE_SKY) for n in (ny, nx)]
    y, x = (v.ravel() for v in np.meshgrid(*nodes, indexing="ij"))
    ra0, dec0 = (float(v[0]) for v in to_sky(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])))
    plane = Grid(ra0, dec0, 1.0, (1, 1), (0.0, 0.0))
    place = np.array(plane.to_pixel(*to_sky(x, y)))
    to_plane = Surface.fit(x, y, place, DEGREE_SKY)
    to_pixel = Surface.fit(place[0], place[1], np.array([x, y]), DEGREE_SKY)
    accuracy = float(np.max(np.hypot(*(inverted(place, to_pixel, to_plane) - [x, y]))))
    return plane, to_pixel, to_plane, accuracy


def inverted(place: Array, to_pixel: Surface, to_plane: Surface) -> Array:
    """Pixels (2, n) of places (2, n) on the plane: the first guess, moved by what it misses."""
    return to_pixel(*(2 * place - to_plane(*to_pixel(*place))))


def fit_order(
    to_grism: ToGrism, number: int, shape: tuple[int, int], limits: tuple[float, float]
) -> tuple[Surface, tuple[float, float], float]:
    """Polynomials of an order's offsets, for all sources whose light falls on the image.

    Parameters
    ----------
    to_grism : callable
        Of arrays of one shape (m, n): a row per wavelength, a column per position.
    number : int
    shape : (int, int)
    limits : (float, float)
        Wavelengths, μm.

    Returns
    -------
    surface : Surface
    limits : (float, float)
        Of what is known: a transform that keeps to its last wavelength beyond it is not followed there.
    accuracy : float
        Pixels.
    """

    def offsets(wave: Array, x: Array, y: Array) -> Array:
        shapes = np.broadcast_shapes((len(wave), 1), (1, len(x)))
        x, y, wave = (np.broadcast_to(v, shapes).copy() for v in (x[None], y[None], wave[:, None]))
        return np.array(to_grism(x, y, wave, number)) - [x, y]

    ny, nx = shape
    corners = np.array([0, nx - 1, 0, nx - 1.0]), np.array([0, 0, ny - 1, ny - 1.0])
    limits = _followed(limits, lambda wave: offsets(wave, *corners))
    wave = _nodes(*limits, 3 * DEGREE_WAVE)
    far = np.abs(offsets(wave, *corners)).max(axis=(1, 2))
    x, y = (
        v.ravel()
        for v in np.meshgrid(*(_nodes(-m - 10, n + 9 + m, 2 * DEGREE_XY + 1) for n, m in ((nx, far[0]), (ny, far[1]))))
    )
    limits = _followed(limits, lambda wave: offsets(wave, x, y))
    wave = _nodes(*limits, 3 * DEGREE_WAVE)
    values = offsets(wave, x, y)  # (2, m, n)
    s = (2 * wave - sum(limits)) / (limits[1] - limits[0])
    basis = chebyshev.chebvander(s, DEGREE_WAVE)
    coefficients = np.einsum("km,cmn->kcn", np.linalg.pinv(basis), values)
    surface = Surface.fit(x, y, coefficients, DEGREE_XY)
    missed = np.einsum("mk,kcn->cmn", basis, surface(x, y)) - values
    return surface, limits, float(np.max(np.hypot(*missed)))


def _nodes(low: float, high: float, count: int) -> Array:
    """Chebyshev's points, with both ends: polynomials through them do not swing."""
    return (low + high) / 2 - (high - low) / 2 * np.cos(np.linspace(0, np.pi, count))


def _followed(limits: tuple[float, float], offsets: Callable[[Array], Array]) -> tuple[float, float]:
    """Wavelengths between which offsets (2, m, n) move on evenly: near ends that it interpolates to, the pipeline's
    transform for NIRCam jumps and goes back."""
    wave = np.linspace(*limits, 200)
    moves = np.hypot(*np.diff(offsets(wave), axis=1))
    usual = np.median(moves, axis=0)
    even = ((moves > UNEVEN * usual) & (moves < usual / UNEVEN)).all(axis=1)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], even, [0]])))
    first, last = max(zip(ends[::2], ends[1::2], strict=True), key=lambda run: run[1] - run[0])
    # between two of the wavelengths it may be uneven still
    return float(wave[first + (first > 0)]), float(wave[last - (last < len(even))])


def response(relresponse: ArrayLike, pixel_area: float) -> Array:
    """DN/s per μm of a source of 1 μJy, of what the pipeline multiplies a spectrum by.

    A spectrum of C DN/s in a pixel that spans Δλ is a surface brightness of C r / Δλ, over the nominal solid angle of
    a pixel.

    Parameters
    ----------
    relresponse : array_like
        r, in MJy/sr per DN/s and per 1/μm; 0 where it is not known.
    pixel_area : float
        sr.
    """
    r = np.asarray(relresponse, float)
    good = np.isfinite(r) & (r > 0)
    return np.divide(MICROJANSKY / pixel_area, r, out=np.zeros_like(r), where=good)


def lit(
    optics: Optics, x: ArrayLike, y: ArrayLike, flux: ArrayLike, width: ArrayLike, limit: float,
    orders: Sequence[int] | None = None, reach: float = 60.0,
) -> NDArray[np.bool_]:  # fmt: skip
    """Pixels that sources light up, in all orders, down to a surface brightness.

    Across its trace, a source's light falls off as 1 / (1 + (d / width)²): the wings of a diffraction-limited image,
    seen edge-on; those of a galaxy are fainter.

    Parameters
    ----------
    optics : Optics
    x, y : array_like, shape (n,)
        In the direct image; NaN where a source is too far away.
    flux : array_like, shape (n,)
        μJy, in the filter.
    width : array_like, shape (n,)
        Pixels at which the light has fallen to half; 0.75 for a point.
    limit : float
        DN/s in a pixel.
    orders : sequence of int, optional
        All by default.
    reach : float
        Pixels beyond which the light is never followed.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
    """
    x, y, flux, width = (np.atleast_1d(np.asarray(v, float)) for v in (x, y, flux, width))
    here = np.isfinite(x) & np.isfinite(y) & (flux > 0)
    x, y, flux, width = x[here], y[here], flux[here], width[here]
    discs = []
    for number, order in optics.orders.items():
        wave = order.sampled(1.0)
        if (orders is not None and number not in orders) or not len(x):
            continue
        # an order that is hardly dispersed is as wide as the source
        per_pixel = np.minimum(order.dispersion(x, y, wave), np.ptp(wave) / (2 * width)[:, None])
        rate = flux[:, None] * order.sensitivity(wave) * per_pixel
        brightness = rate / (np.pi * width[:, None]) / limit
        radius = width[:, None] * np.sqrt(np.maximum(brightness - 1, 0))
        drawn = brightness > 1
        tx, ty = order.trace(x, y, wave)
        discs.append(np.stack([tx[drawn], ty[drawn], np.minimum(np.maximum(radius, 1.0), reach)[drawn]]))
    if not discs:
        return np.zeros(optics.shape, bool)
    tx, ty, radius = np.concatenate(discs, axis=1)
    return _discs(tx, ty, radius, optics.shape)


def _discs(x: Array, y: Array, radius: Array, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centres lie in any of the discs, by the ends of the chords that rows cut out of them."""
    ny, nx = shape
    ends = np.zeros(ny * (nx + 1))
    for k in range(-int(np.ceil(radius.max(initial=0))), int(np.ceil(radius.max(initial=0))) + 1):
        row = np.round(y) + k
        half = np.sqrt(np.maximum(radius**2 - (row - y) ** 2, 0))
        cut = (np.abs(row - y) <= radius) & (row >= 0) & (row < ny) & (x + half >= 0) & (x - half <= nx - 1)
        base = row[cut].astype(int) * (nx + 1)
        first = np.clip(np.ceil((x - half)[cut]), 0, nx).astype(int)
        last = np.clip(np.floor((x + half)[cut]) + 1, first, nx).astype(int)
        ends += np.bincount(base + first, minlength=len(ends)) - np.bincount(base + last, minlength=len(ends))
    return np.cumsum(ends.reshape(ny, nx + 1), axis=1)[:, :nx] > 0.5
