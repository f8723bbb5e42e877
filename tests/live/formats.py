"""Random checkpoints of every layout, written by torch and safetensors and read by us: the same names, types,
shapes and bytes. Usage: formats.py DUMP_CHECKPOINT [SEED]; prints the seed, so that a failure can be repeated."""
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import zipfile
import zlib

import safetensors.torch
import torch

NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.float64: "f64", torch.int64: "i64",
         torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.bool: "bool"}
FOREIGN = {torch.complex64: ("complex64", "C64"), torch.float8_e4m3fn: ("float8_e4m3fn", "F8_E4M3"),
           torch.float8_e5m2: ("float8_e5m2", "F8_E5M2"), torch.uint16: ("uint16", "U16"), torch.uint32: ("uint32", "U32"),
           torch.uint64: ("uint64", "U64")}


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


def expected(tensors, safetensor=False):
    rows = []
    for name, tensor in tensors.items():
        kept = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())  # contiguous() keeps odd strides of size 1
        raw = bytes(kept.flatten().view(torch.uint8).numpy().tobytes()) if kept.numel() else b""
        kind = NAMES.get(tensor.dtype) or FOREIGN[tensor.dtype][1 if safetensor else 0]
        rows.append({"name": name, "type": kind, "shape": list(tensor.shape), "crc": zlib.crc32(raw)})
    return sorted(rows, key=lambda row: row["name"].encode())


def dump(program, path):
    result = subprocess.run([program, path], capture_output=True, text=True)
    assert result.returncode == 0, f"{path}: {result.stderr}"
    return [json.loads(line) for line in result.stdout.splitlines()]


def refusal(program, path):
    result = subprocess.run([program, path], capture_output=True, text=True)
    assert result.returncode == 1 and not result.stdout, f"{path} was not refused"
    return result.stderr


def compare(program, path, rows, what):
    found = dump(program, path)
    assert found == rows, f"{what}: {[(a, b) for a, b in zip(found, rows) if a != b][:3]}, {len(found)} of {len(rows)} tensors"


def random_dict(generator, contiguous=False):
    tensors = collections.OrderedDict()
    for i in range(generator.randrange(1, 40)):
        tensors[f"{generator.choice(['block', 'visual', 'é.text'])}.{i}.weight"] = random_tensor(generator, contiguous)
    if not contiguous and len(tensors) > 1:
        tensors["tied"] = next(iter(tensors.values()))
    return tensors


def check_safetensors(program, generator, folder):
    tensors = random_dict(generator, contiguous=True)
    path = f"{folder}/model.safetensors"
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    compare(program, path, expected(tensors, True), "safetensors file")
    compare(program, folder, expected(tensors, True), "safetensors folder")


def check_shards(program, generator, folder):
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
        compare(program, folder, expected(tensors, kind == "safetensors"), f"{kind} shards")
        for name in os.listdir(folder):
            os.remove(f"{folder}/{name}")


def check_pickles(program, generator, folder):
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
                compare(program, path, expected(tensors), what)


def check_recompressed(program, generator, folder):
    tensors = random_dict(generator)
    torch.save(tensors, f"{folder}/a.pt")
    with zipfile.ZipFile(f"{folder}/a.pt") as source, zipfile.ZipFile(f"{folder}/b.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item.filename))
    compare(program, f"{folder}/b.pt", expected(tensors), "a deflated archive")


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 5)
        self.scale = torch.nn.Parameter(torch.tensor(0.5))
        self.register_buffer("ids", torch.arange(7))

    def forward(self, x):
        return self.linear(x) * self.scale + self.ids.sum()


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.Sequential(Inner(), torch.nn.GELU(), Inner())
        self.norm = torch.nn.LayerNorm(5)
        self.small = torch.nn.Parameter(torch.randn(2, 3).half())

    def forward(self, x):
        return self.norm(self.blocks[0](x))


def check_script(program, folder):
    model = Outer()
    torch.jit.trace(model, torch.randn(2, 3)).save(f"{folder}/traced.pt") if hasattr(torch.jit, "trace") else None
    if os.path.exists(f"{folder}/traced.pt"):
        compare(program, f"{folder}/traced.pt", expected(model.state_dict()), "TorchScript, traced")
    torch.jit.script(Inner()).save(f"{folder}/scripted.pt")
    names = {row["name"] for row in dump(program, f"{folder}/scripted.pt")}
    assert names == {"linear.weight", "linear.bias", "scale", "ids"}, names


class Shell:
    def __reduce__(self):
        return os.system, ("true",)


def check_refusals(program, folder):
    torch.save({"a": torch.ones(2), "b": Shell()}, f"{folder}/evil.bin")
    assert "posix.system" in refusal(program, f"{folder}/evil.bin")
    torch.save(Inner(), f"{folder}/module.bin")
    assert "Inner" in refusal(program, f"{folder}/module.bin")
    torch.save({"a": torch.ones(2).conj(), "b": torch.ones(2, dtype=torch.complex64).conj()}, f"{folder}/conj.bin")
    assert "resolve_conj" in refusal(program, f"{folder}/conj.bin")
    torch.save({"a": 1}, f"{folder}/empty.bin")
    assert "keys a" in refusal(program, f"{folder}/empty.bin")


def main():
    program, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 31)
    print(f"formats: seed {seed}")
    generator = random.Random(seed)
    torch.manual_seed(seed)
    for check in (check_safetensors, check_shards, check_pickles, check_recompressed):
        for _ in range(5):
            with tempfile.TemporaryDirectory() as folder:
                check(program, generator, folder)
    for check in (check_script, check_refusals):
        with tempfile.TemporaryDirectory() as folder:
            check(program, folder)
    print("formats: all the same")


if __name__ == "__main__":
    main()
