"""Results of evaluations as files and pages; as `python -m vpr.report`, one page about many runs. Trains nothing."""

from vpr.report.results import predictions, summary, table, write

__all__ = ["predictions", "summary", "table", "write"]
