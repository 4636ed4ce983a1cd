from pathlib import Path
from typing import Literal

import pytest
from pureparallel import cli


def example(
    *,
    files: list[Path],
    span: tuple[float, float] = (0.0, 1.0),
    fast: bool = True,
    kind: Literal["a", "b"] = "a",
    limit: int | None = None,
) -> None:
    """Do an example.

    Parameters
    ----------
    files : list of Path
        Some files,
        over two lines.
    span : (float, float)
        Low and high, 100 % of it.

    Returns
    -------
    nothing : None
        Not a parameter.
    """


@pytest.fixture
def parser():
    return cli.step_parser("example", example)


def test_arguments_follow_the_signature(parser):
    given = parser.parse_args(["--files", "a", "b", "--span", "1", "2", "--no-fast", "--kind", "b", "--limit", "3"])
    assert given.files == [Path("a"), Path("b")]
    assert (given.span, given.fast, given.kind, given.limit) == ([1.0, 2.0], False, "b", 3)


def test_defaults_and_required(parser, capsys):
    assert vars(parser.parse_args(["--files", "a"])) == {
        "files": [Path("a")], "span": (0.0, 1.0), "fast": True, "kind": "a", "limit": None,
    }  # fmt: skip
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "--files" in capsys.readouterr().err


def test_help_comes_from_the_docstring(parser):
    text = " ".join(parser.format_help().split())
    assert "Some files, over two lines." in text
    assert "100 % of it" in text
    assert "Not a parameter" not in text


@pytest.mark.parametrize("name", cli.steps())
def test_every_step_is_a_documented_keyword_only_function(name, root):
    import inspect

    function = cli.step(name)
    parameters = inspect.signature(function).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    described = cli.parameter_help(function.__doc__)
    assert set(described) == set(parameters)
    assert all(described.values())
    rules = "".join(p.read_text() for p in (root / "workflow" / "rules").glob("*.smk"))
    assert f"rule {name}:" in rules or f"[tasks.{name}]" in (root / "pixi.toml").read_text()


def test_a_users_mistake_is_one_line_and_exit_code_1(tmp_path, capfd):
    missing = str(tmp_path / "none.fits")
    code = cli.main(["msa_slitlets", "--location", missing, "--slitlet", str(tmp_path / "out.fits")])
    error = capfd.readouterr().err
    assert code == 1
    assert f"{missing}: no such file" in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
