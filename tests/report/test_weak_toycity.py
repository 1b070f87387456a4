"""The table at the end of `make weak`: each stage under its protocol, and whether the teacher has helped."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ID = "toycity-test@25m"


@pytest.fixture(scope="module")
def table() -> ModuleType:
    script = Path(__file__).parents[2] / "benchmarks" / "weak_toycity.py"
    spec = importlib.util.spec_from_file_location("weak_toycity", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recalls(first: float) -> dict[str, float]:
    return {"R@1": first, "R@5": first + 0.1, "R@10": first + 0.2}


def leave(runs: Path, run: str, before: float, trained: float, evaluated: float) -> None:
    (runs / run / "evaluation").mkdir(parents=True)
    for file, content in (
        ("summary.json", {"recalls": recalls(trained), "before": recalls(before)}),
        ("evaluation/metrics.json", {"recalls": recalls(evaluated)}),
    ):
        (runs / run / file).write_text(json.dumps({"sets": {ID: content}}))


@pytest.mark.parametrize(("taught", "code"), [(0.25, None), (0.125, 1)])
def test_stages(
    table: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], taught: float, code: int | None
) -> None:
    leave(tmp_path, "teacher", 0.5, 0.75, 0.9)
    leave(tmp_path, "alone-seed3", 0.0625, 0.9, 0.125)
    leave(tmp_path, "wakd-seed3", 0.9, 0.9, taught)
    assert [row.recalls["R@1"] for row in table.rows(tmp_path, 3)] == [0.5, 0.75, 0.0625, 0.125, taught]
    words = ["--runs", str(tmp_path), "--seed", "3", "--require"]
    if code is None:
        table.main(words)
    else:
        with pytest.raises(SystemExit, match="Too low"):
            table.main(words)
    printed = capsys.readouterr().out
    assert printed.count(ID) == 5 and f"{100 * (taught - 0.125):+.1f} points" in printed


def test_a_stage_that_is_not_there_is_named(table: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"teacher/summary\.json\. Type `make weak` first"):
        table.main(["--runs", str(tmp_path)])
