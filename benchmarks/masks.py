"""Artifact masks against their truth: the rows that ``benchmarks/run.py`` prints."""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "integration" / "masks_scene.py"
BARS = {"TRAIL": 0.95, "PERSISTENCE": 0.9}
"""Least share of the true pixels that is masked."""

HEAD = ("quantity", "bar", "seeds", "true pixels", "masked", "covered", "worst exposure", "met")
SKY_HEAD = ("exposures", "scattered light, DN/s", "caught", "good ones taken for it", "structure over level", "met")


def run(seed: int, level: float, pixels: int = 512) -> dict:
    """One scene, simulated, reduced and masked: see tests/integration/masks_scene.py."""
    with tempfile.TemporaryDirectory() as folder:
        command = [ROOT / "pixiw", "run", "--as-is", "-e", "jwst", "python", SCRIPT, pixels, seed, level]
        subprocess.run([str(part) for part in command], cwd=folder, check=True, capture_output=True)
        return json.loads((Path(folder) / "masks.json").read_text())


def rows(seeds: Sequence[int] = (1, 2, 3), level: float = 10.0) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of both tables, `HEAD` and `SKY_HEAD`.

    Parameters
    ----------
    seeds : sequence of int
    level : float
        Mean scattered light in DN/s; the simulation's default is 40.
    """
    exposures = [row for seed in seeds for name, row in run(seed, level).items() if name != "failed"]
    masks = []
    for cause in ("TRAIL", "PERSISTENCE", "GHOST", "SATURATED", "SPIKE", "SNOWBALL"):
        # what is left out needs no mask
        kept = [row[cause] for row in exposures if row[cause]["pixels"] and not row["exclude"]]
        true, masked, both = (sum(one[key] for one in kept) for key in ("pixels", "masked", "both"))
        worst = min((one["both"] / one["pixels"] for one in kept), default=float("nan"))
        bar = BARS.get(cause)
        masks.append([
            cause.lower(), f">= {bar:.0%}" if bar else "-", str(len(seeds)), str(true), str(masked),
            f"{both / max(true, 1):.1%}", f"{worst:.1%}", ("yes" if worst >= bar else "NO") if bar else "-",
        ])  # fmt: skip
    skies = []
    for kind in ("direct", "dispersed"):
        mine = [row for row in exposures if (row["grism"] == "direct") == (kind == "direct")]
        spoilt = [row for row in mine if row["sky"]["level"] > 0.5 * level]
        good = [row for row in mine if row["sky"]["level"] <= 0.5 * level]
        caught, taken = (sum(row["exclude"] for row in group) for group in (spoilt, good))
        shares = [[row["sky"]["structure_over_level"] for row in group] for group in (good, spoilt)]
        skies.append([
            kind, f"{level:g}", f"{caught} of {len(spoilt)}", f"{taken} of {len(good)}",
            " / ".join(f"{min(s):.3f}-{max(s):.3f}" for s in shares),
            "yes" if caught == len(spoilt) and not taken else "NO",
        ])  # fmt: skip
    return masks, skies


def tables() -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Titles, heads and rows."""
    masked, skies = rows()
    yield "Artifact masks (three seeds)", HEAD, masked
    yield "Scattered light", SKY_HEAD, skies
