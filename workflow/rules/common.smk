# Helpers of all rules: the checked configuration, what a result depends on besides data, and sizes of jobs.
import json
import os
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError

from pureparallel import UserError, names, products
from pureparallel import config as configuration
from pureparallel.provenance import commit
from pureparallel.sources import sources as source_files

ROOT = Path(workflow.basedir).parent
DIGESTS = json.loads((ROOT / "locks" / "digests.json").read_text())["environments"]

# Jobs enter their environment by `"$PIXIW" run --as-is -e <environment>`; by the shell's prefix and not by a parameter,
# so that a checkout that moves re-runs nothing.
shell.prefix(f"PIXIW={shlex.quote(str(ROOT / 'pixiw'))}; ")


def fields_folder():
    """fields/ beside the configuration given on the command line, else in the working folder, else in the checkout."""
    files = [*reversed(workflow.overwrite_configfiles or []), "config/config.yaml"]
    folders = [Path(file).parent / "fields" for file in files]
    return next((folder for folder in folders if folder.is_dir()), ROOT / "config" / "fields")


try:
    for file in workflow.configfiles:
        configuration.read_yaml(Path(file))  # what Snakemake reads without a word, such as a key that stands twice
    FIELDS = configuration.load(config, fields_folder(), where=" + ".join(map(str, workflow.configfiles)))
except UserError as error:
    raise WorkflowError(str(error)) from None
NEIGHBOURS = products.neighbours(FIELDS)


def field_of(wildcards):
    """The Field of a job."""
    if wildcards.field not in FIELDS:
        raise WorkflowError(f"field {wildcards.field!r} is not among the configured fields: {', '.join(FIELDS)}")
    return FIELDS[wildcards.field]


def fields_with(*attributes):
    """Names of the fields that have something: `slitlets`, `exposures`."""
    return [name for name, field in FIELDS.items() if all(getattr(field, attribute) for attribute in attributes)]


def fields_from(*sources):
    """Names of the fields whose raw exposures come from there."""
    return [name for name in fields_with("exposures") if FIELDS[name].option("source") in sources]


def from_source(*sources):
    """The same as a pattern, for the constraint of a wildcard."""
    return "|".join(fields_from(*sources)) or "(?!)"


def manifest_of(field):
    """The manifest of a field as an input."""
    return local(str(fields_folder() / f"{field}.tsv"))


def manifest(wildcards):
    """The manifest of the job's field."""
    return manifest_of(wildcards.field)


def option(path):
    """The value of an option of the job's field, for `params`."""
    return lambda wildcards: field_of(wildcards).option(path)


def flags(section, *without):
    """All options of a rule as the flags of its command, without some; `chunk` is the workflow's own."""
    return lambda wildcards: names.flags(field_of(wildcards).options[section], without=("chunk", *without))


def aside(function):
    """The same for `params`, of what a product does not depend on: how patiently it is fetched, for one.

    A change of it re-runs nothing: Snakemake compares no parameters that may follow from the number of threads.
    """
    return lambda wildcards, threads: function(wildcards)


def not_fetched():
    """Raw exposures that could not be had from MAST, and why, in words; for `onerror`."""
    from pureparallel.acquire import summary

    results = config.get("pathvars", {}).get("results", "results")
    for name in fields_from("mast"):
        records = [Path(path.replace("<results>", results)) for path in products.records(FIELDS[name], None)]
        rows = summary.rows(path.with_suffix(".fits") for path in records)
        if any(row.state == "missing" for row in rows):
            yield from (f"{name}: {line}" for line in summary.lines(rows))


def of_field(attribute):
    """A property of the job's field."""
    return lambda wildcards: getattr(field_of(wildcards), attribute)


def of_job(function):
    """A function of `products`, of the job's field and wildcards; a mistake is told in words."""

    def value(wildcards):
        try:
            return function(field_of(wildcards), wildcards)
        except UserError as error:
            raise WorkflowError(str(error)) from None

    return value


def in_checkout(*parts):
    """A file of this checkout as an input: never in remote storage, relative where it can be."""
    path = ROOT.joinpath(*parts)
    return local(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def code(step):
    """The source files of a step as an input: Snakemake tracks no imported modules. Touching one re-runs nothing."""
    package = ROOT / "workflow" / "src" / "pureparallel"
    return [in_checkout(path.relative_to(ROOT)) for path in source_files(step, package)]


def env_digest(env):
    """Digest of an environment's lock for `params`: a changed lock re-runs what ran in it, and says why."""
    return DIGESTS[env]


def megabytes(paths):
    """Sizes of files, folders with all that lies in them; Snakemake asks again where one does not exist yet."""
    for path in map(Path, paths):
        files = [path] if not path.is_dir() else (one for one in path.rglob("*") if one.is_file())
        yield from (file.stat().st_size / 2**20 for file in files)


def growing(base, per_mb=0.0, of=None, by=sum):
    """Memory in MB or time in minutes: `base` and a multiple of the input's size in MB, more at every attempt.

    The size is that of the inputs named `of`, else of all: of their files the sum, or the largest with `by=max`.
    In memory, 200 MB are for Snakemake, which starts twice within a cluster's job.
    """

    def value(wildcards, input, attempt):
        named = [input] if of is None else [input[name] for name in of.split()]
        paths = [path for one in named for path in ([one] if isinstance(one, str) else one)]
        size = by([0.0, *megabytes(paths)]) if per_mb else 0.0
        return int((base + per_mb * size) * attempt)

    return value


def by_frame(base, per_mpix):
    """The same for simulated exposures: `base` and a multiple of the detector's part in megapixels."""

    def value(wildcards, attempt):
        _, _, columns, rows = field_of(wildcards).option("simulate.frame")
        return int((base + per_mpix * columns * rows / 1e6) * attempt)

    return value
