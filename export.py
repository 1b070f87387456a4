"""Write a model as files that run without torch, each measured before it is kept (docs/deploy.md).

python export.py ckpt=runs/x/best.ckpt
python export.py ckpt=x.ckpt precision=[fp32,int8] calibration=camvid verify=[gardens_point,pitts30k_val]
python export.py ckpt=x.ckpt index=runs/indexes/map-0123abcd calibrate=toycity out=bundle (a place bundle)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from vpr.cli.app import app

if TYPE_CHECKING:
    from vpr.export.bundle import PlaceBundle
    from vpr.retrieval.extractor import Extractor


@app(config_name="export")
def main(cfg: DictConfig) -> None:
    from vpr.catalog.resolve import calibration_images, labelled_sets
    from vpr.cli.compose import plain
    from vpr.cli.export_rules import words_of
    from vpr.data.loading import loader_workers
    from vpr.errors import ConfigError
    from vpr.export.exporter import Bounds, Exporter
    from vpr.export.quantise import spread
    from vpr.pages.screen import Screen
    from vpr.retrieval.evaluate import EvalOptions
    from vpr.retrieval.extractor import Extractor

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    console = Screen()
    extractor, precisions = Extractor.load(cfg.ckpt, "cpu"), words_of(cfg.precision)
    int8 = "int8" in precisions
    photos = calibration_images(cfg, extractor.record) if int8 else []
    names = ["toycity"] if int8 and cfg.verify is None else words_of(cfg.verify)
    exporter = Exporter(
        extractor,
        precisions,
        size=tuple(cfg.size) if cfg.size else None,
        dynamic_size=cfg.dynamic_size,
        bounds=Bounds(**plain(cfg.bound)),
        calibration=[photos[row] for row in spread(len(photos), cfg.calibration_images)],
        sets=labelled_sets(names, cfg.paths.data, "verify"),
        options=EvalOptions(batch_size=cfg.batch_size, num_workers=loader_workers(cfg.num_workers)),
    )
    bundle = open_bundle(cfg, extractor, say) if cfg.index.folder else None
    default = Path(cfg.ckpt).parent / "export" / f"{extractor.name}-{extractor.digest[:8]}"
    report = exporter.write(Path(cfg.out) if cfg.out else default, bundle)
    for line in report.lines:
        say(line)
    if report.refused:
        raise ConfigError(" ".join(report.refused))


def open_bundle(cfg: DictConfig, extractor: Extractor, say: Callable[[str], None]) -> PlaceBundle:
    """Open the index of a place bundle, and the calibration that `calibrate` names, or the only one of the model."""
    from vpr.evaluation.calibrate import calibration
    from vpr.export.bundle import PlaceBundle
    from vpr.retrieval.calibration import calibrations_of

    bundle = PlaceBundle.open(cfg.index.folder, extractor.digest, cfg.ckpt)
    folder = Path(cfg.paths.runs) / "calibrations"
    if cfg.calibrate:
        return replace(bundle, calibrated=calibration(cfg.calibrate, folder, extractor, data=cfg.paths.data))
    kept = calibrations_of(folder, extractor.digest)
    if len(kept) > 1:
        names = ", ".join(map(str, kept))
        say(f"There are {len(kept)} calibrations of this model ({names}): none is taken. Type calibrate=FILE.")
    elif kept:
        ((path, calibrated),) = kept.items()
        say(f"Confidence is that of {path}. {calibrated.message()}")
        return replace(bundle, calibrated=calibrated)
    return bundle


if __name__ == "__main__":
    main()
