"""The place bundle answers as the demo does, without torch, and says what is wrong with its input."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import ExifTags, Image

from tests.exported import export, save, tiny
from tests.processes import run_script
from vpr.demo.answers import Answer, Query, answer
from vpr.demo.database import photos as list_photos
from vpr.errors import CheckpointError
from vpr.export.bundle import SCRIPTS, TEMPLATES, PlaceBundle
from vpr.retrieval.calibration import Calibrated, Calibration, write_calibration
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.index.codecs import Binary, Codec
from vpr.retrieval.index.place_index import ExtractPaths, Photos, PlaceIndex, path_extractor
from vpr.retrieval.sequence import InSequence, search_in_sequence

ROOT = Path(__file__).parents[2]
FRAMES = 12
CALIBRATED = Calibrated(
    Calibration(-9.0, 9.0, 20.0, 0.6, 0.95, 40, 30), "drawn@0f", np.full(40, 0.5), np.ones(40, bool)
)
FORBID = "import sys\nfor name in ('torch', 'faiss', 'scipy', 'cv2', 'vpr'): sys.modules[name] = None\n"
RUN = "import runpy; sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0])\n"
RUN += "runpy.run_path(sys.argv[0], run_name='__main__')"


def locate(folder: Path, *arguments: object, opencv: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a bundle's locate.py in a process that cannot import torch, nor OpenCV unless told so."""
    code = (FORBID.replace("'cv2', ", "") if opencv else FORBID) + RUN
    command = [sys.executable, "-c", code, str(folder / "locate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def drawn(frame: int, seed: int) -> np.ndarray:
    """A picture of a street along which one walks: frames that follow one another overlap; each seed has its noise."""
    street = np.random.default_rng(0).integers(0, 200, (6, FRAMES + 12, 3))
    noise = np.random.default_rng((frame, seed)).integers(0, 50, (6, 8, 3))
    pixels = (street[:, frame : frame + 8] + noise).astype(np.uint8)
    return cv2.resize(pixels, (200, 150), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `map/a`, `map/b` with positions, 4 metres apart, and `asked` with the frames of a.

    Also a checkpoint, its index and a bundle with a calibration.
    """
    root = tmp_path_factory.mktemp("walk")
    for folder, seed in (("map/a", 1), ("map/b", 2), ("asked", 3)):
        (root / folder).mkdir(parents=True)
        for frame in range(FRAMES):
            exif, pixels = Image.Exif(), drawn(frame, seed)
            if folder == "map/a":
                exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (47, 0, 0.12 * frame), 3: "E", 4: (8, 30, 0)}
            if folder == "asked" and frame == 2:  # on its side
                exif[0x0112], pixels = 6, np.rot90(pixels)
            Image.fromarray(pixels).save(root / folder / f"{frame}.jpg", exif=exif, quality=92)
    network = tiny()
    digest = save(root / "best.ckpt", network)
    extractor = Extractor.load(root / "best.ckpt", "cpu")
    PlaceIndex.build(root / "index", list_photos(root / "map"), extract(extractor), network.dim, digest)
    bundle = PlaceBundle.open(root / "index", digest, "best.ckpt")
    sure = [one.confidence for one in asked(root, CALIBRATED.calibration)]
    half = replace(CALIBRATED.calibration, threshold=float(np.median(sure)))  # accepts half of the answers
    write(root / "bundle", replace(bundle, calibrated=replace(CALIBRATED, calibration=half)), network, digest)
    return root


def extract(extractor: Extractor) -> ExtractPaths:
    return path_extractor(extractor, show=False)


def write(folder: Path, bundle: PlaceBundle, network: Any, digest: str) -> list[str]:
    """Write a bundle as export.py does, with a model.int8.onnx that is none."""
    folder.mkdir()
    export(folder / "model.onnx", network, digest=digest)
    export(folder / "model.int8.onnx", network, digest=digest, precision="int8")
    (folder / "README.md").write_text("# A model\n")
    shutil.copy(TEMPLATES / "describe.py", folder)
    return bundle.write(folder, ["model.onnx", "model.int8.onnx"])


def asked(root: Path, calibration: Calibration) -> list[Answer]:
    """Return the demo's answers to the frames in `asked`."""
    queries = [Query(f"{frame}.jpg", root / f"asked/{frame}.jpg") for frame in range(FRAMES)]
    extract_paths = extract(Extractor.load(root / "best.ckpt", "cpu"))
    return answer(PlaceIndex(root / "index"), queries, extract_paths, 5, calibration, show=False)


def test_it_answers_as_the_demo(walk: Path) -> None:
    kept = json.loads((walk / "bundle/place.json").read_text())["calibration"]
    demo, threshold = asked(walk, Calibration.of(kept)), kept["threshold"]
    answers = lines(locate(walk / "bundle", walk / "asked", "--geojson", walk / "g.json", "--gpx", walk / "t.gpx"))
    assert [line["query"] for line in answers] == [f"{frame}.jpg" for frame in range(FRAMES)]  # 2 before 10
    for line, expected in zip(answers, demo, strict=True):
        assert [match["match"] for match in line["matches"]] == [match.name for match in expected.matches]
        similarities = [match["similarity"] for match in line["matches"]]
        assert similarities == pytest.approx([match.similarity for match in expected.matches], abs=1e-3)
        assert line["similarity"] == similarities[0]
        assert line["confidence"] == pytest.approx(expected.confidence, abs=0.01)
        assert line["accepted"] is expected.accepted or abs(line["confidence"] - threshold) < 1e-3
        position = expected.position and (expected.position.lat, expected.position.lon)
        assert (line["position"] and tuple(line["position"].values())) == pytest.approx(position, abs=1e-6)
    placed = [line for line in answers if line["position"]]
    assert len(placed) > 0 and {line["accepted"] for line in answers} == {True, False}
    points = json.loads((walk / "g.json").read_text())["features"]
    assert [p["properties"]["query"] for p in points] == [line["query"] for line in placed]
    assert points[0]["geometry"]["coordinates"] == [placed[0]["position"]["lon"], placed[0]["position"]["lat"]]
    accepted = [line for line in placed if line["accepted"]]
    assert (walk / "t.gpx").read_text().count("<trkpt lat=") == len(accepted)


def test_sequences_are_those_of_rerank(walk: Path) -> None:
    index = PlaceIndex(walk / "index")
    queries = np.empty((FRAMES, index.dim), np.float32)
    paths = [walk / f"asked/{frame}.jpg" for frame in range(FRAMES)]
    extract(Extractor.load(walk / "best.ckpt", "cpu"))(paths, np.arange(FRAMES), queries)
    groups, database = np.repeat([0, 1], FRAMES), index.descriptors.astype(np.float32)
    database /= np.linalg.norm(database, axis=1, keepdims=True)  # 16 bits change the length
    for settings, words in ((InSequence(5), ()), (InSequence(3, [1.0, 2.0]), ("--velocities", 1, 2))):
        found = search_in_sequence(database, queries, 3, settings, None, groups)
        done = locate(walk / "bundle", walk / "asked", "--k", 3, "--sequence", settings.window, *words)
        answers = lines(done)
        names = [[match["match"] for match in line["matches"]] for line in answers]
        assert names == [[index.photos.files[row] for row in rows] for rows in found.indices.tolist()]
        values = [match["similarity"] for line in answers for match in line["matches"]]
        assert values == pytest.approx(found.similarities.ravel().tolist(), abs=1e-4)
        assert "no confidence is given" in done.stderr and answers[0]["confidence"] is None


def test_another_precision_has_no_confidence(walk: Path) -> None:
    (line,) = lines(locate(walk / "bundle", walk / "asked/3.jpg", "--model", "model.int8.onnx"))
    assert line["matches"] and line["confidence"] is line["accepted"] is None


def test_a_video(walk: Path, tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 2, (200, 150))
    for frame in range(FRAMES):
        video.write(drawn(frame, 3)[..., ::-1])
    video.release()
    answers = lines(locate(walk / "bundle", tmp_path / "clip.avi", "--sequence", 5, opencv=True))
    assert [line["query"] for line in answers] == [f"clip.avi {second}.000 s" for second in range(6)]
    assert [line["second"] for line in answers] == [0, 1, 2, 3, 4, 5]
    done = locate(walk / "bundle", tmp_path / "clip.avi")
    assert done.returncode == 2 and "need OpenCV. Type pip install opencv-python-headless" in done.stderr
    (tmp_path / "bad.mp4").write_text("no video")
    done = locate(walk / "bundle", tmp_path / "bad.mp4", opencv=True)
    assert done.returncode == 2 and "has no frame that can be read" in done.stderr and not done.stdout


@pytest.fixture
def stream() -> Iterator[str]:
    """Address of a camera in the net that breaks off after 4 pictures, comes again once, and then is away."""

    class Camera(BaseHTTPRequestHandler):
        times = 0

        def do_GET(self) -> None:
            Camera.times += 1
            if Camera.times > 2:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for frame in range(4):
                jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(drawn(frame, 3)))
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                self.wfile.write(jpeg + b"\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://me:secret@127.0.0.1:{server.server_port}/live.mjpg"
    server.shutdown()


def test_a_stream_that_breaks_off_is_tried_again(walk: Path, stream: str) -> None:
    done = locate(walk / "bundle", stream, "--every", 0.001, "--tries", 1, "--gpx", walk / "s.gpx", opencv=True)
    assert done.returncode == 2
    first, second, away = [line for line in done.stderr.splitlines() if "broke off" in line]
    assert "it is tried again in 1 s" in first and "it is tried again in 1 s" in second
    assert "and 1 tries did not bring it back" in away
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) >= 2 and all(line["matches"] and line["time"].endswith("Z") for line in answers)
    assert "secret" not in done.stdout + done.stderr
    assert "</gpx>" in (walk / "s.gpx").read_text()


def test_images_that_cannot_be_read(walk: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes((walk / "asked/3.jpg").read_bytes()[:300])
    done = locate(walk / "bundle", tmp_path)
    assert done.returncode == 2 and "None of 1 images can be read (first: " in done.stderr
    shutil.copy(walk / "asked/3.jpg", tmp_path / "b.jpg")
    bad, good = lines(locate(walk / "bundle", tmp_path))
    assert bad["query"] == "a.jpg" and "a.jpg" in bad["error"] and good["query"] == "b.jpg" and good["matches"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.jpg"], "There is no file or folder"),
        ([], "name one source"),
        (["asked", "--sequence", "4"], "--sequence 4: type 3, 5, 7"),
        (["asked", "--gpx", "no/where.gpx"], "no/where.gpx cannot be written"),
        (["asked", "--model", "other.onnx"], "it has no model other.onnx, but model.onnx, model.int8.onnx"),
        (["--camera", "97"], "camera 97 gives no picture"),
    ],
)
def test_wrong_words(walk: Path, words: list[str], message: str) -> None:
    arguments = [str(walk / word) if word == "asked" else word for word in words]
    done = locate(walk / "bundle", *arguments, opencv=True)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("locate.py: ") and message in line


@pytest.mark.parametrize("damage", ["gone", "short", "other model", "other format", "fewer rows"])
def test_damaged_bundles(walk: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(walk / "bundle", tmp_path / "bundle"))
    if damage == "gone":
        (folder / "photos.csv").unlink()
    elif damage == "short":
        (folder / "descriptors.npy").write_bytes((folder / "descriptors.npy").read_bytes()[:-100])
    elif damage == "other model":
        shutil.copy(folder / "model.int8.onnx", folder / "model.onnx")
    elif damage == "other format":
        (folder / "place.json").write_text((folder / "place.json").read_text().replace("vpr-place-1", "vpr-place-2"))
    else:
        (folder / "photos.csv").write_text("path,lat,lon\na/0.jpg,,\n")
    done = locate(folder, walk / "asked")
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "is damaged or not complete (" in done.stderr and "Write it again: export.py index=FOLDER" in done.stderr


def test_an_index_of_another_model(walk: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"was made with another model .*python demo.py ckpt=x.ckpt database=PHOTOS"
    ):
        PlaceBundle.open(walk / "index", "f" * 64, "x.ckpt")


@pytest.mark.parametrize(
    ("codec", "unit", "message"),
    [
        (
            Binary(16, learned=False),
            "degrees",
            "searched by codes (sign16), the bundle by the descriptors that it keeps",
        ),
        (None, "metres", "Positions in the index are metres, not degrees: locate.py gives none."),
        (None, "degrees", "No photo of the index has a position"),
    ],
)
def test_it_says_what_it_lacks(walk: Path, tmp_path: Path, codec: Codec | None, unit: str, message: str) -> None:
    files = [f"b/{frame}.jpg" for frame in (10, 2)]
    positions = np.full((2, 2), 5.0) if unit == "metres" else None
    listed, extractor = Photos.on_disk(walk / "map", files, positions, unit), Extractor.load(walk / "best.ckpt", "cpu")
    PlaceIndex.build(tmp_path / "i", listed, extract(extractor), extractor.dim, extractor.digest, codec)
    bundle = PlaceBundle.open(tmp_path / "i", extractor.digest, "x.ckpt")
    said = write(tmp_path / "bundle", bundle, tiny(), extractor.digest)
    assert any(message in line for line in said) and any("No calibration" in line for line in said)
    (line,) = lines(locate(tmp_path / "bundle", walk / "map/b/10.jpg", "--k", 1))
    assert line["matches"] == [{"match": "b/10.jpg", "similarity": pytest.approx(1, abs=1e-3), "position": None}]
    assert line["confidence"] is line["position"] is None
    table = (tmp_path / "bundle/photos.csv").read_text().splitlines()
    assert table == ["path,lat,lon", "b/2.jpg,,", "b/10.jpg,,"]  # natural order
    done = locate(tmp_path / "bundle", walk / "asked", "--geojson", tmp_path / "x.json")
    assert done.returncode == 2 and "need positions, and no photo of this bundle has one" in done.stderr


def test_export_py_writes_one(walk: Path, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / "export.py"), f"ckpt={walk / 'best.ckpt'}", f"out={tmp_path / 'b'}", *words]
        return run_script([*command, f"paths.runs={tmp_path / 'runs'}"], cwd=tmp_path)

    made_by_another = tmp_path / "another"
    shutil.copytree(walk / "index", made_by_another)
    schema = json.loads((made_by_another / "schema.json").read_text()) | {"model": "f" * 64}
    (made_by_another / "schema.json").write_text(json.dumps(schema))
    for words, message in (
        ([f"index={made_by_another}"], "was made with another model (ffffffffffff)"),
        ([f"index={tmp_path}"], "There is no place index in"),
        (["calibrate=toycity"], "calibrate=toycity without index"),
        ([f"index={walk / 'index'}", "dynamic_size=true"], "dynamic_size=True with index="),
    ):
        done = run(*words)
        assert done.returncode == 2 and message in done.stdout + done.stderr and not (tmp_path / "b").exists()
    digest = PlaceIndex(walk / "index").model
    kept = tmp_path / f"runs/calibrations/calibration_mine_{digest[:8]}.json"
    write_calibration(kept, CALIBRATED, {"model": digest, "dataset": "mine", "data": "x", "numbers": "32-true"})
    done = run(f"index={walk / 'index'}")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert f"Confidence is that of {kept}" in said and "place bundle: 24 photos" in said
    (line,) = lines(locate(tmp_path / "b", walk / "asked/3.jpg"))
    assert line["matches"] and line["confidence"] is not None
    assert "## Find places" in (tmp_path / "b/README.md").read_text()


def test_the_scripts_need_four_packages() -> None:
    allowed = {"numpy", "onnxruntime", "PIL", "simplejpeg", "cv2"} | {Path(script).stem for script in SCRIPTS}
    for script in (*SCRIPTS, "describe.py"):
        text = (TEMPLATES / script).read_text()
        assert len(text.splitlines()) <= 200
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            outside = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
            assert outside <= allowed | {"describe"}
