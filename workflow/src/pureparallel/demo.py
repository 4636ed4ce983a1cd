"""The demonstration: the whole workflow on the two fields that come with it, and its report.

Its products are under ``results/``; a second call finds all done and says so.
"""

import subprocess
import sys
import time
from pathlib import Path

FIELDS = ("sim-niriss", "ceers-msa")
REPORT = Path("results") / "report.html"


def snakemake(*arguments: str) -> None:
    """Run Snakemake on the demonstration's fields; ends this process where it fails."""
    fields = ",".join(FIELDS)
    command = [sys.executable, "-m", "pureparallel.launch", "--config", f"fields=[{fields}]", *arguments]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


def newest(folder: Path) -> float:
    """Time of the newest product, without the report itself."""
    times = (path.stat().st_mtime for path in folder.rglob("*") if path.is_file() and path != REPORT)
    return max(times, default=0.0)


def main() -> None:
    """Reduce the fields, then make the report where it is older than a product."""
    start = time.time()
    snakemake("--quiet", "rules", "host")
    if REPORT.is_file() and REPORT.stat().st_mtime >= newest(REPORT.parent):
        print(f"demo: nothing to do, everything is up to date. Look at {REPORT}")
        return
    part = REPORT.with_name(f".part-{REPORT.name}")  # Snakemake writes in place: a kill would leave half a report
    snakemake("--report", str(part), "--quiet", "all")
    part.replace(REPORT)
    print(f"demo: done in {time.time() - start:.0f} s. Look at {REPORT}; products are below results/")


if __name__ == "__main__":
    main()
