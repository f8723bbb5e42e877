"""Random pictures of every format and mode through random configs of every processor, against transformers (both
its backends) and open_clip with Pillow: the same bytes before normalising, the same float32 after it."""
import io
import json
import os
import struct
import warnings
import zlib

import common
import numpy
from PIL import GifImagePlugin, Image, ImageOps, TiffImagePlugin  # noqa: F401 (the plugins register themselves)

warnings.filterwarnings("ignore")
PROCESSORS = ["CLIP", "ViT", "Blip", "Siglip", "Llava", "DeiT", "ChineseCLIP"]


# ---- Pictures ---------------------------------------------------------------------------------------------


def exif(orientation):
    data = Image.Exif()
    data[274] = orientation
    return data.tobytes()


def array(rng, channels, depth=8, width=None, height=None):
    """[height, width, channels] of integers below 2^depth: gradients, edges, noise; alpha often 0 or full."""
    if width is None:
        width, height = (max(1, round(2 ** rng.uniform(0, rng.choice([3, 6, 8.5])))) for _ in range(2))
    state = numpy.random.default_rng(rng.getrandbits(32))
    y, x = numpy.mgrid[0:height, 0:width][:, :, :, None] / max(width, height)
    wave = 0.5 + 0.5 * numpy.sin(state.uniform(0, 20, channels) * x + state.uniform(0, 20, channels) * y)
    wave = wave + state.normal(0, rng.choice([0, 0.05, 0.5]), (height, width, channels))
    values = (wave * 2**depth).clip(0, 2**depth - 1).astype(numpy.uint16)
    if channels in (2, 4) and rng.random() < 0.5:
        values[:, :, -1] = numpy.where(values[:, :, -1] < 2**depth // 3, 0, 2**depth - 1)
    return values


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_rows(values, depth, rng):
    """The bytes of a pass: each row packed and filtered by a filter taken at random."""
    height, width, channels = values.shape
    step = max(1, channels * depth // 8)
    before, out = None, b""
    for row in values.reshape(height, -1):
        if depth == 16:
            line = row.astype(">u2").tobytes()
        elif depth == 8:
            line = row.astype(numpy.uint8).tobytes()
        else:
            bits = (row[:, None] >> numpy.arange(depth - 1, -1, -1)) & 1
            line = numpy.packbits(bits.astype(numpy.uint8).ravel()).tobytes()
        line = numpy.frombuffer(line, numpy.uint8).astype(int)
        above = numpy.zeros_like(line) if before is None else before
        left = numpy.concatenate([numpy.zeros(step, int), line])[: len(line)]
        corner = numpy.concatenate([numpy.zeros(step, int), above])[: len(line)]
        kind = rng.randrange(5)
        p = left + above - corner
        a, b, c = abs(p - left), abs(p - above), abs(p - corner)
        paeth = numpy.where((a <= b) & (a <= c), left, numpy.where(b <= c, above, corner))
        guess = [0 * line, left, above, (left + above) // 2, paeth][kind]
        out += bytes([kind]) + ((line - guess) % 256).astype(numpy.uint8).tobytes()
        before = line
    return out


def png(rng):
    """A PNG of any colour type and depth, interlaced or not, with any transparency; Pillow writes only some."""
    colour, depth = rng.choice([(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)])
    values = array(rng, {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour], depth)
    height, width, channels = values.shape
    extra, after = b"", b""
    if colour == 3:
        extra += chunk(b"PLTE", bytes(rng.randrange(256) for _ in range(3 * 2**depth)))
        kind = rng.randrange(4)
        if kind == 1:
            extra += chunk(b"tRNS", bytes(rng.choice([0, 255, rng.randrange(256)]) for _ in range(rng.randint(1, 2**depth))))
        elif kind == 2:
            n = rng.randrange(2**depth)
            extra += chunk(b"tRNS", b"\xff" * n + b"\0")
    elif colour in (0, 2) and rng.random() < 0.5:
        key = values[rng.randrange(height), rng.randrange(width)]
        extra += chunk(b"tRNS", key.astype(">u2").tobytes())
    if rng.random() < 0.4:
        place = chunk(b"eXIf", exif(rng.randint(1, 8))[6:])
        if rng.random() < 0.3:
            after = place
        else:
            extra += place
    elif rng.random() < 0.1:
        text = b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation=\"%d\"/>" % rng.randint(1, 8)
        extra += chunk(b"iTXt", text)
    interlaced = rng.random() < 0.4
    if interlaced:
        data = b""
        for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
            part = values[y::dy, x::dx]
            if part.size:
                data += png_rows(part, depth, rng)
    else:
        data = png_rows(values, depth, rng)
    data = zlib.compress(data)
    cut = rng.randrange(len(data) + 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data[:cut]) + chunk(b"IDAT", data[cut:]) + after + chunk(b"IEND", b"")
    return f"png colour {colour} depth {depth}{' interlaced' if interlaced else ''}", body


def image(rng, mode):
    if mode == "P":
        picture = Image.fromarray(array(rng, 1)[:, :, 0].astype(numpy.uint8), "P")
        picture.putpalette(bytes(rng.randrange(256) for _ in range(768)))
        return picture
    if mode == "1":
        return Image.fromarray(array(rng, 1)[:, :, 0].astype(numpy.uint8)).convert("1")
    if mode == "I;16":
        return Image.fromarray(array(rng, 1, rng.choice([8, 16]))[:, :, 0])
    values = array(rng, len(mode) if mode != "L" else 1).astype(numpy.uint8)
    return Image.fromarray(values[:, :, 0] if mode == "L" else values, mode)


def saved(picture, **options):
    out = io.BytesIO()
    picture.save(out, **options)
    return out.getvalue()


def jpeg(rng):
    mode = rng.choice(["RGB", "RGB", "RGB", "L", "CMYK"])
    options = {"quality": rng.randint(1, 100), "progressive": rng.random() < 0.3, "optimize": rng.random() < 0.2}
    if mode == "RGB":
        options["subsampling"] = rng.randrange(3)
    if rng.random() < 0.2:
        options["restart_marker_blocks"] = rng.randint(1, 9)
    if rng.random() < 0.5:
        options["exif"] = exif(rng.randint(1, 8))
    elif rng.random() < 0.1:
        options["xmp"] = b"<x><tiff:Orientation>%d</tiff:Orientation></x>" % rng.randint(1, 8)
    return f"jpeg {mode} {options}", saved(image(rng, mode), format="JPEG", **options)


def webp(rng):
    mode = rng.choice(["RGB", "RGBA"])
    options = {"lossless": rng.random() < 0.5, "quality": rng.randint(1, 100), "exact": rng.random() < 0.5}
    if rng.random() < 0.5:
        options["exif"] = exif(rng.randint(1, 8))
    picture = image(rng, mode)
    if rng.random() < 0.3:
        options |= {"save_all": True, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]}
    return f"webp {mode} {sorted(options)}", saved(picture, format="WEBP", **options)


def gif(rng):
    mode = rng.choice(["P", "P", "L"])
    picture = image(rng, mode)
    options = {"interlace": rng.randrange(2)}
    if rng.random() < 0.5:
        options["transparency"] = rng.randrange(256)
    if rng.random() < 0.4:
        options |= {"save_all": True, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]}
    data = bytearray(saved(picture, format="GIF", **options))
    if rng.random() < 0.3:  # a screen that is larger or smaller than the frame
        struct.pack_into("<HH", data, 6, rng.randint(1, picture.width + 9), rng.randint(1, picture.height + 9))
    return f"gif {mode} {sorted(options)}", bytes(data)


def tiff(rng):
    mode = rng.choice(["1", "L", "LA", "P", "RGB", "RGB", "RGBA", "CMYK", "I;16"])
    compression = rng.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    if mode in ("RGB", "L", "CMYK") and rng.random() < 0.3:
        compression = "jpeg"
    if mode == "1" and rng.random() < 0.3:
        compression = "group4"
    info = TiffImagePlugin.ImageFileDirectory_v2()
    if rng.random() < 0.5:
        info[274] = rng.randint(1, 8)
    options = {"compression": compression, "tiffinfo": info}
    if rng.random() < 0.2:
        options["big_tiff"] = True
    if mode not in ("1", "P") and compression not in ("jpeg", "group4") and rng.random() < 0.3:
        info[278] = rng.randint(1, 9)  # rows in a strip
    return f"tiff {mode} {compression}", saved(image(rng, mode), format="TIFF", **options)


FORMATS = [jpeg, png, png, webp, gif, tiff]


def random_file(rng):
    while True:
        name, data = rng.choice(FORMATS)(rng)
        try:
            Image.open(io.BytesIO(data)).load()
            return name, data
        except Exception:  # a combination that Pillow writes and does not read (its TIFF has some)
            continue


def opened(data):
    """As Pillow and transformers' load_image have it, upright."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return ImageOps.exif_transpose(picture)


# ---- Configs ----------------------------------------------------------------------------------------------


def random_config(rng):
    name = rng.choice(PROCESSORS)
    fast = rng.random() < 0.5
    config = {"image_processor_type": name + "ImageProcessor" + ("Fast" if fast else "")}

    def maybe(key, value, chance=0.5):
        if rng.random() < chance:
            config[key] = value

    side = lambda: rng.randint(1, 90)  # noqa: E731
    # A small size is always given: the classes' own would make every test slow.
    config["size"] = rng.choice([side(), [side(), side()], {"height": side(), "width": side()}, {"shortest_edge": side()},
                                 {"shortest_edge": 9 + side(), "longest_edge": rng.randint(100, 200)}, {"max_height": 9 + side(), "max_width": 9 + side()}])
    maybe("resample", rng.choice([0, 1, 2, 3] if fast else [0, 1, 2, 3, 4, 5]), 0.7)
    maybe("do_resize", rng.random() < 0.7, 0.3)
    maybe("do_center_crop", rng.random() < 0.7, 0.3)
    config["crop_size"] = rng.choice([side(), {"height": side(), "width": side()}])
    maybe("do_rescale", rng.random() < 0.5, 0.3)
    maybe("rescale_factor", rng.choice([1 / 255, 1 / 127.5, 0.00392156862745098, 0.01]), 0.3)
    maybe("do_normalize", rng.random() < 0.5, 0.3)
    maybe("image_mean", [rng.random() for _ in range(3)], 0.3)
    maybe("image_std", [0.1 + rng.random() for _ in range(3)], 0.3)
    maybe("do_convert_rgb", rng.choice([True, False, None]), 0.3)
    maybe("default_to_square", rng.random() < 0.5, 0.1)
    maybe("do_pad", rng.random() < 0.7, 0.3)
    if rng.random() < 0.2:
        config["pad_size"] = {"height": 250, "width": 260}
    return name, fast, config


def by_transformers(name, fast, config, picture):
    import importlib

    module = {"Blip": "blip", "ChineseCLIP": "chinese_clip"}.get(name, name.lower())
    pil = "" if fast else "pil_"
    package = importlib.import_module(f"transformers.models.{module}.image_processing_{pil}{module}")
    processor = getattr(package, name + "ImageProcessor" + ("" if fast else "Pil"))(**config)
    if not processor.do_convert_rgb:
        picture = picture.convert("RGB")  # what transformers' pipelines hand over; the processor alone would stop
    return numpy.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


def random_openclip(rng):
    """model_cfg and preprocess_cfg of an open_clip_config.json."""
    side = lambda: rng.randint(1, 90)  # noqa: E731
    s = side()
    size = rng.choice([s, [s, s], [side(), side()]])
    cfg = {"mean": [rng.random() for _ in range(3)], "std": [0.1 + rng.random() for _ in range(3)]}
    if rng.random() < 0.7:
        cfg["interpolation"] = rng.choice(["bicubic", "bilinear", "random"])
    if rng.random() < 0.8:
        cfg["resize_mode"] = rng.choice(["shortest", "longest", "squash"])
    if rng.random() < 0.5:
        cfg["fill_color"] = rng.randint(0, 255)
    return size, cfg


def by_openclip(size, cfg, picture):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    size = tuple(size) if isinstance(size, list) else (size, size)
    known = {**cfg, "size": size, "mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])}
    return image_transform_v2(PreprocessCfg(**known), is_train=False)(picture).numpy()


# ---- The comparison ---------------------------------------------------------------------------------------


def by_vlm(session, folder, path):
    out = os.path.join(os.path.dirname(path), "out.npy")
    session.vlm("pixels", "-m", folder, "-o", out, "--", path)
    return numpy.load(out)


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(value, f)


def compare(session, name, got, wanted):
    """Bit for bit: every step of ours rounds where the reference rounds."""
    wanted = wanted.astype(numpy.float32)
    if got.shape != wanted.shape:
        return session.ok(name, False, f"shape {got.shape}, wanted {wanted.shape}")
    different = numpy.count_nonzero(got != wanted)
    return session.ok(name, different == 0, f"{different} of {got.size} values differ, by {abs(got - wanted).max():.3g} at most")


def save(session, folder, i, data):
    path = os.path.join(folder, f"picture-{i}")
    with open(path, "wb") as f:
        f.write(data)
    return path


def run_conversions(session, n):
    folder = session.new_folder("convert")
    models = {}
    for alpha, to_rgb in (("white", True), ("dropped", False)):
        models[alpha] = session.new_folder(alpha)
        write_json(models[alpha], "preprocessor_config.json", {
            "image_processor_type": "CLIPImageProcessor", "do_resize": False, "do_center_crop": False, "do_rescale": False,
            "do_normalize": False, "do_convert_rgb": to_rgb})
    from transformers.image_transforms import convert_to_rgb

    for i in range(n):
        name, data = random_file(session.rng)
        path = save(session, folder, i, data)
        with session.guard(f"{i} {name}"):
            wanted = convert_to_rgb(opened(data), return_numpy=True).transpose(2, 0, 1)
            compare(session, f"{i} {name} on white", by_vlm(session, models["white"], path), wanted)
            wanted = numpy.asarray(opened(data).convert("RGB")).transpose(2, 0, 1)
            compare(session, f"{i} {name} with its alpha dropped", by_vlm(session, models["dropped"], path), wanted)


def run_transformers(session, n):
    for i in range(n):
        name, data = random_file(session.rng)
        processor, fast, config = random_config(session.rng)
        folder = session.new_folder("transformers")
        path = save(session, folder, i, data)
        if session.rng.random() < 0.3:
            write_json(folder, "processor_config.json", {"image_processor": config, "processor_class": "XProcessor"})
        else:
            write_json(folder, "preprocessor_config.json", config)
        title = f"{i} {name} {opened(data).size} through {config}"
        try:
            wanted = by_transformers(processor, fast, config, opened(data))
        except Exception as error:
            session.ok(f"{title} is refused", session.vlm("pixels", "-m", folder, "-o", os.path.join(folder, "out.npy"), "--", path, status=None).status == 1,
                       f"the reference says {str(error)[:200]}")
            continue
        with session.guard(title):
            compare(session, title, by_vlm(session, folder, path), wanted)


def run_openclip(session, n):
    for i in range(n):
        name, data = random_file(session.rng)
        size, cfg = random_openclip(session.rng)
        folder = session.new_folder("openclip")
        path = save(session, folder, i, data)
        write_json(folder, "open_clip_config.json", {
            "model_cfg": {"embed_dim": 64, "vision_cfg": {"image_size": size, "layers": 1, "width": 64, "patch_size": 1},
                          "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}},
            "preprocess_cfg": cfg})
        title = f"{i} {name} {opened(data).size} through open_clip {size} {cfg}"
        try:
            wanted = by_openclip(size, cfg, opened(data))
        except Exception as error:
            session.ok(f"{title} is refused", session.vlm("pixels", "-m", folder, "-o", os.path.join(folder, "out.npy"), "--", path, status=None).status == 1,
                       f"the reference says {str(error)[:200]}")
            continue
        with session.guard(title):
            compare(session, title, by_vlm(session, folder, path), wanted)


def run_truncated(session, n):
    """Where Pillow stops, so do we; where it reads the whole picture we give its pixels or stop (giflib and
    libwebp want the bytes behind the last pixel too)."""
    model, folder = session.new_folder("model"), session.new_folder("truncated")
    write_json(model, "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor", "do_resize": False, "do_rescale": False, "do_normalize": False})
    for i in range(n):
        name, data = random_file(session.rng)
        data = data[: session.rng.choice([session.rng.randrange(len(data)), max(0, len(data) - session.rng.randint(1, 40))])]
        path, out = save(session, folder, i, data), os.path.join(folder, "out.npy")
        result = session.vlm("pixels", "-m", model, "-o", out, "--", path, status=None)
        try:
            wanted = numpy.asarray(opened(data).convert("RGB")).transpose(2, 0, 1)
        except Exception:
            session.ok(f"{i} {name} cut to {len(data)} bytes is refused", result.status == 1 and result.stderr, f"status {result.status}")
            continue
        if result.status == 0:
            compare(session, f"{i} {name} cut to {len(data)} bytes", numpy.load(out), wanted)
        else:
            session.equal(f"{i} {name} cut to {len(data)} bytes", result.status, 1)


def run(session):
    run_conversions(session, 120)
    run_transformers(session, 150)
    run_openclip(session, 60)
    run_truncated(session, 60)
