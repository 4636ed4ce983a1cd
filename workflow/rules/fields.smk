# The checked configuration: which fields there are, and what they have.


def fields_folder():
    """fields/ beside the configuration given on the command line, else in the working folder, else in the checkout."""
    files = [*reversed(workflow.overwrite_configfiles or []), "config/config.yaml"]
    folders = [Path(file).parent / "fields" for file in files]
    return next((folder for folder in folders if folder.is_dir()), ROOT / "config" / "fields")


try:
    for file in () if workflow.remote_exec else workflow.configfiles:
        schemas.read_yaml(Path(file))  # what Snakemake reads without a word, such as a key that stands twice
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


def not_fetched():
    """Raw exposures that could not be had from MAST, and why, in words; for `onerror`."""
    from pureparallel.acquire import summary

    results = config.get("pathvars", {}).get("results", "results")
    for name in fields_from("mast"):
        records = [Path(path.replace("<results>", results)) for path in products.records(FIELDS[name], None)]
        rows = summary.rows(path.with_suffix(".fits") for path in records)
        if any(row.state == "missing" for row in rows):
            yield from (f"{name}: {line}" for line in summary.lines(rows))
