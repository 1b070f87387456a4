"""Measure a checkpoint: image -> backbone -> features -> aggregator -> descriptor -> index -> neighbours -> recall.

python evaluate.py ckpt=runs/x/best.ckpt dataset=pitts250k
python evaluate.py ckpt=runs/x/best.ckpt dataset=pitts30k pca.dim=4096 (descriptors are PCA-whitened)
python evaluate.py ckpt=runs/student/best.ckpt agree_with=runs/teacher/best.ckpt (compares matches; needs no labels)
python evaluate.py ckpt=runs/student/best.ckpt gallery_ckpt=runs/teacher/best.ckpt (the teacher describes the database)
python evaluate.py ckpt=export/model.int8.onnx dataset=pitts30k (an exported model, as it is shipped)
torchrun --nproc_per_node=2 evaluate.py ckpt=runs/x/best.ckpt dataset=[pitts30k,msls_val]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from vpr.cli.app import app

if TYPE_CHECKING:
    import torch

RANKS = int(os.environ.get("WORLD_SIZE", "1"))


@app(config_name="evaluate")
def main(cfg: DictConfig) -> None:
    from hydra.utils import instantiate

    from vpr import report
    from vpr.catalog.resolve import evaluation_sets
    from vpr.cli.compose import plain
    from vpr.data.loading import loader_workers
    from vpr.evaluation.gallery import load_gallery
    from vpr.evaluation.pca import with_pca
    from vpr.models.costs import measure
    from vpr.pages.screen import Screen
    from vpr.report import matches
    from vpr.retrieval.evaluate import EvalOptions, evaluate
    from vpr.retrieval.extractor import Extractor

    options = EvalOptions(
        ks=list(cfg.ks),
        batch_size=cfg.batch_size,
        num_workers=loader_workers(cfg.num_workers, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
        dtype=cfg.dtype,
        on_bad_image=cfg.dataset.get("on_bad_image", "raise"),
        seed=cfg.seed,
    )
    rerank = instantiate(cfg.rerank) if cfg.rerank else None
    with process_group(cfg.device) as device:
        extractor = Extractor.load(cfg.ckpt, device, cfg.precision)
        sets = evaluation_sets(cfg.dataset)  # all, before hours go into the first
        extractor, sets = with_pca(cfg, extractor, sets)
        gallery = load_gallery(cfg.gallery_ckpt, extractor, cfg.ckpt, device) if cfg.gallery_ckpt else None
        teacher = Extractor.load(cfg.agree_with, device, cfg.precision) if cfg.agree_with else None
        results = [
            evaluate(extractor, one, gallery=gallery, rerank=rerank, agree_with=teacher, options=options)
            for one in sets.values()
        ]
    if int(os.environ.get("RANK", "0")) == 0:
        out, console = Path(cfg.out), Screen()
        results = [ranking for result in results for ranking in (result, result.reranked) if ranking]
        keys = ("ckpt", "gallery_ckpt", "agree_with", "batch_size", "precision", "dtype", "seed")
        settings = {key: cfg[key] for key in keys}
        settings |= {"device": str(device), "ranks": RANKS, "pca": plain(cfg.pca), "rerank": plain(cfg.rerank) or None}
        costs = measure(extractor.describer, extractor.device)
        report.write(results, out, settings, costs)
        for result in results:
            console.print(report.table(result))
            matches.write(result, out, cfg.seed)
        console.print(costs.message(), highlight=False, soft_wrap=True)
        console.print(f"metrics.json, predictions.csv and pictures of hits and misses are in {out}", soft_wrap=True)


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Yield this rank's device, with a process group around it where torchrun has started several ranks."""
    import torch.distributed as dist

    from vpr.distributed import PATIENCE
    from vpr.retrieval.extractor import pick_device

    chosen = pick_device(device)
    if RANKS == 1:
        yield chosen
        return
    if chosen.type == "cuda":
        import torch

        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
