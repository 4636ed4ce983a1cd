"""What stands out of mosaics, by how much, and what is one source and what are two."""

import numpy as np
import pytest
from pureparallel.core import deblending, detection, source_catalogue, source_ids, source_shapes, star_light
from scipy import ndimage

SHAPE = (300, 320)


def blob(x, y, peak, sigma=2.0, shape=SHAPE):
    rows, columns = np.indices(shape)
    return peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def noise(rng, shape=SHAPE, shared=0.0):
    """Noise of unit width in large apertures; neighbours share it if `shared` pixels smooth it."""
    white = rng.normal(size=shape)
    return (ndimage.gaussian_filter(white, shared) if shared else white).astype(np.float32)


ONES = np.ones(SHAPE, np.float32)


# significance


def test_a_matched_filter_finds_the_whole_signal_of_a_source_of_its_shape():
    source = blob(150, 140, 3.0, 1.7).astype(np.float32)
    found = detection.matched(source, 4 * ONES, 1.7)
    assert found[140, 150] == pytest.approx(np.sqrt(4 * np.sum(source.astype(float) ** 2)), rel=0.01)
    assert np.unravel_index(found.argmax(), SHAPE) == (140, 150)


def test_significance_of_noise_has_unit_width_in_deep_and_in_shallow_parts_and_beside_missing_ones():
    rng = np.random.default_rng(1)
    weight = ONES[:100, :120].copy()
    weight[:, 60:], weight[40:60, 20:40] = 9.0, 0.0
    there = weight > 0
    width = np.where(there, 1 / np.sqrt(np.where(there, weight, 1)), 0).astype(np.float32)
    found = np.array([detection.matched(noise(rng, weight.shape) * width, weight, 1.7) for _ in range(60)])
    for part in (
        np.s_[10:30, 10:50],
        np.s_[10:90, 70:110],
        np.s_[42:58, 40:42],
        np.s_[:2, 10:110],
        np.s_[10:90, 59:61],
    ):
        assert found[:, *part].std() == pytest.approx(1, abs=0.08)
    assert (found[:, ~there] == 0).all()
    assert np.abs(found).max() < 6


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_the_scale_is_that_of_the_true_noise_whatever_pixels_share(shared):
    rng = np.random.default_rng(2)
    sources = sum(blob(x, y, 8.0) for x in range(20, 320, 60) for y in range(20, 300, 60))
    found = detection.matched(noise(rng, shared=shared) + sources.astype(np.float32), ONES, 1.7)
    detection.scale(found, ONES > 0)
    sky = np.ones(SHAPE, bool)
    for x in range(20, 320, 60):
        for y in range(20, 300, 60):
            sky[max(y - 12, 0) : y + 13, max(x - 12, 0) : x + 13] = False
    assert found[sky].std() == pytest.approx(1, abs=0.03)


def test_noise_width_is_that_of_the_noise_among_many_sources():
    rng = np.random.default_rng(3)
    values = rng.normal(0.3, 2.0, 100_000)
    assert detection.noise_width(values) == pytest.approx((0.3, 2.0), abs=0.04)
    values[:5000] += rng.exponential(50, 5000)
    assert detection.noise_width(values)[1] == pytest.approx(2.0, abs=0.1)
    assert detection.noise_width(values[:50]) == (0.0, 0.0)


def test_a_sky_that_is_left_is_subtracted_and_sources_stay():
    rng = np.random.default_rng(4)
    rows, columns = np.indices(SHAPE)
    left = (1.0 + 0.004 * columns - 0.003 * rows).astype(np.float32)
    source = blob(150, 140, 20.0, 3.0).astype(np.float32)
    data = noise(rng) * 0.5 + left + source
    weight = 4 * ONES
    weight[:60, :60] = 0
    data[weight == 0] = 0
    sky, _ = detection.subtract_sky(data, weight, 1.7, 50)
    away = (source < 0.01) & (weight > 0)
    slope = np.polyfit(columns[away], data[away], 1)[0]
    assert abs(data[away].mean()) < 0.02 and abs(slope) < 2e-4
    assert data[weight == 0].max() == 0
    flux = data[110:171, 120:181].sum() / source[110:171, 120:181].sum()
    assert flux == pytest.approx(1, abs=0.03)
    # positions between pixels have the level that pixels have
    np.testing.assert_allclose(sky.at(columns[::37, ::41], rows[::37, ::41]), sky.image(SHAPE)[::37, ::41], atol=1e-5)


def test_a_sky_without_free_pixels_is_left_as_it_is():
    sky = detection.Sky.measure(ONES, np.zeros(SHAPE, bool), 50)
    assert not sky.image(SHAPE).any()


def test_chi_square_is_told_as_the_sigma_that_is_as_rare():
    rng = np.random.default_rng(5)
    squares = np.sum(np.maximum(rng.normal(size=(3, 400_000)), 0) ** 2, axis=0)
    sigma = detection.as_sigma(squares, 3)
    for level in (1.0, 2.0, 3.0):
        from scipy.stats import norm

        assert np.mean(sigma > level) == pytest.approx(norm.sf(level), rel=0.08)
    # of one filter it is the significance itself; beyond all tables it goes on growing
    np.testing.assert_allclose(detection.as_sigma(np.array([4.0, 100.0, 900.0]), 1), [2, 10, 30], rtol=1e-3)
    far = detection.as_sigma(np.array([1e4, 1e6, 1e8]), 3)
    np.testing.assert_allclose(far, [100, 1000, 10000], rtol=0.01)


def test_a_stack_weighs_filters_and_knows_the_noise_of_bright_sources():
    stack = detection.Stack.empty(SHAPE)
    gone = ONES.copy()
    gone[:, :100] = 0
    stack.add("F115W", 2 * ONES, ONES, 4 * ONES, ONES)
    stack.add("F150W", 5 * gone, 3 * gone, 2 * gone, -ONES)
    mean, ratio = stack.finish()
    assert mean[5, 200] == pytest.approx((2 + 15) / 4) and mean[5, 50] == pytest.approx(2)
    # (1 * 4 + 9 * 2) / 16 is the variance of the mean, 1 / 4 that of its sky
    assert ratio[5, 200] == pytest.approx(np.sqrt(22 / 16 * 4)) and ratio[5, 50] == pytest.approx(2)
    assert stack.filters[5, 50] == 1 and stack.filters[5, 200] == 2
    assert stack.squares[5, 200] == 1  # what is negative does not count


# segments and blends


def parted(image, **options):
    labels, _ = deblending.segments(image, 1.5, 5.0, 5)
    options = {"nsigma": 3.0, "contrast": 0.05, **options}
    none = np.zeros_like(image)
    return deblending.deblend(labels, image, np.ones_like(image), options.pop("halo", none), **options)


def test_segments_need_a_peak_and_pixels():
    image = (blob(50, 50, 20.0) + blob(100, 50, 4.0) + blob(150, 50, 20.0, 0.5)).astype(np.float32)
    labels, count = deblending.segments(image, 1.5, 5.0, 12)
    assert count == 1
    assert labels[50, 50] == 1 and labels[50, 100] == 0 and labels[50, 150] == 0
    assert labels.max() == 1 and (image[labels > 0] > 1.5).all()


@pytest.mark.parametrize("ratio", [1.0, 0.3, 0.05])
def test_a_pair_is_parted_whatever_its_contrast_and_a_lone_source_is_not(ratio):
    image = (blob(100, 100, 300.0) + blob(112, 100, 300.0 * ratio)).astype(np.float32)
    labels, parents = parted(image)
    assert labels.max() == 2
    assert labels[100, 100] != labels[100, 112]
    assert ratio < 0.1 or parents.tolist() == [0, 1, 1]  # the faintest does not even touch its neighbour
    assert parted(blob(100, 100, 300.0).astype(np.float32))[0].max() == 1


def test_bumps_of_noise_do_not_part_a_large_galaxy():
    rng = np.random.default_rng(6)
    galaxy = blob(150, 150, 200.0, 25.0).astype(np.float32)
    grain = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.7)
    image = galaxy + (grain / grain.std()).astype(np.float32)
    labels, _ = parted(image)
    assert len(np.unique(labels[galaxy > 20])) == 1
    with_companion = image + blob(180, 150, 60.0).astype(np.float32)
    assert len(np.unique(parted(with_companion)[0][galaxy > 60])) == 2


def test_peaks_in_a_stars_own_light_are_the_stars():
    image = (blob(100, 100, 300.0, 8.0) + blob(130, 100, 12.0)).astype(np.float32)
    assert parted(image)[0].max() == 2
    assert parted(image, halo=np.full(SHAPE, 40.0, np.float32))[0].max() == 1


def test_parts_do_not_depend_on_the_orientation_of_the_image():
    rng = np.random.default_rng(7)
    image = ndimage.gaussian_filter(rng.normal(size=(120, 90)), 2.0)
    image = (8 * image / image.std()).astype(np.float32)
    labels = parted(image)[0]
    turned = parted(np.ascontiguousarray(image[::-1].T))[0]
    sizes, other = (np.sort(np.bincount(one.ravel())) for one in (labels, turned))
    np.testing.assert_array_equal(sizes, other)
    assert labels.max() > 5


# bright stars


def star(x, y, shape=SHAPE):
    """Spikes that fall as distance squared, six of them, on a halo."""
    rows, columns = np.indices(shape)
    distance = np.maximum(np.hypot(columns - x, rows - y), 3)
    angle = np.arctan2(rows - y, columns - x)
    across = np.abs(np.sin(3 * angle)) / 3 * distance
    return (1e4 / distance**2 * (0.1 + np.exp(-(across**2) / 18))).astype(np.float32)


def test_a_masked_star_is_found_where_its_core_was_and_a_masked_ghost_is_not():
    image, covered = star(160, 150), np.ones(SHAPE, bool)
    rows, columns = np.indices(SHAPE)
    covered[np.hypot(columns - 160, rows - 150) < 15] = False
    covered[149:152, 160:200] = False  # and a spike
    covered[30:60, 30:60] = False
    covered[:, :5] = False  # the end of the data is no hole
    image[~covered] = 0
    (found,) = star_light.cores(image, covered)
    assert (found.x, found.y) == pytest.approx((160, 150), abs=1.5)
    assert found.core == pytest.approx(15, abs=1.5)
    filled = star_light.fill(image, covered, [found])
    assert filled[150, 160] and filled[150, 190] and not filled[40, 40] and not filled[150, 2]
    labels, _ = parted(image, halo=star_light.halo(image, covered, [found]))
    assert len(np.unique(labels[140:161, 140:181])) == 1


def test_a_stars_light_is_told_from_sources_in_it():
    alone = star(160, 150)
    companion = blob(160, 100, 40.0).astype(np.float32)  # on no spike, where the halo is 0.4
    found = star_light.halo(alone + companion, np.ones(SHAPE, bool), [star_light.Star(160, 150, 0.0, 140.0)])
    assert found[100, 160] < 4
    spike = np.s_[149:152, 200:260]
    assert np.median(found[spike] / alone[spike]) == pytest.approx(1, abs=0.15)
    # between the spikes, away from their samples' spread
    rows, columns = np.indices(SHAPE)
    angle = np.degrees(np.arctan2(rows - 150, columns - 160)) % 60
    between = (np.abs(angle - 30) < 10) & (np.hypot(columns - 160, rows - 150) > 60) & (found > 0)
    assert np.median(found[between] / alone[between]) < 2
    assert not found[150, 310]  # out of reach


def test_a_star_seen_in_two_filters_is_one_star():
    one, two = star_light.Star(100, 100, 20.0, 300.0), star_light.Star(103, 99, 5.0, 300.0)
    other = star_light.Star(160, 100, 5.0, 300.0)
    assert star_light.merge([one, two, other]) == [two, other]


# shapes


def heights_of(image, x, y, sigmas=(1.3, 2.3)):
    labels = np.zeros(image.shape, np.int32)
    return source_shapes.heights(
        image, np.ones(image.shape), labels, np.ones(len(x)), np.array(x, float), np.array(y, float), sigmas
    )


def test_the_ratio_grows_with_size_and_its_error_is_the_scatter():
    rng = np.random.default_rng(8)
    x, y = (v.ravel() for v in np.meshgrid(np.arange(25.0, 300, 25), np.arange(25.0, 280, 25)))
    sizes = []
    for sigma in (1.3, 2.0, 3.0):
        image = sum(blob(a, b, 10.0, sigma) for a, b in zip(x, y, strict=True)) + rng.normal(size=SHAPE)
        ratio, error = source_shapes.ratios(*heights_of(image, x, y))
        sizes.append(np.median(ratio))
        assert np.std(ratio) / np.median(error) == pytest.approx(1, abs=0.2)
    # a Gaussian fitted with one of width w is 2 s^2 / (s^2 + w^2) as high
    fits = [2 * s**2 / (s**2 + 2.3**2) / (2 * s**2 / (s**2 + 1.3**2)) for s in (1.3, 2.0, 3.0)]
    np.testing.assert_allclose(sizes, fits, rtol=0.05)


def test_neighbours_and_missing_pixels_do_not_change_heights():
    image = blob(100, 100, 10.0, 1.5) + blob(108, 100, 1000.0, 1.5)
    labels = np.ones(SHAPE, np.int32)
    labels[:, 103:] = 2
    weight = np.ones(SHAPE)
    weight[97:99, 99] = 0
    image[97:99, 99] = 1e6
    value, _ = source_shapes.heights(
        image, weight, labels, np.array([1]), np.array([100.0]), np.array([100.0]), (1.5,)
    )  # fmt: skip
    assert value[0, 0] == pytest.approx(10, rel=0.05)


def test_centroids_are_between_pixels_and_stay_with_their_peak():
    image = blob(100.3, 99.6, 10.0, 1.6) + blob(200, 100, 10.0, 1.6) + blob(204, 100, 500.0, 1.6)
    labels = np.zeros(SHAPE, np.int32)
    start = np.array([100.0, 200.0]), np.array([100.0, 100.0])
    x, y = source_shapes.centroids(image, np.ones(SHAPE), labels, np.array([1, 2]), *start, 2.0)
    assert (x[0], y[0]) == pytest.approx((100.3, 99.6), abs=0.01)
    assert (x[1], y[1]) == pytest.approx((200, 100), abs=3.0)


def test_a_field_tells_the_ratio_of_its_stars_and_the_optics_where_it_has_none():
    rng = np.random.default_rng(9)
    stars, galaxies = rng.normal(0.47, 0.004, 6), rng.uniform(0.53, 1.0, 60)
    ratio, error = np.append(stars, galaxies), np.full(66, 0.003)
    found = source_shapes.locus(ratio, error, 0.445)
    assert found.ratio == pytest.approx(0.47, abs=0.004) and found.sources == 6
    assert source_shapes.locus(galaxies, error[6:], 0.445) == source_shapes.Locus(0.445, source_shapes.UNSURE, 0)
    star, galaxy, unsure = source_shapes.stellarity(
        np.array([0.472, 0.7, 0.6]), np.array([0.004, 0.004, 0.5]), found
    )  # fmt: skip
    assert star > 0.9 and galaxy < 1e-6 and 0.05 < unsure < 0.5
    assert source_shapes.stellarity(np.array([np.nan]), np.array([np.nan]), found)[0] == source_shapes.STARS
    assert np.isfinite(source_shapes.stellarity(np.array([-3.0, 0.01, 50.0]), np.full(3, 1e-3), found)).all()


def test_the_optics_give_larger_ratios_for_redder_light_and_larger_pixels():
    kernel = 0.16 / 2.3548
    sigmas = [one * kernel for one in source_shapes.SCALES]
    ratio = source_shapes.expected_ratio(1.5, 0.0656, 0.0656, 0.04, sigmas)
    assert 0.40 < ratio < 0.48  # 0.47 on the simulated NIRISS, whose mirror is not perfect
    assert source_shapes.expected_ratio(2.0, 0.0656, 0.0656, 0.04, sigmas) > ratio
    assert source_shapes.expected_ratio(1.5, 0.0656, 0.0328, 0.04, sigmas) < ratio


def test_significance_in_one_filter_is_that_of_the_matched_filter():
    rng = np.random.default_rng(10)
    weight = 4 * ONES
    weight[:, :50] = 0
    image = blob(150, 140, 5.0, 1.7).astype(np.float32) + noise(rng) / 2 + np.float32(0.25)
    found = source_shapes.significances(
        image, weight, np.full(2, 0.25), np.array([150.0, 20.0]), np.array([140.0, 140.0]), 1.7
    )  # fmt: skip
    whole = detection.matched((image - np.float32(0.25)) * (weight > 0), weight, 1.7)[140, 150]
    assert found[0] == pytest.approx(whole, rel=0.01)
    assert np.isnan(found[1])


# flags


def test_a_source_of_one_filter_alone_is_told_from_a_faint_one():
    by_filter = {
        "F115W": np.array([0.2, 4.0, 12.0, np.nan, 2.1]),
        "F150W": np.array([9.0, 5.0, 11.0, 9.0, 1.0]),
        "F200W": np.array([-1.0, 2.5, 12.0, np.nan, 10.7]),
    }
    assert source_catalogue.single(by_filter).tolist() == [True, False, False, True, True]
    assert not source_catalogue.single({"F115W": np.array([9.0])}).any()


def test_reliable_sources_have_none_of_the_doubtful_flags():
    bits = np.array([0] + [1 << bit for bit in source_catalogue.FLAGS.values()])
    trusted = source_catalogue.reliable(bits)
    names = ["none", *source_catalogue.FLAGS]
    assert {name for name, one in zip(names, trusted, strict=True) if not one} == set(source_catalogue.DOUBTFUL)
    assert set(source_catalogue.MEANINGS) == set(source_catalogue.FLAGS)


def test_magnitudes_are_ab_of_jansky():
    magnitude, error = source_catalogue.magnitudes(np.array([3.631e-6, -1.0]), np.array([3.631e-7, 1.0]))
    assert magnitude[0] == pytest.approx(22.5, abs=1e-3) and error[0] == pytest.approx(0.1086, abs=1e-4)
    assert np.isnan(magnitude[1]) and np.isnan(error[1])


# numbers


def places(rng, n, ra=150.0, dec=2.2, size=60.0):
    return ra + rng.uniform(-size, size, n) / 3600, dec + rng.uniform(-size, size, n) / 3600


def numbered(register, place, run, brightness=None):
    brightness = np.arange(len(place[0]))[::-1].astype(float) if brightness is None else brightness
    return source_ids.update(register, place[0], place[1], brightness, 0.2, run)


def test_sources_keep_their_numbers_and_none_is_given_twice():
    rng = np.random.default_rng(11)
    ra, dec = places(rng, 40)
    first, register = numbered(source_ids.Register.empty(), (ra, dec), "one")
    np.testing.assert_array_equal(first, np.arange(1, 41))  # from bright to faint
    # the second run lacks the last ten, has five more, and sees all 20 mas off
    more = places(rng, 5)
    again = np.append(ra[:30], more[0]) + 1.4e-5 / 3.6, np.append(dec[:30], more[1])
    second, register = numbered(register, again, "two")
    np.testing.assert_array_equal(second[:30], first[:30])
    np.testing.assert_array_equal(np.sort(second[30:]), np.arange(41, 46))
    np.testing.assert_array_equal(register.id, np.arange(1, 46))
    assert register.first.tolist() == ["one"] * 40 + ["two"] * 5
    assert register.last.tolist() == ["two"] * 30 + ["one"] * 10 + ["two"] * 5
    assert register.ra[0] == again[0][0] and register.ra[39] == ra[39]
    # those that were gone come back as what they were, even from the first mosaics alone
    third, after = numbered(register, (ra, dec), "three")
    np.testing.assert_array_equal(third, first)
    np.testing.assert_array_equal(after.id, register.id)


def test_numbers_do_not_depend_on_the_order_of_sources_and_the_same_run_changes_nothing():
    rng = np.random.default_rng(12)
    place, brightness = places(rng, 30), rng.uniform(1, 100, 30)
    ids, register = numbered(source_ids.Register.empty(), place, "one", brightness)
    order = rng.permutation(30)
    shuffled, other = numbered(
        source_ids.Register.empty(), (place[0][order], place[1][order]), "one", brightness[order]
    )  # fmt: skip
    np.testing.assert_array_equal(shuffled, ids[order])
    np.testing.assert_array_equal(other.ra, register.ra)
    _, same = numbered(register, place, "one", brightness)
    for name in ("id", "ra", "dec", "first", "last"):
        np.testing.assert_array_equal(getattr(same, name), getattr(register, name))


def test_only_mutual_nearest_within_the_radius_match_across_the_meridian_too():
    step = 0.1 / 3600
    one = np.array([359.99999, 10.0]), np.array([0.0, 0.0])
    other = np.array([359.99999 + step / 2 - 360, 359.99999, 10.0 + 3 * step]), np.zeros(3)
    np.testing.assert_array_equal(source_ids.match(one, other, 0.2), [1, -1])
    np.testing.assert_array_equal(source_ids.match(one, (np.empty(0), np.empty(0)), 0.2), [-1, -1])
    # two that were one: the nearer keeps the number
    split = np.array([10.0 + 0.5 * step, 10.0 - step]), np.zeros(2)
    np.testing.assert_array_equal(source_ids.match(split, (np.array([10.0]), np.zeros(1)), 0.2), [0, -1])
