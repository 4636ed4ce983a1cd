"""Manifests as the archive fills them: a row per raw file, and what has changed since the last time.

Rows are sorted by start. Columns that the archive does not fill are the user's own, and stay.
"""

import csv
import io as text_io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import config, io, names, schemas
from .footprints import number

COLUMNS = (
    *("exposure", "instrument", "mode", "filter", "pupil", "grism", "readpatt", "ngroups", "exptime", "start"),
    *("program", "visit", "kind", "guide_star", "footprint", "size", "checksum", "access", "released", "uri"),
)
"""Columns that the archive fills, in the order in which they are written."""

Row = Mapping[str, str]


def row_of(dataset: Mapping[str, Any], product: Mapping[str, Any], mode: str, footprint: str) -> dict[str, str]:
    """A row of the manifest from the archive's record of an exposure and of its raw file.

    Parameters
    ----------
    dataset, product : mapping
        Of `mast.datasets` and `mast.raw_files`.
    mode : str
        Of the manifest.
    footprint : str
        Of `footprints.region`.

    Returns
    -------
    dict
        Columns that the archive leaves open are empty; `faults` tells what is wrong with it.
    """
    exposure = str(product.get("filename") or "").removesuffix("_uncal.fits")
    wheel, pupil = (str(dataset.get(key) or "").strip().upper() for key in ("filter", "pupil"))
    grism = wheel if wheel.startswith("GR150") else ""
    return {
        "exposure": exposure,
        "instrument": str(dataset.get("instrume") or "").strip().upper(),
        "mode": mode,
        "filter": pupil if wheel in ("CLEAR", "") or grism else wheel,  # NIRISS's long-wave filters sit in the wheel
        "pupil": pupil,
        "grism": grism,
        "readpatt": str(dataset.get("readpatt") or "").strip().upper(),
        "ngroups": _whole(dataset.get("ngroups")),
        "exptime": _seconds(dataset.get("effexptm"), dataset.get("duration")),
        "start": start_of(dataset),
        "program": str(int(exposure[2:7])) if re.fullmatch(names.EXPOSURE, exposure) else "",
        "visit": exposure[7:13],
        "kind": KINDS.get(str(dataset.get("expripar") or "").strip().upper(), ""),
        "guide_star": str(dataset.get("gdstarid") or "").strip().upper(),
        "footprint": footprint,
        "size": _whole(product.get("size")),
        "checksum": _checksum(product.get("checksum")),
        "access": "public" if str(product.get("access") or "").upper() == "PUBLIC" else "exclusive",
        "released": _date(dataset.get("publicReleaseDate")),
        "uri": str(product.get("uri") or ""),
    }


KINDS = {"PRIME": "prime", "PARALLEL_COORDINATED": "coordinated_parallel", "PARALLEL_PURE": "pure_parallel"}
"""Values of EXPRIPAR, and of the manifest's kind."""


def start_of(dataset: Mapping[str, Any]) -> str:
    """UTC of an exposure's start to the second, as the manifest has it; empty where the archive does not say."""
    for key in ("date_beg", "date_obs"):
        given = str(dataset.get(key) or "")
        if re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", given):
            return given[:19].replace(" ", "T")
    mjd = number(dataset.get("expstart"))
    if not math.isfinite(mjd) or mjd < 50000:
        return ""
    return datetime.fromtimestamp(round((mjd - 40587) * 86400, 3), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def faults(row: Row) -> str:
    """What keeps a row out of a manifest, in words; empty where nothing does."""
    needed = ("exposure", "mode", "uri", *config.NEEDED[row["mode"]])
    missing = [column for column in needed if not row[column]]
    wrong = [f"{key} {row[key]!r}" for key in COLUMNS if row[key] and not config.is_valid(key, row[key])]
    parts = [
        "no " + ", ".join(missing) if missing else "",
        ", ".join(wrong) + " not as the manifest allows" if wrong else "",
    ]
    return "; ".join(filter(None, parts))


def _whole(value: Any) -> str:
    found = number(value)
    return str(int(found)) if math.isfinite(found) and found > 0 else ""


def _seconds(*values: Any) -> str:
    found = [one for one in map(number, values) if math.isfinite(one) and one >= 0]
    return f"{found[0]:.3f}".rstrip("0").rstrip(".") if found else ""


def _date(value: Any) -> str:
    match = re.match(r"\d{4}-\d\d-\d\d", str(value or ""))
    return match[0] if match else ""


def _checksum(value: Any) -> str:
    """A checksum with its kind, told by its length; empty where it is none."""
    digits = str(value or "").strip().lower().rpartition(":")[2]
    kind = {32: "md5", 40: "sha1", 64: "sha256"}.get(len(digits))
    return f"{kind}:{digits}" if kind and re.fullmatch("[0-9a-f]+", digits) else ""


@dataclass(frozen=True)
class Changes:
    """What differs between a manifest and what there is now: names of exposures, and columns of what changed."""

    new: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)


def update(old: Sequence[Row], now: Iterable[Row], gone: Iterable[str]) -> tuple[list[dict[str, str]], Changes]:
    """A manifest brought up to date; what is new to it is its next batch.

    Parameters
    ----------
    old : sequence of mapping
        Rows of the manifest as it stands.
    now : iterable of mapping
        Rows as the archive gives them, of exposures that belong to the field; in any order.
    gone : iterable of str
        Exposures that the archive no longer has.

    Returns
    -------
    list of dict
    Changes
    """
    found = {row["exposure"]: row for row in now}
    leave = set(gone) - set(found)
    rows, changed = [], {}
    for row in old:
        if row["exposure"] in leave:
            continue
        mine = found.pop(row["exposure"], row)
        differs = tuple(key for key in COLUMNS if mine[key] != row[key])
        if differs:
            changed[row["exposure"]] = differs
        rows.append({**row, **{key: mine[key] for key in COLUMNS}})
    batch = {"batch": str(1 + max(int(row.get("batch") or 1) for row in old))} if old else {}
    arrived = [{**row, **batch} for row in found.values()]
    rows = sorted([*rows, *arrived], key=lambda row: (row["start"], row["exposure"]))
    lost = tuple(row["exposure"] for row in old if row["exposure"] in leave)
    return rows, Changes(tuple(row["exposure"] for row in rows if row["exposure"] in found), changed, lost)


def text(rows: Sequence[Row]) -> str:
    """A manifest's file: columns that nobody filled are left out, but for those that every manifest has."""
    always = (*COLUMNS[:10], "program", "visit", "kind", "footprint", "uri")
    every = (*COLUMNS, *(key for key in schemas.schema("manifest")["properties"] if key not in COLUMNS))
    columns = [key for key in every if key in always or any(row.get(key) for row in rows)]
    buffer = text_io.StringIO()
    writer = csv.DictWriter(buffer, columns, "", "ignore", delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write a manifest atomically, where it says something else than before."""
    content = text(rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        io.write_text(path, content)
