"""Rules of `export.py`, and of exported models where they are used, as those of `vpr.cli.rules`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vpr.cli.hints import did_you_mean
from vpr.errors import ConfigError

EXPORT_PRECISIONS = ("fp32", "fp16", "int8")


def exported_models_compute_as_they_are(cfg: DictConfig) -> None:
    exported = [key for key in ("ckpt", "gallery_ckpt", "agree_with") if str(cfg.get(key)).lower().endswith(".onnx")]
    if not exported:
        return
    model = f"{exported[0]}={cfg[exported[0]]}"
    if cfg.precision != "32-true":
        raise ConfigError(
            f"precision={cfg.precision} with {model}: an exported model computes as it was exported. Type "
            "precision=32-true."
        )
    if cfg.device not in ("auto", "cpu"):
        raise ConfigError(
            f"device={cfg.device} with {model}: an exported model is run on the CPU. Type device=auto; a checkpoint "
            "beside it uses a GPU then."
        )
    pca = cfg.get("pca")
    if "ckpt" in exported and pca and (pca.dim is not None or pca.file is not None):
        raise ConfigError(
            f"pca with {model}: an exported model ends as it was exported. Put PCA behind its checkpoint (evaluate.py "
            f"ckpt=CHECKPOINT pca.dim={pca.dim or 512} pca.save=OUT.ckpt), and export OUT.ckpt."
        )


def export_is_installed(cfg: DictConfig) -> None:
    absent = [name for name in ("onnx", "onnxruntime", "onnxslim") if find_spec(name) is None]
    if absent:
        raise ConfigError(f'export.py needs {", ".join(absent)}. Type pip install "vpr-distill[export]".')


def precisions_are_known(cfg: DictConfig) -> None:
    for precision in words_of(cfg.precision):
        if precision not in EXPORT_PRECISIONS:
            hint = did_you_mean(str(precision), EXPORT_PRECISIONS)
            raise ConfigError(
                f"precision={precision}: it must be one of {', '.join(EXPORT_PRECISIONS)}, or several.{hint}"
            )


def int8_can_be_measured(cfg: DictConfig) -> None:
    int8 = "int8" in words_of(cfg.precision)
    if int8 and cfg.verify is not None and not words_of(cfg.verify):
        raise ConfigError(
            "verify=[] with precision=int8: an int8 file is kept only where its recall was measured. Leave verify out, "
            "or name a labelled set: verify=[gardens_point]."
        )
    if not int8 and cfg.calibration is not None:
        raise ConfigError(
            f"calibration={cfg.calibration} with precision={cfg.precision}: only int8 is calibrated. Type "
            "precision=int8, or leave calibration out."
        )


def bundle_is_complete(cfg: DictConfig) -> None:
    if cfg.calibrate is not None and cfg.index.folder is None:
        raise ConfigError(
            f"calibrate={cfg.calibrate} without index: a confidence is that of matches in a place index. Type "
            "index=runs/indexes/NAME, or leave calibrate out."
        )
    if cfg.index.folder is not None and (cfg.size is not None or cfg.dynamic_size):
        key = "size" if cfg.size is not None else "dynamic_size"
        raise ConfigError(
            f"{key}={cfg[key]} with index={cfg.index.folder}: the photos of an index are described at the size of the "
            f"checkpoint. Leave {key} out."
        )


def export_size_is_a_size(cfg: DictConfig) -> None:
    if cfg.size is not None and not (len(cfg.size) == 2 and min(cfg.size) >= 1):
        raise ConfigError(f"size={cfg.size}: it must be [height, width] in pixels. Type for example 'size=[240,320]'.")


def words_of(value: Any) -> list[Any]:
    """Return the values of a key that takes one or several; none of null."""
    return list(value) if OmegaConf.is_list(value) else [] if value is None else [value]
