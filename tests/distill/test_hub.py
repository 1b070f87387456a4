"""Teachers from torch.hub, with repositories that the tests write."""

from __future__ import annotations

import socket
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch

from vpr.distill.hub import load_hub
from vpr.distill.teacher import Shape, Teacher
from vpr.errors import ConfigError

HUBCONF = """
import torch
from colours import Colours

dependencies = ["torch"]


def colours(scale=1.0, form="tensor", stride=1):
    return Colours(scale, form, stride)


def offline():
    return torch.hub.load_state_dict_from_url("http://127.0.0.1:9/weights.pth")


def curious():
    return torch.nn.Linear(1, 1) if input("Shall I?") == "y" else None


def number():
    return 3


def quitter():
    raise SystemExit("no")
"""
COLOURS = '''
import torch


class Colours(torch.nn.Module):
    """Mean colours, times a scale; images must be of a multiple of `stride`."""

    def __init__(self, scale, form, stride):
        super().__init__()
        self.scale, self.form, self.stride = torch.nn.Parameter(torch.tensor(scale)), form, stride
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, images):
        assert images.shape[-1] % self.stride == 0, "not a multiple"
        out = self.drop(images.mean((2, 3)) * self.scale)
        return {"tensor": out, "tuple": (out, [images]), "dict": {"global": out}, "map": images}[self.form]
'''


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "colour models"
    folder.mkdir()
    (folder / "hubconf.py").write_text(HUBCONF)
    (folder / "colours.py").write_text(COLOURS)
    return folder


def node(repo: Path | str, **options: Any) -> dict[str, Any]:
    return {"repo": str(repo), "model": "colours", "size": [8, 12], **options}


@pytest.mark.parametrize(("form", "output"), [("tensor", None), ("tuple", 0), ("dict", "global")])
def test_it_teaches(repo: Path, form: str, output: int | str | None) -> None:
    options = {"args": {"scale": 7.0, "form": form}, "output": output, "mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0]}
    network = load_hub(node(repo, **options))
    assert not network.training and network.source.name == "colour models/colours"
    teacher = Teacher(network, network.source.name)
    assert teacher.shape == Shape(3, None, "colour models/colours")
    # (255, 128, 128) / 255 - 0.5 is very nearly (0.5, 0, 0): the scale goes, and so does the size of 30 x 30.
    image = torch.tensor([255, 128, 128], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 30, 30)
    found = teacher(image)
    torch.testing.assert_close(found.descriptors, torch.tensor([[1.0, 0.0, 0.0]] * 2), atol=0.005, rtol=0)
    assert found.descriptors.norm(dim=1).tolist() == pytest.approx([1, 1]) and found.map is None
    assert not found.descriptors.requires_grad and not any(p.requires_grad for p in teacher.parameters())


def test_images_are_imagenets_where_nothing_is_said(repo: Path) -> None:
    preprocess = load_hub(node(repo)).preprocess
    assert preprocess.size == (8, 12)
    assert (preprocess.mean, preprocess.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modle": "x"}, r"teacher.hub.modle: there is no such key; there are repo, model, size"),
        ({"size": None}, r"teacher.hub.size: no value given"),
        ({"model": "absent"}, r"absent of .* Look into its hubconf.py"),
        ({"args": {"sclae": 1}}, r"cannot be loaded \(TypeError: .*sclae"),
        ({"args": {"stride": 14}}, r"cannot describe images of 8x12 pixels \(AssertionError: not a multiple\)"),
        ({"args": {"form": "tuple"}}, r"returns a tuple of a tensor of shape \(2, 3\), a list of .*hub.output=null"),
        ({"args": {"form": "tuple"}, "output": 1}, r"hub.output=1 should say"),
        ({"output": "global"}, r"hub.output=global should say"),
        ({"args": {"form": "map"}}, r"returns a tensor of shape \(2, 3, 8, 12\)"),
        ({"model": "number"}, r"returns a int, and no network"),
        ({"model": "curious"}, r"EOFError"),
        ({"model": "quitter"}, r"SystemExit: no"),
    ],
)
def test_what_is_wrong_is_said(repo: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_hub(node(repo, **options))


def test_a_repository_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this folder has no hubconf.py"):
        load_hub(node(tmp_path))
    with pytest.raises(ConfigError, match="there is no such folder, and it is no owner/name"):
        load_hub(node(tmp_path / "absent"))


def test_a_package_that_is_not_there(repo: Path) -> None:
    (repo / "hubconf.py").write_text("import package_of_nobody")
    with pytest.raises(ConfigError, match="No module named 'package_of_nobody'.* Install what it needs with pip"):
        load_hub(node(repo))


def test_weights_without_a_network(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(ConfigError, match=r"(?s)URLError.* Without a network: .*torch/hub here \(or set TORCH_HOME"):
        load_hub(node(repo, model="offline"))


def test_github_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []

    def no_network(*args: object, **options: object) -> None:
        waits.append(socket.getdefaulttimeout())
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    stdin = sys.stdin
    with pytest.raises(ConfigError, match=r"internet connection.* clone the repository and type .*hub.repo=FOLDER"):
        load_hub(node("somebody/something"))
    assert waits == [30] and socket.getdefaulttimeout() is None and sys.stdin is stdin


def test_github_from_what_was_fetched_before(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch keeps owner/name:branch as owner_name_branch; nobody is asked whether it is trusted."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch/hub").mkdir(parents=True)
    repo.rename(tmp_path / "torch/hub/some-body_some.thing_v1")
    monkeypatch.setattr(torch.hub, "urlopen", lambda *args: pytest.fail("asked the network"))
    network = load_hub(node("some-body/some.thing:v1"))
    assert network.dim == 3 and network.source.name == "some.thing/colours"


def test_patience_ends(monkeypatch: pytest.MonkeyPatch, repo: Path, tmp_path: Path) -> None:
    """A server that takes the call and never answers."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        text = HUBCONF.replace("http://127.0.0.1:9", f"http://127.0.0.1:{silent.getsockname()[1]}")
        (repo / "hubconf.py").write_text(text)
        monkeypatch.setattr("vpr.distill.hub.PATIENCE", 0.2)
        with pytest.raises(ConfigError, match="Without a network"):
            load_hub(node(repo, model="offline"))
