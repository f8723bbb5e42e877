"""Training against PyTorch: the loss and every gradient equal open_clip's ClipLoss, step by step, for the same
weights and batch, and torch.optim.AdamW takes the same steps. The program dumps its batches; the reference computes
on them with the model that transformers reads from the same folder."""
import math
import os

import make_model
import torch
import transformers
from common import random_picture
from safetensors.torch import load_file

STEPS, BATCH, PICTURES = 4, 6, 24
# Gradients are sums over the batch and the tokens in float32 on both sides; what differs is the order. Where a
# gradient nearly cancels (a bias of keys has the gradient zero), it is compared on the scale of the whole.
GRADIENT_TOLERANCE, LOSS_TOLERANCE = 2e-5, 2e-6
WORDS = "red blue green small big old new round flat happy sad wooden tall short dark light striped soft".split()
THINGS = "dog cat car house tree bird fish cup shoe star".split()


def run(session):
    for precision in ("id", "legacy"):
        with session.guard(f"CLIP, eos {precision}"):
            check_clip(session, precision)
    with session.guard("ViT"):
        check_vit(session)
    with session.guard("resume"):
        check_resume(session)


def write_data(session, folder):
    """Pictures with captions beside them; every caption is another, so that only pairs are positive."""
    os.makedirs(folder)
    captions = session.rng.sample([f"a {w} {t}" for w in WORDS for t in THINGS], PICTURES)
    for i, caption in enumerate(captions):
        random_picture(session.rng, 40, 36).save(f"{folder}/{i:03d}.png")
        with open(f"{folder}/{i:03d}.txt", "w", encoding="utf-8") as f:
            f.write(caption + "\n")


def write_config(folder, **train):
    settings = {
        "batch": BATCH, "steps": STEPS, "seed": 5, "optimizer": "adamw", "rate": 3e-3, "betas": [0.9, 0.98], "eps": 1e-6,
        "decay": 0.2, "gradient_clip": 1.0, "schedule": "cosine", "warm_up": 2, "checkpoint_every": 2, "log_every": 1,
    }  # fmt: skip
    settings.update(train)
    path = f"{folder}/config.json"
    make_model.write_json(path, {"train": settings})
    return path, settings


def rate_at(step, settings):
    """open_clip's cosine_lr."""
    if step < settings["warm_up"]:
        return settings["rate"] * (step + 1) / settings["warm_up"]
    return 0.5 * (1 + math.cos(math.pi * (step - settings["warm_up"]) / (settings["steps"] - settings["warm_up"]))) * settings["rate"]


def optimiser(model, settings):
    """open_clip's groups: what has fewer than two dimensions is not decayed, nor the temperature."""
    vectors = [p for p in model.parameters() if p.ndim < 2]
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "weight_decay": settings["decay"]}]
    return torch.optim.AdamW(groups, lr=settings["rate"], betas=tuple(settings["betas"]), eps=settings["eps"])


def by_hub_name(model, folder):
    """Parameters by the names of the hub, which a file holds (transformers calls some of them otherwise inside)."""
    names = {}
    values = load_file(f"{folder}/model.safetensors")
    for name, parameter in model.named_parameters():
        same = [k for k, v in values.items() if v.shape == parameter.shape and torch.equal(v.float(), parameter.detach())]
        names[same[0] if len(same) == 1 else name] = parameter
    return names


def compare_gradients(session, name, step, dump, parameters, whole):
    worst, where = 0.0, ""
    for key, parameter in parameters.items():
        got = dump.get(f"step.{step}.gradient.{key}")
        if got is None:
            return session.ok(f"{name}: step {step} has the gradient of {key}", False)
        wanted = parameter.grad
        scale = max(wanted.norm().item(), 1e-3 * whole)
        difference = (got.reshape(wanted.shape) - wanted).norm().item() / scale
        if not difference <= worst:
            worst, where = difference, key
    session.worst["difference of gradients"] = max(session.worst.get("difference of gradients", 0), worst)
    return session.ok(f"{name}: gradients of step {step}", worst <= GRADIENT_TOLERANCE, f"{where} differs by {worst:.3g}")


def take_steps(session, name, model, settings, dump, folder, compute_loss, tolerance_after):
    """The reference's run beside the dumped one. After a step the weights differ a little (AdamW divides by the
    root of the second moment, which makes much of gradients near zero), so later steps are compared less tightly."""
    parameters = by_hub_name(model, folder)
    adamw = optimiser(model, settings)
    for step in range(settings["steps"]):
        for group in adamw.param_groups:
            group["lr"] = rate_at(step, settings)
        adamw.zero_grad()
        loss = compute_loss(step)
        loss.backward()
        tolerance = LOSS_TOLERANCE if step == 0 else tolerance_after
        got = dump[f"step.{step}.loss"].item()
        session.ok(f"{name}: loss of step {step}", abs(got - loss.item()) <= tolerance * max(1, abs(loss.item())), f"{got} and {loss.item()}")
        whole = math.sqrt(sum(p.grad.norm().item() ** 2 for p in parameters.values()))
        if step == 0:
            compare_gradients(session, name, step, dump, parameters, whole)
        else:  # in the sum of all: single ones drift with the weights
            difference = sum((dump[f"step.{step}.gradient.{k}"].reshape(p.grad.shape) - p.grad).norm().item() ** 2 for k, p in parameters.items())
            session.ok(f"{name}: gradients of step {step}", math.sqrt(difference) / whole <= 5e-3, f"differ by {math.sqrt(difference) / whole:.3g}")
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["gradient_clip"])
        adamw.step()
        if hasattr(model, "logit_scale"):
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))


def check_clip(session, eos):
    from open_clip.loss import ClipLoss

    folder = session.new_folder(f"clip-{eos}")
    seed = session.rng.randrange(1 << 30)
    start = make_model.make("clip", f"{folder}/start", seed, "tiny", files="safetensors", dtype="f32", eos=eos, position_ids=False, preprocessor="new", tokenizer="new")
    write_data(session, f"{folder}/data")
    config, settings = write_config(folder)
    session.vlm("train", "clip", "--data", f"{folder}/data", "--config", config, "-o", f"{folder}/out", "--init", start,
                "--dump-gradients", f"{folder}/dump.safetensors", "--dump-steps", STEPS)  # fmt: skip
    dump = load_file(f"{folder}/dump.safetensors")
    model = transformers.CLIPModel.from_pretrained(start, dtype=torch.float32).train()
    contrast = ClipLoss()
    end = model.config.text_config.eos_token_id

    def compute_loss(step):
        ids = dump[f"step.{step}.ids"].long()
        ids[ids < 0] = 0 if end == 2 else end  # behind the end token: nothing that is pooled sees it
        images = model.get_image_features(dump[f"step.{step}.pixels"]).pooler_output
        texts = model.get_text_features(ids).pooler_output
        return contrast(torch.nn.functional.normalize(images, dim=-1), torch.nn.functional.normalize(texts, dim=-1), model.logit_scale.exp())

    take_steps(session, f"CLIP seed {seed}", model, settings, dump, start, compute_loss, 5e-3)
    trained = transformers.CLIPModel.from_pretrained(f"{folder}/out", dtype=torch.float32)  # the hub's layout: transformers reads it
    difference = math.sqrt(sum((a - b).norm().item() ** 2 for a, b in zip(trained.parameters(), model.parameters())))
    moved = math.sqrt(sum((a - b).norm().item() ** 2 for a, b in zip(transformers.CLIPModel.from_pretrained(start, dtype=torch.float32).parameters(), model.parameters())))
    session.ok(f"CLIP seed {seed}: the weights after {STEPS} steps", difference <= 2e-2 * moved, f"differ by {difference:.3g} of {moved:.3g} that they moved")


def check_vit(session):
    folder = session.new_folder("vit")
    seed = session.rng.randrange(1 << 30)
    labels = ["Hund", "cat", "tree frog"]  # in the order of folders, so that the head is kept
    start = make_model.make("vit", f"{folder}/start", seed, "tiny", files="safetensors", dtype="f32", n_labels=3, labels=labels, qkv_bias=True, hidden_act="gelu")
    for i in range(PICTURES):
        label = labels[i % len(labels)]
        os.makedirs(f"{folder}/data/{label}", exist_ok=True)
        random_picture(session.rng, 40, 36).save(f"{folder}/data/{label}/{i:03d}.png")
    config, settings = write_config(folder)
    session.vlm("train", "vit", "--data", f"{folder}/data", "--config", config, "-o", f"{folder}/out", "--init", start,
                "--dump-gradients", f"{folder}/dump.safetensors", "--dump-steps", STEPS)  # fmt: skip
    dump = load_file(f"{folder}/dump.safetensors")
    model = transformers.ViTForImageClassification.from_pretrained(start, dtype=torch.float32).train()
    take_steps(session, f"ViT seed {seed}", model, settings, dump, start,
               lambda step: torch.nn.functional.cross_entropy(model(dump[f"step.{step}.pixels"]).logits, dump[f"step.{step}.labels"].long()), 5e-3)  # fmt: skip


def check_resume(session):
    """A run that was stopped and resumed equals one that was not, byte for byte; so do runs with other threads."""
    folder = session.new_folder("resume")
    seed = session.rng.randrange(1 << 30)
    start = make_model.make("clip", f"{folder}/start", seed, "tiny", files="safetensors", dtype="f32", preprocessor="new")
    write_data(session, f"{folder}/data")
    config, _ = write_config(folder, steps=6, checkpoint_every=3)
    common_arguments = ["--data", f"{folder}/data", "--config", config, "--init", start]
    session.vlm("train", "clip", *common_arguments, "-o", f"{folder}/whole", "--threads", 1)
    session.vlm("train", "clip", *common_arguments, "-o", f"{folder}/parts", "--threads", 2, "--max-seconds", 0.000001)
    for _ in range(6):
        session.vlm("train", "clip", *common_arguments, "-o", f"{folder}/parts", "--threads", 2, "--resume", "--max-seconds", 0.000001)
    whole, parts = (open(f"{folder}/{name}/model.safetensors", "rb").read() for name in ("whole", "parts"))
    session.ok("a resumed run equals an uninterrupted one", whole == parts)
