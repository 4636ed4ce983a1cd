# Products against the truth of simulated fields, redshifts against others that are known.


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
    benchmark:
        "<benchmarks>/validate_rates/{field}.jsonl"
    resources:
        mem_mb=growing(480, per_mb=11.6, of="rates", by=max),
        runtime=growing(10),
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel validate_rates --field {wildcards.field} --rates {input.rates:q}'
        " --truth {input.truth:q} --metrics {output.metrics:q} --figure {output.figure:q} &> {log:q}"


rule validate_catalogue:
    input:
        truth="<results>/{field}/{field}_truth.fits",
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        solution="<results>/{field}/{field}_align.fits",
        catalogue="<results>/{field}/{field}_cat.ecsv",
        photometry="<results>/{field}/{field}_photometry.fits",
        redshifts="<results>/{field}/{field}_photoz.fits",
        code=code("validate_catalogue"),
    output:
        metrics="<results>/{field}/{field}_validate_catalogue.metrics.json",
        figure=report(
            "<results>/{field}/{field}_validate_catalogue.png",
            caption="../report/validate_catalogue.rst",
            category="Validation",
            subcategory="{field}",
            labels={"what": "catalogue against the truth"},
        ),
    log:
        "<logs>/validate_catalogue/{field}.log",
    benchmark:
        "<benchmarks>/validate_catalogue/{field}.jsonl"
    resources:
        mem_mb=growing(580, per_mb=2.7, of="mosaics", by=max),
        runtime=growing(10),
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel validate_catalogue --field {wildcards.field} --truth {input.truth:q}'
        " --mosaics {input.mosaics:q} --solution {input.solution:q} --catalogue {input.catalogue:q}"
        " --photometry {input.photometry:q} --redshifts {input.redshifts:q} --metrics {output.metrics:q}"
        " --figure {output.figure:q} &> {log:q}"


rule validate_redshifts:
    input:
        table="<results>/{field}/{field}_redshifts.fits",
        lines=in_checkout("resources", "lines.ecsv"),
        spectra=of_job(products.of_sources("<results>/{field}/stack/{field}_{chunk}_spectra.fits")),
        truth=of_job(products.truth),
        code=code("validate_redshifts"),
        redshifts=of_job(products.files_of("validate_redshifts.redshifts")),
    output:
        metrics="<results>/{field}/{field}_validate_redshifts.metrics.json",
        figure=report(
            "<results>/{field}/{field}_validate_redshifts.png",
            caption="../report/validate_redshifts.rst",
            category="Validation",
            subcategory="{field}",
            labels={"what": "redshifts against the truth"},
        ),
    log:
        "<logs>/validate_redshifts/{field}.log",
    benchmark:
        "<benchmarks>/validate_redshifts/{field}.jsonl"
    resources:
        mem_mb=growing(510, per_mb=3.5, of="spectra"),
        runtime=growing(10),
    params:
        options=flags("validate_redshifts"),
        given=given("spectra", "truth"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel validate_redshifts --field {wildcards.field} --table {input.table:q}'
        " --line-list {input.lines:q} {params.given} --metrics {output.metrics:q} --figure {output.figure:q}"
        " {params.options} &> {log:q}"
