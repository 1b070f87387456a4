"""What evaluations leave behind; and, as `python -m vpr.report`, one page about many runs."""

from vpr.report.results import predictions, summary, table, write

__all__ = ["predictions", "summary", "table", "write"]
