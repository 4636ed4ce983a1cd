"""Judge the products of detector1 by the simulation's truth; run in environment jwst.

``detector1_judge.py <rates> <truth> <output.json>``: per exposure, what was found of what was injected.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from pureparallel.core import pulls, ramps
from pureparallel.simulate.detector import GAIN, READ_NOISE
from pureparallel.simulate.ramp import read_truth

CORE = 12
"""Pixels: smallest true core of a snowball that counts, the rounded area of the smallest that is simulated."""


def main(rates: Path, truths: Path) -> dict[str, dict[str, Any]]:
    """All exposures of a folder."""
    found = {}
    for path in sorted(rates.glob("*_groups.fits")):
        name = path.name.removesuffix("_groups.fits")
        found[name] = Judge(rates, truths, name).all()
    return found


class Judge:
    """One exposure, with its truth."""

    def __init__(self, rates: Path, truths: Path, name: str) -> None:
        self.truth = read_truth(truths / f"{name}_truth.fits")
        with fits.open(rates / f"{name}_groups.fits") as hdus:
            nx = hdus[0].header["NX"]
            maps = (ramps.unpacked(hdus[key].data, nx) for key in ("JUMP", "SATURATED", "SNOWBALL"))
            self.jump, self.saturated, self.snowball = maps
            self.column_jumps = np.array(hdus["COLUMN_JUMPS"].data)
        with fits.open(rates / f"{name}_rate.fits") as hdus:
            header = hdus[0].header
            self.rate, self.error, dq = (np.array(hdus[key].data) for key in ("SCI", "ERR", "DQ"))
        self.ngroups, self.nframes, self.seconds = header["NGROUPS"], header["NFRAMES"], header["TGROUP"]
        self.bad = dq & ramps.DO_NOT_USE != 0
        self.clean = (dq == 0) & ~self.truth["column_jump"].any(axis=0)
        self.metrics = json.loads((rates / f"{name}.metrics.json").read_text())

    def all(self) -> dict[str, Any]:
        """Every number."""
        rms = {key: self.metrics[key] for key in ("column_rms_before", "column_rms")}
        return {"groups": self.ngroups} | self.cosmic_rays() | self.snowballs() | self.columns() | self.pulls() | rms

    def cosmic_rays(self) -> dict[str, Any]:
        """Pixels whose largest step between two groups is above 5 sigma, and those of them that are flagged there.

        A hit between two frames of a group is seen in part in its group, and for the rest in the next. Pixels that are
        saturated, or lie in a snowball, are not asked for.
        """
        deposit = self.truth["deposits"][self.truth["deposits"]["cause"] == b"cosmic_ray"]
        group, y, x = (deposit[key].astype(int) for key in ("group", "y", "x"))
        late = deposit["frame"] % self.nframes / self.nframes
        charge = deposit["electrons"] / GAIN
        steps = [np.where(group == 0, 0, (1 - late) * charge), np.where(group + 1 < self.ngroups, late * charge, 0)]
        noise = np.sqrt(2 * READ_NOISE**2 / self.nframes + self.truth["rate"] * self.seconds / GAIN)[y, x]
        at = np.where(steps[0] >= steps[1], group, np.minimum(group + 1, self.ngroups - 1))
        asked = np.maximum(*steps) > 5 * noise
        asked &= ~(self.saturated[at, y, x] | self.bad[y, x] | self.snowball[at, y, x])
        touched = np.zeros(self.rate.shape, bool)
        touched[self.truth["deposits"]["y"], self.truth["deposits"]["x"]] = True
        false = (self.jump & ~self.snowball).any(axis=0) & ~touched & ~self.bad
        return {
            "rays": int(asked.sum()),
            "rays_flagged": float(np.mean(self.jump[at, y, x][asked])),
            "false_flags": float(false.mean()),
        }

    def snowballs(self) -> dict[str, Any]:
        """Snowballs that hit after the first read, and those of which core and nearly all of the halo are flagged.

        One before the first read lifts the whole ramp, and only its saturated core is lost.
        """
        from scipy.ndimage import label

        core, halo = (self.truth[f"snowball_{part}"].any(axis=0) for part in ("core", "halo"))
        deposit = self.truth["deposits"]
        first = np.zeros(core.shape, bool)
        early = (deposit["frame"] == 0) & (deposit["cause"] == b"snowball_core")
        first[deposit["y"][early], deposit["x"][early]] = True
        flagged = (self.jump | self.saturated).any(axis=0)
        labels, count = label(core | halo, np.ones((3, 3)))
        areas = [labels == i for i in range(1, count + 1)]
        areas = [area for area in areas if (core & area).sum() >= CORE and not (first & area).any()]
        whole = [flagged[area & core].all() and flagged[area & halo].mean() > 0.7 for area in areas]
        return {
            "snowballs": len(areas),
            "snowballs_found": int(sum(whole)),
            "snowball_core": float(flagged[core].mean()) if core.any() else np.nan,
            "snowball_halo": float(np.mean([flagged[area & halo].mean() for area in areas])) if areas else np.nan,
            "snowball_area": int((core | halo).sum()),
            "snowball_false_area": int((self.snowball.any(axis=0) & ~(core | halo)).sum()),
        }

    def columns(self) -> dict[str, Any]:
        """Column jumps, and those found within a group of where they are."""
        true = np.argwhere(self.truth["column_jump"].any(axis=2))
        found = np.stack([self.column_jumps["group"], self.column_jumps["row"]], axis=1).astype(int)
        apart = np.abs(true[:, None] - found[None])
        same = (apart[..., 0] <= 1) & (apart[..., 1] == 0)
        return {
            "column_jumps": len(true),
            "column_jumps_found": int(same.any(axis=1).sum()),
            "column_jumps_false": int((~same.any(axis=0)).sum()),
        }

    def pulls(self) -> dict[str, Any]:
        """Pulls of all pixels that may be used, and of those that nothing touched."""
        of = {"": ~self.bad, "_clean": self.clean}
        found = {key: pulls.pulls(self.rate, self.error, self.truth["rate"], good) for key, good in of.items()}
        return {f"pull_{what}{key}": one[what] for key, one in found.items() for what in ("median", "mad", "outliers")}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
