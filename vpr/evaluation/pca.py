"""PCA whitening of `evaluate.py pca.dim=...`: fitted once to training photos, and kept beside the checkpoint."""

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
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.pca import (
    Components,
    components_of_photos,
    from_components,
    pca_path,
    read_attributes,
    read_components,
    sample,
    whitened,
    write_components,
)

log = logging.getLogger(__name__)

Sets = Mapping[str, RetrievalSet]
Origin = dict[str, Any]  # what a file of components says in its attributes


def with_pca(cfg: DictConfig, extractor: Extractor, sets: Sets) -> tuple[Extractor, Sets]:
    """Put PCA behind the model of a checkpoint as `pca` asks for it, and say so in the ids: `...@25m[whitened-4096]`.

    Args:
        cfg: a checked configuration of `evaluate.py`.
        extractor: the model of the checkpoint `cfg.ckpt`.

    Returns:
        The extractor of a model that ends in that layer, and the sets; both as they are without `pca`.

    Raises:
        ConfigError: the training set is unknown or too small, or a file of components is of another model.
        CheckpointError: that file is missing or damaged.
        DataError: as `components_of_photos`.
    """
    pca = cfg.pca
    if pca.dim is None and pca.file is None:
        return extractor, sets
    components, origin = _given(cfg, extractor) if pca.file else _fitted(cfg, extractor)
    dim = pca.dim or components.directions.shape[1]
    made = whitened(extractor.content(), from_components(components, dim, pca.whiten))
    made["config"]["pca"] = {**origin, "dim": dim, "whiten": pca.whiten}
    with distributed.raise_on_all_ranks():
        if pca.save and distributed.rank() == 0:
            checkpoint.write(pca.save, made)
            log.info("%s describes with %s numbers.", pca.save, f"{dim:,}")
    suffix = f"[{'whitened' if pca.whiten else 'pca'}-{dim}]"
    made_extractor = Extractor.of_checkpoint(made, cfg.ckpt, extractor.device, extractor.precision)
    return made_extractor, {name: _with_suffix(retrieval_set, suffix) for name, retrieval_set in sets.items()}


def _with_suffix(retrieval_set: RetrievalSet, suffix: str) -> RetrievalSet:
    protocol = replace(retrieval_set.protocol, id=f"{retrieval_set.protocol.id}{suffix}")
    return replace(retrieval_set, protocol=protocol)


def _given(cfg: DictConfig, extractor: Extractor) -> tuple[Components, Origin]:
    """Read the file that the user names, which others may have made."""
    path = Path(cfg.pca.file)
    components, origin = read_components(path), read_attributes(path)
    model, own, width = origin.get("model"), extractor.digest, extractor.dim
    if len(components.mean) != width or model not in (None, own):
        raise ConfigError(
            f"pca.file={path} is of another model than ckpt={cfg.ckpt}: of {model[:12] if model else 'an unknown one'} "
            f"with descriptors of {len(components.mean):,} numbers, and this is {own[:12]} with {width:,}. Leave "
            "pca.file out, and type pca.dim=4096 to fit components to this one."
        )
    if model is None:
        log.info("%s does not say of which model it is; it is taken for that of %s.", path, cfg.ckpt)
    have = components.directions.shape[1]
    if cfg.pca.dim and cfg.pca.dim > have:
        raise ConfigError(
            f"pca.dim={cfg.pca.dim}: {path} has {have:,} components. Type pca.dim={have}, or leave pca.file out."
        )
    return components, origin


def _fitted(cfg: DictConfig, extractor: Extractor) -> tuple[Components, Origin]:
    """Read the file beside the checkpoint if it is the right one, and else fit and write it."""
    pca, path, model = cfg.pca, pca_path(cfg.ckpt), extractor.digest
    found = read_attributes(path) if path.exists() else {}
    if path.exists() and "model" not in found:
        raise ConfigError(
            f"{path} does not say of which model it is, and was not used. Type pca.file={path} if it is that of "
            f"{cfg.ckpt}; else move it away, and another one is fitted."
        )
    names = _training_sets(cfg, extractor)
    try:
        photos = training_images(names, cfg, "pca.dataset")
    except (DataAbsent, HydraException) as error:
        cause = first_of_ours(error)
        if isinstance(cause, DataAbsent) and found.get("model") == model:
            raise DataAbsent(f"{cause} To use what was fitted before, type pca.file={path}") from error
        raise
    origin: Origin = {"model": model, "dataset": "+".join(names), "photos": photos.digest()}
    origin |= {"samples": pca.samples, "seed": pca.seed}
    other = [key for key, value in origin.items() if found.get(key) != value]
    if other or found["components"] < pca.dim:
        if found and distributed.rank() == 0:
            why = f"was fitted with other {', '.join(other)}" if other else f"has {found['components']} components"
            log.warning("%s %s: it is replaced.", path, why)
        _fit(cfg, extractor, photos, path, origin)
    return read_components(path), origin


def _training_sets(cfg: DictConfig, extractor: Extractor) -> list[str]:
    given = cfg.pca.dataset
    names = (
        trained_on(extractor.record or {"config": {}})
        if given is None
        else [given]
        if isinstance(given, str)
        else list(given)
    )
    if not names:
        raise ConfigError(
            f"pca.dim={cfg.pca.dim}: {cfg.ckpt} does not say on what it was trained. Name the training set to whose "
            "photos PCA is fitted, for example pca.dataset=pitts30k_train."
        )
    return names


def _fit(cfg: DictConfig, extractor: Extractor, photos: ImagePaths, path: Path, origin: Origin) -> None:
    """Fit components to a sample of the photos, and write them: once, by the first rank."""
    dim, chosen = cfg.pca.dim, sample(photos, cfg.pca.samples, cfg.pca.seed)
    if not os.access(path.absolute().parent, os.W_OK):  # before an hour goes into descriptors
        raise ConfigError(f"{path} cannot be written. Copy {cfg.ckpt} to a folder of your own.")
    if distributed.rank() == 0:
        log.info("PCA to %d is fitted to %d of %d photos of %s.", dim, len(chosen), len(photos), origin["dataset"])
    components = components_of_photos(
        extractor,
        chosen,
        dim,
        batch_size=cfg.batch_size,
        num_workers=loader_workers(cfg.num_workers, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))),
        title=f"PCA: {origin['dataset']}",
    )
    with distributed.raise_on_all_ranks():
        if components:
            write_components(path, components, origin | {"components": dim})
            log.info("It is kept in %s", path)
