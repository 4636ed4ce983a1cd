"""Documents that are written from other files are up to date, and what they name exists."""

import re
import tomllib

import pytest
from pureparallel import docs, schemas


def test_the_table_of_options_is_as_the_schemas_say():
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page()


def test_every_option_is_in_the_table():
    for name in ("config", "field"):
        for key in schemas.keys(schemas.schema(name)):
            assert f"`{key}`" in docs.PAGE.read_text(encoding="utf-8"), key


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "config/README.md", "profiles/README.md"])
def test_commands_and_files_that_a_page_names_exist(root, page):
    text = (root / page).read_text()
    tasks = tomllib.loads((root / "pixi.toml").read_text())["tasks"]
    for name in re.findall(r"(?:pixi|\./pixiw) run ([a-z][a-z-]*)", text):
        assert name in tasks, name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert ((root / page).parent / target).exists(), target


def test_the_readme_is_short_and_its_two_commands_come_first(root):
    text = (root / "README.md").read_text()
    assert len(text.splitlines()) < 150
    assert re.findall(r"^\./pixiw run (\w+)", text, re.M)[:2] == ["demo", "test"]
