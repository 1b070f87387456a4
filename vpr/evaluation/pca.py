"""PCA whitening of `evaluate.py pca.dim=...`: fitted once to training images, and kept beside the checkpoint."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig

from vpr import checkpoint, distributed
from vpr.catalog.resolve import trained_on, training_images
from vpr.cli.app import first_of_ours
from vpr.data.image_paths import ImagePaths
from vpr.data.loading import loader_workers
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataAbsent
from vpr.interop.zoo import local_file
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.pca import PCA, pca_path, read_origin, sample

log = logging.getLogger(__name__)

Sets = Mapping[str, RetrievalSet]
Origin = dict[str, Any]  # attributes of the file: `vpr.retrieval.pca.ORIGIN`


def with_pca(cfg: DictConfig, extractor: Extractor, sets: Sets) -> tuple[Extractor, Sets]:
    """Put PCA behind the model of a checkpoint as `pca` asks for it, and say so in the ids: `...@25m[whitened-4096]`.

    Args:
        cfg: a checked configuration of `evaluate.py`.
        extractor: the model of the checkpoint `cfg.ckpt`.

    Returns:
        The extractor of a model that ends in that layer, and the sets; both as they are without `pca`.

    Raises:
        ConfigError: the training set is unknown or too small, a file of components is of another model, or the model
            is an exported one.
        CheckpointError: that file is missing or damaged.
        DataError: as `PCA.of_images`.
    """
    options = cfg.pca
    if options.dim is None and options.file is None:
        return extractor, sets
    extractor.network("pca", "Put it behind the checkpoint (pca.save=OUT.ckpt), and export that.")
    pca, origin = _given(cfg, extractor) if options.file else _fitted(cfg, extractor)
    dim = options.dim or pca.dim
    projected = extractor.with_pca(pca, dim, options.whiten)
    with distributed.raise_on_all_ranks():
        if options.save and distributed.rank() == 0:
            content = projected.content()
            config = content["config"] | {"pca": {**origin, "dim": dim, "whiten": options.whiten}}
            checkpoint.write(options.save, content | {"config": config})
            log.info("%s describes with %s numbers.", options.save, f"{dim:,}")
    suffix = f"[{'whitened' if options.whiten else 'pca'}-{dim}]"
    return projected, {name: _with_suffix(retrieval_set, suffix) for name, retrieval_set in sets.items()}


def _with_suffix(retrieval_set: RetrievalSet, suffix: str) -> RetrievalSet:
    protocol = replace(retrieval_set.protocol, id=f"{retrieval_set.protocol.id}{suffix}")
    return replace(retrieval_set, protocol=protocol)


def _given(cfg: DictConfig, extractor: Extractor) -> tuple[PCA, Origin]:
    """Read the file that the user names, which others may have made."""
    path = Path(cfg.pca.file)
    pca, origin = PCA.read(path), read_origin(path)
    model = origin.get("model")
    if len(pca.mean) != extractor.dim or model not in (None, extractor.digest):
        raise ConfigError(
            f"pca.file={path} is of another model than ckpt={cfg.ckpt}: of {model[:12] if model else 'an unknown one'} "
            f"with descriptors of {len(pca.mean):,} numbers, and this is {extractor.digest[:12]} with "
            f"{extractor.dim:,}. Leave pca.file out, and type pca.dim=4096 to fit components to this one."
        )
    if model is None:
        log.info("%s does not say of which model it is; it is taken for that of %s.", path, cfg.ckpt)
    if cfg.pca.dim and cfg.pca.dim > pca.dim:
        raise ConfigError(
            f"pca.dim={cfg.pca.dim}: {path} has {pca.dim:,} components. Type pca.dim={pca.dim}, or leave pca.file out."
        )
    return pca, origin


def _fitted(cfg: DictConfig, extractor: Extractor) -> tuple[PCA, Origin]:
    """Read the file beside the checkpoint if it is the right one, and else fit and write it."""
    path, model = pca_path(local_file(cfg.ckpt)), extractor.digest
    kept = read_origin(path) if os.path.exists(path) else {}
    if os.path.exists(path) and "model" not in kept:
        raise ConfigError(
            f"{path} does not say of which model it is, and was not used. Type pca.file={path} if it is that of "
            f"{cfg.ckpt}; else move it away, and another one is fitted."
        )
    names = _training_sets(cfg, extractor)
    try:
        images = training_images(names, cfg, "pca.dataset")
    except (DataAbsent, HydraException) as error:
        cause = first_of_ours(error)
        if isinstance(cause, DataAbsent) and kept.get("model") == model:
            raise DataAbsent(f"{cause} To use what was fitted before, type pca.file={path}") from error
        raise
    origin: Origin = {"model": model, "dataset": "+".join(names), "photos": images.digest()}
    origin |= {"samples": cfg.pca.samples, "seed": cfg.pca.seed}
    differing = [key for key, value in origin.items() if kept.get(key) != value]
    if differing or kept["components"] < cfg.pca.dim:
        if kept and distributed.rank() == 0:
            others = ", ".join(differing)
            why = f"was fitted with other {others}" if differing else f"has {kept['components']} components"
            log.warning("%s %s: it is replaced.", path, why)
        _fit(cfg, extractor, images, path, origin)
    return PCA.read(path), origin


def _training_sets(cfg: DictConfig, extractor: Extractor) -> list[str]:
    given = cfg.pca.dataset
    if given is None:
        names = trained_on(extractor.record or {"config": {}})
    else:
        names = [given] if isinstance(given, str) else list(given)
    if not names:
        raise ConfigError(
            f"pca.dim={cfg.pca.dim}: {cfg.ckpt} does not say on what it was trained. Name the training set to whose "
            "images PCA is fitted, for example pca.dataset=pitts30k_train."
        )
    return names


def _fit(cfg: DictConfig, extractor: Extractor, images: ImagePaths, path: Path, origin: Origin) -> None:
    """Fit PCA to a sample of the images, and write it: once, by the first rank."""
    dim, chosen = cfg.pca.dim, sample(images, cfg.pca.samples, cfg.pca.seed)
    if not os.access(path.absolute().parent, os.W_OK):  # before an hour goes into descriptors
        raise ConfigError(f"{path} cannot be written. Copy {cfg.ckpt} to a folder of your own.")
    if distributed.rank() == 0:
        log.info("PCA to %d is fitted to %d of %d images of %s.", dim, len(chosen), len(images), origin["dataset"])
    pca = PCA.of_images(
        extractor,
        chosen,
        dim,
        batch_size=cfg.batch_size,
        num_workers=loader_workers(cfg.num_workers, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
        title=f"PCA: {origin['dataset']}",
    )
    with distributed.raise_on_all_ranks():
        if pca:
            pca.write(path, origin | {"components": dim})
            log.info("It is kept in %s", path)
