"""Normal equations of all templates over a whole grid of redshifts, from one matrix of products per source and band.

The grid has equal steps in ln(1+z): a line of any rest wavelength moves along one list of responses at observed
wavelengths in equal logarithmic steps, and what continuum templates look like in a band at any redshift is a sum of a
few basis spectra. The products of these vectors with each other and with the data are made once per source; the
redshifts of the grid only pick from them. Single precision is enough to find the minima of chi2, and faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .nnls import nnls
from .slitless import FINE, REACH, Band
from .templates import Continuum, Mixtures

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Index = NDArray[np.int64]

PER_STEP = 2
"""Responses per step of the grid: lines are misplaced by a quarter of a step at most."""

BLOCK = 96
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
    pairs : ndarray of int, shape (b, q)
        Place in that matrix, flattened, of the products of all lines with each other, each pair once.
    mixing : ndarray, shape (q, p)
        What each of them adds to the products of line templates with each other, each pair once.
    """

    lines: Index
    rows: Index
    pairs: Index
    mixing: Floats


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
    basis: Floats
    shape: Floats


@dataclass(frozen=True)
class Grid:
    """What is the same for all sources: redshifts in equal steps of ln(1+z), line templates, and bands."""

    z: Array
    mixtures: Mixtures
    tracks: tuple[Track, ...]

    @property
    def ratios(self) -> Floats:
        """Of the line templates."""
        return self.mixtures.ratios.astype(np.float32)

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
    margin = band.reach * band.step
    start = float(np.log(band.edges[0] - margin))
    count = int((np.log(band.edges[-1] + margin) - start) / step) + 1
    wavelength = np.exp(start + step * np.arange(count))
    place = np.rint(((band.edges - wavelength[:, None]) / band.step + REACH) * FINE).astype(int)
    basis = _basis(continuum.observed(band.wave, z[:: max(1, len(z) // 750)]))
    shape = np.concatenate([continuum.observed(band.wave, z[part]) @ basis.T for part in _blocks(len(z))])
    first = np.rint((np.log(mixtures.wavelengths * (1 + z[0])) - start) / step).astype(int)
    size = 1 + count + len(basis) + 1  # of the matrix of products
    blocks = []
    for part in _blocks(len(z)):
        rows = first + PER_STEP * np.arange(part.start, part.stop)[:, None]
        inside = (rows >= 0) & (rows < count)
        lines = np.flatnonzero(inside.any(axis=0))
        rows = np.where(inside, rows + 1, 0)[:, lines]
        one, other = np.triu_indices(len(lines))
        blocks.append(Block(lines, rows, rows[:, one] * size + rows[:, other], _mixing(mixtures.ratios[lines])))
    place = np.clip(place, 0, band.light.shape[-1] - 1)
    return Track(place, tuple(blocks), basis.astype(np.float32), shape.astype(np.float32))


def _mixing(ratios: Array) -> Floats:
    """From products of lines (pairs) to those of templates (pairs) that hold them in `ratios` (l, t)."""
    one, other = np.triu_indices(len(ratios))
    left, right = np.triu_indices(ratios.shape[1])
    mixed = ratios[one][:, left] * ratios[other][:, right]
    mixed += np.where(one == other, 0.0, 1.0)[:, None] * ratios[other][:, left] * ratios[one][:, right]
    return mixed.astype(np.float32)


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
    return nnls(*normal_equations(products, shared), tolerance=TOLERANCE)[1]


def normal_equations(products: Sequence[Floats], shared: Grid) -> tuple[Floats, Floats]:
    """Normal equations of all templates for one source.

    Parameters
    ----------
    products : sequence of ndarray
        One per band.
    shared : Grid

    Returns
    -------
    normal : ndarray, shape (z, t, t)
        Lines first, then continuum.
    projected : ndarray, shape (z, t)
    """
    size = shared.mixtures.ratios.shape[1] + shared.tracks[0].shape.shape[1]
    normal, projected = (np.zeros((len(shared.z), size, size)[:n], np.float32) for n in (3, 2))
    for i, part in enumerate(shared.blocks):  # in blocks that stay in the processor's cache
        _assemble(products, shared, i, normal[part], projected[part])
    return normal, projected


def _assemble(products: Sequence[Floats], shared: Grid, index: int, normal: Floats, projected: Floats) -> None:
    """Add the products of one block of redshifts to what is zero."""
    count, size = shared.mixtures.ratios.shape[1], len(normal)
    left, right = np.triu_indices(count)
    pairs = np.zeros((size, len(left)), np.float32)
    for matrix, track in zip(products, shared.tracks, strict=True):
        shape, block = track.shape[shared.blocks[index]], track.blocks[index]
        rank = shape.shape[2]
        smooth = matrix[-rank - 1 :]  # and data
        # few large products are faster than many small ones
        single = smooth.take(block.rows.ravel(), axis=1).reshape((rank + 1) * size, len(block.lines))
        lines = (single @ shared.ratios[block.lines]).reshape(rank + 1, size, count)
        along = np.empty((*projected.shape, rank), np.float32)
        along[:, :count] = lines[:rank].transpose(1, 2, 0)
        along[:, count:] = (shape.reshape(-1, rank) @ smooth[:rank, -rank - 1 : -1]).reshape(shape.shape)
        normal[:, :, count:] += along @ shape.swapaxes(1, 2)
        projected[:, :count] += lines[rank]
        projected[:, count:] += shape @ smooth[:rank, -1]
        pairs += matrix.take(block.pairs) @ block.mixing
    normal[:, count:, :count] = normal[:, :count, count:].swapaxes(1, 2)
    normal[:, left, right] = normal[:, right, left] = pairs


def _products(band: Band, track: Track, source: int) -> Floats:
    """Products of a source's vectors in one band: a row of zeros, responses, continuum basis, data."""
    root = band.root[source, :, None].astype(np.float32)
    lines = np.diff(band.light[source].astype(np.float32).take(track.place, axis=1), axis=-1)
    lines *= root / band.step
    data = band.data[source, :, None].astype(np.float32)
    vectors = np.concatenate([np.zeros_like(root), lines, track.basis * root, data], axis=1)
    vectors = vectors.swapaxes(0, 1).reshape(vectors.shape[1], -1)
    along = vectors @ band.nuisance[source].T.astype(np.float32)
    return np.asarray(vectors @ vectors.T - along @ along.T, np.float32)
