"""evaluate.py as it is typed: in a process of its own, on a small model and drawn photos."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch.distributed as dist
from scipy.io import savemat

from tests.processes import run_script
from vpr import checkpoint
from vpr.models.describer import build_describer

ROOT = Path(__file__).parents[1]
MODEL = {
    "backbone": {"_target_": "vpr.models.backbones.mobilenet_v2.MobileNetV2", "weights": "none"},
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
    "image": {"size": [64, 64]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a name that Hydra does not like, and 13 photos by day and by night."""
    folder = tmp_path_factory.mktemp("evaluate")
    checkpoint.save(folder / "epoch=3[0.91](1).ckpt", build_describer(**MODEL), MODEL)
    rng = np.random.default_rng(0)
    rows = []
    for condition, gain in (("day", 1.0), ("night", 0.6)):
        (folder / "drawn" / condition).mkdir(parents=True)
        for frame, image in enumerate(np.random.default_rng(1).integers(0, 256, (13, 6, 6, 3))):
            path = f"{condition}/{frame}.png"
            noisy = np.clip(gain * image + rng.normal(0, 9, image.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "drawn" / path), cv2.resize(noisy, (64, 64)))
            rows.append((path, condition, frame))
    with open(folder / "drawn/index.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "condition", "frame"), *rows])
    return folder


def evaluate(
    folder: Path, *arguments: str, dataset: str = "gardens_point", **how: Any
) -> subprocess.CompletedProcess[str]:
    overrides = [
        f"dataset={dataset}",
        f"dataset.eval.gardens_point.root={folder / 'drawn'}",
        "dataset.eval.gardens_point.database={condition: day}",
        "dataset.eval.gardens_point.queries={condition: night}",
        "dataset.eval.gardens_point.protocol={_target_: vpr.types.Protocol, id: drawn@2f, database: 13, queries: 13}",
        f"paths.runs={folder / 'runs'}",
        "num_workers=0",
        "device=cpu",
        "batch_size=3",
    ]
    return run([*overrides, *arguments], **how)


def run(
    arguments: Sequence[str], launcher: Sequence[str] = (), rank: int | None = None, port: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run evaluate.py, by a launcher, as a rank of two that one has started, or alone."""
    command = [*launcher, str(ROOT / "evaluate.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if rank is not None:
        environment |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if launcher:
        command = [sys.executable, *command]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    return run_script(command, env=environment, cwd=ROOT)


@pytest.mark.slow
def test_one_and_two_ranks_from_the_command_line(folder: Path) -> None:
    ckpt = f"ckpt={folder / 'epoch=3[0.91](1).ckpt'}"
    alone = evaluate(folder, ckpt, f"out={folder / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    assert "drawn@2f" in alone.stdout and "R@20" in alone.stdout
    names = sorted(path.name for path in (folder / "alone").iterdir())
    assert names == ["matches_drawn@2f.html", "matches_drawn@2f.png", "metrics.json", "predictions.csv"]

    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone")
    both = evaluate(folder, ckpt, f"out={folder / 'both'}", launcher=torchrun)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("R@20") == 1  # one rank speaks
    one, two = (json.loads((folder / name / "metrics.json").read_text()) for name in ("alone", "both"))
    assert two["settings"]["ranks"] == 2
    assert one["sets"]["drawn@2f"]["recalls"] == two["sets"]["drawn@2f"]["recalls"]
    assert (folder / "alone/predictions.csv").read_text() == (folder / "both/predictions.csv").read_text()


@pytest.mark.slow
def test_whitened_by_one_and_by_two_ranks(folder: Path) -> None:
    """Components fitted to all 26 photos, once, beside the checkpoint; the same recall by what two ranks fitted."""
    ckpt = folder / "epoch=3[0.91](1).ckpt"
    arguments = [f"ckpt={ckpt}", "pca.dim=6", "pca.dataset=places_folder"]
    arguments += [f"dataset.train.places_folder.root={folder / 'drawn'}", f"pca.save={folder / 'six (6).ckpt'}"]
    both = "[gardens_point,places_folder]"
    alone = evaluate(folder, *arguments, f"out={folder / 'white1'}", dataset=both)
    assert alone.returncode == 0, alone.stderr
    assert "drawn@2f[whitened-6]" in alone.stdout and "D = 6" in " ".join(alone.stdout.split())
    assert "fitted to 26 of 26 images of places_folder" in " ".join((alone.stdout + alone.stderr).split())
    kept = folder / "pca_params_epoch=3[0.h5"
    assert kept.is_file() and checkpoint.load(folder / "six (6).ckpt").dim == 6

    again = evaluate(folder, f"ckpt={ckpt}", f"pca.file={kept}", f"out={folder / 'white2'}")
    assert again.returncode == 0, again.stderr
    kept.unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ThreadPoolExecutor() as threads:
        started = [
            threads.submit(evaluate, folder, *arguments, f"out={folder / 'white3'}", dataset=both, rank=rank, port=port)
            for rank in range(2)
        ]
    for rank in started:
        assert rank.result().returncode == 0, rank.result().stderr
    found = [json.loads((folder / f"white{n}/metrics.json").read_text()) for n in (1, 2, 3)]
    (recalls,) = {json.dumps(one["sets"]["drawn@2f[whitened-6]"]["recalls"]) for one in found}
    assert json.loads(recalls)["R@20"] == 1
    assert found[0]["settings"]["pca"]["dataset"] == "places_folder"


@pytest.mark.slow
def test_reranked_recall_beside_the_plain_one(folder: Path) -> None:
    ckpt = f"ckpt={folder / 'epoch=3[0.91](1).ckpt'}"
    done = evaluate(folder, ckpt, "rerank=kreciprocal", "rerank.k1=6", f"out={folder / 'reranked'}")
    assert done.returncode == 0, done.stderr
    names = ["drawn@2f", "drawn@2f[kreciprocal-6-1-0]"]
    assert done.stdout.count("R@20") == 2 and all(name in done.stdout for name in names)
    written = json.loads((folder / "reranked/metrics.json").read_text())
    assert list(written["sets"]) == names and written["settings"]["rerank"]["k1"] == 6
    assert all((folder / f"reranked/matches_{name}.png").is_file() for name in names)
    refused = evaluate(folder, ckpt, "rerank=kreciprocal", "rerank.k1=26")
    assert refused.returncode == 2 and "ConfigError: rerank.k1=26: there are 26 images in all" in refused.stderr
    refused = evaluate(folder, ckpt, "rerank=kreciprocal", "rerank.k2=0")
    assert refused.returncode == 2 and "ConfigError: k2=0" in refused.stderr and "Traceback" not in refused.stderr


def test_ranks_wait_longer_for_one_another_than_a_search_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("evaluate_script", ROOT / "evaluate.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    begun = []
    monkeypatch.setattr(script, "RANKS", 2)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: begun.append(timeout.total_seconds()))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with script.process_group("cpu"):
        assert begun and begun[0] >= 12 * 3600


@pytest.mark.slow
def test_what_the_user_did_wrong_is_one_sentence(folder: Path) -> None:
    absent = evaluate(folder, f"ckpt={folder / 'none.ckpt'}")
    assert absent.returncode == 2
    assert "CheckpointError" in absent.stderr and "no such file" in absent.stderr and "Traceback" not in absent.stderr


@pytest.mark.slow
def test_damaged_photo_ends_the_run_and_the_way_out_works(folder: Path) -> None:
    damaged = folder / "drawn/day/4.png"
    before = damaged.read_bytes()
    damaged.write_bytes(b"")
    try:
        ckpt = f"ckpt={folder / 'epoch=3[0.91](1).ckpt'}"
        refused = evaluate(folder, ckpt)
        assert refused.returncode == 2 and "1 of 13 database images of drawn@2f cannot be read" in refused.stderr
        skipped = evaluate(folder, ckpt, "dataset.on_bad_image=skip")
        assert skipped.returncode == 0, skipped.stderr
        assert "12of13" in skipped.stdout
    finally:
        damaged.write_bytes(before)


@pytest.fixture(scope="module")
def tokyo(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three panoramas of four cut-outs, 100 m apart, and four queries of other shapes, the last one far off."""
    root = tmp_path_factory.mktemp("tokyo247")
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (3, 4, 6, 6, 3), dtype=np.uint8)
    names: dict[str, list[str]] = {"images": [], "query": []}
    for panorama in range(3):
        for cut in range(4):
            names["images"].append(f"0381{panorama}/pano{panorama}_012_{30 * cut:03}.png")
            write(root / "images" / names["images"][-1], views[panorama, cut], (96, 72))
    for query, size in enumerate([(60, 90), (80, 60), (70, 70), (50, 99)]):
        names["query"].append(f"{query:05}.jpg")
        write(root / "query" / names["query"][-1], views[query % 3, 1], size)
    struct = {
        "dbImageFns": np.array(names["images"], object)[:, None],
        "utmDb": np.array([[100.0 * (row // 4), 0.0] for row in range(12)]).T,
        "qImageFns": np.array(names["query"], object)[:, None],
        "utmQ": np.array([[0.0, 9.0], [100.0, 9.0], [200.0, 9.0], [900.0, 0.0]]).T,
        "numImages": 12,
        "numQueries": 4,
        "posDistThr": 25.0,
    }
    savemat(root / "tokyo247.mat", {"dbStruct": struct})
    where = "dataset.eval.tokyo247"
    counts = [f"{where}.protocol.database=12", f"{where}.protocol.queries=4", f"{where}.query_short_side=64"]
    return ["dataset=tokyo247", f"{where}.root={root}", *counts, "num_workers=0", "device=cpu", "ks=[1,2,3]"]


def write(path: Path, image: np.ndarray, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.resize(image, size))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agg", "id"), [("gem.GeM", "tokyo247@25m-nms"), ("mixvpr.MixVPR", "tokyo247@25m-nms[q64x64]")]
)
def test_tokyo_says_how_it_was_measured(tokyo: list[str], tmp_path: Path, agg: str, id: str) -> None:
    model = MODEL | {"agg": {"_target_": f"vpr.models.aggregators.{agg}"}}
    checkpoint.save(tmp_path / "m.ckpt", build_describer(**model), model)
    done = run([*tokyo, f"ckpt={tmp_path / 'm.ckpt'}", f"out={tmp_path / 'out'}"])
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert f"{id} " in said
    assert "12 database images, 3 queries (+ 1 without positives), 3.0 positives a query" in said
    (found,) = json.loads((tmp_path / "out/metrics.json").read_text())["sets"].items()
    assert found[0] == id
    assert found[1]["counts"] == {
        "database": 12,
        "queries": 4,
        "counted_queries": 3,
        "queries_without_positives": 1,
        "bad_images": 0,
        "mean_positives": 3.0,
    }
    assert found[1]["recalls"]["R@3"] == 1  # every panorama is among the three neighbours that are left
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 3
    assert {row["protocol"] for row in rows} == {id}
    assert len({(row["query"], Path(row["database"]).parent) for row in rows}) == 12  # one cut-out a panorama
    assert ("at the shorter side" in done.stdout + done.stderr) == ("[" in id)


@pytest.mark.slow
def test_agreement_on_a_folder_without_positions(folder: Path) -> None:
    ckpt = folder / "epoch=3[0.91](1).ckpt"
    own = ["dataset=unlabelled_folder", f"dataset.eval.unlabelled_folder.root={folder / 'drawn'}", f"ckpt={ckpt}"]
    done = run([*own, f"agree_with={ckpt}", f"out={folder / 'agree'}", "num_workers=0", "device=cpu"])
    assert done.returncode == 0, done.stderr
    assert "the same first match in 100.0 % (87.1–100.0) of 26 queries" in " ".join(done.stdout.split())
    content = json.loads((folder / "agree/metrics.json").read_text())
    numbers = content["sets"]["own-photos@unknown"]
    assert numbers["agreement"]["first_match"] == 1 and numbers["recalls"] == {}
    assert content["settings"]["agree_with"] == str(ckpt)
    missing = run([*own, f"agree_with={folder / 'teacher.ckpt'}", f"out={folder / 'missing'}", "device=cpu"])
    assert missing.returncode == 2 and "teacher.ckpt: there is no such file" in " ".join(missing.stderr.split())
