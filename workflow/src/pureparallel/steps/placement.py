"""What a filter's mosaic depends on of a field's alignment: where its own images lie."""

from pathlib import Path

import numpy as np

from .. import UserError, io, log
from ..frames import common_part, footprints, read_solution


def placement(*, solution: Path, exposures: list[str], table: Path) -> None:
    """Write down where some images lie, and nothing that changes when others join the field.

    Parameters
    ----------
    solution : Path
        Input: the table of align.
    exposures : list of str
        Images whose places are wanted. Those without any are left out: align says why.
    table : Path
        Output: JSON with the field's common part, and pointing, part and corners (degrees) by exposure.
    """
    logger = log.of("placement")
    known = read_solution(solution)
    if not known:
        raise UserError(f"{solution}: places no exposure; make it again by align")
    rows = {
        name: {
            "ra": one.pointing.ra, "dec": one.pointing.dec, "roll": one.pointing.roll, "part": one.part,
            "corners": np.asarray(one.corners, float).tolist(),
        }
        for name, one in known.items() if name in exposures
    }  # fmt: skip
    # neither date nor origin: the same places are the same bytes, by which Snakemake sees that nothing changed
    io.write_json(table, {"common_part": common_part(known, footprints(known)), "exposures": rows})
    logger.info("%d of %d images are placed", len(rows), len(exposures))
