"""Describe photos: python describe.py a.jpg ... [--model model.int8.onnx] prints a JSON line with each descriptor."""

import argparse
import json
import pathlib

import numpy as np  # pip install onnxruntime numpy pillow simplejpeg
import onnxruntime
import simplejpeg
from PIL import Image

onnxruntime.set_default_logger_severity(4)  # what is wrong is said here
FILE = pathlib.Path(__file__).with_name("model.onnx")
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> turn or flip of Pillow that makes it upright


class Model:
    """Model of a folder that export.py wrote: `Model()(["a.jpg"])` -> descriptors (N, dim) float32, unit rows."""

    def __init__(self, path=FILE):
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            self.info = self.session.get_modelmeta().custom_metadata_map
            self.size = tuple(json.loads(self.info["size"]))  # height, width
            self.filter = Image.Resampling[self.info["interpolation"].upper()]  # antialiased, not as cv2's
        except Exception as error:  # onnxruntime has an error class for each of many ways
            raise ValueError(f"{path} is missing, damaged or not of export.py: copy the whole folder again.") from error

    def __call__(self, photos):
        images = [photo if isinstance(photo, Image.Image) else read(photo, self.size) for photo in photos]
        narrow = [image.resize((self.size[1], image.height), self.filter) for image in images]  # the width comes first
        pixels = np.stack([np.asarray(image.resize(self.size[::-1], self.filter)) for image in narrow])
        return self.session.run(["descriptors"], {"images": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})[0]


def read(path, size=(0, 0)):
    """Return a file as an upright RGB image of Pillow, a large JPEG at a scale that still covers `size`."""
    try:
        data, image = pathlib.Path(path).read_bytes(), Image.open(path)
        turn = image.getexif().get(0x0112, 1)
        if data.startswith(b"\xff\xd8") and image.mode != "CMYK":
            least = size if turn < 5 else size[::-1]
            image = Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", False, False, *least, 2))
        elif image.mode.startswith("I"):  # 16 bits, which Pillow would clip
            image = Image.fromarray(((np.asarray(image).astype(int).clip(0, 65535) + 128) // 257).astype(np.uint8))
        return (image.transpose(TURNS[turn]) if turn in TURNS else image).convert("RGB")
    except Exception as error:  # decoders fail in many ways
        raise ValueError(f"{path} is missing, or no image that can be read ({error}).") from error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--model", default=FILE)
    args = parser.parse_args()
    try:
        for number, row in enumerate(Model(args.model)(args.photos).tolist()):
            print(json.dumps({"path": args.photos[number], "descriptor": row}))
    except ValueError as error:
        parser.exit(2, f"{error}\n")
