"""Simulate a NIRISS detector's reference files, as a cache that the pipeline reads without a network."""

from pathlib import Path

from .. import io, log
from ..provenance import Lineage


def simulate_references(
    *,
    references: Path,
    record: Path,
    seed: int,
    frame: tuple[int, int, int, int],
    filters: list[str],
    dark_groups: int = 6,
) -> None:
    """Write all references that the pipeline asks for, in the formats of CRDS, with their mappings.

    Parameters
    ----------
    references : Path
        Output: folder of the cache.
    record : Path
        Output: JSON beside it with the lineage, the context, and SHA-1 and size of every file of the cache.
    seed : int
        Of the detector.
    frame : tuple of int
        Part of the detector: SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2.
    filters : list of str
        Filters that there are exposures of.
    dark_groups : int
        Groups of the darks; longer ramps are extrapolated.
    """
    from ..acquire.references import fingerprint
    from ..simulate import references as cache
    from ..simulate.crds_cache import CONTEXT
    from ..simulate.instrument import Frame

    logger = log.of("simulate_references")
    cache.build(references, Frame(*frame), seed, filters, dark_groups=dark_groups)
    options = {"seed": seed, "frame": list(frame), "filters": filters, "dark_groups": dark_groups}
    files = {
        str(path.relative_to(references)): fingerprint(path) for path in sorted(references.rglob("*")) if path.is_file()
    }
    lineage = Lineage.of("simulate_references", [], **options)
    where = {"context": CONTEXT, "root": references.name}
    io.write_json(record, {"simulated": True, **lineage.record(), **where, "files": files})
    logger.info("%d files, %.0f MB", len(files), sum(one["bytes"] for one in files.values()) / 1e6)
