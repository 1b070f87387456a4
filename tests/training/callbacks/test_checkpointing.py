"""Which describers a run keeps."""

from __future__ import annotations

from pathlib import Path

from vpr.training.callbacks.checkpointing import BestCheckpoints


def offer(top: BestCheckpoints, scores: list[float]) -> list[bool]:
    return [top.offer(s, epoch, lambda path, s=s: path.write_text(str(s))) for epoch, s in enumerate(scores)]


def test_the_best_three_stay_and_best_is_the_first_of_them(tmp_path: Path):
    top = BestCheckpoints(tmp_path, keep=3)
    assert offer(top, [0.2, 0.5, 0.1, 0.4, 0.3]) == [True, True, False, False, False]
    assert [kept.score for kept in top.kept] == [0.5, 0.4, 0.3]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.ckpt",
        "epoch01_R1-0.5000.ckpt",
        "epoch03_R1-0.4000.ckpt",
        "epoch04_R1-0.3000.ckpt",
    ]
    assert (tmp_path / "best.ckpt").read_text() == "0.5"


def test_the_recall_that_decides_stands_in_the_names(tmp_path: Path):
    offer(BestCheckpoints(tmp_path, keep=1, k=5), [0.25])
    assert [path.name for path in tmp_path.glob("epoch*")] == ["epoch00_R5-0.2500.ckpt"]


def test_the_earlier_epoch_wins_a_tie(tmp_path: Path):
    top = BestCheckpoints(tmp_path, keep=1)
    assert offer(top, [0.5, 0.5]) == [True, False]
    assert [path.name for path in tmp_path.glob("epoch*")] == ["epoch00_R1-0.5000.ckpt"]


def test_a_resumed_run_goes_on_from_the_files_that_are_still_there(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    top = BestCheckpoints(first, keep=2)
    offer(top, [0.7, 0.6])
    (first / "epoch01_R1-0.6000.ckpt").unlink()
    resumed = BestCheckpoints(second, keep=2)
    resumed.load_state_dict(top.state_dict())
    resumed.copy_best()
    assert [kept.score for kept in resumed.kept] == [0.7]
    assert (second / "best.ckpt").read_text() == "0.7"
    assert resumed.best is not None and resumed.best.path == second / "best.ckpt"
    offer_again = [
        resumed.offer(score, epoch, lambda path: path.write_text("new")) for epoch, score in ((2, 0.8), (3, 0.9))
    ]
    assert offer_again == [True, True]
    assert (second / "best.ckpt").read_text() == "new"
    assert (first / "epoch00_R1-0.7000.ckpt").is_file(), "what the first run kept is not deleted"


def test_a_rank_that_does_not_write_knows_what_is_best(tmp_path: Path):
    top = BestCheckpoints(tmp_path, keep=2)
    assert [top.offer(score, epoch, None) for epoch, score in enumerate([0.3, 0.2, 0.4])] == [True, False, True]
    assert [kept.score for kept in top.kept] == [0.4, 0.3]
    assert not list(tmp_path.iterdir())


def test_nothing_kept_is_no_best(tmp_path: Path):
    assert BestCheckpoints(tmp_path).best is None
