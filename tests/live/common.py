"""What the live tests share.

A part of the live tests is a file tests/live/<part>.py with a function `run(session)`. It asks `session` for the
seed, for random numbers, a folder of its own and the program, and tells it what was found:

    def run(session):
        result = session.vlm("tokenize", "-m", folder, "--", "a cat")
        session.equal("ids of a cat", result.json[0]["ids"], wanted)

A part can also be run alone: `python tests/live/run.py tokens --seed 7`.
"""
import contextlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
import traceback

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tools"))


class Result:
    """A run of the program: status, stdout (bytes), stderr (text), and the objects of stdout's lines."""

    def __init__(self, process):
        self.status = process.returncode
        self.stdout = process.stdout
        self.stderr = process.stderr.decode("utf-8", "replace")

    @property
    def json(self):
        return [json.loads(line) for line in self.stdout.decode("utf-8").split("\n") if line.strip()]


class Failed(Exception):
    """The program did not do what the rest of a test stands on."""


class Session:
    def __init__(self, seed, folder, program, verbose=False):
        self.seed, self.rng, self.folder, self.program, self.verbose = seed, random.Random(seed), folder, program, verbose
        self.passed = self.failed = self.skipped = 0
        self.part = ""
        self.worst = {}  # the largest difference seen by kind, for the summary
        os.makedirs(folder, exist_ok=True)

    # -- what was found

    def ok(self, name, condition, detail=""):
        """One test. `detail` says what was found and wanted; it is printed when the condition is false."""
        if condition:
            self.passed += 1
            if self.verbose:
                print(f"ok      {self.part}: {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {self.part}: {name}{': ' if detail else ''}{detail}", flush=True)
        return bool(condition)

    def equal(self, name, got, wanted):
        return self.ok(name, got == wanted, f"got {_short(got)}, wanted {_short(wanted)}")

    def close(self, name, got, wanted, tolerance, kind=None):
        """|got - wanted| / |wanted| <= tolerance, in float64; NaN is never close."""
        difference = relative_difference(got, wanted)
        kind = kind or "relative difference"
        if not math.isnan(difference):
            self.worst[kind] = max(self.worst.get(kind, 0.0), difference)
        return self.ok(name, difference <= tolerance, f"differs by {difference:.3g}, {tolerance:.3g} is allowed")

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {self.part}: {name}: {why}", flush=True)

    @contextlib.contextmanager
    def guard(self, name):
        """An exception in the block is one failed test, and the next ones still run."""
        try:
            yield
        except Failed as error:
            self.ok(name, False, str(error))
        except Exception:
            self.ok(name, False, traceback.format_exc(limit=-4))

    # -- the program

    def vlm(self, *arguments, as_json=True, status=0, stdin=None, environment=None, timeout=300):
        """Run `vlm VERB ... --json` and demand its exit status (None: any)."""
        arguments = [os.fspath(a) if isinstance(a, (str, bytes, os.PathLike)) else str(a) for a in arguments]
        if as_json:
            arguments.insert(1, "--json")
        environment = {**os.environ, **(environment or {})}
        process = subprocess.run(
            [self.program, *arguments],
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=timeout,
        )
        result = Result(process)
        if status is not None and result.status != status:
            words = " ".join(arguments)
            raise Failed(f"vlm {_short(words)}: status {result.status}, wanted {status}: {_short(result.stderr)}")
        return result

    # -- places

    def new_folder(self, name):
        path = os.path.join(self.folder, self.part, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path


def _short(value, limit=400):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit // 2] + " ... " + text[-limit // 2 :]


def relative_difference(got, wanted):
    import numpy

    got, wanted = (numpy.asarray(x, dtype=numpy.float64).ravel() for x in (got, wanted))
    if got.shape != wanted.shape:
        return math.inf
    norm = numpy.linalg.norm(wanted)
    difference = numpy.linalg.norm(got - wanted)
    return float(difference / norm) if norm > 0 else float(difference)


def cosine(a, b):
    import numpy

    a, b = (numpy.asarray(x, dtype=numpy.float64).ravel() for x in (a, b))
    return float(a @ b / (numpy.linalg.norm(a) * numpy.linalg.norm(b)))


def random_picture(rng, width=None, height=None):
    """A picture with edges, gradients and noise, so that every filter shows: a PIL image, RGB."""
    import numpy
    from PIL import Image, ImageDraw

    width, height = width or rng.randint(18, 180), height or rng.randint(18, 180)
    state = numpy.random.default_rng(rng.getrandbits(32))
    y, x = numpy.mgrid[0:height, 0:width] / max(width, height)
    base = numpy.stack([128 + 100 * numpy.sin(state.uniform(1, 9) * x + state.uniform(1, 9) * y + c) for c in range(3)], -1)
    image = Image.fromarray((base + state.normal(0, 12, base.shape)).clip(0, 255).astype("uint8"))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(2, 6)):
        corners = [rng.uniform(-0.1, 1.1) * s for s in (width, height, width, height)]
        box = [min(corners[0], corners[2]), min(corners[1], corners[3]), max(corners[0], corners[2]), max(corners[1], corners[3])]
        getattr(draw, rng.choice(["rectangle", "ellipse"]))(box, fill=tuple(rng.randint(0, 255) for _ in range(3)))
    return image


PLAIN_TEXTS = [
    "a photo of a cat",
    "Two DOGS, in the snow!",
    "",
    " ",
    "it's 42 o'clock -- isn't it?",
    "a small orange cat in a big red car under a tree, beside a house, in the snow, at night, with a person and a child",
    "naïve café, ÄÖÜ straße",
    "猫と犬 кот и собака",
    "\U0001f436\U0001f3fd emoji \u2764\ufe0f",
]


def main_parts():
    return ["models", "tokens", "pixels", "formats", "program", "train", "language"]


def run_parts(session, parts):
    """Run tests/live/<part>.py each; a part that is missing is not counted."""
    import importlib

    for part in parts:
        if not os.path.exists(os.path.join(os.path.dirname(__file__), part + ".py")):
            continue
        session.part = part
        session.rng = random.Random(f"{session.seed} {part}")  # a part alone is the same as among the others
        began, before = time.monotonic(), (session.passed, session.failed, session.skipped)
        with session.guard("the part as a whole"):
            importlib.import_module(part).run(session)
        counts = [a - b for a, b in zip((session.passed, session.failed, session.skipped), before)]
        print(f"{part}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped in {time.monotonic() - began:.0f} s", flush=True)
