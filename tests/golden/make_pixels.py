"""Small pictures of every format and what Pillow, transformers and torchvision make of them: tests/golden/pixels.

    make_pixels.py          (pillow 13.0, torch 2.14 with torchvision, transformers 5.23, open_clip 3.3)

Results are kept as CRC-32s of bytes (float32 little-endian for pixels), since every step is exact. ycck.jpg is no
output of this script: libjpeg wrote it (JCS_CMYK with jpeg_set_colorspace(JCS_YCCK)), which Pillow cannot ask for."""
import io
import json
import os
import random
import sys
import warnings
import zlib

warnings.filterwarnings("ignore")
here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "pixels")
sys.path.insert(0, os.path.join(here, "..", "live"))
import numpy  # noqa: E402
import pixels as live  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision.transforms import InterpolationMode  # noqa: E402
from torchvision.transforms.v2 import functional  # noqa: E402
from transformers.image_transforms import convert_to_rgb  # noqa: E402

FILTERS = {0: InterpolationMode.NEAREST_EXACT, 1: InterpolationMode.LANCZOS, 2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}


def crc(array):
    return f"{zlib.crc32(numpy.ascontiguousarray(array).tobytes()):08x}"


def noise(seed, n):
    """The bytes that test_resize.c makes too: the high byte of x = x * 1664525 + 1013904223."""
    out = bytearray()
    x = seed
    for _ in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(x >> 24)
    return numpy.frombuffer(bytes(out), numpy.uint8)


def write_resizes():
    rng = random.Random(1)
    lines = ["# arithmetic filter channels width height new_width new_height crc32"]
    sizes = [(1, 1, 1, 1), (1, 1, 7, 5), (7, 5, 1, 1), (2, 3, 2, 3), (30, 200, 40, 20), (30, 200, 29, 20), (200, 30, 20, 40), (64, 64, 63, 64), (64, 64, 64, 63)]
    sizes += [tuple(rng.randint(1, rng.choice([4, 20, 120])) for _ in range(4)) for _ in range(9)]
    for filter in range(6):
        for i, (w, h, new_w, new_h) in enumerate(sizes):
            channels = [1, 3, 4][(i + filter) % 3]
            values = noise(i, w * h * channels).reshape(h, w, channels)
            picture = Image.fromarray(values[:, :, 0] if channels == 1 else values, {1: "L", 3: "RGB", 4: "CMYK"}[channels])
            lines.append(f"pillow {filter} {channels} {w} {h} {new_w} {new_h} {crc(numpy.asarray(picture.resize((new_w, new_h), filter)))}")
            if filter in FILTERS and (new_w, new_h) != (1, 1):  # torch 2.14 stops on some pictures of one pixel
                tensor = torch.from_numpy(values.copy()).permute(2, 0, 1).contiguous()
                result = functional.resize(tensor, [new_h, new_w], interpolation=FILTERS[filter], antialias=True)
                lines.append(f"torchvision {filter} {channels} {w} {h} {new_w} {new_h} {crc(result.permute(1, 2, 0).numpy())}")
    return lines


def small(rng, kind, wanted):
    """A picture of the live test's generator whose name has the wanted words, and that is small."""
    while True:
        name, data = kind(rng)
        try:
            size = Image.open(io.BytesIO(data)).size
            live.opened(data)
        except Exception:
            continue
        if all(word in name for word in wanted) and 60 < size[0] * size[1] < 900 and len(data) < 3000:
            return data


def upright_set(rng):
    """One picture stored in eight ways: all must come out the same."""
    picture = Image.fromarray(live.array(rng, 3, width=11, height=7).astype(numpy.uint8))
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that orientation takes back
    for orientation, method in undo.items():
        stored = picture if method is None else picture.transpose(method)
        assert live.opened(live.saved(stored, format="PNG", exif=live.exif(orientation))).tobytes() == picture.tobytes()
        yield f"upright_{orientation}.png", live.saved(stored, format="PNG", exif=live.exif(orientation))


def write_pictures():
    rng = random.Random(7)
    kinds = {"jpeg": live.jpeg, "png": live.png, "webp": live.webp, "gif": live.gif, "tiff": live.tiff}
    files = dict(upright_set(rng))
    for i, words in enumerate([["RGB", "'progressive': False"], ["RGB", "'progressive': True"], ["L "], ["CMYK"]]):
        files[f"jpeg_{i}.jpg"] = small(rng, live.jpeg, words)
    for colour, depth in [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)]:
        interlaced = [" interlaced"] if rng.random() < 0.4 else []
        files[f"png_{colour}_{depth}.png"] = small(rng, kinds["png"], [f"colour {colour} depth {depth}", *interlaced])
    for i, words in enumerate([["RGB "], ["RGBA"], ["append"]]):
        files[f"webp_{i}.webp"] = small(rng, live.webp, words)
    for i, words in enumerate([["P"], ["L"], ["transparency"], ["append"]]):
        files[f"gif_{i}.gif"] = small(rng, live.gif, words)
    for mode in ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]:
        files[f"tiff_{mode.replace(';', '_')}.tiff"] = small(rng, live.tiff, [f"tiff {mode} "])
    files["tiff_jpeg.tiff"] = small(rng, live.tiff, ["tiff RGB jpeg"])
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    lines = ["# file mode width height crc32-on-white crc32-without-alpha"]
    for name in sorted([*files, "ycck.jpg"]):
        with open(os.path.join(folder, name), "rb") as f:
            data = f.read()
        picture = live.opened(data)
        white = crc(convert_to_rgb(live.opened(data), return_numpy=True))
        lines.append(f"{name} {picture.mode} {picture.width} {picture.height} {white} {crc(numpy.asarray(live.opened(data).convert('RGB')))}")
    return lines, sorted(files)


def write_contracts(files):
    rng = random.Random(3)
    lines = ["# transformers|openclip file height width crc32 config"]
    while len(lines) < 61:
        name = rng.choice(files)
        with open(os.path.join(folder, name), "rb") as f:
            data = f.read()
        try:
            if len(lines) % 3:
                processor, fast, config = live.random_config(rng)
                values, text = live.by_transformers(processor, fast, config, live.opened(data)), "transformers"
            else:
                size, cfg = live.random_openclip(rng)
                values, text = live.by_openclip(size, cfg, live.opened(data)), "openclip"
                config = {"size": size, **cfg}
        except Exception:
            continue
        values = values.astype("<f4")
        lines.append(f"{text} {name} {values.shape[1]} {values.shape[2]} {crc(values)} {json.dumps(config)}")
    return lines


def main():
    def write(name, lines):
        with open(os.path.join(folder, name), "w") as f:
            f.write("\n".join(lines) + "\n")

    write("resize.txt", write_resizes())
    lines, files = write_pictures()
    write("pictures.txt", lines)
    write("contracts.txt", write_contracts(files))


if __name__ == "__main__":
    main()
