"""Pure functions on arrays: no files, no Snakemake, no logging set-up."""
