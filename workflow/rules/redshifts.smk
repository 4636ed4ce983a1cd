# Cut-outs to redshifts: slitless sources go through in chunks, one process each; NIRSpec's join them in one table.


rule stack:
    input:
        cutouts=of_job(products.of_chunks("<results>/{field}/spec2/{chunk}", "wfss_chunks")),
        catalogue="<results>/{field}/{field}_cat.ecsv",
        code=code("stack"),
    output:
        spectra="<results>/{field}/stack/{field}_{chunk}_spectra.fits",
        spectra_lineage="<results>/{field}/stack/{field}_{chunk}_spectra.prov.json",
        stacks="<results>/{field}/stack/{field}_{chunk}_stacks.fits",
        stacks_lineage="<results>/{field}/stack/{field}_{chunk}_stacks.prov.json",
        metrics="<results>/{field}/stack/{field}_{chunk}.metrics.json",
        figure=report(
            "<results>/{field}/stack/{field}_{chunk}_stack.png",
            caption="../report/stack.rst",
            category="Spectra",
            subcategory="{field}",
            labels={"spectra": "chunk {chunk}: the best stacks"},
        ),
    log:
        "<logs>/stack/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/stack/{field}_{chunk}.jsonl"
    resources:
        # 0.39 GB and 23 s for 204 sources in 24 exposures of 2048 x 2048, 600 MB; 0.19 GB at 512 x 512
        mem_mb=growing(580, per_mb=0.9, of="cutouts"),
        runtime=growing(10, per_mb=0.02, of="cutouts"),
    params:
        options=flags("stack", "density"),
        part=of_job(products.part),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel stack --field {wildcards.field} --cutouts {input.cutouts:q}'
        " --catalogue {input.catalogue:q} --spectra {output.spectra:q} --stacks {output.stacks:q}"
        " --figure {output.figure:q} --metrics {output.metrics:q} {params.part} {params.options} &> {log:q}"


rule fit_redshift:
    input:
        spectra="<results>/{field}/stack/{field}_{chunk}_spectra.fits",
        stacks="<results>/{field}/stack/{field}_{chunk}_stacks.fits",
        photoz="<results>/{field}/{field}_photoz.fits",
        detection="<results>/{field}/{field}_detection.fits",
        segmentation="<results>/{field}/{field}_segm.fits",
        lines=in_checkout("resources", "lines.ecsv"),
        continuum=in_checkout("resources", "continuum.ecsv"),
        code=code("fit_redshift"),
    output:
        redshifts="<results>/{field}/fit_redshift/{field}_{chunk}_redshifts.fits",
        lineage="<results>/{field}/fit_redshift/{field}_{chunk}_redshifts.prov.json",
        metrics="<results>/{field}/fit_redshift/{field}_{chunk}.metrics.json",
        figures=in_detail(
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
        # 0.35 GB and 11 s for 204 sources of 70 MB, 0.25 GB for 97 of 26 MB, with figures
        mem_mb=growing(600, per_mb=1.5, of="spectra stacks"),
        runtime=growing(20),
    params:
        options=flags("fit_redshift"),
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel fit_redshift --field {wildcards.field} --spectra {input.spectra:q}'
        " --stacks {input.stacks:q} --detection {input.detection:q} --segmentation {input.segmentation:q}"
        " --line-list {input.lines:q} --continuum {input.continuum:q} --photoz {input.photoz:q}"
        " --redshifts {output.redshifts:q} --figures {output.figures:q} --metrics {output.metrics:q}"
        " {params.options} &> {log:q}"


rule merge_redshifts:
    input:
        spectra=of_job(products.spectra),
        redshifts=of_job(products.redshifts),
        stacks=of_job(products.of_sources("<results>/{field}/stack/{field}_{chunk}_stacks.fits")),
        photometry=of_job(products.photometry),
        code=code("merge_redshifts"),
    output:
        table="<results>/{field}/{field}_redshifts.fits",
        lineage="<results>/{field}/{field}_redshifts.prov.json",
        spectra=directory("<results>/{field}/spectra"),
        metrics="<results>/{field}/{field}_redshifts.metrics.json",
        overview=report(
            "<results>/{field}/{field}_redshifts.html",
            caption="../report/merge_redshifts.rst",
            category="Redshifts",
            subcategory="{field}",
            labels={"source": "all: table of redshifts and lines"},
        ),
    log:
        "<logs>/merge_redshifts/{field}.log",
    benchmark:
        "<benchmarks>/merge_redshifts/{field}.jsonl"
    resources:
        mem_mb=growing(400, per_mb=1.2),
        runtime=growing(5, per_mb=0.1),
    params:
        options=flags("merge_redshifts"),
        given=given("stacks", "photometry"),
        env=env_digest("default"),
    shell:
        '"$PIXIW" run --as-is -e default pureparallel merge_redshifts --field {wildcards.field}'
        " --spectra {input.spectra:q} --redshifts {input.redshifts:q} {params.given} --table {output.table:q}"
        " --folder {output.spectra:q} --overview {output.overview:q} --metrics {output.metrics:q} {params.options}"
        " &> {log:q}"


rule redshift_summary:
    input:
        table="<results>/{field}/{field}_redshifts.fits",
        lines=in_checkout("resources", "lines.ecsv"),
        code=code("redshift_summary"),
    output:
        figure=report(
            "<results>/{field}/{field}_redshifts.png",
            caption="../report/redshift_summary.rst",
            category="Redshifts",
            subcategory="{field}",
            labels={"source": "all: redshifts in short"},
        ),
    log:
        "<logs>/redshift_summary/{field}.log",
    benchmark:
        "<benchmarks>/redshift_summary/{field}.jsonl"
    resources:
        mem_mb=growing(500),
        runtime=growing(5),
    params:
        env=env_digest("jwst"),
    shell:
        '"$PIXIW" run --as-is -e jwst pureparallel redshift_summary --field {wildcards.field} --table {input.table:q}'
        " --line-list {input.lines:q} --figure {output.figure:q} &> {log:q}"
