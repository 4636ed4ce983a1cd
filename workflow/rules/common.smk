# Helpers of all rules: the checked configuration, what a result depends on besides data, and sizes of jobs.
import inspect
import json
import os
import shlex
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import flag
from snakemake.path_modifier import PATH_MODIFIER_FLAG
from snakemake.settings.types import SharedFSUsage

from pureparallel import UserError, names, products, storage_mends
from pureparallel import config as configuration
from pureparallel.provenance import commit
from pureparallel.sizes import by_frame, growing
from pureparallel.sources import stamp

if workflow.storage_settings.default_storage_provider:
    storage_mends.apply()

# A container has a checkout of its own: all of its jobs' software but Snakefile, rules and configuration.
ROOT = Path(os.environ.get("PUREPARALLEL_ROOT") or Path(workflow.basedir).parent)
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
    for file in () if workflow.remote_exec else workflow.configfiles:
        configuration.read_yaml(Path(file))  # what Snakemake reads without a word, such as a key that stands twice
    where = " + ".join(map(str, workflow.configfiles))
    FIELDS = configuration.load(config, fields_folder(), where=where, trusted=workflow.remote_exec)
except UserError as error:
    raise WorkflowError(str(error)) from None
NEIGHBOURS = products.neighbours(FIELDS)

# A job that sees none of our files is sent the Snakefiles and these.
if SharedFSUsage.SOURCES not in workflow.storage_settings.shared_fs_usage and not workflow.remote_exec:
    of_fields = [fields_folder() / f"{name}{suffix}" for name in FIELDS for suffix in (".yaml", ".tsv")]
    workflow.configfiles += [file for file in of_fields if file.is_file()]

# Fields that rules for the whole survey list. A cluster's job has none of these, and reads only the field it works on.
SURVEY = {} if workflow.remote_exec else FIELDS


def field_of(wildcards):
    """The Field of a job."""
    if wildcards.field not in FIELDS:
        raise WorkflowError(f"field {wildcards.field!r} is not among the configured fields: {', '.join(FIELDS)}")
    return FIELDS[wildcards.field]


def fields_with(*attributes):
    """Names of the fields that have something: `slitlets`, `exposures`."""
    return [name for name, field in SURVEY.items() if all(getattr(field, attribute) for attribute in attributes)]


def fields_with_redshifts():
    """Names of the fields that have spectra of sources."""
    return [name for name, field in SURVEY.items() if products.spectra(field, None)]


def fields_to_compare():
    """Those of them whose redshifts are known otherwise, too."""
    known = {name: FIELDS[name].option("validate_redshifts.redshifts") for name in fields_with_redshifts()}
    return [name for name, table in known.items() if table or FIELDS[name].is_simulated]


def given(*inputs):
    """Inputs that not every field has, as flags of their own names."""
    return lambda wildcards, input: names.flags({name: list(input[name]) for name in inputs})


def fields_from(*sources):
    """Names of the fields whose raw exposures come from there."""
    return [name for name in fields_with("exposures") if FIELDS[name].option("source") in sources]


def from_source(*sources):
    """The same as a pattern, for the constraint of a wildcard; the rule of a cluster's job is chosen already."""
    if workflow.remote_exec:
        return names.FIELD
    return "|".join(fields_from(*sources)) or "(?!)"


def manifest_of(field):
    """The manifest of a field as an input."""
    return local(str(fields_folder() / f"{field}.tsv"))


def manifest(wildcards):
    """The manifest of the job's field."""
    return manifest_of(wildcards.field)


def quick(function):
    """`function`, with its signature at hand: Snakemake asks for it several times per job."""
    function.__signature__ = inspect.signature(function)
    return function


def option(path):
    """The value of an option of the job's field, for `params`."""
    return quick(lambda wildcards: field_of(wildcards).option(path))


def flags(section, *without):
    """All options of a rule as the flags of its command, without some; `chunk` is the workflow's own.

    Files that options name are inputs as well: of those in object storage the flags name the local copies.
    """

    @cache  # a survey's jobs share the text
    def plain(field):
        return names.flags(field.options[section], without=("chunk", *without))

    def value(wildcards, input=()):
        prefix = workflow.storage_settings.default_storage_prefix
        if not prefix:
            return plain(field_of(wildcards))
        options = storage_mends.with_copies(field_of(wildcards).options[section], input, prefix)
        return names.flags(options, without=("chunk", *without))

    return quick(value)


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

    return quick(value)


def in_checkout(*parts):
    """A file of this checkout as an input: never in remote storage, relative where it can be.

    With `local` it would be that as well, but so would be the job: Snakemake runs such jobs where it was started.
    """
    path = ROOT.joinpath(*parts)
    return flag(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path), PATH_MODIFIER_FLAG)


def code(step):
    """The source files of a step as an input: Snakemake tracks no imported modules. Touching one re-runs nothing."""
    path = stamp(step, ROOT / "workflow" / "src" / "pureparallel", Path(".snakemake") / "pureparallel.code")
    return flag(str(path), PATH_MODIFIER_FLAG)


def env_digest(env):
    """Digest of an environment's lock for `params`: a changed lock re-runs what ran in it, and says why."""
    return DIGESTS[env]
