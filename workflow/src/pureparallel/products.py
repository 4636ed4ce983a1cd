"""What a job of the workflow works on: files and values that follow from its field and its wildcards.

Every function takes the field and the job's wildcards. Paths begin with the workflow's ``<results>``, which Snakemake
replaces, unless they are the user's own.
"""

import functools
import json
import math
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
    """One path per chunk of the field, of its sources or of its exposures (``exposure_chunks``, ``image_chunks``)."""
    return lambda field, _: [
        pattern.replace("{field}", field.name).replace("{chunk}", chunk) for chunk in getattr(field, chunks)
    ]


def selection(field: Field, job: Any) -> str:
    """Which exposures of a chunk the user leaves out, as flags: no other chunk depends on that."""
    mine, options = known(field, "chunk", job.chunk, field.exposure_chunks), field.option("select_exposures")
    exclude = [name for name in options["exclude"] if name in mine]
    return names.flags({"exclude": exclude, "exclude_scattered": options["exclude_scattered"]})


def images(field: Field, job: Any) -> list[str]:
    """Folders of all images of a filter without their sky."""
    of_filter = (chunk for chunk in field.image_chunks if chunk.startswith(f"{job.filter}-"))
    return [f"<results>/{field.name}/background_image/{chunk}" for chunk in of_filter]


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
    if field.option("source") != "files":
        return [f"<results>/{field.name}/uncal/{exposure}_uncal.fits" for exposure in exposures]
    return [field.exposures[exposure]["location"] for exposure in exposures]


def records(field: Field, _: Any) -> list[str]:
    """What is known of every download."""
    return [str(Path(uncal).with_suffix(".json")) for uncal in _uncals(field, field.exposures)]


def archived(field: Field, job: Any) -> str:
    """What an exposure's file in the archive is, as flags."""
    row = known(field, "exposure", job.exposure, field.exposures)
    checksum = row["checksum"] or (f"sha256:{row['sha256']}" if row["sha256"] else "")
    return names.flags({"uri": row["uri"], "size": row["size"], "checksum": checksum})


def access(field: Field, job: Any) -> str:
    """Whether it is public, as a flag."""
    return names.flags({"access": known(field, "exposure", job.exposure, field.exposures)["access"]})


def of_filters(pattern: str) -> Callable[[Field, Any], list[str]]:
    """One path per filter that the field has direct images in."""
    return lambda field, _: [
        pattern.replace("{field}", field.name).replace("{filter}", filter) for filter in field.image_filters
    ]


MARGIN = 5.0
"""Arcsec around footprints that are known beforehand: pointings are corrected by less."""

NIRISS_PIXEL = 0.0656
"""Arcsec."""

DETECTOR = [133.0, 133.0]
"""Arcsec; what a field is taken to cover whose footprints are not known beforehand."""


def plane(field: Field, _: Any) -> str:
    """Tangent point and size of the mosaics as flags; empty where no footprints are known before the data.

    They grow in steps of 10 arcsec, so that a new exposure amid the others leaves the grid as it is.
    """
    known = _plane(field)
    return names.flags({"centre": known[0], "size": known[1]}) if known else ""


@functools.cache
def _plane(field: Field) -> tuple[list[float], list[float]] | None:
    centre, size = field.option("mosaic.centre"), field.option("mosaic.size")
    if field.is_simulated:
        nx, ny = field.option("simulate.frame")[2:]
        mine = field.option("simulate_exposure")
        side = math.hypot(nx, ny) * NIRISS_PIXEL + 2 * (3 * mine["dither"] + mine["guide_star_error"] + MARGIN)
        centre, size = centre or field.option("simulate.centre"), size or [math.ceil(side / 10) * 10] * 2
    elif not (centre and size):
        regions = [row["footprint"] for row in field.rows("niriss_image")]
        if not regions or "" in regions:
            return None
        numbers = [[float(word) for word in region.split()[2:]] for region in regions]
        corners = [corner for one in numbers for corner in zip(one[::2], one[1::2], strict=True)]
        centre = centre or _middle(corners)
        size = size or _size(corners, centre)
    return centre, size


def extent(field: Field) -> tuple[float, float]:
    """Width and height of the field's mosaics, arcsec, as far as they are known before the data."""
    width, height = (_plane(field) or (None, DETECTOR))[1]
    return width, height


def placed(field: Field, job: Any) -> list[str]:
    """Images whose places a mosaic depends on: of all filters where its grid follows from them."""
    given = bool(plane(field, job))
    return [row["exposure"] for row in field.rows("niriss_image") if not given or row["filter"] == job.filter]


@functools.cache
def source_chunks(field: Field) -> list[str]:
    """Names of the chunks that a field's slitless sources are worked on in.

    How many sources there are shows only on its mosaics; their number is guessed from the area, so that all jobs are
    known beforehand. A source's own number says which chunk it is in, whatever others there are.
    """
    if not (field.wfss_chunks and field.image_filters):
        return []
    width, height = extent(field)
    expected = width * height / 3600 * field.option("stack.density")
    return [f"{number:04d}" for number in range(1, math.ceil(expected / field.option("stack.chunk")) + 1)]


def of_sources(pattern: str) -> Callable[[Field, Any], list[str]]:
    """One path per chunk of slitless sources."""
    return lambda field, _: [
        pattern.replace("{field}", field.name).replace("{chunk}", chunk) for chunk in source_chunks(field)
    ]


def spectra(field: Field, _: Any) -> list[str]:
    """Spectra of all chunks of a field: slitless ones, then NIRSpec's."""
    slitless = of_sources("<results>/{field}/stack/{field}_{chunk}_spectra.fits")(field, None)
    return slitless + of_chunks("<results>/{field}/msa_extract/{field}_{chunk}_spectra.fits")(field, None)


def redshifts(field: Field, _: Any) -> list[str]:
    """Redshifts of the same chunks."""
    slitless = of_sources("<results>/{field}/fit_redshift/{field}_{chunk}_redshifts.fits")(field, None)
    return slitless + of_chunks("<results>/{field}/msa_redshift/{field}_{chunk}_redshifts.fits")(field, None)


def photometry(field: Field, _: Any) -> list[str]:
    """Photometry of the slitless sources, where there are any."""
    return [f"<results>/{field.name}/{field.name}_photometry.fits"] if source_chunks(field) else []


def truth(field: Field, _: Any) -> list[str]:
    """The truth of a simulated sky."""
    return [f"<results>/{field.name}/{field.name}_truth.fits"] if field.is_simulated else []


def part(field: Field, job: Any) -> str:
    """Which chunk of slitless sources this is, of how many, as flags."""
    every = source_chunks(field)
    known(field, "chunk", job.chunk, dict.fromkeys(every))
    return names.flags({"index": int(job.chunk), "of": len(every)})


def _middle(corners: Collection[tuple[float, float]]) -> list[float]:
    """RA and Dec of the mean direction, to the nearest 0.01 degrees."""
    vectors = [
        (math.cos(math.radians(d)) * math.cos(math.radians(a)), math.cos(math.radians(d)) * math.sin(math.radians(a)),
         math.sin(math.radians(d)))
        for a, d in corners
    ]  # fmt: skip
    x, y, z = (sum(parts) for parts in zip(*vectors, strict=True))
    ra, dec = math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))
    return [round(ra, 2) % 360, round(dec, 2)]


def _size(corners: Collection[tuple[float, float]], centre: Collection[float]) -> list[int]:
    """Width and height around a tangent point that hold all corners and the margin, arcsec."""
    a0, d0 = (math.radians(value) for value in centre)
    reach = [0.0, 0.0]
    for ra, dec in corners:
        a, d = math.radians(ra) - a0, math.radians(dec)
        down = math.sin(d) * math.sin(d0) + math.cos(d) * math.cos(d0) * math.cos(a)
        x = math.cos(d) * math.sin(a) / down
        y = (math.sin(d) * math.cos(d0) - math.cos(d) * math.sin(d0) * math.cos(a)) / down
        reach = [max(reach[0], abs(x)), max(reach[1], abs(y))]
    return [math.ceil(2 * (math.degrees(side) * 3600 + MARGIN) / 10) * 10 for side in reach]


def gaia(field: Field, job: Any) -> list[str]:
    """The field's catalogue of Gaia's stars, where there is one."""
    return [f"<results>/{field.name}/{field.name}_gaia.ecsv"] if field.is_simulated else files_of("gaia")(field, job)


WITH_FILES = ("pointing", "mask_artifacts", "align", "background_wfss", "photometry", "validate_redshifts")
"""Sections some options of which name files."""


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

    @functools.cache
    def begun() -> dict[tuple[bool, str], list[tuple[datetime, str]]]:
        found: dict[tuple[bool, str], list[tuple[datetime, str]]] = {}
        for name, field in fields.items():
            for chunk, exposures in field.exposure_chunks.items():
                folder = f"<results>/{name}/detector1/{chunk}"
                for exposure in exposures:
                    start = datetime.fromisoformat(field.exposures[exposure]["start"])
                    found.setdefault((field.is_simulated, names.detector(exposure)), []).append((start, folder))
        for times in found.values():
            times.sort()
        return found

    def of(field: Field, job: Any) -> list[str]:
        reach = 2 * timedelta(seconds=field.option("persistence.window"))
        found = {f"<results>/{field.name}/detector1/{job.chunk}"}
        for exposure in known(field, "chunk", job.chunk, field.exposure_chunks):
            start = datetime.fromisoformat(field.exposures[exposure]["start"])
            times = begun()[field.is_simulated, names.detector(exposure)]
            near = slice(bisect_left(times, (start - reach, "")), bisect_left(times, (start, "")))
            found |= {folder for _, folder in times[near]}
        return sorted(found)

    return of


def cache(field: Field, job: Any, *, stored: bool) -> list[str]:
    """The cache of reference files, where it is a product; its record tells where it is otherwise."""
    is_product = field.is_simulated or stored
    return [f"<results>/{field.name}/references{_arrival(field, job)}"] if is_product else []


def references(field: Field, job: Any) -> str:
    """The record of the reference files: of a chunk's batch, of the last one for what belongs to the whole field."""
    return f"<results>/{field.name}/{field.name}_references{_arrival(field, job)}.json"


def _arrival(field: Field, job: Any) -> str:
    """What the names of a job's reference files end in."""
    mine: Collection[str] = field.exposures
    if hasattr(job, "chunk"):
        mine = known(field, "chunk", job.chunk, field.exposure_chunks)
    last = 1 if field.is_simulated else max(_batch(field, name) for name in mine)
    return f"-{last}" if last > 1 else ""


def _batch(field: Field, exposure: str) -> int:
    return int(field.exposures[exposure]["batch"] or 1)


def exposures(field: Field, job: Any) -> str:
    """What reference files are chosen by, of all exposures up to a batch, as JSON."""
    columns, last = ("mode", "filter", "grism", "readpatt", "start"), int(job.batch.lstrip("-") or 1)
    rows = [{key: row[key] for key in columns} for name, row in field.exposures.items() if _batch(field, name) <= last]
    return json.dumps(rows)


def sidecars(field: Field, _: Any) -> list[str]:
    """Lineage records of all products that are single files; folders hold their own."""
    base = f"<results>/{field.name}"
    products = [f"{base}/slitlets/{file}" for file in field.slitlet]
    if field.is_simulated:
        products += [f"{base}/{field.name}_truth.fits", f"{base}/{field.name}_gaia.ecsv"]
        products += truths(field, None)
    if field.exposures and field.option("source") != "files":
        products += _uncals(field, field.exposures)
    if field.exposures:
        products += [f"{base}/{field.name}_pointing.fits", f"{base}/{field.name}_exposures.fits"]
    if field.image_filters:
        single = ("align", "detection", "segm", "photometry", "photoz")
        products += [f"{base}/{field.name}_{product}.fits" for product in single]
        products += [f"{base}/{field.name}_{product}.ecsv" for product in ("cat", "sources")]
        products += of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")(field, None)
    for chunk in field.chunks:
        products.append(f"{base}/msa_extract/{field.name}_{chunk}_spectra.fits")
        products.append(f"{base}/msa_redshift/{field.name}_{chunk}_redshifts.fits")
    if source_chunks(field):
        products.append(f"{base}/{field.name}_grism_wcs.fits")
        products += of_sources("<results>/{field}/stack/{field}_{chunk}_spectra.fits")(field, None)
        products += of_sources("<results>/{field}/stack/{field}_{chunk}_stacks.fits")(field, None)
        products += of_sources("<results>/{field}/fit_redshift/{field}_{chunk}_redshifts.fits")(field, None)
    if spectra(field, None):
        products.append(f"{base}/{field.name}_redshifts.fits")
    return [str(names.sidecar(Path(product))) for product in products]


def folders(field: Field, _: Any) -> list[str]:
    """Products that are folders, each with the lineage records of what it holds."""
    merged = [f"<results>/{field.name}/spectra"] if spectra(field, None) else []
    dispersed = field.wfss_chunks if source_chunks(field) else ()
    steps = {
        "detector1": field.exposure_chunks, "persistence": field.exposure_chunks,
        "mask_artifacts": field.exposure_chunks, "image2": field.image_chunks, "background_image": field.image_chunks,
        "background_wfss": dispersed, "spec2": dispersed,
    }  # fmt: skip
    chunked = [f"<results>/{field.name}/{step}/{chunk}" for step, chunks in steps.items() for chunk in chunks]
    outliers = of_filters("<results>/{field}/outliers/{filter}")(field, None)
    return merged + chunked + outliers
