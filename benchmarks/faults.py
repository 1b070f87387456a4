"""Faults on purpose, a thousand of them: whatever is damaged, killed, full or hostile is named, or the answer is right.

    python benchmarks/faults.py [--only checkpoints images] [--share 0.1] [--seed 0]

Prints a table of what was tried and how it ended, and the first of each kind that did not end well; exits with 1 if
there is any. It takes minutes on one core, no network, no data set and no GPU, and writes below TMPDIR alone (and into
/dev/shm, as another file system). Runs that are killed, interrupted or denied a disk are forked from this process.

| column | meaning |
|---|---|
| named | a message that the user can act on, or exit code 2 (130 after a signal) |
| right | the answer is the one without the fault |
| wrong | another answer, without a word |
| traceback | an error that is none of ours |
| hang | no end within a minute |
| lost | work that had been saved is gone, or half-written |
| executed | something in a hostile file was run |
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import pickle
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.io import savemat

sys.path.insert(0, str(Path(__file__).parents[1]))

from hydra.core.hydra_config import HydraConfig

from vpr import checkpoint
from vpr.api import load
from vpr.cli.app import run, user_error
from vpr.cli.checks import check_targets
from vpr.cli.compose import compose_words
from vpr.cli.rules import check_rules
from vpr.cli.sweeps.jobs import run_once
from vpr.data.formats import dbstruct, image_folder, npy_lists, pairs, place_lists
from vpr.data.images import decode
from vpr.demo.answers import Query
from vpr.demo.answers import answer as ask
from vpr.demo.database import open_index
from vpr.distill.descriptor_cache import DescriptorCache
from vpr.errors import VPRError
from vpr.evaluation.remeasure import remeasure
from vpr.interop.recognise import convert
from vpr.models.cluster_file import ClusterFile, read_clusters, write_clusters
from vpr.models.describer import build_describer
from vpr.report.runs import find
from vpr.retrieval.pca import PCA
from vpr.training.run import fit

OUTCOMES = ("named", "right", "wrong", "traceback", "hang", "lost", "executed")
GOOD = ("named", "right")
PATIENCE = 60  # seconds
PARTS = {
    "backbone": {
        "_target_": "vpr.models.backbones.resnet.ResNet",
        **{"name": "resnet18", "weights": "none", "crop": [3, 4]},
    },
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
}
WORDS = (
    *("dataset=[places_folder,image_folder]", "backbone=resnet18", "backbone.weights=none", "backbone.crop=[3,4]"),
    *("agg=gem", "logger=csv", "image.size=[48,48]", "batch.places=4", "batch.images_per_place=2", "name=tiny"),
    *("trainer=cpu", "trainer.max_epochs=2", "trainer.num_workers=0", "trainer.log_every=1"),
    *("trainer.checkpoint_every.steps=1", "dataset.eval.image_folder.csv=positions.csv"),
)


class Faults:
    """Book of what was tried: outcomes by class, and the first of each kind that did not end well."""

    def __init__(self, share: float, folder: Path, photos: Path, seed: int) -> None:
        self.share, self.folder, self.photos = share, folder, photos
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.examples: dict[tuple[str, str], str] = {}
        self.random = random.Random(seed)
        self.marker = folder / "executed"

    def many(self, count: int) -> range:
        """Return the numbers of the faults of a class, fewer with --share."""
        return range(max(1, round(count * self.share)))

    def note(self, kind: str, outcome: str, what: str = "") -> None:
        """Count an outcome."""
        if self.marker.exists():
            outcome = "executed"
            self.marker.unlink()
        self.counts[kind][outcome] += 1
        if outcome not in GOOD:
            self.examples.setdefault((kind, outcome), what)

    def attempt(self, kind: str, what: str, work: Callable[[], Any], right: Callable[[Any], bool]) -> None:
        """Do what a fault is in the way of, and note whether it is named, or its result is right."""
        try:
            with alarm():
                result = work()
            self.note(kind, "right" if right(result) else "wrong", what)
        except TimeoutError:
            self.note(kind, "hang", what)
        except Exception as error:
            last = traceback.format_exc(limit=-2).strip()
            self.note(kind, "named" if user_error(error) else "traceback", f"{what}: {last}")

    def folder_for(self, name: str) -> Path:
        """Return a new, empty folder."""
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        path.chmod(0o777)
        return path


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """Raise TimeoutError where the block takes longer than PATIENCE."""

    def ring(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def draw_photos(root: Path) -> None:
    """Draw `train` with 8 places of 4 views, and `database` and `queries` of 8 other places with positions.csv."""
    rng = np.random.default_rng(0)
    rows = ["path,lat,lon"]
    for part in ("train", "test"):
        for place in range(8):
            pattern = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            for view in range(4):
                image = cv2.resize(pattern, (48, 48), interpolation=cv2.INTER_LINEAR)
                image = cv2.add(image, rng.integers(0, 30, image.shape, dtype=np.uint8))
                name = f"train/place{place}/{view}.jpg"
                if part == "test":
                    name = f"{'queries' if view else 'database'}/{place}-{view}.jpg"
                    rows.append(f"{name},{48 + place / 100},16.5")
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / name), image)
                if part == "train":
                    walk = root / "walk" / ("gallery" if view % 2 else "queries") / f"@{100 * place + view:04d}@0@.jpg"
                    walk.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(root / name, walk)
    (root / "positions.csv").write_text("\n".join(rows) + "\n")


def damaged(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return a copy of a file that is cut, or has other bits, zeros, or bytes too many or too few; and its name."""
    way, at = rng.randrange(6), rng.randrange(max(1, len(data)))
    if way == 0:
        return f"cut at {at}", data[:at]
    if way == 1:
        return f"bit {at}", data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if way == 2:
        return f"zeros from {at}", data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]
    if way == 3:
        return f"noise at {at}", data[:at] + rng.randbytes(16) + data[at + 16 :]
    if way == 4:
        return f"16 bytes less at {at}", data[:at] + data[at + 16 :]
    return "a page of a login", b"<html><body>Please log in.</body></html>"


class Hostile:
    """Object whose pickle runs a command where it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


# Files that are damaged


def checkpoints(faults: Faults) -> None:
    """Load checkpoints that are damaged."""
    torch.manual_seed(0)
    path = faults.folder_for("checkpoints") / "best.ckpt"
    checkpoint.save(path, build_describer(**PARTS, image={"size": [48, 48]}), PARTS)
    data, digest = path.read_bytes(), checkpoint.digest(checkpoint.read(path))
    for _ in faults.many(200):
        what, copy = damaged(data, faults.random)
        path.write_bytes(copy)
        faults.attempt("checkpoint", what, lambda: checkpoint.read(path), lambda c: checkpoint.digest(c) == digest)


def hostile(faults: Faults) -> None:
    """Open files with pickles that run a command, as each reader that takes such a file."""
    folder = faults.folder_for("hostile")
    shutil.copytree(faults.photos, folder, dirs_exist_ok=True)
    evil = Hostile(faults.marker)
    contents: list[Any] = [evil, {"weights": evil}, [evil], {"state_dict": {"a": evil}}, {"config": {"a": evil}}]
    readers: dict[str, Callable[[Path], Any]] = {
        "checkpoint": checkpoint.read,
        "published": convert,
        "load": load,
        "npy list": npy_lists.load_names,
        "mat": dbstruct.read_mat,
        "ground truth": partial(pairs.read_positives, database=8, queries=24),
        "pca": PCA.read,
        "clusters": read_clusters,
        "image": decode,
    }
    for number in faults.many(12):
        content = contents[number % len(contents)]
        path = folder / f"hostile{number}.npy"
        if number % 3 == 0:
            torch.save(content, path)
        elif number % 3 == 1:
            path.write_bytes(pickle.dumps(content, protocol=number % 5))
        else:
            np.save(path, np.array([content], object), allow_pickle=True)
        for name, read in readers.items():
            faults.attempt("hostile file", f"{name} {number}", partial(read, path), lambda _: False)


def hostile_configs(faults: Faults) -> None:
    """Load checkpoints whose configuration names other code than ours, is endless, or holds what is no text."""
    path = faults.folder_for("hostile") / "best.ckpt"
    torch.manual_seed(0)
    describer = build_describer(**PARTS, image={"size": [48, 48]})
    command = {"_target_": "os.system", "command": f"touch '{faults.marker}'"}
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    deep: Any = "end"
    for _ in range(400):
        deep = {"a": deep}
    nodes: list[Any] = [command, {"_target_": "subprocess.run", "args": ["touch", str(faults.marker)]}, itself, deep]
    nodes += ["x" * 10**6, 10**400, float("nan"), b"\xff", None, [], {"_target_": "vpr"}, {1: 2}, "\x1b[2J\x1b]0;x\x07"]
    nodes += [{**PARTS["backbone"], "name": "../../etc/passwd"}, {**PARTS["backbone"], "crop": [10**9]}]
    for number in faults.many(4 * len(nodes)):
        node, key = nodes[number // 4 % len(nodes)], ("backbone", "agg", "image", "extra")[number % 4]
        content = checkpoint.pack(describer, PARTS)
        content["config"] = {**content["config"], key: node}
        torch.save(content, path)
        what = f"{key}={str(node)[:60]!r}"
        faults.attempt("hostile config", what, partial(checkpoint.load, path), as_it_was(describer))


def as_it_was(describer: torch.nn.Module) -> Callable[[torch.nn.Module], bool]:
    """Tell whether a network has the weights of another one, whatever else its file says."""
    state = describer.state_dict()
    return lambda loaded: all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def lists(faults: Faults) -> None:
    """Read lists and ground truth of published sets that are damaged."""
    folder = faults.folder_for("lists")
    names = [f"queries/{number}.jpg" for number in range(24)]
    positions = np.arange(48.0).reshape(2, 24)
    struct = {"dbImageFns": np.array(names, object), "qImageFns": np.array(names, object), "posDistThr": 25.0}
    struct |= {"utmDb": positions, "utmQ": positions, "numImages": 24, "numQueries": 24}
    savemat(folder / "a.mat", {"dbStruct": struct}, do_compression=True)
    np.save(folder / "names.npy", names)
    truth = np.empty(24, object)
    truth[:] = [np.arange(number % 8) for number in range(24)]
    np.save(folder / "truth.npy", truth, allow_pickle=True)
    readers: dict[str, Callable[[Path], Any]] = {
        "a.mat": dbstruct.read_mat,
        "names.npy": npy_lists.load_names,
        "truth.npy": partial(pairs.read_positives, database=24, queries=24),
    }
    for name, read in readers.items():
        # A .mat has sums of what it holds; of an .npy other names cannot be told.
        known: Callable[[Any], object] = str if name.endswith(".mat") else len
        data, sound = (folder / name).read_bytes(), known(read(folder / name))
        for _ in faults.many(60):
            what, copy = damaged(data, faults.random)
            (folder / name).write_bytes(copy)
            work, kind = partial(read, folder / name), f"list {name[name.index('.') :]}"
            faults.attempt(kind, what, work, lambda result, known=known, sound=sound: known(result) == sound)


def images(faults: Faults) -> None:
    """Decode photos that are damaged."""
    folder = faults.folder_for("images")
    source = cv2.imread(str(faults.photos / "database/0-0.jpg"))
    files = {suffix: cv2.imencode(suffix, source)[1].tobytes() for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff")}
    for number in faults.many(200):
        suffix = list(files)[number % len(files)]
        what, copy = damaged(files[suffix], faults.random)
        path = folder / f"photo{suffix}"
        path.write_bytes(copy)
        faults.attempt("image", f"{suffix} {what}", partial(decode, path), is_image)


def is_image(value: np.ndarray) -> bool:
    """Tell an image as all readers give it; which colours damage leaves cannot be told."""
    return value.ndim == 3 and value.shape[2] == 3 and value.dtype == np.uint8 and value.size > 0


def tables(faults: Faults) -> None:
    """Read csv files that are damaged, or as spreadsheets write them."""
    root = faults.folder_for("tables")
    shutil.copytree(faults.photos, root, dirs_exist_ok=True)
    path, text = root / "positions.csv", (faults.photos / "positions.csv").read_text()
    lines = text.splitlines()
    expected = image_folder.photos(root, "database", path).positions
    ways: dict[str, bytes] = {
        "blanks": text.replace(",", " , ").encode(),
        "capitals": text.replace("path,lat,lon", "PATH,Lat,LON").encode(),
        "byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "CR LF": text.replace("\n", "\r\n").encode(),
        "UTF-16": text.encode("utf-16"),
        "Latin": text.replace("queries/0", "qu\xe9ries/0").encode("latin-1"),
        "semicolons": text.replace(",", ";").encode(),
        "no header": text.split("\n", 1)[1].encode(),
        "header alone": b"path,lat,lon\n",
        "empty": b"",
        "zeros": bytes(1000),
        "NUL": text.replace("database/3", "database/\0").encode(),
        "every row twice": "\n".join([*lines, *lines[1:]]).encode(),
        "quote": text.replace("database/2", '"database/2').encode(),
    }
    for cell in (
        "",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "True",
        "91",
        "-91",
        "48,2",
        "48.2N",
        "'",
        "=1+1",
        "\x1b[2J",
        "None",
    ):
        ways[f"latitude {cell!r}"] = "\n".join(
            [*lines[:3], f"{lines[3].split(',')[0]},{cell},16.5", *lines[4:]]
        ).encode()
    for number in range(60):
        row, width = faults.random.randrange(1, len(lines)), faults.random.randrange(1, 4)
        ways[f"row {number} cut"] = "\n".join([*lines[:row], ",".join(lines[row].split(",")[:width])[:-1]]).encode()
    for what in list(ways)[: len(faults.many(len(ways)))]:
        path.write_bytes(ways[what])
        faults.attempt(
            "csv",
            what,
            lambda: image_folder.photos(root, "database", path).positions,
            lambda result: np.allclose(result, expected, equal_nan=True) or np.isnan(result).any(),
        )
        faults.attempt("csv", what, lambda: place_lists.read_rows(path, ["path", "lat"], text=["path"]), lambda _: True)


def arrays(faults: Faults) -> None:
    """Read HDF5 files of components and of clusters that are damaged."""
    folder = faults.folder_for("arrays")
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    pca = PCA(torch.zeros(8), torch.tensor(basis[:, :4], dtype=torch.float32), torch.tensor([4.0, 3.0, 2.0, 1.0]))
    pca.write(folder / "a.h5", {"model": "m"})
    write_clusters(folder / "c.h5", ClusterFile(np.ones((9, 8), np.float32), np.eye(4, 8, dtype=np.float32), {}))
    for name, read in {"a.h5": PCA.read, "c.h5": read_clusters}.items():
        data, sound = (folder / name).read_bytes(), read(folder / name)
        for _ in faults.many(40):
            what, copy = damaged(data, faults.random)
            (folder / name).write_bytes(copy)
            faults.attempt(
                "HDF5", f"{name} {what}", lambda read=read, name=name: read(folder / name), same_shape(sound)
            )


def same_shape(sound: Any) -> Callable[[Any], bool]:
    """Tell whether something was read of the same shapes; these files have no sums of their numbers."""
    shapes = [np.shape(value) for value in vars_of(sound)]
    return lambda result: [np.shape(value) for value in vars_of(result)] == shapes


def vars_of(value: Any) -> list[Any]:
    """Return the arrays of an object."""
    values = value._asdict() if hasattr(value, "_asdict") else vars(value)
    return [each for each in values.values() if isinstance(each, np.ndarray | torch.Tensor)]


def summaries(faults: Faults) -> None:
    """Compare runs of which one has a damaged summary."""
    folder = faults.folder_for("summaries")
    sound = {"config": {"name": "x", "seed": 0}, "sets": {}, "seconds": 1.0, "epochs": 1, "steps": 1, "monitor": None}
    text = json.dumps(sound | {"digest": "d", "costs": {}})
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "summary.json").write_text(text)
    values = ["null", "[]", "3", '"x"', "{}", "1e999", "NaN", "[" * 5000, '{"config": 3}', text.replace("0", "null")]
    for number in faults.many(60):
        what, copy = damaged(text.encode(), faults.random) if number >= len(values) else ("", b"")
        (folder / "b" / "summary.json").write_bytes(copy if number >= len(values) else values[number].encode())
        faults.attempt("summary.json", what or values[number][:20], lambda: find([folder]), lambda _: True)


def configs(faults: Faults) -> None:
    """Type keys that there are not, and values that cannot be."""
    keys = [*WORDS_OF_KEYS]
    for number in faults.many(150):
        key = keys[number % len(keys)]
        at = faults.random.randrange(len(key))
        word = f"{key[:at]}{key[at + 1 :]}=1" if number % 2 else f"{key}={faults.random.choice(VALUES)}"
        known = word.partition("=")[0] in keys or "=" not in word
        faults.attempt("command line", word, lambda word=word: checked_words([word]), lambda _, known=known: known)


WORDS_OF_KEYS = (
    *("seed", "batch.places", "batch.images_per_place", "batch.shuffle", "trainer.max_epochs", "trainer.devices"),
    *("trainer.accelerator", "trainer.precision", "trainer.eval_every", "trainer.monitor", "trainer.save_top"),
    *("image.size", "optimizer.lr", "agg.out_channels", "backbone.crop", "finetune.interpolate", "pca.dim"),
    *("distillation.task_weight", "supervision.reads", "generation", "evaluate_first", "trainer.log_every"),
)
VALUES = ("abc", "-1", "1e99", "[]", "{}", "null", "[1,2,3]", "nan", "''", "0", "true", "{a:1}", "[[1]]", "../x")


def checked_words(words: Sequence[str]) -> None:
    """Compose and check a run."""
    cfg = compose_words("train", words)
    check_rules(cfg)
    check_targets(cfg)


# The place index


class Colours:
    """Describes a photo by its colours, as an index takes it."""

    dim = 27

    def __init__(self, pause: float = 0) -> None:
        self.pause = pause

    def __call__(self, paths: Sequence[Path], rows: np.ndarray, out: np.ndarray) -> dict[int, str]:
        bad = {}
        for row in rows.tolist():
            try:
                parts = cv2.resize(decode(paths[row]), (3, 3), interpolation=cv2.INTER_AREA).ravel() - 110.0
                out[row] = parts / np.linalg.norm(parts)
            except VPRError as error:
                bad[row] = str(error)
            time.sleep(self.pause)
        return bad


def matches(faults: Faults, folder: Path, pause: float = 0, rebuild: bool = False) -> list[list[str]]:
    """Return the names of the matches of all queries in an index that follows the database."""
    colours = Colours(pause)
    index, _ = open_index(
        folder, faults.photos / "database", None, colours, colours.dim, "m" * 64, "x.ckpt", rebuild=rebuild
    )
    queries = [Query(path.name, path) for path in sorted((faults.photos / "queries").iterdir())]
    answers = ask(index, queries, colours, 3, show=False)
    return [[match.name for match in one.matches] for one in answers]


def indices(faults: Faults) -> None:
    """Ask a place index whose files are damaged."""
    sound = faults.folder_for("index") / "sound"
    expected = matches(faults, sound)
    files = sorted(path.relative_to(sound) for path in sound.rglob("*") if path.is_file() and path.stat().st_size)
    for number in faults.many(120):
        copy = faults.folder_for("index") / "copy"
        shutil.copytree(sound, copy)
        file = files[number % len(files)]
        what, data = damaged((copy / file).read_bytes(), faults.random)
        (copy / file).write_bytes(data)
        name = re_state(str(file))
        faults.attempt("index", f"{name} {what}", lambda copy=copy: matches(faults, copy), lambda m: m == expected)
        shutil.rmtree(copy)


def re_state(name: str) -> str:
    """Return a file's name without that of its state."""
    return name.rpartition("/")[2]


# Processes that are killed, interrupted, or refused by a disk


def forked(function: Callable[[], int], log: Path | None = None) -> int:
    """Call a function in a child of this process, whose output goes to a file, and return the child's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setpgid(0, 0)
        target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for stream in (1, 2):
            os.dup2(target, stream)
        torch.set_num_threads(1)
        code = function()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def ended(child: int, patience: float = PATIENCE) -> int | None:
    """Wait for a child and return its exit code, negative for a signal; None after too long, when it is killed."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def killed(child: int, seconds: float, number: int = signal.SIGKILL) -> int | None:
    """Send a signal to a child after so many seconds, and return its exit code."""
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
    return ended(child)


def train_places(faults: Faults, folder: Path, *words: str) -> int:
    """Run a training as train.py does, and return its exit code."""
    places, sets = faults.photos / "train", faults.photos
    roots = (f"dataset.train.places_folder.root={places}", f"dataset.eval.image_folder.root={sets}")
    argv = ["train.py", *WORDS, *roots, f"hydra.run.dir={folder}", f"paths.runs={folder}/runs", *words]
    return run("train", argv, lambda cfg: fit(cfg, Path(HydraConfig.get().runtime.output_dir)))


def train_tuples(faults: Faults, folder: Path, *words: str) -> int:
    """Run a training on positions alone, which mines its negatives between steps."""
    read = "_target_:vpr.data.formats.utm_folder.photos"
    sides = ",".join(f"{side}:{{{read},root:{faults.photos}/walk,folder:{side}}}" for side in ("queries", "gallery"))
    own = ("dataset=image_folder", "supervision=tuples", "supervision.refresh_every=8", "supervision.tuples=4")
    own += ("supervision.mining.negatives=2", "supervision.mining.pool=10", f"paths.runs={folder}/runs")
    weak = f"+dataset.weak.walk={{_target_:vpr.data.tuples.read,{sides},capture:.+}}"
    argv = ["train.py", *WORDS[1:], *own, f"dataset.eval.image_folder.root={faults.photos}", weak]
    argv += [f"hydra.run.dir={folder}", *words]
    return run("train", argv, lambda cfg: fit(cfg, Path(HydraConfig.get().runtime.output_dir)))


def weights_of(folder: Path) -> str:
    """Return a digest of the last weights of a run, whose file must be whole."""
    return checkpoint.digest(checkpoint.read(folder / "last.ckpt"))


def reference(faults: Faults, train: Callable[..., int]) -> tuple[str, float]:
    """Return the last weights of a run that nothing happens to, and its seconds."""
    folder, began = faults.folder_for("reference"), time.monotonic()
    code = ended(forked(lambda: train(faults, folder), folder / "said"), 5 * PATIENCE)
    if code != 0:
        raise SystemExit(f"A run without a fault ended with {code}:\n{(folder / 'said').read_text()[-2000:]}")
    return weights_of(folder), time.monotonic() - began


def interruptions(faults: Faults) -> None:
    """Kill runs, or send them a signal, at any moment, and go on: the end must be the same."""
    for kind, train in {"places": train_places, "tuples": train_tuples}.items():
        interrupt(faults, kind, train, 24 if kind == "places" else 10)


def interrupt(faults: Faults, kind: str, train: Callable[..., int], count: int) -> None:
    """Kill or signal so many runs of one kind, every second with SIGKILL."""
    expected, seconds = reference(faults, train)
    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    for number in faults.many(count):
        sent = signals[number // 2 % 3] if number % 2 else signal.SIGKILL
        folder = faults.folder_for("run")
        child = forked(lambda folder=folder: train(faults, folder), folder / "said")
        code = killed(child, faults.random.uniform(0.1, 0.95) * seconds, sent)
        note_end(faults, f"training on {kind}, {sent.name}", code, folder / "said", {-signal.SIGKILL, 130, 0})
        if not (folder / "last.ckpt").exists():
            continue
        words = (f"ckpt_path={folder}/last.ckpt",)
        code = ended(forked(lambda folder=folder, words=words: train(faults, folder, *words), folder / "again"))
        try:
            same = code == 0 and weights_of(folder) == expected
        except VPRError:
            same = False
        said = (folder / "again").read_text(errors="replace")[-300:]
        faults.note(f"training on {kind} goes on", "right" if same else "lost", f"exit code {code}: {said}")


def note_end(faults: Faults, kind: str, code: int | None, said: Path, good: set[int]) -> None:
    """Note how a process ended."""
    text = said.read_text(errors="replace") if said.exists() else ""
    if code is None:
        faults.note(kind, "hang", text[-300:])
    elif "Traceback" in text or "Logging error" in text or code not in good:
        faults.note(kind, "traceback", f"exit code {code}: {text[-1500:]}")
    else:
        faults.note(kind, "right" if code <= 0 else "named")


def disks(faults: Faults) -> None:
    """Train, describe and save where files may not grow, or nothing may be written."""
    works: dict[str, Callable[[Path], int]] = {
        "training": lambda folder: train_places(faults, folder),
        "index": lambda folder: exit_code(lambda: matches(faults, folder / "index")),
        "checkpoint": lambda folder: exit_code(lambda: save(folder, 0)),
        "cache": lambda folder: exit_code(lambda: fill_cache(folder, 0)),
    }
    sizes = {"training": (0, 2_000_000), "index": (0, 1500), "checkpoint": (0, 2_000_000), "cache": (0, 60_000)}
    for name, work in works.items():
        for _ in faults.many(12 if name == "training" else 25):
            folder = faults.folder_for("full")
            size = faults.random.randint(*sizes[name])

            def limited(work: Callable[[Path], int] = work, folder: Path = folder, size: int = size) -> int:
                log = os.open(folder / "said", os.O_WRONLY | os.O_CREAT, 0o666)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
                reader = piped(log)
                code = work(folder)
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                reader()
                return code

            note_end(faults, f"full disk, {name}", ended(forked(limited)), folder / "said", {0, 2})
        for _ in faults.many(4):
            folder = faults.folder_for("readonly")
            (folder / "said").touch(0o666)
            (folder / "said").chmod(0o666)
            folder.chmod(0o555)

            def unprivileged(work: Callable[[Path], int] = work, folder: Path = folder) -> int:
                if os.getuid() == 0:  # whom no permission stops
                    os.setgid(65534)
                    os.setuid(65534)
                return work(folder / "new")

            note_end(faults, f"read-only, {name}", ended(forked(unprivileged, folder / "said")), folder / "said", {2})
            folder.chmod(0o777)


def piped(log: int) -> Callable[[], None]:
    """Gather what this process says in a pipe, which no limit of files concerns, and write it to `log` when called."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for stream in (1, 2):
        os.dup2(writing, stream)
    os.close(writing)

    def finish() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os.set_blocking(reading, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(reading, 65536):
                os.write(log, data)

    return finish


def exit_code(work: Callable[[], Any]) -> int:
    """Do something as a script would: 2 and a message, or a traceback."""
    try:
        work()
    except Exception as error:
        message = user_error(error)
        print(message or traceback.format_exc(), file=sys.stderr)
        return 2 if message else 1
    return 0


def save(folder: Path, version: int) -> None:
    """Write a checkpoint whose metrics tell its version."""
    torch.manual_seed(version)
    describer = build_describer(**PARTS, image={"size": [48, 48]})
    checkpoint.save(folder / "best.ckpt", describer, PARTS, {"x@1f": {"R@1": float(version)}})


def fill_cache(folder: Path, pause: float) -> bool:
    """Fill a cache of descriptors, and return whether it was complete before."""
    cache = DescriptorCache(folder, "cache", {"teacher": "a"}, 200, 128)
    if cache.begin():
        return True
    values = cache.attach()
    for row in cache.missing():
        values[row] = expected_row(int(row))
        time.sleep(pause)
    cache.seal({})
    return False


def expected_row(row: int) -> np.ndarray:
    """Return the descriptor of an image of the cache: (128,) of unit norm."""
    numbers = np.random.default_rng(row).normal(size=128)
    return (numbers / np.linalg.norm(numbers)).astype(np.float16)


def kills(faults: Faults) -> None:
    """Kill whoever writes an index, a cache, a checkpoint or an evaluation, and look at what is left."""
    expected = matches(faults, faults.folder_for("index") / "sound")
    for _ in faults.many(40):
        folder = faults.folder_for("killed") / "index"
        child = forked(lambda folder=folder: exit_code(lambda: matches(faults, folder, 0.003)))
        killed(child, faults.random.uniform(0, 0.08))
        faults.attempt(
            "index, kill -9", "index", lambda folder=folder: matches(faults, folder), lambda m: m == expected
        )
    for _ in faults.many(40):
        folder = faults.folder_for("killed")
        killed(
            forked(lambda folder=folder: exit_code(lambda: fill_cache(folder, 0.0003))), faults.random.uniform(0, 0.1)
        )
        faults.attempt("cache, kill -9", "cache", lambda folder=folder: filled(folder), bool)
    elsewhere = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else faults.folder
    for number in faults.many(60):
        base = (
            Path(tempfile.mkdtemp(prefix="vpr-faults-", dir=elsewhere)) if number % 2 else faults.folder_for("killed")
        )
        save(base, 1)
        child = forked(lambda base=base: exit_code(lambda: [save(base, version) for version in range(2, 50)]))
        killed(child, faults.random.uniform(0, 0.3))
        where = "checkpoint on another disk, kill -9" if number % 2 else "checkpoint, kill -9"
        faults.attempt(where, "", lambda base=base: checkpoint.load(base / "best.ckpt") is not None, bool)
        shutil.rmtree(base)


def filled(folder: Path) -> bool:
    """Complete a cache and tell whether each row is right."""
    fill_cache(folder, 0)
    values = DescriptorCache(folder, "cache", {"teacher": "a"}, 200, 128).attach("r")
    return all(np.array_equal(values[row], expected_row(row)) for row in range(200))


def evaluations(faults: Faults) -> None:
    """Kill evaluations: what they had in TMPDIR may stay, and the next one gives the same recalls."""
    folder = faults.folder_for("evaluation")
    code = ended(forked(lambda: train_places(faults, folder, "trainer.max_epochs=0")))
    if code != 0:
        raise SystemExit(f"A run without a fault ended with {code}.")

    def recalls() -> dict[str, Any]:
        return {name: result.metrics() for name, result in remeasure(folder / "best.ckpt", "cpu").items()}

    began = time.monotonic()
    expected = recalls()
    seconds = time.monotonic() - began
    for _ in faults.many(10):
        killed(forked(lambda: exit_code(recalls)), faults.random.uniform(0, seconds))
        faults.attempt("evaluation, kill -9", "", recalls, lambda result: result == expected)


def pairs_of_processes(faults: Faults) -> None:
    """Start two processes at once on one folder: one of them works, the other says so or waits."""
    for _ in faults.many(6):
        folder = faults.folder_for("two")
        once = partial(train_places, faults, folder, "trainer.max_epochs=1")
        children = [forked(once, folder / f"said{name}") for name in "ab"]
        codes = sorted(str(ended(child)) for child in children)
        text = "".join((folder / f"said{n}").read_text(errors="replace") for n in "ab")
        good = codes == ["0", "2"] and "another process runs there" in text and "Traceback" not in text
        faults.note("two runs in a folder", "named" if good else "lost", f"{codes} {text[-500:]}")
    expected = matches(faults, faults.folder_for("index") / "sound")
    for _ in faults.many(20):
        folder = faults.folder_for("two") / "index"
        work = lambda f=folder: exit_code(lambda: matches(faults, f, 0.002))  # noqa: E731
        children = [forked(work, folder.parent / f"said{n}") for n in "ab"]
        codes = {ended(child) for child in children}
        sound = codes <= {0, 2} and matches(faults, folder) == expected
        faults.note("two at one index", "right" if sound else "lost", str(codes))


JOB = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from vpr.cli.app import run

def work(cfg):
    here = Path(__file__).parent
    with (here / "begun").open("a") as file:
        file.write("+")
    time.sleep(1.5)
    with (here / "begun").open("a") as file:
        file.write("-")

sys.exit(run("train", [*sys.argv, "logger=none"], work))
"""


def sweeps(faults: Faults) -> None:
    """Kill the process of a sweep: its job ends with it, and the same command never has two of it at work."""
    root = str(Path(__file__).parents[1])
    for _ in faults.many(3):
        folder = faults.folder_for("sweep")
        (folder / "job.py").write_text(JOB.format(root=root))
        work = lambda f=folder: exit_code(lambda: run_once(f / "job.py", (), (), "x", f / "job"))  # noqa: E731
        child = forked(work)
        deadline = time.monotonic() + PATIENCE
        while not (folder / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        code = ended(forked(work))
        begun = (folder / "begun").read_text() if (folder / "begun").exists() else ""
        faults.note("sweep, kill -9", "right" if code == 0 and begun in ("++-", "+-+-") else "lost", f"{code} {begun}")


CLASSES: dict[str, Callable[[Faults], None]] = {
    "interruptions": interruptions,
    "disks": disks,
    "kills": kills,
    "evaluations": evaluations,
    "two": pairs_of_processes,
    "sweeps": sweeps,
    "checkpoints": checkpoints,
    "hostile": hostile,
    "hostile_configs": hostile_configs,
    "lists": lists,
    "images": images,
    "tables": tables,
    "arrays": arrays,
    "summaries": summaries,
    "configs": configs,
    "indices": indices,
}


def table(faults: Faults, seconds: float) -> str:
    """Lay out the counts."""
    width = max(map(len, faults.counts), default=10)
    lines = [f"{'class':<{width}}  tried  " + "  ".join(f"{name:>9}" for name in OUTCOMES)]
    rows = {**faults.counts, "all": sum(faults.counts.values(), Counter())}
    for name, counts in rows.items():
        numbers = "  ".join(f"{counts[outcome]:>9}" for outcome in OUTCOMES)
        lines.append(f"{name:<{width}}  {sum(counts.values()):>5}  {numbers}")
    lines += [f"\n{kind}, {outcome}: {what}" for (kind, outcome), what in faults.examples.items()]
    return "\n".join([*lines, f"{seconds:.0f} s"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all faults; return 1 where one did not end well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CLASSES, default=list(CLASSES), help="classes of faults")
    parser.add_argument("--share", type=float, default=1.0, help="of the faults of each class")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    logging.disable(logging.CRITICAL if chosen.share <= 0 else logging.NOTSET)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory(prefix="vpr-faults-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o777)
        photos = folder / "photos"
        draw_photos(photos)
        faults = Faults(chosen.share, folder, photos, chosen.seed)
        for name in chosen.only:
            print(f"{time.monotonic() - began:5.0f} s  {name}", file=sys.stderr, flush=True)
            CLASSES[name](faults)
        print(table(faults, time.monotonic() - began))
        bad = sum(
            count for counts in faults.counts.values() for outcome, count in counts.items() if outcome not in GOOD
        )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
