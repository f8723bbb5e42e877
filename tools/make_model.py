"""Make a model with random weights, in one of the layouts that vlm reads.

    make_model.py KIND OUT [--seed N] [--size tiny|small|real] [--set name=value]...

The folder is what the hub would serve: config, weights, tokenizer, preprocessor. The weights are random but
of the scale of trained ones: activations are of order one after every block, attention is not uniform, norms
and biases are not trivial, so that a slip anywhere shows in the result. `--seed` decides everything that
`--set` does not: widths, heads, depths, patch sizes, the activation, which files and number types are written.

Kinds: see KINDS at the end. The same functions serve tests/live, which makes new models on each run.
"""
import argparse
import gzip
import json
import math
import os
import random
import shutil
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import transformers  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


# ---- weights ------------------------------------------------------------------------------------------


def randomise(module, seed):
    """Fill the parameters of a module, each from its own stream, so that one more layer changes no other."""
    with torch.no_grad():
        for number, (name, parameter) in enumerate(sorted(module.named_parameters())):
            generator = torch.Generator().manual_seed(seed * 1000003 + number)
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            parameter.copy_(_scaled(name, parameter.shape, noise, generator))
    return module


def _scaled(name, shape, noise, generator):
    last = name.rsplit(".", 1)[-1]
    if "logit_scale" in name:
        return torch.full(tuple(shape), math.log(5 + 60 * torch.rand((), generator=generator).item()))
    if "logit_bias" in name:
        return torch.full(tuple(shape), -10 * torch.rand((), generator=generator).item())
    if len(shape) == 1:
        if last == "weight":
            return 1 + 0.2 * noise  # a norm's gain
        return 0.5 * noise if "class_embedding" in name or last == "gamma" else 0.1 * noise
    if "token_embedding" in name or "word_embeddings" in name:
        return 0.6 * noise
    if "position" in name or "cls_token" in name or "class_embedding" in name or "probe" in name:
        return 0.4 * noise
    if last in ("proj", "text_projection"):  # OpenCLIP's [width, out], used as x @ proj
        return noise / math.sqrt(shape[0])
    fan_in = math.prod(shape[1:])
    gain = torch.ones(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    if last == "in_proj_weight":  # queries and keys sharper than values
        gain[: 2 * shape[0] // 3] = 1.4
    elif any(part in name for part in ("q_proj", "k_proj", "query", "key", "q_lin", "k_lin")):
        gain *= 1.4
    return gain * noise / math.sqrt(fan_in)


def write_weights(state, folder, stem="model", files="safetensors", dtype="f32", shards=3, extra=None):
    """state -> folder/<stem>.safetensors, .bin or shards with an index. `extra` adds tensors that a loader has
    to ignore (old checkpoints' position_ids)."""
    state = {k: v.to(DTYPES[dtype]) if v.is_floating_point() else v for k, v in state.items()}
    state.update(extra or {})
    if files == "safetensors":
        save_safetensors({k: v.contiguous() for k, v in state.items()}, f"{folder}/{stem}.safetensors")
    elif files == "bin":
        name = {"model": "pytorch_model.bin"}.get(stem, f"{stem}.bin")
        torch.save(state, f"{folder}/{name}")
    elif files == "legacy-bin":  # before zip files: refused by name, not read
        torch.save(state, f"{folder}/pytorch_model.bin", _use_new_zipfile_serialization=False)
    elif files in ("sharded", "sharded-bin"):
        safe = files == "sharded"
        base, ending = (stem, "safetensors") if safe else ("pytorch_model", "bin")
        keys, weight_map = sorted(state), {}
        for i in range(shards):
            name = f"{base}-{i + 1:05d}-of-{shards:05d}.{ending}"
            part = {k: state[k].contiguous() for k in keys[i::shards]}
            weight_map.update({k: name for k in part})
            save_safetensors(part, f"{folder}/{name}") if safe else torch.save(part, f"{folder}/{name}")
        total = sum(v.numel() * v.element_size() for v in state.values())
        write_json(f"{folder}/{base}.{ending}.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    else:
        raise ValueError(files)


def save_safetensors(state, path):
    """save_file writes mode 0600; a model in a repository is for everybody."""
    save_file(state, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1, ensure_ascii=False)
        f.write("\n")


def save_transformers(model, folder, files="safetensors", dtype="f32", rename=None, extra=None):
    """What save_pretrained writes (the hub's names), with the weights in the wanted kind of file."""
    with tempfile.TemporaryDirectory() as temporary:
        model.save_pretrained(temporary)
        state = load_file(f"{temporary}/model.safetensors")
        with open(f"{temporary}/config.json", encoding="utf-8") as f:
            config = json.load(f)
    if dtype != "f32":
        config["dtype"] = {"f16": "float16", "bf16": "bfloat16"}[dtype]
    if rename:
        state = {rename(k): v for k, v in state.items()}
    os.makedirs(folder, exist_ok=True)
    write_json(f"{folder}/config.json", config)
    write_weights(state, folder, "model", files, dtype, extra=extra)


# ---- tokenizers ---------------------------------------------------------------------------------------


def clip_merges(n=None):
    """The first n merges of CLIP's BPE (MIT), as OpenCLIP's package carries them."""
    import open_clip.tokenizer

    with gzip.open(open_clip.tokenizer.default_bpe(), "rt", encoding="utf-8") as f:
        lines = f.read().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    return merges if n is None else merges[:n]


def clip_vocab(merges, specials=("<|startoftext|>", "<|endoftext|>")):
    import open_clip.tokenizer

    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    tokens = letters + [v + "</w>" for v in letters] + ["".join(m.split()) for m in merges] + list(specials)
    return {token: i for i, token in enumerate(tokens)}


def write_clip_tokenizer(folder, n_merges, max_length, form="both", pad="<|endoftext|>"):
    """form: "new" is tokenizer.json as transformers 5 saves it, "old" vocab.json + merges.txt, "both" both.
    Returns the vocabulary's size and the ids of start, end and pad."""
    merges = clip_merges(n_merges)
    vocab = clip_vocab(merges)
    if pad not in vocab:
        vocab[pad] = len(vocab)
    os.makedirs(folder, exist_ok=True)
    tokenizer = transformers.CLIPTokenizer(
        vocab=vocab, merges=[tuple(m.split()) for m in merges], model_max_length=max_length, pad_token=pad
    )
    tokenizer.save_pretrained(folder)
    if form != "new":
        with open(f"{folder}/vocab.json", "w", encoding="utf-8") as f:
            json.dump(vocab, f, ensure_ascii=False)
        with open(f"{folder}/merges.txt", "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n" + "\n".join(merges) + "\n")
        special = dict(lstrip=False, normalized=True, rstrip=False, single_word=False)
        write_json(
            f"{folder}/special_tokens_map.json",
            {
                "bos_token": {"content": "<|startoftext|>", **special},
                "eos_token": {"content": "<|endoftext|>", **special},
                "unk_token": {"content": "<|endoftext|>", **special},
                "pad_token": pad,
            },
        )
    if form == "old":
        os.remove(f"{folder}/tokenizer.json")
    return len(vocab), vocab["<|startoftext|>"], vocab["<|endoftext|>"], vocab[pad]


WORDS = """a the of in on and photo picture drawing cat dog puppy car red blue green small big house tree water sky
person man woman child apple orange train snow beach night day two three under over black white ein eine der die das
Hund Katze Auto und im Schnee un une le la chat chien voiture dans neige el gato perro coche foto de 猫 犬 車 雪 кот собака""".split()


def write_wordpiece_tokenizer(folder, max_length, lower=False):
    """A multilingual BERT tokenizer of a few hundred pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = [chr(c) for c in range(33, 127)] + list("äöüßéèçñабвгдеклнопрст猫犬車雪")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters if c.isalnum()]
    pieces += [w for w in dict.fromkeys(w.lower() if lower else w for w in WORDS) if w not in pieces]
    pieces += ["##ing", "##s", "##er", "##en", "##e" + "d", "##ly"]
    vocab = {p: i for i, p in enumerate(dict.fromkeys(pieces))}
    os.makedirs(folder, exist_ok=True)
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower, strip_accents=None)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(f"{folder}/tokenizer.json")
    with open(f"{folder}/vocab.txt", "w", encoding="utf-8") as f:
        f.write("".join(p + "\n" for p in vocab))
    write_json(
        f"{folder}/tokenizer_config.json",
        {
            "tokenizer_class": "DistilBertTokenizer",
            "do_lower_case": lower,
            "model_max_length": max_length,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
    )
    return len(vocab)


def write_unigram_tokenizer(folder, max_length):
    """A small Unigram tokenizer of T5's shape, as SigLIP has it: </s> at the end, pad 1."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    scores += [(chr(c), -6.0 - (c % 7) / 10) for c in range(33, 127) if not chr(c).isupper()]
    for i, word in enumerate(dict.fromkeys(w.lower() for w in WORDS)):
        scores.append(("▁" + word, -5.0 - i / 30))
        if len(word) > 3:
            scores.append((word, -5.5 - i / 30))
    os.makedirs(folder, exist_ok=True)
    tokenizer = Tokenizer(models.Unigram(list(dict(scores).items()), unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.save(f"{folder}/tokenizer.json")
    write_json(
        f"{folder}/tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_length,
            "pad_token": "</s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "model_input_names": ["input_ids"],
        },
    )
    return tokenizer.get_vocab_size()


# ---- preprocessors ------------------------------------------------------------------------------------


def write_clip_preprocessor(folder, image_size, rng, form=None, **changes):
    """form: "new" as release 4.3x and later write it, "old" the feature extractor of the first CLIP folders,
    "fast" torchvision's arithmetic. Short side resized, centre crop."""
    form = form or rng.choice(["new", "new", "old", "fast"])
    config = {
        "do_resize": True,
        "do_center_crop": True,
        "do_normalize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
    }
    if form == "old":
        config.update(feature_extractor_type="CLIPFeatureExtractor", size=image_size, crop_size=image_size)
    else:
        config.update(
            image_processor_type="CLIPImageProcessorFast" if form == "fast" else "CLIPImageProcessor",
            do_convert_rgb=True,
            do_rescale=True,
            rescale_factor=1 / 255,
            size={"shortest_edge": image_size},
            crop_size={"height": image_size, "width": image_size},
        )
    config.update(changes)
    write_json(f"{folder}/preprocessor_config.json", config)


def write_square_preprocessor(folder, image_size, rng, kind="ViT", **changes):
    """Squashed to a square: ViT (bilinear, mean 0.5) and SigLIP (bicubic)."""
    config = {
        "image_processor_type": f"{kind}ImageProcessor",
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2 if kind == "ViT" else 3,
        "size": {"height": image_size, "width": image_size},
    }
    if kind == "ViT":
        config["do_convert_rgb"] = True
    config.update(changes)
    write_json(f"{folder}/preprocessor_config.json", config)


# ---- kinds --------------------------------------------------------------------------------------------

REAL_CLIP = dict(  # ViT-B/32 as openai/clip-vit-base-patch32 has it
    vision=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=32),
    text=dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8, max_position_embeddings=77),
    projection_dim=512, n_merges=None, hidden_act="quick_gelu", files="safetensors", dtype="f32", tokenizer="both",
    preprocessor="new", eos="id", position_ids=False, pad="<|endoftext|>",
)  # fmt: skip


def _tower(rng, size):
    """Random but legal sizes: any head size, widths that are no multiple of a vector, odd depths."""
    scale = {"tiny": 1, "small": 3}[size]
    heads = rng.choice([1, 2, 3, 4, 5])
    hidden = heads * rng.choice([4, 8, 9, 12, 16]) * scale
    while hidden < 24:
        hidden += heads * 4
    return dict(
        hidden_size=hidden,
        intermediate_size=int(hidden * rng.choice([1.5, 2, 4, 4.3637])),
        num_hidden_layers=rng.choice([1, 2, 3]) * (1 if size == "tiny" else 2),
        num_attention_heads=heads,
    )


def _picture_sizes(rng, size):
    patch = rng.choice([5, 6, 7, 8, 14] if size == "tiny" else [8, 14, 16, 32])
    image = patch * rng.choice([2, 3, 4, 5]) + rng.choice([0, 0, 1, patch - 1])
    return dict(image_size=image, patch_size=patch)


def _clip_settings(rng, size, changes):
    if size == "real":
        settings = json.loads(json.dumps(REAL_CLIP))
    else:
        settings = dict(
            vision={**_tower(rng, size), **_picture_sizes(rng, size)},
            text={**_tower(rng, size), "max_position_embeddings": rng.choice([9, 16, 24, 77])},
            projection_dim=rng.choice([7, 16, 20, 33]),
            n_merges=rng.choice([3, 37, 120, 300]),
            hidden_act=rng.choice(["quick_gelu", "gelu", "gelu"]),
            files=rng.choice(["safetensors", "sharded", "bin", "sharded-bin"]),
            dtype=rng.choice(["f32", "f32", "f16", "bf16"]),
            tokenizer=rng.choice(["new", "old", "both"]),
            preprocessor=rng.choice(["new", "old", "fast"]),
            eos=rng.choice(["id", "legacy"]),
            position_ids=rng.choice([True, False]),
            pad=rng.choice(["<|endoftext|>", "!", "<pad>"]),
        )
    for key, value in changes.items():
        if isinstance(value, dict):
            settings[key] = {**settings[key], **value}
        else:
            settings[key] = value
    return settings


def make_clip(out, seed, size="tiny", model_class="CLIPModel", **changes):
    """transformers' CLIPModel, or one tower: CLIPVisionModel, CLIPTextModel, and those WithProjection."""
    rng = random.Random(seed)
    s = _clip_settings(rng, size, changes)
    vision, text = dict(s["vision"]), dict(s["text"])
    for tower in (vision, text):
        tower.update(hidden_act=s["hidden_act"], projection_dim=s["projection_dim"])
        tower.setdefault("layer_norm_eps", 1e-5)
    os.makedirs(out, exist_ok=True)
    extra = {}
    if model_class not in ("CLIPVisionModelWithProjection", "CLIPVisionModel"):
        vocab, bos, eos, pad = write_clip_tokenizer(out, s["n_merges"], text["max_position_embeddings"], s["tokenizer"], s["pad"])
        text.update(vocab_size=vocab, bos_token_id=bos, pad_token_id=pad, eos_token_id=2 if s["eos"] == "legacy" else eos)
        if s["position_ids"]:
            extra["text_model.embeddings.position_ids"] = torch.arange(text["max_position_embeddings"]).reshape(1, -1)
    if not model_class.startswith("CLIPText"):
        # Pixels of another size than the model was trained on: the position table is interpolated.
        write_clip_preprocessor(out, s.get("pixels_size") or vision["image_size"], rng, s["preprocessor"])
        if s["position_ids"]:
            extra["vision_model.embeddings.position_ids"] = torch.arange((vision["image_size"] // vision["patch_size"]) ** 2 + 1).reshape(1, -1)
    t = transformers
    if model_class == "CLIPModel":
        model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=s["projection_dim"]))
    elif model_class.startswith("CLIPText"):
        model = getattr(t, model_class)(t.CLIPTextConfig(**text))
    else:
        model = getattr(t, model_class)(t.CLIPVisionConfig(**vision))
    rename, bare = None, {"CLIPVisionModel": "vision_model.", "CLIPTextModel": "text_model."}.get(model_class)
    if bare and seed % 2:  # the names of release 4
        rename = lambda name: bare + name  # noqa: E731
    elif bare:
        extra = {k.removeprefix(bare): v for k, v in extra.items()}
    save_transformers(randomise(model, seed), out, s["files"], s["dtype"], rename, extra)
    return out


def make_vit(out, seed, size="tiny", model_class="ViTForImageClassification", **changes):
    """ViTForImageClassification with labels, or a bare ViTModel with or without its pooler."""
    rng = random.Random(seed)
    if size == "real":
        s = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=16)
        s.update(n_labels=1000, files="safetensors", dtype="f32", qkv_bias=True, hidden_act="gelu", pooler=True, layer_norm_eps=1e-12)
    else:
        s = {**_tower(rng, size), **_picture_sizes(rng, size)}
        s.update(
            n_labels=rng.choice([2, 5, 11]),
            files=rng.choice(["safetensors", "sharded", "bin"]),
            dtype=rng.choice(["f32", "f16", "bf16"]),
            qkv_bias=rng.choice([True, True, False]),
            hidden_act=rng.choice(["gelu", "gelu", "gelu_pytorch_tanh", "relu"]),
            pooler=rng.choice([True, False]),
            layer_norm_eps=rng.choice([1e-12, 1e-6]),
        )
    s.update(changes)
    n_labels, files, dtype, pooler = (s.pop(k) for k in ("n_labels", "files", "dtype", "pooler"))
    preprocessor = s.pop("preprocessor", "ViT")
    pixels_size = s.pop("pixels_size", None) or s["image_size"]
    labels = ["tench", "cat, domestic cat", "Hund", "tree frog", "cup"] + [f"thing {i}" for i in range(5, n_labels)]
    labels = s.pop("labels", labels)
    classifier = model_class == "ViTForImageClassification"
    if classifier:
        s.update(id2label=dict(enumerate(labels[:n_labels])), label2id={v: i for i, v in enumerate(labels[:n_labels])})
    config = transformers.ViTConfig(**s)
    model = transformers.ViTForImageClassification(config) if classifier else transformers.ViTModel(config, add_pooling_layer=pooler)
    save_transformers(randomise(model, seed), out, files, dtype)
    if preprocessor == "ViT":
        write_square_preprocessor(out, pixels_size, rng, do_convert_rgb=True)
    else:
        write_clip_preprocessor(out, pixels_size, rng, preprocessor)
    return out


def make_siglip(out, seed, size="tiny", **changes):
    """SiglipModel: attention pooling, tanh GELU, text padded to its full length, sigmoid logits."""
    rng = random.Random(seed)
    tower = _tower(rng, "tiny" if size == "tiny" else "small")
    s = dict(
        vision={**tower, **_picture_sizes(rng, "tiny" if size == "tiny" else "small")},
        text={**tower, "max_position_embeddings": rng.choice([16, 64])},
        files=rng.choice(["safetensors", "sharded"]),
        dtype=rng.choice(["f32", "f16"]),
    )
    if size == "real":
        s = dict(
            vision=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=16),
            text=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, max_position_embeddings=64),
            files="safetensors", dtype="f32",
        )  # fmt: skip
    for key, value in changes.items():
        s[key] = {**s[key], **value} if isinstance(value, dict) else value
    os.makedirs(out, exist_ok=True)
    length = s["text"]["max_position_embeddings"]
    vocab = write_unigram_tokenizer(out, length)
    text = dict(s["text"], vocab_size=vocab, projection_size=s["vision"]["hidden_size"], pad_token_id=1, bos_token_id=0, eos_token_id=1)
    config = transformers.SiglipConfig(text_config=text, vision_config=s["vision"])
    write_square_preprocessor(out, s.get("pixels_size") or s["vision"]["image_size"], rng, kind="Siglip")
    save_transformers(randomise(transformers.SiglipModel(config), seed), out, s["files"], s["dtype"])
    return out


OPENCLIP_SHAPES = [  # head width, mlp ratio, heads of the text: the ratios of the public sizes
    dict(head_width=64, mlp_ratio=4.0),  # B, L
    dict(head_width=80, mlp_ratio=4.0),  # H: 1280 / 16
    dict(head_width=88, mlp_ratio=4.3637),  # g: 1408 / 16
    dict(head_width=104, mlp_ratio=4.9231),  # bigG: 1664 / 16
]


def openclip_config(rng, size):
    shape = rng.choice(OPENCLIP_SHAPES)
    heads, head_width = rng.choice([1, 2, 3]), rng.choice([8, 12, 16])
    text_heads = rng.choice([1, 2, 4])
    sizes = _picture_sizes(rng, size)
    config = {
        "embed_dim": rng.choice([12, 16, 24]),
        "vision_cfg": {
            "image_size": sizes["image_size"],
            "patch_size": sizes["patch_size"],
            "layers": rng.choice([1, 2, 3]),
            "width": heads * head_width,
            "head_width": head_width,
            "mlp_ratio": shape["mlp_ratio"],
        },
        "text_cfg": {
            "context_length": rng.choice([12, 32, 77]),
            "vocab_size": 49408,
            "width": text_heads * rng.choice([8, 12]),
            "heads": text_heads,
            "layers": rng.choice([1, 2]),
        },
    }
    if head_width == 16:
        config["vision_cfg"].pop("mlp_ratio")
    if rng.random() < 0.4:
        config["quick_gelu"] = True
    return config


def make_openclip(out, seed, size="tiny", arch=None, config=None, **changes):
    """A folder as OpenCLIP pushes it to the hub; with arch (a built-in name) also at its real size.
    Changes: files ("safetensors", "bin"), dtype, custom_text, hf_tokenizer (the folder's own, with n_merges),
    own_merges (OpenCLIP's merges file lies in the folder), training (a checkpoint of OpenCLIP's trainer: state_dict inside, `module.`)."""
    import open_clip

    rng = random.Random(seed)
    if arch:
        config = open_clip.get_model_config(arch)
    elif config is None:
        config = openclip_config(rng, "tiny" if size == "tiny" else "small")
    config = json.loads(json.dumps(config))
    s = dict(files=rng.choice(["safetensors", "bin"]), dtype=rng.choice(["f32", "f16", "bf16"]), n_merges=None)
    s.update(custom_text=rng.random() < 0.3, hf_tokenizer=False, own_merges=False, preprocess={}, training=False)
    s.update(changes)
    text = config["text_cfg"]
    os.makedirs(out, exist_ok=True)
    if s["hf_tokenizer"]:
        text["vocab_size"], _, _, _ = write_clip_tokenizer(out, s["n_merges"] or 0, text["context_length"], "new")
        text["hf_tokenizer_name"] = "an/organisation"
    elif s["own_merges"]:  # a copy of OpenCLIP's file beside the weights
        shutil.copyfile(open_clip.tokenizer.default_bpe(), f"{out}/bpe_simple_vocab_16e6.txt.gz")
    if s["custom_text"]:
        config["custom_text"] = True
    kwargs = {k: v for k, v in config.items() if k != "custom_text"}
    model = (open_clip.CustomTextCLIP if s["custom_text"] else open_clip.CLIP)(**kwargs)
    state = {k: v.detach().clone() for k, v in randomise(model, seed).state_dict().items()}
    preprocess = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    preprocess.update(s["preprocess"])
    if not arch:
        write_json(f"{out}/open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess})
    if s["training"]:
        state = {k: v.to(DTYPES[s["dtype"]]) for k, v in state.items()}
        saved = {"epoch": 3, "name": "run", "state_dict": {"module." + k: v for k, v in state.items()}}
        torch.save(saved, f"{out}/epoch_3.pt")
    else:
        stem = "open_clip_model" if s["files"] == "safetensors" else "open_clip_pytorch_model"
        write_weights(state, out, stem, s["files"], s["dtype"])
    return out


def make_st_clip(out, seed, size="tiny", **changes):
    """sentence-transformers' clip-ViT-B-32 layout: modules.json and 0_CLIPModel."""
    os.makedirs(out, exist_ok=True)
    make_clip(f"{out}/0_CLIPModel", seed, size, **changes)
    prefix = "sentence_transformers.models"
    write_json(f"{out}/modules.json", [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": f"{prefix}.CLIPModel"}])
    write_json(f"{out}/config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.0.0"}})
    return out


def make_st_multilingual(out, seed, size="tiny", **changes):
    """The multilingual text tower: DistilBERT, mean pooling, a dense layer without bias into CLIP's space."""
    rng = random.Random(seed)
    heads = rng.choice([1, 2, 3])
    s = dict(
        dim=heads * rng.choice([12, 16]), n_heads=heads, hidden_dim=rng.choice([40, 64]), n_layers=rng.choice([1, 2, 3]),
        max_position_embeddings=rng.choice([20, 64]), out_features=rng.choice([16, 20]), files=rng.choice(["safetensors", "bin"]),
        dtype="f32", bias=rng.random() < 0.3, activation="torch.nn.modules.linear.Identity", pooling="mean",
    )  # fmt: skip
    if size == "real":
        s.update(dim=768, n_heads=12, hidden_dim=3072, n_layers=6, max_position_embeddings=512, out_features=512)
    s.update(changes)
    max_length = min(128, s["max_position_embeddings"])
    transformer = f"{out}/0_Transformer"
    vocab = write_wordpiece_tokenizer(transformer, s["max_position_embeddings"])
    keys = ("dim", "n_heads", "hidden_dim", "n_layers", "max_position_embeddings")
    config = transformers.DistilBertConfig(vocab_size=vocab, pad_token_id=0, **{k: s[k] for k in keys})
    save_transformers(randomise(transformers.DistilBertModel(config), seed), transformer, s["files"], s["dtype"])
    write_json(f"{transformer}/sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    modes = {f"pooling_mode_{m}": m.startswith(s["pooling"]) for m in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")}
    if s["pooling"] == "mean":
        modes["pooling_mode_mean_sqrt_len_tokens"] = False
    os.makedirs(f"{out}/1_Pooling", exist_ok=True)
    write_json(f"{out}/1_Pooling/config.json", {"word_embedding_dimension": s["dim"], **modes})
    os.makedirs(f"{out}/2_Dense", exist_ok=True)
    dense = {"in_features": s["dim"], "out_features": s["out_features"], "bias": s["bias"], "activation_function": s["activation"]}
    write_json(f"{out}/2_Dense/config.json", dense)
    linear = torch.nn.Linear(s["dim"], s["out_features"], bias=s["bias"])
    state = {"linear." + k: v.detach() for k, v in randomise(linear, seed + 1).state_dict().items()}
    write_weights(state, f"{out}/2_Dense", "model", s["files"], s["dtype"])
    prefix = "sentence_transformers.models"
    modules = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    write_json(
        f"{out}/modules.json",
        [{"idx": i, "name": str(i), "path": path, "type": f"{prefix}.{kind}"} for i, (path, kind) in enumerate(modules)],
    )
    write_json(f"{out}/config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.0.0"}})
    return out


def _with(function, **fixed):
    return lambda out, seed, size="tiny", **changes: function(out, seed, size, **{**fixed, **changes})


KINDS = {
    "clip": make_clip,
    "clip-vision": _with(make_clip, model_class="CLIPVisionModelWithProjection"),
    "clip-text": _with(make_clip, model_class="CLIPTextModelWithProjection"),
    "clip-vision-bare": _with(make_clip, model_class="CLIPVisionModel"),
    "clip-text-bare": _with(make_clip, model_class="CLIPTextModel"),
    "vit": make_vit,
    "vit-bare": _with(make_vit, model_class="ViTModel"),
    "siglip": make_siglip,
    "openclip": make_openclip,
    "openclip-custom-text": _with(make_openclip, custom_text=True),
    "openclip-hf-tokenizer": _with(make_openclip, hf_tokenizer=True, n_merges=60),
    "openclip-own-merges": _with(make_openclip, own_merges=True),
    "st-clip": make_st_clip,
    "st-multilingual": make_st_multilingual,
}


def make(kind, out, seed, size="tiny", **changes):
    """Make a model of this kind in a new folder; returns the folder."""
    if os.path.exists(out):
        shutil.rmtree(out)
    return KINDS[kind](out, seed, size, **changes)


def _value(text):
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", choices=["tiny", "small", "real"], default="tiny")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, its value as JSON or a word")
    options = parser.parse_args()
    changes = {}
    for setting in options.set:
        name, _, value = setting.partition("=")
        changes[name] = _value(value)
    print(make(options.kind, options.out, options.seed, options.size, **changes), file=sys.stderr)


if __name__ == "__main__":
    main()
