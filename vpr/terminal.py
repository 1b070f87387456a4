"""Text on a terminal and in logs: names of files and of runs come from anywhere, and may hold what commands it."""

from __future__ import annotations

import logging
import re
import sys

# No text: lone surrogates of undecodable file names, control characters (but tab and newline), and the characters that
# turn the direction of all that comes after them.
UNREADABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]",
)


def readable(text: str) -> str:
    """Put a question mark for each character of a file name that is no text, or would disturb the text around it."""
    return UNREADABLE.sub("?", text)


def say(text: str) -> None:
    """Print a message to standard error."""
    print(readable(text), file=sys.stderr)


class ReadableFormatter(logging.Formatter):
    """Formatter of log messages, and of the tracebacks below them."""

    def format(self, record: logging.LogRecord) -> str:
        return readable(super().format(record))
