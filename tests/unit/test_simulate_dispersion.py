"""The simulator's traces against the convention written out, and against the pipeline's own transform."""

import json

import numpy as np
import pytest
from astropy.io import fits
from pureparallel.simulate import dispersion, instrument

GRISMS, FILTERS, ORDERS = instrument.GRISMS, tuple(instrument.FILTERS), (-1, 0, 1, 2, 3)


@pytest.fixture(scope="module")
def path(root):
    return root / "resources" / "niriss_grism_v3.fits"


@pytest.fixture(scope="module")
def traces(path):
    return dispersion.Traces.read(path)


def test_all_orders_are_there(traces):
    assert all(traces.orders(grism, name) == ORDERS for grism in GRISMS for name in FILTERS)
    with pytest.raises(ValueError, match="order 4"):
        traces.displace("GR150R", "F200W", 4, 0, 0, 2.0)


def test_displacement_is_the_convention_written_out(path, traces):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-200, 2248, (2, 20))
    rows = fits.getdata(path, "TRACE")
    assert len(rows) == len(GRISMS) * len(FILTERS) * len(ORDERS)
    for row in rows:
        grism, name, order = str(row["grism"]), str(row["filter"]), int(row["order"])
        wave = rng.uniform(instrument.FILTERS[name].wave_min, instrument.FILTERS[name].wave_max, 20)
        t = (wave - row["displ"][0]) / row["displ"][1]
        expected = []
        for e in (row["dispx"], row["dispy"]):
            powers = [
                e[i, 0] + e[i, 1] * x + e[i, 2] * y + e[i, 3] * x**2 + e[i, 4] * x * y + e[i, 5] * y**2
                for i in range(3)
            ]
            expected.append(powers[0] + t * powers[1] + t**2 * powers[2])
        np.testing.assert_allclose(traces.displace(grism, name, order, x, y, wave), expected, rtol=0, atol=1e-8)


def test_wavelength_and_parameter_are_inverse(traces):
    t = np.linspace(-0.2, 1.2, 9)
    wave = traces.wavelength("GR150C", "F150W", 2, t)
    np.testing.assert_allclose(traces.parameter("GR150C", "F150W", 2, wave), t, atol=1e-14)


@pytest.mark.parametrize(("name", "low", "high"), [("F200W", -255, -155), ("F150W", -138, -65), ("F115W", -55, 3)])
def test_first_order_falls_where_niriss_has_it(traces, name, low, high):
    band = instrument.FILTERS[name]
    _, dy = traces.displace("GR150R", name, 1, 256, 256, [band.wave_max, band.wave_min])
    dx, _ = traces.displace("GR150C", name, 1, 256, 256, [band.wave_max, band.wave_min])
    assert dy == pytest.approx([low, high], abs=8)
    assert dx == pytest.approx([low, high], abs=8)


def test_the_wheel_turns_the_trace_without_stretching_it(traces):
    wave = np.array([1.8, 2.2])
    straight = np.array(traces.displace("GR150R", "F200W", 1, 800, 900, wave))
    reference = instrument.FWCPOS_REF["GR150R"]
    turned = np.array(traces.displace("GR150R", "F200W", 1, 800, 900, wave, fwcpos=reference + 0.5))
    np.testing.assert_allclose(np.hypot(*turned), np.hypot(*straight), rtol=1e-12)
    angle = np.rad2deg(np.arctan2(turned[1], turned[0]) - np.arctan2(straight[1], straight[0]))
    np.testing.assert_allclose(angle, -0.5, atol=1e-9)
    same = np.array(traces.displace("GR150R", "F200W", 1, 800, 900, wave, fwcpos=reference))
    np.testing.assert_array_equal(same, straight)


def test_sensitivity_is_the_table_and_nothing_beyond(path, traces):
    for row in fits.getdata(path, "SENS")[::7]:
        key = str(row["grism"]), str(row["filter"]), int(row["order"])
        np.testing.assert_allclose(traces.sensitivity(*key, row["wavelength"]), row["sensitivity"], rtol=1e-6)
        assert traces.sensitivity(*key, [0.3, 9.0]).tolist() == [0, 0]
    for name, band in instrument.FILTERS.items():
        for grism in GRISMS:
            for order in ORDERS:  # wavelengths are in micron throughout: every order peaks within its filter
                wave = np.linspace(0.6, 3, 4801)
                peak = wave[traces.sensitivity(grism, name, order, wave).argmax()]
                assert band.wave_min - 0.03 < peak < band.wave_max + 0.03
        # the first order is the brightest, or nearly so: F090W's second one is blazed
        peaks = {order: traces.sensitivity("GR150R", name, order, wave).max() for order in ORDERS}
        assert max(peaks, key=peaks.__getitem__) == 1


PIPELINE = """
import json, sys
import numpy as np
from astropy.io import fits
from astropy.modeling.models import Polynomial1D, Polynomial2D
from stdatamodels.jwst.transforms import models

path, asked = sys.argv[1], json.loads(sys.argv[2])
rows = fits.getdata(path, "TRACE")

def polynomial(c):
    return Polynomial2D(2, c0_0=c[0], c1_0=c[1], c0_1=c[2], c2_0=c[3], c1_1=c[4], c0_2=c[5])

out = []
for grism, name, theta, x, y, wave in asked:
    mine = [r for r in rows if r["grism"] == grism and r["filter"] == name]
    orders = [int(r["order"]) for r in mine]
    dispx = [[polynomial(c) for c in r["dispx"]] for r in mine]
    dispy = [[polynomial(c) for c in r["dispy"]] for r in mine]
    displ = [Polynomial1D(1, c0=r["displ"][0], c1=r["displ"][1]) for r in mine]
    invdispl = [Polynomial1D(1, c0=-r["displ"][0] / r["displ"][1], c1=1 / r["displ"][1]) for r in mine]
    there = models.NIRISSBackwardGrismDispersion(orders, lmodels=invdispl, xmodels=dispx, ymodels=dispy, theta=-theta)
    kind = "Row" if grism.endswith("C") else "Column"
    forward = getattr(models, f"NIRISSForward{kind}GrismDispersion")
    back = forward(orders, lmodels=displ, xmodels=dispx, ymodels=dispy, theta=theta)
    for order in (-1, 0, 1, 2, 3):
        gx, gy, *_ = there(np.array(x), np.array(y), np.array(wave), np.full(len(x), order))
        waves = [float(np.squeeze(back(*p, order)[2])) for p in zip(gx, gy, x, y)]
        out.append([np.ravel(gx).tolist(), np.ravel(gy).tolist(), waves])
print(json.dumps(out))
"""


def test_the_pipeline_puts_the_light_at_the_same_place(path, traces, run_in, tmp_path):
    rng = np.random.default_rng(2)
    asked = []
    for grism in GRISMS:
        for name, band in instrument.FILTERS.items():
            x, y = rng.uniform(0, 2048, (2, 5))
            wave = rng.uniform(band.wave_min, band.wave_max, 5)
            asked.append([grism, name, rng.uniform(-0.3, 0.3), x.tolist(), y.tolist(), wave.tolist()])
    done = run_in("jwst", "python", "-c", PIPELINE, path, json.dumps(asked), cwd=tmp_path)
    found = iter(json.loads(done.stdout.strip().splitlines()[-1]))
    for grism, name, theta, x, y, wave in asked:
        fwcpos = instrument.FWCPOS_REF[grism] + theta
        for order in ORDERS:
            gx, gy, back = next(found)
            dx, dy = traces.displace(grism, name, order, x, y, wave, fwcpos)
            assert np.abs(np.add(x, dx) - gx).max() < 0.02
            assert np.abs(np.add(y, dy) - gy).max() < 0.02
            if order != 0:  # the zeroth order is hardly dispersed
                assert np.abs(np.subtract(back, wave)).max() < 5e-4
