# Dispersed exposures to spectra and redshifts. The sky's subtraction and the stack, between these, are not there yet:
# nothing asks for these products.


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
        cache=of_job(products.cache),
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
        mem_mb=growing(3000),  # not measured yet
        runtime=growing(60),
    params:
        options=flags("grism_wcs"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel grism_wcs --field {wildcards.field} --rates {input.rates:q}'
        " --exposures {input.exposures:q} --solution {input.solution:q} --catalogue {input.catalogue:q}"
        " --segmentation {input.segmentation:q} --mosaics {input.mosaics:q} --references {input.references:q}"
        " --table {output.table:q} --figure {output.figure:q} --metrics {output.metrics:q}"
        " --gaia {input.gaia:q} {params.options} &> {log:q}"


rule spec2:
    input:
        dispersed="<results>/{field}/background_wfss/{chunk}",
        wcs="<results>/{field}/{field}_grism_wcs.fits",
        catalogue="<results>/{field}/{field}_cat.ecsv",
        segmentation="<results>/{field}/{field}_segm.fits",
        mosaics=of_job(products.of_filters("<results>/{field}/{field}_{filter}_mosaic.fits")),
        gaia=of_job(products.gaia),
        references=of_job(products.references),
        cache=of_job(products.cache),
        code=code("spec2"),
    output:
        spectra=directory("<results>/{field}/spec2/{chunk}"),
        figures=report(
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
        mem_mb=growing(2500),  # 0.4 GB at 512 x 512; the whole detector was not measured
        runtime=growing(30),
    params:
        options=flags("spec2"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel spec2 --dispersed {input.dispersed:q} --wcs {input.wcs:q}'
        " --catalogue {input.catalogue:q} --segmentation {input.segmentation:q} --mosaics {input.mosaics:q}"
        " --references {input.references:q} --spectra {output.spectra:q} --figures {output.figures:q}"
        " --gaia {input.gaia:q} {params.options} &> {log:q}"


rule fit_redshift:
    input:
        spectra="<results>/{field}/stack/{field}_{chunk}_spectra.fits",
        photoz="<results>/{field}/{field}_photoz.fits",
        lines=in_checkout("resources", "lines.ecsv"),
        continuum=in_checkout("resources", "continuum.ecsv"),
        code=code("fit_redshift"),
    output:
        redshifts="<results>/{field}/fit_redshift/{field}_{chunk}_redshifts.fits",
        lineage="<results>/{field}/fit_redshift/{field}_{chunk}_redshifts.prov.json",
        metrics="<results>/{field}/fit_redshift/{field}_{chunk}.metrics.json",
        figures=report(
            directory("<results>/{field}/fit_redshift/{field}_{chunk}_figures"),
            patterns=["{name}_redshift.png"],
            caption="../report/fit_redshift.rst",
            category="Slitless redshifts",
            subcategory="{field}",
            labels={"source": "{name}"},
        ),
    log:
        "<logs>/fit_redshift/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/fit_redshift/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(1500, per_mb=20),  # not measured yet
        runtime=growing(10, per_mb=3),
    params:
        options=flags("fit_redshift"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel fit_redshift --field {wildcards.field} --spectra {input.spectra:q}'
        " --line-list {input.lines:q} --continuum {input.continuum:q} --photoz {input.photoz:q}"
        " --redshifts {output.redshifts:q} --figures {output.figures:q} --metrics {output.metrics:q}"
        " {params.options} &> {log:q}"
