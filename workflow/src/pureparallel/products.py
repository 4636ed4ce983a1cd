"""What a job of the workflow works on: files and values that follow from its field and its wildcards.

Every function takes the field and the job's wildcards. Paths begin with the workflow's ``<results>``, which Snakemake
replaces, unless they are the user's own.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from . import UserError, names
from .config import Field
from .simulate import schedule


def known[T](field: Field, kind: str, name: str, among: Mapping[str, T]) -> T:
    """`among[name]`; UserError where the field has no thing of that kind and name."""
    if name not in among:
        raise UserError(f"field {field.name} has no {kind} {name}; its manifest gives it {len(among)}")
    return among[name]


def column(name: str) -> Callable[[Field, Any], str]:
    """A column of the manifest for the job's slitlet; unknown where it is empty."""
    return lambda field, job: known(field, "slitlet", f"{job.slitlet}.fits", field.slitlet)[name] or "unknown"


def slitlet_source(field: Field, job: Any) -> list[str]:
    """The file that a slitlet is copied from, where it is a file of ours and not of an installed package."""
    location = column("location")(field, job)
    return [] if location.startswith("package:") else [location]


def slitlets_of_chunk(field: Field, job: Any) -> list[str]:
    """Slitlets of a chunk's sources."""
    sources = known(field, "chunk", job.chunk, field.chunks)
    return [f"<results>/{field.name}/slitlets/{file}" for source in sources for file in field.slitlets[source]]


def of_chunks(pattern: str, chunks: str = "chunks") -> Callable[[Field, Any], list[str]]:
    """One path per chunk of the field, of its sources or of its exposures (``exposure_chunks``)."""
    return lambda field, _: [
        pattern.replace("{field}", field.name).replace("{chunk}", chunk) for chunk in getattr(field, chunks)
    ]


def observation(field: Field, job: Any) -> str:
    """What the simulation of an exposure depends on, as JSON."""
    known(field, "exposure", job.exposure, field.exposures)
    return json.dumps(schedule.observation(job.exposure, list(field.exposures.values()), field.options))


def truths(field: Field, _: Any) -> list[str]:
    """The truth of every exposure, where they are simulated."""
    of = field.exposures if field.is_simulated else ()
    return [f"<results>/{field.name}/truth/{exposure}_truth.fits" for exposure in of]


def uncals(field: Field, job: Any) -> list[str]:
    """Raw exposures of a chunk."""
    return _uncals(field, known(field, "chunk", job.chunk, field.exposure_chunks))


def _uncals(field: Field, exposures: Collection[str]) -> list[str]:
    if field.is_simulated:
        return [f"<results>/{field.name}/uncal/{exposure}_uncal.fits" for exposure in exposures]
    return [field.exposures[exposure]["location"] for exposure in exposures]


def of_filters(pattern: str) -> Callable[[Field, Any], list[str]]:
    """One path per filter that the field has direct images in."""
    return lambda field, _: [
        pattern.replace("{field}", field.name).replace("{filter}", filter) for filter in field.image_filters
    ]


def gaia(field: Field, job: Any) -> list[str]:
    """The field's catalogue of Gaia's stars, where there is one."""
    return [f"<results>/{field.name}/{field.name}_gaia.ecsv"] if field.is_simulated else files_of("gaia")(field, job)


def files_of(option: str) -> Callable[[Field, Any], list[str]]:
    """Files that an option names: one, a list, or none."""

    def files(field: Field, _: Any) -> list[str]:
        value = field.option(option)
        return list(value) if isinstance(value, list) else [value] if value else []

    return files


def neighbours(fields: Mapping[str, Field]) -> Callable[[Field, Any], list[str]]:
    """Folders of all chunks, of any field, whose exposures may persist in those of a chunk; its own is among them.

    What ended within the window before an exposure began within twice as long: ramps are shorter than the window. The
    simulated detector is another than the real one.
    """
    begun: dict[tuple[bool, str], list[tuple[datetime, str]]] = {}
    for name, field in fields.items():
        for chunk, exposures in field.exposure_chunks.items():
            folder = f"<results>/{name}/detector1/{chunk}"
            for exposure in exposures:
                key = field.is_simulated, names.detector(exposure)
                begun.setdefault(key, []).append((datetime.fromisoformat(field.exposures[exposure]["start"]), folder))
    for times in begun.values():
        times.sort()

    def of(field: Field, job: Any) -> list[str]:
        reach = 2 * timedelta(seconds=field.option("persistence.window"))
        found = {f"<results>/{field.name}/detector1/{job.chunk}"}
        for exposure in known(field, "chunk", job.chunk, field.exposure_chunks):
            start = datetime.fromisoformat(field.exposures[exposure]["start"])
            times = begun[field.is_simulated, names.detector(exposure)]
            near = slice(bisect_left(times, (start - reach, "")), bisect_left(times, (start, "")))
            found |= {folder for _, folder in times[near]}
        return sorted(found)

    return of


def references(field: Field, _: Any) -> str:
    """The cache of reference files."""
    return f"<results>/{field.name}/references" if field.is_simulated else field.option("crds.cache")


def sidecars(field: Field, _: Any) -> list[str]:
    """Lineage records of all products that are single files; folders hold their own."""
    base = f"<results>/{field.name}"
    products = [f"{base}/slitlets/{file}" for file in field.slitlet]
    if field.is_simulated:
        products += [f"{base}/{field.name}_truth.fits", f"{base}/{field.name}_gaia.ecsv"]
        products += _uncals(field, field.exposures) + truths(field, None)
    if field.exposures:
        products += [f"{base}/{field.name}_pointing.fits", f"{base}/{field.name}_exposures.fits"]
    if field.image_filters:
        products.append(f"{base}/{field.name}_align.fits")
        products += of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")(field, None)
    for chunk in field.chunks:
        products.append(f"{base}/msa_extract/{field.name}_{chunk}_spectra.fits")
        products.append(f"{base}/msa_redshift/{field.name}_{chunk}_redshifts.fits")
    if field.slitlet:
        products.append(f"{base}/{field.name}_redshifts.fits")
    return [str(names.sidecar(Path(product))) for product in products]


def folders(field: Field, _: Any) -> list[str]:
    """Products that are folders, each with the lineage records of what it holds."""
    spectra = [f"<results>/{field.name}/spectra"] if field.slitlet else []
    steps = ["detector1", "persistence", "mask_artifacts"]
    steps += ["image2", "background_image"] if field.image_filters else []
    chunked = [f"<results>/{field.name}/{step}/{chunk}" for step in steps for chunk in field.exposure_chunks]
    outliers = of_filters("<results>/{field}/outliers/{filter}")(field, None)
    return spectra + chunked + outliers
