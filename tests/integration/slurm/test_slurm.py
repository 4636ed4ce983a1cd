"""The workflow through a real SLURM, and what can go wrong there."""

import pytest
from pureparallel import slurm as slurm_of

from . import faults, field


def judge(name, reduced, slurm, tmp_path):
    """Run a fault on a copy of the field; the products are the right ones, and nothing else is there."""
    folder = field.again(reduced, tmp_path / "its own")
    faults.FAULTS[name](folder, slurm)
    assert field.differences(folder, reduced) == []
    assert all(list(folder.glob(f"results/tiny/{name}/F200W-wfss-0001/*.fits")) for name in field.PRODUCTS)


@pytest.mark.parametrize("name", faults.SMOKE)
def test_a_fault_in_short(name, reduced, slurm, tmp_path):
    judge(name, reduced, slurm, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in faults.FAULTS if name not in faults.SMOKE])
def test_a_fault(name, reduced, slurm, tmp_path):
    judge(name, reduced, slurm, tmp_path)


@pytest.mark.slow
def test_the_field_from_its_first_step_gives_what_it_gives_without(reduced, slurm, tmp_path, monkeypatch):
    """Account from the environment, short jobs in groups, the partition that fits, one start of Snakemake per job."""
    monkeypatch.setenv("SBATCH_ACCOUNT", "survey")
    folder = field.checkout(tmp_path / "a checkout")
    field.Driver(folder, field.TARGET, cluster=slurm).wait(600)
    assert field.differences(folder, reduced) == []
    assert {path.name for path in field.products(folder)} == {path.name for path in field.products(reduced)}
    mine = [job for job in slurm.jobs() if job["name"] in slurm_of.runs(folder)]
    assert {job["account"] for job in mine} == {"survey"}
    assert {job["partition"] for job in mine} == {"short"}
    (selection,) = [job["comment"] for job in mine if "pointing" in job["comment"]]
    assert "select_exposures" in selection
    scripts = [slurm.ask("scontrol", "write", "batch_script", job["id"], "-") for job in mine]
    assert all(" -m pureparallel.job " in script and "srun" not in script for script in scripts)
