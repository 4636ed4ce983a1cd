# Raw exposures to clean count rates. Exposures go through in chunks, one process each; a chunk's products are one folder
# with one file per exposure, because start-up costs more than an exposure does.


rule detector1:
    input:
        uncal=of_job(products.uncals),
        references=of_job(products.references),
        cache=of_job(reference_files),
        code=code("detector1"),
    output:
        rates=directory("<results>/{field}/detector1/{chunk}"),
        figures=in_detail(
            directory("<results>/{field}/detector1/{chunk}_figures"),
            patterns=["{name}_detector1.jpg"],
            caption="../report/detector1.rst",
            category="Exposures",
            subcategory="{field}",
            labels={"exposure": "{name}: count rate"},
        ),
    log:
        "<logs>/detector1/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/detector1/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(650, per_mb=16, of="uncal", by=max),
        runtime=growing(20, per_mb=0.05, of="uncal"),
    params:
        options=flags("detector1"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel detector1 --uncal {input.uncal:q}'
        " --references {input.references:q} --rates {output.rates:q}"
        " --figures {output.figures:q} {params.options} &> {log:q}"


rule persistence:
    input:
        rates="<results>/{field}/detector1/{chunk}",
        earlier=of_job(NEIGHBOURS),
        code=code("persistence"),
    output:
        afterglow=directory("<results>/{field}/persistence/{chunk}"),
    log:
        "<logs>/persistence/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/persistence/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(480, per_mb=11.5, of="rates", by=max),
        runtime=growing(10, per_mb=0.05, of="rates"),
    params:
        options=flags("persistence"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel persistence --rates {input.rates:q} --earlier {input.earlier:q}'
        " --afterglow {output.afterglow:q} {params.options} &> {log:q}"


rule mask_artifacts:
    input:
        rates="<results>/{field}/detector1/{chunk}",
        afterglow="<results>/{field}/persistence/{chunk}",
        regions=of_job(products.files_of("mask_artifacts.regions")),
        code=code("mask_artifacts"),
    output:
        masks=directory("<results>/{field}/mask_artifacts/{chunk}"),
        figures=in_detail(
            directory("<results>/{field}/mask_artifacts/{chunk}_figures"),
            patterns=["{name}_mask.jpg"],
            caption="../report/mask_artifacts.rst",
            category="Exposures",
            subcategory="{field}",
            labels={"exposure": "{name}: mask"},
        ),
    log:
        "<logs>/mask_artifacts/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/mask_artifacts/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(500, per_mb=10, of="rates", by=max),
        runtime=growing(10, per_mb=0.01, of="rates"),
    params:
        options=flags("mask_artifacts"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel mask_artifacts --rates {input.rates:q}'
        " --afterglow {input.afterglow:q} --masks {output.masks:q} --figures {output.figures:q} {params.options}"
        " &> {log:q}"
