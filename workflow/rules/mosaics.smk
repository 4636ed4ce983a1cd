# Aligned images of a field on one grid, a mosaic per filter.


# A field's alignment is solved anew whenever an exposure joins it; where that leaves a filter's images where they were,
# this is the same bytes again, and the filter's mosaic stays.
rule placement:
    input:
        solution="<results>/{field}/{field}_align.fits",
        code=code("placement"),
    output:
        table="<results>/{field}/{field}_{filter}_placement.json",
    log:
        "<logs>/placement/{field}_{filter}.log",
    localrule: True
    params:
        exposures=of_job(products.placed),
        env=env_digest("default"),
    shell:
        '"$PIXIW" run --as-is -e default pureparallel placement --solution {input.solution:q}'
        " --exposures {params.exposures:q} --table {output.table:q} &> {log:q}"


rule mosaic:
    input:
        images=of_job(products.images),
        solution="<results>/{field}/{field}_{filter}_placement.json",
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
        mem_mb=growing(620, per_mb=12.5, of="images", by=max),
        runtime=growing(20, per_mb=0.01, of="images"),
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
    benchmark:
        "<benchmarks>/colour_image/{field}.jsonl"
    resources:
        mem_mb=growing(700, per_mb=1.6, of="mosaics"),
        runtime=growing(10),
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel colour_image --field {wildcards.field}'
        " --mosaics {input.mosaics:q} --figure {output.figure:q} &> {log:q}"
