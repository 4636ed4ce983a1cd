"""All style, type and spelling checks; prints every failing one and ends with their number."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["snakefmt", "--check", "workflow"],
    ["mypy"],
    ["codespell", "."],
    [sys.executable, "-m", "snakemake", "--lint"],
    [sys.executable, "-m", "pureparallel.docs", "--check"],
    [sys.executable, "locks/lock.py", "--check"],
)


def main() -> int:
    """Run all checks."""
    failed = 0
    for command in CHECKS:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        name = " ".join(Path(part).name if part == sys.executable else part for part in command)
        print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {name}", flush=True)
        if done.returncode:
            failed += 1
            print(done.stdout + done.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
