"""Masks of artifacts: one bit per cause, and what a bit means to the calibration pipeline.

A mask is a file of its own. Later steps choose by cause what they leave out, and merge that into the data quality
that the pipeline knows: every chosen pixel becomes DO_NOT_USE, and the flag nearest to its cause says why.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError

if TYPE_CHECKING:
    from ..provenance import Lineage

Mask = NDArray[np.bool_]
Bits = NDArray[np.uint16]

CAUSES = {
    "SNOWBALL": "large hit, core and halo",
    "PERSISTENCE": "afterglow of an earlier exposure",
    "TRAIL": "satellite",
    "SATURATED": "core of a saturated source",
    "SPIKE": "diffraction spike",
    "GHOST": "optical ghost of a bright source",
    "WISP": "region that the user calls wisp",
    "CLAW": "region that the user calls claw",
    "USER": "any other region of the user",
}
"""Causes in the order of their bits, from 0. New ones go to the end: files keep their meaning."""

BITS = {name: bit for bit, name in enumerate(CAUSES)}

DO_NOT_USE = 1

PIPELINE_FLAGS = {
    "SNOWBALL": 4,  # JUMP_DET
    "PERSISTENCE": 32,  # PERSISTENCE
    "TRAIL": 16,  # OUTLIER
    "SATURATED": 2,  # SATURATED
    "SPIKE": 16,
    "GHOST": 16,
    "WISP": 16,
    "CLAW": 16,
    "USER": 16,
}
"""Values in a JWST DQ array (jwst documentation, data quality flags) that come nearest to each cause."""


def combine(maps: Mapping[str, Mask]) -> Bits:
    """One image of bits, of the shape of all maps, by cause."""
    unknown = set(maps) - set(BITS)
    if unknown:
        raise ValueError(f"no such cause: {', '.join(sorted(unknown))}; there are {', '.join(BITS)}")
    bits = np.zeros(next(iter(maps.values())).shape, np.uint16)
    for name, covered in maps.items():
        bits |= covered.astype(np.uint16) << BITS[name]
    return bits


def chosen(bits: NDArray, causes: Iterable[str], names: Mapping[str, int] = BITS) -> Mask:
    """Pixels that any of some causes covers."""
    value = 0
    for cause in causes:
        if cause not in names:
            raise ValueError(f"no such cause: {cause}; there are {', '.join(names)}")
        value |= 1 << names[cause]
    return (bits & value) != 0


def area(bits: NDArray, names: Mapping[str, int] = BITS) -> dict[str, float]:
    """Fraction of pixels that each cause covers."""
    return {name: float(np.mean((bits >> bit) & 1)) for name, bit in names.items()}


def merge(
    dq: NDArray[np.uint32], bits: NDArray, causes: Iterable[str] = tuple(CAUSES), names: Mapping[str, int] = BITS
) -> NDArray[np.uint32]:
    """A JWST data quality array in which the pixels of some causes are not to be used.

    Parameters
    ----------
    dq : ndarray of uint32, shape (ny, nx)
        Is left as it is.
    bits : ndarray, shape (ny, nx)
    causes : iterable of str
    names : mapping of str to int
        Bit of each cause, as `read_mask` gives it.
    """
    if dq.shape != bits.shape:
        raise ValueError(f"a mask of shape {bits.shape} for data quality of shape {dq.shape}")
    merged = dq.copy()
    for cause in causes:
        covered = chosen(bits, [cause], names)
        merged[covered] |= np.uint32(DO_NOT_USE | PIPELINE_FLAGS[cause])
    return merged


def write_mask(path: Path, bits: Bits, cards: Mapping[str, Any], lineage: "Lineage") -> None:
    """Write a mask: the primary header names its bits, extension MASK holds them.

    Parameters
    ----------
    path : Path
        ``{exp}_mask.fits``.
    bits : ndarray of uint16, shape (ny, nx)
    cards : mapping
        More keywords of the primary header.
    lineage : Lineage
    """
    from astropy.io import fits

    from ..io import write_fits

    primary = fits.PrimaryHDU()
    for name, bit in BITS.items():
        primary.header[f"BIT{bit}"] = (name, CAUSES[name])
    primary.header.update(cards)
    write_fits(path, fits.HDUList([primary, fits.ImageHDU(bits, name="MASK")]), lineage)


def read_mask(path: Path) -> tuple[Bits, dict[str, int]]:
    """Read a mask and the bit of each cause.

    Raises
    ------
    UserError
        If the file is not a whole mask.
    """
    from ..io import open_fits

    hdus = open_fits(path, extensions=("MASK",))
    header = hdus[0].header
    names = {str(header[key]): int(key[3:]) for key in header if key.startswith("BIT") and key[3:].isdigit()}
    bits = np.asarray(hdus["MASK"].data)
    if not names:
        raise UserError(f"{path}: no keyword BIT0, BIT1, ... names the bits; make the mask again by mask_artifacts")
    if bits.size and int(bits.max()) >> (max(names.values()) + 1):
        raise UserError(f"{path}: bits are set that no keyword names; make the mask again by mask_artifacts")
    return bits.astype(np.uint16), names
