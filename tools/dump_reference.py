"""Write what the reference computes for a model beside it, stage by stage.

    dump_reference.py MODEL_FOLDER --pictures A.png B.jpg --texts "a cat" "two dogs" [--arch NAME]

MODEL_FOLDER/reference/reference.json lists the pictures (copied beside it), the texts and the versions;
stages.safetensors holds "image.<i>.<stage>" and "text.<i>.<stage>":
    pixels, vision.embeddings (what the first block reads), vision.block.<j>, vision.vector, vision.logits (classifiers)
    ids (int64, neither cut nor padded), text.embeddings, text.block.<j>, text.vector
Vectors are as the model gives them, not of unit length. `vlm verify -m MODEL_FOLDER` compares.

The reference computes in float32 whatever the file holds, reads pictures with Pillow's arithmetic unless the
processor's class name ends in Fast, and takes OpenCLIP's own preprocessing and cleaning for OpenCLIP's layout.
"""
import argparse
import inspect
import json
import os
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import PIL  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def versions():
    import open_clip
    import sentence_transformers
    import tokenizers

    return {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "open_clip": open_clip.__version__,
        "sentence_transformers": sentence_transformers.__version__,
        "pillow": PIL.__version__,
    }


def open_picture(path):
    """A picture as people see it: EXIF orientation applied, which is vlm's stated policy."""
    image = Image.open(path)
    image.load()
    return ImageOps.exif_transpose(image)


class Tower:
    """A forward function with the modules whose inputs and outputs are its stages."""

    def __init__(self, prefix, blocks, forward):
        self.prefix, self.blocks, self.forward = prefix, list(blocks), forward

    def run(self, *inputs):
        stages, handles = {}, []

        def first(module, arguments, keywords):
            value = arguments[0] if arguments else keywords["hidden_states"]
            stages[f"{self.prefix}.embeddings"] = value.detach()[0].clone()

        def after(name):
            def hook(module, arguments, output):
                stages[name] = (output[0] if isinstance(output, tuple) else output).detach()[0].clone()

            return hook

        if self.blocks:
            handles.append(self.blocks[0].register_forward_pre_hook(first, with_kwargs=True))
        for i, block in enumerate(self.blocks):
            handles.append(block.register_forward_hook(after(f"{self.prefix}.block.{i}")))
        try:
            with torch.no_grad():
                result = self.forward(*inputs)
        finally:
            for handle in handles:
                handle.remove()
        stages.update(result)
        return stages


class Reference:
    """A model folder as the library that its layout belongs to reads it.

    vision, text: the towers, None where the folder has none.
    pixels(picture) -> [3, H, W]; ids(text) -> list, neither cut nor padded; image(path), words(text) -> stages."""

    def __init__(self, folder, arch=None):
        self.folder, self.vision, self.text, self.logit_scale, self.logit_bias = folder, None, None, None, 0.0
        self.labels = None
        if arch or os.path.exists(f"{folder}/open_clip_config.json"):
            self._open_openclip(folder, arch)
        elif os.path.exists(f"{folder}/modules.json"):
            self._open_sentence_transformers(folder)
        else:
            self._open_transformers(folder)

    # -- transformers

    def _open_transformers(self, folder):
        with open(f"{folder}/config.json", encoding="utf-8") as f:
            config = json.load(f)
        kind = getattr(transformers, config["architectures"][0])
        self.model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        if all(k.startswith("pooler.") for k in report["missing_keys"]) and report["missing_keys"]:
            options = {"add_pooling_layer": False}  # a bare ViT saved without its pooler
            self.model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **options)
        if report["missing_keys"]:  # it would have filled them with random numbers
            raise ValueError(f"{folder}: no weights for {sorted(report['missing_keys'])[:4]}")
        self.model.eval()
        self._take_transformers(self.model, folder)

    def _take_transformers(self, model, folder):
        kind = type(model).__name__

        def other_size(pixels):
            """Pixels of another size than the model's: its position table is interpolated."""
            size = getattr(model.config, "vision_config", model.config).image_size
            size = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
            return {"interpolate_pos_encoding": True} if tuple(pixels.shape[-2:]) != size else {}

        self.n_parameters = sum(p.numel() for p in model.parameters())
        if kind in ("CLIPModel", "SiglipModel"):
            self.logit_scale = model.logit_scale.exp().item()
            self.logit_bias = model.logit_bias.item() if kind == "SiglipModel" else 0.0
        if kind in ("CLIPModel", "CLIPVisionModelWithProjection", "SiglipModel"):
            blocks = model.vision_model.encoder.layers
            image_feature = model.get_image_features if hasattr(model, "get_image_features") else None

            def forward(pixels):
                vector = image_feature(pixels, **other_size(pixels)).pooler_output if image_feature else model(pixels, **other_size(pixels)).image_embeds
                return {"vision.vector": vector[0]}

            self.vision = Tower("vision", blocks, forward)
        elif kind == "CLIPVisionModel":
            self.vision = Tower("vision", model.encoder.layers, lambda pixels: {"vision.vector": model(pixels, **other_size(pixels)).pooler_output[0]})
        elif kind == "ViTModel":
            self.vision = Tower("vision", model.layers, lambda pixels: {"vision.vector": model(pixels, **other_size(pixels)).last_hidden_state[0, 0]})
        elif kind == "ViTForImageClassification":
            names = model.config.id2label
            self.labels = [names[i] for i in range(len(names))]

            def classify(pixels):
                state = model.vit(pixels, **other_size(pixels)).last_hidden_state
                return {"vision.vector": state[0, 0], "vision.logits": model.classifier(state[:, 0])[0]}

            self.vision = Tower("vision", model.vit.layers, classify)
        if kind in ("CLIPModel", "CLIPTextModelWithProjection", "CLIPTextModel", "SiglipModel"):
            text = getattr(model, "text_model", model)
            text_feature = model.get_text_features if hasattr(model, "get_text_features") else None

            def read(ids):
                if kind == "CLIPTextModel":
                    return {"text.vector": model(ids).pooler_output[0]}
                return {"text.vector": (text_feature(ids).pooler_output if text_feature else model(ids).text_embeds)[0]}

            self.text = Tower("text", text.encoder.layers, read)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            length = text.embeddings.position_embedding.weight.shape[0]
            self.ids = lambda words: tokenizer(words)["input_ids"]
            full = {"padding": "max_length"} if kind == "SiglipModel" else {}
            self.inputs = lambda words: tokenizer(words, truncation=True, max_length=length, return_tensors="pt", **full)["input_ids"]
        if self.vision:
            self._take_processor(folder)

    def _take_processor(self, folder):
        with open(f"{folder}/preprocessor_config.json", encoding="utf-8") as f:
            config = json.load(f)
        name = config.get("image_processor_type") or config.get("feature_extractor_type") or ""
        backend = "torchvision" if name.endswith("Fast") else "pil"
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend=backend)
        self.pixels = lambda image: processor(images=image, return_tensors="pt")["pixel_values"][0]

    # -- OpenCLIP

    def _open_openclip(self, folder, arch):
        import open_clip
        from open_clip.tokenizer import SimpleTokenizer

        if arch:  # a bare checkpoint file
            self.model, _, preprocess = open_clip.create_model_and_transforms(arch, pretrained=folder, precision="fp32", load_weights=True)
            tokenizer = open_clip.get_tokenizer(arch)
        else:
            self.model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}", precision="fp32")
            tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        model = self.model.eval().float()
        self.n_parameters = sum(p.numel() for p in model.parameters())
        self.logit_scale = model.logit_scale.exp().item()
        self.logit_bias = model.logit_bias.item() if model.logit_bias is not None else 0.0
        self.pixels = preprocess
        visual = model.visual
        self.vision = Tower("vision", visual.transformer.resblocks, lambda pixels: {"vision.vector": model.encode_image(pixels)[0]})
        words = getattr(model, "text", model)
        tower = Tower("text", words.transformer.resblocks, lambda ids: {"text.vector": model.encode_text(ids)[0]})
        causal = words.attn_mask is not None
        if isinstance(tokenizer, SimpleTokenizer):
            self.ids = lambda text: [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        else:
            self.ids = lambda text: tokenizer.tokenizer(tokenizer.clean_fn(text))["input_ids"]

        def run(ids):  # padded to the context; rows behind the end see nothing and are not computed by others
            stages = Tower.run(tower, ids)
            if causal:
                n = min(len(self._last_ids), ids.shape[1])
                stages = {k: v if k == "text.vector" else v[:n] for k, v in stages.items()}
            return stages

        tower.run = run
        self.text = tower

        def inputs(text):
            self._last_ids = self.ids(text)
            return tokenizer([text])

        self.inputs = inputs

    # -- sentence-transformers

    def _open_sentence_transformers(self, folder):
        import sentence_transformers

        model = sentence_transformers.SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32}).eval()
        self.model = model
        first = model[0]
        inner = getattr(first, "model", None) or first.auto_model
        if type(inner).__name__ == "CLIPModel":
            path = os.path.join(folder, json.load(open(f"{folder}/modules.json"))[0]["path"])
            self._take_transformers(inner, path)
            self.encode_text = lambda text: model.encode([text], convert_to_tensor=True)[0]
            self.encode_image = lambda image: model.encode([image.convert("RGB")], convert_to_tensor=True)[0]
            return
        self.n_parameters = sum(p.numel() for p in model.parameters())
        tokenizer = first.tokenizer
        self.ids = lambda text: tokenizer(text, truncation=False)["input_ids"]
        self.inputs = lambda text: text

        def forward(text):
            features = model.preprocess([text]) if hasattr(model, "preprocess") else model.tokenize([text])
            return {"text.vector": model.forward(features)["sentence_embedding"][0]}

        self.text = Tower("text", inner.transformer.layer, forward)

    # -- other number types

    def round_matrices(self, dtype):
        """Round what vlm keeps in this type when it is asked to: matrices that multiply. Tables, norms and
        biases stay as they are. What the reference then computes, in float32, is what --dtype f16 should give."""
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                table = any(part in name for part in ("embedding", "cls_token", "probe")) and "patch_embedding" not in name
                if p.ndim >= 2 and not table:
                    p.copy_(p.to(dtype).float())

    # -- stages

    def image(self, path):
        pixels = self.pixels(open_picture(path) if isinstance(path, str) else path)
        return {"pixels": pixels, **self.vision.run(pixels[None])}

    def words(self, text):
        return {"ids": torch.tensor(self.ids(text), dtype=torch.int64), **self.text.run(self.inputs(text))}


def dump(folder, pictures, texts, arch=None, out=None):
    reference = Reference(folder, arch)
    out = out or f"{folder}/reference"
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    tensors, names = {}, []
    for i, path in enumerate(pictures if reference.vision else []):
        names.append(f"{i}-{os.path.basename(path)}")
        shutil.copyfile(path, f"{out}/{names[-1]}")
        tensors.update({f"image.{i}.{k}": v for k, v in reference.image(path).items()})
    texts = list(texts) if reference.text else []
    for i, text in enumerate(texts):
        tensors.update({f"text.{i}.{k}": v for k, v in reference.words(text).items()})
    tensors = {k: v.detach().contiguous() for k, v in tensors.items()}
    save_file(tensors, f"{out}/stages.safetensors")
    os.chmod(f"{out}/stages.safetensors", 0o644)
    description = {"pictures": names, "texts": texts, "tool": "tools/dump_reference.py", "versions": versions()}
    if reference.labels:
        description["labels"] = reference.labels
    if reference.logit_scale is not None:
        description["logit_scale"] = reference.logit_scale
        description["logit_bias"] = reference.logit_bias
    description["parameters"] = reference.n_parameters
    with open(f"{out}/reference.json", "w", encoding="utf-8") as f:
        json.dump(description, f, indent=1, ensure_ascii=False)
        f.write("\n")
    return reference


def main():
    parser = argparse.ArgumentParser(description=inspect.getdoc(sys.modules[__name__]), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--pictures", nargs="*", default=[])
    parser.add_argument("--texts", nargs="*", default=[])
    parser.add_argument("--arch", help="OpenCLIP's name of a built-in config, for a bare checkpoint file")
    parser.add_argument("--out", help="where to write, instead of MODEL/reference")
    options = parser.parse_args()
    dump(options.model, options.pictures, options.texts, options.arch, options.out)


if __name__ == "__main__":
    main()
