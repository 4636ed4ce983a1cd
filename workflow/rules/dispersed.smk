# Dispersed exposures: where their traces lie, their sky, and every source's spectra.


rule grism_wcs:
    input:
        rates=of_job(products.of_chunks("<results>/{field}/detector1/{chunk}", "wfss_chunks")),
        exposures="<results>/{field}/{field}_exposures.fits",
        solution="<results>/{field}/{field}_align.fits",
        catalogue="<results>/{field}/{field}_cat.ecsv",
        segmentation="<results>/{field}/{field}_segm.fits",
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        gaia=of_job(products.gaia),
        references=of_job(products.references),
        cache=of_job(reference_files),
        code=code("grism_wcs"),
    output:
        table="<results>/{field}/{field}_grism_wcs.fits",
        lineage="<results>/{field}/{field}_grism_wcs.prov.json",
        metrics="<results>/{field}/{field}_grism_wcs.metrics.json",
        figure=report(
            "<results>/{field}/{field}_grism_wcs.png",
            caption="../report/grism_wcs.rst",
            category="Spectra",
            subcategory="{field}",
            labels={"spectra": "all: where traces lie"},
        ),
    log:
        "<logs>/grism_wcs/{field}.log",
    benchmark:
        "<benchmarks>/grism_wcs/{field}.jsonl"
    resources:
        # 1.46 GB with two mosaics of 460 MB; each further one takes a quarter of its size
        mem_mb=growing(600, per_mb=4.5, of="mosaics", by=max),
        runtime=growing(10, per_mb=0.02, of="rates"),
    params:
        options=flags("grism_wcs"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel grism_wcs --field {wildcards.field} --rates {input.rates:q}'
        " --exposures {input.exposures:q} --solution {input.solution:q} --catalogue {input.catalogue:q}"
        " --segmentation {input.segmentation:q} --mosaics {input.mosaics:q} --references {input.references:q}"
        " --table {output.table:q} --figure {output.figure:q} --metrics {output.metrics:q}"
        " --gaia {input.gaia:q} {params.options} &> {log:q}"


rule background_wfss:
    input:
        rates="<results>/{field}/detector1/{chunk}",
        masks="<results>/{field}/mask_artifacts/{chunk}",
        exposures="<results>/{field}/{field}_exposures.fits",
        wcs="<results>/{field}/{field}_grism_wcs.fits",
        catalogue="<results>/{field}/{field}_cat.ecsv",
        segmentation="<results>/{field}/{field}_segm.fits",
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        gaia=of_job(products.gaia),
        templates=of_job(products.files_of("background_wfss.templates")),
        references=of_job(products.references),
        cache=of_job(reference_files),
        code=code("background_wfss"),
    output:
        subtracted=passing("background_wfss", directory("<results>/{field}/background_wfss/{chunk}")),
        figures=in_detail(
            directory("<results>/{field}/background_wfss/{chunk}_figures"),
            patterns=["{name}_sky.jpg"],
            caption="../report/background_wfss.rst",
            category="Spectra",
            subcategory="{field}",
            labels={"spectra": "{name}: sky"},
        ),
    log:
        "<logs>/background_wfss/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/background_wfss/{field}_{chunk}.jsonl"
    resources:
        # 1.22 GB at 2048 x 2048 with a mosaic of 350 MB, 1.46 GB with two of 460 MB; each further one, a quarter
        mem_mb=growing(600, per_mb=4.5, of="mosaics", by=max),
        runtime=growing(10, per_mb=0.02, of="rates"),  # 11 s for 80 MB, one exposure of 2048 x 2048
    params:
        options=flags("background_wfss"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel background_wfss --rates {input.rates:q} --masks {input.masks:q}'
        " --exposures {input.exposures:q} --wcs {input.wcs:q} --catalogue {input.catalogue:q}"
        " --segmentation {input.segmentation:q} --mosaics {input.mosaics:q} --references {input.references:q}"
        " --subtracted {output.subtracted:q} --figures {output.figures:q} --gaia {input.gaia:q} {params.options}"
        " &> {log:q}"


rule spec2:
    input:
        dispersed="<results>/{field}/background_wfss/{chunk}",
        wcs="<results>/{field}/{field}_grism_wcs.fits",
        catalogue="<results>/{field}/{field}_cat.ecsv",
        segmentation="<results>/{field}/{field}_segm.fits",
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        gaia=of_job(products.gaia),
        references=of_job(products.references),
        cache=of_job(reference_files),
        code=code("spec2"),
    output:
        spectra=passing("spec2", directory("<results>/{field}/spec2/{chunk}")),
        figures=in_detail(
            directory("<results>/{field}/spec2/{chunk}_figures"),
            patterns=["{name}_spec2.jpg"],
            caption="../report/spec2.rst",
            category="Spectra",
            subcategory="{field}",
            labels={"spectra": "{name}: exposure, model, rest"},
        ),
    log:
        "<logs>/spec2/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/spec2/{field}_{chunk}.jsonl"
    resources:
        # 0.95 GB at 2048 x 2048 with a mosaic of 350 MB, 1.46 GB with two of 460 MB; each further one, a quarter
        mem_mb=growing(600, per_mb=4.5, of="mosaics", by=max),
        runtime=growing(10, per_mb=0.02, of="dispersed"),  # 8 s for 100 MB, one exposure of 395 sources
    params:
        options=flags("spec2"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel spec2 --dispersed {input.dispersed:q} --wcs {input.wcs:q}'
        " --catalogue {input.catalogue:q} --segmentation {input.segmentation:q} --mosaics {input.mosaics:q}"
        " --references {input.references:q} --spectra {output.spectra:q} --figures {output.figures:q}"
        " --gaia {input.gaia:q} {params.options} &> {log:q}"
