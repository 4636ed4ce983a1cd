"""One writer per product: a lock file beside it, held by the process that makes it.

A scheduler can lose sight of a job that goes on: its driver is killed and started again, its node is cut off, its
queue restarts. The lock keeps a second job from writing the same product, and works wherever an exclusive creation
does (local disks, NFS, Lustre); no clock is compared with another. Its holder touches it every `BEAT` seconds. A
newcomer is refused when it sees that happen, and takes over when the holder is gone from this machine, or has been
silent for `PATIENCE` seconds. A holder that was only asleep finds its lock gone when it comes to write (`check`), and
writes nothing.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from . import UserError

BEAT = 10.0
"""Seconds between two signs of life."""

PATIENCE = 60.0
"""Seconds without one after which a holder on another machine is taken for dead."""

_held: dict[Path, str] = {}


def lock_of(product: Path) -> Path:
    """The lock of a product, file or folder."""
    return product.parent / f".{product.name}.lock"


def machine() -> str:
    """What process numbers belong to: host, its boot, and the namespace of a container."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        words.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(words)


@contextlib.contextmanager
def writing(product: Path) -> Iterator[None]:
    """Hold the lock of a product.

    Raises
    ------
    UserError
        If another process that is alive holds it.
    """
    path = lock_of(product).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = _identity()
    _take(path, mine, product)
    _held[path] = mine
    done = threading.Event()
    beats = threading.Thread(target=_beat, args=(path, mine, done), daemon=True)
    beats.start()
    try:
        yield
    finally:
        done.set()
        beats.join()
        del _held[path]
        if _content(path) == mine:
            path.unlink(missing_ok=True)


def check() -> None:
    """Refuse to go on where a lock of this process has been taken over; called before anything takes its name."""
    for path, mine in _held.items():
        if _content(path) != mine:
            raise UserError(
                f"{path}: taken over by another job while this one gave no sign of life; nothing is written"
            )


def _identity() -> str:
    """Who holds a lock, and different for every time it is taken."""
    job = os.environ.get("SLURM_JOB_ID", "")
    since = datetime.now(UTC).isoformat(timespec="seconds")
    who = {"machine": machine(), "process": os.getpid(), "slurm_job": job, "since": since}
    return json.dumps({**who, "id": uuid.uuid4().hex})


def _take(path: Path, mine: str, product: Path) -> None:
    while not _create(path, mine):
        seen = _look(path)
        if seen is None:
            continue
        if _is_gone(seen[0]) or _is_silent(path, seen, product):
            _remove(path, seen[0])


def _create(path: Path, content: str) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return True


def _look(path: Path) -> tuple[str, int] | None:
    """Content and time of a lock; opened, because NFS answers a mere stat from its memory."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


def _content(path: Path) -> str | None:
    seen = _look(path)
    return None if seen is None else seen[0]


def _is_gone(content: str) -> bool:
    """Whether the holder was on this machine and is there no more."""
    try:
        holder = json.loads(content)
        if holder["machine"] != machine():
            return False
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return False


def _is_silent(path: Path, seen: tuple[str, int], product: Path) -> bool:
    """Watch a lock: True after `PATIENCE` seconds without a sign of life, False where it is gone."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(BEAT / 10)
        now = _look(path)
        if now is None:
            return False
        if now != seen:
            raise UserError(f"{product}: {_told(now[0])} is writing it; wait for that, or end it")
    return True


def _told(content: str) -> str:
    try:
        holder = json.loads(content)
        job = f"SLURM job {holder['slurm_job']}, " if holder["slurm_job"] else ""
        return f"{job}process {holder['process']} on {holder['machine'].partition(' ')[0]} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _remove(path: Path, content: str) -> None:
    """Remove the lock of a dead holder, and no other that may have come in its place."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _content(aside) != content:
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink()


def _beat(path: Path, mine: str, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with contextlib.suppress(OSError):
            if _content(path) == mine:
                os.utime(path)
