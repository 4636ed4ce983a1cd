"""Snakemake (9.27) made to plan a survey's tens of thousands of jobs in less time and memory."""

import functools
import gc
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from .names import WILDCARDS

MARK = "\0"
"""In place of a wildcard."""


def hasten() -> None:
    """Do so in this process."""
    from snakemake import dag, iocontainers

    gc.set_threshold(100_000, 50, 50)  # a plan is millions of objects that stay: to look for waste took a seventh of it
    # two objects that only raise errors go with every list of names; one of each kind saves a twentieth of all memory
    guard: Any = iocontainers.AttributeGuard
    guard.__new__ = functools.cache(lambda kind, _: object.__new__(kind))
    dag.OutputIndex = ProductIndex


class ProductIndex:
    """Which rules may make a file: those with a product of as many folders, with the same names where they are fixed.

    Snakemake's own index compares what is before the first and after the last wildcard, which most products share: to
    find the rules took a seventh of a plan.

    Parameters
    ----------
    rules : iterable of snakemake.rules.Rule
    """

    def __init__(self, rules: Iterable[Any]) -> None:
        from snakemake.io import WILDCARD_REGEX

        tables: dict[tuple[int, tuple[int, ...]], dict[tuple[str, ...], set[Any]]] = defaultdict(dict)
        self._any: set[Any] = set()
        for rule in rules:
            for product in rule.products():
                if set(product.get_wildcard_names()) - set(WILDCARDS):
                    self._any.add(rule)  # with a wildcard that is not ours, and may stand for folders
                    continue
                parts = WILDCARD_REGEX.sub(MARK, product.file).split("/")
                places = tuple(i for i, part in enumerate(parts) if MARK not in part)
                tables[len(parts), places].setdefault(tuple(parts[i] for i in places), set()).add(rule)
        self._tables: dict[int, list[tuple[tuple[int, ...], dict[tuple[str, ...], set[Any]]]]] = defaultdict(list)
        for (count, places), table in tables.items():
            self._tables[count].append((places, table))

    def match(self, targetfile: str) -> set[Any]:
        """Rules that may make a file."""
        parts = targetfile.split("/")
        found = set(self._any)
        for places, table in self._tables.get(len(parts), ()):
            found |= table.get(tuple(parts[i] for i in places), set())
        return found

    def match_producers(self, targetfile: str) -> set[Any]:
        """Rules that make a file."""
        return {rule for rule in self.match(targetfile) if rule.is_producer(targetfile)}
