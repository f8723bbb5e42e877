"""Write tests/golden/formats: tiny checkpoints of every layout as torch and safetensors write them, and expected.json
with the names, types, shapes and CRC-32 of what is in them. Needs torch and safetensors; run it from anywhere."""
import collections
import json
import os
import struct
import sys
import warnings
import zipfile
import zlib

import safetensors.torch
import torch

warnings.filterwarnings("ignore")
FOLDER = os.path.join(os.path.dirname(__file__), "..", "tests", "golden", "formats")

NAMES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.float64: "f64", torch.int64: "i64",
         torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.bool: "bool"}
# types that are listed but not computed with: their names in pickles, and in safetensors
FOREIGN = {torch.complex64: ("complex64", "C64"), torch.float8_e4m3fn: ("float8_e4m3fn", "F8_E4M3"),
           torch.float8_e5m2: ("float8_e5m2", "F8_E5M2"), torch.uint16: ("uint16", "U16"), torch.uint32: ("uint32", "U32"),
           torch.uint64: ("uint64", "U64")}


def expected(tensors, safetensor=False):
    """What a reader must find: rows sorted by the bytes of their names."""
    rows = []
    for name, tensor in tensors.items():
        kept = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())  # contiguous() keeps odd strides of size 1
        raw = kept.flatten().view(torch.uint8).numpy().tobytes() if kept.numel() else b""
        kind = NAMES.get(tensor.dtype) or FOREIGN[tensor.dtype][1 if safetensor else 0]
        rows.append({"name": name, "type": kind, "shape": list(tensor.shape), "crc": zlib.crc32(raw)})
    return sorted(rows, key=lambda row: row["name"].encode())


def deflate(source, target):
    """The same archive, its members compressed: what repacking with a zip program makes of it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(zipfile.ZipInfo(item.filename), old.read(item.filename), zipfile.ZIP_DEFLATED)


def drop_debug_members(path):
    """TorchScript keeps the paths of its sources; a golden must be the same wherever it is made."""
    with zipfile.ZipFile(path) as old:
        kept = [(item.filename, old.read(item.filename)) for item in old.infolist() if not item.filename.endswith(".debug_pkl")]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name, content in kept:
            new.writestr(zipfile.ZipInfo(name), content)


class Attack:
    def __reduce__(self):
        return os.system, ("true",)


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)
        self.register_buffer("ids", torch.arange(4))

    def forward(self, x):
        return self.linear(x) + self.ids.sum()


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.Sequential(Inner(), Inner())
        self.logit_scale = torch.nn.Parameter(torch.tensor(4.6))

    def forward(self, x):
        return self.blocks[0](x) * self.logit_scale


def main():
    os.makedirs(FOLDER, exist_ok=True)
    torch.manual_seed(1)
    rows = {}

    def path(name):
        return os.path.join(FOLDER, name)

    def save(name, tensors, saved=None, **options):
        torch.save(tensors if saved is None else saved, path(name), **options)
        rows[name] = expected(tensors)

    plain = collections.OrderedDict()
    for i, (dtype, name) in enumerate(NAMES.items()):
        plain[f"{name}.weight"] = (torch.arange(6 + i) % 5 - (0 if dtype in (torch.uint8, torch.bool) else 2)).to(dtype).reshape(2, -1) \
            if i % 2 == 0 else (torch.arange(7) % 3).to(dtype)
    plain["scalar"] = torch.tensor(-0.5)
    plain["empty"] = torch.zeros(3, 0, 2)
    plain['quote " back \\ é tab \t'] = torch.tensor([1.5, -2.5], dtype=torch.float16)
    safetensors.torch.save_file(plain, path("plain.safetensors"), metadata={"format": "pt"})
    rows["plain.safetensors"] = expected(plain, True)

    foreign = {f"foreign.{i}": torch.frombuffer(bytearray(range(24)), dtype=dtype) for i, dtype in enumerate(FOREIGN)}
    safetensors.torch.save_file(foreign, path("foreign.safetensors"))
    rows["foreign.safetensors"] = expected(foreign, True)

    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    views = collections.OrderedDict([
        ("whole", base), ("transposed", base.t()), ("rows", base[1:3]), ("columns", base[:, 1:5:2]), ("scalar", base[2, 3]),
        ("expanded", base[:1].expand(5, 6)), ("tied", base), ("parameter", torch.nn.Parameter(torch.ones(2, 2).half())),
        ("bf16", torch.tensor([1.0, 2.0]).bfloat16()), ("ids", torch.arange(5).unsqueeze(0)), ("none", torch.zeros(0, 3))])
    save("zip.bin", views)
    save("protocol5.pt", views, pickle_protocol=5)
    save("stream.pth", views, _use_new_zipfile_serialization=False)
    training = {"epoch": 3, "name": "run", "loss": 0.25, "state_dict": {f"module.{n}": t for n, t in views.items()},
                "flags": {1, 2}, "betas": (0.9, 0.98), "big": 1 << 70, "raw": b"bytes",
                "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]}}
    save("training.pt", views, training)
    deflate(path("training.pt"), path("deflated.pt"))
    rows["deflated.pt"] = rows["training.pt"]
    save("foreign.pt", foreign)
    module = Outer()
    torch.jit.trace(module, torch.ones(1, 2)).save(path("script.pt"))
    drop_debug_members(path("script.pt"))
    rows["script.pt"] = expected(module.state_dict())

    torch.save({"weight": base, "attack": Attack()}, path("attack.bin"))
    torch.save(torch.nn.Linear(1, 1), path("module.bin"))
    torch.save({"epoch": 1, "lr": 0.5}, path("nothing.bin"))
    torch.save({"weight": torch.ones(2, dtype=torch.complex64).conj()}, path("conjugated.bin"))
    with open(path("expected.json"), "w") as out:
        json.dump(rows, out, indent=0, sort_keys=True)
        out.write("\n")
    assert struct.calcsize("l") == 8 and sys.byteorder == "little"


if __name__ == "__main__":
    main()
