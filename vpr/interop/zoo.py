"""Table of published weights by name: `ckpt=megaloc`, `vpr.load("megaloc")` and `distillation/teacher=megaloc` read it.

A name stands for a file in the cache, which is downloaded at first use. Weights are read, and nobody's code is run. An
entry says what its authors say: where the file lies, under which licence their repository stands. Where they publish
no checksum there is none, and the one of the file that came is printed.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from vpr.errors import CheckpointError
from vpr.terminal import say


class Weights(NamedTuple):
    """Published weights.

    Attributes:
        file: its name in the cache.
        url: direct address; empty where there is only a page that a person must open.
        page: of the project, which links the file.
        licence: of the project's repository; empty where it has none.
        sha256: as published; empty where none is.
    """

    file: str
    url: str
    page: str
    licence: str = ""
    sha256: str = ""


GITHUB = "https://github.com"
SALAD, BOQ, MEGALOC = f"{GITHUB}/serizba/salad", f"{GITHUB}/amaralibey/Bag-of-Queries", f"{GITHUB}/gmberton/MegaLoc"
MIXVPR = f"{GITHUB}/amaralibey/MixVPR"
SIZES = {
    "CosPlace": {
        **{"VGG16": (64, 128, 256, 512), "ResNet18": (32, 64, 128, 256, 512)},
        **dict.fromkeys(("ResNet50", "ResNet101", "ResNet152"), (32, 64, 128, 256, 512, 1024, 2048)),
    },
    "EigenPlaces": {
        **{"VGG16": (512,), "ResNet18": (256, 512)},
        **dict.fromkeys(("ResNet50", "ResNet101"), (128, 256, 512, 1024, 2048)),
    },
}
"""Dimensions in which each backbone of these two is published."""


def _of_sizes(project: str) -> dict[str, Weights]:
    page = f"{GITHUB}/gmberton/{project}"
    table: dict[str, Weights] = {}
    for backbone, dims in SIZES[project].items():
        for dim in dims:
            file = f"{backbone}_{dim}_{project.lower()}.pth"
            url = f"{page}/releases/download/v1.0/{file}"
            table[f"{project}_{backbone}_{dim}".lower()] = Weights(file, url, page, "MIT")
    return table


PUBLISHED: dict[str, Weights] = {
    "salad": Weights("dino_salad.ckpt", f"{SALAD}/releases/download/v1.0.0/dino_salad.ckpt", SALAD, "GPL-3.0"),
    "cliquemining": Weights("cliquemining.ckpt", "", f"{GITHUB}/serizba/cliquemining", "GPL-3.0"),
    "boq_dinov2": Weights("dinov2_12288.pth", f"{BOQ}/releases/download/v1.0/dinov2_12288.pth", BOQ, "MIT"),
    "boq_resnet50": Weights("resnet50_16384.pth", f"{BOQ}/releases/download/v1.0/resnet50_16384.pth", BOQ, "MIT"),
    "megaloc": Weights(
        "megaloc.safetensors", "https://huggingface.co/gberton/MegaLoc/resolve/main/model.safetensors", MEGALOC, "MIT"
    ),
    "mixvpr": Weights("resnet50_MixVPR_4096_channels(1024)_rows(4).ckpt", "", MIXVPR),
    **_of_sizes("CosPlace"),
    **_of_sizes("EigenPlaces"),
}
SHORT = {"boq": "boq_dinov2", "cosplace": "cosplace_resnet50_2048", "eigenplaces": "eigenplaces_resnet50_2048"}
"""Shorter names of the largest models."""


def cache_folder() -> Path:
    """Return the folder of downloaded weights: VPR_CACHE, or `vpr` in XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("VPR_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "vpr").expanduser()


def is_published(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` is a name in the table, and no file of that name is there."""
    name = os.fspath(path)
    return not Path(name).exists() and SHORT.get(name, name) in PUBLISHED


def local_file(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path or a name of the table stands for; one that is not in the cache is downloaded.

    Raises:
        CheckpointError: it cannot be downloaded, or is not what was published; or the path looks like a name and is
            none.
    """
    name = os.fspath(path)
    if is_published(name):
        weights = PUBLISHED[SHORT.get(name, name)]
        file = cache_folder() / weights.file
        return file if file.is_file() else _fetch(name, weights, file)
    given = Path(name).expanduser()
    if not given.exists() and given.parent == Path() and not given.suffix:
        near = difflib.get_close_matches(name.lower(), [*PUBLISHED, *SHORT], 3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise CheckpointError(
            f"{name}: there is no such file, and no published model of this name.{hint} Known are "
            f"{', '.join([*SHORT, *(n for n in PUBLISHED if n not in SHORT.values() and n.count('_') < 2)])}, and "
            "cosplace_BACKBONE_DIM and eigenplaces_BACKBONE_DIM, e.g. cosplace_resnet18_512."
        )
    return given


def _fetch(name: str, weights: Weights, file: Path) -> Path:
    by_hand = f"put it at {file}, or give its path instead of the name {name}"
    if not weights.url:
        raise CheckpointError(
            f"{name}: {weights.page} links its file for a person to download, and gives no direct address. Get it "
            f"there, and {by_hand}."
        )
    from filelock import FileLock

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f"{file.name}.lock")):
            if not file.is_file():
                _download(name, weights, file)
    except CheckpointError:
        raise
    except Exception as error:  # urllib, ssl and torch each have their own way to say that a host cannot be reached
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{name}: {weights.url} cannot be downloaded ({reason}). Without a network, fetch it on another machine, "
            f"and {by_hand}."
        ) from error
    return file


def _download(name: str, weights: Weights, file: Path) -> None:
    from torch.hub import download_url_to_file

    from vpr.interop.published import read_foreign
    from vpr.models.weights import TIMEOUT_S, socket_timeout

    licence = weights.licence or "none is given"
    say(f"{name}: downloading {weights.url} (licence of {weights.page}: {licence}) to {file}")
    part = file.with_name(f"part-{file.name}")
    try:
        with socket_timeout(TIMEOUT_S):
            download_url_to_file(weights.url, str(part), weights.sha256 or None, progress=sys.stderr.isatty())
        read_foreign(part)  # a page with an error is no model
        if not weights.sha256:
            with part.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            say(f"{name}: no checksum is published for it; the file that came has SHA-256 {digest}")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
