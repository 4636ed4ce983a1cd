# Raw exposures from MAST, of fields with `source: mast`. What talks to MAST runs where Snakemake was started: compute nodes
# see no network as a rule, and the token goes nowhere else.


onerror:
    for told in not_fetched():
        print(told, file=sys.stderr)


# What a file is follows from its row of the manifest alone: neither code nor environment nor options fetch it again.
# Until it is verified it lies in {exposure}_uncal.fits.part, with {exposure}_uncal.fits.part.json beside it: no outputs,
# so that they outlive a job that failed or was killed, and the next one continues there.
rule download:
    output:
        uncal=passing("download", "<results>/{field}/uncal/{exposure}_uncal.fits"),
        lineage="<results>/{field}/uncal/{exposure}_uncal.prov.json",
        record="<results>/{field}/uncal/{exposure}_uncal.json",
    log:
        "<logs>/download/{field}_{exposure}.log",
    wildcard_constraints:
        field=from_source("mast"),
    localrule: True
    resources:
        mast=1,
    params:
        known=of_job(products.archived),
        access=aside(of_job(products.access)),
        options=aside(flags("download")),
    shell:
        '"$PIXIW" run --as-is -e default pureparallel download --exposure {wildcards.exposure} --uncal {output.uncal:q}'
        " --record {output.record:q} {params.known} {params.access} {params.options} &> {log:q}"


rule download_summary:
    input:
        records=of_job(products.records),
        code=code("download_summary"),
    output:
        overview=report(
            "<results>/{field}/{field}_download.html",
            caption="../report/download_summary.rst",
            category="Exposures",
            subcategory="{field}",
            labels={"exposure": "all: where they came from"},
        ),
        metrics="<results>/{field}/{field}_download.metrics.json",
    log:
        "<logs>/download_summary/{field}.log",
    localrule: True
    params:
        env=env_digest("default"),
    shell:
        '"$PIXIW" run --as-is -e default pureparallel download_summary --field {wildcards.field}'
        " --records {input.records:q} --overview {output.overview:q} --metrics {output.metrics:q} &> {log:q}"


# The only writer of the cache, which it completes under a lock and which fields may share; its record names, with their
# checksums, all files that later jobs read. Every batch of exposures has a record of its own, which speaks of those before
# it as well: they keep theirs.
rule references:
    input:
        code=code("references"),
    output:
        **({"bundle": directory("<results>/{field}/references{batch}")} if STORED else {}),
        record=update("<results>/{field}/{field}_references{batch}.json"),
    log:
        "<logs>/references/{field}{batch}.log",
    benchmark:
        "<benchmarks>/references/{field}{batch}.jsonl"
    wildcard_constraints:
        field=from_source("files", "mast"),
        batch="(?:-[0-9]+)?",
    localrule: True
    resources:
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        exposures=of_job(products.exposures),
        context=option("crds.context"),
        cache=option("crds.cache"),
        server=option("crds.server"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel references --exposures {params.exposures:q}'
        " --record {output.record:q} --context {params.context} --cache {params.cache:q} --server {params.server:q}"
        + (" --bundle {output.bundle:q}" if STORED else "")
        + " &> {log:q}"


rule field_map:
    input:
        manifest=manifest,
        code=code("field_map"),
    output:
        figure=report(
            "<results>/{field}/{field}_field_map.png",
            caption="../report/field_map.rst",
            category="Exposures",
            subcategory="{field}",
            labels={"exposure": "all: by filter"},
        ),
    log:
        "<logs>/field_map/{field}.log",
    localrule: True
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel field_map --field {wildcards.field} --manifest {input.manifest:q}'
        " --figure {output.figure:q} &> {log:q}"


rule sky_map:
    input:
        manifests=[manifest_of(name) for name in fields_with("is_placed")],
        code=code("sky_map"),
    output:
        figure=report(
            "<results>/sky_map.png",
            caption="../report/sky_map.rst",
            category="Survey",
            labels={"figure": "fields on the sky"},
        ),
    log:
        "<logs>/sky_map/sky_map.log",
    localrule: True
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel sky_map --manifests {input.manifests:q}'
        " --figure {output.figure:q} &> {log:q}"
