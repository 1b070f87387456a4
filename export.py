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
    from rich.console import Console

    from vpr.cli.compose import plain
    from vpr.export.exporter import Bounds, Exporter
    from vpr.retrieval.extractor import Extractor

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    console = Console()
    extractor = Extractor.load(cfg.ckpt, "cpu")
    exporter = Exporter(
        extractor,
        size=tuple(cfg.size) if cfg.size else None,
        dynamic_size=cfg.dynamic_size,
        bounds=Bounds(**plain(cfg.bound)),
    )
    bundle = open_bundle(cfg, extractor, say) if cfg.index else None
    out = Path(cfg.out) if cfg.out else Path(cfg.ckpt).parent / "export" / f"{extractor.name}-{extractor.digest[:8]}"
    for line in exporter.write(out, bundle):
        say(line)


def open_bundle(cfg: DictConfig, extractor: Extractor, say: Callable[[str], None]) -> PlaceBundle:
    """Open the index of a place bundle, and the calibration that `calibrate` names, or the only one of the model."""
    from vpr.evaluation.calibrate import calibration
    from vpr.export.bundle import PlaceBundle
    from vpr.retrieval.calibration import calibrations_of

    bundle = PlaceBundle.open(cfg.index, extractor.digest, cfg.ckpt)
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
