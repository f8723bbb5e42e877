"""Random checkpoints of every layout, written by torch and safetensors and read by us: the same names, types,
shapes and bytes. tests/live/dump_checkpoint.c is compiled against the library beside the program."""
import collections
import json
import os
import subprocess
import warnings

import common
import make_format_goldens as goldens
import safetensors.torch
import torch
from make_format_goldens import FOREIGN, NAMES, expected

warnings.filterwarnings("ignore", module="torch")
PACKAGES = "jansson libpcre2-8 libutf8proc libzip zlib libjpeg libpng libwebp libwebpdemux libtiff-4 cairo".split()


def build(session, folder):
    """The dump program; it links the static library that lies beside the program under test."""
    libraries = subprocess.run(["pkg-config", "--cflags", "--libs", *PACKAGES], capture_output=True, text=True, check=True)
    program = os.path.join(folder, "dump_checkpoint")
    subprocess.run(["cc", "-std=c11", "-o", program, os.path.join(common.ROOT, "tests", "live", "dump_checkpoint.c"),
                    "-I", os.path.join(common.ROOT, "include"), "-I", os.path.join(common.ROOT, "src"),
                    os.path.join(os.path.dirname(session.program), "libvlm.a"),
                    *libraries.stdout.split(), "-lgif", "-lpthread", "-lm"], check=True)
    return program


def random_tensor(generator, contiguous=False):
    """Any type, 0 to 5 dimensions, sometimes empty, sometimes a view with odd strides."""
    dtype = generator.choice(list(NAMES) + list(FOREIGN))
    shape = [generator.choice([0, 1, 1, 2, 3, 5, 7] if generator.random() < 0.1 else [1, 2, 3, 5, 7])
             for _ in range(generator.randrange(6))]
    size = 1
    for n in shape:
        size *= n
    item = torch.empty(0, dtype=dtype).element_size()
    extra = generator.randrange(3)
    data = bytes(generator.randrange(2) if dtype == torch.bool else generator.randrange(256) for _ in range((size + extra) * item))
    tensor = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
    tensor = tensor[extra:].reshape(shape)
    if contiguous:
        return tensor.clone()
    kind = generator.randrange(5)
    if kind == 1 and len(shape) > 1:
        tensor = tensor.transpose(0, -1)
    elif kind == 2 and shape and shape[-1] > 1:
        tensor = tensor[..., ::2]
    elif kind == 3 and shape and shape[0] > 1:
        tensor = tensor[1:]
    elif kind == 4:
        tensor = tensor.unsqueeze(0).expand(3, *tensor.shape)
    return tensor


def dump(program, path):
    result = subprocess.run([program, path], capture_output=True, text=True)
    if result.returncode != 0:
        raise common.Failed(f"{path}: {result.stderr}")
    return [json.loads(line) for line in result.stdout.split("\n") if line]


def refusal(program, path):
    result = subprocess.run([program, path], capture_output=True, text=True)
    return result.stderr if result.returncode == 1 and not result.stdout else "(not refused)"


def compare(session, program, path, rows, what):
    found = dump(program, path)
    different = [pair for pair in zip(found, rows) if pair[0] != pair[1]]
    session.ok(what, found == rows, f"{len(found)} of {len(rows)} tensors; the first that differ, ours and theirs: {different[:2]}")


def random_dict(generator, contiguous=False):
    tensors = collections.OrderedDict()
    for i in range(generator.randrange(1, 40)):
        tensors[f"{generator.choice(['block', 'visual', 'é.text'])}.{i}.weight"] = random_tensor(generator, contiguous)
    if not contiguous and len(tensors) > 1:
        tensors["tied"] = next(iter(tensors.values()))
    return tensors


def check_safetensors(session, program, generator, folder):
    tensors = random_dict(generator, contiguous=True)
    path = f"{folder}/model.safetensors"
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    compare(session, program, path, expected(tensors, True), "safetensors file")
    compare(session, program, folder, expected(tensors, True), "safetensors folder")


def check_shards(session, program, generator, folder):
    tensors = random_dict(generator, contiguous=True)
    for kind in "safetensors", "bin":
        stem = "model" if kind == "safetensors" else "pytorch_model"
        weight_map, shards = {}, collections.defaultdict(dict)
        for name, tensor in tensors.items():
            shard = f"{stem}-{generator.randrange(3)}.{kind}"
            weight_map[name] = shard
            shards[shard][name] = tensor
        for shard, part in shards.items():
            (safetensors.torch.save_file if kind == "safetensors" else torch.save)(part, f"{folder}/{shard}")
        with open(f"{folder}/{stem}.{kind}.index.json", "w") as out:
            json.dump({"metadata": {}, "weight_map": weight_map}, out)
        compare(session, program, folder, expected(tensors, kind == "safetensors"), f"{kind} shards")
        for name in os.listdir(folder):
            os.remove(f"{folder}/{name}")


def check_pickles(session, program, generator, folder):
    path = f"{folder}/pytorch_model.bin"
    for legacy in False, True:
        for protocol in 2, 3, 4, 5:
            tensors = random_dict(generator)
            if legacy:  # that stream knows no storages without a class
                tensors = {n: t for n, t in tensors.items() if t.dtype in NAMES or t.dtype == torch.complex64}
                tensors["at.least.one"] = torch.ones(2)
            for i, name in enumerate(list(tensors)):
                if i % 4 == 0 and (tensors[name].dtype.is_floating_point and tensors[name].dtype in NAMES):
                    tensors[name] = torch.nn.Parameter(tensors[name])
                if i % 8 == 4 and tensors[name].dtype == torch.float32:
                    tensors[name].a_note = "a tensor with an attribute"
            what = f"pickle, protocol {protocol}, {'stream' if legacy else 'zip'}"
            for saved in (tensors, {"state_dict": {f"module.{n}": t for n, t in tensors.items()}, "epoch": 3, "loss": 0.25,
                                    "name": "run", "betas": (0.9, 0.98), "flags": {1, 2}, "big": 1 << 70, "raw": b"bytes",
                                    "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]}},
                          {"model": dict(tensors), "config": {"a": {"b": [None, True, -5]}}}, {"model_state_dict": tensors}):
                torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
                compare(session, program, path, expected(tensors), what)


def check_recompressed(session, program, generator, folder):
    tensors = random_dict(generator)
    torch.save(tensors, f"{folder}/a.pt")
    goldens.deflate(f"{folder}/a.pt", f"{folder}/b.pt")
    compare(session, program, f"{folder}/b.pt", expected(tensors), "a deflated archive")


def check_script(session, program, generator, folder):
    model = goldens.Outer()
    torch.jit.trace(model, torch.randn(1, 2)).save(f"{folder}/traced.pt")
    compare(session, program, f"{folder}/traced.pt", expected(model.state_dict()), "TorchScript, traced")
    model = goldens.Inner()
    torch.jit.script(model).save(f"{folder}/scripted.pt")
    compare(session, program, f"{folder}/scripted.pt", expected(model.state_dict()), "TorchScript, scripted")


def check_refusals(session, program, generator, folder):
    for what, saved, words in (("a call", {"a": torch.ones(2), "b": goldens.Attack()}, "posix.system"),
                               ("a pickled module", torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
                               ("a pending conjugation", {"b": torch.ones(2, dtype=torch.complex64).conj()}, "resolve_conj"),
                               ("no tensors", {"a": 1}, "the keys a")):
        torch.save(saved, f"{folder}/bad.bin")
        message = refusal(program, f"{folder}/bad.bin")
        session.ok(f"{what} is refused", words in message, message)


def run(session):
    torch.manual_seed(session.seed)
    program = build(session, session.new_folder("program"))
    for check, times in ((check_safetensors, 5), (check_shards, 5), (check_pickles, 3), (check_recompressed, 3),
                         (check_script, 1), (check_refusals, 1)):
        for _ in range(times):
            with session.guard(check.__name__):
                check(session, program, session.rng, session.new_folder(check.__name__))
