"""Schemas of the configuration: YAML read strictly, checked against them, with their defaults and in their types."""

import difflib
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from . import ROOT, UserError

SCHEMAS = ROOT / "workflow" / "schemas"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, refusing a key that stands in it twice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML in UTF-8: {error}") from error
    for message in _odd(node, ()):
        raise UserError(f"{path}:{message}")
    content = yaml.load(text, Loader=_Loader)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _odd(node: Any, above: tuple[Any, ...]) -> Iterator[str]:
    """What YAML allows in a node and we do not: a key that stands twice, a value that holds itself."""
    if node in above:
        yield f"{node.start_mark.line + 1}: this value holds itself"
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if str(key.value) in seen:
                yield f"{key.start_mark.line + 1}: key {key.value!r} stands here twice; keep one"
            seen.add(str(key.value))
            yield from _odd(value, (*above, node))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _odd(value, (*above, node))


@cache
def schema(name: str) -> dict[str, Any]:
    """A schema of workflow/schemas with its references to other files put in place."""
    return _inline(_read_schema(f"{name}.schema.yaml"))


@cache
def _read_schema(file: str) -> dict[str, Any]:
    return yaml.load((SCHEMAS / file).read_text(encoding="utf-8"), Loader=_Loader)


def _inline(value: Any) -> Any:
    if isinstance(value, list):
        return [_inline(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        file, _, pointer = value["$ref"].partition("#/")
        target: Any = _read_schema(file)
        for key in pointer.split("/"):
            target = target[key]
        return _inline(target)
    return {key: _inline(item) for key, item in value.items()}


def defaults(of: Mapping[str, Any]) -> dict[str, Any]:
    """All defaults of an object's schema, also of sections that are not given."""
    found: dict[str, Any] = {}
    for key, value in of.get("properties", {}).items():
        if value.get("type") == "object":
            found[key] = defaults(value)
        elif "default" in value:
            found[key] = deepcopy(value["default"])
    return found


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, section by section; lists are replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def coerce(content: Any, by: Mapping[str, Any]) -> Any:
    """`content` with numbers and switches as what their schema says.

    Snakemake hands values of ``--config`` on as text, and 2.0 is an integer for JSON Schema but not for Python. What
    cannot be converted stays, for `check` to refuse. An empty section is one with no options set.
    """
    kind = by.get("type")
    if kind == "object" and isinstance(content, dict):
        rules = by["properties"]
        return {key: coerce(value, rules[key]) if key in rules else value for key, value in content.items()}
    if kind == "object" and content is None:
        return {}
    if kind == "array" and isinstance(content, list):
        return [coerce(value, by["items"]) for value in content]
    if kind in ("integer", "number", "boolean") and isinstance(content, str):
        content = yaml.safe_load(content)
    if kind == "integer" and isinstance(content, float) and content.is_integer():
        return int(content)
    return content


def check(content: Any, against: dict[str, Any], where: str) -> None:
    """Raise UserError naming file, key, value and the nearest valid key, for all that is wrong in `content`."""
    validator = jsonschema.Draft202012Validator(against)
    problems = sorted(validator.iter_errors(content), key=lambda error: [str(key) for key in error.absolute_path])
    lines = [line for problem in problems for line in _explain(problem, against)]
    lines += [f"{path}: {value} is not a number to compute with" for path, value in _not_finite(content)]
    if lines:
        raise UserError("\n".join(f"{where}: {line}" for line in lines))


def _not_finite(content: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Values such as NaN, which pass every bound."""
    if isinstance(content, float) and not math.isfinite(content):
        yield path, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _not_finite(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, list):
        for i, value in enumerate(content):
            yield from _not_finite(value, f"{path}.{i}")


def _explain(problem: jsonschema.ValidationError, against: Mapping[str, Any]) -> Iterator[str]:
    """One line per thing that is wrong."""
    path = ".".join(str(key) for key in problem.absolute_path)
    if problem.validator == "additionalProperties":
        for key in sorted(set(map(str, problem.instance)) - set(problem.schema["properties"])):
            full = f"{path}.{key}" if path else key
            yield f"unknown key {full!r}{nearest(full, [p for p in keys(against) if p != path])}"
    elif problem.validator == "required":
        missing = sorted(set(problem.validator_value) - set(problem.instance))
        yield f"{path + ': ' if path else ''}missing {', '.join(map(repr, missing))}"
    else:
        described = problem.schema.get("description", "")
        yield f"{path or 'content'}: {problem.message}" + (f" ({described})" if described else "")


def keys(of: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All keys of an object's schema, as dotted paths."""
    for key, value in of.get("properties", {}).items():
        yield prefix + key
        yield from keys(value, f"{prefix}{key}.")


def nearest(name: str, known: list[str]) -> str:
    """``; did you mean 'x'?``, by the whole path first, then by its last part in any section."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if not close:
        leaves = {path.rpartition(".")[2]: path for path in known}
        close = [leaves[leaf] for leaf in difflib.get_close_matches(name.rpartition(".")[2], leaves, n=1)]
    return f"; did you mean {close[0]!r}?" if close else ""
