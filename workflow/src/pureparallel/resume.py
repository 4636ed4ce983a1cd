"""Go on after a run on SLURM whose driver was killed: end the jobs that it left behind, then run Snakemake.

A job in the queue does not notice that Snakemake is gone. Started again, Snakemake would submit the same work a second
time: `launch` refuses that, and where it is done by other means, a lock keeps two jobs from writing one product
(`guard`). Jobs carry the name of their run, which Snakemake's logs in the working folder remember; others are left
alone.

All arguments are Snakemake's; with ``-n``, it only says what would be ended.
"""

import socket
import sys
from pathlib import Path

from . import UserError, launch, slurm


def prepare(folder: Path) -> list[str]:
    """End what a dead driver left behind in a working folder; the numbers of its jobs.

    Raises
    ------
    UserError
        If a driver is alive, here or, as far as can be told, on another host.
    """
    lock = folder / launch.LOCK
    host = lock.read_text(encoding="utf-8").strip() if lock.is_file() else ""
    if host not in ("", socket.gethostname()):
        raise UserError(
            f"{lock}: the last run was started on {host}, and whether it is alive cannot be seen from here; resume"
            " there, or remove this file if that machine is gone"
        )
    held = launch.hold(folder)
    if held is None:
        raise UserError(f"{folder}: a run is at work here; end it first (Ctrl-C, or SIGTERM to it), or let it go on")
    with held:
        return slurm.cancel(slurm.runs(folder))


def main(arguments: list[str] | None = None) -> None:
    """End the orphans, then run Snakemake; never returns."""
    arguments = sys.argv[1:] if arguments is None else arguments
    folder = launch.working_folder(arguments)
    try:
        if launch.changes_nothing(arguments):
            for job, state in slurm.jobs(slurm.runs(folder)).items():
                print(f"would cancel {job} ({state})", file=sys.stderr)
        else:
            for job in prepare(folder):
                print(f"cancelled {job}, left by a run that was killed", file=sys.stderr)
    except UserError as error:
        sys.exit(str(error))
    sys.stderr.flush()
    launch.main(arguments)


if __name__ == "__main__":
    main()
