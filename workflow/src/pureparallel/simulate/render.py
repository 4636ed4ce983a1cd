"""Noiseless count-rate images of stars and galaxies, direct and dispersed.

Every source is drawn in Fourier space, where its sub-pixel position is a phase, its Sérsic profile a sum of Gaussians,
and the integration over pixels a sinc. Direct images and emission lines are small stamps; a continuum is deposited
along its trace, in half pixels along and quarters across it, and convolved with the source. That holds the core of the
point-spread function; its wings are smooth, and are added to the whole image at the end, for all sources at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import nnls

from . import psf
from .dispersion import Traces
from .instrument import FILTERS, PIXAR_SR, bandpass

Array = NDArray[np.float64]

LIGHT_SPEED_A = 2.99792458e18
"""Å/s."""

LIGHT_SPEED_KMS = 299792.458

JANSKY = 1e-23
"""erg/s/cm²/Hz."""

BAND_MARGIN = 0.05
"""μm beyond a filter's limits where its sensitivity still counts; leaks farther out are left out."""

WAVES = 1200
"""Wavelengths over a filter: at most 0.26 pixel apart, in the third order of F200W."""

SERSIC_REACH = 8.0
"""Half-light radii at which the profile of a galaxy ends, softly."""

PAD = psf.RADIUS + 1
"""Pixels around the image from where light still reaches it."""


@dataclass(frozen=True)
class Sersic:
    """A galaxy's profile on the detector.

    Attributes
    ----------
    re : float
        Semi-major axis of the ellipse that holds half of the light, pixels.
    n : float
        Sérsic index, 0.5 to 6.
    axis_ratio : float
        Minor over major axis.
    angle : float
        Of the major axis, degrees from x towards y.
    """

    re: float
    n: float
    axis_ratio: float = 1.0
    angle: float = 0.0

    def __post_init__(self) -> None:
        if not (self.re > 0 and 0.5 <= self.n <= 6 and 0 < self.axis_ratio <= 1):
            raise ValueError(f"{self}: re > 0, 0.5 <= n <= 6 and 0 < axis_ratio <= 1 are needed")


class Line(Protocol):
    """An emission line: observed wavelength [μm], flux [erg/s/cm²], velocity dispersion [km/s]."""

    @property
    def wave_micron(self) -> float: ...
    @property
    def flux(self) -> float: ...
    @property
    def sigma_kms(self) -> float: ...


class EmissionLine(NamedTuple):
    """The plainest `Line`."""

    wave_micron: float
    flux: float
    sigma_kms: float = 0.0


@dataclass(frozen=True)
class Source:
    """What is drawn.

    Attributes
    ----------
    x, y : float
        Position in the direct image, 0-based pixels; it may lie outside of the image.
    spectrum : callable
        ``spectrum(wave_micron)`` is the continuum f_λ in erg/s/cm²/Å.
    lines : sequence of Line
    profile : Sersic, optional
        None for a star.
    """

    x: float
    y: float
    spectrum: Callable[[Array], Array]
    lines: Sequence[Line] = ()
    profile: Sersic | None = None


def count_rate(filter: str, source: Source) -> float:
    """DN/s of a source in a direct image: its mean f_ν through the filter over photmjsr and the pixel's solid angle."""
    band = FILTERS[filter]
    wave = np.linspace(band.wave_min - BAND_MARGIN, band.wave_max + BAND_MARGIN, WAVES)
    angstrom, transmission = wave * 1e4, bandpass(filter, wave)
    photons = np.trapezoid(source.spectrum(wave) * transmission * angstrom, angstrom)
    for line in source.lines:
        photons += line.flux * float(bandpass(filter, line.wave_micron)) * line.wave_micron * 1e4
    fnu = photons / (LIGHT_SPEED_A * np.trapezoid(transmission / angstrom, angstrom))
    return float(fnu / JANSKY * 1e-6 / (band.photmjsr * PIXAR_SR))


def direct_image(sources: Sequence[Source], filter: str, shape: tuple[int, int]) -> Array:
    """Noiseless direct image.

    Parameters
    ----------
    sources : sequence of Source
    filter : str
        A key of `instrument.FILTERS`.
    shape : tuple of int
        (ny, nx).

    Returns
    -------
    ndarray, shape (ny, nx)
        DN/s.
    """
    canvas = _Canvas.make(filter, shape)
    mean = np.full(psf.NODES, 1 / psf.NODES)
    for source in sorted(sources, key=_size):
        if canvas.near(source.x, source.y, PAD):
            _Brush(filter, source.profile).point(canvas, source.x, source.y, count_rate(filter, source) * mean)
    return canvas.image()


def dispersed_image(
    sources: Sequence[Source],
    traces: Traces,
    grism: str,
    filter: str,
    shape: tuple[int, int],
    *,
    orders: Sequence[int] = (-1, 0, 1, 2, 3),
    fwcpos: float | None = None,
) -> Array:
    """Noiseless dispersed image.

    Parameters
    ----------
    sources : sequence of Source
        Also those far outside of the image: whatever of their traces falls on it is drawn.
    traces : Traces
    grism, filter : str
    shape : tuple of int
        (ny, nx).
    orders : sequence of int
    fwcpos : float, optional
        Position of the filter wheel, degrees, see `Traces.displace`.

    Returns
    -------
    ndarray, shape (ny, nx)
        DN/s.
    """
    canvas = _Canvas.make(filter, shape)
    band = FILTERS[filter]
    wave = np.linspace(band.wave_min - BAND_MARGIN, band.wave_max + BAND_MARGIN, WAVES)
    width = np.gradient(wave) * 1e4 * np.where((wave == wave[0]) | (wave == wave[-1]), 0.5, 1)
    response = {order: traces.sensitivity(grism, filter, order, wave) * width for order in orders}
    nodes = _node_weights(filter, wave)
    for source in sorted(sources, key=_size):
        flux = source.spectrum(wave)
        lines = [line for line in source.lines if wave[0] < line.wave_micron < wave[-1]]
        brush = _Brush(filter, source.profile)
        for order in orders:
            dx, dy = traces.displace(grism, filter, order, source.x, source.y, wave, fwcpos)
            rate = flux * response[order]
            lit = canvas.near(source.x + dx, source.y + dy, PAD) & (rate > 0)
            if lit.any():
                path = _Path(source.x + dx[lit], source.y + dy[lit], nodes[:, lit] * rate[lit])
                brush.trace(canvas, path, along_x=grism.endswith("C"))
            for line in lines:
                _draw_line(canvas, brush, traces, (grism, filter, order), source, line, fwcpos)
    return canvas.image()


def _size(source: Source) -> float:
    """Of its profile: sources of one size, drawn one after the other, find their transforms in the cache."""
    return 0.0 if source.profile is None else source.profile.re


class _Path(NamedTuple):
    """Points (n,) of a trace in pixels, and the DN/s of each in each node of the point-spread function, (k, n)."""

    x: Array
    y: Array
    rate: Array

    def part(self, chosen: NDArray[np.bool_]) -> "_Path":
        return _Path(self.x[chosen], self.y[chosen], self.rate[:, chosen])


@dataclass(frozen=True)
class _Canvas:
    """An image with `PAD` pixels around it: what the cores drew, and what is yet to be convolved with the wings."""

    filter: str
    shape: tuple[int, int]
    core: Array
    points: Array = field(repr=False)

    @classmethod
    def make(cls, filter: str, shape: tuple[int, int]) -> "_Canvas":
        padded = (shape[0] + 2 * PAD, shape[1] + 2 * PAD)
        return cls(filter, shape, np.zeros(padded), np.zeros((psf.NODES, *padded)))

    def near(self, x: Any, y: Any, distance: float) -> Any:
        """Whether positions are in the image or not farther than a distance from it."""
        ny, nx = self.shape
        inside_x = (np.asarray(x) > -distance) & (np.asarray(x) < nx - 1 + distance)
        return inside_x & (np.asarray(y) > -distance) & (np.asarray(y) < ny - 1 + distance)

    def add(self, stamp: Array, left: int, bottom: int, wings: Array | None = None) -> None:
        """Add a stamp whose first pixel is (left, bottom) of the image.

        `wings` (k,) is the share of the stamp that each node's wings are to be given to, if the stamp is not a star's.
        """
        x, y = left + PAD, bottom + PAD
        rows = slice(max(y, 0), max(min(y + stamp.shape[0], self.core.shape[0]), 0))
        columns = slice(max(x, 0), max(min(x + stamp.shape[1], self.core.shape[1]), 0))
        part = stamp[max(-y, 0) : rows.stop - y, max(-x, 0) : columns.stop - x]
        if rows.start < rows.stop and columns.start < columns.stop:
            self.core[rows, columns] += part
            if wings is not None:
                self.points[:, rows, columns] += wings[:, None, None] * part

    def drop(self, path: _Path) -> None:
        """Leave points for the wings, each shared among the four pixels around it."""
        u, v = path.x + PAD, path.y + PAD
        left, bottom = int(u.min()), int(v.min())
        size = (int(v.max()) - bottom + 2, int(u.max()) - left + 2)
        light = _deposit(v - bottom, u - left, path.rate, size)
        self.points[:, bottom : bottom + size[0], left : left + size[1]] += light

    def image(self) -> Array:
        """The image with the wings, without the pixels around it."""
        size = tuple(fft.next_fast_len(n, real=True) for n in self.core.shape)
        wing = psf.kernel(self.filter).wing
        spread = sum(fft.rfft2(p, size) * fft.rfft2(w, size) for p, w in zip(self.points, wing, strict=True))
        start = PAD + wing.shape[1] // 2
        whole = fft.irfft2(spread, size)
        # what wraps around does not get farther than the padding
        rows, columns = (np.arange(start, start + n) % m for n, m in zip(self.shape, size, strict=True))
        inner = self.core[PAD : PAD + self.shape[0], PAD : PAD + self.shape[1]]
        return np.maximum(inner + whole[np.ix_(rows, columns)], 0)


def _deposit(row: Array, column: Array, rate: Array, size: tuple[int, int]) -> Array:
    """Share points (n,) of rates (k, n) among the four samples around each; shape (k, *size)."""
    i, j = row.astype(int), column.astype(int)
    fi, fj = row - i, column - j
    index = i * size[1] + j
    places = np.concatenate([index, index + 1, index + size[1], index + size[1] + 1])
    shares = np.concatenate([(1 - fi) * (1 - fj), (1 - fi) * fj, fi * (1 - fj), fi * fj])
    total = size[0] * size[1]
    return np.stack([np.bincount(places, shares * np.tile(r, 4), total).reshape(size) for r in rate])


def _node_weights(filter: str, wave: Array) -> Array:
    """Share (k, n) of each node of the point-spread function at wavelengths (n,): linear between the nodes."""
    nodes = psf.kernel(filter).wave
    return np.stack([np.interp(wave, nodes, unit) for unit in np.eye(len(nodes))])


class _Brush:
    """Draws sources of one profile through one filter."""

    def __init__(self, filter: str, profile: Sersic | None) -> None:
        self.filter, self.profile = filter, profile
        self.reach = psf.CORE_RADIUS + 1 + (0.0 if profile is None else SERSIC_REACH * profile.re)
        # samples per pixel that hold all frequencies: the smoothing leaves 1e-4 of a star's beyond 2 / pixel
        self.samples = 4 if profile is None or profile.re < 3 else 3 if profile.re < 8 else 2

    @cached_property
    def stamp(self) -> tuple["_Grid", Array]:
        """Grid of a square around a point, and the transform (k, n, m // 2 + 1) of a source in it."""
        size = _coarse(2 * int(np.ceil(self.reach)) + 2)
        grid = _Grid(size, self.samples, size, self.samples)
        return grid, self.profiled(_core_transform(self.filter, grid, deposited=False), grid)

    def profiled(self, transform: Any, grid: "_Grid", *, swap: bool = False) -> Any:
        """The transform of a point's image, times that of the profile."""
        return transform if self.profile is None else transform * _profile_transform(self.profile, grid, swap=swap)

    def point(self, canvas: _Canvas, x: float, y: float, rate: Array, spread: tuple[float, float] = (0, 0)) -> None:
        """Draw at a position, `rate` (k,) DN/s in each node, spread as a Gaussian along a vector (sigma, pixels)."""
        if not self.leave(canvas, _Path(np.array([x]), np.array([y]), rate[:, None])):
            return
        grid, transforms = self.stamp
        left, bottom = round(x) - grid.columns // 2, round(y) - grid.rows // 2
        fy, fx = grid.frequencies()
        phase_y, phase_x = np.exp(-2j * np.pi * fy * (y - bottom)), np.exp(-2j * np.pi * fx * (x - left))
        transform = np.tensordot(rate.astype(np.float32), transforms, axes=1) * phase_y[:, None] * phase_x
        if any(spread):
            transform *= np.exp(-2 * np.pi**2 * (fx * spread[0] + fy[:, None] * spread[1]) ** 2)
        canvas.add(grid.back(transform), left, bottom, self.wings(rate))

    def trace(self, canvas: _Canvas, path: _Path, *, along_x: bool) -> None:
        """Draw a continuum along a trace: the first axis of the arrays runs along it, the second across."""
        close = self.leave(canvas, path)
        if not close:
            return
        along, across = (close.x, close.y) if along_x else (close.y, close.x)
        border = int(np.ceil(self.reach)) + 1
        first, second = int(np.floor(along.min())) - border, int(np.floor(across.min())) - border
        # few sizes, so that transforms of the core are found in the cache
        rows = _coarse(int(np.ceil(along.max())) - first + border)
        columns = _coarse(int(np.ceil(across.max())) - second + border)
        grid = _Grid(rows, 2, columns, max(self.samples, 3))
        place = (along - first) * grid.row_samples, (across - second) * grid.column_samples
        points = fft.rfft2(_deposit(*place, close.rate, grid.shape).astype(np.float32))
        core = _core_transform(self.filter, grid, deposited=True, swap=along_x)
        image = grid.back(self.profiled(np.einsum("kij,kij->ij", points, core), grid, swap=along_x))
        wings = self.wings(close.rate.sum(axis=1))
        if along_x:
            canvas.add(image.T, first, second, wings)
        else:
            canvas.add(image, second, first, wings)

    def leave(self, canvas: _Canvas, path: _Path) -> _Path | None:
        """Leave to the wings what is a star's or far from the image; return what is close enough to be drawn."""
        close = canvas.near(path.x, path.y, self.reach)
        rest = path if self.profile is None else path.part(~close)
        if rest.x.size:
            canvas.drop(rest)
        return path.part(close) if close.any() else None

    def wings(self, rate: Array) -> Array | None:
        """Light for each node's wings (k,), over what the cores hold of rates (k,); None for a star."""
        core = psf.kernel(self.filter).core.sum(axis=(1, 2))
        return None if self.profile is None else rate / float(rate @ core)


class _Grid(NamedTuple):
    """Samples of a stamp: pixels and samples per pixel of its first and second axis."""

    rows: int
    row_samples: int
    columns: int
    column_samples: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows * self.row_samples, self.columns * self.column_samples

    def frequencies(self) -> tuple[Array, Array]:
        """Cycles per pixel of both axes; the second is one-sided."""
        n, m = self.shape
        return fft.fftfreq(n, 1 / self.row_samples), fft.rfftfreq(m, 1 / self.column_samples)

    def back(self, transform: NDArray[Any]) -> Array:
        """Image (rows, columns) of a transform, sampled at pixels' centres: frequencies that alias add up."""
        folded = transform.reshape(self.row_samples, self.rows, -1).sum(axis=0)
        columns = fft.irfft(fft.ifft(folded, axis=0), self.shape[1], axis=1)
        return columns[:, :: self.column_samples] * self.column_samples


@lru_cache(maxsize=128)
def _core_transform(filter: str, grid: _Grid, *, deposited: bool, swap: bool = False) -> NDArray[np.float32]:
    """Transform of each node's core, integrated over pixels, shape (k, n, m // 2 + 1).

    It is real, for the core is symmetric about its centre. `swap` makes x the first axis. `deposited` makes up for
    the blur of `_deposit` across a trace, on the second axis.
    """
    core = psf.kernel(filter).core.astype(np.float32)
    if swap:
        core = core.transpose(0, 2, 1)
    place = 2 * np.pi * (np.arange(core.shape[1]) - core.shape[1] // 2) / psf.SAMPLES
    rows, columns = grid.frequencies()
    left, right = np.outer(rows, place).astype(np.float32), np.outer(place, columns).astype(np.float32)
    transform = np.cos(left) @ (core @ np.cos(right)) - np.sin(left) @ (core @ np.sin(right))
    pixel = np.sinc(columns) / (np.sinc(columns / grid.column_samples) ** 2 if deposited else 1)
    factor = np.sinc(rows).astype(np.float32)[:, None] * pixel.astype(np.float32)
    return (transform * factor).astype(np.float32, copy=False)


@lru_cache(maxsize=1024)
def _sersic_table(n: float) -> Array:
    """Transform of a Sérsic profile with re = 1, sampled evenly in the square root of the frequency, see `_TABLE`."""
    sigma, weight = sersic_gaussians(n)
    frequency = (np.arange(_TABLE[0]) / _TABLE[1]) ** 2
    return weight @ np.exp(-2 * (np.pi * sigma[:, None] * frequency) ** 2)


_TABLE = (4096, 256.0)
"""Samples, and samples per unit of the square root of the frequency: up to 256 cycles per re."""


@lru_cache(maxsize=1024)
def sersic_gaussians(n: float) -> tuple[Array, Array]:
    """Gaussians whose sum is a Sérsic profile that fades from half of `SERSIC_REACH` on (after Hogg & Lang 2013).

    Half of the light that is left is within a radius of 1: for n = 4, the true profile has 12 % more, farther out.

    Parameters
    ----------
    n : float
        Sérsic index.

    Returns
    -------
    sigma, weight : ndarray, shape (g,)
        Widths in half-light radii, and shares of the light: their sum is 1.
    """
    from scipy.special import gammaincinv

    radius = np.geomspace(3e-3, 1.4 * SERSIC_REACH, 150)
    fade = np.clip((1.1 * SERSIC_REACH - radius) / (SERSIC_REACH / 2), 0, 1)
    profile = fade * np.exp(-gammaincinv(2 * n, 0.5) * radius ** (1 / n))
    sigma = np.append(np.geomspace(2e-3, SERSIC_REACH / 2.2, 50), 1 / np.sqrt(2 * np.log(2)))  # the last is n = 0.5
    gaussians = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / (2 * np.pi * sigma**2)
    light = radius**2 * profile  # per logarithm of the radius
    matrix = gaussians * (radius**2 / (light + 0.01 * light.max()))[:, None]
    norm = np.linalg.norm(matrix, axis=0)
    weight, _ = nnls(matrix / norm, light / (light + 0.01 * light.max()), maxiter=3000)
    sigma, weight = sigma[weight > 0], (weight / norm)[weight > 0]
    weight /= weight.sum()
    within = weight @ (1 - np.exp(-0.5 * (radius / sigma[:, None]) ** 2))
    return sigma / np.interp(0.5, within, radius), weight


def _profile_transform(profile: Sersic, grid: _Grid, *, swap: bool) -> Array:
    """Transform of a profile on a grid, shape (n, m // 2 + 1); `swap` makes x the first axis."""
    first, second = grid.frequencies()
    fx, fy = (first[:, None], second) if swap else (second, first[:, None])
    c, s = np.cos(np.deg2rad(profile.angle)), np.sin(np.deg2rad(profile.angle))
    squared = np.float32(profile.re**2) * ((c * fx + s * fy) ** 2 + (profile.axis_ratio * (c * fy - s * fx)) ** 2)
    table = _sersic_table(round(profile.n, 3))
    place = np.minimum(squared**0.25 * _TABLE[1], _TABLE[0] - 1.001)
    index = place.astype(np.int32)
    below = table[index]
    return below + (place - index) * (table[index + 1] - below)


def _coarse(pixels: int) -> int:
    """The next larger of a few sizes, six to each factor of two, that transform fast."""
    step = max(4, 2 ** int(np.log2(pixels) - 2.5))
    return fft.next_fast_len(-(-pixels // step) * step, real=True)


def _draw_line(
    canvas: _Canvas,
    brush: _Brush,
    traces: Traces,
    key: tuple[str, str, int],
    source: Source,
    line: Line,
    fwcpos: float | None,
) -> None:
    """Draw an emission line, spread along the trace by its width."""
    rate = line.flux * float(traces.sensitivity(*key, line.wave_micron))
    sigma = line.wave_micron * line.sigma_kms / LIGHT_SPEED_KMS
    step = max(sigma, 1e-5)
    waves = line.wave_micron + np.array([0.0, step])
    dx, dy = traces.displace(*key, source.x, source.y, waves, fwcpos)
    x, y = source.x + float(dx[0]), source.y + float(dy[0])
    if rate > 0 and canvas.near(x, y, PAD):
        spread = (float(dx[1] - dx[0]) * sigma / step, float(dy[1] - dy[0]) * sigma / step)
        brush.point(canvas, x, y, rate * _node_weights(canvas.filter, waves[:1])[:, 0], spread)
