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


def fields_with(attribute):
    """Names of the fields that have something: `slitlets`, `exposures`."""
    return [name for name, field in FIELDS.items() if getattr(field, attribute)]


def option(path):
    """The value of an option of the job's field, for `params`."""
    return lambda wildcards: field_of(wildcards).option(path)


def flags(section):
    """All options of a rule as the flags of its command; `chunk` is the workflow's own."""
    return lambda wildcards: names.flags(field_of(wildcards).options[section], without=("chunk",))


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


def growing(base, per_mb=0.0):
    """Memory in MB or time in minutes: `base` and a multiple of the input's size in MB, more at every attempt."""
    return lambda wildcards, input, attempt: int((base + per_mb * input.size_mb) * attempt)
