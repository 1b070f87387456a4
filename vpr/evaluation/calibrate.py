"""Calibration of a model's confidence on a set of conf/dataset, fitted once and kept as a json."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hydra.errors import HydraException
from omegaconf import OmegaConf

from vpr.catalog.resolve import read_entry
from vpr.cli.app import first_of_ours
from vpr.cli.datasets import data_sets, dataset_names
from vpr.cli.hints import did_you_mean
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataAbsent
from vpr.retrieval.calibration import WIDTH, Calibrated, calibrate, read_calibration, read_facts, write_calibration
from vpr.retrieval.evaluate import EvalOptions, evaluate
from vpr.retrieval.extractor import Extractor

log = logging.getLogger(__name__)

OWN_IMAGES, POSITIONS = "image_folder", "positions.csv"


def calibration(
    name: str,
    folder: Path,
    extractor: Extractor,
    *,
    data: str = "data",
    overrides: Sequence[str] = (),
    precision: float = 0.95,
    batch_size: int = 32,
    num_workers: int = 0,
) -> Calibrated:
    """Return the calibration of a model on a labelled set, fitted now or before.

    The set goes through the ordinary evaluation, and the queries that its protocol counts are learned from.

    Args:
        name: of a set in conf/dataset; a folder of images as `image_folder` reads it, with positions in EXIF or in
            a positions.csv there; or the path of a `.json` that this function wrote.
        folder: where `calibration_<set>_<8 hex of the model>.json` is, or comes to be.
        extractor: the model; the same one with another precision is calibrated anew.
        data: `paths.data`, below which most sets lie.
        overrides: of the set, as on a command line: `dataset.eval.image_folder.root=/my/photos`.
        precision: the share of accepted answers that should be right; another one than before needs no new fit.

    Raises:
        ConfigError: no such set, several sets under this name, one without evaluation, or no share.
        CheckpointError: the json is damaged, or of another model.
        DataError: the set is not there or cannot be read, its ground truth is unknown, or it has too few queries.
    """
    if not 0 < precision <= 1:
        raise ConfigError(
            f"{precision:g} is not a share of accepted answers that should be right: give one above 0 and at most 1."
        )
    model = extractor.digest
    if name.endswith(".json"):
        return read_calibration(Path(name), model).with_precision(precision)
    if name not in dataset_names() and os.path.isdir(name):
        name, overrides = OWN_IMAGES, [*overrides, *_of_folder(Path(name))]
    path = folder / f"calibration_{name}_{model[:8]}.json"
    try:
        retrieval_set = _labelled(name, [f"paths.data={data}", *overrides])
    except (DataAbsent, HydraException) as error:
        absent = first_of_ours(error)
        if not (isinstance(absent, DataAbsent) and path.is_file()):
            raise
        log.warning("%s The calibration that was made of it before is used.", absent)
        return read_calibration(path, model).with_precision(precision)
    made_of = {"data": _digest(retrieval_set), "numbers": extractor.precision}
    if path.is_file() and read_facts(path).items() >= made_of.items():
        return read_calibration(path, model).with_precision(precision)
    options = EvalOptions(ks=[1, WIDTH], batch_size=batch_size, num_workers=num_workers)
    result = evaluate(extractor, retrieval_set, options=options)
    calibrated = calibrate(result, precision)
    write_calibration(path, calibrated, {"model": model, "dataset": name, **made_of, "counts": result.counts})
    log.info("The calibration is kept in %s", path)
    return calibrated


def _of_folder(folder: Path) -> list[str]:
    """Return the overrides by which a folder of images is read as the set of the user's own."""
    settings = {"root": folder.absolute()} | ({"csv": POSITIONS} if (folder / POSITIONS).is_file() else {})
    return [f"dataset.eval.{OWN_IMAGES}.{key}={value}" for key, value in settings.items()]


def _labelled(name: str, overrides: Sequence[str]) -> RetrievalSet:
    names = dataset_names()
    if name not in names:
        raise ConfigError(
            f"calibrate={name}: there is no data set {name} in conf/dataset, and it is neither a folder nor a .json."
            f"{did_you_mean(name, names)}"
        )
    entries = data_sets([name], overrides).entries
    broken = [entry.error for entry in entries if entry.error]
    if broken:
        raise ConfigError(f"calibrate={name}: {broken[0]}")
    sets = [entry for entry in entries if entry.part == "eval"]
    if len(sets) != 1:
        names_held = ", ".join(entry.name for entry in sets)
        fault = f"it holds {names_held}" if sets else "it has no evaluation set"
        raise ConfigError(f"calibrate={name}: {fault}. Name one labelled set, for example calibrate=toycity.")
    if absent := OmegaConf.missing_keys(sets[0].node):
        raise ConfigError(
            f"calibrate={name}: {sorted(absent)[0]} is not given. Name another labelled set, or a "
            "folder with database/, queries/ and positions: calibrate=/my/photos."
        )
    return read_entry(sets[0].node, sets[0].key)


def _digest(retrieval_set: RetrievalSet) -> str:
    """Return a SHA-256 of a set's protocol, files and ground truth."""
    total = hashlib.sha256(repr(retrieval_set.protocol).encode())
    for paths in (retrieval_set.database, retrieval_set.queries):
        total.update(b"\0".join(map(os.fsencode, paths)) + b"\n")
    for rows in retrieval_set.positives:
        total.update(b"%d " % len(rows) + np.asarray(rows, "<i8").tobytes())
    return total.hexdigest()
