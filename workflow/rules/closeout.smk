# What was made from what, by which software: per field, and for the survey.


rule lineage:
    input:
        sidecars=of_job(products.sidecars),
        folders=staying(of_job(products.folders)),
        code=code("lineage"),
    output:
        overview=report(
            "<results>/{field}/{field}_lineage.html",
            caption="../report/lineage.rst",
            category="Lineage",
            labels={"what": "{field}: configuration and products"},
        ),
        record="<results>/{field}/{field}_lineage.json",
    log:
        "<logs>/lineage/{field}.log",
    benchmark:
        "<benchmarks>/lineage/{field}.jsonl"
    resources:
        mem_mb=growing(350),
        runtime=growing(10),
    params:
        options=of_field("options_json"),
        products=subpath(output.overview, parent=True),
        env=env_digest("default"),
    shell:
        '"$PIXIW" run --as-is -e default pureparallel lineage --field {wildcards.field} --options {params.options:q}'
        " --products {params.products:q} --overview {output.overview:q} --record {output.record:q} &> {log:q}"


rule software:
    input:
        digests=in_checkout("locks", "digests.json"),
        code=code("software"),
    output:
        overview=report(
            "<results>/software.html",
            caption="../report/software.rst",
            category="Lineage",
            labels={"what": "software of every environment"},
        ),
        record="<results>/software.json",
    log:
        "<logs>/software/software.log",
    localrule: True
    params:
        environments=sorted(DIGESTS),
        commit=commit(),
        env=env_digest("default"),
    shell:
        '"$PIXIW" run --as-is -e default pureparallel software --environments {params.environments}'
        " --overview {output.overview:q} --record {output.record:q} &> {log:q}"
