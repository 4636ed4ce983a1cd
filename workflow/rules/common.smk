# Helpers of all rules: the checked configuration, what a result depends on besides data, and sizes of jobs.
import json
import os
import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError

from pureparallel import UserError, names
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


def field_of(wildcards):
    """The Field of a job."""
    if wildcards.field not in FIELDS:
        raise WorkflowError(f"field {wildcards.field!r} is not among the configured fields: {', '.join(FIELDS)}")
    return FIELDS[wildcards.field]


def fields_with(mode):
    """Names of the fields that hold data of a mode."""
    return [name for name, field in FIELDS.items() if field.rows(mode)]


def option(path):
    """The value of an option of the job's field, for `params`."""
    return lambda wildcards: field_of(wildcards).option(path)


def switch(path):
    """A true-or-false option of the job's field as its flag, --x or --no-x."""
    flag = path.rpartition(".")[2].replace("_", "-")
    return lambda wildcards: f"--{flag}" if field_of(wildcards).option(path) else f"--no-{flag}"


def options_of_field(wildcards):
    """All options of the job's field, as JSON."""
    return json.dumps(field_of(wildcards).options, sort_keys=True)


def listed(wildcards, kind, name, known):
    """`known[name]`, where the field has a thing of that kind and name."""
    if name not in known:
        raise WorkflowError(f"field {wildcards.field} has no {kind} {name}; its manifest gives it {len(known)}")
    return known[name]


def slitlet_column(column):
    """A column of the manifest for the job's slitlet; unknown where it is empty."""

    def value(wildcards):
        row = listed(wildcards, "slitlet", f"{wildcards.slitlet}.fits", field_of(wildcards).slitlet)
        return row[column] or "unknown"

    return value


def slitlet_source(wildcards):
    """The file that a slitlet is copied from, where it is a file of ours and not of an installed package."""
    location = slitlet_column("location")(wildcards)
    return [] if location.startswith("package:") else [location]


def slitlets_of_chunk(wildcards):
    """Slitlets of a chunk's sources."""
    field = field_of(wildcards)
    sources = listed(wildcards, "chunk", wildcards.chunk, field.chunks)
    files = [file for source in sources for file in field.slitlets[source]]
    return [f"<results>/{field.name}/slitlets/{file}" for file in files]


def of_chunks(pattern):
    """One file per chunk of the job's field."""
    return lambda wildcards: expand(pattern, field=wildcards.field, chunk=field_of(wildcards).chunks)


def sidecars_of_field(wildcards):
    """Lineage records of a field's products."""
    field = field_of(wildcards)
    base = f"<results>/{field.name}"
    products = [f"{base}/slitlets/{file}" for file in field.slitlet]
    for chunk in field.chunks:
        products.append(f"{base}/msa_extract/{field.name}_{chunk}_spectra.fits")
        products.append(f"{base}/msa_redshift/{field.name}_{chunk}_redshifts.fits")
    if field.slitlet:
        products.append(f"{base}/{field.name}_redshifts.fits")
    return [str(names.sidecar(Path(product))) for product in products]


def spectra_of_field(wildcards):
    """The folder of a field's spectra, where it has any."""
    field = field_of(wildcards)
    return [f"<results>/{field.name}/spectra"] if field.slitlet else []


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
