"""Models of every kind with new random weights: vlm against the library that the layout belongs to."""
import json
import os

import numpy
import torch

import dump_reference
import make_model
from common import PLAIN_TEXTS, cosine, random_picture, relative_difference

# Where the tolerances come from: f32 is what the project promises (both sides sum in float32, in another order).
# f16 changes weights alone, so it must equal the reference with matrices rounded to f16 as closely as f32 does;
# against the unrounded reference it is promised to 1e-3 on real sizes, and these tiny towers average over less.
# bf16 keeps 8 bits of weights, and of activations where the CPU multiplies it. q8 is promised as a cosine of 0.999
# on real sizes (see check_bare_checkpoint); sums over 8 to 80 values average less of it away.
TOLERANCE = {"f32": 1e-5, "f16": 3e-3, "bf16": 4e-2}
Q8_COSINE = 0.998

# Kind and settings; each is made with a seed of its own on each run.
PLAN = [
    ("clip", {}),
    ("clip", {"dtype": "f32", "files": "safetensors"}),
    ("clip", {"pixels": "larger"}),
    ("clip", {"eos": "legacy", "tokenizer": "old", "files": "bin"}),
    ("clip-vision", {}),
    ("clip-text", {}),
    ("clip-vision-bare", {}),
    ("clip-vision-bare", {}),
    ("clip-text-bare", {}),
    ("clip-text-bare", {}),
    ("vit", {}),
    ("vit", {"pixels": "larger"}),
    ("vit-bare", {}),
    ("siglip", {}),
    ("openclip", {}),
    ("openclip", {"files": "bin"}),
    ("openclip-custom-text", {}),
    ("openclip-hf-tokenizer", {}),
    ("openclip-own-merges", {}),
    ("st-clip", {}),
    ("st-multilingual", {}),
    ("st-multilingual", {"activation": "torch.nn.modules.activation.Tanh", "pooling": "cls"}),
]


def run(session):
    torch.set_num_threads(2)
    for number, (kind, changes) in enumerate(PLAN):
        seed = session.rng.randrange(1 << 30)
        name = f"{number:02d}-{kind}"
        with session.guard(f"{name} (seed {seed})"):
            changes = dict(changes)
            if changes.pop("pixels", None):
                changes["pixels_size"] = session.rng.choice([40, 57, 70])
            folder = make_model.make(kind, session.new_folder(name), seed, "tiny", **changes)
            check_model(session, f"{name} seed {seed}", folder)
    with session.guard("a bare checkpoint"):
        check_bare_checkpoint(session)
    with session.guard("the hub's cache"):
        check_hub_cache(session)


def make_inputs(session, folder, n_pictures=3):
    os.makedirs(f"{folder}/inputs", exist_ok=True)
    paths = []
    for i in range(n_pictures):
        path = f"{folder}/inputs/{i}.{session.rng.choice(['png', 'jpg', 'webp'])}"
        random_picture(session.rng).save(path, **({"lossless": True} if path.endswith("webp") else {}))
        paths.append(path)
    return paths, session.rng.sample(PLAIN_TEXTS, 4)


def by_input(result, kind=None):
    return {o["input"]: o["vector"] for o in result.json if kind is None or o["kind"] == kind}


def check_model(session, name, folder):
    reference = dump_reference.Reference(folder)
    paths, texts = make_inputs(session, folder)
    paths, texts = paths if reference.vision else [], texts if reference.text else []
    images = {p: reference.image(p) for p in paths}
    words = {t: reference.words(t) for t in texts}
    wanted = {p: s["vision.vector"].numpy() for p, s in images.items()}
    wanted.update({t: s["text.vector"].numpy() for t, s in words.items()})
    arguments = [x for t in texts for x in ("--text", t)] + ["--", *paths]

    f32 = session.vlm("embed", "-m", folder, "--raw", *arguments)
    got = by_input(f32)
    session.equal(f"{name}: one vector an input", sorted(got), sorted(wanted))
    for key, vector in wanted.items():
        if key in got:
            session.close(f"{name}: vector of {key!r}", got[key], vector, TOLERANCE["f32"], "difference of f32 vectors")
    check_dtypes(session, name, folder, arguments, wanted)
    check_sameness(session, name, folder, f32, paths, texts)
    for t in texts:
        result = session.vlm("tokenize", "-m", folder, "--", t)
        session.equal(f"{name}: ids of {t!r}", result.json[0]["ids"], words[t]["ids"].tolist())
    for p in paths[:2]:
        check_pixels(session, name, folder, p, images[p]["pixels"].numpy())
    inspected = session.vlm("inspect", "-m", folder).json[0]
    session.equal(f"{name}: parameters", inspected["parameters"], reference.n_parameters)
    if reference.labels:
        check_labels(session, name, folder, reference, images)
    elif reference.vision and reference.text and not reference.logit_bias:
        check_zero_shot(session, name, folder, reference, wanted, paths, texts)
    check_verify(session, name, folder, paths, texts)
    check_rounded(session, name, folder, reference, arguments, paths, texts)


def check_rounded(session, name, folder, reference, arguments, paths, texts):
    got = by_input(session.vlm("embed", "-m", folder, "--dtype", "f16", "--raw", *arguments))
    reference.round_matrices(torch.float16)
    for p in paths:
        wanted = reference.image(p)["vision.vector"].numpy()
        session.close(f"{name}: f16 is f32 with rounded matrices, {os.path.basename(p)}", got[p], wanted, 1e-5, "difference of f16 vectors from rounded matrices")
    for t in texts:
        wanted = reference.words(t)["text.vector"].numpy()
        session.close(f"{name}: f16 is f32 with rounded matrices, {t!r}", got[t], wanted, 1e-5, "difference of f16 vectors from rounded matrices")


def check_dtypes(session, name, folder, arguments, wanted):
    for dtype in ("f16", "bf16", "q8"):
        got = by_input(session.vlm("embed", "-m", folder, "--dtype", dtype, "--raw", *arguments))
        if dtype == "q8":
            worst = min(cosine(got[k], v) for k, v in wanted.items())
            session.worst["loss of cosine in q8"] = max(session.worst.get("loss of cosine in q8", 0), 1 - worst)
            session.ok(f"{name}: q8 cosine", worst >= Q8_COSINE, f"{worst:.6f}, {Q8_COSINE} is wanted")
        else:
            worst = max(relative_difference(got[k], v) for k, v in wanted.items())
            kind = f"difference of {dtype} vectors"
            session.worst[kind] = max(session.worst.get(kind, 0), worst)
            session.ok(f"{name}: {dtype} vectors", worst <= TOLERANCE[dtype], f"differ by {worst:.3g}, {TOLERANCE[dtype]:.3g} is allowed")


def check_sameness(session, name, folder, f32, paths, texts):
    """The same bytes for a batch of 1 and of 64, and for any number of threads."""
    lines = {json.loads(line)["input"]: line for line in f32.stdout.decode().split("\n")[:-1]}
    for threads in (1, 2, 3):
        again = session.vlm("embed", "-m", folder, "--raw", "--threads", threads, *[x for t in texts for x in ("--text", t)], "--", *paths)
        session.ok(f"{name}: {threads} threads give the same bytes", again.stdout == f32.stdout)
    for inputs, form in ((paths, lambda x: [x]), (texts, lambda x: ["--text", x])):
        if not inputs:
            continue
        alone = session.vlm("embed", "-m", folder, "--raw", *form(inputs[0])).stdout.decode().split("\n")[:-1]
        session.ok(f"{name}: {inputs[0]!r} alone gives the same bytes", alone == [lines[inputs[0]]])
        many = [inputs[i % len(inputs)] for i in range(64)]
        batch = session.vlm("embed", "-m", folder, "--raw", *[x for i in many for x in form(i)]).stdout.decode().split("\n")[:-1]
        session.ok(f"{name}: a batch of 64 gives the same bytes", batch == [lines[i] for i in many])


def check_pixels(session, name, folder, path, wanted):
    out = f"{folder}/pixels.npy"
    session.vlm("pixels", "-m", folder, path, "-o", out, as_json=False)
    got = numpy.load(out)
    session.equal(f"{name}: type and shape of pixels", (str(got.dtype), got.shape), ("float32", wanted.shape))
    if got.shape == wanted.shape:
        # The levels are equal; what is left is one rounding of (v / 255 - mean) / std.
        worst = float(numpy.abs(got - wanted).max())
        session.worst["difference of pixels"] = max(session.worst.get("difference of pixels", 0), worst)
        session.ok(f"{name}: pixels of {os.path.basename(path)}", worst <= 2e-6, f"differ by {worst:.3g}")


def check_labels(session, name, folder, reference, images):
    for path, stages in images.items():
        probabilities = torch.softmax(stages["vision.logits"].double(), -1).numpy()
        got = session.vlm("classify", "-m", folder, "--top", len(reference.labels), path).json[0]["labels"]
        order = sorted(range(len(reference.labels)), key=lambda i: -probabilities[i])
        session.equal(f"{name}: labels of {os.path.basename(path)}", [o["label"] for o in got], [reference.labels[i] for i in order])
        values = {o["label"]: o["probability"] for o in got}
        session.close(f"{name}: probabilities", [values.get(x, 0) for x in reference.labels], probabilities, 5e-5)


def check_zero_shot(session, name, folder, reference, vectors, paths, texts):
    unit = {k: v.astype("float64") / numpy.linalg.norm(v.astype("float64")) for k, v in vectors.items()}
    got = session.vlm("similarity", "-m", folder, *[x for t in texts for x in ("--text", t)], *paths).json[0]
    session.equal(f"{name}: rows and columns of the similarity", (got["images"], got["texts"]), (paths, texts))
    matrix = numpy.array([[unit[p] @ unit[t] for t in texts] for p in paths])
    worst = float(numpy.abs(numpy.array(got["cosine"]) - matrix).max())
    session.ok(f"{name}: similarity", worst < 1e-5, f"differs by {worst:.3g}")

    labels, templates = ["dog", "red car", "Haus"], ["a photo of a {}", "{} in the snow"]
    for used in ([], templates[:1], templates):
        columns = []
        for label in labels:
            many = [reference.words(t.format(label))["text.vector"].double().numpy() for t in used or ["{}"]]
            mean = numpy.mean([v / numpy.linalg.norm(v) for v in many], axis=0)
            columns.append(mean / numpy.linalg.norm(mean))
        options = [x for t in used for x in ("--template", t)]
        for object_ in session.vlm("classify", "-m", folder, "--labels", ",".join(labels), *options, *paths).json:
            logits = reference.logit_scale * numpy.array([unit[object_["input"]] @ c for c in columns])
            wanted = numpy.exp(logits - logits.max())
            wanted /= wanted.sum()
            values = {o["label"]: o["probability"] for o in object_["labels"]}
            # A cosine is right to 1e-6; the scale (up to 65) multiplies that in the exponent.
            session.close(f"{name}: probabilities with {len(used)} templates", [values.get(x, 0) for x in labels], wanted, 3e-4)
            shown = [o["probability"] for o in object_["labels"]]
            session.ok(f"{name}: likeliest first", shown == sorted(shown, reverse=True), str(shown))


def check_verify(session, name, folder, paths, texts):
    dump_reference.dump(folder, paths[:2], texts[:2])
    result = session.vlm("verify", "-m", folder, status=None)
    session.ok(f"{name}: verify finds nothing", result.status == 0, result.stdout.decode()[-300:] + result.stderr[-300:])
    # A stage that is wrong must be found: the check can fail.
    from safetensors.torch import load_file, save_file

    path = f"{folder}/reference/stages.safetensors"
    stages = load_file(path)
    key = session.rng.choice(sorted(k for k in stages if ".block." in k or k.endswith(".vector")))
    stages[key] = stages[key] + 0.01 * stages[key].abs().max()
    save_file(stages, path)
    result = session.vlm("verify", "-m", folder, status=None)
    session.ok(f"{name}: verify finds a changed {key}", result.status == 1, f"status {result.status}")


def check_bare_checkpoint(session):
    """A checkpoint file of OpenCLIP's at real size, with its architecture named."""
    arch = session.rng.choice(["ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16"])
    seed = session.rng.randrange(1 << 30)
    files = session.rng.choice(["safetensors", "bin"])
    folder = make_model.make("openclip", session.new_folder("bare"), seed, "real", arch=arch, files=files, dtype="f32", custom_text=False)
    path = f"{folder}/open_clip_model.safetensors" if files == "safetensors" else f"{folder}/open_clip_pytorch_model.bin"
    reference = dump_reference.Reference(path, arch)
    paths, texts = make_inputs(session, folder, 2)
    texts = texts[:2] + ["a cat  &amp; a “dog”"]
    got = by_input(session.vlm("embed", "-m", path, "--arch", arch, "--raw", *[x for t in texts for x in ("--text", t)], "--", *paths))
    for p in paths:
        session.close(f"{arch} seed {seed}: picture", got[p], reference.image(p)["vision.vector"], TOLERANCE["f32"], "difference of f32 vectors, real size")
    for t in texts:
        session.close(f"{arch} seed {seed}: {t!r}", got[t], reference.words(t)["text.vector"], TOLERANCE["f32"], "difference of f32 vectors, real size")
    # Matrices of real widths: what q8 and the halves lose is measured here.
    for dtype in ("f16", "bf16", "q8"):
        other = by_input(session.vlm("embed", "-m", path, "--arch", arch, "--dtype", dtype, "--raw", "--text", texts[0], "--", paths[0]))
        for key in (texts[0], paths[0]):
            session.worst[f"loss of cosine in {dtype}, real size"] = 1 - cosine(other[key], got[key])
            session.ok(f"{arch} {dtype}: cosine of {key!r}", cosine(other[key], got[key]) >= 0.999, f"{cosine(other[key], got[key]):.6f}")


def check_hub_cache(session):
    """A hub name is found in the local cache with the hub's own layout."""
    home = session.new_folder("hub")
    seed = session.rng.randrange(1 << 30)
    snapshot = f"{home}/hub/models--some-org--small-clip/snapshots/{'0123456789' * 4}"
    make_model.make("clip", snapshot, seed, "tiny")
    os.makedirs(f"{home}/hub/models--some-org--small-clip/refs")
    with open(f"{home}/hub/models--some-org--small-clip/refs/main", "w") as f:
        f.write("0123456789" * 4)
    by_name = session.vlm("embed", "-m", "some-org/small-clip", "--text", "a cat", environment={"HF_HOME": home})
    by_path = session.vlm("embed", "-m", snapshot, "--text", "a cat")
    session.ok("a hub name is the snapshot's folder", by_name.stdout == by_path.stdout)
    missing = session.vlm("embed", "-m", "some-org/not-there", "--text", "a cat", status=None, environment={"HF_HOME": home})
    session.ok("a hub name that is not in the cache is an error", missing.status == 1 and "not-there" in missing.stderr, missing.stderr)
