"""Simulate a NIRISS detector's reference files, as a cache that the pipeline reads without a network."""

from pathlib import Path

from .. import io, log
from ..provenance import Lineage, sha256


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
        Output: JSON with the lineage, and SHA-256 and size of every file of the cache.
    seed : int
        Of the detector.
    frame : tuple of int
        Part of the detector: SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2.
    filters : list of str
        Filters that there are exposures of.
    dark_groups : int
        Groups of the darks; longer ramps are extrapolated.
    """
    from ..simulate import references as cache
    from ..simulate.instrument import Frame

    logger = log.of("simulate_references")
    cache.build(references, Frame(*frame), seed, filters, dark_groups=dark_groups)
    options = {"seed": seed, "frame": list(frame), "filters": filters, "dark_groups": dark_groups}
    files = {
        str(path.relative_to(references)): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(references.rglob("*"))
        if path.is_file()
    }
    lineage = Lineage.of("simulate_references", [], **options)
    io.write_json(record, {"simulated": True, **lineage.record(), "files": files})
    megabytes = sum(path.stat().st_size for path in references.rglob("*") if path.is_file()) / 1e6
    logger.info("%d files, %.0f MB", len(files), megabytes)
