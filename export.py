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

    from vpr.cli.compose import plain
    from vpr.export.exporter import Bounds, Exporter
    from vpr.retrieval.extractor import Extractor

    extractor = Extractor.load(cfg.ckpt, "cpu")
    exporter = Exporter(
        extractor,
        size=tuple(cfg.size) if cfg.size else None,
        dynamic_size=cfg.dynamic_size,
        bounds=Bounds(**plain(cfg.bound)),
    )
    out = Path(cfg.out) if cfg.out else Path(cfg.ckpt).parent / "export" / f"{extractor.name}-{extractor.digest[:8]}"
    console = Console()
    for line in exporter.write(out):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
