"""The command line: one subcommand per step, made from the step's own signature and docstring.

``pureparallel <step> --help`` shows the arguments. Only the module of the step that runs is imported.
"""

import argparse
import ast
import contextlib
import importlib
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import UserError, __version__, guard, log

STEPS = Path(__file__).parent / "steps"


def steps() -> dict[str, str]:
    """Every step with the first line of its module's docstring, without importing any."""
    found = {}
    for path in sorted(STEPS.glob("[!_]*.py")):
        found[path.stem] = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    return found


def step(name: str) -> Callable[..., None]:
    """The function of a step."""
    return getattr(importlib.import_module(f"{__package__}.steps.{name}"), name)


def parameter_help(docstring: str) -> dict[str, str]:
    """Descriptions of the parameters in a numpydoc docstring, one line each."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", inspect.cleandoc(docstring), re.M | re.S)
    entries = re.findall(r"^(\w+) :[^\n]*\n((?:[ \t]+[^\n]*\n?|\n)*)", section[1] if section else "", re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def product(function: Callable[..., None]) -> str | None:
    """Name of the first parameter whose description begins with Output: what no two processes may write at once."""
    described = parameter_help(function.__doc__ or "")
    return next((name for name, text in described.items() if text.startswith("Output")), None)


def add_argument(parser: argparse.ArgumentParser, name: str, kind: Any, default: Any, description: str) -> None:
    """Turn one keyword argument of a step into one flag.

    ``list[X]`` takes one or more values, ``tuple[X, Y]`` exactly as many as it names, ``bool`` is a pair of
    flags ``--x`` and ``--no-x``, ``Literal`` is a choice, and ``X | None`` is what ``X`` is.
    """
    options: dict[str, Any] = {"help": description.replace("%", "%%")}
    if default is inspect.Parameter.empty:
        options["required"] = True
    else:
        options["default"] = default
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = [one for one in typing.get_args(kind) if one is not type(None)]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    elif origin is list:
        options |= {"nargs": "*" if default is not inspect.Parameter.empty else "+", "type": arguments[0]}
    elif origin is tuple:
        options |= {"nargs": len(arguments), "type": arguments[0], "metavar": name.upper()}
    elif origin is typing.Literal:
        options["choices"] = arguments
    else:
        options["type"] = kind
    parser.add_argument("--" + name.replace("_", "-"), dest=name, **options)


def step_parser(name: str, function: Callable[..., None]) -> argparse.ArgumentParser:
    """The parser of one step."""
    docstring = function.__doc__ or ""
    parser = argparse.ArgumentParser(prog=f"pureparallel {name}", description=docstring.partition("\n")[0])
    hints, described = typing.get_type_hints(function), parameter_help(docstring)
    for key, parameter in inspect.signature(function).parameters.items():
        add_argument(parser, key, hints[key], parameter.default, described.get(key, ""))
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one step.

    Returns
    -------
    int
        0; 1 after a user's mistake, told in one line; 2 for arguments that cannot be understood.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="pureparallel", description="One step of the workflow.")
    parser.add_argument("--version", action="version", version=f"pureparallel {__version__}")
    choices = steps()
    parser.add_argument(
        "step", choices=choices, metavar="step", help="; ".join(f"{k}: {v}" for k, v in choices.items())
    )
    chosen = parser.parse_args(argv[:1]).step
    log.configure()
    logger = log.of(chosen)
    try:
        function = step(chosen)
        arguments = vars(step_parser(chosen, function).parse_args(argv[1:]))
        target = arguments.get(product(function) or "")
        with guard.writing(target) if target else contextlib.nullcontext():
            function(
                **{k: tuple(v) if isinstance(v, list) and _is_tuple(function, k) else v for k, v in arguments.items()}
            )
    except UserError as error:
        logger.error("%s", error)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        logger.error("%s: %s", error.filename, error.strerror)
        return 1
    return 0


def _is_tuple(function: Callable[..., None], key: str) -> bool:
    return typing.get_origin(typing.get_type_hints(function)[key]) is tuple


if __name__ == "__main__":
    sys.exit(main())
