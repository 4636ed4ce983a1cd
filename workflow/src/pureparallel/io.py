"""Files: the only place that writes products, and the checks that every input passes.

Writes are atomic: a temporary name in the target's folder, flushed to disk, then renamed. A killed job leaves
nothing that looks finished.
"""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import UserError, guard
from .names import sidecar
from .provenance import Lineage, sha256

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU, HDUList
    from matplotlib.figure import Figure


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on failure it is gone.

    Yields
    ------
    Path
        To be written by the caller, as a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)  # mkstemp makes files private; products belong to the survey's group
        with part.open("rb") as file:
            os.fsync(file.fileno())
        guard.check()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that becomes `path` on success.

    An older `path` is replaced whole, so that nothing of an earlier run stays behind in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.part"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield part
        part.chmod(0o755)
        guard.check()
        if path.exists():
            old = part.with_suffix(".old")
            path.rename(old)
            part.rename(path)
            shutil.rmtree(old)
        else:
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN becomes ``null``, numpy's numbers become plain ones."""
    write_text(path, json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, refusing what is not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except ValueError as error:
        raise UserError(f"{path}: not complete JSON ({error}); make it again") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return str(value) if isinstance(value, Path) else value


def write_fits(path: Path, hdus: "HDUList", lineage: Lineage) -> None:
    """Write a FITS product with checksums, its lineage in the primary header and in a sidecar beside it.

    Parameters
    ----------
    path : Path
    hdus : HDUList
        Its primary header receives the lineage.
    lineage : Lineage
    """
    lineage.to_header(hdus[0].header)
    with atomic(path) as part:
        hdus.writeto(part, overwrite=True, checksum=True)
        write_json(sidecar(path), lineage.to_dict(product=path.name, digest=sha256(part)))


def write_figure(path: Path, figure: "Figure", *, dpi: int = 100) -> None:
    """Write a figure atomically, in the format that its name says: png for lines, jpg for pictures full of noise."""
    compressed = {"quality": 80, "optimize": True} if path.suffix == ".jpg" else {"compress_level": 3}
    with atomic(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=dpi, pil_kwargs=compressed)


def table_hdu(
    rows: Iterable[Mapping[str, Any]], name: str, columns: Mapping[str, tuple[str | None, str]]
) -> "BinTableHDU":
    """A FITS table of rows, with the unit and the description (TCOMM) of every column.

    Parameters
    ----------
    rows : iterable of mapping
        Or an astropy Table without units.
    name : str
        EXTNAME.
    columns : mapping of str to (unit or None, description)
        In their order. Units as the FITS standard has them: adu and not DN.
    """
    from astropy.io import fits
    from astropy.table import Table

    table = rows if isinstance(rows, Table) else Table(rows=list(rows), names=list(columns))
    hdu = fits.table_to_hdu(table)
    hdu.name = name
    for i, (unit, description) in enumerate(columns.values(), start=1):
        if unit:
            hdu.header[f"TUNIT{i}"] = unit
        hdu.header[f"TCOMM{i}"] = description
    return hdu


def open_fits(path: Path, *, instrument: str | None = None, extensions: tuple[str, ...] = ()) -> "HDUList":
    """Read a whole FITS file into memory, refusing what is not complete.

    Parameters
    ----------
    path : Path
    instrument : str, optional
        The ``INSTRUME`` it must carry.
    extensions : tuple of str
        Names of extensions it must hold.

    Raises
    ------
    UserError
        If the file is missing, truncated, corrupt (checksums), of another instrument or lacks an extension.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            with fits.open(file, memmap=False, lazy_load_hdus=False, checksum=True) as opened:
                hdus = fits.HDUList([hdu.copy() for hdu in opened])
    except (OSError, AstropyUserWarning, ValueError, TypeError) as error:
        raise UserError(f"{path}: not a complete FITS file ({error}); fetch or make it again") from error
    found = hdus[0].header.get("INSTRUME")
    if instrument is not None and found != instrument:
        raise UserError(f"{path}: INSTRUME is {found!r}, expected {instrument!r}")
    missing = [name for name in extensions if name not in hdus]
    if missing:
        raise UserError(f"{path}: extension {', '.join(missing)} is missing")
    return hdus
