"""The workflow with its products in a real object store, and what can go wrong there."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from ..slurm import field
from ..slurm.cluster import Cluster
from ..slurm.cluster import why_not as why_no_slurm
from . import survey
from .server import ACCESS_KEY, SECRET_KEY

sys.path.insert(0, str(Path(__file__).parents[1]))
from crds_server import CONTEXT, running

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SNAKEMAKE_STORAGE_S3_SECRET_KEY": "wrong"}, "refuses them"),
        ({"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "survey:nobody"}, "refuses them"),
        ({"SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "does not answer"),
        ({"PUREPARALLEL_STORAGE": "s3://no-such-bucket/x"}, "has no bucket no-such-bucket"),
        ({"PUREPARALLEL_STORAGE": ""}, "PUREPARALLEL_STORAGE: is not set"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(store, folder, environment, expected):
    survey.checkout(folder, "ceers-msa")
    told = survey.refused(folder, store, **environment)
    assert expected in told
    assert "Traceback" not in told and len(told.splitlines()) == 1
    assert SECRET_KEY not in told and ACCESS_KEY not in told
    assert store.buckets() == [survey.BUCKET]
    assert not store.keys(survey.BUCKET, f"{folder.parent.name}/")


def test_simulated_exposures_end_to_end(store, folder, tmp_path):
    """Folders as products, references in the store, products of other fields' jobs: the same as without a store."""
    survey.checkout(folder)
    survey.run(folder, store, "local-s3", "-n", field.TARGET)  # of what is not there yet, too
    with survey.command_lines() as seen:
        survey.run(folder, store, "local-s3", "--cores", "2", field.TARGET)
    assert not (folder / "results").exists()
    fetched = survey.fetched(store, folder, tmp_path / "fetched")
    expected = field.local(tmp_path / "without")
    assert field.differences(fetched, expected) == []
    names = {str(path.relative_to(expected)) for path in field.products(expected)}
    assert names <= {str(path.relative_to(fetched)) for path in field.products(fetched)}
    # nothing is left to do; what is made again replaces what was there, and nothing else
    assert "Nothing to be done" in survey.run(folder, store, "local-s3", "-n", field.TARGET)
    survey.run(folder, store, "local-s3", "--cores", "2", "--forcerun", "pointing", "--", field.TARGET)
    assert survey.is_theirs_untouched(store)
    taken_as_files(store, folder, fetched, tmp_path / "again")
    # the secret was seen nowhere
    assert not [line for line in seen if SECRET_KEY.encode() in line]
    assert survey.leaks(folder, fetched) == []
    survey.run(folder, store, "local-s3", "--cores", "1", "--delete-all-output", field.TARGET)
    assert not store.keys(survey.BUCKET, f"{folder.parent.name}/results/tiny/detector1/")
    assert survey.is_theirs_untouched(store)


def taken_as_files(store, folder, fetched, to):
    """The same exposures as a field of real ones has them: files in the store, and references of a CRDS server."""
    home = folder / "config" / "fields"
    head, *rows = (home / "tiny.tsv").read_text().splitlines()
    located = [f"{row}\tresults/tiny/uncal/{row.partition(chr(9))[0]}_uncal.fits" for row in rows]
    (home / "own.tsv").write_text("\n".join([f"{head}\tlocation", *located]) + "\n")
    (folder / "config" / "config.yaml").write_text("fields: [tiny, own]\n")
    with running(fetched / "results" / "tiny" / "references") as server:
        (home / "own.yaml").write_text(f"source: files\ncrds: {{server: '{server.url}', context: {CONTEXT}}}\n")
        survey.run(folder, store, "local-s3", "--cores", "2", "results/own/own_exposures.fits")
    products = survey.fetched(store, folder, to) / "results"
    rates = [*(products / "own" / "detector1").glob("*/*_rate.fits")]
    assert len(rates) == 2
    for path in rates:
        np.testing.assert_array_equal(fits.getdata(path), fits.getdata(str(path).replace("/own/", "/tiny/")))
    record = json.loads((products / "own" / "own_references.json").read_text())
    assert record["root"] == "references"
    assert all((products / "own" / "references" / name).is_file() for name in record["files"])


def test_a_field_from_raw_exposures_to_its_redshifts(store, folder):
    survey.checkout(folder, "sim-niriss")
    survey.run(folder, store, "local-s3", "--cores", "2")
    products = survey.fetched(store, folder, folder / "fetched") / "results" / "sim-niriss"
    told = json.loads((products / "sim-niriss_validate_redshifts.metrics.json").read_text())["redshifts"]["flag_3"]
    assert told["sources"] >= 12 and told["right"] >= 0.9
    assert "Nothing to be done" in survey.run(folder, store, "local-s3", "-n")
    assert survey.is_theirs_untouched(store)


def test_a_store_that_is_restarted_in_the_middle(store, folder):
    survey.checkout(folder, "ceers-msa")
    process = survey.start(folder, store, "local-s3", "--cores", "1", "results/ceers-msa/ceers-msa_redshifts.fits")
    survey.wait_for_key(store, f"{folder.parent.name}/results/ceers-msa/slitlets/")
    store.kill()
    time.sleep(8)
    store.start()
    assert process.wait(900) == 0, (folder / "run.log").read_text()[-8000:]
    products = survey.fetched(store, folder, folder / "fetched") / "results" / "ceers-msa"
    with fits.open(products / "ceers-msa_redshifts.fits", checksum=True) as hdus:
        assert len(hdus[1].data) == 1
    assert survey.is_theirs_untouched(store)


def test_jobs_on_slurm_take_and_give_their_products(store, folder, tmp_path):
    reason = why_no_slurm()
    if reason:
        pytest.skip(reason)
    survey.checkout(folder, "ceers-msa")
    cluster = Cluster(tmp_path / "slurm", nodes=1)
    cluster.names = ["s3-node"]  # SLURM names cgroups so: other tests' nodes may be alive
    patience = ("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5")
    try:
        cluster.start()
        with survey.command_lines() as seen:
            survey.run(folder, store, "slurm-s3", *patience, **cluster.environment)
        assert {job["state"] for job in cluster.jobs()} == {"COMPLETED"}
    finally:
        cluster.stop()
    products = survey.fetched(store, folder, folder / "fetched") / "results"
    with fits.open(products / "ceers-msa" / "ceers-msa_redshifts.fits", checksum=True) as hdus:
        assert len(hdus[1].data) == 1
    assert len(list(products.glob("ceers-msa/spectra/*_spec.fits"))) == 1
    assert (products / "software.html").is_file()
    assert not [line for line in seen if SECRET_KEY.encode() in line]
    # the controller keeps every job's environment where only its administrator can read it
    assert survey.leaks(folder, tmp_path / "slurm" / "log") == []
    done = survey.run(folder, store, "local-s3", "-n", "results/ceers-msa/ceers-msa_redshifts.fits")
    assert "Nothing to be done" in done
