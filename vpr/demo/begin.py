"""From a configuration of `demo.py` to a session: the model is loaded, the index follows its photos."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vpr import checkpoint
from vpr.api import read_content
from vpr.data.formats.layout import require_folder
from vpr.data.workers import loader_workers
from vpr.demo import about
from vpr.demo.database import DATABASE, index_folder, open_index
from vpr.demo.heat import heat_maker
from vpr.demo.session import Session
from vpr.engine.calibrate import calibration
from vpr.engine.gallery import model_name
from vpr.retrieval.describe import describe_fn, pick_device
from vpr.retrieval.index import path_describer
from vpr.retrieval.index_kinds import Exact

if TYPE_CHECKING:
    from omegaconf import DictConfig

SETTINGS = ("query", "positions", "k", "calibrate", "accept", "every", "heat", "watch", "batch_size", "precision")
COMPARED = 1000  # queries that are searched exactly, too


def begin(cfg: DictConfig, kind: Exact, say: Callable[[str], None]) -> Session:
    """Return a session that has no answers yet.

    Args:
        kind: how the index is searched, `cfg.index.kind`.
        say: shows a sentence.

    Raises:
        VPRError: as of `vpr.api.load`, `open_index` and `calibration`.
    """
    device, workers = pick_device(cfg.device), loader_workers(cfg.num_workers)
    content = read_content(cfg.ckpt)
    describer = checkpoint.unpack(content, cfg.ckpt).to(device)
    describe = describe_fn(describer, device, cfg.precision)
    describe_paths = path_describer(describe, describer.preprocess, cfg.batch_size, workers)
    model = checkpoint.digest(content)
    require_folder(cfg.database, DATABASE)  # before a calibration, which comes before hours of describing
    known, reliability = None, ""
    if cfg.calibrate:
        known = calibration(
            cfg.calibrate,
            Path(cfg.paths.runs) / "calibrations",
            describer,
            model,
            data=cfg.paths.data,
            precision=cfg.accept,
            numbers=cfg.precision,
            batch_size=cfg.batch_size,
            num_workers=workers,
        )
    index, change = open_index(
        cfg.index.folder or index_folder(cfg.database, cfg.paths.runs),
        cfg.database,
        cfg.positions,
        describe_paths,
        describer.dim,
        model,
        cfg.ckpt,
        kind,
        cfg.index.rebuild,
    )
    say(about.sentence(index, change))
    if known:
        from vpr.demo.reliability_plot import reliability_html, write_png  # matplotlib, a second that others need not

        say(known.sentence())
        reliability = reliability_html(known)
        write_png(known, Path(cfg.out) / "reliability.png")
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    settings = {key: cfg[key] for key in SETTINGS} | {"device": str(device)}
    return Session(
        index,
        describe_paths,
        cfg.k,
        Path(cfg.out),
        f"Places of {Path(os.path.abspath(cfg.query)).name}",
        about.facts(index, change, model_name(content, cfg.ckpt), when),
        about.plain(index, change, settings, when, known.calibration.plain() if known else None),
        known.calibration if known else None,
        reliability,
        heat_maker(describer, device) if cfg.heat else None,
        cfg.page_queries,
        cfg.watch,
        0 if cfg.watch else COMPARED,  # not for each photo that comes
    )
