import ast
import json
import os
import sys

from pureparallel import cli
from pureparallel.sources import imports, sources, stamp


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
    assert not {"plot_redshift.py", "plot_fit_redshift.py", "msa_redshift.py", "fit_redshift.py"} & names_of(
        "merge_redshifts", root
    )


def test_every_step_is_found(root):
    for step in cli.steps():
        assert f"{step}.py" in names_of(step, root)


def test_imports_are_found_in_the_text_as_python_reads_them(root):
    package = root / "workflow" / "src" / "pureparallel"
    for path in sorted(package.rglob("*.py")):
        expected = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                paths = [base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)]
                expected |= {one for one in paths if one.is_file()}
        assert set(imports(path)) == expected, path


def test_the_stamp_of_a_step_changes_with_its_sources_and_not_with_their_times(tmp_path):
    package, folder = tmp_path / "package", tmp_path / "stamps"
    (package / "steps").mkdir(parents=True)
    step, other, apart = package / "steps" / "one.py", package / "io.py", package / "apart.py"
    step.write_text("from .. import io\n")
    other.write_text("")
    apart.write_text("")
    path = stamp("one", package, folder)
    assert set(json.loads(path.read_text())) == {"steps/one.py", "io.py"}
    assert path.stat().st_mtime_ns == max(step.stat().st_mtime_ns, other.stat().st_mtime_ns)
    before = path.stat().st_ino, path.stat().st_mtime_ns
    for file in (step, other, apart):
        os.utime(file, (2e9, 2e9))
    apart.write_text("# edited")
    now = stamp("one", package, folder).stat()
    assert (now.st_ino, now.st_mtime_ns) == before
    os.utime(step, (1e9, 1e9))
    sources_changed(other, "x = 1\n")
    assert stamp("one", package, folder).stat().st_mtime_ns == other.stat().st_mtime_ns
    assert path.stat().st_ino != before[0]
    assert list(folder.iterdir()) == [path]


def sources_changed(path, text):
    """What a later process sees."""
    path.write_text(text)
    module = sys.modules[stamp.__module__]
    module._digest.cache_clear()
    module.imports.cache_clear()
