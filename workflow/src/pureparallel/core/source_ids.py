"""Numbers of sources that stay theirs: a register of all that were ever seen, matched by position.

Numbers are given once. A source that is seen again keeps its own, one that is not seen any more keeps it too, and a new
one gets the next that nobody has had. In which order sources come does not matter.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Register:
    """All sources that a field has ever had, by ascending number.

    Attributes
    ----------
    id : ndarray of int, shape (n,)
    ra, dec : ndarray, shape (n,)
        Degrees: where a source was last seen.
    first, last : ndarray of str, shape (n,)
        Names of the runs that saw it first and last.
    """

    id: Numbers
    ra: Array
    dec: Array
    first: NDArray[np.str_]
    last: NDArray[np.str_]

    @classmethod
    def empty(cls) -> "Register":
        """No source yet."""
        none, text = np.empty(0), np.empty(0, "U16")
        return cls(np.empty(0, np.int64), none, none, text, text)


def unit_vectors(ra: Array, dec: Array) -> Array:
    """Directions of positions in degrees, shape (n, 3)."""
    a, d = np.deg2rad(np.asarray(ra, float)), np.deg2rad(np.asarray(dec, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)


def match(one: tuple[Array, Array], other: tuple[Array, Array], radius: float) -> Numbers:
    """Index of the other position that each one has as its mutual nearest; -1 without one.

    Parameters
    ----------
    one, other : (ndarray, ndarray)
        RA and Dec, degrees; shapes (n,) and (m,).
    radius : float
        Arcsec.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    from scipy.spatial import cKDTree

    found = np.full(len(one[0]), -1)
    if not len(one[0]) or not len(other[0]):
        return found
    here, there = unit_vectors(*one), unit_vectors(*other)
    distance, nearest = cKDTree(there).query(here)
    _, back = cKDTree(here).query(there)
    chord = 2 * np.sin(np.deg2rad(radius / 3600) / 2)
    mutual = (back[nearest] == np.arange(len(here))) & (distance <= chord)
    found[mutual] = nearest[mutual]
    return found


def update(
    register: Register, ra: Array, dec: Array, brightness: Array, radius: float, run: str
) -> tuple[Numbers, Register]:
    """Number the sources of a run.

    Parameters
    ----------
    register : Register
    ra, dec : ndarray, shape (n,)
        Degrees.
    brightness : ndarray, shape (n,)
        New sources are numbered from bright to faint.
    radius : float
        Arcsec within which a source is the one that was seen before.
    run : str
        Name of the run.

    Returns
    -------
    ndarray of int, shape (n,)
        Numbers.
    Register
    """
    before = match((ra, dec), (register.ra, register.dec), radius)
    new = np.flatnonzero(before < 0)
    new = new[np.lexsort((dec[new], ra[new], -brightness[new]))]
    ids = np.where(before >= 0, register.id[before] if len(register.id) else 0, 0)
    ids[new] = int(register.id.max(initial=0)) + 1 + np.arange(len(new))
    seen = np.flatnonzero(before >= 0)
    at = before[seen]
    places = {"ra": register.ra.copy(), "dec": register.dec.copy(), "last": register.last.astype("U16")}
    places["ra"][at], places["dec"][at], places["last"][at] = ra[seen], dec[seen], run
    name = np.full(len(new), run, "U16")
    return ids, Register(
        np.concatenate([register.id, ids[new]]),
        np.concatenate([places["ra"], ra[new]]),
        np.concatenate([places["dec"], dec[new]]),
        np.concatenate([register.first.astype("U16"), name]),
        np.concatenate([places["last"], name]),
    )
