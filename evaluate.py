"""Measure a checkpoint: image -> backbone -> features -> aggregator -> descriptor -> index -> neighbours -> recall.

python evaluate.py ckpt=runs/x/best.ckpt dataset=pitts250k
python evaluate.py ckpt=runs/x/best.ckpt dataset=pitts30k pca.dim=4096 (descriptors are PCA-whitened)
python evaluate.py ckpt=runs/student/best.ckpt gallery_ckpt=runs/teacher/best.ckpt (the teacher describes the database)
torchrun --nproc_per_node=2 evaluate.py ckpt=runs/x/best.ckpt dataset=[pitts30k,msls_val]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
    from rich.console import Console

    from vpr import checkpoint, report
    from vpr.catalog.resolve import evaluation_sets
    from vpr.checkpoint import model_name
    from vpr.cli.compose import plain
    from vpr.data.loading import loader_workers
    from vpr.evaluation.gallery import load_gallery
    from vpr.evaluation.pca import with_pca
    from vpr.models.costs import measure
    from vpr.report import matches
    from vpr.retrieval.evaluate import evaluate
    from vpr.retrieval.extractor import describe_fn

    rerank = instantiate(cfg.rerank) if cfg.rerank else None
    with process_group(cfg.device) as device:
        content = checkpoint.read(cfg.ckpt)
        sets = evaluation_sets(cfg.dataset)  # all, before hours go into the first
        content, sets = with_pca(cfg, content, sets, device)
        describer = checkpoint.unpack(content, cfg.ckpt).to(device)
        describe = describe_fn(describer, device, cfg.precision)
        gallery = None
        if cfg.gallery_ckpt:
            gallery = load_gallery(cfg.gallery_ckpt, content, cfg.ckpt, describer.dim, device, cfg.precision)
        results = [
            evaluate(
                describe,
                describer.dim,
                describer.preprocess,
                retrieval_set,
                ks=list(cfg.ks),
                batch_size=cfg.batch_size,
                num_workers=loader_workers(cfg.num_workers, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
                dtype=cfg.dtype,
                on_bad_image=cfg.dataset.get("on_bad_image", "raise"),
                fixed_size=describer.fixed_size,
                seed=cfg.seed,
                model=checkpoint.digest(content),
                gallery=gallery,
                rerank=rerank,
                device=device,
            )
            for retrieval_set in sets.values()
        ]
    if int(os.environ.get("RANK", "0")) == 0:
        out, console = Path(cfg.out), Console()
        queries = f"{model_name(content, cfg.ckpt)} {checkpoint.digest(content)[:12]}"
        models = {"queries": queries, "database": f"{gallery.name} {gallery.model[:12]}" if gallery else queries}
        measured = [found for result in results for found in (result, result.reranked) if found]
        results = [replace(result, models=models) for result in measured]
        settings = {key: cfg[key] for key in ("ckpt", "gallery_ckpt", "batch_size", "precision", "dtype", "seed")}
        settings |= {"device": str(device), "ranks": RANKS, "pca": plain(cfg.pca), "rerank": plain(cfg.rerank) or None}
        costs = measure(describer, device)
        report.write(results, out, settings, costs)
        for result in results:
            console.print(report.table(result))
            matches.write(result, out, cfg.seed)
        console.print(costs.sentence(), highlight=False, soft_wrap=True)
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
