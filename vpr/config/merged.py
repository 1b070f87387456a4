"""What several merged data sets say together: each speaks for its own sets, by name, so that none overrules another."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vpr.errors import ConfigError


def random_weights_ok(dataset: DictConfig) -> bool:
    """Tell whether all training and evaluation sets are for trying things out, so that random weights will do."""
    names = [name for part in ("train", "weak", "eval") for name in dataset.get(part) or {}]
    allowed = dataset.get("random_weights_ok") or {}
    return bool(names) and all(allowed.get(name, False) for name in names)


def common_image_size(*, _root_: Any) -> list[int]:
    """Return the [height, width] that all training sets are used at; an empty list where there is no such size.

    Stands in conf/train.yaml as `${image_size:}`; the rule below explains an empty list.
    """
    sizes = [list(size) for size in _sizes(_root_).values()]
    return sizes[0] if sizes and all(size == sizes[0] for size in sizes) else []


def image_size_is_known(cfg: DictConfig) -> None:
    size = cfg.image.size
    if size is not None and len(size) == 2 and min(size) >= 1:
        return
    example = "Type for example 'image.size=[320,320]' (with the quotes)."
    if OmegaConf.is_interpolation(cfg.image, "size"):
        sizes, names = _sizes(cfg), ", ".join(cfg.dataset.get("train") or cfg.dataset.weak)
        if not sizes:
            raise ConfigError(
                f"image.size: the training sets ({names}) name no dataset.image_size: {{name: [h, w]}}. {example}"
            )
        found = ", ".join(f"{name} {list(size)}" for name, size in sizes.items())
        raise ConfigError(f"image.size: the training sets are used at different sizes ({found}). {example}")
    raise ConfigError(f"image.size={size}: it must be [height, width] in pixels. {example}")


def _sizes(cfg: Any) -> dict[str, Any]:
    sizes = OmegaConf.select(cfg, "dataset.image_size")
    return sizes if OmegaConf.is_dict(sizes) else {}
