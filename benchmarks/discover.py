"""Grouping 20,000 exposures however they lie, and a whole search of as many: time and memory."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

NUMBER = 20_000
HEAD = ("20,000 exposures", "groups", "right", "s (bar: 60)", "peak memory MB (bar: 1000)")
SEARCH_HEAD = ("exposures", "fields", "first run, wall / CPU s", "second run, wall / CPU s", "peak memory MB")

GROUP = """
import json, resource, sys, time
import numpy as np
from pureparallel.acquire.grouping import ARCSEC, groups, sky
n, layout = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(1)
def sphere(m):
    v = rng.normal(size=(m, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)
k = np.arange(n)
step, turn = 158 * ARCSEC, np.zeros(n)
expected = None
if layout == "400 fields of 50":
    centres, turn = np.repeat(sphere(400), 50, 0) + rng.normal(0, 5, (n, 3)) * ARCSEC, rng.uniform(0, 6, n)
    expected = 400
elif layout == "all over the sky":
    centres, turn = sphere(n), rng.uniform(0, 6, n)
elif layout == "random in 36 square degrees":
    centres = np.array([[1.0, 0, 0]]) + rng.uniform(-1, 1, (n, 3)) * np.deg2rad(3) * [0, 1, 1]
    turn = rng.uniform(0, 6, n)
elif layout == "a mosaic with gaps of 26 arcsec":
    centres = np.array([[1.0, 0, 0]]) + np.stack([0 * k, (k % 142 - 71) * step, (k // 142 - 71) * step], 1)
    expected = 1
elif layout == "one field at the pole":
    centres, turn = np.array([[0, 0, 1.0]]) + rng.normal(0, 3, (n, 3)) * ARCSEC, rng.uniform(0, 6, n)
    expected = 1
else:  # two crowds, which nearly touch
    centres = np.array([[0, 0, 1.0]]) + rng.uniform(-1, 1, (n, 3)) * ARCSEC + (k % 2)[:, None] * [165 * ARCSEC, 0, 0]
    expected = 2
centres /= np.linalg.norm(centres, axis=1, keepdims=True)
axis = np.where(np.abs(centres[:, 2:]) < 0.9, [[0, 0, 1.0]], [[0, 1.0, 0]])
east = np.cross(axis, centres)
east /= np.linalg.norm(east, axis=1, keepdims=True)
north = np.cross(centres, east)
x, y = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]).T * 66 * ARCSEC
c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
points = centres[:, None] + (c * x - s * y)[..., None] * east[:, None] + (s * x + c * y)[..., None] * north[:, None]
corners = sky(points)
order = rng.permutation(n)
begun = time.perf_counter()
found = groups(corners, 30)
seconds = time.perf_counter() - begun
again = groups(corners[order], 30)
same = len(set(zip(found[order].tolist(), again.tolist()))) == found.max() + 1 == again.max() + 1
right = same and expected in (None, int(found.max()) + 1)
print(json.dumps([int(found.max()) + 1, right, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""

LAYOUTS = (
    *("400 fields of 50", "all over the sky", "random in 36 square degrees", "a mosaic with gaps of 26 arcsec"),
    *("one field at the pole", "two crowds 33 arcsec apart"),
)

MEASURE = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
done = subprocess.run(sys.argv[1:], check=True, capture_output=True, text=True)
wall, used = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.stdout.splitlines()[-1], wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def inside(code: str, *arguments: object) -> list:
    """What a piece of Python in environment acquire prints, of JSON."""
    command = [ROOT / "pixiw", "run", "--as-is", "-e", "acquire", "python", "-c", code, *arguments]
    return json.loads(subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout)


def grouped() -> list[list[str]]:
    """One row per layout; right: as many groups as it was made of, and the same in another order."""
    rows = []
    for layout in LAYOUTS:
        number, right, seconds, peak = inside(GROUP, NUMBER, layout)
        rows.append([layout, str(number), "yes" if right else "no", f"{seconds:.1f}", f"{peak:.0f}"])
    return rows


def searched() -> list[list[str]]:
    """The command against an archive of this machine."""
    import numpy as np
    from mast_server import Mast, serving, visit

    rng = np.random.default_rng(1)
    places = zip(rng.uniform(0, 360, 400), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 400))), strict=True)
    rows = [
        row
        for i, (ra, dec) in enumerate(places)
        for row in visit(1000 + i // 9, 1 + i % 9, ra, dec, exposures=50, day=i)
    ]
    with tempfile.TemporaryDirectory() as folder, serving(Mast(rows)) as mast:
        command = (*MEASURE_WORDS, "--fields", folder, "--server", mast.url)
        first, second = inside(MEASURE, *command), inside(MEASURE, *command)
    costs = [f"{one[1]:.0f} / {one[2]:.0f}" for one in (first, second)]
    return [[str(len(rows)), first[0].partition(" ")[0], *costs, f"{max(first[3], second[3]):.0f}"]]


MEASURE_WORDS = (str(ROOT / "pixiw"), "run", "--as-is", "-e", "acquire", "pureparallel", "discover")


def tables() -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """What ``benchmarks/run.py`` prints."""
    yield "Grouping exposures into fields", HEAD, grouped()
    yield "A whole search of an archive on this machine (wall includes its own work)", SEARCH_HEAD, searched()
