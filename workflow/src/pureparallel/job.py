"""Snakemake in a job of a cluster: ``python -m pureparallel.job``, with Snakemake's own arguments.

It does one job or the jobs of a group, and ends. Other executors, reports and loggers are of no use to it; Snakemake
would import them all the same at every start, and SLURM's brings pandas with it.
"""

import importlib
from typing import Any


def leave_out_plugins() -> None:
    """Let Snakemake find no plugins but those of storage; its own executors and schedulers stay."""
    base: Any = importlib.import_module("snakemake_interface_common.plugin_registry").PluginRegistryBase
    storage: Any = importlib.import_module("snakemake_interface_storage_plugins.registry").StoragePluginRegistry
    report: Any = importlib.import_module("snakemake_interface_report_plugins.registry").ReportPluginRegistry

    def find_none(registry: Any) -> None:
        registry.plugins = {}

    storage.collect_plugins = base.collect_plugins
    report.collect_plugins = base.collect_plugins = find_none


def main() -> None:
    """Run Snakemake in this process; never returns."""
    leave_out_plugins()
    from snakemake.cli import main

    main()


if __name__ == "__main__":
    main()
