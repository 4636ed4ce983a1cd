"""The simulated instrument and detector: numbers that belong together, and maps that do not depend on the frame."""

import hashlib
from dataclasses import fields

import numpy as np
import pytest
from pureparallel.simulate import background, crds_cache, instrument
from pureparallel.simulate.detector import FULL_WELL, make_detector, read_out
from pureparallel.simulate.dispersion import Traces
from pureparallel.simulate.instrument import FILTERS, GRISMS, NIS_CEN, Frame, Readout, bandpass, seed_for

CORNER = Frame(1, 1, 150, 100)
MIDDLE = Frame(769, 700, 300, 257)


def test_a_frame_lies_on_the_detector():
    x, y = MIDDLE.coordinates()
    assert (x[0, 0], x[0, -1], y[0, 0], y[-1, 0]) == (768, 1067, 699, 955)
    assert np.zeros((2048, 2048))[MIDDLE.slices].shape == MIDDLE.shape == (257, 300)
    assert (Frame.full().subarray, MIDDLE.subarray) == ("FULL", "GENERIC")
    for wrong in ((0, 1, 8, 8), (1, 1, 0, 8), (2041, 1, 9, 8), (1, 2041, 8, 9)):
        with pytest.raises(ValueError, match="does not lie"):
            Frame(*wrong)


def test_groups_are_means_of_their_frames():
    assert Readout("NIS", 6).group_time(MIDDLE) == 4 * Readout("NISRAPID", 6).group_time(MIDDLE)
    frames = Readout("NISRAPID", 24).group_times(MIDDLE)
    assert Readout("NIS", 6).group_times(MIDDLE) == pytest.approx(frames.reshape(6, 4).mean(axis=1))
    with pytest.raises(ValueError, match="SLOW"):
        Readout("SLOW", 6)
    with pytest.raises(ValueError, match="0 groups"):
        Readout("NIS", 0)


@pytest.mark.parametrize("name", FILTERS)
def test_the_band_pass_has_its_limits_and_pivot(name):
    band = FILTERS[name]
    wave = np.linspace(0.7, 2.4, 200_001)
    through = bandpass(name, wave)
    assert bandpass(name, [band.wave_min, band.wave_max, 0.7, 2.4]) == pytest.approx([0.5, 0.5, 0, 0])
    assert through.max() == 1
    # in the mean over the band, the edges take as much as they give
    assert through.sum() * (wave[1] - wave[0]) == pytest.approx(band.wave_max - band.wave_min, rel=1e-3)
    pivot = np.sqrt((through * wave).sum() / (through / wave).sum())
    assert pivot == pytest.approx(band.pivot, rel=2e-4)


def test_the_pixel_has_the_solid_angle_of_the_distortion():
    edges = np.array([1023.0, 1024.0])
    x, y = NIS_CEN.to_telescope(*np.meshgrid(edges, edges))
    area = abs((x[0, 1] - x[0, 0]) * (y[1, 0] - y[0, 0]) - (x[1, 0] - x[0, 0]) * (y[0, 1] - y[0, 0]))
    assert area == pytest.approx(instrument.PIXAR_A2, rel=1e-5)
    assert area * (np.pi / 180 / 3600) ** 2 == pytest.approx(instrument.PIXAR_SR, rel=1e-5)


def test_the_aperture_goes_there_and_back():
    x, y = np.meshgrid(np.linspace(-50, 2100, 9), np.linspace(-50, 2100, 9))
    back = NIS_CEN.from_telescope(*NIS_CEN.to_telescope(x, y))
    assert np.abs(np.array(back) - [x, y]).max() < 1e-8
    assert NIS_CEN.to_telescope(1023.5, 1023.5) == (NIS_CEN.v2_ref, NIS_CEN.v3_ref)
    # parity -1: x on the detector grows towards negative V2
    assert NIS_CEN.to_telescope(2000, 1023.5)[0] < NIS_CEN.v2_ref
    assert NIS_CEN.to_telescope(1023.5, 2000)[1] > NIS_CEN.v3_ref


def test_random_numbers_go_by_seed_and_name():
    def draw(*key):
        return seed_for(*key).random(4).tolist()

    assert draw(1, "sky", "a") == draw(1, "sky", "a")
    others = [draw(2, "sky", "a"), draw(1, "sky", "b"), draw(1, "skya"), draw(1, "sky"), draw(1, "a", "sky")]
    assert all(other != draw(1, "sky", "a") for other in others)


@pytest.mark.parametrize("inner", [CORNER, MIDDLE])
def test_a_subarray_is_a_part_of_the_detector(inner):
    """Of a larger frame whose edges fall elsewhere between the strips."""
    outer = Frame(max(inner.xstart - 77, 1), max(inner.ystart - 77, 1), inner.nx + 200, inner.ny + 200)
    rows, columns = inner.slices
    cut = (
        slice(rows.start - outer.slices[0].start, rows.stop - outer.slices[0].start),
        slice(columns.start - outer.slices[1].start, columns.stop - outer.slices[1].start),
    )
    small, large = make_detector(inner, 5), make_detector(outer, 5)
    for field in fields(small):
        if field.name not in ("frame", "flat"):
            assert np.array_equal(getattr(small, field.name), getattr(large, field.name)[cut]), field.name
    assert all(np.array_equal(small.flat[name], large.flat[name][cut]) for name in FILTERS)


def test_the_seed_makes_the_detector():
    one, same, other = (make_detector(CORNER, seed) for seed in (5, 5, 6))
    assert np.array_equal(one.bias, same.bias)
    assert not np.array_equal(one.bias, other.bias)
    assert not np.array_equal(one.flat["F200W"], other.flat["F200W"])


def test_the_detector_is_as_described():
    d = make_detector(Frame(400, 400, 800, 800), 1)
    assert not (d.hot & d.dead).any()
    assert d.hot.mean() == pytest.approx(4e-4, rel=0.3)
    assert d.dead.mean() == pytest.approx(3.3e-4, rel=0.6)
    assert d.dark[d.hot].min() >= 2
    assert np.all(d.dark[d.dead] == 0)
    assert np.median(d.dark) == pytest.approx(0.02, rel=0.1)
    warm = (d.dark > 0.1) & ~d.hot
    assert warm.mean() == pytest.approx(2e-3, rel=0.2)
    assert np.median(d.read_noise) == pytest.approx(7, rel=0.05)
    assert 1.4 < d.gain.min() < d.gain.max() < 1.8
    assert np.all((d.saturation > d.bias + 0.9 * FULL_WELL) & (d.saturation < 65535))
    for name in FILTERS:
        assert np.median(d.flat[name]) == pytest.approx(1, abs=0.06)
        assert 0.01 < d.flat[name].std() < 0.05
    # filters share the pixels' response, and differ on large scales
    ratio = d.flat["F115W"] / d.flat["F200W"]
    assert np.abs(np.diff(ratio, axis=1)).max() < 2e-4
    assert np.ptp(ratio) > 1e-3


def test_reference_pixels_are_the_border_of_the_full_frame():
    d = make_detector(CORNER, 1)
    assert np.all(d.reference_pixel[:4]) and np.all(d.reference_pixel[:, :4])
    assert not d.reference_pixel[4:, 4:].any()
    r = d.reference_pixel
    assert np.all(d.dark[r] == 0) and np.all(d.linearity[r] == 0) and not (d.hot | d.dead)[r].any()
    assert np.array_equal(d.sensitive, ~(d.dead | r))
    assert not make_detector(MIDDLE, 1).reference_pixel.any()


def test_the_detector_bends_as_the_correction_unbends():
    d = make_detector(CORNER, 1)
    signal = np.linspace(-50, 60000, 40)[:, None, None]
    measured = read_out(signal, d.linearity)
    assert np.allclose(measured + d.linearity * measured**2, signal, rtol=1e-5, atol=1e-4)
    light = d.linearity > 0
    assert np.median((signal / measured)[-1][light]) == pytest.approx(1.08, abs=0.01)


@pytest.mark.parametrize("grism", GRISMS)
@pytest.mark.parametrize("band", ["F115W", "F200W"])
def test_backgrounds_do_not_depend_on_the_frame_and_differ(grism, band):
    frame = Frame(769, 769, 256, 256)
    full = background.background_components(grism, band, Frame.full())
    assert set(full) == {"zodiacal", "scattered"} | ({"helium"} if band == "F115W" else set())
    cut = background.background_components(grism, band, frame)
    for name, image in full.items():
        assert np.median(image) == pytest.approx(1, abs=0.02)
        assert image.min() >= 0
        assert np.allclose(cut[name], image[frame.slices], rtol=1e-12)
    # no component is a combination of the others: each leaves a residual well above a real exposure's error
    for name, image in cut.items():
        others = np.stack([np.ones(image.size)] + [o.ravel() for n, o in cut.items() if n != name], axis=1)
        fitted = others @ np.linalg.lstsq(others, image.ravel())[0]
        assert np.std(image.ravel() - fitted) > 0.005, name


@pytest.mark.parametrize("grism", GRISMS)
def test_the_mirror_ends_where_an_order_puts_its_edge(grism):
    """The line's edge is sharp, and where its wavelength is displaced to; zodiacal light's is as wide as the band."""
    traces = Traces.read(instrument.GRISM_CONFIGURATION)
    axis = 1 if grism == "GR150R" else 0

    def profile(band, name):
        image = background.background_components(grism, band, Frame.full())[name]
        return image.mean(axis=axis)  # of all waves of the mirror, which leaves none

    def edge(band, order, wave):
        return 2047 + background.MIRROR_MARGIN + traces.displace(grism, band, order, 1023.5, 1023.5, wave)[axis]

    step = np.gradient(profile("F115W", "helium"))
    assert np.argmin(step) == pytest.approx(edge("F115W", 2, background.HELIUM), abs=1.5)
    band = FILTERS["F200W"]
    zodiacal = profile("F200W", "zodiacal")
    inside, outside = (edge("F200W", 1, w) for w in (band.wave_max, band.wave_min))
    assert zodiacal[int(inside) - 20] > 0.85
    assert zodiacal[int(outside) + 20 :].max(initial=0) < 0.15
    assert outside - inside > 5 * background.EDGE_WIDTH
    assert np.all(np.diff(zodiacal[int(inside) + 10 : min(int(outside), 2047)]) < 0)


def test_the_sky_is_as_bright_as_sensitivity_and_solid_angle_say():
    """A flat spectrum over the band, by hand: surface brightness x pixel x sensitivity x width."""
    wave = FILTERS["F150W"].pivot
    f_lambda = background.zodiacal_light(wave) * 1e6 * instrument.PIXAR_SR * 1e-23 * 2.998e18 / (wave * 1e4) ** 2
    width = (FILTERS["F150W"].wave_max - FILTERS["F150W"].wave_min) * 1e4
    assert background.zodiacal_rate("GR150R", "F150W") == pytest.approx(f_lambda * 8.8e16 * width, rel=0.1)
    assert background.imaging_rate("F150W") == pytest.approx(0.16 / FILTERS["F150W"].photmjsr, rel=0.01)


def test_mappings_carry_their_checksum_and_name_every_type(tmp_path):
    rules = {"flat": crds_cache.Rule(("META.INSTRUMENT.PUPIL",), {("F200W",): "a.fits", ("F115W",): "N/A"})}
    crds_cache.write(tmp_path, rules, {"flat", "area", "pars-jumpstep"})
    folder = crds_cache.mapping_folder(tmp_path)
    for path in folder.iterdir():
        lines = path.read_text().splitlines(keepends=True)
        kept = "".join(line for line in lines if "sha1sum" not in line)
        assert f"'sha1sum' : '{hashlib.sha1(kept.encode()).hexdigest()}'" in "".join(lines), path.name
    names = (folder / "jwst_niriss_0001.imap").read_text()
    assert "'area' : 'N/A'" in names
    assert "'flat' : 'jwst_niriss_flat_0001.rmap'" in names
    rule = (folder / "jwst_niriss_flat_0001.rmap").read_text()
    assert "('F115W',) : 'N/A'" in rule
    assert "'file_ext' : '.fits'" in rule


def test_a_rule_that_makes_no_sense_is_refused(tmp_path):
    two = crds_cache.Rule(("META.INSTRUMENT.PUPIL",), {("F200W", "CLEAR"): "a.fits"})
    with pytest.raises(ValueError, match="values"):
        crds_cache.write(tmp_path, {"flat": two}, [])
    mixed = crds_cache.Rule(("META.INSTRUMENT.PUPIL",), {("F200W",): "a.fits", ("F115W",): "a.asdf"})
    with pytest.raises(ValueError, match="one format"):
        crds_cache.write(tmp_path, {"flat": mixed}, [])
