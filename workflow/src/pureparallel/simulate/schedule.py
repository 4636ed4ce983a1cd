"""The observatory's schedule of a simulated field: what each exposure needs to know of the others, and of the options.

Pure dictionaries, and nothing heavy: the workflow reads this at parse time. An exposure depends on its own row of the
manifest, on the exposure before it, on its visit's size, and on the options; so that a row that is appended leaves the
others' results alone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .. import UserError

Row = Mapping[str, str]

OF_ONE = {"scattered_light": "scattered", "satellite": "trail"}
"""Options that list exposures, with the effect that they switch on there."""


def visit(exposure: str) -> str:
    """Observation and visit of an exposure's name, ``ooovvv``."""
    return exposure[7:13]


def check(rows: Sequence[Row], options: Mapping[str, Any], where: str) -> None:
    """Raise UserError where the simulation's options do not fit the field's exposures."""
    ra, dec = options["simulate"]["centre"]
    if not (0 <= ra < 360 and -90 <= dec <= 90):
        raise UserError(f"{where}: simulate.centre: {[ra, dec]} is not RA, Dec in degrees")
    x, y, nx, ny = options["simulate"]["frame"]
    if x - 1 + nx > 2048 or y - 1 + ny > 2048:
        raise UserError(f"{where}: simulate.frame: {[x, y, nx, ny]} reaches beyond the 2048 x 2048 detector")
    mine = options["simulate_exposure"]
    exposures, visits = {row["exposure"] for row in rows}, {visit(row["exposure"]) for row in rows}
    for key, known in (*((key, exposures) for key in ("no_target", *OF_ONE)), ("wrong_guide_star", visits)):
        for name in mine[key]:
            if name not in known:
                raise UserError(f"{where}: simulate_exposure.{key}: {name!r} is not in the manifest: {sorted(known)}")
    for row in rows:
        if not row["exposure"].endswith("_nis"):
            raise UserError(f"{where}: exposure {row['exposure']}: only NIRISS is simulated, detector nis")
        try:
            datetime.fromisoformat(row["start"])
        except ValueError as error:
            raise UserError(f"{where}: start of {row['exposure']}: {row['start']!r}: {error}") from error


def observation(exposure: str, rows: Sequence[Row], options: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that one exposure's simulation depends on, as plain values.

    Parameters
    ----------
    exposure : str
    rows : sequence of mapping
        All raw exposures of the field's manifest.
    options : mapping
        Of the field.
    """
    mine = options["simulate_exposure"]
    row = next(row for row in rows if row["exposure"] == exposure)
    # ISO 8601 sorts as time does
    before = [other for other in rows if other["start"] < row["start"]]
    effects = dict(mine["effects"]) | {effect: True for key, effect in OF_ONE.items() if exposure in mine[key]}
    return {
        **_settings(row, mine),
        **options["simulate"],
        "previous": _settings(max(before, key=lambda other: other["start"]), mine) if before else None,
        "visit_exposures": sum(visit(other["exposure"]) == visit(exposure) for other in rows),
        "wrong_guide_star": visit(exposure) in mine["wrong_guide_star"],
        "no_target": exposure in mine["no_target"],
        "effects": effects,
        **{key: mine[key] for key in ("dither", "pointing_error", "roll_error", "guide_star_error")},
        **{key: mine[key] for key in ("zodiacal", "scattered_sky", "helium_sky")},
    }


def _settings(row: Row, mine: Mapping[str, Any]) -> dict[str, Any]:
    """An exposure's optical elements, readout, time and roll."""
    rolls = mine["rolls"]
    return {
        "exposure": row["exposure"],
        "filter": row["filter"],
        "grism": row["grism"] or None,
        "readpatt": row["readpatt"],
        "ngroups": int(row["ngroups"]),
        "start": row["start"],
        "roll": rolls[(int(row["exposure"][7:10]) - 1) % len(rolls)],
    }
