"""The archive's exposures as rows of manifests, and which of them are left out, and why."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import UserError, log
from . import footprints, manifest, mast

MODES = {"niriss": {"NIS_IMAGE": "niriss_image", "NIS_WFSS": "niriss_wfss"}}
"""Modes of the manifest by instrument and EXP_TYPE: those that the workflow reduces."""

DISPERSED = ("niriss_wfss",)

_logger = log.of("discover")


@dataclass(frozen=True)
class Scope:
    """Which exposures are asked for.

    Attributes
    ----------
    instrument : str
        A key of `MODES`.
    programs : tuple of int
        Empty for all.
    since : str
        Date of the first; empty for all.
    kinds : tuple of str
        Values of `manifest.KINDS`.
    exclude_programs : tuple of int
    exclude_categories : tuple of str
        As the archive has them: ``COM`` for commissioning, ``CAL`` for calibration.
    """

    instrument: str
    programs: tuple[int, ...] = ()
    since: str = ""
    kinds: tuple[str, ...] = tuple(manifest.KINDS.values())
    exclude_programs: tuple[int, ...] = ()
    exclude_categories: tuple[str, ...] = ()

    def criteria(self) -> dict[str, Any]:
        """What to ask the archive for."""
        every = {
            "instrume": self.instrument.upper(),
            "exp_type": list(MODES[self.instrument]),
            "productLevel": "1b",
            "program": list(self.programs),
            "date_obs": f">={self.since}" if self.since else "",
        }
        return {key: value for key, value in every.items() if value}

    def covers(self, row: Mapping[str, str]) -> bool:
        """Whether the archive's answer must hold an exposure of a manifest, if it still has it."""
        return (
            row["instrument"] == self.instrument.upper()
            and row["mode"] in MODES[self.instrument].values()
            and (not self.programs or int(row["program"] or 0) in self.programs)
            and row["start"][:10] >= self.since
            and row["kind"] in (*self.kinds, "")
        )

    def excludes(self, dataset: Mapping[str, Any]) -> str:
        """Why an exposure is not of interest, in words; empty where it is."""
        program = footprints.number(dataset.get("program"))
        categories = {str(dataset.get(key) or "").strip().upper() for key in ("category", "proposal_type")}
        unwanted = sorted(categories & {one.upper() for one in self.exclude_categories})
        kind = manifest.KINDS.get(str(dataset.get("expripar") or "").strip().upper(), "")
        if program in self.exclude_programs:
            return "its programme is excluded"
        if unwanted:
            return f"category {unwanted[0]} is excluded"
        if kind and kind not in self.kinds:
            return f"kind {kind} was not asked for"
        return ""


@dataclass(frozen=True)
class Left:
    """An exposure that belongs into a field and cannot: its name without the detector, and why."""

    exposure: str
    program: str
    reason: str


@dataclass
class Collected:
    """What was found.

    Attributes
    ----------
    rows : list of dict
        Of manifests.
    left : list of Left
    excluded : Counter
        Exposures that are not of interest, by programme and reason.
    apart : dict of str to float
        Exposures whose region in the archive is elsewhere than attitude and aperture say: by how many arcsec.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    excluded: Counter[tuple[str, str]] = field(default_factory=Counter)
    apart: dict[str, float] = field(default_factory=dict)


Outlines = Callable[[str, str], footprints.Outline | None]


def collect(archive: mast.Archive, scope: Scope, outline: Outlines = footprints.outline) -> Collected:
    """Ask the archive, and make rows of its answers."""
    found = Collected()
    columns = archive.columns()
    _check_columns(scope, columns)
    wanted, places = {}, {}
    for dataset in archive.datasets(**scope.criteria()):
        name, program = str(dataset[mast.KEY]), str(dataset.get("program"))
        if reason := scope.excludes(dataset):
            found.excluded[program, reason] += 1
            continue
        place = _place(dataset, outline)
        if isinstance(place, str):
            found.left.append(Left(name, program, place))
            continue
        wanted[name], places[name] = dataset, place
        if place.source != "region" and place.apart > footprints.REGION_ERROR:
            found.apart[name] = place.apart
    _logger.info("%d exposures to be placed in fields; asking for their raw files", len(wanted))
    files = archive.raw_files(wanted)
    for name, dataset in wanted.items():
        mode = MODES[scope.instrument].get(str(dataset.get("exp_type")).strip().upper(), "")
        rows = [
            manifest.row_of(dataset, one, mode, footprints.region(places[name].corners)) for one in files.get(name, [])
        ]
        if not rows:
            found.left.append(Left(name, str(dataset.get("program")), "the archive lists no raw file of it"))
        for row in rows:
            if reason := manifest.faults(row) if mode else f"EXP_TYPE {dataset.get('exp_type')} was not asked for":
                found.left.append(Left(name, row["program"], reason))
            else:
                found.rows.append(row)
    found.left.sort(key=lambda one: (one.exposure, one.reason))
    return found


def _check_columns(scope: Scope, columns: Sequence[str]) -> None:
    """Raise UserError where what the archive offers does not suffice to leave out what shall be."""
    if scope.exclude_categories and not {"category", "proposal_type"} & set(columns):
        raise UserError("the archive does not tell a programme's category: set exclude_programs, no exclude_categories")
    if set(scope.kinds) != set(manifest.KINDS.values()) and "expripar" not in columns:
        raise UserError("the archive does not tell what is parallel (expripar): ask for all kinds")


def _place(dataset: Mapping[str, Any], outline: Outlines) -> footprints.Place | str:
    """Where an exposure looked, or why it is left out."""
    if str(dataset.get("targtype") or "").strip().upper() == "MOVING":
        return "it follows a moving target"
    subarray = str(dataset.get("subarray") or "FULL").strip().upper()
    if subarray != "FULL":
        return f"subarray {subarray} is not reduced"
    instrument, name = (str(dataset.get(key) or "").strip().upper() for key in ("instrume", "apername"))
    aperture = outline(instrument, name)
    if aperture is None:
        return f"aperture {name or 'unknown'} has no outline in SIAF"
    return footprints.place(dataset, aperture)
