# A sky, a detector and raw exposures whose truth is known: what fields with `source: simulate` start from.


rule simulate_references:
    input:
        code=code("simulate_references"),
    output:
        references=directory("<results>/{field}/references"),
        record="<results>/{field}/{field}_references.json",
    log:
        "<logs>/simulate_references/{field}.log",
    benchmark:
        "<benchmarks>/simulate_references/{field}.jsonl"
    wildcard_constraints:
        field=from_source("simulate"),
    resources:
        mem_mb=by_frame(600, 150, option("simulate.frame")),
        runtime=growing(15),
    params:
        options=flags("simulate_references"),
        seed=option("simulate.seed"),
        frame=option("simulate.frame"),
        filters=of_field("filters"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel simulate_references --references {output.references:q}'
        " --record {output.record:q} --seed {params.seed} --frame {params.frame} --filters {params.filters}"
        " {params.options} &> {log:q}"


rule simulate_sky:
    input:
        code=code("simulate_sky"),
    output:
        truth="<results>/{field}/{field}_truth.fits",
        lineage="<results>/{field}/{field}_truth.prov.json",
        gaia="<results>/{field}/{field}_gaia.ecsv",
        gaia_lineage="<results>/{field}/{field}_gaia.prov.json",
        metrics="<results>/{field}/{field}_truth.metrics.json",
        figure=report(
            "<results>/{field}/{field}_sky.png",
            caption="../report/simulate_sky.rst",
            category="Simulation",
            subcategory="{field}",
            labels={"what": "the sky"},
        ),
    log:
        "<logs>/simulate_sky/{field}.log",
    benchmark:
        "<benchmarks>/simulate_sky/{field}.jsonl"
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        options=flags("simulate_sky"),
        seed=option("simulate.seed"),
        centre=option("simulate.centre"),
        filters=of_field("filters"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel simulate_sky --field {wildcards.field} --truth {output.truth:q}'
        " --gaia {output.gaia:q} --figure {output.figure:q} --metrics {output.metrics:q} --seed {params.seed}"
        " --centre {params.centre} --filters {params.filters} {params.options} &> {log:q}"


rule simulate_exposure:
    input:
        sky="<results>/{field}/{field}_truth.fits",
        code=code("simulate_exposure"),
    output:
        uncal="<results>/{field}/uncal/{exposure}_uncal.fits",
        lineage="<results>/{field}/uncal/{exposure}_uncal.prov.json",
        truth="<results>/{field}/truth/{exposure}_truth.fits",
        truth_lineage="<results>/{field}/truth/{exposure}_truth.prov.json",
        metrics="<results>/{field}/truth/{exposure}_truth.metrics.json",
        figure=in_detail(
            "<results>/{field}/truth/{exposure}_truth.jpg",
            caption="../report/simulate_exposure.rst",
            category="Simulation",
            subcategory="{field}",
            labels={"what": "{exposure}"},
        ),
    log:
        "<logs>/simulate_exposure/{field}_{exposure}.log",
    benchmark:
        "<benchmarks>/simulate_exposure/{field}_{exposure}.jsonl"
    wildcard_constraints:
        field=from_source("simulate"),
    resources:
        mem_mb=by_frame(690, 350, option("simulate.frame")),
        runtime=growing(10),
    params:
        observation=of_job(products.observation),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel simulate_exposure --observation {params.observation:q}'
        " --sky {input.sky:q} --uncal {output.uncal:q} --truth {output.truth:q} --figure {output.figure:q}"
        " --metrics {output.metrics:q} &> {log:q}"
