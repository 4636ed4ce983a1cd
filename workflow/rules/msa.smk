# NIRSpec MSA: calibrated slitlets to redshifts. Sources go through in chunks, one process each.


rule msa_slitlets:
    input:
        source=of_job(products.slitlet_source),
        code=code("msa_slitlets"),
    output:
        slitlet="<results>/{field}/slitlets/{slitlet}.fits",
        lineage="<results>/{field}/slitlets/{slitlet}.prov.json",
    log:
        "<logs>/msa_slitlets/{field}_{slitlet}.log",
    localrule: True
    params:
        location=of_job(products.column("location")),
        sha256=of_job(products.column("sha256")),
        env=env_digest("msaexp"),
    shell:
        '"$PIXIW" run --as-is -e msaexp pureparallel msa_slitlets --location {params.location:q}'
        " --sha256-expected {params.sha256:q} --slitlet {output.slitlet:q} &> {log:q}"


rule msa_extract:
    input:
        slitlets=of_job(products.slitlets_of_chunk),
        code=code("msa_extract"),
    output:
        spectra="<results>/{field}/msa_extract/{field}_{chunk}_spectra.fits",
        lineage="<results>/{field}/msa_extract/{field}_{chunk}_spectra.prov.json",
        metrics="<results>/{field}/msa_extract/{field}_{chunk}.metrics.json",
    log:
        "<logs>/msa_extract/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/msa_extract/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(800, per_mb=2),
        runtime=growing(5, per_mb=1),
    params:
        options=flags("msa_extract"),
        env=env_digest("msaexp"),
    shell:
        '"$PIXIW" run --as-is -e msaexp pureparallel msa_extract --slitlets {input.slitlets:q}'
        " --spectra {output.spectra:q} --metrics {output.metrics:q} {params.options} &> {log:q}"


rule msa_redshift:
    input:
        spectra="<results>/{field}/msa_extract/{field}_{chunk}_spectra.fits",
        lines=in_checkout("resources", "lines.ecsv"),
        code=code("msa_redshift"),
    output:
        redshifts="<results>/{field}/msa_redshift/{field}_{chunk}_redshifts.fits",
        lineage="<results>/{field}/msa_redshift/{field}_{chunk}_redshifts.prov.json",
        metrics="<results>/{field}/msa_redshift/{field}_{chunk}.metrics.json",
        figures=in_detail(
            directory("<results>/{field}/msa_redshift/{field}_{chunk}_figures"),
            patterns=["{name}_redshift.png"],
            caption="../report/msa_redshift.rst",
            category="NIRSpec redshifts",
            subcategory="{field}",
            labels={"source": "{name}"},  # one label only: the report takes a second one with two values for a switch
        ),
    log:
        "<logs>/msa_redshift/{field}_{chunk}.log",
    benchmark:
        "<benchmarks>/msa_redshift/{field}_{chunk}.jsonl"
    resources:
        mem_mb=growing(800, per_mb=5),
        runtime=growing(5, per_mb=3),
    params:
        options=flags("msa_redshift"),
        env=env_digest("msaexp"),
    shell:
        '"$PIXIW" run --as-is -e msaexp pureparallel msa_redshift --field {wildcards.field}'
        " --spectra {input.spectra:q} --line-list {input.lines:q} --redshifts {output.redshifts:q}"
        " --figures {output.figures:q} --metrics {output.metrics:q} {params.options} &> {log:q}"
