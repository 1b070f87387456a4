"""A run that is killed while it writes last.ckpt leaves a readable one, wherever TMPDIR is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.processes import run_script
from vpr.cli.compose import plain

ROOT = Path(__file__).parents[3]
ROUNDS = int(os.environ.get("VPR_KILLS", "10")) // 5 or 1  # of five kills; more by VPR_KILLS=50
MEMORY = Path("/dev/shm")  # another file system than that of the runs

# In the second step of a real run, children write last.ckpt and are killed meanwhile; the parent reads what is left.
SCRIPT = """
import json, os, random, signal, sys, time
from pathlib import Path

import torch
from omegaconf import OmegaConf

from vpr import checkpoint
from vpr.training.callbacks.checkpointing import ResumeCheckpoint
from vpr.training.run import fit

cfg, directory, tries = OmegaConf.load(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
draw = random.Random(0)
save = torch.save


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function, after):
    def hook(*args, **options):
        if after:
            function(*args, **options)
        die()

    return hook


class DyingFile:
    def __init__(self, path, size):
        self.file, self.left = open(path, "wb"), size

    def write(self, data):
        self.file.write(bytes(data)[: self.left])
        self.left -= len(bytes(data))
        if self.left <= 0:
            self.file.flush()
            die()
        return len(bytes(data))

    def flush(self):
        self.file.flush()


def write_and_die(way, size, after):
    if way == "at a byte":
        torch.save = lambda content, path: save(content, DyingFile(path, size))
    elif way == "at the rename":
        os.replace = dying(os.replace, after)
    elif way == "at the flush":
        os.fsync = dying(os.fsync, after)


def attempts(callback, trainer):
    path = directory / "last.ckpt"
    began = time.perf_counter()
    callback._save(trainer)
    seconds, size, ways = time.perf_counter() - began, path.stat().st_size, {}
    for attempt in range(tries):
        way = ("at a byte", "at a byte", "at any time", "at the rename", "at the flush")[attempt % 5]
        delay, size_left, after = draw.random() * seconds, draw.randrange(1, size * 3 // 4), draw.random() < 0.5
        child = os.fork()
        if child == 0:
            write_and_die(way, size_left, after)
            callback._save(trainer)
            os._exit(0)
        if way == "at any time":
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == -signal.SIGKILL or way == "at any time", (way, code)
        assert checkpoint.read_any(path)["global_step"] == 1, way
        ways[way] = ways.get(way, 0) + 1
    print(json.dumps(ways))


on_train_batch_start = ResumeCheckpoint.on_train_batch_start


def started(self, trainer, module, *args):
    on_train_batch_start(self, trainer, module, *args)
    if trainer.global_step == 1:
        attempts(self, trainer)


ResumeCheckpoint.on_train_batch_start = started
fit(cfg, directory)
"""


def test_every_kill_leaves_a_readable_last_checkpoint(tiny, tmp_path: Path):
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm, a file system of its own")
    small = ["backbone=tf_efficientnet_lite0", "backbone.weights=none", "backbone.crop=[2,3,4,5,6]"]
    cfg = tiny([*small, "trainer.max_epochs=1", "trainer.eval_every=0"])
    OmegaConf.save(OmegaConf.create(plain(cfg)), tmp_path / "cfg.yaml")
    done = run_script(
        ["-c", SCRIPT, str(tmp_path / "cfg.yaml"), str(tmp_path / "run"), str(5 * ROUNDS)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(MEMORY)},
    )
    assert done.returncode == 0, done.stderr
    ways = json.loads(done.stdout.splitlines()[0])
    assert ways == {"at a byte": 2 * ROUNDS, "at any time": ROUNDS, "at the rename": ROUNDS, "at the flush": ROUNDS}
