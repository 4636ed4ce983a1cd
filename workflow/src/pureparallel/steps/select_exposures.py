"""Gather what is known of a field's exposures: which of them later steps use, and why not the others."""

import html
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import UserError, exposures, io, log, page
from ..exposures import Exposure
from ..provenance import Lineage

if TYPE_CHECKING:
    from astropy.table import Row, Table

COLUMNS: dict[str, tuple[Any, str | None, str]] = {
    "exposure": (str, None, "name"),
    "use": (bool, None, "whether later steps use it"),
    "reason": (str, None, "why they do not"),
    "failed": (bool, None, "whether a step failed on it, rather than that it is left out on purpose"),
    "detector": (str, None, "DETECTOR"),
    "exp_type": (str, None, "EXP_TYPE"),
    "filter": (str, None, "FILTER"),
    "pupil": (str, None, "PUPIL"),
    "start": (float, "d", "MJD, UTC"),
    "seconds": (float, "s", "effective exposure time"),
    "ngroups": (int, None, "groups of the ramp"),
    "group": (str, None, "visit and guide star"),
    "pointing_error": (float, "arcsec", "1 sigma per axis, known beforehand"),
    "sky": (float, "adu/s", "median of the rate in source-free pixels"),
    "column_rms": (float, "adu/s", "of source-free column medians, after cleaning"),
    "column_rms_before": (float, "adu/s", "the same without cleaning"),
    "row_rms": (float, "adu/s", "of source-free row medians"),
    "jump_pixels": (float, None, "fraction of pixels with a jump"),
    "snowballs": (int, None, "number"),
    "column_jumps": (int, None, "number"),
    "not_used": (float, None, "fraction of pixels that the calibration pipeline leaves out"),
    "masked": (float, None, "fraction of pixels that masks leave out"),
}
"""Type, unit and description of each column of the table."""


def select_exposures(
    *,
    field: str,
    rates: list[Path],
    masks: list[Path],
    pointing: Path,
    table: Path,
    overview: Path,
    metrics: Path,
    exclude: list[str] | None = None,
    exclude_scattered: bool = True,
    max_failed_fraction: float = 0.2,
) -> None:
    """Write a field's table of exposures.

    Parameters
    ----------
    field : str
        Name of the field.
    rates : list of Path
        Input: folders that detector1 made.
    masks : list of Path
        Input: folders that mask_artifacts made.
    pointing : Path
        Input: table of pointings.
    table : Path
        Output: FITS table EXPOSURES, a row per exposure.
    overview : Path
        Output: the table as an HTML page.
    metrics : Path
        Output: JSON.
    exclude : list of str
        Exposures that the user leaves out.
    exclude_scattered : bool
        Leave out exposures that mask_artifacts finds spoilt by scattered light.
    max_failed_fraction : float
        Fraction of exposures that may fail; above it this step fails and lists them.
    """
    from astropy.io import fits
    from astropy.table import Table

    logger = log.of("select_exposures")
    exclude = exclude or []
    known = {name: one for folder in rates for name, one in exposures.in_folder(folder).items()}
    placed = {str(row["exposure"]): row for row in Table.read(io.open_fits(pointing)["POINTING"], mask_invalid=False)}
    rows = []
    for name, one in known.items():
        masked = measured(masks, name)
        row = row_of(name, one, measured(rates, name), masked, placed.get(name))
        row["reason"] = row["reason"] or exposures.left_out(name, masked, exclude, exclude_scattered=exclude_scattered)
        rows.append(row | {"use": not row["reason"]})
    found = Table(rows=rows, names=list(COLUMNS))
    refuse_failures(found, max_failed_fraction, field)
    columns = {name: (unit, description) for name, (_, unit, description) in COLUMNS.items()}
    hdus = fits.HDUList([fits.PrimaryHDU(), io.table_hdu(found, "EXPOSURES", columns)])
    hdus[0].header["FIELD"] = field
    inputs = [one.path for one in known.values() if isinstance(one, Exposure)]
    options = {"exclude": exclude, "exclude_scattered": exclude_scattered, "max_failed_fraction": max_failed_fraction}
    io.write_fits(table, hdus, Lineage.of("select_exposures", [*inputs, pointing], **options))
    io.write_text(overview, overview_page(field, found))
    counts = {"exposures": len(found), "used": int(found["use"].sum()), "failed": int(found["failed"].sum())}
    left_out = {str(row["exposure"]): str(row["reason"]) for row in found if not row["use"]}
    io.write_json(metrics, {"field": field, **counts, "not_used": left_out})
    for name, reason in left_out.items():
        logger.warning("%s is not used: %s", name, reason)
    logger.info("%(used)d of %(exposures)d exposures are used, %(failed)d failed", counts)


def row_of(
    name: str, one: Exposure | str, reduced: Mapping[str, Any], masked: Mapping[str, Any], place: "Row | None"
) -> dict[str, Any]:
    """Row of an exposure, whose reason is filled where a step failed on it."""
    row = {key: kind() if kind is not float else np.nan for key, (kind, _, _) in COLUMNS.items()}
    row |= {key: reduced[key] for key in COLUMNS if reduced.get(key) is not None}
    row |= {"exposure": name, "not_used": reduced.get("do_not_use", np.nan), "masked": masked.get("masked", np.nan)}
    unplaced = place["reason"] if place is not None else "the table of pointings does not have it"
    row["reason"] = str(reduced["reason"] or masked["reason"] or unplaced)
    row["failed"] = bool(row["reason"])
    if isinstance(one, Exposure):
        row |= {
            "detector": one.key("DETECTOR"), "exp_type": one.key("EXP_TYPE"), "start": one.start,
            "filter": one.elements[0], "pupil": one.elements[1], "ngroups": int(one.key("NGROUPS")),
            "seconds": float(one.key("EFFEXPTM")),
        }  # fmt: skip
    if place is not None:
        row |= {"group": str(place["group"]), "pointing_error": float(place["error"])}
    return row


def measured(folders: list[Path], exposure: str) -> dict[str, Any]:
    """Metrics of an exposure, from whichever folder has them."""
    for folder in folders:
        path = folder / f"{exposure}.metrics.json"
        if path.is_file():
            return io.read_json(path)
    raise UserError(f"{', '.join(map(str, folders))}: no {exposure}.metrics.json; make the folder again")


def refuse_failures(table: "Table", limit: float, field: str) -> None:
    """Raise UserError if more than the fraction `limit` of the exposures failed, with their reasons."""
    failed = table[table["failed"]]
    if len(failed) <= limit * len(table):
        return
    reasons = Counter(str(reason) for reason in failed["reason"])
    listed = "\n".join(f"  {count} x {reason}" for reason, count in reasons.most_common(10))
    raise UserError(
        f"field {field}: {len(failed)} of {len(table)} exposures failed, more than max_failed_fraction: "
        f"{limit} (config/fields/{field}.yaml). Mend them, take them out of the manifest, or raise it:\n{listed}"
    )


def overview_page(field: str, table: "Table") -> str:
    """The table as a self-contained HTML page."""
    shown = [name for name in COLUMNS if name not in ("failed", "detector")]
    columns = [f"{name} ({unit})" if unit else name for name, (_, unit, _) in COLUMNS.items() if name in shown]
    rows = [[cell(name, row[name]) for name in shown] for row in table]
    text = f"{table['use'].sum()} of {len(table)} exposures are used."
    meanings = "".join(f"<dt><b>{html.escape(name)}</b></dt><dd>{html.escape(COLUMNS[name][2])}</dd>" for name in shown)
    content = f"<p>{html.escape(text)}</p>" + page.table(columns, rows)
    return page.document(f"{field}: exposures", content + page.details("Columns", f"<dl>{meanings}</dl>"))


def cell(name: str, value: Any) -> str:
    """A value as it is shown."""
    if COLUMNS[name][0] is bool:
        return "yes" if value else "no"
    if COLUMNS[name][0] is float:
        return f"{value:.5f}" if name == "start" else f"{value:.3g}"
    return str(value)
