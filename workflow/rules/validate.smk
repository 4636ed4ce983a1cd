# Products of simulated fields against the truth.


rule validate_rates:
    input:
        rates=of_job(products.of_chunks("<results>/{field}/detector1/{chunk}", "exposure_chunks")),
        truth=of_job(products.truths),
        code=code("validate_rates"),
    output:
        metrics="<results>/{field}/{field}_validate_rates.metrics.json",
        figure=report(
            "<results>/{field}/{field}_validate_rates.png",
            caption="../report/validate_rates.rst",
            category="Validation",
            subcategory="{field}",
            labels={"what": "count rates against the truth"},
        ),
    log:
        "<logs>/validate_rates/{field}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel validate_rates --field {wildcards.field} --rates {input.rates:q}'
        " --truth {input.truth:q} --metrics {output.metrics:q} --figure {output.figure:q} &> {log:q}"
