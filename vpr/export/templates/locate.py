"""Find where photos were taken, by the place bundle beside this file: a JSON line for each, on the screen.

    python locate.py photo.jpg | FOLDER | clip.mp4 | rtsp://camera/stream | --camera 0
    python locate.py FOLDER --sequence 5 --geojson answers.geojson --gpx track.gpx

Needs onnxruntime, numpy, pillow and simplejpeg; for videos, cameras and streams opencv-python-headless, too.
A line holds the query, its matches, the similarity of the first, the position (mean of the matches near the first),
the confidence that the first is right, and whether that is enough (accepted); null is unknown. With --sequence N
similarities are means along lines through N frames in a row (SeqSLAM, Milford & Wyeth 2012), without a confidence.
"""

import argparse
import csv
import hashlib
import itertools
import json
import os
import pathlib
import sys

try:
    import numpy as np
    from describe import Model
    from frames import fail, frames_of
    from positions import degrees, estimate, geojson, gpx
except ImportError as error:
    print(f"locate.py: {error}. Type pip install onnxruntime numpy pillow simplejpeg", file=sys.stderr)
    raise SystemExit(2) from None

WIDTH = 5  # similarities that a confidence looks at


def unit(rows):
    """Return descriptors kept as float16 as float32 of unit length again: 16 bits change the length of each."""
    if rows.dtype == np.float32:
        return rows
    rows = rows.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class Places:
    """Photos of a bundle: names, positions (N, 2) in degrees, NaN where unknown, descriptors (N, D); and the model."""

    def __init__(self, folder, model):
        try:
            self.facts = json.loads((folder / "place.json").read_text(encoding="utf-8"))
            count, dim, digests = self.facts["photos"], self.facts["dim"], self.facts["models"]
            model = model or next(iter(digests))
            with open(folder / "photos.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
                rows = list(csv.reader(file))[1:]
            self.names = [row[0] for row in rows]
            self.positions = np.array([[float(value or "nan") for value in row[1:3]] for row in rows])
            self.descriptors = np.load(folder / "descriptors.npy", mmap_mode="r")
            if self.facts["format"] != "vpr-place-1" or self.descriptors.shape != (count, dim) or len(rows) != count:
                raise ValueError("its files do not belong together")
            if model not in digests:
                raise ValueError(f"it has no model {model}, but {', '.join(digests)}")
            if hashlib.sha256((folder / model).read_bytes()).hexdigest() != digests[model]:
                raise ValueError(f"{model} is not the one that was written with it")
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            fail(
                f"The bundle in {folder} is damaged or not complete ({error}). Write it again: export.py index=FOLDER."
            )
        if self.descriptors.size < 1 << 24:
            self.descriptors = unit(self.descriptors)
        self.model = Model(folder / model)
        calibration = self.facts.get("calibration")
        self.calibration = calibration if calibration and model in calibration["models"] else None

    def similarities(self, image):
        """Return (N,) float32 of an image of Pillow."""
        query = self.model([image])[0]
        blocks = range(0, len(self.names), 8192)
        return np.concatenate([unit(self.descriptors[low : low + 8192]) @ query for low in blocks])

    def described(self, frames, lines):
        """Yield each frame with its similarities; one that cannot be read gets its line here."""
        for frame in frames:
            if frame.error:
                lines.append({"query": frame.name, "error": frame.error})
                print(json.dumps(lines[-1]), flush=True)
            else:
                yield frame, self.similarities(frame.image)

    def answer(self, frame, similar, k):
        """Return the line of a frame with similarities (N,)."""
        best = np.argsort(-similar, kind="stable")[: max(k, WIDTH)]
        values = np.minimum(similar[best].astype(float), 1.0)
        places = [degrees(*self.positions[row].tolist()) for row in best[:k]]
        line = {"query": frame.name, **frame.facts, "matches": [], "similarity": round(values[0], 5), "position": None}
        for row, value, place in zip(best, values, places, strict=False):
            line["matches"].append({"match": self.names[row], "similarity": round(value, 5), "position": place})
        known = [number for number, place in enumerate(places) if place]
        if known:
            line["position"] = degrees(*estimate(self.positions[best[known]], values[known]))
        line |= {"confidence": None, "accepted": None}
        if calibration := self.calibration:  # as vpr.retrieval.calibration
            margin = values[0] - values[1:WIDTH].mean() if len(values) > 1 else 0.0
            z = calibration["offset"] + calibration["similarity"] * values[0] + calibration["margin"] * margin
            confidence, least = float(0.5 + 0.5 * np.tanh(z / 2)), calibration["threshold"]
            line |= {"confidence": round(confidence, 4), "accepted": least is not None and confidence >= least}
        return line


def smoothed(pairs, names, window, ahead, velocities):
    """Yield (frame, similarities), each the best mean along a line through the frames around it, as rerank=sequence."""
    folders, rows = np.array([os.path.dirname(name) for name in names]), np.arange(len(names))
    starts = np.flatnonzero(np.append(True, folders[1:] != folders[:-1]))
    lengths = np.diff(np.append(starts, len(names)))
    first, last = np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)
    steps = np.arange(window) - (window // 2 if ahead else window - 1)
    offsets = np.outer(velocities, steps)
    offsets = np.unique((np.sign(offsets) * np.floor(np.abs(offsets) + 0.5)).astype(int), axis=0)

    def best(seen, at):
        inside = [(seen[at + step][1], column) for column, step in enumerate(steps) if at + step in seen]
        means = [sum(s[np.clip(rows + line[column], first, last)] for s, column in inside) for line in offsets]
        return seen[at][0], np.max(means, axis=0) / np.float32(len(inside))

    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].group):
        seen, at = {}, -1
        for at, pair in enumerate(group):
            seen[at] = pair
            seen.pop(at - window, None)
            if at >= steps[-1]:
                yield best(seen, at - steps[-1])
        yield from (best(seen, late) for late in range(max(0, at + 1 - steps[-1]), at + 1))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="photo, folder, video, or address of a stream")
    parser.add_argument("--camera", type=int, help="number of a camera, from 0")
    parser.add_argument("--bundle", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument(
        "--model", help="file of the bundle: model.onnx, model.int8.onnx; default: the first of place.json"
    )
    parser.add_argument("--k", type=int, default=5, help="matches of a line")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two frames of video, camera, stream")
    parser.add_argument("--sequence", type=int, metavar="N", help="odd; of a live picture any, and all of it is past")
    parser.add_argument("--velocities", type=float, nargs="+", default=[0.8, 0.9, 1.0, 1.1, 1.2])
    parser.add_argument("--tries", type=int, default=0, help="of a live picture that broke off; 0: without end")
    parser.add_argument("--geojson", type=pathlib.Path)
    parser.add_argument("--gpx", type=pathlib.Path)
    args = parser.parse_args()
    if (args.source is None) == (args.camera is None):
        fail("name one source: a photo, a folder, a video, an address, or --camera 0")
    args.source = args.camera if args.source is None else args.source
    args.live = isinstance(args.source, int) or "://" in args.source
    if args.sequence is not None and (args.sequence < 2 or (args.sequence % 2 == 0 and not args.live)):
        fail(f"--sequence {args.sequence}: type 3, 5, 7 ...; of a live picture 2 or more")
    if args.k < 1 or not args.every > 0 or not np.isfinite(args.velocities).all():
        fail("--k must be 1 or more, --every above 0, --velocities finite")
    for path in filter(None, (args.geojson, args.gpx)):
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            fail(f"{path} cannot be written: it is a folder, or its folder is not there or protected")
    return args


def main():
    args, lines = arguments(), []
    places = Places(args.bundle, args.model)
    if (args.geojson or args.gpx) and np.isnan(places.positions).any(axis=1).all():
        fail("--geojson and --gpx need positions, and no photo of this bundle has one.")
    pairs = places.described(frames_of(args.source, args.every, args.tries, places.model.size), lines)
    if args.sequence:
        if places.calibration:
            print("--sequence: no confidence is given, as it was calibrated on single photos.", file=sys.stderr)
        places.calibration = None
        pairs = smoothed(pairs, places.names, args.sequence, not args.live, args.velocities)
    try:
        for frame, similar in pairs:
            lines.append(places.answer(frame, similar, args.k))
            print(json.dumps(lines[-1]), flush=True)
    except KeyboardInterrupt:
        pass  # the usual end of a live picture
    finally:
        for path, text in ((args.geojson, geojson), (args.gpx, gpx)):
            if path:
                path.write_text(text(lines), encoding="utf-8")
    errors = [line["error"] for line in lines if "error" in line]
    if errors and len(errors) == len(lines):
        fail(f"None of {len(errors):,} images can be read (first: {errors[0]}).")


if __name__ == "__main__":
    main()
