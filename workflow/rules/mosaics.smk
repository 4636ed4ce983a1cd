# Aligned images of a field on one grid, a mosaic per filter.


rule mosaic:
    input:
        images=of_job(products.images),
        solution="<results>/{field}/{field}_align.fits",
        code=code("mosaic"),
    output:
        image="<results>/{field}/{field}_{filter}_mosaic.fits",
        lineage="<results>/{field}/{field}_{filter}_mosaic.prov.json",
        rejected=directory("<results>/{field}/outliers/{filter}"),
        metrics="<results>/{field}/{field}_{filter}_mosaic.metrics.json",
        figure=report(
            "<results>/{field}/{field}_{filter}_mosaic.jpg",
            caption="../report/mosaic.rst",
            category="Images",
            subcategory="{field}",
            labels={"image": "{filter}: mosaic and depth"},
        ),
    log:
        "<logs>/mosaic/{field}_{filter}.log",
    benchmark:
        "<benchmarks>/mosaic/{field}_{filter}.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        options=flags("mosaic", "centre", "size"),
        plane=of_job(products.plane),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel mosaic --field {wildcards.field} --filter {wildcards.filter}'
        " --images {input.images:q} --solution {input.solution:q} --image {output.image:q}"
        " --rejected {output.rejected:q} --figure {output.figure:q} --metrics {output.metrics:q} {params.options}"
        " {params.plane} &> {log:q}"


rule colour_image:
    input:
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        code=code("colour_image"),
    output:
        figure=report(
            "<results>/{field}/{field}_colour_image.jpg",
            caption="../report/colour_image.rst",
            category="Images",
            subcategory="{field}",
            labels={"image": "all: in colour"},
        ),
    log:
        "<logs>/colour_image/{field}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel colour_image --field {wildcards.field}'
        " --mosaics {input.mosaics:q} --figure {output.figure:q} &> {log:q}"
