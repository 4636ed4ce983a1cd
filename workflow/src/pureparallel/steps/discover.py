"""Ask MAST which exposures there are, and keep the fields' manifests: what is new, changed or gone."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import UserError, io, log
from ..acquire import advice, collect, grouping, manifest, naming, plan
from ..acquire.addresses import checked_url
from ..acquire.mast import SERVER, Archive

if TYPE_CHECKING:
    from astropy.table import Table

EXCLUDED_CATEGORIES = ("COM", "CAL", "ENG")
EXCLUDED_PROGRAMS = (1085, 1089, 1090, 4477)
"""NIRISS's commissioning and calibration with grisms, where the archive tells of no category."""

SHOWN = 12
"""Exposures that are told by name, per field and kind of change."""


def discover(
    *,
    fields: Path = Path("config/fields"),
    figures: Path | None = None,
    instrument: Literal["niriss"] = "niriss",
    programs: list[int] | None = None,
    since: str = "",
    kinds: list[str] | None = None,
    exclude_programs: list[int] | None = None,
    exclude_categories: list[str] | None = None,
    separation: float = 30.0,
    dispersed: bool = True,
    stars: Path | None = None,
    magnitude: str = "phot_g_mean_mag",
    bright: float = 18.0,
    crowded: float = 3.0,
    latitude: float = 10.0,
    clusters: Path | None = None,
    dry_run: bool = False,
    server: str = SERVER,
    timeout: float = 300.0,
    attempts: int = 6,
    page: int = 5000,
    pause: float = 2.0,
) -> None:
    """Search MAST for exposures, group them into fields, and write the fields' manifests.

    MAST is asked anonymously: the token is not needed, and not sent. A field is what overlaps, or nearly does, directly
    or through others; it keeps the name that it got first. A second run prints what is new, changed or gone, and
    changes that alone; rows that the search did not ask for stay.

    Parameters
    ----------
    fields : Path
        Folder of <field>.tsv, <field>.yaml, fields.ecsv (the names) and left_out.tsv (what cannot be placed, and why).
    figures : Path
        Output: folder of a sky map, and of a figure per field that changes.
    instrument : str
        Instrument.
    programs : list of int
        Programmes; all where none is given.
    since : str
        Date of the first exposure, as 2024-01-31.
    kinds : list of str
        Of pure_parallel, coordinated_parallel and prime; all where none is given.
    exclude_programs : list of int
        Programmes to leave out.
    exclude_categories : list of str
        Categories of programmes to leave out; as COM (commissioning) and CAL (calibration).
    separation : float
        Footprints apart by no more than so many arcsec are one field: a trace reaches that far.
    dispersed : bool
        Make no new field of exposures none of which is dispersed.
    stars : Path
        Table of stars with ra, dec (degrees) and a magnitude: what tells stellar fields.
    magnitude : str
        Its column of magnitudes.
    bright : float
        Stars brighter than this magnitude count.
    crowded : float
        Bright stars per square arcmin above which a field is called stellar.
    latitude : float
        Galactic latitude below which a field is called stellar, degrees.
    clusters : Path
        Table of clusters of galaxies with ra, dec and radius, degrees.
    dry_run : bool
        Only print what would change.
    server : str
        Address of the archive.
    timeout : float
        A request fails after so many seconds without a byte.
    attempts : int
        Of every request.
    page : int
        Rows to ask for at a time, 2 or more.
    pause : float
        Seconds before the second attempt; doubled with every further one.
    """
    scope = collect.Scope(
        instrument, tuple(programs or ()), _date(since), _kinds(kinds),
        EXCLUDED_PROGRAMS if exclude_programs is None else tuple(exclude_programs),
        EXCLUDED_CATEGORIES if exclude_categories is None else tuple(exclude_categories),
    )  # fmt: skip
    if page < 2 or attempts < 1 or separation < 0:
        raise UserError("--page must be 2 or more, --attempts 1 or more, --separation 0 or more")
    counted, near = _stars(stars, magnitude, bright), _clusters(clusters)
    survey = plan.read(fields)
    archive = Archive(checked_url(server), timeout=timeout, attempts=attempts, page=page, pause=pause)
    found = collect.collect(archive, scope)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    will = plan.make(survey, found, scope, separation=separation, dispersed=dispersed, today=today)
    will.record = [_described(one, will, survey, counted, near, crowded, latitude) for one in will.record]
    _tell(found, will)
    if dry_run:
        log.of("discover").info("dry run: nothing is written")
        return
    plan.write(fields, will)
    if figures is not None:
        _draw(figures, fields, will)


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise UserError(f"--since: {text!r} is not a date; give it as 2024-01-31") from error


def _kinds(given: list[str] | None) -> tuple[str, ...]:
    known = tuple(manifest.KINDS.values())
    wrong = sorted(set(given or ()) - set(known))
    if wrong:
        raise UserError(f"--kinds: {', '.join(wrong)}: not among {', '.join(known)}")
    return tuple(given) if given else known


def _table(path: Path, label: str, columns: tuple[str, ...]) -> "Table":
    """A user's table, whose columns are there and hold finite numbers in the rows that are kept."""
    import numpy as np
    from astropy.table import Table

    try:
        table = Table.read(path)
    except Exception as reason:
        raise UserError(f"--{label}: {path}: not a table that astropy reads ({reason})") from reason
    missing = [name for name in columns if name not in table.colnames]
    if missing:
        raise UserError(f"--{label}: {path}: no column {', '.join(missing)}; it has {', '.join(table.colnames)}")
    values = [np.ma.filled(np.ma.asarray(table[name], float), np.nan) for name in columns]
    return Table(values, names=columns)[np.isfinite(values).all(0)]


def _stars(path: Path | None, magnitude: str, bright: float) -> Any:
    """Unit vectors of the catalogue's bright stars; None without one."""
    if path is None:
        return None
    table = _table(path, "stars", ("ra", "dec", magnitude))
    table = table[table[magnitude] < bright]
    return grouping.unit(table["ra"], table["dec"])


def _clusters(path: Path | None) -> advice.Clusters | None:
    if path is None:
        return None
    table = _table(path, "clusters", ("ra", "dec", "radius"))
    return advice.Clusters(grouping.unit(table["ra"], table["dec"]), table["radius"].data)


def _described(
    one: naming.Named, will: plan.Plan, survey: plan.Survey, stars: Any, clusters: advice.Clusters | None,
    crowded: float, latitude: float,
) -> naming.Named:  # fmt: skip
    """A field's record with what is known of its sky; what this run has no catalogue for stays as it was."""
    rows = will.manifests.get(one.name) or survey.manifests.get(one.name, ())
    corners = plan.footprints_of(rows)
    if not len(corners):
        return one
    bright = one.facts.get("bright_stars", -1) if stars is None else int(advice.in_field(corners, stars).sum())
    facts = asdict(advice.facts(corners, bright, clusters, crowded=crowded, latitude=latitude))
    if clusters is None and one.facts.get("advice") == "cluster" and facts["advice"] == "extragalactic":
        facts |= {"advice": "cluster", "reason": "an earlier run's catalogue of clusters"}
    if facts["advice"] != one.facts.get("advice", "extragalactic"):
        log.of("discover").warning("%s seems %s: %s", one.name, facts["advice"], facts["reason"])
    facts.pop("reason")
    return replace(one, facts={"exposures": len(rows), "bright_stars": bright, **facts})


def _tell(found: collect.Collected, will: plan.Plan) -> None:
    """Print what changes, field by field, and what is left out."""
    logger = log.of("discover")
    for (program, reason), count in sorted(found.excluded.items()):
        logger.info("programme %s: %d exposures left out: %s", program, count, reason)
    if will.undispersed:
        logger.info(
            "%d exposures in no field: nothing dispersed near them (--no-dispersed takes them)", will.undispersed
        )
    for reason, count in Counter(one.reason for one in found.left).most_common():
        logger.warning("%d exposures cannot be taken: %s", count, reason)
    for name, apart in sorted(found.apart.items()):
        logger.warning("%s: MAST's region is %.1f arcsec from where attitude and aperture put it", name, apart)
    for name in will.emptied:
        logger.warning("%s: MAST has none of its exposures any more; left as it is", name)
    for merger in will.mergers:
        logger.warning(
            "%s are joined to %s by new exposures, and end: their rows go into %s.tsv; look at the options in their "
            ".yaml, which are not read any more", ", ".join(merger.names), merger.into, merger.into,
        )  # fmt: skip
    for one in will.record:
        changes = will.changes.get(one.name)
        if changes:
            _print(one.name, changes)
    counts = Counter[str]()
    for changes in will.changes.values():
        counts.update(new=len(changes.new), changed=len(changes.changed), gone=len(changes.gone))
    print(
        f"{len(will.record)} fields; exposures: "
        + ", ".join(f"{counts[key]} {key}" for key in ("new", "changed", "gone"))
    )


def _print(field: str, changes: manifest.Changes) -> None:
    told: Mapping[str, list[str]] = {
        "new": list(changes.new),
        "changed": [f"{name} ({', '.join(columns)})" for name, columns in changes.changed.items()],
        "gone": list(changes.gone),
    }
    print(f"{field}: " + ", ".join(f"{len(lines)} {key}" for key, lines in told.items() if lines))
    for key, lines in told.items():
        for line in lines[:SHOWN]:
            print(f"  {key:7s} {line}")
        if len(lines) > SHOWN:
            print(f"  {key:7s} and {len(lines) - SHOWN} more")


def _draw(figures: Path, fields: Path, will: plan.Plan) -> None:
    """The sky with all fields on it, and the exposures of every field that changed."""
    from ..core.plot_discover import exposures_figure, sky_figure

    every = plan.read(fields)
    io.write_figure(
        figures / "sky.png", sky_figure({name: plan.footprints_of(r) for name, r in every.manifests.items()})
    )
    for name, rows in every.manifests.items():
        if will.changes.get(name) or not (figures / f"{name}_exposures.png").is_file():
            io.write_figure(figures / f"{name}_exposures.png", exposures_figure(rows, plan.footprints_of, name))
