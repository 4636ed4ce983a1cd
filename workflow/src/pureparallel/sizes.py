"""What a job asks for, from the size of what it works on: functions of wildcards, input and attempt, for Snakemake.

They come from measured runs, kept in ``benchmarks/resources.csv``. In memory, 200 MB are for Snakemake, which a
cluster's job starts as well: it takes about 90.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import storage_mends


def megabytes(paths: Iterable[str | Path]) -> Iterator[float]:
    """Sizes of files; of folders, those of all files in them.

    Raises
    ------
    FileNotFoundError
        Where there is none yet: Snakemake asks again once there is.
    """
    for one in paths:
        path = Path(one)
        if getattr(one, "is_storage", False) and not path.exists():
            yield from (size / 2**20 for size in storage_mends.sizes(one))
            continue
        files = [path] if not path.is_dir() else (one for one in path.rglob("*") if one.is_file())
        yield from (file.stat().st_size / 2**20 for file in files)


def growing(
    base: float, per_mb: float = 0.0, of: str | None = None, by: Callable[[Iterable[float]], float] = sum
) -> Callable[[object, Any, int], int]:
    """Memory in MB or time in minutes, more at every attempt.

    Parameters
    ----------
    base : float
    per_mb : float
        Added per MB of the input.
    of : str, optional
        Names of the inputs that count, separated by spaces; else all do.
    by : {sum, max}
        Of their files the sum, or the largest.
    """

    def value(_: object, input: Any, attempt: int) -> int:
        named = [list(input)] if of is None else [input[name] for name in of.split()]
        paths = [path for one in named for path in ([one] if isinstance(one, str) else one)]
        size = by([0.0, *megabytes(paths)]) if per_mb else 0.0
        return int((base + per_mb * size) * attempt)

    return value


def by_frame(
    base: float, per_mpix: float, frame: Callable[[Mapping[str, str]], Sequence[int]]
) -> Callable[[Mapping[str, str], int], int]:
    """The same for simulated exposures: `base`, and more per megapixel of the `frame` of the job's detector."""

    def value(wildcards: Mapping[str, str], attempt: int) -> int:
        _, _, columns, rows = frame(wildcards)
        return int((base + per_mpix * columns * rows / 1e6) * attempt)

    return value
