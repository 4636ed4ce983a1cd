"""Alignment on positions that are drawn: what is solved is right, and what cannot be is refused."""

import numpy as np
import pytest
from pureparallel import UserError, refcats
from pureparallel.core import astrometry, centroids, groups, ladder, registration
from pureparallel.core import pointing as attitudes
from pureparallel.core.astrometry import Catalogue, Plane
from pureparallel.core.groups import Group, Limits
from pureparallel.core.pointing import Pointing
from pureparallel.simulate import psf
from scipy.ndimage import binary_dilation, uniform_filter

PLANE = Plane(150.1, 2.2)
LIMITS = Limits()
YEAR = 2024.5


def turned(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, s], [-s, c]])


def scene(seed, *, galaxies=80, stars=8, count=3, half=16.8, wrong=1.5, seen=0.8, listed=0.9):
    """Groups on one sky, the last on a wrong guide star; a catalogue of its stars; and the true corrections."""
    rng = np.random.default_rng(seed)
    many = 1.6**2
    sky = rng.uniform(-1.6 * half, 1.6 * half, (round(galaxies * many), 2))
    lit = rng.uniform(-1.6 * half, 1.6 * half, (round(stars * many), 2))
    motion = rng.normal(0, 8, lit.shape)
    error = np.concatenate([np.exp(rng.uniform(np.log(0.003), np.log(0.012), len(sky))), np.full(len(lit), 0.003)])
    made, truth = [], []
    for i in range(count):
        epoch = 2024 + 0.3 * i
        off, sigma, roll = rng.normal(0, 0.5, 2), 0.5, np.deg2rad(rng.normal(0, 0.03))
        if wrong and i == count - 1:
            angle, sigma = rng.uniform(0, 2 * np.pi), 1.58
            off = off + wrong * np.array([np.cos(angle), np.sin(angle)])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        outline = corners @ turned(37 + 60 * i) + rng.normal(0, 1.5, 2)
        there = np.concatenate([sky, lit + motion * 1e-3 * (epoch - 2016)])
        mine = groups.inside(there, outline) & (rng.uniform(size=len(there)) < seen)
        pivot = outline.mean(axis=0) - off
        there = there[mine] + error[mine, None] * rng.normal(size=(mine.sum(), 2)) - off
        there = registration.corrected(there, np.array([0, 0, -roll]), pivot)
        artifacts = rng.uniform(-half, half, (len(there) // 10, 2)) + pivot
        xy, sigmas = np.concatenate([there, artifacts]), np.append(error[mine], np.full(len(artifacts), 0.01))
        best = np.argsort(sigmas, kind="stable")
        made.append(Group(f"g{i}", xy[best], sigmas[best], [outline - off], sigma, np.deg2rad(0.03), epoch))
        truth.append([*off, roll])
    ra, dec = astrometry.sky(PLANE.deproject(lit + 3e-4 * rng.normal(size=lit.shape)))
    known = rng.uniform(size=len(lit)) < listed
    small = np.full(len(lit), 0.3)
    motion = motion + 0.3 * rng.normal(size=lit.shape)
    return made, Catalogue("gaia", ra, dec, small, motion, small, np.full(len(lit), 2016.0))[known], np.array(truth)


def errors(made, solved, truth):
    """mas at the corners of every group, shape (groups, 4, 2)."""
    return 1e3 * np.array([
        registration.corrected(one.footprints[0], row.correction, one.pivot)
        - registration.corrected(one.footprints[0], true, one.pivot)
        for one, row, true in zip(made, solved.rows, truth, strict=True)
    ])  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_groups_and_catalogue_are_solved_together(seed):
    made, catalogue, truth = scene(seed)
    solved = ladder.climb(made, [catalogue], PLANE, LIMITS)
    assert all(row.frame == "gaia" and row.rung in ("gaia", "field") for row in solved.rows)
    wrong = errors(made, solved, truth)
    assert np.sqrt(np.mean(wrong**2)) < 5
    assert np.abs(wrong.mean(axis=1)[-1] - wrong.mean(axis=1)[0]).max() < 5
    assert np.hypot(*solved.rows[-1].correction[:2]) > 0.8  # of the wrong guide star
    for row, one in zip(solved.rows, wrong.mean(axis=1) / 1e3, strict=True):
        assert np.all(np.abs(one) < 5 * row.error[:2])
        assert row.roll_solved
        assert row.error[2] < np.deg2rad(0.03)


def test_errors_are_honest():
    pulls = []
    for seed in range(12):
        made, catalogue, truth = scene(seed)
        solved = ladder.climb(made, [catalogue], PLANE, LIMITS)
        wrong = errors(made, solved, truth).mean(axis=1) / 1e3
        pulls += [one / row.error[:2] for one, row in zip(wrong, solved.rows, strict=True) if row.frame == "gaia"]
    assert len(pulls) > 30
    assert 0.5 < np.std(pulls) < 1.3


def test_without_a_catalogue_groups_lie_on_each_other():
    made, _, truth = scene(4)
    solved = ladder.climb(made, [], PLANE, LIMITS)
    assert [row.rung for row in solved.rows] == ["field"] * 3
    assert [(row.frame, row.part) for row in solved.rows] == [("pointing", "g0")] * 3
    wrong = errors(made, solved, truth).mean(axis=1)
    assert np.sqrt(np.mean((wrong - wrong.mean(axis=0)) ** 2)) < 5
    # the frame is that of the pointings that are likely right, and as uncertain as they are
    assert np.all(np.hypot(*wrong.T) < 1500)
    assert all(0.2 < row.error[0] < 0.6 for row in solved.rows)
    # but not against each other
    relative = [row.relative_error for row in solved.rows]
    assert max(relative) < 0.005
    assert np.sqrt(np.mean((wrong - wrong.mean(axis=0)) ** 2)) == pytest.approx(1e3 * np.mean(relative), rel=1.0)


def test_the_second_catalogue_holds_where_the_first_does_not():
    made, catalogue, truth = scene(5)
    few = catalogue[np.arange(len(catalogue)) < 2]
    survey = Catalogue("survey", *(getattr(catalogue, key) for key in list(vars(catalogue))[1:]))
    solved = ladder.climb(made, [few, survey], PLANE, LIMITS)
    assert {(row.frame, row.part) for row in solved.rows} == {("survey", "survey")}
    assert np.sqrt(np.mean(errors(made, solved, truth) ** 2)) < 5
    assert all(row.reasons and row.reasons[0].startswith("gaia: ") for row in solved.rows)


@pytest.mark.parametrize("other_sky", [False, True])
@pytest.mark.parametrize(
    "size", [{"galaxies": 0, "stars": 3}, {"galaxies": 3, "stars": 2}, {"galaxies": 60, "stars": 3}]
)
def test_sparse_fields_are_refused_or_solved_never_wrong(size, other_sky):
    tied = 0
    for seed in range(30):
        made, catalogue, truth = scene(100 + seed, count=1 + seed % 2, **size)
        if other_sky:
            catalogue = scene(500 + seed, **size)[1]
        solved = ladder.climb(made, [catalogue], PLANE, LIMITS)
        for row, one in zip(solved.rows, errors(made, solved, truth), strict=True):
            if row.frame == "gaia":
                tied += 1
                assert np.hypot(*one.mean(axis=0)) < 20, (seed, row)
            elif row.rung == "pointing":
                assert not row.correction.any()
                assert row.reasons
    assert tied == 0 if other_sky else tied > 5


def test_a_catalogue_beyond_the_largest_shift_is_refused():
    made, catalogue, _ = scene(6, count=1, wrong=0)
    catalogue = Catalogue("gaia", catalogue.ra, catalogue.dec + 4 / 3600, *(
        getattr(catalogue, key) for key in ("error", "motion", "motion_error", "epoch")))  # fmt: skip
    solved = ladder.climb(made, [catalogue], PLANE, LIMITS)
    assert solved.rows[0].rung == "pointing"
    assert not solved.rows[0].correction.any()
    (reason,) = solved.rows[0].reasons
    assert reason.startswith("gaia: ")


def test_a_repeated_pattern_is_ambiguous():
    x, y = np.meshgrid(np.arange(-9, 10, 1.0), np.arange(-9, 10, 1.0))
    grid = np.column_stack([x.ravel(), y.ravel()])
    outline = np.array([[-9.5, -9.5], [9.5, -9.5], [9.5, 9.5], [-9.5, 9.5]])
    one = Group("a", grid, np.full(len(grid), 0.005), [outline], 1.5, 5e-4, YEAR)
    two = Group("b", grid + 0.5, np.full(len(grid), 0.005), [outline + 0.5], 1.5, 5e-4, YEAR)
    solved = ladder.climb([one, two], [], PLANE, LIMITS)
    assert [row.rung for row in solved.rows] == ["pointing", "pointing"]
    assert "false with probability" in solved.rows[0].reasons[0]


def test_scatter_beyond_the_limit_is_refused():
    made, _, _ = scene(7, count=2)
    rng = np.random.default_rng(0)
    loose = Group(**{**vars(made[1]), "xy": made[1].xy + 0.03 * rng.normal(size=made[1].xy.shape)})
    solved = ladder.climb([made[0], loose], [], PLANE, Limits(max_rms=0.01))
    assert [row.rung for row in solved.rows] == ["pointing", "pointing"]
    assert any("scatter" in reason for row in solved.rows for reason in row.reasons)


def test_a_short_lever_leaves_the_roll_as_it_was():
    rng = np.random.default_rng(3)
    xy = rng.uniform(-1, 1, (12, 2))
    outline = np.array([[-17, -17], [17, -17], [17, 17], [-17, 17.0]])
    seen = [xy + 0.01 * rng.normal(size=xy.shape) + 0.3 * i for i in range(2)]
    small = [Group(f"g{i}", one, np.full(12, 0.01), [outline], 0.5, 5e-4, YEAR) for i, one in enumerate(seen)]
    solved = ladder.climb(small, [], PLANE, LIMITS)
    for row in solved.rows:
        assert row.rung == "field"
        assert not row.roll_solved
        assert row.correction[2] == pytest.approx(0, abs=1e-9)
        assert row.error[2] == 5e-4


def test_a_group_without_sources_keeps_its_pointing():
    made, catalogue, _ = scene(9, count=2)
    empty = Group(**{**vars(made[1]), "xy": np.zeros((0, 2)), "error": np.zeros(0)})
    solved = ladder.climb([made[0], empty], [catalogue], PLANE, LIMITS)
    assert [row.rung for row in solved.rows] == ["gaia", "pointing"]
    assert [row.part for row in solved.rows] == ["gaia", "g1"]
    assert solved.rows[1].error[0] == empty.shift_error
    assert not solved.rows[1].correction.any()
    assert ladder.climb([empty], [catalogue], PLANE, LIMITS).rows[0].rung == "pointing"
    assert ladder.climb([], [catalogue], PLANE, LIMITS).rows == []


def test_outliers_do_not_pull_the_solution():
    made, catalogue, truth = scene(8)
    shaken = made[0].xy.copy()
    shaken[::6] += 0.05  # within the radius of matches
    solved = ladder.climb([Group(**{**vars(made[0]), "xy": shaken}), *made[1:]], [catalogue], PLANE, LIMITS)
    assert np.sqrt(np.mean(errors(made, solved, truth) ** 2)) < 6


@pytest.mark.parametrize("place", [(150.1, 2.2), (0.001, -60.0), (53.1, -88.5)])
def test_a_rotation_does_to_the_sky_what_the_correction_does_to_the_plane(place):
    plane, pivot, correction = Plane(*place), np.array([30.0, -20.0]), np.array([1.2, -0.7, 6e-4])
    xy = np.random.default_rng(0).uniform(-60, 60, (20, 2))
    turn = astrometry.rotation(plane, pivot, correction)
    moved = plane.project(turn @ plane.deproject(xy))
    assert moved == pytest.approx(registration.corrected(xy, correction, pivot), abs=1e-4)
    # the attitude takes it too: what is seen at a place of the telescope moves alike
    before = Pointing(*place, 37.0)
    after = astrometry.rotated(before, turn)
    v2, v3 = np.array([-290.0, -300.0]), np.array([-700.0, -650.0])
    here, there = (astrometry.on_sky(v2, v3, one, (-290.0, -700.0)) for one in (before, after))
    assert turn @ here == pytest.approx(there, abs=1e-12)
    # a positive roll is one from north to east
    spun = astrometry.rotated(before, astrometry.rotation(plane, np.zeros(2), np.array([0, 0, np.deg2rad(0.1)])))
    assert spun.roll == pytest.approx(37.1, abs=1e-6)


def test_stars_move_and_their_errors_grow():
    one = np.ones(1)
    star = Catalogue("gaia", 150.1 * one, 2.2 * one, 0.1 * one, np.array([[100.0, -50.0]]), 2 * one, 2016 * one)
    assert [len(star.around(Plane(150.1, dec), 1.0)) for dec in (3.1, 3.3, -2.2)] == [1, 0, 0]
    xy, error = star.at(2026.0, PLANE)
    assert xy[0] == pytest.approx([1.0, -0.5], abs=1e-6)
    assert error[0] == pytest.approx(np.hypot(0.1, 20) * 1e-3)


def test_a_header_takes_a_pointing():
    from astropy.io.fits import Header
    from astropy.wcs import WCS

    aperture = attitudes.Aperture(-291.141, -698.015, 0.56126717, -1)
    before, after = Pointing(150.1, 60.2, 37.0), Pointing(150.1004, 60.2003, 37.05)
    scale, pixel = (0.0653, 0.0658), (256.5, 300.0)
    header, expected = (
        Header(dict(attitudes.keywords(one, aperture, pixel, scale, np.zeros((4, 2))))) for one in (before, after)
    )
    for one in (header, expected):
        one.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "V2_REF": aperture.v2, "V3_REF": aperture.v3})
        del one["S_REGION"]
    astrometry.apply_to_header(header, after)
    for key in ("RA_V1", "DEC_V1", "PA_V3", "RA_REF", "ROLL_REF"):
        assert header[key] == pytest.approx(expected[key], abs=1e-9)
    x, y = np.array([0, 511, 0.0]), np.array([0, 0, 511.0])
    found, wanted = (np.array(WCS(one).pixel_to_world_values(x, y)) for one in (header, expected))
    assert found == pytest.approx(wanted, abs=0.5e-3 / 3600)


def image_of(name, places, fluxes, size=80, noise=0.02):
    """Stars on noise, from the simulator's point-spread function at any phase of the pixels."""
    samples = 5
    fine = uniform_filter(psf.psf(name, samples, 30), samples, mode="constant") * samples**2
    image = np.random.default_rng(1).normal(0, noise, (size, size))
    pixel = np.arange(size)
    for (x, y), flux in zip(places, fluxes, strict=True):
        row, column = (np.rint((pixel - c) * samples).astype(int) + len(fine) // 2 for c in (y, x))
        rows, columns = ((one >= 0) & (one < len(fine)) for one in (row, column))
        image[np.ix_(rows, columns)] += flux * fine[np.ix_(row[rows], column[columns])]
    return image


@pytest.mark.parametrize("name", ["F115W", "F200W"])
def test_centroids_hold_at_all_phases_of_undersampled_pixels(name):
    rng = np.random.default_rng(2)
    for _ in range(8):
        # whole samples: the image is then exact
        x, y = 40 + rng.integers(-2, 3, 2) / 5
        image = image_of(name, [(x, y)], [300.0])
        found = centroids.find(
            image, np.full(image.shape, 0.02), np.ones(image.shape, bool), np.zeros(image.shape, bool)
        )
        assert (found.x[0], found.y[0]) == pytest.approx((x, y), abs=0.035)
        assert found.error[0] >= centroids.FLOOR


def test_centroid_errors_follow_the_noise():
    x, y = np.array([(x, y) for x in range(12, 290, 24) for y in range(12, 290, 24)], float).T
    image = image_of("F200W", np.column_stack([x, y]), np.full(len(x), 1.5), size=300, noise=0.03)
    clear = np.ones(image.shape, bool)
    found = centroids.find(image, np.full(image.shape, 0.03), clear, ~clear, least=6)
    i, j = registration.mutual(np.column_stack([found.x, found.y]), np.column_stack([x, y]), 2.0)
    assert len(i) > 100
    pull = np.array([found.x[i] - x[j], found.y[i] - y[j]]) / found.error[i]
    assert 0.7 < 1.4826 * np.median(np.abs(pull)) < 1.3


def test_what_is_no_source_or_spoilt_is_left_out():
    image = image_of("F150W", [(20, 20), (60, 20), (20, 60)], [50.0, 50.0, 50.0])
    image[60, 60] += 50  # a cosmic ray
    good, full = np.ones(image.shape, bool), np.zeros(image.shape, bool)
    good[20, 61], full[62, 20] = False, True
    found = centroids.find(image, np.full(image.shape, 0.02), good, full)
    assert np.column_stack([found.x, found.y]) == pytest.approx(np.array([[20, 20]]), abs=0.03)


@pytest.mark.parametrize("name", ["F115W", "F200W"])
def test_saturated_stars_have_the_centre_of_their_wings(name):
    for dx, dy in [(0, 0), (1, -2), (-2, 1), (2, 2)]:
        x, y = 40 + dx / 5, 40 + dy / 5
        image = image_of(name, [(x, y), (50, 46)], [20000.0, 10.0])
        full = binary_dilation(image > 300, iterations=2)
        image[image > 300] = np.nan
        found = centroids.find_saturated(image, np.full(image.shape, 0.02), full)
        assert np.column_stack([found.x, found.y]) == pytest.approx(np.array([[x, y]]), abs=0.2)


def test_a_catalogue_is_read_with_its_units(tmp_path):
    from astropy.table import Table

    path = tmp_path / "c.ecsv"
    table = Table({"ra": [150.0, 150.1], "dec": [2.0, np.nan], "ra_error": [0.03, 0.03], "dec_error": [0.03, 0.03]})
    table["ra_error"].unit = table["dec_error"].unit = "arcsec"
    table.write(path, format="ascii.ecsv")
    found = refcats.read_catalogue(path, "catalogue")
    assert len(found) == 1
    assert found.error[0] == pytest.approx(30)
    assert found.motion[0] == pytest.approx([0, 0])


def test_a_catalogue_that_cannot_be_used_says_why(tmp_path):
    from astropy.table import Table

    path = tmp_path / "c.ecsv"
    with pytest.raises(UserError, match=r"align\.gaia: .*no such file"):
        refcats.read_catalogue(path, "gaia")
    Table({"ra": [1.0]}).write(path, format="ascii.ecsv")
    with pytest.raises(UserError, match="no column dec"):
        refcats.read_catalogue(path, "gaia")
    Table({"ra": [1.0], "dec": [1.0], "pmra": [3.0], "pmdec": [3.0]}).write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(UserError, match="ref_epoch"):
        refcats.read_catalogue(path, "gaia")
    path.write_text("nonsense")
    with pytest.raises(UserError, match="not a table in ECSV"):
        refcats.read_catalogue(path, "gaia")
