"""Many downloads at once from an archive that misbehaves in every way it knows."""

import json
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pureparallel import UserError
from pureparallel.steps.download import download

sys.path.insert(0, str(Path(__file__).parent))
from file_server import exposure, running, uncal

PASSING = (
    "busy", "500", "502", "429", "cut 0", "cut 0.02", "cut 0.5", "cut 0.999", "reset 0.4", "stall 0.3", "drip 0.6",
    "silence", "error page", "text", "wrong length", "whole again", "wrong range", "unnamed", "chunks", "chunks 0.5",
)  # fmt: skip
"""Faults of one answer, which the next one may not have."""

SPOILING = ("wrong bytes", "other exposure")
KEEPING = {"", "busy", "500", "502", "429", "cut", "stall", "silence", "error"}
"""First words of the faults after which a part is continued."""

LASTING = ("404", "401", "wrong bytes", "other exposure")


@dataclass
class Survey:
    """What became of many downloads.

    Attributes
    ----------
    files : dict of str to bytes
        By name, as they are in the archive.
    doomed : set of str
        Those that can never be had.
    faults : dict of str to list of str
        Of every answer.
    reasons : dict of str to str
        Why a file is missing; empty where it is not.
    folder : Path
        Of the files.
    """

    files: dict[str, bytes]
    doomed: set[str]
    faults: dict[str, list[str]]
    reasons: dict[str, str]
    folder: Path

    def record(self, name: str) -> dict:
        """What is recorded of a file."""
        return json.loads((self.folder / name).with_suffix(".json").read_text())

    def right(self) -> set[str]:
        """Files that are as in the archive."""
        return {name for name in self.there() if (self.folder / name).read_bytes() == self.files[name]}

    def there(self) -> set[str]:
        """Files that look finished."""
        return {path.name for path in self.folder.glob("*_uncal.fits")}

    def continued(self) -> list[str]:
        """Files that were cut, and suffered nothing by which what was there was of no use."""
        return [
            name for name, mine in self.faults.items()
            if any("cut" in fault for fault in mine) and {fault.split(" ")[0] for fault in mine} <= KEEPING
        ]  # fmt: skip


def survey(folder: Path, number: int, seed: int = 0, share: float = 0.5) -> Survey:
    """Download `number` files, 16 at a time; one answer in two is at fault, and one file in 25 can never be had.

    Every other file carries FITS checksums, the others are known to the manifest by theirs.
    """
    os.environ.pop("MAST_API_TOKEN", None)
    names = [exposure(i) for i in range(number)]
    files = {}
    for i, name in enumerate(names):
        size = random.Random(f"{seed} {i}").choice((20160, 60480, 100800, 198720))
        files[f"{name}_uncal.fits"] = uncal(name, size=size, checksums=i % 2 == 0, seed=seed * number + i)
    doomed = {f"{names[i]}_uncal.fits": LASTING[i // 25 % 4] for i in range(0, number, 25)}
    faults: dict[str, list[str]] = {name: [] for name in files}

    def plan(name: str, n: int) -> str:
        chance = random.Random(f"{seed} {name} {n}")
        fault = doomed.get(name, "")
        if not fault and chance.random() < share:
            fault = chance.choice(PASSING + SPOILING)
            if fault.startswith(("cut", "reset")):
                fault = f"{fault.split()[0]} {chance.random()}"
        faults[name].append(fault)
        return fault

    def one(i: int) -> str:
        path = folder / f"{names[i]}_uncal.fits"
        known = sha256(files[path.name]).hexdigest()
        try:
            download(
                exposure=names[i], uncal=path, record=path.with_suffix(".json"), url=archive.url, stall=0.6,
                backoff=0.01, longest_wait=0.1, retries=14, checksum=f"sha256:{known}" if i % 2 else "",
                size=len(files[path.name]) * (i % 4 // 2),
            )  # fmt: skip
        except UserError as error:
            return str(error)
        return ""

    with running(files, plan=plan, patience=1.5) as archive, ThreadPoolExecutor(16) as pool:
        reasons = dict(zip(files, pool.map(one, range(number)), strict=True))
    return Survey(files, set(doomed), faults, reasons, folder)
