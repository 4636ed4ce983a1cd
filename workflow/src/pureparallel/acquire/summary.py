"""What has become of a field's downloads: a row per exposure, from what lies in its folder, finished or not."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import UserError, io
from .transfer import part_of, state_of


@dataclass(frozen=True)
class Row:
    """One exposure.

    Attributes
    ----------
    exposure : str
    state : str
        ``fetched``, ``linked`` (to the shared archive), or ``missing``.
    bytes : int
        Of the file, or of its part.
    seconds : float
        That the transfer took.
    retries : int
    resumed : int
        Bytes that lay there from an earlier transfer.
    reason : str
        Why it is missing.
    """

    exposure: str
    state: str
    bytes: int = 0
    seconds: float = 0.0
    retries: int = 0
    resumed: int = 0
    reason: str = ""


def rows(uncals: Iterable[Path]) -> list[Row]:
    """A row per exposure, whatever has become of it.

    Parameters
    ----------
    uncals : iterable of Path
        Where their files belong.
    """
    return [_row(path) for path in uncals]


def _row(path: Path) -> Row:
    exposure, record = path.name.removesuffix("_uncal.fits"), path.with_suffix(".json")
    if path.is_file() and record.is_file():
        content = io.read_json(record)
        return Row(exposure, **{key: content[key] for key in ("state", "bytes", "seconds", "retries", "resumed")})
    reason, size = "not tried yet", 0
    with contextlib.suppress(UserError, KeyError):
        reason = io.read_json(state_of(path))["reason"]
    with contextlib.suppress(FileNotFoundError):
        size = part_of(path).stat().st_size
    return Row(exposure, "missing", bytes=size, reason=reason)


def lines(found: Sequence[Row]) -> Iterator[str]:
    """The same in words: how many there are, and why which are missing."""
    missing = [row for row in found if row.state == "missing"]
    yield f"{len(found) - len(missing)} of {len(found)} raw exposures are there"
    for row in missing:
        begun = f" ({row.bytes / 1e6:.1f} MB are kept, and continued by the next run)" if row.bytes else ""
        yield f"{row.exposure}: {row.reason}{begun}"
