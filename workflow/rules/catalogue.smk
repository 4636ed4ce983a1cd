# Sources of a field: found on the mosaics, measured in every filter, their redshifts estimated from these fluxes.


rule detect:
    input:
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        code=code("detect"),
    output:
        image="<results>/{field}/{field}_detection.fits",
        image_lineage="<results>/{field}/{field}_detection.prov.json",
        segmentation="<results>/{field}/{field}_segm.fits",
        segmentation_lineage="<results>/{field}/{field}_segm.prov.json",
        catalogue="<results>/{field}/{field}_cat.ecsv",
        catalogue_lineage="<results>/{field}/{field}_cat.prov.json",
        # what it held before stays there for the job, which numbers the sources that it knows as they were
        register=update("<results>/{field}/{field}_sources.ecsv"),
        register_lineage="<results>/{field}/{field}_sources.prov.json",
        metrics="<results>/{field}/{field}_detect.metrics.json",
        figure=report(
            "<results>/{field}/{field}_detect.jpg",
            caption="../report/detect.rst",
            category="Images",
            subcategory="{field}",
            labels={"image": "all: sources"},
        ),
    log:
        "<logs>/detect/{field}.log",
    benchmark:
        "<benchmarks>/detect/{field}.jsonl"
    resources:
        mem_mb=growing(500, per_mb=5.5, of="mosaics", by=max),
        runtime=growing(20, per_mb=0.02, of="mosaics"),
    params:
        options=flags("detect"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel detect --field {wildcards.field} --mosaics {input.mosaics:q}'
        " --image {output.image:q} --segmentation {output.segmentation:q} --catalogue {output.catalogue:q}"
        " --register {output.register:q} --figure {output.figure:q} --metrics {output.metrics:q} {params.options}"
        " &> {log:q}"


rule photometry:
    input:
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        segmentation="<results>/{field}/{field}_segm.fits",
        catalogue="<results>/{field}/{field}_cat.ecsv",
        images=of_job(products.of_chunks("<results>/{field}/background_image/{chunk}", "image_chunks")),
        solution="<results>/{field}/{field}_align.fits",
        psf=of_job(products.files_of("photometry.psf_files")),
        code=code("photometry"),
    output:
        table="<results>/{field}/{field}_photometry.fits",
        lineage="<results>/{field}/{field}_photometry.prov.json",
        metrics="<results>/{field}/{field}_photometry.metrics.json",
        figure=report(
            "<results>/{field}/{field}_photometry.png",
            caption="../report/photometry.rst",
            category="Images",
            subcategory="{field}",
            labels={"image": "all: photometry"},
        ),
    log:
        "<logs>/photometry/{field}.log",
    benchmark:
        "<benchmarks>/photometry/{field}.jsonl"
    resources:
        mem_mb=growing(950, per_mb=4.5, of="mosaics", by=max),
        runtime=growing(20, per_mb=0.02, of="mosaics"),
    params:
        options=flags("photometry"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel photometry --field {wildcards.field} --mosaics {input.mosaics:q}'
        " --segmentation {input.segmentation:q} --catalogue {input.catalogue:q} --images {input.images:q}"
        " --solution {input.solution:q} --table {output.table:q} --figure {output.figure:q}"
        " --metrics {output.metrics:q} {params.options} &> {log:q}"


rule photoz:
    input:
        photometry="<results>/{field}/{field}_photometry.fits",
        code=code("photoz"),
    output:
        redshifts="<results>/{field}/{field}_photoz.fits",
        lineage="<results>/{field}/{field}_photoz.prov.json",
        metrics="<results>/{field}/{field}_photoz.metrics.json",
        figure=report(
            "<results>/{field}/{field}_photoz.png",
            caption="../report/photoz.rst",
            category="Images",
            subcategory="{field}",
            labels={"image": "all: photometric redshifts"},
        ),
    log:
        "<logs>/photoz/{field}.log",
    benchmark:
        "<benchmarks>/photoz/{field}.jsonl"
    threads: 2
    resources:
        mem_mb=growing(900, per_mb=100),
        runtime=growing(20, per_mb=5),
    params:
        options=flags("photoz"),
        env=env_digest("msaexp"),
    shell:
        '"$PIXIW" run --as-is -e msaexp pureparallel photoz --field {wildcards.field}'
        " --photometry {input.photometry:q} --redshifts {output.redshifts:q} --figure {output.figure:q}"
        " --metrics {output.metrics:q} --threads {threads} {params.options} &> {log:q}"
