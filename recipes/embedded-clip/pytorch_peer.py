"""Train the embedded model's network with PyTorch on the same samples: transformers' CLIPModel, open_clip's ClipLoss,
AdamW as open_clip sets it up. What comes out is evaluated by the recipe's own tool, so that the card compares like
with like.

    python recipes/embedded-clip/pytorch_peer.py --samples 256000 -o build/embedded-clip/pytorch

Needs torch, transformers, open_clip_torch, and build/embedded-clip as `make embedded` left it (drawings, the run
with its config and tokenizer, build/libvlm.a).
"""
import argparse
import ctypes
import json
import os
import shutil
import subprocess
import time

import numpy as np
import torch
from open_clip.loss import ClipLoss
from transformers import CLIPConfig, CLIPModel

RECIPE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(RECIPE))


def build_batches(folder, library):
    """The C side: the recipe's scenes and tokens as a shared object."""
    path = os.path.join(folder, "peer_batches.so")
    packages = "jansson libpcre2-8 libutf8proc libzip zlib libjpeg libpng libwebp libwebpdemux libtiff-4 cairo".split()
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs"] + packages, text=True).split()
    subprocess.check_call(["cc", "-std=gnu11", "-O2", "-fPIC", "-shared", "-o", path, f"-I{ROOT}/include", f"-I{ROOT}/src", f"{RECIPE}/peer_batches.c",
                           library] + flags + ["-lgif", "-lm", "-lpthread"])
    return ctypes.CDLL(path)


def parameter_groups(model, decay):
    """open_clip's exclusions: nothing with one dimension decays, nor the temperature."""
    plain = [p for n, p in model.named_parameters() if p.ndim < 2 or "logit_scale" in n]
    matrices = [p for n, p in model.named_parameters() if not (p.ndim < 2 or "logit_scale" in n)]
    return [{"params": plain, "weight_decay": 0.0}, {"params": matrices, "weight_decay": decay}]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", default=os.path.join(ROOT, "build/embedded-clip"))
    parser.add_argument("--library", default=os.path.join(ROOT, "build/libvlm.a"))
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()

    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    os.makedirs(args.output, exist_ok=True)
    recipe = json.load(open(os.path.join(RECIPE, "config.json")))
    run = os.path.join(args.work, "run")
    config = CLIPConfig.from_dict(json.load(open(os.path.join(run, "config.json"))))
    batch, side, context = recipe["train"]["batch"], config.vision_config.image_size, config.text_config.max_position_embeddings
    steps = args.samples // batch

    library = build_batches(args.output, args.library)
    library.peer_open.restype = ctypes.c_void_p
    library.peer_open.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_size_t] * 4 + [ctypes.c_uint64]
    library.peer_batch.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p]
    peer = library.peer_open(os.path.join(args.work, "drawings").encode(), json.dumps(recipe["data"]).encode(), run.encode(), side, batch, context, steps,
                             recipe["train"]["seed"])
    pixels = np.empty((batch, 3, side, side), np.float32)
    ids = np.empty((batch, context), np.int64)

    model = CLIPModel(config).train()
    loss_function = ClipLoss()
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe["train"]["decay"]), lr=args.rate, betas=tuple(recipe["train"]["betas"]), eps=recipe["train"]["eps"])
    warm_up, decay = recipe["train"]["warm_up"], int(recipe["train"]["decay_part"] * steps)
    began = time.time()
    for step in range(steps):
        factor = min(1, (step + 1) / warm_up, (steps - step) / max(decay, 1))
        for group in optimizer.param_groups:
            group["lr"] = args.rate * factor
        library.peer_batch(peer, step, pixels.ctypes.data, ids.ctypes.data)
        out = model(input_ids=torch.from_numpy(ids), pixel_values=torch.from_numpy(pixels))
        loss = loss_function(out.image_embeds, out.text_embeds, model.logit_scale.exp())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["train"]["gradient_clip"])
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
        if step % 20 == 0 or step + 1 == steps:
            print(f"step {step + 1} of {steps}, loss {loss.item():.4f}, {(step + 1) * batch / (time.time() - began):.0f} samples a second", flush=True)
    model.save_pretrained(args.output)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(os.path.join(run, name), args.output)
    print(f"{steps * batch} samples in {time.time() - began:.0f} s; now: {args.work}/bin/evaluate {args.output} {args.work}/drawings {RECIPE}/test-concepts.txt")


if __name__ == "__main__":
    main()
