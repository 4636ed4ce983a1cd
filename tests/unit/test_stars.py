"""Cores, bright sources and spikes."""

import numpy as np
import pytest
from pureparallel.core import stars
from pureparallel.core.ghosts import Bright

SHAPE, NOISE = (256, 256), 0.05


def star(x, y, amplitude=450.0, turn=0.0, strut=100.0, core=2e3):
    """A star with six spikes that fall as the distance squared, and a faint pair; a halo that falls faster."""
    v, u = np.indices(SHAPE)
    radius = np.maximum(np.hypot(u - x, v - y), 2)
    image = 2e3 / radius**3 + core * np.exp(-0.5 * (np.hypot(u - x, v - y) / 0.9) ** 2)
    for directions, light, width in ((stars.SPIKES, amplitude, 2.3), (stars.STRUT, strut, 0.8)):
        for one in directions:
            a = np.deg2rad(one + turn)
            along, across = (u - x) * np.cos(a) + (v - y) * np.sin(a), (v - y) * np.cos(a) - (u - x) * np.sin(a)
            image += np.where(along > 0, light / radius**2 * np.exp(-0.5 * (across / width) ** 2), 0)
    return image


def noisy(image, seed=1):
    return image + np.random.default_rng(seed).normal(0, NOISE, SHAPE)


def test_cores_are_of_light_and_not_of_particles():
    saturated, events, image = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), np.zeros(SHAPE)
    saturated[50:53, 60:63] = saturated[150:160, 150:160] = True
    events[145:165, 145:165] = True
    mask = stars.cores(saturated, events, image, NOISE, grow=2)
    assert mask[50:53, 60:63].all()
    assert mask[48, 61]
    assert not mask[47, 61]
    assert not mask[140:170, 140:170].any()
    assert not stars.cores(np.zeros(SHAPE, bool), events, image, NOISE).any()
    image[149:161, 149:161] = 1000 * NOISE  # a star that a particle hit
    image[154:156, 154:156] = np.nan
    assert stars.cores(saturated, events, image, NOISE)[150:160, 150:160].all()


@pytest.mark.parametrize("turn", [-1.0, 0.0, 1.5])
def test_spikes_are_measured(turn):
    image = noisy(star(120.3, 131.2, turn=turn))
    found = stars.spiked(Bright(120.3, 131.2, 1e4), image, NOISE, dispersion=None)
    assert found.seen == 6
    assert found.turn == pytest.approx(turn, abs=0.3)
    assert found.spike == pytest.approx(450, rel=0.15)
    assert 40 < found.strut < 150  # it is as narrow as a pixel


def test_spikes_are_masked_down_to_their_level():
    x, y = 120.3, 131.2
    found = stars.spiked(Bright(x, y, 1e4), noisy(star(x, y)), NOISE, dispersion=None)
    mask = stars.spikes([found], SHAPE, 2 * NOISE)
    light = star(x, y) - star(x, y, amplitude=0, strut=0)
    v, u = np.indices(SHAPE)
    away = np.hypot(u - x, v - y) > 8
    lit = away & (light > 2 * NOISE)
    assert (mask & lit).sum() > 0.92 * lit.sum()
    assert (mask & away).sum() < 1.35 * lit.sum()
    fainter = stars.spikes([found], SHAPE, 8 * NOISE)
    assert fainter.sum() < 0.5 * mask.sum()


def test_galaxies_and_traces_have_no_spikes():
    v, u = np.indices(SHAPE)
    galaxy = 200 * np.exp(-np.hypot((u - 120) / 12, (v - 130) / 5))
    assert stars.spiked(Bright(120.0, 130.0, 2e4), noisy(galaxy), NOISE, dispersion=None) is None
    trace = np.where(np.abs(u - 120) < 60, 300 * np.exp(-0.5 * ((v - 130) / 1.2) ** 2), 0)
    assert stars.spiked(Bright(120.0, 130.0, 2e4), noisy(trace), NOISE, dispersion="x") is None


def test_spikes_over_another_source_and_the_edge_are_measured():
    image = noisy(star(12.0, 131.0) + star(60.0, 131.0, amplitude=0, strut=0, core=500))
    found = stars.spiked(Bright(12.0, 131.0, 1e4), image, NOISE, dispersion=None)
    assert found.spike == pytest.approx(450, rel=0.3)


def test_bright_sources_and_their_light():
    image = np.zeros(SHAPE)
    v, u = np.indices(SHAPE)
    for x, y, rate in ((60.2, 70.6, 4000.0), (180.0, 40.0, 900.0), (100.0, 200.0, 50.0)):
        image += rate / (2 * np.pi * 4) * np.exp(-0.5 * ((u - x) ** 2 + (v - y) ** 2) / 4)
    error, none = np.full(SHAPE, NOISE), np.zeros(SHAPE, bool)
    found = stars.sources(noisy(image), error, none, dispersion=None, least=500.0, faintest=5.0)
    assert [(s.x, s.y) for s in found] == [pytest.approx((60.2, 70.6), abs=0.1), pytest.approx((180, 40), abs=0.1)]
    assert [s.rate for s in found] == [pytest.approx(4000, rel=0.02), pytest.approx(900, rel=0.03)]


def test_a_source_without_a_core_is_known_by_its_wings():
    v, u = np.indices(SHAPE)
    radius = np.hypot(u - 120, v - 130)
    ring = (radius > 8) & (radius <= 16)
    image = np.where(ring, 0.03 * 2e4 / ring.sum(), 30 * np.exp(-radius / 4))
    core = radius < 3
    image[core] = np.nan
    (found,) = stars.sources(image, np.full(SHAPE, NOISE), core, dispersion=None, least=500.0, faintest=5.0)
    assert (found.x, found.y) == pytest.approx((120, 130))
    assert found.rate == pytest.approx(2e4, rel=0.05)


def test_zeroth_orders_are_told_from_traces():
    v, u = np.indices(SHAPE)
    zeroth = 100 * np.exp(-0.5 * (((u - 60) / 2) ** 2 + ((v - 60) / 1.2) ** 2))
    trace = np.where((u > 120) & (u < 220), 30 * np.exp(-0.5 * ((v - 180) / 1.5) ** 2), 0)
    arguments = noisy(zeroth + trace), np.full(SHAPE, NOISE), np.zeros(SHAPE, bool)
    found = stars.sources(*arguments, dispersion="x", least=100.0, faintest=5.0)
    assert [(round(s.x), round(s.y)) for s in found] == [(60, 60)]
    assert len(stars.sources(*arguments, dispersion=None, least=100.0, faintest=5.0)) == 2
