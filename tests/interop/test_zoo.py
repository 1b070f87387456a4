"""Published weights by name: the table, the download into the cache, and the messages where there is none."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import vpr
from vpr.cli.compose import CONF
from vpr.errors import CheckpointError
from vpr.interop import zoo
from vpr.interop.recognise import convert
from vpr.interop.zoo import PUBLISHED, SHORT, Weights, cache_folder, is_published, local_file
from vpr.retrieval.extractor import Extractor

PRESETS = {path.stem: OmegaConf.load(path) for path in (CONF / "distillation/teacher").glob("*.yaml")}
BY_NAME = sorted(name for name, node in PRESETS.items() if node.get("ckpt"))  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VPR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def published_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of pytorch-NetVlad's layout that no importer can finish, but any reader can read."""
    path = tmp_path_factory.mktemp("published") / "x.pth"
    torch.save({"encoder.0.weight": torch.zeros(2)}, path)
    return path.read_bytes()


class Server:
    """Serves `content`, or an error where there is none, and counts what it was asked."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                if outer.content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/x.pth"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.http.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setitem(PUBLISHED, "mine", Weights("mine.pth", made.url, "https://page", "MIT"))
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_the_table() -> None:
    assert set(SHORT.values()) <= PUBLISHED.keys() and not SHORT.keys() & PUBLISHED.keys()
    files = [weights.file for weights in PUBLISHED.values()]
    assert len(set(files)) == len(files)
    for weights in PUBLISHED.values():
        assert weights.page.startswith("https://github.com/")
        assert weights.url.startswith("https://") or not weights.url
        assert weights.sha256 == "" or len(weights.sha256) == 64
    assert PUBLISHED["cosplace_resnet18_512"].url.endswith("v1.0/ResNet18_512_cosplace.pth")


@pytest.mark.parametrize("name", BY_NAME)
def test_presets_name_entries_of_it(name: str) -> None:
    node = PRESETS[name]
    assert is_published(node.ckpt) and node.get("hub") is None  # type: ignore[union-attr]


def test_there_are_six_of_them() -> None:
    assert BY_NAME == ["boq", "cosplace", "eigenplaces", "megaloc", "mixvpr", "salad"]


def test_a_download_is_kept_and_said(server, cache, published_bytes, capsys) -> None:
    server.content = published_bytes
    file = local_file("mine")
    assert file == cache / "mine.pth" and file.read_bytes() == published_bytes
    said = capsys.readouterr().err
    assert server.url in said and "licence of https://page: MIT" in said
    assert hashlib.sha256(published_bytes).hexdigest() in said and "no checksum is published" in said
    assert local_file("mine") == file and server.asked == 1
    assert capsys.readouterr().err == ""
    with pytest.raises(CheckpointError, match=r"mine.pth holds .*pooling"):  # what reads names reads this file
        vpr.load("mine")
    with pytest.raises(CheckpointError, match=r"mine.pth holds .*pooling"):
        Extractor.load("mine", "cpu")


def test_a_file_that_is_there_goes_before_a_name(server, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1)}, "mine")
    assert local_file("mine") == Path("mine")
    with pytest.raises(CheckpointError, match="mine holds 1 tensors"):
        convert(local_file("mine"))


@pytest.mark.parametrize("fault", ["another checksum", "no such address", "a page", "nobody answers"])
def test_a_download_that_fails_leaves_nothing(fault, server, cache, published_bytes, monkeypatch) -> None:
    server.content = {"no such address": None, "a page": b"<html>moved</html>"}.get(fault, published_bytes)
    weights = PUBLISHED["mine"]
    if fault == "another checksum":
        monkeypatch.setitem(PUBLISHED, "mine", weights._replace(sha256="0" * 64))
    if fault == "nobody answers":
        monkeypatch.setitem(PUBLISHED, "mine", weights._replace(url="http://127.0.0.1:9/x.pth"))
    with pytest.raises(CheckpointError) as raised:
        local_file("mine")
    message = str(raised.value)
    if fault == "a page":
        assert "damaged" in message
    else:
        assert "cannot be downloaded" in message and f"put it at {cache / 'mine.pth'}" in message
        assert PUBLISHED["mine"].url in message
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []
    cache.joinpath("mine.pth").write_bytes(published_bytes)  # as the message says
    assert local_file("mine").read_bytes() == published_bytes


def test_what_a_person_must_download(cache: Path) -> None:
    with pytest.raises(CheckpointError, match="github.com/amaralibey/MixVPR links its file for a person") as raised:
        local_file("mixvpr")
    assert str(cache) in str(raised.value) and not cache.exists()


def test_a_name_of_nothing_has_a_hint() -> None:
    with pytest.raises(CheckpointError, match="megalok: there is no such file, .*Did you mean megaloc.*eigenplaces"):
        vpr.load("megalok")
    assert local_file("runs/megaloc") == Path("runs/megaloc")  # a path is a path


def test_the_folder_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VPR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/vpr")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("~/.cache/vpr").expanduser()
    assert zoo.local_file("megaloc.safetensors") == Path("megaloc.safetensors")
