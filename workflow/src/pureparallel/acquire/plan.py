"""What a search changes: fields' manifests and names as they stand, and as they will."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import UserError, config, io
from . import advice, footprints, grouping, manifest, naming
from .collect import DISPERSED, Collected, Left, Scope

LEFT_OUT = "left_out.tsv"
"""File of exposures that belong into a field and cannot, beside the fields."""

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Survey:
    """Fields as they stand: the record of names, oldest first, and the rows of each manifest."""

    record: Sequence[naming.Named]
    manifests: Mapping[str, Rows]
    left: Sequence[Left]


@dataclass
class Plan:
    """Fields as they will be.

    Attributes
    ----------
    record : list of Named
    manifests : dict of str to list of dict
    changes : dict of str to Changes
        By field; of every field.
    mergers : list of Merger
    emptied : list of str
        Fields that the archive has no exposure of any more: they stay as they are.
    undispersed : int
        Exposures of groups without any dispersed exposure, which were not asked for.
    left : list of Left
    """

    record: list[naming.Named]
    manifests: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    changes: dict[str, manifest.Changes] = field(default_factory=dict)
    mergers: list[naming.Merger] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    undispersed: int = 0
    left: list[Left] = field(default_factory=list)


def read(folder: Path) -> Survey:
    """The fields in a folder, of those that the record names."""
    record = naming.read(folder)
    manifests: dict[str, Rows] = {}
    seen: dict[str, str] = {}
    for one in list(record):
        rows = config.read_manifest(folder / f"{one.name}.tsv")
        others = [seen[row["exposure"]] for row in rows if row["exposure"] in seen]
        if len(others) == len(rows) and len(set(others)) == 1:  # of a merger that was killed on its way
            record = naming.merged(record, one.name, others[0])
            continue
        if others:
            raise UserError(f"{folder}: {one.name}.tsv and {others[0]}.tsv hold the same exposures; keep each in one")
        manifests[one.name] = rows
        seen |= {row["exposure"]: one.name for row in rows}
    path, left = folder / LEFT_OUT, []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            left = [
                Left(row["exposure"], row["program"], row["reason"]) for row in csv.DictReader(file, delimiter="\t")
            ]
    return Survey(record, manifests, left)


def make(
    survey: Survey, found: Collected, scope: Scope, *, separation: float, dispersed: bool, today: str
) -> Plan:  # fmt: skip
    """Group what is there and what was found, name the groups, and tell what changes.

    Parameters
    ----------
    survey : Survey
    found : Collected
    scope : Scope
        What was asked for: only what it covers can be gone.
    separation : float
        Arcsec.
    dispersed : bool
        Make no new field of exposures none of which is dispersed.
    today : str
        Date of new names.
    """
    owner = {row["exposure"]: name for name, rows in survey.manifests.items() for row in rows}
    rows = {row["exposure"]: dict(row) for rows in survey.manifests.values() for row in rows}
    now = {row["exposure"]: row for row in found.rows}
    waiting = {one.exposure for one in found.left}
    gone = {
        name for name, row in rows.items()
        if scope.covers(row) and name not in now and _dataset(name) not in waiting
    }  # fmt: skip
    if gone and not now:
        raise UserError("the archive gave no exposure at all, but manifests have some: nothing was changed, try later")
    emptied = [name for name, mine in survey.manifests.items() if all(row["exposure"] in gone for row in mine)]
    gone -= {row["exposure"] for name in emptied for row in survey.manifests[name]}
    rows = {name: {**rows.get(name, {}), **now.get(name, {})} for name in sorted(rows.keys() | now.keys())}
    every = [name for name in rows if name not in gone]
    groups = _groups({name: rows[name] for name in every}, owner, separation)
    kept, plan = [], Plan([], emptied=emptied, left=_left(survey.left, found, scope))
    for group in groups:
        old = any(name in owner for name in group.exposures)
        if old or not dispersed or any(rows[name]["mode"] in DISPERSED for name in group.exposures):
            kept.append(group)
        else:
            plan.undispersed += len(group.exposures)
    given, plan.record, plan.mergers = naming.assign(kept, survey.record, owner, today)
    for name, group in zip(given, kept, strict=True):
        old_rows = survey.manifests.get(name, ())
        mine = [rows[exposure] for exposure in group.exposures]
        plan.manifests[name], plan.changes[name] = manifest.update(old_rows, mine, gone)
    return plan


def _groups(
    rows: Mapping[str, Mapping[str, str]], owner: Mapping[str, str], separation: float
) -> list[naming.Group]:  # fmt: skip
    """Groups of exposures: by footprint, and by the field that they are in already."""
    names = list(rows)
    corners = [footprints.parse_region(rows[name].get("footprint")) for name in names]
    lost = [name for name, one in zip(names, corners, strict=True) if one is None and name not in owner]
    if lost:
        raise UserError(f"{lost[0]}: has no footprint")
    placed = [i for i, one in enumerate(corners) if one is not None]
    if not placed:
        return []
    place = {i: at for at, i in enumerate(placed)}
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        if name in owner:
            members.setdefault(owner[name], []).append(i)
    together = [[place[i] for i in mine if i in place] for mine in members.values()]
    label = grouping.groups(np.array([corners[i] for i in placed]), separation, together)
    mine_of: dict[int, list[int]] = {}
    for at, i in enumerate(placed):
        mine_of.setdefault(int(label[at]), []).append(i)
    found = []
    for mine in mine_of.values():
        fields = {owner[names[i]] for i in mine if names[i] in owner}
        unplaced = [i for name in fields for i in members[name] if i not in place]
        ra, dec = advice.centre(np.array([corners[i] for i in mine]))
        exposures = sorted(names[i] for i in (*mine, *unplaced))
        found.append(naming.Group(exposures, ra, dec, min(rows[name]["start"] for name in exposures)))
    return found


def _left(before: Iterable[Left], found: Collected, scope: Scope) -> list[Left]:
    """Exposures left out: those of now, and those of before that this search cannot know of."""
    seen = {one.exposure for one in found.left} | {_dataset(row["exposure"]) for row in found.rows}
    every = not scope.programs and not scope.since
    other = {
        one for one in before
        if one.exposure not in seen and not every and (scope.since or int(one.program or 0) not in scope.programs)
    }  # fmt: skip
    return sorted({*other, *found.left}, key=lambda one: (one.exposure, one.reason))


def _dataset(exposure: str) -> str:
    """An exposure's name without detector and segment, as the archive has it."""
    return exposure.rpartition("_")[0].partition("-seg")[0]


def footprints_of(rows: Rows) -> NDArray[np.float64]:
    """Footprints of a manifest's rows that have one, shape (n, 4, 2), degrees."""
    found = [footprints.parse_region(row.get("footprint")) for row in rows]
    return np.array([one for one in found if one is not None]).reshape(-1, 4, 2)


def write(folder: Path, plan: Plan) -> None:
    """Write what changes: manifests, the record, what is left out, and a configuration for fields that have none.

    Manifests come before the record, and what a merger ends comes last: after a run that was killed, the next one does
    the same again.
    """
    ended = [name for one in plan.record for name in one.aliases]
    facts = {one.name: one for one in plan.record}
    for name, rows in plan.manifests.items():
        if plan.changes[name] or not (folder / f"{name}.tsv").is_file():
            manifest.write(folder / f"{name}.tsv", rows)
        if not (folder / f"{name}.yaml").is_file():
            io.write_text(folder / f"{name}.yaml", configuration(facts[name], rows))
    record = naming.text(plan.record)
    path = folder / naming.REGISTRY
    if not path.is_file() or path.read_text(encoding="utf-8") != record:
        io.write_text(path, record)
    for name in ended:
        (folder / f"{name}.tsv").unlink(missing_ok=True)
    lines = ["exposure\tprogram\treason", *("\t".join((one.exposure, one.program, one.reason)) for one in plan.left)]
    content = "\n".join(lines) + "\n"
    path = folder / LEFT_OUT
    if (plan.left or path.is_file()) and not (path.is_file() and path.read_text(encoding="utf-8") == content):
        io.write_text(path, content)


def configuration(one: naming.Named, rows: Rows) -> str:
    """A field's first configuration; the user's from then on."""
    filters = " ".join(sorted({row["filter"] for row in rows}))
    programs = ", ".join(sorted({row["program"] for row in rows}, key=int))
    where = f"near RA {one.ra:.3f}, Dec {one.dec:+.3f}"
    return (
        f"# Written once by discover; yours to change. config/fields/{naming.REGISTRY} has what is known of its sky.\n"
        f'description: "{filters}, programme {programs}, {where}"\n'
        f"source: mast\ntype: {one.facts.get('advice', 'extragalactic')}\n"
    )
