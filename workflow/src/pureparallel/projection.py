"""What a survey will cost, from its manifests alone: ``pixi run plan``.

Jobs follow from the configuration as they do in the workflow. What each costs follows from its exposures, their pixels
and groups, the field's area and its sources, by a linear model of every rule that was fitted to measured runs
(resources/costs.ecsv says which).
"""

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import ROOT, UserError, arrivals, config, products
from .config import Field

COSTS = ROOT / "resources" / "costs.ecsv"

STAGES = {
    "simulation": ("simulate_references", "simulate_sky", "simulate_exposure"),
    "acquisition": ("download", "download_summary", "references", "field_map", "sky_map"),
    "exposures": ("detector1", "persistence", "mask_artifacts", "pointing", "select_exposures"),
    "images": ("image2", "background_image", "align", "placement", "mosaic", "colour_image"),
    "catalogue": ("detect", "photometry", "photoz"),
    "spectra": ("grism_wcs", "background_wfss", "spec2", "stack"),
    "MSA spectra": ("msa_slitlets", "msa_extract", "msa_redshift"),
    "redshifts": ("fit_redshift", "merge_redshifts", "redshift_summary"),
    "validation": ("validate_rates", "validate_catalogue", "validate_redshifts"),
    "record": ("lineage", "software"),
}
"""Rules by stage, in the order in which a field goes through them."""

FULL_FRAME = 2048 * 2048 / 1e6
"""Megapixels of NIRISS's detector."""


@dataclass(frozen=True)
class Load:
    """What the cost of one job follows from."""

    items: float = 1.0
    """Exposures, slitlets, sources or cut-outs that it works on."""
    pixels: float = 0.0
    """Megapixels of its exposures together."""
    samples: float = 0.0
    """The same times their groups."""
    area: float = 0.0
    """Of the mosaic, square arcmin."""
    largest: tuple[float, float] = (0.0, 0.0)
    """Megapixels of the largest exposure, and the same times its groups."""


@dataclass(frozen=True)
class Cost:
    """Of one job or many."""

    jobs: int = 0
    cpu: float = 0.0
    """Seconds."""
    memory: float = 0.0
    """Peak of the largest job, MB."""
    disk: float = 0.0
    """Products, MB."""
    longest: float = 0.0
    """CPU seconds of the longest job."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.jobs + other.jobs, self.cpu + other.cpu, max(self.memory, other.memory), self.disk + other.disk,
            max(self.longest, other.longest),
        )  # fmt: skip


@cache
def rates() -> dict[str, dict[str, float]]:
    """Coefficients of every rule's model, by rule and column of resources/costs.ecsv."""
    lines = COSTS.read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader((line for line in lines if not line.startswith("#")), delimiter=" ", skipinitialspace=True)
    return {row["rule"]: {key: float(row[key]) for key in row if key not in ("rule", "measured")} for row in rows}


@cache
def guessed() -> frozenset[str]:
    """Rules whose model was not measured."""
    lines = COSTS.read_text(encoding="utf-8").splitlines()
    return frozenset(line.split()[0] for line in lines if line.endswith(" no"))


def of_exposures(field: Field, chosen: Iterable[str]) -> Load:
    """Load of a job that works on some of a field's exposures."""
    size = FULL_FRAME
    if field.is_simulated:
        columns, lines = field.option("simulate.frame")[2:]
        size = columns * lines / 1e6
    groups = [int(field.exposures[name]["ngroups"]) for name in chosen]
    largest = (size, size * max(groups, default=0)) if groups else (0.0, 0.0)
    return Load(len(groups), size * len(groups), size * sum(groups), area(field), largest)


def area(field: Field) -> float:
    """Of the field's mosaics, square arcmin; 0 where it has none."""
    width, height = products.extent(field) if field.image_filters else (0.0, 0.0)
    return width * height / 3600


def loads(field: Field) -> Iterator[tuple[str, Load]]:
    """Every job of a field: its rule and its load."""
    every = of_exposures(field, field.exposures)
    images = of_exposures(field, [row["exposure"] for row in field.rows("niriss_image")])
    spectra = of_exposures(field, [row["exposure"] for row in field.rows("niriss_wfss")])
    source = field.option("source") if field.exposures else ""
    if source == "simulate":
        yield "simulate_references", of_exposures(field, list(field.exposures)[:1])
        yield "simulate_sky", every
        yield from (("simulate_exposure", of_exposures(field, [name])) for name in field.exposures)
        yield "validate_rates", every
    if source == "mast":
        yield from (("download", of_exposures(field, [name])) for name in field.exposures)
        yield "download_summary", every
    if source in ("files", "mast"):
        batches = {row["batch"] or "1" for row in field.exposures.values()}
        yield from (("references", every) for _ in batches)
    if field.is_placed:
        yield "field_map", every
    for chunk in field.exposure_chunks.values():
        yield from ((rule, of_exposures(field, chunk)) for rule in ("detector1", "persistence", "mask_artifacts"))
    if field.exposures:
        yield from (("pointing", every), ("select_exposures", every))
    yield from _of_images(field, images)
    yield from _of_spectra(field, spectra)
    yield from _of_slitlets(field)
    if products.spectra(field, None):
        yield from ((rule, Load(_sources(field))) for rule in ("merge_redshifts", "redshift_summary"))
    yield "lineage", Load(len(field.manifest))


def _of_images(field: Field, images: Load) -> Iterator[tuple[str, Load]]:
    for chunk in field.image_chunks.values():
        yield from ((rule, of_exposures(field, chunk)) for rule in ("image2", "background_image"))
    for name in field.image_filters:
        mine = of_exposures(field, [row["exposure"] for row in field.rows("niriss_image") if row["filter"] == name])
        yield from (("placement", mine), ("mosaic", mine))
    if field.image_filters:
        yield from (("align", images), ("colour_image", images), ("detect", images))
        filters = len(field.image_filters)
        yield "photometry", Load(filters, images.pixels, images.samples, area(field) * filters, images.largest)
        yield "photoz", Load(area(field) * field.option("stack.density"))
        if field.is_simulated:
            yield "validate_catalogue", images


def _of_spectra(field: Field, spectra: Load) -> Iterator[tuple[str, Load]]:
    chunks = products.source_chunks(field)
    if chunks:
        yield "grism_wcs", spectra
        for chunk in field.wfss_chunks.values():
            yield from ((rule, of_exposures(field, chunk)) for rule in ("background_wfss", "spec2"))
        sources = area(field) * field.option("stack.density") / len(chunks)
        for _ in chunks:
            yield from (("stack", Load(sources * spectra.items)), ("fit_redshift", Load(sources)))
        if field.is_simulated:
            yield "validate_redshifts", spectra


def _of_slitlets(field: Field) -> Iterator[tuple[str, Load]]:
    yield from (("msa_slitlets", Load()) for _ in field.slitlet)
    for chunk in field.chunks.values():
        slitlets = sum(len(field.slitlets[source]) for source in chunk)
        yield from (("msa_extract", Load(slitlets)), ("msa_redshift", Load(len(chunk))))


def _sources(field: Field) -> float:
    slitless = area(field) * field.option("stack.density") if products.source_chunks(field) else 0.0
    return slitless + len(field.slitlets)


def cost(rule: str, load: Load) -> Cost:
    """Of one job, by its rule's model."""
    rate = rates()[rule]
    terms = {"item": load.items, "pixel": load.pixels, "sample": load.samples, "area": load.area}
    cpu = rate["cpu"] + sum(rate[f"cpu_{key}"] * size for key, size in terms.items())
    disk = rate["disk"] + sum(rate[f"disk_{key}"] * size for key, size in terms.items())
    pixels, samples = load.largest
    memory = rate["memory"] + rate["memory_pixel"] * pixels + rate["memory_sample"] * samples
    return Cost(1, cpu, memory + rate["memory_area"] * load.area, disk, cpu)


def of_field(field: Field) -> dict[str, Cost]:
    """What every rule costs for a field."""
    found: dict[str, Cost] = {}
    for rule, load in loads(field):
        found[rule] = found.get(rule, Cost()) + cost(rule, load)
    return found


def of_survey(fields: Mapping[str, Field]) -> dict[str, dict[str, Cost]]:
    """The same for every field; what belongs to all of them is under the name ``survey``."""
    found = {name: of_field(field) for name, field in fields.items()}
    whole = {"software": cost("software", Load())}
    if any(field.is_placed for field in fields.values()):
        whole["sky_map"] = cost("sky_map", Load(len(fields)))
    return {**found, "survey": whole}


def total(costs: Iterable[Cost]) -> Cost:
    """Their sum."""
    return sum(costs, Cost())


def chain(costs: Mapping[str, Cost]) -> float:
    """CPU seconds of a field's longest chain: rules come one after the other, the jobs of one beside each other."""
    return sum(one.longest for one in costs.values())


def wall(fields: Mapping[str, Mapping[str, Cost]], cores: int) -> tuple[float, float]:
    """Seconds at least and at most on that many cores, none of them idle while a job could run (Graham 1969)."""
    work = sum(one.cpu for costs in fields.values() for one in costs.values())
    longest = max(chain(costs) for costs in fields.values())
    return max(work / cores, longest), work / cores + longest * (1 - 1 / cores)


def high_water(fields: Mapping[str, Mapping[str, Cost]], drop: Sequence[str], at_once: int) -> tuple[float, float]:
    """MB that stay, and MB at most while it runs, where products of some rules are dropped once nothing needs them.

    Only fields that are under way have any of these: as many as jobs run at once, the largest at worst.
    """
    stay = sum(one.disk for costs in fields.values() for rule, one in costs.items() if rule not in drop)
    gone = sorted((sum(costs[rule].disk for rule in drop if rule in costs) for costs in fields.values()), reverse=True)
    return stay, stay + sum(gone[:at_once])


def lines(fields: Mapping[str, Mapping[str, Cost]], cores: int, drop: Sequence[str], shown: int) -> Iterator[str]:
    """The projection as text."""
    head = f"{'':24}{'jobs':>8}{'CPU h':>10}{'memory GB':>11}{'disk GB':>10}"
    yield head
    for stage, rules in STAGES.items():
        of_stage = total(costs[rule] for costs in fields.values() for rule in rules if rule in costs)
        if of_stage.jobs:
            yield _line(stage, of_stage)
    yield _line("all", total(one for costs in fields.values() for one in costs.values()))
    yield ""
    yield head
    sums = sorted(((total(costs.values()), name) for name, costs in fields.items()), key=lambda one: -one[0].cpu)
    yield from (_line(name, one) for one, name in sums[:shown])
    if len(sums) > shown:
        yield _line(f"{len(sums) - shown} more", total(one for one, _ in sums[shown:]))
    least, most = wall(fields, cores)
    every = [(rule, one.cpu) for costs in fields.values() for rule, one in costs.items()]
    unknown = sum(cpu for rule, cpu in every if rule in guessed()) / sum(cpu for _, cpu in every)
    stay, peak = high_water(fields, drop, cores)
    yield ""
    alone = duration(max(map(chain, fields.values())))
    yield f"on {cores} cores: {duration(least)} to {duration(most)}; the longest field alone {alone}"
    yield f"{unknown:.0%} of the CPU time is of rules that were not measured (resources/costs.ecsv)"
    yield f"disk: {stay / 1024:.1f} GB stay, {peak / 1024:.1f} GB at most while it runs" + (
        f" ({', '.join(drop)} dropped)" if drop else ""
    )


def _line(name: str, of: Cost) -> str:
    cells = f"{of.jobs:>8}{of.cpu / 3600:>10.2f}{of.memory / 1024:>11.1f}{of.disk / 1024:>10.1f}"
    return f"{name:24.24}{cells}"


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} days"


def main(arguments: list[str] | None = None) -> None:
    """Print the projection of the survey that is configured in a working folder."""
    parser = argparse.ArgumentParser(prog="pixi run plan", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", type=Path, default=Path(), help="working folder")
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="as given to Snakemake")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="cores that work at once")
    parser.add_argument("--fields", type=int, default=20, help="how many fields are listed, the costliest first")
    given = parser.parse_args(arguments)
    if given.cores < 1:
        parser.error(f"--cores: {given.cores} is less than 1")
    try:
        content, folder = arrivals.survey(given.directory, given.configfile)
        fields = of_survey(config.load(content, folder))
    except (UserError, StopIteration) as error:
        sys.exit(f"plan: {error or 'there is no configuration here'}")
    for line in lines(fields, given.cores, content.get("drop") or [], max(1, math.floor(given.fields))):
        print(line)


if __name__ == "__main__":
    main()
