"""MSLS test cities without their ground truth, and the file in which predictions are handed in or scored.

python -m vpr.data.formats.msls_challenge runs/eval/x/predictions.csv predictions.txt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr.data.formats import msls
from vpr.data.formats.place_lists import read_rows
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError, ends_with_a_message
from vpr.files import write_text
from vpr.terminal import readable
from vpr.types import Protocol

TEST = ("miami", "athens", "buenosaires", "stockholm", "bengaluru", "kampala")


def read(
    root: str | Path,
    protocol: Protocol,
    cities: Sequence[str] = TEST,
    subtask: str = "all",
    source: str = msls.SOURCE,
    missing: str = "raise",
) -> RetrievalSet:
    """Read the part given out for the challenge: the images that subtask_index.csv lists, panoramas among them.

    Nothing has a positive; the protocol's `no_positives` is `unknown`.

    Raises:
        DataAbsent, DataError: as `vpr.data.formats.msls.read`.
    """
    folder = msls.require_root(root, source)
    paths_of: dict[str, list[Path]] = {side: [] for side in msls.FOLDERS}
    for city in cities:
        for side, paths in paths_of.items():
            images = msls.city_folder(folder, city, source) / side
            csv = images / "subtask_index.csv"
            rows = msls.read_csv(csv, [subtask], [subtask])
            paths.extend(images / "images" / f"{key}.jpg" for key in rows.key[msls.flags(rows, subtask, csv)])
    database, queries = paths_of.values()
    return RetrievalSet(protocol, database, queries, [np.empty(0, np.int64)] * len(queries)).present(missing)


def write(predictions: str | Path, out: str | Path, protocol: str | None = None) -> int:
    """Turn predictions.csv of `evaluate.py` into lines `query key, keys of its nearest database images, best first`.

    This is the form that evaluate.py of github.com/mapillary/mapillary_sls reads: keys are file names without suffix,
    parted by blanks. It counts the first 1, 5, 10 and 20, and passes over panoramas.

    Args:
        protocol: id of the set, where predictions.csv holds several.

    Returns:
        the number of queries.

    Raises:
        ConfigError: several sets and no choice.
        DataError: no predictions, or queries with fewer of them than others.
    """
    columns = ["protocol", "query", "rank", "database"]
    rows = read_rows(Path(predictions), columns, {"protocol": protocol} if protocol else None, text=columns[:2])
    if rows.protocol.nunique() > 1:
        raise ConfigError(f"{predictions} holds {', '.join(rows.protocol.unique())}: choose one with --protocol.")
    rows = rows.sort_values("rank", kind="stable")
    ranked = {query: list(map(_key, names)) for query, names in rows.groupby("query", sort=False).database}
    lengths = {len(keys) for keys in ranked.values()}
    if len(lengths) > 1:
        raise DataError(f"{predictions} has from {min(lengths)} to {max(lengths)} predictions a query. Evaluate again.")
    lines = [" ".join([_key(str(query)), *keys]) for query, keys in ranked.items()]
    broken = next((line for line in lines if len(line.split()) != 1 + max(lengths)), None)
    if broken:
        raise DataError(
            f"{predictions} has file names with blanks, which part the keys of MSLS (first: {broken[:80]})."
        )
    write_text(out, "\n".join(lines) + "\n")
    return len(lines)


def _key(path: str) -> str:
    return Path(path).stem


@ends_with_a_message
def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one file; return the exit code: 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m vpr.data.formats.msls_challenge", description=__doc__)
    parser.add_argument("predictions", help="predictions.csv that evaluate.py wrote")
    parser.add_argument("out", help="file to write")
    parser.add_argument("--protocol", help="id of the set, where predictions.csv holds several")
    chosen = parser.parse_args(arguments)
    queries = write(chosen.predictions, chosen.out, chosen.protocol)
    print(f"{readable(chosen.out)}: predictions for {queries:,} queries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
