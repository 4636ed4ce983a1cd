"""Pure-parallel JWST surveys: from raw exposures to redshifts.

Layout: ``cli`` (one subcommand per step), ``steps`` (one keyword-only function per step: reads files, calls
``core``, writes files), ``core`` (pure functions on arrays), and the single owners of configuration
(``config``), names (``names``), files (``io``), lineage (``provenance``) and logging (``log``).

Nothing heavier than the standard library is imported here: the workflow imports this package at parse time.
"""

from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: the package is installed in place, so that its resources and locks are at hand."""


class UserError(Exception):
    """A mistake that the user can mend: its message names the file, the key, the value and what to do."""
