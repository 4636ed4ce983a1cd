"""Logging of a step: times and levels to standard error, which the rule sends to its log file."""

import logging
import sys


def of(step: str) -> logging.Logger:
    """The logger of a step."""
    return logging.getLogger("pureparallel").getChild(step)


def configure(*, level: int = logging.INFO) -> None:
    """Set up logging for one process.

    Warnings of libraries become log lines; their ``INFO`` chatter does not.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    logger = logging.getLogger("pureparallel")
    logger.setLevel(level)
    logger.handlers = [handler]
    logger.propagate = False  # libraries hang handlers of their own on the root logger


def progress(logger: logging.Logger, done: int, total: int, what: str) -> None:
    """One line of progress, such as ``3/20 1345_933``."""
    logger.info("%*d/%d %s", len(str(total)), done, total, what)
