"""All that the spectra of one source can hold at one redshift: lines, stellar light, and their products.

Whatever is fitted there - mixtures of lines, families of them, or single lines - is a sum of the same lines: their
responses and the products of these with each other and with the data are made once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import slitless
from .slitless import Band
from .templates import Continuum, Mixtures

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """l lines and c continuum templates on all p bins of all spectra of one source.

    Attributes
    ----------
    z : float
    wavelengths : ndarray, shape (l,)
        Rest frame, Å, increasing.
    continuum : Continuum
        Of the first band.
    bands : list of Band
    templates : ndarray, shape (l+c, p)
        Lines of unit flux, then continua; per Å, where there are no data too.
    seen : ndarray, shape (l,)
        Part of each line's light that is on valid bins of the spectrum that has most of it.
    products : ndarray, shape (l+c, l+c)
        Of whitened templates.
    projected : ndarray, shape (l+c,)
        Their products with the data.
    chi2 : float
        Of no template.
    along, data_along : ndarray, shapes (l+c, d) and (d,)
        Components of templates and data along the nuisances.
    """

    z: float
    wavelengths: Array
    continuum: Continuum
    bands: Sequence[Band]
    templates: Array
    seen: Array
    products: Array
    projected: Array
    chi2: float
    along: Array
    data_along: Array

    @property
    def pixels(self) -> int:
        """Valid bins."""
        return sum(int(np.count_nonzero(one.root)) for one in self.bands)

    def mixing(self, mixtures: Mixtures) -> Array:
        """What line templates and all continua are made of: shape (l+c, t+c)."""
        rows = np.searchsorted(self.wavelengths, mixtures.wavelengths)
        count, kinds = mixtures.ratios.shape[1], len(self.templates) - len(self.wavelengths)
        found = np.zeros((len(self.templates), count + kinds))
        np.add.at(found[:, :count], rows, mixtures.ratios)
        found[len(self.wavelengths) :, count:] = np.eye(kinds)
        return found

    def normal(self, mixing: Array) -> tuple[Array, Array]:
        """Normal matrix (t, t) and vector (t,) of templates that are made of lines and continua by `mixing`."""
        return mixing.T @ self.products @ mixing, mixing.T @ self.projected

    def per_band(self, model: Array) -> list[Array]:
        """A model over all bins (p,) as one array (k, n) per band."""
        shapes = [one.root.shape[1:] for one in self.bands]
        cuts = np.cumsum([k * n for k, n in shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(model, cuts), shapes, strict=True)]


def view(bands: Sequence[Band], continuum: Sequence[Continuum], wavelengths: Array, z: float) -> View:
    """Make all lines and continua at redshift `z`.

    Parameters
    ----------
    bands : sequence of Band
        Of one source each.
    continuum : sequence of Continuum
        Smoothed for each band.
    wavelengths : ndarray
        Of lines in the rest frame, Å, in any order, repeated or not.
    z : float
    """
    rest = np.unique(wavelengths)
    observed = rest * (1 + z)
    parts, along, seen = [], [], np.zeros(len(rest))
    for one, light in zip(bands, continuum, strict=True):
        k, n = one.root.shape[1:]
        margin = one.reach * one.step
        near = (observed > one.edges[0] - margin) & (observed < one.edges[-1] + margin)
        lines = slitless.lines(one, observed[near])[0].swapaxes(0, 1)
        valid = np.sum(lines * (one.root[0] > 0), axis=2).max(axis=1, initial=0.0) * one.step
        seen[near] = np.maximum(seen[near], valid)
        stars = light.observed(one.wave, np.array([z]))[0]
        part = np.zeros((len(rest) + len(stars), k, n))
        part[: len(rest)][near] = lines
        part[len(rest) :] = stars[:, None]
        parts.append(part.reshape(len(part), -1))
        along.append((part * one.root[0]).reshape(len(part), -1) @ one.nuisance[0].T)
    templates, components = np.concatenate(parts, axis=1), np.concatenate(along, axis=1)
    whitened = templates * np.concatenate([one.root[0].ravel() for one in bands])
    values, values_along = slitless.data(bands)
    return View(
        z, rest, continuum[0], bands, templates, seen, whitened @ whitened.T - components @ components.T,
        whitened @ values - components @ values_along, float(values @ values - values_along @ values_along),
        components, values_along,
    )  # fmt: skip
