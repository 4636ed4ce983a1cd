"""Which files of this package a step's result depends on, found by following its imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def sources(step: str, package: Path) -> list[Path]:
    """The module of a step and all modules of the package that it imports, directly or not, sorted.

    Parameters
    ----------
    step : str
    package : Path
        Folder of the package.
    """
    found: set[Path] = set()
    waiting = [package / "steps" / f"{step}.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
    return sorted(found)


@cache
def imports(path: Path) -> tuple[Path, ...]:
    """Files of the modules that a module of the package imports, at its top or inside functions."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        candidates = [base.with_suffix(".py")] if node.module else []
        candidates += [base / f"{alias.name}.py" for alias in node.names]
        yield from (candidate for candidate in candidates if candidate.is_file())
