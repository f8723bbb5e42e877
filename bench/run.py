"""Measure vlm against ONNX Runtime, OpenVINO and PyTorch, in turns, on this machine, now.

    run.py [--only PATTERN] [--rounds N] [--seconds S] [--vlm PROGRAM] [--work FOLDER]

Each row takes turns (vlm, peer, peer, vlm, ...) for N rounds of S seconds; a side's figure is the median over
rounds of its median batch. Beside it stand what the cores multiply-add and what memory gives at that moment.
Models are random, of real sizes, made once in FOLDER. Rows are printed and written to FOLDER/results.jsonl.
"""
import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(here)
sys.path[:0] = [here, os.path.join(root, "tools")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peers.inference as inference  # noqa: E402
import peers.training as training  # noqa: E402


class Bench:
    def __init__(self, options):
        self.options, self.work = options, options.work
        os.makedirs(self.work, exist_ok=True)
        self.log = open(os.path.join(self.work, "results.jsonl"), "a")
        self.peak_program = os.path.join(self.work, "peak")
        compile_peak = ["gcc", "-O3", "-march=native", "-ffast-math", "-pthread", os.path.join(here, "peak.c"), "-o", self.peak_program]
        subprocess.run(compile_peak, check=True)

    # -- models

    def model(self, name):
        import make_model

        folder = os.path.join(self.work, name)
        if not os.path.exists(os.path.join(folder, "model.safetensors")):
            if name == "clip-b32":
                make_model.make("clip", folder, 1, "real")
            else:  # the size of the embedded model (recipes/embedded-clip/config.json)
                make_model.make("clip", folder, 2, "real", n_merges=1534, projection_dim=192,
                    vision=dict(hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=3, image_size=64, patch_size=16),
                    text=dict(hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=16))  # fmt: skip
        return folder

    def picture(self, width, height):
        import random

        import common_pictures

        path = os.path.join(self.work, f"{width}x{height}.jpg")
        if not os.path.exists(path):
            common_pictures.photograph(random.Random(1), width, height).save(path, quality=90)
        return path

    # -- measuring

    def peak(self, threads):
        return json.loads(subprocess.run([self.peak_program, str(threads)], check=True, capture_output=True).stdout)

    def vlm_bench(self, *arguments):
        command = [self.options.vlm, "bench", "--json", "--seconds", str(self.options.seconds), *map(str, arguments)]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {process.stderr.strip()}")
        return json.loads(process.stdout.splitlines()[-1])

    def timed(self, step):
        """Median seconds of a function over one turn, after one call that is not counted."""
        step()
        times, end = [], time.perf_counter() + self.options.seconds
        while time.perf_counter() < end or not times:
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    def wanted(self, name):
        return not self.options.only or re.search(self.options.only, name)

    def row(self, name, sides, threads, unit=1, note=""):
        """sides: name -> function that gives seconds of one turn. The first is vlm. unit: things in a batch."""
        results = {side: [] for side in sides}
        peaks = []
        for _ in range(self.options.rounds):
            peaks.append(self.peak(threads))
            for side, turn in sides.items():
                results[side].append(turn())
        medians = {side: statistics.median(values) / unit for side, values in results.items()}
        first, *others = medians
        gflops = statistics.median(p["gflops"] for p in peaks)
        gbytes = statistics.median(p["gbytes_per_second"] for p in peaks)
        best = min((medians[o] for o in others), default=None)
        text = ", ".join(f"{side} {1e3 * value:.2f} ms" for side, value in medians.items())
        ratio = f"{best / medians[first]:.2f}x the best peer" if best else "no peer"
        print(f"{name}: {text}: {ratio} [{gflops:.0f} GFLOP/s, {gbytes:.0f} GB/s] {note() if callable(note) else note}", flush=True)
        record = {"row": name, "seconds": medians, "all": results, "ratio": best / medians[first] if best else None}
        record.update(gflops=gflops, gbytes_per_second=gbytes, threads=threads, time=time.strftime("%Y-%m-%d %H:%M:%S"), **describe())
        self.log.write(json.dumps(record) + "\n")
        self.log.flush()

    # -- rows

    def inference(self):
        for part, batches, thread_counts in (("vision", (1, 32), (1, 2)), ("text", (1, 32), (2,))):
            for batch in batches:
                for threads in thread_counts:
                    for dtype in ("f32", "bf16", "int8"):
                        name = f"{part} ViT-B/32 batch {batch}, {threads} threads, {dtype}"
                        if self.wanted(name):
                            self.tower(name, part, batch, threads, dtype)

    def tower(self, name, part, batch, threads, dtype):
        folder = self.model("clip-b32")
        arguments = ["-m", folder, "--part", part, "--batch", batch, "--threads", threads, "--dtype", "q8" if dtype == "int8" else dtype]
        seen = {}

        def vlm():
            seen.update(self.vlm_bench(*arguments))
            return seen["seconds_median"]

        sides = {"vlm": vlm}
        for peer in inference.NAMES:
            try:
                step = inference.open_peer(peer, folder, self.work, part, batch, dtype, threads)
            except Exception as error:
                print(f"  {peer}: {type(error).__name__}: {str(error)[:200]}", flush=True)
                continue
            if step:
                sides[peer] = lambda step=step: self.timed(step)
        self.row(name, sides, threads, unit=batch, note=lambda: vlm_isa(seen))

    def cold(self):
        name = "cold start to one picture's vector, ViT-B/32, 600 MB"
        if not self.wanted(name):
            return
        folder, picture = self.model("clip-b32"), self.picture(640, 480)
        onnx = inference.export(folder, "vision", os.path.join(self.work, "vision.onnx"))
        script = os.path.join(here, "peers", "cold.py")
        openclip = os.path.join(self.work, "openclip-b32")
        if not os.path.exists(f"{openclip}/open_clip_model.safetensors"):
            import make_model

            make_model.make("openclip", openclip, 3, "real", arch="ViT-B-32", files="safetensors", dtype="f32", custom_text=False)
        commands = {"vlm": [self.options.vlm, "embed", "--json", "-m", folder, picture]}
        models = {"onnxruntime": onnx, "openvino": onnx, "transformers": folder, "open_clip": f"{openclip}/open_clip_model.safetensors"}
        for peer, model in models.items():
            commands[peer] = [sys.executable, script, peer, model, picture]
        sides = {side: lambda command=command: wall(command) for side, command in commands.items()}
        for turn in sides.values():
            turn()  # the file cache is warm for all
        self.row(name, sides, os.cpu_count())

    def jpeg(self):
        name = "JPEG of 12 megapixels to pixels"
        if not self.wanted(name):
            return
        import open_clip
        import transformers
        from PIL import Image

        folder, picture = self.model("clip-b32"), self.picture(4000, 3000)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
        transform = open_clip.image_transform(224, is_train=False)
        out = os.path.join(self.work, "pixels.npy")
        tiny, tiny_out = self.picture(224, 224), os.path.join(self.work, "tiny.npy")
        command = [self.options.vlm, "pixels", "-m", folder, "-o"]
        sides = {
            "vlm": lambda: statistics.median(wall([*command, out, picture]) for _ in range(5)),
            "transformers": lambda: self.timed(lambda: processor(images=Image.open(picture), return_tensors="pt")),
            "open_clip": lambda: self.timed(lambda: transform(Image.open(picture))),
        }
        start = statistics.median(wall([*command, tiny_out, tiny]) for _ in range(5))
        self.row(name, sides, os.cpu_count(), note=f"(vlm with its start and the file: {1e3 * start:.1f} ms for a picture of 224 x 224)")

    def train(self):
        for model, batch in (("clip-b32", 32), ("clip-embedded", 128)):
            for precision in ("f32", "bf16"):
                name = f"training step {model} batch {batch}, {precision}"
                if not self.wanted(name):
                    continue
                folder, threads = self.model(model), os.cpu_count()
                arguments = ["-m", folder, "--part", "train", "--batch", batch, "--threads", threads]
                sides = {"vlm f32": lambda arguments=arguments: self.vlm_bench(*arguments)["seconds_median"]}
                step = training.open_step(folder, batch, precision, threads)
                sides[f"torch {precision}"] = lambda step=step: self.timed(step)
                self.row(name, sides, threads, note="a step")


def wall(command):
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def vlm_isa(seen):
    return f"isa {seen['isa']}" if "isa" in seen else ""


def describe():
    names = ["torch", "transformers", "onnxruntime", "openvino", "open_clip_torch", "pillow"]
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    with open("/proc/cpuinfo") as f:
        found = re.search(r"model name\s*:\s*(.*)", f.read())
    return {"versions": versions, "cpu": found.group(1) if found else platform.processor(), "cores": os.cpu_count()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="rows whose name matches this pattern")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--vlm", default=os.path.join(root, "build", "vlm"))
    parser.add_argument("--work", default=os.path.join(root, "build", "bench"))
    bench = Bench(parser.parse_args())
    print(json.dumps(describe()), flush=True)
    for section in (bench.inference, bench.cold, bench.jpeg, bench.train):
        try:
            section()
        except Exception as error:
            print(f"{section.__name__}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
