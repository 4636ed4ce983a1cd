"""Fetch one raw exposure from MAST, or link it from a shared archive, verified, with a record of both."""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .. import UserError, io, log, names
from ..acquire import transfer, verify
from ..acquire.addresses import checked_token, product_url
from ..acquire.answers import Refused, Source
from ..provenance import Lineage, sha256

MAST = "https://mast.stsci.edu/search/jwst/api/v0.1/retrieve_product?product_name="


def download(
    *,
    exposure: str,
    uncal: Path,
    record: Path,
    uri: str = "",
    size: int = 0,
    checksum: str = "",
    access: Literal["", "public", "exclusive"] = "",
    url: str = MAST,
    archive: Path | None = None,
    retries: int = 8,
    backoff: float = 1.0,
    longest_wait: float = 300.0,
    stall: float = 60.0,
) -> None:
    """Bring one raw exposure into the field's folder.

    Nothing has the file's name before its size, its checksum, its FITS structure with the checksums in it, and its
    header's identity are right. What is fetched lies in ``<uncal>.part`` until then, with ``<uncal>.part.json``; both
    outlive a killed job, and the next one continues there. Proprietary data need the token of MAST in the environment
    variable MAST_API_TOKEN; it is sent to the host of `url` alone, and shown nowhere.

    Parameters
    ----------
    exposure : str
        Name.
    uncal : Path
        Output: the file, or a link to the archive's.
    record : Path
        Output: JSON with its size, SHA-256, address, date, and what the transfer took.
    uri : str
        The file's name at MAST; without it, <exposure>_uncal.fits.
    size : int
        Bytes; 0 where not known.
    checksum : str
        As md5:<hex>, sha1:<hex> or sha256:<hex>; empty where not known.
    access : str
        public: the token is not sent.
    url : str
        Address that the file's name is appended to; https.
    archive : Path
        Folder of files that are there already, never written to; they are linked and not copied.
    retries : int
        Further attempts after one that failed.
    backoff : float
        Wait before the first of them, s; doubled for each, and shortened at random by up to a half.
    longest_wait : float
        Longest wait between attempts, s; a server that asks for more ends them.
    stall : float
        An attempt ends after so many seconds without an answer, or with less than 1 kB/s.
    """
    logger = log.of("download")
    names.check("exposure", exposure, where="--exposure")
    if uncal.name != f"{exposure}_uncal.fits":
        raise UserError(f"--uncal: {uncal.name} is not the file of {exposure}")
    if not re.fullmatch(r"((md5|sha1|sha256):[0-9a-fA-F]{32,64})?", checksum):
        raise UserError(f"checksum: {checksum!r} is not md5:<hex>, sha1:<hex> or sha256:<hex>; correct the manifest")
    wanted = _Wanted(exposure, uri or uncal.name, size, checksum)
    address = product_url(url, wanted.uri, exposure)
    there = _in_archive(wanted, archive, logger) if archive else None
    if there is None:
        token = "" if access == "public" else checked_token(os.environ.get("MAST_API_TOKEN", ""))
        limits = transfer.Limits(retries, backoff, longest_wait, stall)
        facts = _fetched(wanted, Source(address, size or None, token, bool(checksum)), uncal, limits, logger)
    else:
        facts = {"state": "linked", "seconds": 0.0, "retries": 0, "fetched": 0, "resumed": 0, **there[1]}
    lineage = Lineage.of("download", [], uri=wanted.uri, size=size, checksum=checksum, state=facts["state"])
    io.write_json(record, {"exposure": exposure, "url": address, "date": lineage.date, **facts})
    io.write_json(names.sidecar(uncal), lineage.to_dict(product=uncal.name, digest=facts["sha256"]))
    if there is None:
        transfer.finish(uncal)
    else:
        _link(there[0], uncal)


@dataclass(frozen=True)
class _Wanted:
    """What the manifest says of a file."""

    exposure: str
    uri: str
    size: int
    checksum: str

    def verified(self, path: Path) -> dict[str, Any]:
        """Size, SHA-256 and checks of a file that is the right one; Wrong if it is not."""
        size = path.stat().st_size
        if self.size and size != self.size:
            raise verify.Wrong(f"it has {size} bytes, not {self.size}")
        units = verify.uncal(path, self.exposure)
        if self.checksum:
            verify.checksum(path, self.checksum)
        inside = sum(unit.has_checksum for unit in units)
        by = ["size"] * bool(self.size) + ["checksum"] * bool(self.checksum) + ["structure", "header"]
        by += [f"checksums of {inside} of {len(units)} HDUs"] * bool(inside)
        return {"bytes": size, "sha256": sha256(path), "verified_by": by}


def _fetched(
    wanted: _Wanted, source: Source, uncal: Path, limits: transfer.Limits, logger: logging.Logger
) -> dict[str, Any]:
    """Fetch a file into its part; what it is and what that took."""
    facts: dict[str, Any] = {"state": "fetched"}

    def tell(have: int, size: int | None, rate: float) -> None:
        rest = f", {(size - have) / rate:.0f} s left" if size and rate else ""
        logger.info("%.1f of %s MB, %.2f MB/s%s", have / 1e6, f"{size / 1e6:.1f}" if size else "?", rate / 1e6, rest)

    try:
        tally = transfer.fetch(
            source, uncal, limits=limits, tell=tell, check=lambda part: facts.update(wanted.verified(part))
        )
    except Refused as error:
        gone = "; run discover again, or remove it from the manifest" if error.status in (404, 410) else ""
        raise UserError(f"{wanted.exposure}: {error}{gone}") from error
    for fault in tally.faults:
        logger.warning("%s: tried again", fault)
    rate = tally.fetched / 1e6 / max(tally.seconds, 1e-3)
    logger.info(
        "%s: %.1f MB in %.1f s (%.2f MB/s), %.1f MB from before, verified by %s", wanted.exposure, facts["bytes"] / 1e6,
        tally.seconds, rate, tally.resumed / 1e6, ", ".join(facts["verified_by"]),
    )  # fmt: skip
    return facts | asdict(tally)


def _in_archive(wanted: _Wanted, archive: Path, logger: logging.Logger) -> tuple[Path, dict[str, Any]] | None:
    """The shared archive's file and what it is, where it has one that is right."""
    if not archive.is_dir():
        raise UserError(f"download.archive: no such folder: {archive}")
    for place in places(wanted.exposure, wanted.uri):
        path = archive / place
        try:
            if path.is_file():
                facts = wanted.verified(path)
                logger.info("%s: linked to %s", wanted.exposure, place)
                return path.resolve(), facts | {"archive": str(place)}
        except (verify.Wrong, OSError) as wrong:
            logger.warning("%s of the archive is not used: %s", place, wrong)
    return None


def places(exposure: str, uri: str) -> Iterator[Path]:
    """Where a shared archive may have an exposure: as MAST, astroquery and people lay files out."""
    name, dataset = f"{exposure}_uncal.fits", exposure.rpartition("_")[0]
    folders = [".", exposure[:7], exposure[2:7], exposure, dataset, f"JWST/{exposure}", f"mastDownload/JWST/{exposure}"]
    folders.append(str(Path(uri.removeprefix("mast:")).parent))
    yield from (Path(folder) / name for folder in dict.fromkeys(folders))


def _link(target: Path, path: Path) -> None:
    """Make `path` a link to the archive's file, and remove what was fetched of it."""
    part = path.with_name(f".{path.name}.link")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(path)
    transfer.part_of(path).unlink(missing_ok=True)
    transfer.state_of(path).unlink(missing_ok=True)
