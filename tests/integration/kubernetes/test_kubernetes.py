"""The real executor for Kubernetes, against a stub of the API and a real object store, with nothing shared."""

import json
import re
from pathlib import Path

import pytest

from ..s3 import survey
from ..s3.conftest import folder, store  # noqa: F401
from ..s3.server import SECRET_KEY
from .stub import Stub


@pytest.fixture
def cluster(tmp_path, run_in):
    """The stub, whose image has this checkout's environments."""
    told = run_in("cloud", "python", "-c", "import sys; print(sys.prefix)", cwd=tmp_path).stdout
    stub = Stub(tmp_path / "pods", dict(survey.image(tmp_path / "image", Path(told.strip()) / "bin")))
    yield stub
    stub.close()


@pytest.mark.slow
def test_a_field_runs_through_in_pods(store, cluster, folder):  # noqa: F811
    survey.checkout(folder, "ceers-msa")
    (folder / "kubeconfig").write_text(cluster.kubeconfig)
    arguments = ("--jobs", "2", "--seconds-between-status-checks", "1")
    with survey.command_lines() as seen:
        told = survey.run(folder, store, "kubernetes", *arguments, KUBECONFIG=str(folder / "kubeconfig"))
    products = survey.fetched(store, folder, folder / "fetched")
    table = products / "results" / "ceers-msa" / "ceers-msa_redshifts.fits"
    assert table.is_file()
    assert len(list(products.glob("results/ceers-msa/spectra/*_spec.fits"))) == 1
    lineage = json.loads((products / "results" / "ceers-msa" / "ceers-msa_lineage.json").read_text())
    # of all products, and not of what the pod had by chance
    assert len(lineage["products"]) == len(list(products.rglob("*.prov.json")))
    # what was asked for is what a pod may use; nothing of it is left, neither are sources in the store
    # every job that is not for where Snakemake was started was a pod
    assert len(cluster.submitted) == len(re.findall(r"^rule \w+:", told, re.M)) >= 5
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in cluster.submitted]
    assert all(one["resources"]["limits"]["memory"] == one["resources"]["requests"]["memory"] for one in containers)
    assert not cluster.secrets and not cluster.jobs
    assert not [key for key in store.keys(survey.BUCKET) if "workflow-sources" in key]
    assert survey.is_theirs_untouched(store)
    # the key goes by a secret, and is not to be seen
    assert SECRET_KEY not in json.dumps(cluster.submitted)
    assert not [line for line in seen if SECRET_KEY.encode() in line]
    assert survey.leaks(folder, cluster.folder) == []
