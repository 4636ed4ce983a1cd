"""Fluxes of sources in mosaics: sums over apertures filter by filter, and totals from all filters together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .apertures import Ellipse, Noise, circle, cut, mended
from .profiles import RINGS, Library

Array = NDArray[np.float64]

BITS = {"MISSING": 0, "EDGE": 1, "NEIGHBOUR": 2, "HOLE": 3, "NO_DATA": 4}
"""Of a filter's flags: part of the aperture for the total has no data; the mosaic ends near it; neighbours hide more
than `HIDDEN` of it, or give that much of the light; exposures lack its middle, as where it saturates; no flux."""

HIDDEN = 0.1
"""Part of an aperture that neighbours hide, and light of theirs over a source's own, from which on they count."""

AT_EDGE = 0.1
"""Part of the square around a source without data: holes are smaller."""

HOLLOW = 0.6
"""Weight in a source's middle over that around it, below which it is a hole."""

ABSENT = 0.3
"""Part of the colour aperture without data from which on there is no flux."""

SURE = 5.0
"""Signal to noise of the light in the aperture for the total from which on it makes the total."""


WIDER = 3.0
"""Errors by which a source has more light than a point, if it is none."""


@dataclass(frozen=True)
class Shape:
    """A source in pixels: its label, its 0-based position, and the aperture that its total is measured in."""

    label: int
    x: float
    y: float
    total: Ellipse


@dataclass(frozen=True)
class Image:
    """One filter's mosaic, ready to be measured; flux units are those of the data, all of shape (ny, nx).

    Attributes
    ----------
    data : ndarray
        Per pixel, sky subtracted.
    weight : ndarray
        Inverse variance of the sky, 0 where there are no data.
    photons : ndarray
        Variance of the sources' own light, correlations of pixels allowed for.
    noise : Noise
        Of empty apertures.
    """

    data: NDArray
    weight: NDArray
    photons: NDArray
    noise: Noise


@dataclass(frozen=True)
class Sums:
    """What `measure` finds of n sources; NaN where there is no flux.

    Attributes
    ----------
    light, error : ndarray, shape (n, k + 1 + rings + 1)
        In k fixed apertures, in the one that colours are measured in, in rings at `RINGS` of the aperture for the
        total, and in that.
    flags : ndarray of int, shape (n,)
        `BITS`.
    """

    light: Array
    error: Array
    flags: NDArray[np.int32]

    @classmethod
    def none(cls, sources: int, fixed: int) -> "Sums":
        """No flux of any source."""
        light = np.full((sources, fixed + 1 + len(RINGS)), np.nan)
        return cls(light, light.copy(), np.full(sources, 1 << BITS["NO_DATA"], np.int32))

    @property
    def fixed(self) -> slice:
        """Columns of the fixed apertures."""
        return slice(0, self.light.shape[1] - len(RINGS) - 1)

    @property
    def rings(self) -> slice:
        """Columns of the rings."""
        return slice(-len(RINGS), -1)

    @property
    def colour(self) -> tuple[Array, Array]:
        """Light and error in the aperture for colours."""
        column = -len(RINGS) - 1
        return self.light[:, column], self.error[:, column]

    @property
    def total(self) -> tuple[Array, Array]:
        """Light and error in the aperture for the total."""
        return self.light[:, -1], self.error[:, -1]


def measure(image: Image, segments: NDArray, sources: Sequence[Shape], radii: Sequence[float], colour: float) -> Sums:
    """Sum the light of sources in apertures; pixels of neighbours and holes are replaced by those opposite.

    Parameters
    ----------
    image : Image
    segments : ndarray of int, shape (ny, nx)
        Labels of sources; 0 is sky.
    sources : sequence of Shape
    radii : sequence of float
        Pixels, of fixed apertures.
    colour : float
        Pixels, radius of the aperture that colours are measured in.
    """
    sums = Sums.none(len(sources), len(radii))
    for i, source in enumerate(sources):
        sums.flags[i], found = _one(image, segments, source, [*radii, colour])
        if found is not None:
            sums.light[i], sums.error[i] = found
    return sums


def _one(
    image: Image, segments: NDArray, source: Shape, radii: Sequence[float]
) -> tuple[int, tuple[Array, Array] | None]:
    """Flags, light and errors of a source."""
    x, y = round(source.x), round(source.y)
    dx, dy = source.x - x, source.y - y
    half = max(source.total.reach, int(np.ceil(max(radii) + 1)))
    circles = [circle(radius).cover(dx, dy, half) for radius in radii]
    inner = [source.total.scaled(part).cover(dx, dy, half) for part in RINGS[1:]]
    covers = np.array([*circles, inner[0], *np.diff(inner, axis=0), inner[-1]])
    part = cut(segments, x, y, half, 0)
    data, weight, photons = (cut(one, x, y, half, 0).astype(float) for one in (image.data, image.weight, image.photons))
    hidden, missing = (part != 0) & (part != source.label), weight <= 0
    light = np.einsum("kyx,yx->k", covers, mended(data, hidden | missing, dx, dy)[0])
    flags = _flags(weight, hidden, covers[len(radii) - 1], covers[-1])
    if flags >> BITS["NO_DATA"] & 1:
        return flags, None
    own = np.einsum("kyx,yx->k", covers, mended(photons, hidden | missing, dx, dy)[0])
    small = np.where(missing, 0, covers[len(radii) - 1])
    depth = float((weight * small).sum() / small.sum())
    sky = image.noise.of(covers.sum(axis=(1, 2)), depth)
    return flags, (light, np.sqrt(sky**2 + np.maximum(own, 0)))


def _flags(weight: Array, hidden: NDArray, small: Array, whole: Array) -> int:
    """Bits of a source in one filter: of the weights and neighbours' pixels around it, and of its apertures."""
    missing, middle = weight <= 0, weight.shape[0] // 2
    near = (whole > 0.5) & (small < 0.5) & ~missing
    core = weight[middle - 1 : middle + 2, middle - 1 : middle + 2].min()
    found = {
        "MISSING": float((whole * missing).sum()) > 0.01 * whole.sum(),
        "EDGE": bool(missing.mean() > AT_EDGE),
        "NEIGHBOUR": float((hidden * whole).sum()) > HIDDEN * whole.sum(),
        "HOLE": bool(near.any()) and core < HOLLOW * float(np.median(weight[near])),
        "NO_DATA": float((small * missing).sum()) > ABSENT * small.sum() or bool(missing[middle, middle]),
    }
    return sum(1 << BITS[name] for name, on in found.items() if on)


@dataclass(frozen=True)
class Totals:
    """What turns light in the aperture for colours into all light, of n sources.

    Attributes
    ----------
    scale, scale_error : ndarray, shape (n,)
        All light over that in the aperture, the same for all filters, and its relative error.
    captured, captured_error : ndarray, shape (n,)
        Part of all light that the aperture for the total holds, and its relative error.
    """

    scale: Array
    scale_error: Array
    captured: Array
    captured_error: Array


def totals(
    sums: Sequence[Sums], sources: Sequence[Shape], points: NDArray[np.bool_], library: Library, colour: float,
    within: float,
) -> Totals:  # fmt: skip
    """Find the totals of sources, from all filters together.

    Filters are added with weights by their noise, which for a source are the same in all of its apertures. Points have
    the total that the image of a star says, unless the aperture for totals has more light than that by `WIDER` errors;
    others that of this aperture, if it has enough light, and else that of the models that the rings allow.

    Parameters
    ----------
    sums : sequence of Sums
        Of filters with the same image of a star.
    sources : sequence of Shape
    points : ndarray of bool, shape (n,)
    library : Library
        Of that image.
    colour : float
        Pixels, radius of the aperture for colours.
    within : float
        Part of a star's light in it.
    """
    rows = np.full((4, len(sources)), np.nan)
    for i, (source, point) in enumerate(zip(sources, points, strict=True)):
        light, error = _together([(one.light[i], one.error[i]) for one in sums])
        if not np.isfinite(light).all():
            continue
        total, spread = light[-1], error[-1]
        small, small_error = light[-len(RINGS) - 1], error[-len(RINGS) - 1]
        rings = light[-len(RINGS) : -1], error[-len(RINGS) : -1]
        captured = library.captured(*rings, source.total.mean_radius)
        scale = excess = np.nan
        if small > 0 and total > SURE * spread:
            scale = total / captured[0] / small
            # noise that both apertures hold is not noise of their ratio
            excess = np.hypot(np.sqrt(max(spread**2 - small_error**2, 0.0)) / total, captured[1])
        if point and not scale * within > 1 + WIDER * excess:
            rows[:, i] = 1 / within, 0.0, *captured
        elif np.isfinite(scale):
            rows[:, i] = scale, excess, *captured
        else:
            rows[:, i] = *library.scale(*rings, source.total.mean_radius, colour), *captured
    return Totals(*rows)


def _together(parts: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Mean light and its error in the apertures of a source, over the filters that have it."""
    known = [(light, error) for light, error in parts if np.isfinite(light).all()]
    if not known:
        return np.full(1, np.nan), np.full(1, np.nan)
    weight = np.array([error[-len(RINGS) - 1] ** -2 for _, error in known])
    weight /= weight.sum()
    light = np.einsum("f,fk->k", weight, np.array([light for light, _ in known]))
    return light, np.sqrt(np.einsum("f,fk->k", weight**2, np.array([error for _, error in known]) ** 2))


def wings(x: Array, y: Array, flux: Array, star: Array, radius: float) -> Array:
    """Light of neighbours, were they stars, in apertures around sources.

    Parameters
    ----------
    x, y, flux : ndarray, shape (n,)
        Pixels, and total fluxes; those that are not finite count nothing.
    star : ndarray, shape (2 h + 1, 2 h + 1)
        Image of a star; what is farther than h counts nothing.
    radius : float
        Pixels, of the apertures.
    """
    from scipy.ndimage import map_coordinates
    from scipy.signal import fftconvolve
    from scipy.spatial import cKDTree

    half, aperture = star.shape[0] // 2, circle(radius)
    inside = fftconvolve(star, aperture.cover(0.0, 0.0, aperture.reach), mode="same")
    result = np.zeros(len(x))
    places = np.column_stack([x, y])
    known = np.flatnonzero(np.isfinite(places).all(axis=1) & np.isfinite(flux) & (flux > 0))
    if known.size < 2:
        return result
    every = np.flatnonzero(np.isfinite(places).all(axis=1))
    pairs = cKDTree(places[every]).query_ball_tree(cKDTree(places[known]), half)
    for i, others in zip(every, pairs, strict=True):
        near = known[others]
        near = near[near != i]
        if near.size:
            off = places[i] - places[near]
            result[i] = flux[near] @ map_coordinates(inside, [off[:, 1] + half, off[:, 0] + half], order=1)
    return result
