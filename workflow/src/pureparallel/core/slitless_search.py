"""Normal equations of all templates over a whole grid of redshifts, from one matrix of products per source and band.

The grid has equal steps in ln(1+z): a line of any rest wavelength moves along one list of responses at observed
wavelengths in equal logarithmic steps, and what continuum templates look like in a band at any redshift is a sum of a
few basis spectra. The products of these vectors with each other and with the data are made once per source; the
redshifts of the grid only pick from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .nnls import nnls
from .slitless import FINE, REACH, Band
from .templates import Continuum, Mixtures

Array = NDArray[np.float64]
Index = NDArray[np.int64]

PER_STEP = 2
"""Responses per step of the grid: lines are misplaced by a quarter of a step at most."""

BLOCK = 128
"""Redshifts treated together."""

TOLERANCE = 0.02
"""Gain in chi2 below which a template is left out of the search."""

ACCURACY = 1e-2
"""Largest error of a continuum template on its basis, as a fraction of its norm in the band."""


@dataclass(frozen=True)
class Block:
    """Which lines are in a band over some redshifts, and where.

    Attributes
    ----------
    lines : ndarray of int, shape (l,)
    rows : ndarray of int, shape (b, l)
        Row of each line's response in the matrix of products; 0, a row of zeros, where it is outside.
    """

    lines: Index
    rows: Index


@dataclass(frozen=True)
class Track:
    """What is the same for all sources in one band of n bins.

    Attributes
    ----------
    place : ndarray of int, shape (u, n+1)
        Index into a source's cumulative light, of each bin's edges seen from each response's wavelength.
    blocks : tuple of Block
        For every `BLOCK` redshifts of the grid.
    basis : ndarray, shape (r, n)
        Of continuum spectra.
    shape : ndarray, shape (z, c, r)
        Continuum templates on that basis.
    """

    place: Index
    blocks: tuple[Block, ...]
    basis: Array
    shape: Array


@dataclass(frozen=True)
class Grid:
    """What is the same for all sources: redshifts in equal steps of ln(1+z), line templates, and bands."""

    z: Array
    mixtures: Mixtures
    tracks: tuple[Track, ...]

    @property
    def blocks(self) -> list[slice]:
        """`BLOCK` redshifts each."""
        return _blocks(len(self.z))


def _blocks(count: int) -> list[slice]:
    return [slice(low, min(low + BLOCK, count)) for low in range(0, count, BLOCK)]


def grid(bands: Sequence[Band], mixtures: Mixtures, continuum: Sequence[Continuum], z: Array) -> Grid:
    """Precompute what does not depend on the source.

    Parameters
    ----------
    bands : sequence of Band
        Of all sources.
    mixtures : Mixtures
    continuum : sequence of Continuum
        Smoothed for each band.
    z : ndarray, shape (z,)
        In equal steps of ln(1+z).
    """
    tracks = [_track(one, mixtures, light, z) for one, light in zip(bands, continuum, strict=True)]
    return Grid(z, mixtures, tuple(tracks))


def _track(band: Band, mixtures: Mixtures, continuum: Continuum, z: Array) -> Track:
    step = float(np.log((1 + z[-1]) / (1 + z[0]))) / (len(z) - 1) / PER_STEP
    margin = band.reach() * band.step
    start = float(np.log(band.edges[0] - margin))
    count = int((np.log(band.edges[-1] + margin) - start) / step) + 1
    wavelength = np.exp(start + step * np.arange(count))
    place = np.rint(((band.edges - wavelength[:, None]) / band.step + REACH) * FINE).astype(int)
    first = np.rint((np.log(mixtures.wavelengths * (1 + z[0])) - start) / step).astype(int)
    blocks = []
    for part in _blocks(len(z)):
        rows = first + PER_STEP * np.arange(part.start, part.stop)[:, None]
        inside = (rows >= 0) & (rows < count)
        lines = np.flatnonzero(inside.any(axis=0))
        blocks.append(Block(lines, np.where(inside, rows + 1, 0)[:, lines]))
    basis = _basis(continuum.observed(band.wave, z[:: max(1, len(z) // 750)]))
    shape = np.concatenate([continuum.observed(band.wave, z[part]) @ basis.T for part in _blocks(len(z))])
    return Track(np.clip(place, 0, band.light.shape[-1] - 1), tuple(blocks), basis, shape)


def _basis(spectra: Array) -> Array:
    """Fewest orthonormal spectra (r, n) of which all `spectra` (..., n) are sums, within `ACCURACY`."""
    flat = spectra.reshape(-1, spectra.shape[-1])
    norm = np.linalg.norm(flat, axis=1)
    flat = flat[norm > 1e-6 * norm.max()] / norm[norm > 1e-6 * norm.max(), None]
    _, vectors = np.linalg.eigh(flat.T @ flat)
    vectors = vectors[:, ::-1].T
    missing = 1 - np.cumsum((flat @ vectors.T) ** 2, axis=1).min(axis=0)
    return vectors[: int(np.argmax(missing < ACCURACY**2)) + 1]


def search(bands: Sequence[Band], shared: Grid, source: int) -> Array:
    """By how much non-negative templates lower chi2 from that of nothing, shape (z,), for one source.

    Parameters
    ----------
    bands : sequence of Band
    shared : Grid
    source : int
    """
    products = [_products(band, track, source) for band, track in zip(bands, shared.tracks, strict=True)]
    gain = np.empty(len(shared.z))
    for i, block in enumerate(shared.blocks):  # in blocks that stay in the processor's cache
        gain[block] = nnls(*normal_equations(products, shared, i), tolerance=TOLERANCE)[1]
    return gain


def normal_equations(products: Sequence[Array], shared: Grid, index: int) -> tuple[Array, Array]:
    """Normal equations of all templates for one source.

    Parameters
    ----------
    products : sequence of ndarray
        One per band.
    shared : Grid
    index : int
        Which block of redshifts.

    Returns
    -------
    normal : ndarray, shape (b, t, t)
        Lines first, then continuum.
    projected : ndarray, shape (b, t)
    """
    part = shared.blocks[index]
    count, kinds = shared.mixtures.ratios.shape[1], shared.tracks[0].shape.shape[1]
    normal = np.zeros((part.stop - part.start, count + kinds, count + kinds))
    projected = np.zeros(normal.shape[:2])
    for matrix, track in zip(products, shared.tracks, strict=True):
        shape, block = track.shape[part], track.blocks[index]
        smooth, data = slice(-len(track.basis) - 1, -1), matrix[:, -1]
        flat = shape.reshape(-1, shape.shape[2])  # one large product is faster than many small ones
        normal[:, count:, count:] += (flat @ matrix[smooth, smooth]).reshape(shape.shape) @ shape.swapaxes(1, 2)
        projected[:, count:] += shape @ data[smooth]
        if not len(block.lines):
            continue
        ratios = shared.mixtures.ratios[block.lines]
        pairs = matrix.take(block.rows[:, :, None] * len(matrix) + block.rows[:, None, :])
        half = (pairs.reshape(-1, len(ratios)) @ ratios).reshape(*pairs.shape[:2], -1)
        normal[:, :count, :count] += ratios.T @ half
        normal[:, :count, count:] += ratios.T @ (matrix[:, smooth][block.rows] @ shape.swapaxes(1, 2))
        projected[:, :count] += data[block.rows] @ ratios
    normal[:, count:, :count] = normal[:, :count, count:].swapaxes(1, 2)
    return normal, projected


def _products(band: Band, track: Track, source: int) -> Array:
    """Products of a source's vectors in one band: a row of zeros, responses, continuum basis, data."""
    root = band.root[source, :, None]
    lines = np.diff(band.light[source].take(track.place, axis=1), axis=-1)
    lines *= root / band.step
    vectors = np.concatenate([np.zeros_like(root), lines, track.basis * root, band.data[source, :, None]], axis=1)
    vectors = vectors.swapaxes(0, 1).reshape(vectors.shape[1], -1)
    along = vectors @ band.nuisance[source].T
    return np.asarray(vectors @ vectors.T - along @ along.T)
