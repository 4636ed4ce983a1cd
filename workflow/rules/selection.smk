# Where a field's exposures point, and which of them later steps use.


rule pointing:
    input:
        rates=of_job(products.of_chunks("<results>/{field}/detector1/{chunk}", "exposure_chunks")),
        attitudes=of_job(products.files_of("pointing.attitudes")),
        code=code("pointing"),
    output:
        table="<results>/{field}/{field}_pointing.fits",
        lineage="<results>/{field}/{field}_pointing.prov.json",
        metrics="<results>/{field}/{field}_pointing.metrics.json",
        figure=report(
            "<results>/{field}/{field}_pointing.png",
            caption="../report/pointing.rst",
            category="Exposures",
            subcategory="{field}",
            labels={"exposure": "all: footprints"},
        ),
    log:
        "<logs>/pointing/{field}.log",
    benchmark:
        "<benchmarks>/pointing/{field}.jsonl"
    resources:
        mem_mb=growing(450),
        runtime=growing(10),
    params:
        options=flags("pointing"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel pointing --field {wildcards.field} --rates {input.rates:q}'
        " --table {output.table:q} --figure {output.figure:q} --metrics {output.metrics:q} {params.options}"
        " &> {log:q}"


rule select_exposures:
    input:
        rates=of_job(products.of_chunks("<results>/{field}/detector1/{chunk}", "exposure_chunks")),
        masks=of_job(products.of_chunks("<results>/{field}/mask_artifacts/{chunk}", "exposure_chunks")),
        pointing="<results>/{field}/{field}_pointing.fits",
        code=code("select_exposures"),
    output:
        table="<results>/{field}/{field}_exposures.fits",
        lineage="<results>/{field}/{field}_exposures.prov.json",
        metrics="<results>/{field}/{field}_exposures.metrics.json",
        overview=report(
            "<results>/{field}/{field}_exposures.html",
            caption="../report/select_exposures.rst",
            category="Exposures",
            subcategory="{field}",
            labels={"exposure": "all: which are used, and why not"},
        ),
    log:
        "<logs>/select_exposures/{field}.log",
    benchmark:
        "<benchmarks>/select_exposures/{field}.jsonl"
    resources:
        mem_mb=growing(450),
        runtime=growing(10),
    params:
        options=flags("select_exposures"),
        env=env_digest("default"),
    shell:
        '"$PIXIW" run --as-is -e default pureparallel select_exposures --field {wildcards.field}'
        " --rates {input.rates:q} --masks {input.masks:q} --pointing {input.pointing:q} --table {output.table:q}"
        " --overview {output.overview:q} --metrics {output.metrics:q} {params.options} &> {log:q}"
