"""Hostile summaries, evaluations and checkpoints: text on pages, or one sentence; never code, never a traceback."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr import checkpoint
from vpr.data.retrieval_set import RetrievalSet
from vpr.pages.figures import Plot
from vpr.report import matches
from vpr.report.__main__ import main
from vpr.report.results import table
from vpr.retrieval.scoring import score
from vpr.types import Protocol

from .conftest import PROTOCOL

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{7*7}}\x1b]0;x\x07javascript:x"
LIVE = re.compile(r"<script>alert|<img src=x|\x1b|href=[\"']?javascript", re.IGNORECASE)


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value that holds no others."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    inner = [found for key, value in items for found in leaves(value, (*path, key))]
    yield from inner or [path]


def with_value(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(node)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def test_text_anywhere_in_a_summary_stays_text(
    write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """All words of the configuration, the protocol's id, the terms and the device are hostile at once."""
    folder = write_run("plain", "small", [1, 2])
    summary = json.loads((folder / "summary.json").read_text())
    for path in leaves(summary):
        if isinstance(summary_value := _at(summary, path), str) and path[-1] != "_target_":
            summary = with_value(summary, path, f"{summary_value}{HOSTILE}")
    summary["sets"] = {HOSTILE: summary["sets"][PROTOCOL]}
    summary["config"]["distillation"]["terms"] = {HOSTILE: {HOSTILE: HOSTILE}}
    (folder / "summary.json").write_text(json.dumps(summary))
    np.savez(folder / "hits.npz", **{"x": np.ones(3, bool)})
    evaluation = {"sets": {HOSTILE + "2": {"recalls": {"R@1": 0.5, "R@5": 0.5, "R@10": 0.5}}}}
    evaluation["settings"] = {"ckpt": str(folder / "best.ckpt"), "out": HOSTILE}
    (folder / "metrics.json").write_text(json.dumps(evaluation))
    assert main([str(folder), "--title", HOSTILE]) == 0
    page = (folder / "report.html").read_text()
    assert "alert(1)" in page and not LIVE.search(page)
    assert "\x1b" not in "".join(capsys.readouterr())


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


@pytest.mark.parametrize("name", ["summary.json", "metrics.json"])
def test_other_values_than_a_summary_has_are_a_sentence_or_a_page(
    write_run: Callable[..., Path], name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for drawing in ("recall_against", "curves", "gain_of_each_pair"):  # half a second each
        monkeypatch.setattr(f"vpr.report.comparison_page.{drawing}", lambda *_: Plot("data:,", ""))
    folder = write_run("plain", "small", [1, 2])
    evaluation = {"sets": {PROTOCOL: {"recalls": {"R@1": 0.5}}}, "settings": {"ckpt": str(folder / "best.ckpt")}}
    (folder / "metrics.json").write_text(json.dumps(evaluation))
    whole = json.loads((folder / name).read_text())
    deep: Any = 0
    for _ in range(900):
        deep = [deep]
    inner = {found[:n] for found in leaves(whole) for n in range(1, len(found))}
    for path in [(), *leaves(whole), *sorted(inner, key=str)]:
        for value in (HOSTILE, None, [HOSTILE], {HOSTILE: 1}, float("inf"), deep):
            changed = with_value(whole, path, value) if path else value
            (folder / name).write_text(json.dumps(changed))
            code = main([str(folder)])
            message = capsys.readouterr().err
            assert code in (0, 2) and (code == 0) == (message == "") and "\x1b" not in message
    (folder / name).write_text(json.dumps(whole))
    (folder / "hits.npz").write_bytes(b"PK\x03\x04 damaged")
    assert main([str(folder)]) == 2 and "DataError" in capsys.readouterr().err


def test_a_hostile_checkpoint_is_named_in_plain_words(tmp_path: Path) -> None:
    """Its name stands in ids and results, its metrics nowhere before they are measured again."""
    name = checkpoint.model_name({"config": {"name": HOSTILE}}, "x.ckpt")
    assert re.fullmatch(r"[\w.+-]+", name, re.ASCII)
    images = [Path(HOSTILE.replace("/", "")), Path("b.jpg")]
    retrieval_set = RetrievalSet(Protocol(HOSTILE), images, images[1:], [np.array([0])])
    result = score(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[1:], retrieval_set, ks=[1])
    files = matches.write(result, tmp_path, 0)
    page = files[0].read_text()
    assert "alert(1)" in page and not LIVE.search(page)
    assert all(file.resolve().parent == tmp_path for file in files)
    assert str(table(result).title).startswith("</script>")
