"""A picture that compresses like a photograph: smooth shapes, edges, and grain."""
import numpy
from PIL import Image, ImageFilter


def photograph(rng, width, height):
    state = numpy.random.default_rng(rng.getrandbits(32))
    small = state.integers(0, 255, (max(2, height // 60), max(2, width // 60), 3)).astype("uint8")
    image = Image.fromarray(small).resize((width, height), Image.BICUBIC).filter(ImageFilter.GaussianBlur(2))
    grain = state.normal(0, 5, (height, width, 1)).astype("float32")
    return Image.fromarray((numpy.asarray(image, dtype="float32") + grain).clip(0, 255).astype("uint8"))
