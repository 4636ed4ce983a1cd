"""Fetch the reference files that a field needs, before its data are there; all that follows reads them only."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import UserError, io, log
from ..provenance import Lineage


def references(
    *,
    exposures: str,
    record: Path,
    context: str,
    cache: Path,
    server: str = "https://jwst-crds.stsci.edu",
    bundle: Path | None = None,
) -> None:
    """Complete a cache of reference files for the exposures of a field.

    Parameters
    ----------
    exposures : str
        The rows of the field's manifest, JSON.
    record : Path
        Output: JSON with the context, the cache's root, and SHA-1 and size of every mapping and reference file. What
        it held before stays, byte for byte, where that tells all that is needed.
    context : str
        File name of the context, such as jwst_1413.pmap.
    cache : Path
        Root of the cache: made where there is none; may be shared, and read-only where it has all files already.
    server : str
        Address of the CRDS server.
    bundle : Path
        Output: a folder beside the record, for jobs that do not see the cache: a cache of what the record tells alone,
        which it then is the record of. Optional.
    """
    from ..acquire import references as crds_cache

    logger = log.of("references")
    rows = json.loads(exposures)
    cache.mkdir(parents=True, exist_ok=True)
    crds_cache.point(cache, server)
    source = crds_cache.Server()

    def say(done: int, total: int, name: str) -> None:
        log.progress(logger, done, total, name)

    crds_cache.describe(cache, source, context)
    mappings = crds_cache.mappings(context, source)
    files = crds_cache.complete(cache, mappings, source, say)
    wanted = crds_cache.needed(context, rows)
    if not wanted:
        raise UserError(f"references: {context} has no reference for any exposure of the field; choose a later one")
    files |= crds_cache.complete(cache, wanted, source, say)
    root = str(cache.absolute()) if bundle is None else os.path.relpath(bundle, record.parent)
    told = {one.pop("path"): one | {"types": wanted.get(name, [])} for name, one in files.items()}
    if bundle is not None:
        with io.atomic_directory(bundle) as folder:
            crds_cache.copy(cache, folder, told)
    if not holds(record, context, root, told):
        lineage = Lineage.of("references", [], context=context, server=server, exposures=len(rows))
        content = {"simulated": False, **lineage.record(), "context": context, "root": root, "files": told}
        io.write_json(record, content)
    logger.info(
        "%d mappings and %d references of %s, %.0f MB, as they were first fetched",
        len(mappings), len(wanted), context, sum(one["bytes"] for one in told.values()) / 1e6,
    )  # fmt: skip


def holds(record: Path, context: str, root: str, files: Mapping[str, Any]) -> bool:
    """Whether a record speaks of all these files as they are: then its bytes stay, and what was made by it."""
    if not record.is_file():
        return False
    try:
        old = io.read_json(record)
    except UserError:
        return False
    known, facts = old.get("files", {}), ("sha1", "bytes", "modified")
    same = (old.get("context"), old.get("root")) == (context, root)
    return same and all([known.get(path, {}).get(key) for key in facts] == [one[key] for key in facts]
                        for path, one in files.items())  # fmt: skip
