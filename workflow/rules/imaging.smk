# Direct images: calibrated, freed of their background, and aligned.


rule image2:
    input:
        rates="<results>/{field}/detector1/{chunk}",
        masks="<results>/{field}/mask_artifacts/{chunk}",
        references=of_job(products.references),
        cache=of_job(reference_files),
        code=code("image2"),
    output:
        calibrated=passing("image2", directory("<results>/{field}/image2/{chunk}")),
    log:
        "<logs>/image2/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/image2/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(470, per_mb=4.5, of="rates", by=max),
        runtime=growing(10, per_mb=0.01, of="rates"),
    params:
        options=flags("image2"),
        selection=of_job(products.selection),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel image2 --rates {input.rates:q} --masks {input.masks:q}'
        " --references {input.references:q} --calibrated {output.calibrated:q} {params.options} {params.selection}"
        " &> {log:q}"


rule background_image:
    input:
        calibrated="<results>/{field}/image2/{chunk}",
        code=code("background_image"),
    output:
        subtracted=passing("background_image", directory("<results>/{field}/background_image/{chunk}")),
        figures=in_detail(
            directory("<results>/{field}/background_image/{chunk}_figures"),
            patterns=["{name}_background.jpg"],
            caption="../report/background_image.rst",
            category="Images",
            subcategory="{field}",
            labels={"image": "{name}: background"},
        ),
    log:
        "<logs>/background_image/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/background_image/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(550, per_mb=10, of="calibrated", by=max),
        runtime=growing(10, per_mb=0.02, of="calibrated"),
    params:
        options=flags("background_image"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel background_image --calibrated {input.calibrated:q}'
        " --subtracted {output.subtracted:q} --figures {output.figures:q} {params.options} &> {log:q}"


rule align:
    input:
        images=of_job(products.of_chunks("<results>/{field}/background_image/{chunk}", "image_chunks")),
        pointing="<results>/{field}/{field}_pointing.fits",
        gaia=of_job(products.gaia),
        catalogue=of_job(products.files_of("align.catalogue")),
        code=code("align"),
    output:
        # what it held before stays there for the job, which keeps the corrections that are as good as its own
        solution=update("<results>/{field}/{field}_align.fits"),
        lineage="<results>/{field}/{field}_align.prov.json",
        metrics="<results>/{field}/{field}_align.metrics.json",
        figure=report(
            "<results>/{field}/{field}_align.png",
            caption="../report/align.rst",
            category="Images",
            subcategory="{field}",
            labels={"image": "all: alignment"},
        ),
    log:
        "<logs>/align/{field}.log",
    benchmark:
        "<benchmarks>/align/{field}.jsonl"
    resources:
        mem_mb=growing(500, per_mb=4.5, of="images", by=max),
        runtime=growing(10, per_mb=0.01, of="images"),
    params:
        options=flags("align"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel align --field {wildcards.field} --images {input.images:q}'
        " --pointing {input.pointing:q} --gaia {input.gaia:q} --solution {output.solution:q}"
        " --figure {output.figure:q} --metrics {output.metrics:q} {params.options} &> {log:q}"
