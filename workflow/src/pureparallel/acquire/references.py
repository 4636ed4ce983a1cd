"""Reference files of the calibration: which ones a manifest needs, and a cache that holds exactly what it says it does.

That a context is pinned does not pin its files: a mapping was once corrected in place, under its old name. So a ledger
in the cache keeps the SHA-1 of every file that was ever checked, beside the context it was fetched for, and no file
may differ from it later, whoever changed it, the server included.

Nothing is ever visible in the cache that is not whole and checked: the client of CRDS itself checks a file after it has
put it in its place, so it is asked for addresses and checksums only.
"""

import contextlib
import fcntl
import hashlib
import os
import pprint
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import UserError, io
from . import answers, transfer
from .verify import Wrong

LEDGER = "pureparallel.json"
"""File of the cache's root: SHA-1 and size by file name."""

LOCK = ".pureparallel.lock"

PATIENCE = 3
"""Further attempts at a file; what is wrong on the server stays wrong."""

EXPOSURE_TYPES = {"niriss_image": "NIS_IMAGE", "niriss_wfss": "NIS_WFSS"}

PIPELINES = ("Detector1", "Image2", "Image3", "Spec2", "Spec3")

UNUSED_FIELDS = ("download_metadata",)
"""Of what the server tells of itself: 100 MB of it."""


def parameters(row: Mapping[str, str]) -> dict[str, str]:
    """What references are chosen by, of an exposure that is not there yet.

    Parameters
    ----------
    row : mapping
        Of the manifest.

    Returns
    -------
    dict of str to str
        Keywords of the data model, with upper-case names as CRDS has them.
    """
    date, _, time = row["start"].partition("T")
    return {
        "META.INSTRUMENT.NAME": "NIRISS",
        "META.INSTRUMENT.DETECTOR": "NIS",
        "META.INSTRUMENT.FILTER": row["grism"] or "CLEAR",
        "META.INSTRUMENT.PUPIL": row["filter"],
        "META.INSTRUMENT.LAMP_STATE": "NONE",
        "META.EXPOSURE.TYPE": EXPOSURE_TYPES[row["mode"]],
        "META.EXPOSURE.READPATT": row["readpatt"],
        "META.SUBARRAY.NAME": "FULL",  # pure-parallel exposures have no other
        "META.OBSERVATION.DATE": date,
        "META.OBSERVATION.TIME": time,
        "META.VISIT.TSOVISIT": "F",
    }


def types() -> set[str]:
    """All types of reference and parameter files that the pipelines' steps can ask for."""
    from jwst import pipeline

    found: set[str] = set()

    def add(step: Any) -> None:
        found.add(f"pars-{step.__name__.lower()}")
        inner = getattr(step, "step_defs", {})
        for part in inner.values():
            add(part)
        if not inner:
            found.update(step.reference_file_types)

    for name in PIPELINES:
        add(getattr(pipeline, f"{name}Pipeline"))
    return found


def needed(context: str, rows: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """The reference files of exposures, by name, with the types that each serves.

    The cache, which CRDS has to be pointed to, must have the context's mappings.
    """
    from crds.core.heavy_client import hv_best_references

    wanted, found = sorted(types()), dict[str, set[str]]()
    for chosen in {tuple(parameters(row).items()) for row in rows}:
        best = hv_best_references(context, dict(chosen), wanted)
        for kind, name in best.items():
            if not name.startswith("NOT FOUND") and name.upper() != "N/A":
                found.setdefault(name, set()).add(kind.lower())
    return {name: sorted(kinds) for name, kinds in sorted(found.items())}


def point(cache: Path, server: str) -> None:
    """Point CRDS to a cache and a server; to be called before crds is imported."""
    os.environ |= {
        "CRDS_PATH": str(cache.absolute()),
        "CRDS_OBSERVATORY": "jwst",
        "CRDS_SERVER_URL": server,
        "CRDS_MODE": "local",
        "CRDS_READONLY_CACHE": "0",
        "CRDS_CLIENT_RETRY_COUNT": "5",
        "CRDS_CLIENT_RETRY_DELAY_SECONDS": "2",
    }


def place(name: str) -> Path:
    """Where the cache has a file, by its name."""
    from crds.core import config

    if Path(name).name != name or not name.isprintable() or name.startswith("."):
        raise UserError(f"crds: {name!r} is no name of a reference or mapping; is crds.server the right one?")
    return Path(config.locate_file(name, "jwst"))


@contextlib.contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Hold the cache's lock: one process at a time writes into it, on however many machines."""
    with (cache / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sha1(path: Path) -> str:
    """SHA-1 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def fingerprint(path: Path) -> dict[str, Any]:
    """``sha1``, ``bytes`` and ``modified`` (ns since 1970) of a file."""
    state = path.stat()
    return {"sha1": sha1(path), "bytes": state.st_size, "modified": state.st_mtime_ns}


def read_ledger(cache: Path) -> dict[str, dict[str, Any]]:
    """What the cache's files were when they were first checked."""
    path = cache / LEDGER
    return io.read_json(path) if path.is_file() else {}


def same(name: str, before: Mapping[str, Any], now: Mapping[str, Any], who: str) -> None:
    """UserError where a file is not what it was."""
    if before["sha1"] != now["sha1"]:
        raise UserError(
            f"references: {name} was {before['sha1']} (SHA-1) when it was first fetched, and is {now['sha1']} {who}. "
            "Results with the one cannot be compared with results of the other: if the new one is right, use an empty "
            "crds.cache, and reduce all fields again"
        )


class Server:
    """What a CRDS server tells of a context and its files."""

    def mappings(self, context: str) -> list[str]:
        """Names of a context's mappings, itself included."""
        return self._ask(lambda api: api.get_mapping_names(context), f"the mappings of {context}")

    def told(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """SHA-1, size and address of files."""
        asked = sorted(names)
        found = self._ask(lambda api: api.get_file_info_map("jwst", asked, ["sha1sum", "size"]), "checksums")
        result = {}
        for name in asked:
            info = found.get(name)
            if not isinstance(info, dict) or not info.get("sha1sum"):
                raise UserError(f"references: the server knows no {name}; is crds.server the right one?")
            address = self._address(name)
            result[name] = {"sha1": str(info["sha1sum"]), "bytes": int(info["size"]), "url": address}
        return result

    def _address(self, name: str) -> str:
        return self._ask(lambda api: str(api.get_flex_uri(name, "jwst")), "addresses")

    def itself(self) -> dict[str, Any]:
        """What a cache keeps of its server."""
        info = self._ask(lambda api: api.get_server_info(), "its configuration")
        return {key: value for key, value in info.items() if key not in UNUSED_FIELDS}

    def _ask[T](self, question: Callable[[Any], T], what: str) -> T:
        from crds.client import api
        from crds.core.exceptions import CrdsError

        try:
            return question(api)
        except (CrdsError, OSError, ValueError) as error:
            raise UserError(f"references: {api.get_crds_server()} does not tell {what}: {error}") from error


def mappings(context: str, server: Server) -> list[str]:
    """Names of a context's mappings: by the cache where it has them, else by the server."""
    import crds
    from crds.core.exceptions import CrdsError

    if place(context).is_file():
        with contextlib.suppress(CrdsError, OSError):
            return sorted(crds.get_cached_mapping(context).mapping_names())
    return server.mappings(context)


def complete(
    cache: Path, names: Iterable[str], server: Server, say: Callable[[int, int, str], None]
) -> dict[str, dict[str, Any]]:
    """See that the cache has files, and that they are the right ones.

    Parameters
    ----------
    cache : Path
        CRDS has to be pointed to it.
    names : iterable of str
    server : Server
        Asked for what is missing, and for what the ledger does not have, only.
    say : callable
        ``say(done, total, name)``, of files fetched.

    Returns
    -------
    dict of dict
        By name: ``sha1``, ``bytes``, ``modified`` (ns since 1970) and ``path`` below the cache's root.

    Raises
    ------
    UserError
        If a file is not what it was, or not what the server says, or cannot be had.
    """
    where = {name: place(name) for name in sorted(set(names))}
    ledger = read_ledger(cache)
    if any(not path.is_file() or name not in ledger for name, path in where.items()):
        with alone(cache):
            ledger = read_ledger(cache)  # of the one that held the lock before
            missing = [name for name, path in where.items() if not path.is_file()]
            told = server.told([name for name in where if name in missing or name not in ledger])
            for name, info in told.items():
                if name in ledger:
                    same(name, ledger[name], info, "on the server")
            for number, name in enumerate(missing, start=1):
                _put(where[name], told[name])
                say(number, len(missing), name)
            for name, info in told.items():
                found = {"sha1": sha1(where[name]), "bytes": where[name].stat().st_size}
                if found["sha1"] != info["sha1"]:
                    raise UserError(
                        f"references: {where[name]} has SHA-1 {found['sha1']}, the server's has {info['sha1']}: it was "
                        "changed here or corrected there. Remove it, and reduce again what was made with it"
                    )
                ledger.setdefault(name, found)
            io.write_json(cache / LEDGER, dict(sorted(ledger.items())))
    result = {}
    for name, path in where.items():
        result[name] = fingerprint(path) | {"path": str(path.relative_to(cache.absolute()))}
        same(name, ledger[name], result[name], f"in {path}")
    return result


def copy(cache: Path, folder: Path, files: Iterable[str]) -> None:
    """Copy files of a cache, by their paths in it, and what CRDS needs to read them, to another root."""
    shutil.copytree(cache / "config" / "jwst", folder / "config" / "jwst")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(cache / name, folder / name)


def check(root: Path, files: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """See that a cache's files are those of a record; contents are read again of files that were touched only.

    Parameters
    ----------
    root : Path
    files : mapping of dict
        By path below the root: ``sha1``, ``bytes`` and ``modified``.
    where : str
        The record, for errors.

    Raises
    ------
    UserError
        If a file is missing, or not what it was.
    """
    for name, known in files.items():
        path = root / name
        try:
            state = path.stat()
        except OSError as error:
            raise UserError(f"{where}: {path} is missing ({error.strerror}); run the rule references again") from error
        if (state.st_size, state.st_mtime_ns) != (known["bytes"], known["modified"]):
            same(name, known, {"sha1": sha1(path)}, f"in {path}")


def _put(path: Path, told: Mapping[str, Any]) -> None:
    """Fetch a file, check it, and put it in its place; what came before a kill or a fault is not fetched again."""

    def right(part: Path) -> None:
        found = sha1(part)
        if found != told["sha1"]:
            raise Wrong(f"{told['url']} has SHA-1 {found}; the server promised {told['sha1']}")

    source = answers.Source(told["url"], told["bytes"])
    try:
        transfer.fetch(source, path, limits=transfer.Limits(retries=PATIENCE), check=right)
    except UserError as error:
        raise UserError(f"references: {told['url']}: {error}") from error
    transfer.finish(path)


def describe(cache: Path, server: Server, context: str) -> None:
    """Write what CRDS needs to read the cache without a network, where it is not there yet."""
    folder = cache / "config" / "jwst"
    if (folder / "server_config").is_file():
        return
    with alone(cache):
        told = server.itself() | {
            "observatory": "jwst", "operational_context": context, "last_synced": str(datetime.now(UTC)),
        }  # fmt: skip
        io.write_text(folder / "ref_cache_subdir_mode", "instrument\n")
        io.write_text(folder / "bad_files.txt", "")
        io.write_text(folder / "server_config", pprint.pformat(told) + "\n")
