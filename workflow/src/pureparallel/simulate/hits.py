"""Charge that arrives at once: cosmic rays, snowballs, satellites; and jumps of the electronics.

What each does is set by its numbers in `effects`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .effects import PIXEL_PITCH, TRACE, ColumnJumps, CosmicRays, Snowballs, Trail

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Deposits:
    """Charge that arrives at once, one row per pixel and event, ordered by frame.

    Attributes
    ----------
    frame : ndarray of int
        Counted from the reset, from 0: the first read that sees it.
    y, x : ndarray of int
    electrons : ndarray
    """

    frame: NDArray[np.int64]
    y: NDArray[np.int64]
    x: NDArray[np.int64]
    electrons: Array

    @classmethod
    def none(cls) -> "Deposits":
        """Nothing."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, nothing, np.zeros(0))

    @classmethod
    def of(
        cls, frame: ArrayLike, y: ArrayLike, x: ArrayLike, electrons: ArrayLike, shape: tuple[int, int]
    ) -> "Deposits":
        """Sum what falls on the same pixel in the same frame; leave out what falls beside the array."""
        f, iy, ix = (np.asarray(a, np.int64).ravel() for a in (frame, y, x))
        inside = (iy >= 0) & (iy < shape[0]) & (ix >= 0) & (ix < shape[1])
        key = (f[inside] * shape[0] + iy[inside]) * shape[1] + ix[inside]
        key, inverse = np.unique(key, return_inverse=True)
        total = np.bincount(inverse, np.asarray(electrons, float).ravel()[inside], len(key))
        rest, columns = np.divmod(key, shape[1])
        frames, rows = np.divmod(rest, shape[0])
        return cls(frames, rows, columns, total)


def cosmic_rays(
    effect: CosmicRays, shape: tuple[int, int], frames: int, seconds: float, rng: np.random.Generator
) -> Deposits:
    """Hits of an isotropic flux of ions.

    Parameters
    ----------
    effect : CosmicRays
    shape : (int, int)
    frames : int
        Reads of the ramp, `seconds` apart.
    rng : Generator
    """
    from scipy.special import erf

    count = rng.poisson(effect.rate * np.prod(shape) * PIXEL_PITCH**2 * frames * seconds)
    frame = rng.integers(frames, size=count)
    y, x = rng.uniform(-0.5, shape[0] - 0.5, count), rng.uniform(-0.5, shape[1] - 0.5, count)
    # through a plane, the cosine to its normal is distributed as 2 mu
    mu = np.maximum(np.sqrt(rng.random(count)), 0.03)
    angle = rng.uniform(0, 2 * np.pi, count)
    # -2 ln|normal| follows Moyal's distribution, whose median is 0.788
    loss = 1 + effect.straggling * (-2 * np.log(np.abs(rng.standard_normal(count))) - 0.788)
    path = effect.thickness / mu
    electrons = effect.energy_loss * path * np.maximum(loss, 0.1) * 1e3 / effect.charge_energy
    length = np.sqrt(1 - mu**2) * path / (PIXEL_PITCH * 1e4)

    pieces = np.ceil(length / 0.25).astype(int) + 1
    ion = np.repeat(np.arange(count), pieces)
    step = np.arange(len(ion)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    along = length[ion] * (step + 0.5) / pieces[ion]
    py, px = y[ion] + along * np.sin(angle[ion]), x[ion] + along * np.cos(angle[ion])
    iy, ix = np.rint(py).astype(int), np.rint(px).astype(int)
    offsets = np.arange(-2, 3)

    def spread(centre: Array) -> Array:
        edges = (np.arange(-2.5, 3) - centre[:, None]) / (effect.diffusion * np.sqrt(2))
        return np.diff(erf(edges), axis=1) / 2

    share = spread(py - iy)[:, :, None] * spread(px - ix)[:, None, :] * (electrons / pieces)[ion][:, None, None]
    rows = np.broadcast_to((iy[:, None] + offsets)[:, :, None], share.shape)
    columns = np.broadcast_to((ix[:, None] + offsets)[:, None, :], share.shape)
    return Deposits.of(np.broadcast_to(frame[ion][:, None, None], share.shape), rows, columns, share, shape)


def snowballs(
    effect: Snowballs, shape: tuple[int, int], frames: int, seconds: float, rng: np.random.Generator
) -> tuple[Deposits, Deposits]:
    """Cores and halos of large hits; parameters as of `cosmic_rays`."""
    count = rng.poisson(effect.rate * np.prod(shape) * PIXEL_PITCH**2 * frames * seconds)
    low, high = effect.radius
    parts: list[list[Array]] = [[], []]
    for _ in range(count):
        frame, radius = rng.integers(frames), 1 / rng.uniform(1 / high, 1 / low)
        cy, cx = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        flattening, angle = rng.uniform(0.85, 1), rng.uniform(0, np.pi)
        reach = int(radius * (2 + np.log(max(effect.halo / TRACE, 1)))) + 1
        y, x = np.mgrid[int(cy) - reach : int(cy) + reach + 1, int(cx) - reach : int(cx) + reach + 1]
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = ((y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)) / flattening
        distance = np.hypot(u, v) / radius
        charge = np.where(distance < 1, effect.core, effect.halo * np.exp(1 - distance))
        for part, chosen in zip(parts, (distance < 1, (distance >= 1) & (charge >= TRACE)), strict=True):
            part.append(np.stack([np.full(chosen.sum(), frame), y[chosen], x[chosen], charge[chosen]]))
    f, y, x, charge = np.concatenate([np.zeros((4, 0)), *parts[0]], axis=1)
    core = Deposits.of(f, y, x, charge, shape)
    f, y, x, charge = np.concatenate([np.zeros((4, 0)), *parts[1]], axis=1)
    return core, Deposits.of(f, y, x, charge, shape)


def trail(effect: Trail, shape: tuple[int, int], frames: int, rng: np.random.Generator) -> Deposits:
    """A straight line across the array in one frame after the first."""
    frame, angle = rng.integers(1, max(frames, 2)), rng.uniform(0, np.pi)
    cy, cx = (n * rng.uniform(0.3, 0.7) for n in shape)
    y, x = np.ogrid[: shape[0], : shape[1]]
    distance = (x - cx) * np.sin(angle) - (y - cy) * np.cos(angle)
    charge = effect.peak * np.exp(-0.5 * (distance / effect.sigma) ** 2)
    rows, columns = np.nonzero(charge >= TRACE)
    return Deposits.of(np.full(len(rows), frame), rows, columns, charge[rows, columns], shape)


def column_jumps(
    effect: ColumnJumps, shape: tuple[int, int], frames: int, seconds: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Frames, rows and sizes (DN) of offsets that last from that frame to the end."""
    count = rng.poisson(effect.rate * shape[0] * frames * seconds)
    size = rng.uniform(*effect.size, count) * rng.choice([-1, 1], count)
    return rng.integers(1, max(frames, 2), count), rng.integers(shape[0], size=count), size
