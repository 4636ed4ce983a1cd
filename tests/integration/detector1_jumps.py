"""Compare our cosmic rays with stcal's, flag by flag, on ramps with everything in them; run in environment jwst."""

import json
import sys
from pathlib import Path

import numpy as np
from pureparallel.core.jumps import Thresholds, flag_jumps
from stcal.jump.twopoint_difference import find_crs
from stcal.jump.twopoint_difference_class import TwoPointParams

SHAPE = (120, 130)


def stcal(data, flags, gain, noise, nframes, thresholds):
    """Flags by stcal, with those bits taken out that its caller takes out."""
    p = TwoPointParams()
    p.normal_rej_thresh, p.three_diff_rej_thresh, p.two_diff_rej_thresh = (
        thresholds.many, thresholds.four, thresholds.three,
    )  # fmt: skip
    p.flag_4_neighbors = thresholds.neighbours is not None
    p.min_jump_to_flag_neighbors, p.max_jump_to_flag_neighbors = thresholds.neighbours or (0, 0)
    p.fl_good, p.fl_dnu, p.fl_sat, p.fl_jump, p.fl_ngv, p.fl_ref = 0, 1, 2, 4, 1 << 19, 1 << 31
    p.after_jump_flag_e1 = p.after_jump_flag_n1 = p.after_jump_flag_e2 = p.after_jump_flag_n2 = 0
    p.minimum_groups, p.minimum_sigclip_groups, p.only_use_ints = 3, 100, True
    p.min_diffs_single_pass, p.nframes = thresholds.single_pass, nframes
    p.dt_group, p.n_reads_groupdiff = np.ones(1), np.ones(1) * 2 * nframes
    out = find_crs((data * gain)[None], flags.copy()[None], noise * gain, p)[0][0]
    out[(out & 3 != 0) & (out & 4 != 0)] ^= 4
    return out


def main() -> dict[str, int]:
    """Number of flags that differ, by the ramp's groups and frames."""
    rng, differ = np.random.default_rng(1), {}
    for ngroups, nframes in ((2, 4), (3, 4), (4, 1), (5, 4), (6, 4), (8, 4), (10, 4), (11, 1), (25, 1)):
        rate = rng.exponential(60, SHAPE)
        data = rng.poisson(rate, (ngroups, *SHAPE)).cumsum(axis=0) + rng.normal(0, 4, (ngroups, *SHAPE))
        data[:, :20] = np.round(data[:, :20])  # steps of equal size
        data[:, 20:24] = 0
        for _ in range(1000):
            group, y, x = (rng.integers(n) for n in data.shape)
            data[group:, y, x] += rng.exponential(300)
        flags = np.zeros(data.shape, np.uint8)
        flags[(np.arange(ngroups)[:, None, None] >= rng.integers(ngroups, size=SHAPE)) & (rng.random(SHAPE) < 0.03)] = 2
        flags[rng.random(flags.shape) < 0.01] |= 1
        gain = (1.6 + 0.1 * rng.random(SHAPE)).astype(np.float32)
        noise = np.full(SHAPE, 10, np.float32)
        noise[5, 5] = 0
        for neighbours in (None, (10.0, 200.0)):
            thresholds = Thresholds(neighbours=neighbours)
            ramp = data.astype(np.float32)
            theirs, ours = stcal(ramp, flags, gain, noise, nframes, thresholds), flags.copy()
            flag_jumps(ramp, ours, gain, noise, nframes, thresholds)
            differ[f"{ngroups} {nframes} {neighbours}"] = int(np.sum(theirs != ours))
    return differ


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(main()))
