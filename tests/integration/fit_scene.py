"""Slitless spectra of simulated galaxies with known redshifts and lines, made to be hard to fit; in environment jwst.

``fit_scene.py <niriss|nircam> <sources> <seed> [<continua.npz>]`` writes spectra.fits and truth.fits in the working
folder; ``fit_scene.py judge`` compares redshifts.fits there with the truth and writes judged.json.

Nothing of the fit's own templates is used: line ratios, dust law, continua, profiles and their errors are drawn here.
Wavelengths, profiles, fluxes, contamination and zero levels that the fit is told are all wrong by what real ones are; a
few spectra have a feature that no model holds. Continua are broken power laws, or mixtures of the spectra in a file
with ``wavelength`` (Å) and ``flux`` (templates, wavelengths).
"""

import json
import sys
from pathlib import Path

import numpy as np

LINES = {  # rest wavelength in vacuum [Å]
    "Lya": 1215.67, "CIII": 1907.7, "MgII": 2799.9, "OII-a": 3727.09, "OII-b": 3729.88, "NeIII": 3869.86,
    "H8": 3889.7, "He": 3971.2, "NeIII-b": 3968.59, "Hd": 4102.89, "Hg": 4341.68, "OIII-4364": 4364.44, "Hb": 4862.68,
    "OIII-4960": 4960.3, "OIII-5008": 5008.24, "NI": 5201.7, "HeI": 5877.25, "OI": 6302.05, "OI-b": 6365.54,
    "NII-b": 6549.86, "Ha": 6564.61, "NII": 6585.27, "HeI-6680": 6680.0, "SII": 6718.29, "SII-b": 6732.67,
    "HeI-7067": 7067.14, "ArIII": 7137.77, "OII-7325": 7326.0, "SIII-b": 9071.1, "SIII": 9533.2, "Pa7": 10052.1,
    "HeI-10833": 10833.3, "PaG": 10941.1, "FeII": 12570.2, "PaB": 12821.6, "FeII-b": 16440.0, "PaA": 18756.1,
}  # fmt: skip

INSTRUMENTS = {
    # bands [μm], Å per pixel, arcsec per pixel, rolls, grisms, point-source FWHM [pixels], redshifts
    "niriss": (
        {"F115W": (1.013, 1.283), "F150W": (1.330, 1.671), "F200W": (1.751, 2.226)}, 47.0, 0.0656, (37.0, 97.0),
        {"GR150R": 0.0, "GR150C": 90.0}, {"F115W": 1.3, "F150W": 1.4, "F200W": 1.6}, (0.3, 3.5, 6.0),
    ),
    "nircam": (
        {"F356W": (3.14, 3.98)}, 9.8, 0.063, (37.0, 97.0), {"GRISMR": 0.0}, {"F356W": 2.2}, (4.2, 6.9, 9.0),
    ),
}  # fmt: skip


def line_fluxes(rng: np.random.Generator) -> dict[str, float]:
    """Lines of a galaxy over Hα, before dust: a metallicity, an ionisation and scatter in every ratio."""

    def about(value: float, dex: float) -> float:
        return value * 10 ** rng.normal(0, dex)

    metal, ionisation = rng.uniform(0, 1), rng.normal(0, 0.25)
    hb = 1 / about(2.9, 0.02)
    o3 = about(hb * 10 ** (0.75 - 1.15 * metal**2 + ionisation), 0.1)
    o2 = about(hb * 10 ** (0.15 + 0.9 * metal - 0.9 * metal**2 - 0.6 * ionisation), 0.12)
    n2, s2 = about(0.02 * 25**metal, 0.15), about(0.06 * 6**metal, 0.12)
    s3, hei = about(0.12 + 0.15 * metal, 0.15), about(0.25, 0.25)
    return {
        "Ha": 1.0, "Hb": hb, "Hg": about(0.47 * hb, 0.03), "Hd": about(0.26 * hb, 0.04), "He": 0.16 * hb,
        "H8": about(0.19 * hb, 0.05), "OIII-5008": o3, "OIII-4960": o3 / 2.98, "OIII-4364": about(0.012, 0.3) * o3,
        "OII-a": 0.42 * o2, "OII-b": 0.58 * o2, "NeIII": about(0.08 * o3, 0.1), "NeIII-b": 0.025 * o3,
        "NII": n2, "NII-b": n2 / 2.95, "SII": 0.56 * s2, "SII-b": 0.44 * s2, "OI": about(0.15 * s2, 0.2),
        "OI-b": 0.05 * s2, "HeI": about(0.12 * hb, 0.08), "HeI-6680": 0.033 * hb, "HeI-7067": about(0.03 * hb, 0.1),
        "NI": about(0.02 * hb, 0.3), "ArIII": about(0.09 * hb, 0.15), "OII-7325": about(0.03, 0.2) * o2,
        "SIII": 0.71 * s3, "SIII-b": 0.29 * s3, "HeI-10833": hei, "Pa7": 0.055 * hb, "PaG": 0.09 * hb,
        "PaB": about(0.162 * hb, 0.03), "PaA": about(0.335 * hb, 0.03), "FeII": about(0.012, 0.3),
        "FeII-b": about(0.01, 0.3), "CIII": about(0.25 * hb, 0.3), "MgII": about(0.1 * hb, 0.3),
        "Lya": about(0.3, 0.5),
    }  # fmt: skip


def power_laws(wave: np.ndarray, z: float, rng: np.random.Generator) -> np.ndarray:
    """A broken power law with a Balmer or 4000 Å break and, bluewards of Lyα at high redshift, little."""
    rest = wave / (1 + z)
    x = np.log(rest / 4000)
    blue, red = rng.uniform(-2.4, 0.0), rng.uniform(-2.0, -0.3)
    flux = np.exp(np.where(x < 0, blue, red) * x - 0.3 * np.clip(x - 0.9, 0, None))
    where, depth, width = rng.uniform(3700, 3980), rng.uniform(0.0, 0.55), rng.uniform(0.008, 0.03)
    flux *= 1 - depth / (1 + np.exp(np.log(rest / where) / width))
    for line in (3934.8, 3969.6, 4341.7, 4862.7, 5175.0):
        flux *= 1 - rng.uniform(0, 0.25) * np.exp(-0.5 * ((rest - line) / 12) ** 2)
    return np.where(rest < 1215.67, 0.05 if z > 5.5 else 0.7, 1.0) * flux


def mixed(wave: np.ndarray, z: float, rng: np.random.Generator, library: dict[str, np.ndarray]) -> np.ndarray:
    """A sum of a few of the library's spectra behind dust as steep as that of the Small Magellanic Cloud."""
    rest = wave / (1 + z)
    chosen = rng.choice(len(library["flux"]), 3, replace=False)
    weights = rng.dirichlet([0.7] * 3)
    flux = np.zeros(len(wave))
    for i, weight in zip(chosen, weights, strict=True):
        one = np.interp(rest, library["wavelength"], library["flux"][i])
        flux += weight * one / np.interp(6000.0, library["wavelength"], library["flux"][i])
    return flux * 10 ** (-0.4 * rng.uniform(0, 0.5) * (rest / 5500) ** -1.2)


class Source:
    """One galaxy: its spectrum, and its light along any direction."""

    def __init__(self, rng: np.random.Generator, redshifts: tuple, library: dict[str, np.ndarray] | None) -> None:
        low, high, highest = redshifts
        self.z = rng.uniform(low, high) if rng.uniform() < 0.85 else rng.uniform(high, highest)
        ebv, self.ha = rng.exponential(0.15), 1.0
        lines = line_fluxes(rng)
        self.lines = {
            name: flux * 10 ** (-0.4 * ebv * 2.7 * ((LINES[name] / 5500) ** -1.2 - (6564.6 / 5500) ** -1.2))
            for name, flux in lines.items()
        }
        self.broad = rng.uniform() < 0.03  # an active nucleus: Hα has wings of thousands of km/s
        self.ew = 10 ** rng.normal(2.2, 0.4)
        self.size, self.ratio, self.angle = 10 ** rng.normal(-0.75, 0.25), rng.uniform(0.25, 1), rng.uniform(0, 180)
        self.gas = 10 ** rng.normal(0.03, 0.05)  # lines are more extended than the continuum
        self.velocity = 60 * 10 ** rng.normal(0, 0.2)  # km/s, Gaussian sigma
        self.offset = rng.normal(0, 0.012, 2)  # arcsec between gas and stars
        seed = int(rng.integers(2**31))
        self.continuum = lambda wave: (
            power_laws(wave, self.z, np.random.default_rng(seed)) if library is None
            else mixed(wave, self.z, np.random.default_rng(seed), library)
        )  # fmt: skip

    def along(self, angle: float, scale: float) -> tuple[float, float]:
        """Scale length and offset of the gas along a position angle, in pixels of `scale` arcsec."""
        turn = np.deg2rad(angle - self.angle)
        length = 0.6 * self.size * np.hypot(np.cos(turn), self.ratio * np.sin(turn))
        towards = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        return length / scale, float(self.offset @ towards) / scale


def light(x: np.ndarray, length: float, fwhm: float) -> np.ndarray:
    """An exponential disc seen along one axis, blurred by a Gaussian point-spread function; x in pixels."""
    from scipy.ndimage import gaussian_filter1d

    step = x[1] - x[0]
    profile = (1 + np.abs(x) / length) * np.exp(-np.abs(x) / length)
    profile = gaussian_filter1d(profile, fwhm / 2.3548 / step)
    return profile / profile.sum()


FINE = np.arange(-40, 40.01, 0.05)


def spread(edges: np.ndarray, wavelength: float, profile: np.ndarray, pixel: float) -> np.ndarray:
    """A line of unit flux in bins: per Å."""
    cumulative = np.concatenate([[0], np.cumsum(profile)])
    places = np.append(FINE, FINE[-1] + 0.05) - 0.025
    return np.diff(np.interp((edges - wavelength) / pixel, places, cumulative)) / np.diff(edges)


def contaminant(wave: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """A neighbour's trace that begins and ends somewhere, with a line now and then."""
    x = (wave - wave[0]) / (wave[-1] - wave[0])
    start, stop = rng.uniform(-0.8, 0.6), rng.uniform(0.4, 1.8)
    soft = 0.5 * (np.tanh((x - start) / 0.04) - np.tanh((x - stop) / 0.04))
    trace = soft * np.exp(rng.normal(0, 0.5) * (x - 0.5))
    if rng.uniform() < 0.3:
        trace += rng.uniform(1, 4) * np.exp(-0.5 * ((x - rng.uniform(0, 1)) / 0.02) ** 2)
    return level * trace


def render(source: Source, setup: tuple, shared: dict, rng: np.random.Generator) -> dict:
    """One spectrum without noise, what is told of it, and the truth of its lines."""
    wave, pixel, scale, fwhm, angle = setup
    edges = np.append(wave, wave[-1] + pixel) - pixel / 2
    length, offset = source.along(angle, scale)
    blur = 2.3548 * source.velocity / 3e5 * wave.mean() / pixel
    stars, gas = light(FINE, length, fwhm), light(FINE, length * source.gas, np.hypot(fwhm, blur))
    shift = shared["zero_point"] + offset
    lines = {}
    for name, flux in source.lines.items():
        profile = gas
        if name == "Ha" and source.broad:
            profile = 0.4 * gas + 0.6 * light(FINE, length, np.hypot(fwhm, 5000 / 3e5 * wave.mean() / pixel))
        lines[name] = flux * spread(edges, LINES[name] * (1 + source.z) + shift * pixel, profile, pixel)
    sampled = np.arange(-20, 21)
    # the light that the fit is told: of the stars, 5 % wrong in size, sampled in pixels
    told = np.interp(sampled, FINE, light(FINE, length * 10 ** rng.normal(0, 0.03), fwhm * 10 ** rng.normal(0, 0.015)))
    width = np.sqrt(np.sum(stars * FINE**2))
    fine_wave = np.linspace(edges[0] - 400, edges[-1] + 400, 4 * len(wave))
    from scipy.ndimage import gaussian_filter1d

    continuum = gaussian_filter1d(source.continuum(fine_wave), width * pixel / (fine_wave[1] - fine_wave[0]))
    return {"lines": lines, "told": told / told.sum(), "continuum": np.interp(wave, fine_wave, continuum)}


def observe(kind: str, source: Source, zero_points: dict, rng: np.random.Generator) -> tuple[list[dict], dict]:
    """All spectra of one source, and its row of the truth."""
    bands, pixel, scale, rolls, grisms, widths, _ = INSTRUMENTS[kind]
    ha = source.continuum(np.array([6564.6]) * (1 + source.z))[0]
    spectra = []
    for filter, (low, high) in bands.items():
        wave = np.arange(low * 1e4 + pixel / 2, high * 1e4, pixel)
        noise = np.interp(
            wave / 1e4, [1.0, 1.3, 1.34, 1.67, 1.75, 2.23, 3.1, 3.5, 4.0], [1.3, 1.1, 1, 0.9, 0.85, 1, 1.3, 1, 1.1]
        )
        for grism, turn in grisms.items():
            for roll in rolls:
                shared = {"zero_point": zero_points[filter, grism, roll]}
                one = render(source, (wave, pixel, scale, widths[filter], roll + turn), shared, rng)
                one["continuum"] *= 1 / max(ha, 1e-30) / (source.ew * (1 + source.z))
                spectra.append(one | {"filter": filter, "grism": grism, "roll": roll, "wave": wave, "noise": noise})
    snr = {name: np.sqrt(sum(np.sum((one["lines"][name] / one["noise"]) ** 2) for one in spectra)) for name in LINES}
    strongest = max(snr.values())
    wanted = 10 ** rng.uniform(np.log10(5), np.log10(20))
    level = strongest / wanted  # noise per bin that gives the strongest line its signal-to-noise ratio
    blend = 1.5 * np.sqrt(np.mean([np.sum(one["told"] * np.arange(-20, 21) ** 2) for one in spectra])) * 2.35 * pixel
    kept: list[str] = []
    for name in sorted(snr, key=snr.__getitem__, reverse=True):
        apart = all(abs(LINES[name] - LINES[other]) * (1 + source.z) > blend for other in kept)
        if snr[name] > 3 * level and apart:
            kept.append(name)
    for one in spectra:
        disturb(one, level, rng)
    truth = {"z": source.z, "snr": wanted, "lines": len(kept), "strongest": kept[0], "broad": source.broad}
    truth |= {f"flux_{name}": flux / level * FLUX for name, flux in source.lines.items()}
    return spectra, truth


FLUX = 3.0
"""Noise per bin, in 1e-20 erg/s/cm2/Å."""


def disturb(one: dict, level: float, rng: np.random.Generator) -> None:
    """Noise, calibration errors, contamination and features that nobody expects; fluxes in units of the noise."""
    wave, noise = one["wave"], one["noise"] * FLUX
    x = np.linspace(-1, 1, len(wave))
    model = (one["continuum"] + sum(one["lines"].values())) / level * FLUX
    flux = model * (1 + rng.normal(0, 0.02) + rng.normal(0, 0.02) * x) + rng.normal(0, 0.07 * FLUX)
    neighbour = np.zeros(len(wave))
    if rng.uniform() < 0.4:
        neighbour = contaminant(wave, FLUX * 10 ** rng.uniform(-0.5, 1.0), rng)
    wrong = 1 + rng.normal(0, 0.08) + 0.05 * rng.normal(size=4) @ np.array([np.sin((i + 1) * 2 * x) for i in range(4)])
    flux = flux + neighbour * (1 - wrong)
    if rng.uniform() < 0.02:  # the zero order of a source nobody catalogued
        centre, width = rng.choice(wave), rng.uniform(1.0, 2.5) * (wave[1] - wave[0])
        flux = flux + FLUX * rng.uniform(2, 6) * np.exp(-0.5 * ((wave - centre) / width) ** 2)
    noise = np.hypot(noise, 0.3 * np.sqrt(np.maximum(neighbour, 0) * FLUX))
    one["flux"] = flux + rng.normal(0, noise)
    one["err"] = noise * 10 ** rng.normal(0, 0.01)
    one["contamination"] = neighbour * wrong
    for start in rng.integers(0, len(wave), rng.poisson(1)):  # bins without data
        one["err"][start : start + int(rng.integers(1, 6))] = 0


def make(kind: str, count: int, seed: int, library: dict[str, np.ndarray] | None = None) -> tuple:
    """Setups as `slitless_spectra.write` takes them, their sources, and the truth."""
    from astropy.table import Table
    from pureparallel.slitless_spectra import Setup

    rng = np.random.default_rng(seed)
    bands, pixel, _, rolls, grisms, _, redshifts = INSTRUMENTS[kind]
    zero_points = {(f, g, r): rng.normal(0, 0.15) for f in bands for g in grisms for r in rolls}
    truth, rows = [], {(f, g): [] for f in bands for g in grisms}
    while len(truth) < count:
        source = Source(rng, redshifts, library)
        spectra, row = observe(kind, source, zero_points, rng) if in_range(kind, source) else (None, None)
        if spectra is None:
            continue
        truth.append({"id": f"{len(truth) + 1:05d}"} | row)
        for one in spectra:
            rows[one["filter"], one["grism"]].append(one | {"source": truth[-1]["id"]})
    setups = [
        Setup(
            grism, filter, found[0]["wave"] / 1e4, np.array([one["source"] for one in found]),
            np.array([one["roll"] for one in found]), np.full(len(found), pixel),
            *(np.array([one[name] for one in found]) for name in ("told", "flux", "err", "contamination")),
        )
        for (filter, grism), found in rows.items()
    ]  # fmt: skip
    ids = [row["id"] for row in truth]
    sources = Table({"id": ids, "ra": np.full(count, 150.0), "dec": np.full(count, 2.0), "reason": [""] * count})
    return sources, setups, Table(rows=truth)


def in_range(kind: str, source: Source) -> bool:
    """Whether one of the lines that make a source detectable is well inside a band."""
    strong = ("Ha", "OIII-5008", "OII-b", "SIII", "HeI-10833", "PaB", "PaA", "Lya")
    bands = INSTRUMENTS[kind][0].values()
    waves = [LINES[name] * (1 + source.z) / 1e4 for name in strong]
    return any(low + 0.02 < wave < high - 0.02 for wave in waves for low, high in bands)


FAMILIES = {
    "Ha+NII": ("Ha", "NII", "NII-b"), "Ha": ("Ha",), "NII": ("NII", "NII-b"), "OIII": ("OIII-5008", "OIII-4960"),
    "OIII-5008": ("OIII-5008",), "OIII-4960": ("OIII-4960",), "Hb": ("Hb",), "Hg": ("Hg",), "OII": ("OII-a", "OII-b"),
    "SII": ("SII", "SII-b"), "SIII": ("SIII", "SIII-b"), "HeI-10833": ("HeI-10833",), "PaB": ("PaB",),
}  # fmt: skip
"""Columns of the fit, and what is in them."""


def nmad(values: np.ndarray) -> float:
    """Standard deviation from the median absolute deviation; NaN of nothing."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else float("nan")


def judge() -> dict:
    """Redshifts and lines against the truth."""
    from astropy.io import fits
    from astropy.table import Table

    found = Table.read("redshifts.fits", hdu="REDSHIFTS", mask_invalid=False)
    truth = Table.read("truth.fits")
    assert list(found["id"]) == list(truth["id"])
    grid, pdf = fits.getdata("redshifts.fits", "ZGRID")["z"], fits.getdata("redshifts.fits", "PZ")
    z, true = np.asarray(found["z"]), np.asarray(truth["z"])
    error = (z - true) / (1 + true)
    right, several, flag = np.abs(error) < 0.01, np.asarray(truth["lines"]) >= 2, np.asarray(found["flag"])
    edges = np.concatenate([[grid[0]], (grid[1:] + grid[:-1]) / 2, [grid[-1]]])
    below = [float(np.interp(t, edges, np.append(0, np.cumsum(p)))) for t, p in zip(true, pdf, strict=True)]
    inside = (np.asarray(found["z_low"]) <= true) & (true <= np.asarray(found["z_high"]))
    sure = np.asarray(found["p_1"])
    result = {
        "sources": len(found), "right": right.mean(), "several": int(several.sum()),
        "right_several": right[several].mean(), "right_single": right[~several].mean(), "nmad": nmad(error),
        "nmad_several": nmad(error[several]), "bias": float(np.median(error[right])), "within_68": inside.mean(),
        "pit": np.histogram(below, 5, (0, 1))[0].tolist(), "mean_p": sure.mean(), "failed": int((flag == 0).sum()),
        "sure": int((sure > 0.99).sum()), "right_sure": right[sure > 0.99].mean(),
        "chi2_dof": float(np.nanmedian(found["chi2_dof"])), "flag_3_of_several": (flag[several] == 3).mean(),
    }  # fmt: skip
    result |= {f"flag_{f}": int((flag == f).sum()) for f in (3, 2, 1)}
    result |= {f"right_{f}": float(right[flag == f].mean()) if (flag == f).any() else None for f in (3, 2, 1)}
    # of redshifts: of those that are sure and right, the others have several peaks
    width = (np.asarray(found["z_high"]) - np.asarray(found["z_low"])) / 2
    for name, of in (("several", several), ("single", ~several)):
        good = of & right & (sure > 0.95)
        result[f"z_pull_{name}"] = float(np.std((z - true)[good] / width[good])) if good.any() else None
    pulls, ratios = [], []
    for name, members in FAMILIES.items():
        total = np.sum([truth[f"flux_{member}"] for member in members], axis=0) * 1e-20
        flux, err = np.asarray(found[f"flux_{name}"]), np.asarray(found[f"flux_err_{name}"])
        good = right & np.isfinite(flux) & ~np.asarray(truth["broad"])
        pulls.append(((flux - total) / err)[good])
        ratios.append((flux / total)[good & (total > 10 * err)])
    pull = np.concatenate(pulls)
    result |= {"lines": len(pull), "pull_mean": pull.mean(), "pull": pull.std(), "pull_nmad": nmad(pull)}
    result |= {"flux_ratio": float(np.median(np.concatenate(ratios)))}
    return {
        key: value if isinstance(value, (list, int)) or value is None else float(value) for key, value in result.items()
    }


def main(kind: str, count: int, seed: int, library: str | None = None) -> None:
    """Write spectra.fits and truth.fits."""
    from pureparallel import slitless_spectra
    from pureparallel.provenance import Lineage

    spectra = dict(np.load(library)) if library else None
    sources, setups, truth = make(kind, count, seed, spectra)
    slitless_spectra.write(Path("spectra.fits"), sources, setups, Lineage.of("stack", []))
    truth.write("truth.fits", overwrite=True)


if __name__ == "__main__" and sys.argv[1] == "judge":
    Path("judged.json").write_text(json.dumps(judge(), indent=1))
elif __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:5])
