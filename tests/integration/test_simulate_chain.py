"""All parts of the simulator together: sky, optics, detector, header and references, judged by the real Detector1."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_pipeline_recovers_the_light_within_its_errors(root, tmp_path, run_in, seed):
    run_in("jwst", "python", root / "tests" / "integration" / "simulate_chain.py", seed, cwd=tmp_path)
    found = json.loads((tmp_path / "chain.json").read_text())
    assert set(found) == {"direct", "GR150R"}
    for pulls in found.values():
        assert pulls["pixels"] > 0.6 * 256**2
        assert abs(pulls["median"]) < 0.05
        assert 0.95 < pulls["mad"] < 1.1
    assert found["direct"]["bright"] > 100  # the star that saturates is on the frame
