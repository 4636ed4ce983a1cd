"""Compare detector1 with the pipeline's own Detector1 where both do the same; run in environment jwst.

``detector1_equal.py <folder> <output.json>``: per raw exposure of the folder, the arrays that differ in any bit.
"""

import inspect
import json
import sys
from pathlib import Path

import numpy as np
from pureparallel import calibration, reduction
from pureparallel.core.ramps import same_false_alarms
from pureparallel.steps import detector1

OURS = {
    "snowballs": False, "flicker_noise": "none", "column_jumps": False, "bad_pixels": False, "honest_errors": False,
}  # fmt: skip


def main(folder: Path) -> dict[str, list[str]]:
    """Reduce by both ways."""
    calibration.configure(folder / "crds", "jwst_0001.pmap")
    from jwst.pipeline import Detector1Pipeline

    signature = inspect.signature(detector1.detector1).parameters
    options = {key: p.default for key, p in signature.items() if p.default is not p.empty} | OURS
    differ = {}
    for path in sorted(folder.glob("*_uncal.fits")):
        ours = reduction.calibrate(path, options).rate
        threshold = same_false_alarms(options["rejection_threshold"], ours.meta.exposure.ngroups - 1)
        jump = {"expand_large_events": False, "rejection_threshold": threshold}
        theirs = Detector1Pipeline.call(str(path), steps={"jump": jump})
        arrays = ("data", "err", "dq", "var_poisson", "var_rnoise")
        differ[path.name] = [
            name
            for name in arrays
            if not np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=name != "dq")
        ]
    return differ


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(main(Path(sys.argv[1]))))
