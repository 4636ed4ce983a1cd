"""Start Snakemake, after removing the lock that a killed run left behind.

Snakemake locks its working folder with files that outlive a kill. Here the operating system holds a second lock, which
does not: where it is free, no run that was started here is alive, and files that say otherwise are stale. A lock of a
run on another host is never removed.

All arguments are Snakemake's.
"""

import argparse
import fcntl
import socket
import sys
import warnings
from pathlib import Path
from typing import TextIO

LOCK = Path(".snakemake") / "pureparallel.lock"


def working_folder(arguments: list[str]) -> Path:
    """The folder that Snakemake will work in, from its ``--directory``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--directory", "-d", default=".")
    return Path(parser.parse_known_args(arguments)[0].directory)


def changes_nothing(arguments: list[str]) -> bool:
    """Whether Snakemake would only look: such runs take no lock."""
    looks = {"-n", "--dry-run", "--lint", "--report", "--dag", "--rulegraph", "--filegraph", "--summary", "--unlock",
             "--detailed-summary", "--list-rules", "--list", "-l", "--version", "-v", "--help", "-h"}  # fmt: skip
    return any(argument in looks for argument in arguments)


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
    if file.read().strip() == socket.gethostname():  # the last run's host; a run that ends by itself leaves nothing
        for stale in (folder / ".snakemake" / "locks").glob("*.lock"):
            print(f"removed a lock left by a run that was killed: {stale}", file=sys.stderr)
            stale.unlink(missing_ok=True)
    file.truncate(0)
    file.write(socket.gethostname())
    file.flush()
    return file


def main(arguments: list[str] | None = None) -> None:
    """Run Snakemake in this process; never returns."""
    arguments = sys.argv[1:] if arguments is None else arguments
    lock = None if changes_nothing(arguments) else hold(working_folder(arguments))
    from snakemake.cli import main as snakemake

    # Snakemake 9.27 forgets to await the sizes of inputs that it asks for while it builds the graph.
    warnings.filterwarnings("ignore", message="coroutine .*InputFiles", category=RuntimeWarning)
    sys.argv[0] = "snakemake"
    try:
        snakemake(arguments)
    finally:
        if lock is not None:
            lock.truncate(0)  # ended by itself: nothing of it is stale
            lock.close()


if __name__ == "__main__":
    main()
