"""Whether a raw exposure is whole, and the one that was asked for: its FITS structure, its checksums, its own header.

The structure is walked header by header without holding the data, which may be gigabytes. What no check can find: other
bytes within the data of a file of the right size, where neither the manifest nor the file itself has a checksum.
"""

import hashlib
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .. import names

if TYPE_CHECKING:
    from astropy.io.fits import Header

BLOCK = 2880
CARD = 80
WHOLE = 0xFFFFFFFF
"""The ones' complement sum of an HDU whose CHECKSUM is right."""

LONGEST_HEADER = 4000 * BLOCK

INSTRUMENTS = {"nis": "NIRISS", "nrc": "NIRCAM", "nrs": "NIRSPEC", "mir": "MIRI", "gui": "FGS"}
"""By the first letters of a detector's name."""


class Wrong(Exception):
    """The content is not what was asked for."""


@dataclass(frozen=True)
class Unit:
    """One header-data unit of a file.

    Attributes
    ----------
    header : Header
    size : int
        Bytes of header and data, with their padding.
    has_checksum : bool
        Whether it carries a checksum, which was right.
    """

    header: "Header"
    size: int
    has_checksum: bool


def uncal(path: Path, exposure: str) -> list[Unit]:
    """Check that a file is the raw exposure of a name, whole.

    Parameters
    ----------
    path : Path
    exposure : str

    Returns
    -------
    list of Unit

    Raises
    ------
    Wrong
        If it is not FITS, is truncated, has bytes too many, a wrong checksum, another identity or not all extensions.
    """
    units = structure(path)
    header = units[0].header
    for key, value in identity(exposure).items():
        found = header.get(key)
        if found is None and key in ("FILENAME", "INSTRUME", "DETECTOR"):
            raise Wrong(f"{key} is missing in its header")
        if found is not None and _plain(found) != _plain(value):
            raise Wrong(f"its {key} is {str(found).strip()!r}, expected {value!r}")
    extensions = [unit.header.get("EXTNAME") for unit in units]
    if "SCI" not in extensions or extensions[-1] != "ASDF":  # MAST's files end with their metadata
        raise Wrong("it has not all of its extensions, from SCI to ASDF")
    return units


def identity(exposure: str) -> Mapping[str, str]:
    """What a raw exposure's header says of itself, by its name ``jw<ppppp><ooo><vvv>_<ggsaa>_<eeeee>_<detector>``."""
    parts = re.fullmatch(r"jw(.{5})(.{3})(.{3})_(.{2})(.)(.{2})_(.{5})(?:-seg(.{3}))?_(.+)", exposure)
    assert parts is not None and re.fullmatch(names.EXPOSURE, exposure), exposure
    *numbers, segment, detector = parts.groups()
    keys = ("PROGRAM", "OBSERVTN", "VISIT", "VISITGRP", "SEQ_ID", "ACT_ID", "EXPOSURE")
    return {
        "FILENAME": f"{exposure}_uncal.fits",
        "TELESCOP": "JWST",
        "INSTRUME": INSTRUMENTS.get(detector[:3], "of an unknown detector"),
        "DETECTOR": detector.upper(),
        **dict(zip(keys, numbers, strict=True)),
        **({"EXSEGNUM": segment} if segment else {}),
    }


def _plain(value: object) -> str:
    """As it compares: 1, '1' and '00001' are the same."""
    return str(value).strip().lstrip("0").upper()


def checksum(path: Path, expected: str) -> None:
    """Compare a file with its checksum.

    Parameters
    ----------
    path : Path
    expected : str
        As ``<algorithm>:<hexadecimal digits>``.

    Raises
    ------
    Wrong
        If they differ.
    """
    algorithm, _, digits = expected.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != digits.lower():
        raise Wrong(f"its checksum is {algorithm}:{found}, not {expected}")


def structure(path: Path) -> list[Unit]:
    """All header-data units of a FITS file, whose sizes add up to the file's and whose checksums are right.

    Follows the FITS standard 4.0, sections 3, 4.4.1 and 4.4.2.7.

    Raises
    ------
    Wrong
        If not.
    """
    with path.open("rb") as file:
        return list(_units(file, path.stat().st_size))


def _units(file: BinaryIO, size: int) -> Iterator[Unit]:
    end = 0
    while end < size or not end:
        start = end
        text = _header(file, first=start == 0)
        header = _parsed(text)
        length = -(-_data_size(header) // BLOCK) * BLOCK
        end = start + len(text) + length
        if end > size:
            raise Wrong(f"it is truncated: {size} bytes, its headers tell of {end} or more")
        yield Unit(header, end - start, _sums(file, text, header, length))


def _header(file: BinaryIO, *, first: bool) -> bytes:
    """The blocks of the header that begins here."""
    text = b""
    while len(text) < LONGEST_HEADER:
        block = file.read(BLOCK)
        if not text and not block.startswith(b"SIMPLE  =                    T" if first else b"XTENSION= '"):
            looks = "an HTML page" if block.lstrip()[:1] == b"<" else f"{block[:16]!r}"
            raise Wrong(f"not a FITS file: it begins with {looks}" if first else "bytes follow its last HDU")
        if len(block) < BLOCK:
            raise Wrong("it is truncated in a header")
        text += block
        if re.search(rb"[^ -~]", block):
            raise Wrong("a header of it holds bytes that are no text")
        if any(block[i : i + CARD].rstrip() == b"END" for i in range(0, BLOCK, CARD)):
            return text
    raise Wrong("a header of it has no end")


def _parsed(text: bytes) -> "Header":
    """A header, with its structural keywords checked."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities that do no harm
        try:
            header = fits.Header.fromstring(text)
            shape = [header[f"NAXIS{i}"] for i in range(1, header["NAXIS"] + 1)]
            sizes = [*shape, header.get("PCOUNT", 0), header.get("GCOUNT", 1)]
            if header["BITPIX"] not in (8, 16, 32, 64, -32, -64) or not all(
                type(size) is int and size >= 0 for size in sizes
            ):
                raise Wrong("a header of it has sizes that no data have")
        except (KeyError, ValueError, TypeError, fits.VerifyError) as error:
            raise Wrong(f"a header of it cannot be read ({error})") from error
    return header


def _data_size(header: "Header") -> int:
    """Bytes of an HDU's data, without padding (FITS standard 4.0, equation 2)."""
    shape = [header[f"NAXIS{i}"] for i in range(1, header["NAXIS"] + 1)]
    if not shape:
        return 0
    return abs(header["BITPIX"]) // 8 * header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + math.prod(shape))


def _sums(file: BinaryIO, text: bytes, header: "Header", length: int) -> bool:
    """Read over an HDU's data; whether it has checksums, which are right."""
    whole, data = str(header.get("CHECKSUM", "")).strip(), str(header.get("DATASUM", "")).strip()
    if not whole and not data:
        file.seek(length, 1)
        return False
    total = 0
    for size in (*[1000 * BLOCK] * (length // (1000 * BLOCK)), length % (1000 * BLOCK)):
        total = ones_complement(file.read(size), total)
    if data and (not data.isdigit() or int(data) != total):
        raise Wrong(f"a DATASUM of it is {data}, its data give {total}")
    if whole and ones_complement(text, total) != WHOLE:
        raise Wrong("a CHECKSUM of it does not agree with its content")
    return True


def ones_complement(block: bytes, total: int = 0) -> int:
    """Add a block of whole 4-byte words to a 32-bit ones' complement sum (FITS standard 4.0, appendix J)."""
    total += int(np.frombuffer(block, dtype=">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & WHOLE) + (total >> 32)
    return total
