"""The demonstration end to end: real slitlets to a redshift, with its report and lineage."""

import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pureparallel.provenance import sha256

FIELD = "results/ceers-msa"


def test_the_redshift_and_its_line_come_back(demo):
    table = Table.read(demo / FIELD / "ceers-msa_redshifts.fits", hdu="REDSHIFTS")
    assert list(table["id"]) == ["1345_933"]
    (row,) = table
    # msaexp's own tests: 4.2337 to 4.2341
    assert row["z"] == pytest.approx(4.234, abs=0.003)
    assert row["z_low"] < 4.2337 < 4.2341 < row["z_high"]
    assert row["flag"] == 3
    assert "Ha+NII" in row["reason"]
    assert row["flux_OIII-5008"] / row["flux_err_OIII-5008"] > 30
    assert row["flux_OIII-5008"] == pytest.approx(3.2e-17, rel=0.1)
    assert row["flux_Ha+NII"] == pytest.approx(1.18e-17, rel=0.1)
    assert (row["ra"], row["dec"]) == pytest.approx((214.8337227, 52.8682822), abs=1e-6)
    assert 1 < row["chi2_dof"] < 3
    assert row["peak_ratio"] < 1e-6


def test_columns_and_units_of_the_table(demo):
    path = demo / FIELD / "ceers-msa_redshifts.fits"
    table = Table.read(path, hdu="REDSHIFTS")
    first = [
        "id",
        "ra",
        "dec",
        "mag",
        "mag_filter",
        "z",
        "z_low",
        "z_high",
        "chi2_dof",
        "peak_ratio",
        "z_2",
        "z_3",
        "p_1",
        "p_2",
        "p_3",
        "z_phot",
        "flag",
        "reason",
    ]
    assert table.colnames[: len(first)] == first
    assert str(table["flux_Hb"].unit) == str(table["flux_err_Hb"].unit) == "erg / (s cm2)"
    assert str(table["ew_Hb"].unit) == "Angstrom"
    with fits.open(path) as hdus:
        assert hdus["PZ"].data.shape == (1, len(hdus["ZGRID"].data))
        assert hdus["PZ"].data.sum() == pytest.approx(1, abs=1e-4)
        assert hdus["ZGRID"].data["z"][hdus["PZ"].data[0].argmax()] == pytest.approx(4.234, abs=0.01)


def test_the_spectrum_holds_what_a_spectroscopist_needs(demo):
    with fits.open(demo / FIELD / "spectra" / "ceers-msa_1345_933_spec.fits", checksum=True) as hdus:
        table = Table.read(hdus["SPEC1D"])
        assert [str(table[name].unit) for name in ("wave", "flux", "err")] == ["um", "uJy", "uJy"]
        good = np.isfinite(table["flux"]) & (table["err"] > 0)
        assert good.sum() > 300
        assert hdus["SCI"].data.shape == hdus["WHT"].data.shape == (27, len(table))
        wave = np.asarray(table["wave"][good])
        brightest = wave[np.argmax(np.asarray(table["flux"][good]))]
        assert brightest == pytest.approx(0.500824 * 5.234, abs=0.02)
        model = Table.read(hdus["MODEL"])
        assert np.corrcoef(model["model"][good], model["flux"][good])[0, 1] > 0.9
        header = hdus[0].header
        assert header["PPSTEP"] == "merge_redshifts"
        assert header["PPENV"] == "default"
        assert hdus["SPEC1D"].header["GRATING"] == "PRISM"


def test_every_product_has_its_lineage_back_to_the_slitlets(demo):
    products = [path for path in (demo / FIELD).rglob("*.fits") if path.parent.name != "slitlets"]
    assert len(products) == 4
    for path in products:
        sidecar = json.loads(path.with_suffix(".prov.json").read_text())
        header = fits.getheader(path)
        assert sidecar["product"] == {"name": path.name, "sha256": sha256(path)}
        assert header["PPCONFIG"] == sidecar["config_sha256"]
        assert header["PPCMD"].startswith(f"pureparallel {header['PPSTEP']} --")
        assert str(demo) not in repr(header) + json.dumps(sidecar)
        assert {"numpy", "astropy", "python", "pureparallel"} <= set(sidecar["software"])
        for item in sidecar["inputs"]:
            (source,) = [p for folder in (demo / FIELD, demo / "resources") for p in folder.rglob(item["name"])]
            assert item["sha256"] == sha256(source)
    extracted = fits.getheader(demo / FIELD / "msa_extract" / "ceers-msa_0001_spectra.fits")
    assert extracted["PPENV"] == "msaexp"
    assert any("msaexp 0.9.19" in str(value) for value in extracted.values())
    manifest = (demo / "config" / "fields" / "ceers-msa.tsv").read_text()
    slitlets = sorted((demo / FIELD / "slitlets").glob("*.fits"))
    assert len(slitlets) == 3
    assert all(sha256(path) in manifest for path in slitlets)


def test_metrics_of_every_step(demo):
    found = {path.name: json.loads(path.read_text()) for path in (demo / FIELD).rglob("*.metrics.json")}
    assert found["ceers-msa_redshifts.metrics.json"]["flags"] == {"3": 1, "2": 0, "1": 0, "0": 0}
    extracted = json.loads((demo / FIELD / "msa_extract" / "ceers-msa_0001.metrics.json").read_text())
    assert extracted == {"sources": 1, "failed": {}, "slitlets": 3, "spectra": 1}


def test_the_report_stands_alone(demo):
    text = (demo / "results" / "report.html").read_text()
    digests = json.loads((demo / "locks" / "digests.json").read_text())["environments"]
    assert "ceers-msa_1345_933_redshift.png" in text
    assert not re.search(r"""(?:src|href)=["']https?://[^"']+\.(?:js|css)""", text)
    assert [path.name for path in (demo / "results").glob(".*")] == []
    table = (demo / FIELD / "ceers-msa_redshifts.html").read_text()
    cells = zip(re.findall("<th>(.*?)</th>", table), re.findall("<td>(.*?)</td>", table), strict=True)
    shown = dict(cells)
    assert float(shown["z 16 %"]) < float(shown["z"]) < float(shown["z 84 %"])
    software = (demo / "results" / "software.html").read_text()
    assert all(digest in software for digest in digests.values())
    lineage = json.loads((demo / FIELD / "ceers-msa_lineage.json").read_text())
    assert lineage["config"]["msa_redshift"]["z_range"] == [0.1, 12]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", lineage["commit"])
    assert {one["product"]["name"] for one in lineage["products"]} >= {"ceers-msa_redshifts.fits"}


def test_secrets_reach_no_file(demo, secret):
    for path in demo.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert secret.encode() not in path.read_bytes(), path


def test_a_second_call_does_nothing_and_says_so(demo, run_in):
    before = {path: path.stat().st_mtime_ns for path in (demo / "results").rglob("*")}
    done = run_in("default", "python", "-m", "pureparallel.demo", cwd=demo)
    assert "nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (demo / "results").rglob("*")} == before


# What a change re-runs, and that it re-runs nothing else.

AFTER_MERGE = {"merge_redshifts", "redshift_summary", "lineage"}
AFTER_FIT = {"msa_redshift"} | AFTER_MERGE
AFTER_PHOTOZ = {"fit_redshift", "validate_redshifts"} | AFTER_FIT
SLITLESS = {
    "grism_wcs", "background_wfss", "spec2", "stack", "fit_redshift", "merge_redshifts", "redshift_summary",
    "validate_redshifts",
}  # fmt: skip
CATALOGUE = {"detect", "photometry", "photoz", "validate_catalogue"} | SLITLESS
MOSAICS = {"placement", "mosaic", "colour_image"} | CATALOGUE
IMAGES = {"image2", "background_image", "align"} | MOSAICS
SIMULATED = IMAGES | {
    "simulate_references", "simulate_sky", "simulate_exposure",
    "detector1", "persistence", "mask_artifacts", "pointing", "select_exposures", "validate_rates",
}  # fmt: skip


def test_an_edited_module_reruns_what_imports_it(copied, planned):
    plots = copied / "workflow/src/pureparallel/core/plot_redshift.py"
    plots.write_text(plots.read_text() + "# edited\n")
    assert planned(copied) == AFTER_FIT


def test_an_edited_step_reruns_it_and_what_follows(copied, planned):
    step = copied / "workflow/src/pureparallel/steps/merge_redshifts.py"
    step.write_text(step.read_text() + "# edited\n")
    assert planned(copied) == AFTER_MERGE | {"validate_redshifts"}


def test_a_touched_module_reruns_nothing(copied, planned):
    for path in (copied / "workflow/src").rglob("*.py"):
        path.touch()
    assert planned(copied) == set()


def test_a_module_of_no_step_reruns_nothing(copied, planned):
    path = copied / "workflow/src/pureparallel/demo.py"
    path.write_text(path.read_text() + "# edited\n")
    assert planned(copied) == set()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("msaexp", {"msa_slitlets", "msa_extract", "photoz", "validate_catalogue", "software"} | AFTER_PHOTOZ),
        ("default", {"select_exposures", "lineage", "software"} | MOSAICS),
        ("jwst", SIMULATED | {"lineage", "software"}),
    ],
)
def test_a_changed_lock_reruns_what_ran_in_it(copied, planned, environment, expected):
    path = copied / "locks" / "digests.json"
    content = json.loads(path.read_text())
    content["environments"][environment] = "0" * 16
    path.write_text(json.dumps(content))
    assert planned(copied) == expected


def test_an_option_reruns_its_step_and_what_follows(copied, planned):
    with (copied / "config/fields/ceers-msa.yaml").open("a") as file:
        file.write("msa_redshift: {min_pixels: 51}\n")
    assert planned(copied) == AFTER_FIT


def test_a_new_field_leaves_the_old_one_alone(copied, planned):
    for suffix in ("yaml", "tsv"):
        text = (copied / f"config/fields/ceers-msa.{suffix}").read_text()
        (copied / f"config/fields/second.{suffix}").write_text(text)
    done = planned(copied, "--config", "fields=[sim-niriss,ceers-msa,second]")
    assert done == {"msa_slitlets", "msa_extract"} | AFTER_FIT
    assert planned(copied) == set()


def test_own_files_of_which_one_is_broken(copied, planned, run_in):
    """A user's field: local slitlets, no hashes, a chunk per source; the broken one is a row with its reason."""
    data = copied / "data"
    data.mkdir()
    rows = ["exposure\tmode\tslitlet\tsource\tlocation"]
    for source in ("good", "broken"):
        for path in sorted((copied / FIELD / "slitlets").glob("*.fits")):
            own = data / path.name.replace("1345_933", source)
            own.write_bytes(path.read_bytes()[: 300_000 if source == "broken" else None])
            exposure = path.name.partition("_phot")[0]
            rows.append(f"{exposure}\tnirspec_msa\t138\t{source}\tdata/{own.name}")
    (copied / "config/fields/own.tsv").write_text("\n".join(rows) + "\n")
    options = "msa_extract: {chunk: 1}\nmerge_redshifts: {max_failed_fraction: 0.5}\n"
    (copied / "config/fields/own.yaml").write_text(options)
    (copied / "config/config.yaml").write_text("fields: [own]\n")
    run_in("default", "python", "-m", "pureparallel.launch", cwd=copied)

    table = Table.read(copied / "results/own/own_redshifts.fits", hdu="REDSHIFTS", mask_invalid=False)
    assert list(table["id"]) == ["good", "broken"]
    assert list(table["flag"]) == [3, 0]
    assert "not a complete FITS file" in table["reason"][1]
    assert [path.name for path in (copied / "results/own/spectra").glob("*.fits")] == ["own_good_spec.fits"]
    assert "Warning" not in (copied / "logs/merge_redshifts/own.log").read_text()
    assert str(copied) not in (copied / "results/own/own_lineage.json").read_text()

    (data / "jw01345062001_03101_00001_nrs2_phot.138.broken.fits").write_bytes(b"changed")
    assert planned(copied) == {"msa_slitlets", "msa_extract"} | AFTER_FIT


@pytest.mark.parametrize("step", ["msa_extract", "msa_redshift"])
def test_a_killed_run_finishes_and_redoes_only_what_was_not_done(copied, root, run_in, step):
    kept = {path: path.stat().st_mtime_ns for path in (copied / FIELD / "slitlets").iterdir()}
    if step == "msa_redshift":
        kept |= {path: path.stat().st_mtime_ns for path in (copied / FIELD / "msa_extract").iterdir()}
    module = copied / "workflow/src/pureparallel/steps" / f"{step}.py"
    module.write_text(module.read_text() + "# edited\n")
    log = copied / "logs" / step / "ceers-msa_0001.log"
    log.unlink()
    command = [root / "pixiw", "run", "--as-is", "-e", "default", "python", "-m", "pureparallel.launch"]
    driver = subprocess.Popen(
        command, cwd=copied, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)  # well inside the job, which takes longer to import what it needs
    assert driver.poll() is None
    subprocess.run(["pkill", "-KILL", "-s", str(driver.pid)], check=True)
    assert driver.wait() == -signal.SIGKILL
    assert not list((copied / FIELD / step).glob("*.fits"))
    done = run_in("default", "python", "-m", "pureparallel.launch", cwd=copied)
    assert "removed a lock" in done.stderr
    assert (copied / FIELD / step).is_dir()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert list((copied / FIELD / step).glob("*.fits"))
    assert "Nothing to be done" in run_in("default", "python", "-m", "pureparallel.launch", cwd=copied).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting the checkout read-only takes root")
def test_a_read_only_checkout_runs_in_another_folder(root, tmp_path):
    commands = [
        f"mount --bind '{root}' '{root}'",
        f"mount -o remount,ro,bind '{root}'",
        f"! touch '{root}/written' 2>/dev/null",
        f"cd '{root}'",
        f"./pixiw run snakemake --directory '{tmp_path}' --until msa_slitlets",
    ]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", " && ".join(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / FIELD / "slitlets").glob("*.fits"))) == 3
