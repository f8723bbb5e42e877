"""What the program makes of vectors: evaluation of folders, search, matrices in files; and that it needs no more of
a folder than a verb uses."""
import os
import shutil

import dump_reference
import make_model
import numpy
from common import random_picture


def run(session):
    for kind in ("clip", "vit"):
        with session.guard(f"evaluation, {kind}"):
            check_evaluation(session, kind)
    with session.guard("search"):
        check_search(session)
    with session.guard("files"):
        check_files(session)
    with session.guard("parts of a folder"):
        check_parts(session)


def make(session, kind, **changes):
    folder = session.new_folder(f"{kind}-model")
    return make_model.make(kind, folder, session.rng.randrange(1 << 30), "tiny", **changes)


def check_evaluation(session, kind):
    """Accuracy, top 5 and the confusion matrix of a folder with a folder a class."""
    classes = ["Hund", "cup", "red car", "tree frog", "tench", "zebra"]
    model = make(session, kind, **({"n_labels": 6, "labels": classes} if kind == "vit" else {}))
    reference = dump_reference.Reference(model)
    data = session.new_folder(f"{kind}-data")
    wanted = numpy.zeros((len(classes), len(classes)), dtype=int)
    first_five = 0
    names = None
    if kind == "clip":
        columns = numpy.stack([unit(reference.words(c)["text.vector"]) for c in classes])
    for row, label in enumerate(classes):
        os.makedirs(f"{data}/{label}")
        for i in range(3):
            path = f"{data}/{label}/{i}.png"
            random_picture(session.rng).save(path)
            stages = reference.image(path)
            scores = stages["vision.logits"].numpy() if kind == "vit" else columns @ unit(stages["vision.vector"])
            order = numpy.argsort(-scores)
            wanted[row, order[0]] += 1
            first_five += row in order[:5]
    got = session.vlm("classify", "-m", model, "--eval", data).json[-1]
    names = got["labels"]
    session.equal(f"{kind}: labels of an evaluation", sorted(names), sorted(classes))
    places = [names.index(c) for c in classes]
    confusion = numpy.array(got["confusion"])[numpy.ix_(places, places)]
    session.equal(f"{kind}: pictures of an evaluation", got["pictures"], 3 * len(classes))
    session.equal(f"{kind}: confusion", confusion.tolist(), wanted.tolist())
    session.close(f"{kind}: accuracy", [got["accuracy"]], [wanted.trace() / wanted.sum()], 1e-6)
    session.close(f"{kind}: top 5", [got["top5"]], [first_five / wanted.sum()], 1e-6)


def unit(vector):
    vector = numpy.asarray(vector, dtype="float64")
    return vector / numpy.linalg.norm(vector)


def check_search(session):
    model = make(session, "clip")
    reference = dump_reference.Reference(model)
    data = session.new_folder("search-data")
    paths = [f"{data}/{i:02d}.png" for i in range(12)]
    for path in paths:
        random_picture(session.rng).save(path)
    vectors = {p: unit(reference.image(p)["vision.vector"]) for p in paths}
    for query, vector in (("a red car", unit(reference.words("a red car")["text.vector"])), (paths[3], vectors[paths[3]])):
        got = session.vlm("search", "-m", model, "--top", 5, query, data).json
        scores = sorted(((float(v @ vector), p) for p, v in vectors.items()), reverse=True)[: len(got)]
        session.equal(f"search for {os.path.basename(query)}: how many", len(got), 5)
        session.ok(f"search for {os.path.basename(query)}: scores", numpy.allclose([o["score"] for o in got], [s for s, _ in scores], atol=2e-6))
        session.equal(f"search for {os.path.basename(query)}: order", [o["input"] for o in got], [p for _, p in scores])


def check_files(session):
    """--file has a text a line, --npy the matrix; numbers are printed so that they read as the same float32."""
    model = make(session, "clip")
    folder = session.new_folder("files")
    texts = ["a cat", "zwei Hunde", "  spaces  inside ", "猫"]
    with open(f"{folder}/words.txt", "w", encoding="utf-8") as f:
        f.write("\n".join(texts) + "\n")
    picture = f"{folder}/a.png"
    random_picture(session.rng).save(picture)
    result = session.vlm("embed", "-m", model, "--file", f"{folder}/words.txt", "--npy", f"{folder}/matrix.npy", picture)
    matrix = numpy.load(f"{folder}/matrix.npy")
    session.equal("rows and type of the matrix", (matrix.shape[0], str(matrix.dtype)), (5, "float32"))
    session.ok("vectors have unit length", numpy.allclose(numpy.linalg.norm(matrix.astype("float64"), axis=1), 1, atol=1e-6))
    if result.json:
        printed = numpy.array([o["vector"] for o in result.json], dtype="float64").astype("float32")
        session.ok("printed numbers read as the same float32", printed.tobytes() == matrix.tobytes())
    alone = session.vlm("embed", "-m", model, *[x for t in texts for x in ("--text", t)], picture)
    printed = numpy.array([o["vector"] for o in alone.json], dtype="float64").astype("float32")
    session.ok("--text gives what --file gives, and --npy what is printed", sorted(map(bytes, printed)) == sorted(map(bytes, matrix)))


def check_parts(session):
    model = make(session, "clip", tokenizer="both")
    words, pixels = session.new_folder("words-only"), session.new_folder("pixels-only")
    for name in os.listdir(model):
        if name.startswith(("tokenizer", "vocab", "merges", "special")):
            shutil.copy(f"{model}/{name}", words)
    shutil.copy(f"{model}/preprocessor_config.json", pixels)
    picture = f"{pixels}/a.png"
    random_picture(session.rng).save(picture)
    a, b = (session.vlm("tokenize", "-m", folder, "--", "a cat").stdout for folder in (words, model))
    session.ok("a tokenizer's files are enough to tokenize", a == b)
    for folder, out in ((pixels, "one.npy"), (model, "two.npy")):
        session.vlm("pixels", "-m", folder, picture, "-o", f"{pixels}/{out}", as_json=False)
    session.ok("preprocessor_config.json is enough for pixels", open(f"{pixels}/one.npy", "rb").read() == open(f"{pixels}/two.npy", "rb").read())
    failed = session.vlm("embed", "-m", words, "--text", "a cat", status=None)
    session.ok("a folder without weights is an error for embed", failed.status == 1 and failed.stderr.strip() != "", failed.stderr)
