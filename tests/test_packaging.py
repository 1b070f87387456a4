"""The two ways to install name the same things, and the Makefile and the tools agree with them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# Names that differ; all others are the same on both sides.
CONDA = {
    "torch": "pytorch-gpu",
    "matplotlib": "matplotlib-base",
    "huggingface-hub": "huggingface_hub",
    "faiss-gpu-cu12": "faiss-gpu",
}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def conda() -> dict[str, Requirement]:
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(line["pip"] for line in lines if isinstance(line, dict))
    requirements = [Requirement(line) for line in [*lines, *pip] if isinstance(line, str)]
    return {requirement.name: requirement for requirement in requirements}


def test_conda_and_pip_install_the_same(project: dict, conda: dict[str, Requirement]) -> None:
    extras = project["optional-dependencies"]
    pip = [Requirement(line) for line in project["dependencies"] + extras["gpu"] + extras["weights"]]
    expected = {CONDA.get(r.name, r.name): r.specifier for r in pip}
    actual = {name: r.specifier for name, r in conda.items() if name not in ("python", "pip")}
    assert actual == expected


def test_same_python(project: dict, conda: dict[str, Requirement]) -> None:
    assert str(conda["python"].specifier) == project["requires-python"]


def test_faiss_is_chosen_by_an_extra_and_only_one(project: dict) -> None:
    extras = project["optional-dependencies"]
    assert not any("faiss" in line for line in project["dependencies"])
    assert [Requirement(line).name for line in extras["cpu"]] == ["faiss-cpu"]
    assert [Requirement(line).name for line in extras["gpu"]] == ["faiss-gpu-cu12"]
    conflicts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["conflicts"]
    assert conflicts == [[{"extra": "cpu"}, {"extra": "gpu"}]]


def test_what_is_imported_is_declared(project: dict) -> None:
    modules = {"hydra-core": "hydra", "opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml"}
    declared = {modules.get(name, name.replace("-", "_")) for name in map(_name, project["dependencies"])}
    found = set()
    for path in [*ROOT.glob("*.py"), *(ROOT / "vpr").rglob("*.py")]:
        found |= set(re.findall(r"^\s*(?:from (?=\S+ import )|import )(\w+)", path.read_text(), re.MULTILINE))
    together = {path.stem for path in (ROOT / "vpr/export/templates").glob("*.py")}  # they lie in one folder then
    third_party = {name for name in found if name not in sys.stdlib_module_names} - {"vpr"} - together
    extras = project["optional-dependencies"]
    optional = {"faiss", "pillow_heif", *map(_name, extras["export"]), *map(_name, extras["local"])}
    assert third_party - declared - optional == set()


def test_make_alone_lists_the_targets() -> None:
    listed = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory"], capture_output=True, text=True, check=True
    )
    targets = set(re.findall(r"^  make ([\w-]+)", listed.stdout, re.MULTILINE))
    of_models = {"demo", "weak", "train", "eval", "report"}
    assert targets == of_models | {"help", "setup", "test", "data-check", "lint", "clean"}


@pytest.mark.parametrize("arguments", [["DATA=toycity"], ["CKPT=a.ckpt"], []])
def test_make_eval_says_what_it_lacks(arguments: list[str], tmp_path: Path) -> None:
    # VENV points to an environment that is there, so that nothing is installed for this test.
    (tmp_path / ".ready-cpu").touch()
    command = ["make", "-C", str(ROOT), "eval", f"VENV={tmp_path}", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode != 0
    assert "make eval DATA=pitts250k CKPT=" in run.stderr


def test_another_faiss_takes_the_place_of_the_one_that_is_installed(tmp_path: Path) -> None:
    (tmp_path / ".ready-cpu").touch()

    def setup(faiss: str) -> str:
        command = ["make", "-n", "-C", str(ROOT), "setup", f"VENV={tmp_path}", f"FAISS={faiss}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "pip" not in setup("cpu")  # it is there
    switch = setup("gpu")
    assert switch.index("pip uninstall -qq -y faiss-cpu faiss-gpu-cu12") < switch.index(
        '-e ".[gpu,weights,heic,export,local,dev]"'
    )
    assert f"rm -f {tmp_path}/.ready-*" in switch  # going back to the other one installs again


@pytest.mark.parametrize("target", ["demo", "weak", "test"])
def test_make_uses_the_faiss_that_setup_chose(target: str, tmp_path: Path) -> None:
    (tmp_path / ".ready-gpu").touch()
    command = ["make", "-n", "-C", str(ROOT), target, f"VENV={tmp_path}"]
    assert "pip" not in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_licence_and_hooks_need_no_network() -> None:
    assert "Copyright 2026 the vpr-distill authors" in (ROOT / "LICENSE").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert all(hook["language"] == "system" for hook in hooks[0]["hooks"])


def _name(line: str) -> str:
    return Requirement(line).name
