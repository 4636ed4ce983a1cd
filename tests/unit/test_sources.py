from pureparallel import cli
from pureparallel.sources import sources


def names_of(step, root):
    return {path.name for path in sources(step, root / "workflow" / "src" / "pureparallel")}


def test_a_step_depends_on_what_it_imports_also_inside_functions(root):
    found = names_of("msa_redshift", root)
    assert {
        "msa_redshift.py",
        "redshift.py",
        "lines.py",
        "plot_redshift.py",
        "io.py",
        "names.py",
        "provenance.py",
    } <= found


def test_a_step_does_not_depend_on_what_it_does_not_import(root):
    assert not {"plot_redshift.py", "redshift.py", "msa_redshift.py", "cli.py", "config.py"} & names_of(
        "msa_extract", root
    )
    assert not {"plot_redshift.py", "redshift.py", "msa_redshift.py", "msa_extract.py"} & names_of(
        "merge_redshifts", root
    )


def test_every_step_is_found(root):
    for step in cli.steps():
        assert f"{step}.py" in names_of(step, root)
