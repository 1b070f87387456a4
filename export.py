"""Write a model as files that run without torch, each measured before it is kept (docs/deploy.md).

python export.py ckpt=runs/x/best.ckpt
python export.py ckpt=x.ckpt precision=[fp32,int8] calibration=camvid verify=[gardens_point,pitts30k_val]
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from vpr.cli.app import app


@app(config_name="export")
def main(cfg: DictConfig) -> None:
    from rich.console import Console

    from vpr.catalog.resolve import calibration_images, labelled_sets
    from vpr.cli.compose import plain
    from vpr.cli.rules import words_of
    from vpr.data.loading import loader_workers
    from vpr.errors import ConfigError
    from vpr.export.exporter import Bounds, Exporter
    from vpr.export.quantise import spread
    from vpr.retrieval.evaluate import EvalOptions
    from vpr.retrieval.extractor import Extractor

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
    default = Path(cfg.ckpt).parent / "export" / f"{extractor.name}-{extractor.digest[:8]}"
    report = exporter.write(Path(cfg.out) if cfg.out else default)
    console = Console()
    for line in report.lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.refused:
        raise ConfigError(" ".join(report.refused))


if __name__ == "__main__":
    main()
