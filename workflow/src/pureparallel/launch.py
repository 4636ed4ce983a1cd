"""Start Snakemake, after removing the lock that a killed run left behind.

Snakemake locks its working folder with files that outlive a kill. Here the operating system holds a second lock, which
does not: where it is free, no run that was started here is alive, and files that say otherwise are stale. A lock of a
run on another host is never removed.

All arguments are Snakemake's.
"""

import argparse
import contextlib
import fcntl
import os
import re
import shlex
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from . import ROOT, UserError, arrivals, planning, progress, slurm, storage

LOCK = Path(".snakemake") / "pureparallel.lock"


def working_folder(arguments: list[str]) -> Path:
    """The folder that Snakemake will work in, from its ``--directory``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--directory", "-d", default=".")
    return Path(parser.parse_known_args(arguments)[0].directory)


def changes_nothing(arguments: list[str]) -> bool:
    """Whether Snakemake would only look: such runs take no lock."""
    looks = {
        *("--dry-run", "--dryrun", "--lint", "--report", "--dag", "--rulegraph", "--filegraph", "--summary"),
        *("--detailed-summary", "--list-rules", "--list", "-l", "--unlock", "--version", "-v", "--help", "-h"),
    }
    short = re.compile("-[FRnpqrk]*n[FRnpqrk]*")  # -n, also among other short switches, as in -np
    return any(argument in looks or short.fullmatch(argument) for argument in arguments)


def is_used(folder: Path) -> bool:
    """Whether a Snakemake that was not started here is at work in a folder, as far as the system tells (Linux)."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            is_snakemake = any(Path(os.fsdecode(word)).name == "snakemake" for word in words[:4])
            if is_snakemake and (process / "cwd").samefile(folder) and int(process.name) != os.getpid():
                return True
        except OSError:
            continue
    return False


def hold(folder: Path) -> TextIO | None:
    """Take the lock of a working folder for as long as this process lives, and remove stale locks of Snakemake.

    Returns
    -------
    file or None
        To be kept open; None where another run holds the lock, or the folder cannot be written: Snakemake's own
        message is then the one that counts.
    """
    path = folder / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    file.seek(0)
    killed_here = file.read().strip() == socket.gethostname()  # a run that ends by itself leaves nothing
    if killed_here and not is_used(folder):
        for stale in (folder / ".snakemake" / "locks").glob("*.lock"):
            print(f"removed a lock left by a run that was killed: {stale}", file=sys.stderr)
            stale.unlink(missing_ok=True)
    file.truncate(0)
    file.write(socket.gethostname())
    file.flush()
    return file


def is_held(folder: Path) -> bool:
    """Whether a run that was started here is alive in a working folder."""
    try:
        with (folder / LOCK).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


BARE = "import sys; from pureparallel.launch import snakemake; snakemake(sys.argv[1:])"
"""A Snakemake within a run that holds the lock."""


def snakemake(arguments: list[str]) -> None:
    """Run Snakemake as we need it, in this process; never returns."""
    from snakemake.cli import main

    slurm.mend_plugin()
    planning.hasten()
    # Snakemake 9.27 forgets to await the sizes of inputs that it asks for while it builds the graph.
    warnings.filterwarnings("ignore", message="coroutine .*InputFiles", category=RuntimeWarning)
    sys.argv[0] = "snakemake"
    main(arguments)


def catch_up(arguments: list[str]) -> Callable[[], None]:
    """Bring what changed fields hang on up to date; gives what is to be called once nothing is left to do."""
    from snakemake.cli import parse_args

    _, given = parse_args(arguments)
    partial = ("force", "forceall", "forcerun", "until", "omit_from", "touch", "batch", "allowed_rules", "config")
    if any(getattr(given, name, None) for name in partial):
        return lambda: None
    folder, targets = Path(given.directory or "."), [str(one) for one in given.targets]
    try:
        content, fields = arrivals.survey(folder, [Path(one) for one in given.configfile or ()])
        now, before = arrivals.digests(content, fields), arrivals.read(folder)
        changed = [name for name, digest in now.items() if digest != before.get(name)]
        if targets:
            changed = [name for name in changed if any(name in Path(target).parts for target in targets)]
        rest = [argument for argument in arguments if argument not in targets]
        for wanted in arrivals.passes(folder, content, fields, changed) if changed else ():
            print(f"changed since the last run: {', '.join(changed)}; first {', '.join(wanted)}", file=sys.stderr)
            subprocess.run([sys.executable, "-c", BARE, *wanted, *rest], check=False)
    except (UserError, KeyError, OSError, StopIteration):
        return lambda: None  # Snakemake itself will say what is wrong with the configuration
    return lambda: None if targets else arrivals.write(folder, now)


def ready(arguments: list[str]) -> None:
    """Go on where the plugins of a profile are, and see that its object store can be used, and its queue.

    Raises
    ------
    UserError
        If it cannot.
    """
    settings = storage.wanted(arguments)
    environment = storage.environment(settings)
    if environment:
        storage.go_on_in(environment, arguments)
    elif not changes_nothing(arguments):
        storage.check(settings)
        if settings.get("executor") == "slurm":
            refuse_orphans(arguments)


def refuse_orphans(arguments: list[str]) -> None:
    """Refuse to submit work again that an earlier run of the working folder has left in SLURM's queue.

    Raises
    ------
    UserError
        If it has; not where a run is alive, as far as can be told: Snakemake's own message is then the one that counts.
    """
    folder = working_folder(arguments)
    left = slurm.jobs(slurm.runs(folder))
    if left and not is_held(folder):
        told = ", ".join(f"{job} ({state})" for job, state in sorted(left.items()))
        raise UserError(
            f"{folder.resolve()}: jobs of a run that ended without them are still in SLURM's queue: {told}. To end"
            f" them and go on: pixi run resume {shlex.join(arguments)}"
        )


def main(arguments: list[str] | None = None) -> None:
    """Run Snakemake in this process; never returns."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.environ["XDG_CONFIG_DIRS"] = f"{ROOT / 'profiles'}:/etc/xdg"  # where it finds `--profile slurm`
    try:
        ready(arguments)
    except UserError as error:
        sys.exit(str(error))
    lock = None if changes_nothing(arguments) else hold(working_folder(arguments))
    done = catch_up(arguments) if lock is not None else lambda: None
    watched = contextlib.nullcontext() if lock is None else progress.recorded(working_folder(arguments))
    try:
        with watched:
            snakemake(arguments)
    except SystemExit as end:
        if not end.code:
            done()
        raise
    finally:
        if lock is not None:
            lock.truncate(0)  # ended by itself: nothing of it is stale
            lock.close()


if __name__ == "__main__":
    main()
