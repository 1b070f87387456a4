"""Sweeps: each job a process of its own, whatever launcher starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vpr.cli.compose import CONF
from vpr.cli.hints import missing_launcher

# train.py with another main, and without the checks that import torch.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import vpr.cli.app
vpr.cli.app.checked = lambda function: function

@vpr.cli.app.app(config_name="train")
def main(cfg):
    folder = Path(vpr.cli.app.HydraConfig.get().runtime.output_dir)
    (folder / "pid").write_text(f"{os.getpid()} {cfg.seed} {cfg.ckpt_path} {cfg.name}")
    if (folder / "mended").exists():
        return cfg.seed / 10
    if cfg.seed == 1:
        sys.exit(3)
    if cfg.seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.seed == 3:
        raise vpr.cli.app.VPRError("mend it")
    if cfg.seed == 9:
        (folder / "last.ckpt").touch()
        time.sleep(60)
    return cfg.seed / 10

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "conf").symlink_to(CONF)
    return tmp_path / "train.py"


def sweep(script: Path, *overrides: str, behind: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), "-m", "logger=none", "hydra.sweep.dir=sweep", *overrides]
    return subprocess.Popen(
        command,
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(CONF.parent), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # These tests may themselves run behind a script's `&`, which ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if behind else signal.SIG_DFL),
    )


def said(script: Path) -> dict[str, tuple[str, ...]]:
    """Return {seed: (pid, seed, ckpt_path, name)} of the jobs."""
    words = [tuple(path.read_text().split()) for path in (script.parent / "sweep").glob("*/pid")]
    return {seed: (pid, seed, *rest) for pid, seed, *rest in words}


def codes(script: Path) -> dict[str, int | None]:
    records = [json.loads(path.read_text()) for path in (script.parent / "sweep").glob("*/job.json")]
    return {next(w for w in job["overrides"] if w.startswith("seed=")): job["code"] for job in records}


@pytest.mark.slow
def test_a_sweep_survives_its_jobs_and_runs_again_what_failed(script: Path) -> None:
    process = sweep(script, "seed=0,1,2,3")
    out, _ = process.communicate(timeout=600)
    assert codes(script) == {"seed=0": 0, "seed=1": 3, "seed=2": -signal.SIGKILL, "seed=3": 2}
    assert process.returncode == 2
    assert "3 jobs of this sweep failed:" in out
    assert re.search(r"-seed1-\w{6} ended with exit code 3\n.*-seed2-\w{6} was ended by SIGKILL\n.*-seed3-", out)
    assert "VPRError: mend it" in out
    pids = {pid for pid, *_ in said(script).values()}
    assert len(pids) == 4 and str(process.pid) not in pids

    for folder in (script.parent / "sweep").glob("*-seed[123]-*"):
        (folder / "mended").touch()
    before = said(script)
    second = sweep(script, "seed=0,1,2,3,4")
    out, _ = second.communicate(timeout=600)
    assert second.returncode == 0, out
    assert out.count("Finished before: ") == 1
    assert set(codes(script).values()) == {0} and len(codes(script)) == 5
    assert [seed for seed, job in before.items() if said(script)[seed] == job] == ["0"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "behind"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_ctrl_c_ends_job_and_sweep_and_the_job_goes_on_later(script: Path, number: int, behind: bool) -> None:
    process = sweep(script, "seed=9,4", behind=behind)
    deadline = time.monotonic() + 600
    while not list((script.parent / "sweep").glob("*/last.ckpt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Interrupted. The same command with hydra.sweep.dir=sweep goes on" in out
    assert "Traceback" not in out
    assert not Path("/proc", said(script)["9"][0]).exists()
    assert set(said(script)) == {"9"}  # the other one never began

    next((script.parent / "sweep").glob("*-seed9-*")).joinpath("mended").touch()
    second = sweep(script, "seed=9,4")
    assert (second.communicate(timeout=600), second.returncode)[1] == 0
    assert said(script)["9"][2].endswith("/last.ckpt") and said(script)["4"][2] == "None"


@pytest.mark.slow
def test_a_sweep_file_sweeps_without_m(script: Path) -> None:
    """The pairs x terms x seeds of conf/sweep/pairs.yaml, but for what is typed; equal undistilled runs are one."""
    pairs = "vgg16_mobilenet_v3_large,resnet50_mobilenet_v3_large"
    command = [sys.executable, str(script), "sweep=pairs", f"pair={pairs}", "distillation=none,rkd", "seed=0"]
    environment = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    subprocess.run([*command, "logger=none", "hydra.sweep.dir=sweep"], cwd=script.parent, env=environment, check=True)
    names = sorted(path.read_text().split()[3] for path in (script.parent / "sweep").glob("*/pid"))
    student = "mobilenet_v3_large-mixvpr"
    assert names == [student, f"resnet50-to-{student}", f"vgg16-to-{student}"]


@pytest.mark.slow
def test_joblib_runs_each_job_in_a_process_of_its_own(script: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra `joblib`")
    process = sweep(script, "seed=0,1,4", "hydra/launcher=parallel")
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert codes(script) == {"seed=0": 0, "seed=1": 3, "seed=4": 0}
    assert "deprecated" not in out  # as of a choice that has the name of the plugin's own
    assert out.count("ended with exit code 3") == 1
    assert len({pid for pid, *_ in said(script).values()}) == 3


@pytest.mark.parametrize(("launcher", "extra"), [("parallel", "joblib"), ("slurm", "slurm"), ("ray_cluster", "ray")])
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(launcher: str, extra: str) -> None:
    target = compose_launcher(launcher)
    said = missing_launcher(RuntimeError(f"Unknown plugin class : '{target}'"))
    assert said == f'hydra/launcher: this one is not installed. Type pip install -e ".[{extra}]".'
    assert missing_launcher(RuntimeError("another")) == ""


def compose_launcher(launcher: str) -> str:
    return str(OmegaConf.load(CONF / "hydra" / "launcher" / f"{launcher}.yaml")["_target_"])
