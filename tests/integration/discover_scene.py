"""A small sky with fields to be discovered, and ways to search it without SIAF, which the tests' environment lacks."""

import numpy as np
from mast_server import NIS_CEN, visit
from pureparallel import config
from pureparallel.acquire import collect, footprints, plan
from pureparallel.acquire.mast import Archive

LEO, SEX = (165.0, 15.0), (150.1, 2.2)
CORNERS = np.array([(-224.909, -765.639), (-358.642, -764.902), (-357.307, -630.326), (-223.607, -630.968)])
"""Of NIS_CEN in V2 and V3, SIAF PRDOPSSOC-075."""

SCOPE = collect.Scope("niriss", exclude_programs=(1085,), exclude_categories=("COM", "CAL"))


def sky():
    """Exposures of two fields with several visits, of one over the pole, and of one across RA = 0."""
    return [
        *visit(1571, 1, *LEO), *visit(1571, 2, *LEO, band="F115W", roll=120, day=5), *visit(3383, 7, *east(LEO, 150)),
        *visit(1571, 3, *SEX, day=9), *visit(2079, 1, 359.995, 0, day=12), *visit(2079, 2, 0.01, 0, day=12),
        *visit(3383, 9, 0, 89.992, day=20), *visit(3383, 10, 180, 89.992, day=20),
    ]  # fmt: skip


def outline(instrument, name):
    """The one aperture that is used."""
    return footprints.Outline(NIS_CEN, CORNERS) if (instrument, name) == ("NIRISS", "NIS_CEN") else None


def connect(mast, **options):
    """A connection that loses its patience soon."""
    return Archive(mast.url, **{"timeout": 1.0, "attempts": 6, "page": 7, "pause": 0.005, **options})


def found_in(mast, scope=SCOPE, **options):
    """What a search finds."""
    return collect.collect(connect(mast, **options), scope, outline)


def run(mast, folder, scope=SCOPE, *, write=True, **options):
    """What a search of the archive changes in a folder of fields."""
    settings = {"separation": 30.0, "dispersed": True, "today": "2026-01-01", **options}
    will = plan.make(plan.read(folder), found_in(mast, scope), scope, **settings)
    if write:
        plan.write(folder, will)
    return will


def manifests(folder):
    """All manifests in a folder of fields."""
    return {path.stem: config.read_manifest(path) for path in sorted(folder.glob("*-*.tsv"))}


def east(place, arcsec):
    """A position so far east of another."""
    return place[0] + arcsec / 3600 / np.cos(np.deg2rad(place[1])), place[1]
