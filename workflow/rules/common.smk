# Helpers of all rules: what a result depends on besides data, and sizes of jobs. fields.smk has the configuration.
import inspect
import json
import os
import shlex
from functools import cache, partial
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import flag
from snakemake.path_modifier import PATH_MODIFIER_FLAG
from snakemake.settings.types import SharedFSUsage

from pureparallel import UserError, names, products, schemas, slurm, storage_mends
from pureparallel import config as configuration
from pureparallel.provenance import commit
from pureparallel.sizes import by_frame, growing
from pureparallel.sources import stamp

slurm.quote_python()
if workflow.storage_settings.default_storage_provider:
    storage_mends.apply()
STORED = bool(workflow.storage_settings.default_storage_prefix)  # jobs see no folder of ours, then

# A container has a checkout of its own: all of its jobs' software but Snakefile, rules and configuration.
ROOT = Path(os.environ.get("PUREPARALLEL_ROOT") or Path(workflow.basedir).parent)
DIGESTS = json.loads((ROOT / "locks" / "digests.json").read_text())["environments"]

# Jobs enter their environment by `"$PIXIW" run --as-is -e <environment>`; by the shell's prefix and not by a parameter,
# so that a checkout that moves re-runs nothing.
shell.prefix(f"PIXIW={shlex.quote(str(ROOT / 'pixiw'))}; ")


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

    def of_copies(wildcards, input):
        prefix = workflow.storage_settings.default_storage_prefix
        options = storage_mends.with_copies(field_of(wildcards).options[section], input, prefix)
        return names.flags(options, without=("chunk", *without))

    # Snakemake sees no change of parameters that may follow from inputs: these are only made so where they must be
    if STORED and section in products.WITH_FILES:
        return quick(of_copies)
    return quick(lambda wildcards: plain(field_of(wildcards)))


def aside(function):
    """The same for `params`, of what a product does not depend on: how patiently it is fetched, for one.

    A change of it re-runs nothing: Snakemake compares no parameters that may follow from the number of threads.
    """
    return lambda wildcards, threads: function(wildcards)


def given(*inputs):
    """Inputs that not every field has, as flags of their own names."""
    return lambda wildcards, input: names.flags({name: list(input[name]) for name in inputs})


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


reference_files = partial(products.cache, stored=STORED)


def in_checkout(*parts):
    """A file of this checkout as an input: never in remote storage, relative where it can be.

    With `local` it would be that as well, but so would be the job: Snakemake runs such jobs where it was started.
    """
    path = ROOT.joinpath(*parts)
    return flag(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path), PATH_MODIFIER_FLAG)


def code(step):
    """The source files of a step as an input: Snakemake tracks no imported modules. Touching one re-runs nothing."""
    folder = Path(".snakemake") / "pureparallel.code"
    path = folder / f"{step}.json"  # a cluster's job finds those of all steps written, where it shares the folder
    if not (workflow.remote_exec and path.is_file()):
        path = stamp(step, ROOT / "workflow" / "src" / "pureparallel", folder)
    return flag(str(path), PATH_MODIFIER_FLAG)


def passing(step, output):
    """`output` of a step, temporary where the survey's `drop` names the step: it goes once nothing needs it any more."""
    return temp(output) if step in config.get("drop", []) else output


def staying(function):
    """A function of `products` without the folders of steps that the survey drops."""
    return lambda wildcards: [path for path in function(wildcards) if Path(path).parts[2] not in config.get("drop", [])]


def in_detail(output, **how):
    """`output` in the report, unless the survey's `report` leaves out what is of single exposures and sources."""
    return report(output, **how) if config.get("report", "all") == "all" else output


def env_digest(env):
    """Digest of an environment's lock for `params`: a changed lock re-runs what ran in it, and says why."""
    return DIGESTS[env]
