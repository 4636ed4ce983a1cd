"""Each environment holds what it is for, and imports."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "code"),
    [
        (
            "jwst",
            "import jwst.pipeline, photutils, snowblind, columnjump; from importlib.metadata import version;"
            " assert version('jwst') == '3.0.0'; assert version('photutils').startswith('3.');"
            " assert tuple(map(int, version('columnjump').split('.'))) >= (1, 1, 1)",
        ),
        ("msaexp", "from msaexp import slit_combine; from importlib.metadata import version as v;"
         " assert v('msaexp') == '0.9.19'; assert v('numpy').startswith('1.26')"),
        ("cloud", "import snakemake_storage_plugin_s3, snakemake_executor_plugin_kubernetes"),
        ("acquire", "import pysiaf, astroquery.mast, pureparallel.config, matplotlib, scipy"),
        ("default", "import snakemake_executor_plugin_slurm, astroquery, pygments"),
    ],
)  # fmt: skip
def test_an_environment_imports_what_it_is_for(environment, code, tmp_path, run_in):
    run_in(environment, "python", "-c", code, cwd=tmp_path)


@pytest.mark.slow
def test_the_default_environment_holds_no_plugin_that_jobs_do_not_need(tmp_path, run_in):
    code = "import pkgutil; print(*(m.name for m in pkgutil.iter_modules() if m.name.startswith('snakemake_')))"
    found = set(run_in("default", "python", "-c", code, cwd=tmp_path).stdout.split())
    plugins = {name for name in found if "_plugin_" in name}
    assert plugins == {"snakemake_executor_plugin_slurm", "snakemake_executor_plugin_slurm_jobstep"}
