"""Batches: one process works through many exposures, each by itself, and can be killed at any time.

What is finished lies in a partial folder beside the batch's own, with a record of what it was made from. A batch that
starts again keeps what its records still vouch for, and makes the rest. Only a whole batch takes its folder's name.
"""

import contextlib
import json
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from . import UserError, io, log
from .provenance import Lineage, digest, environment

RECORDS = ".records"

Work = Callable[[str, Sequence[Path], Lineage, Path], Mapping[str, Any]]
"""``work(name, inputs, lineage, folder)`` writes files whose names begin with the item's name, and gives metrics."""


@cache
def code() -> str:
    """Digest of the package's sources, whichever commit they are of."""
    root = Path(__file__).parent
    return digest({str(p.relative_to(root)): p.read_text(encoding="utf-8") for p in sorted(root.rglob("*.py"))})


def run(
    target: Path,
    items: Mapping[str, Sequence[Path]],
    work: Work,
    *,
    step: str,
    options: Mapping[str, Any],
    figures: Path | None = None,
    logger: logging.Logger,
) -> dict[str, dict[str, Any]]:
    """Do `work` for every item; `target` becomes the folder of all their products.

    An item that fails leaves its metrics with a reason and nothing else, and the others go on.

    Parameters
    ----------
    target : Path
        Output folder; an older one is replaced whole.
    items : mapping of str to sequence of Path
        Names, and each one's input files.
    work : callable
        See `Work`.
    step : str
        For the lineage.
    options : mapping
        Those that the products depend on.
    figures : Path, optional
        Output folder for pictures (``.png``, ``.jpg``); without it they stay with the others.
    logger : Logger

    Returns
    -------
    dict of str to dict
        The metrics, by item: ``name``, ``reason`` (empty where all went well), and what `work` returned. They are
        also written as ``{name}.metrics.json``.
    """
    part = target.parent / f".{target.name}.part"
    kept = _kept(part, items, step, options)
    if kept:
        logger.info("%d of %d are finished already", len(kept), len(items))
    rows = {}
    for i, (name, inputs) in enumerate(items.items(), start=1):
        if name not in kept:
            start = time.perf_counter()
            rows[name] = _attempt(part, name, inputs, work, step, options, logger)
            log.progress(logger, i, len(items), f"{name} ({time.perf_counter() - start:.1f} s)")
        else:
            rows[name] = io.read_json(part / f"{name}.metrics.json")
    _finish(part, target, figures)
    return rows


def _attempt(
    part: Path, name: str, inputs: Sequence[Path], work: Work, step: str, options: Mapping[str, Any],
    logger: logging.Logger,
) -> dict[str, Any]:  # fmt: skip
    """One item: its products, metrics and record, or its reason."""
    row: dict[str, Any] = {"name": name, "reason": ""}
    try:
        lineage = Lineage.of(step, inputs, **options)
        row |= work(name, inputs, lineage, part)
    except UserError as error:
        row["reason"] = str(error)
    except OSError as error:
        row["reason"] = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except Exception as error:
        logger.warning("%s failed:\n%s", name, traceback.format_exc())
        row["reason"] = f"{type(error).__name__}: {error}"
    metrics = part / f"{name}.metrics.json"
    if row["reason"]:
        on_purpose = row.get("left_out", False)
        logger.log(logging.INFO if on_purpose else logging.WARNING, "%s: %s", name, row["reason"])
        for path in _files(part, name):
            path.unlink()
        io.write_json(metrics, row)
        return row
    io.write_json(metrics, row)
    sizes = {path.name: path.stat().st_size for path in _files(part, name)}
    io.write_json(_record(part, name), {"from": _fingerprint(lineage), "files": sizes})
    return row


def _fingerprint(lineage: Lineage) -> str:
    """Digest of all that an item's products depend on."""
    made_from = {"inputs": lineage.inputs, "options": dict(lineage.options)}
    return digest({**made_from, "step": lineage.step, "code": code(), "environment": environment()})


def _record(part: Path, name: str) -> Path:
    return part / RECORDS / f"{name}.json"


def _files(part: Path, name: str) -> list[Path]:
    """Products of one item."""
    return [*part.glob(f"{name}_*"), *part.glob(f"{name}.*")]


def _kept(part: Path, items: Mapping[str, Sequence[Path]], step: str, options: Mapping[str, Any]) -> set[str]:
    """Items whose record agrees; of all others nothing stays."""
    (part / RECORDS).mkdir(parents=True, exist_ok=True)
    kept, expected = set(), {RECORDS}
    for name, inputs in items.items():
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads(_record(part, name).read_text(encoding="utf-8"))
            whole = all((part / file).stat().st_size == size for file, size in record["files"].items())
            if whole and record["from"] == _fingerprint(Lineage.of(step, inputs, **options)):
                kept.add(name)
                expected |= set(record["files"])
    for path in part.iterdir():
        if path.name not in expected:
            path.unlink() if path.is_file() else shutil.rmtree(path)
    for path in (part / RECORDS).iterdir():
        if path.stem not in kept:
            path.unlink()
    return kept


def _finish(part: Path, target: Path, figures: Path | None) -> None:
    """Give the folders their names; figures first, for without the target the batch is not whole."""
    if figures is not None:
        drawn = sorted(path for path in part.iterdir() if path.suffix in (".png", ".jpg"))
        with io.atomic_directory(figures) as folder:
            for path in drawn:
                shutil.copyfile(path, folder / path.name)
        for path in drawn:
            path.unlink()
    shutil.rmtree(part / RECORDS)
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)
