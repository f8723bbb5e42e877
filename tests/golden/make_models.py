"""Make the committed models of tests/golden/models and the reference's dumps beside them.

    make_models.py [NAME...]

Small on purpose: a C test opens each and compares every stage, without Python. Between them they cover the
three layouts, every kind of weights file and number type, both activations and every way of pooling.
The seeds are fixed, but another release of PyTorch may draw other numbers: run it only to change a model.
"""
import os
import shutil
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "tools"))

import dump_reference  # noqa: E402
import make_model  # noqa: E402

PICTURES = [os.path.join(here, "pictures", name) for name in ("car.jpg", "puppy.png")]
LONG = "a photo of a small orange cat in a big red car under a tree, beside a house, in the snow, at night"
TEXTS = ["a photo of a puppy", "Two DOGS,  it's 42!", LONG]

MODELS = {
    # Odd head sizes, an image that is no multiple of the patch, towers of different widths.
    "clip-tiny": ("clip", 11, dict(
        vision=dict(hidden_size=27, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3, image_size=30, patch_size=8),
        text=dict(hidden_size=20, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=16),
        projection_dim=20, n_merges=60, hidden_act="quick_gelu", files="safetensors", dtype="f32", tokenizer="new",
        preprocessor="new", eos="id", position_ids=False, pad="<|endoftext|>")),
    # The form of old folders: .bin, GELU, eos_token_id 2 for "the largest id", position ids, vocab.json.
    "clip-tiny-gelu-bin": ("clip", 12, dict(
        vision=dict(hidden_size=24, intermediate_size=57, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16),
        text=dict(hidden_size=24, intermediate_size=48, num_hidden_layers=1, num_attention_heads=3, max_position_embeddings=12),
        projection_dim=16, n_merges=20, hidden_act="gelu", files="bin", dtype="f16", tokenizer="old",
        preprocessor="old", eos="legacy", position_ids=True, pad="!")),
    "clip-vision-tiny": ("clip-vision", 13, dict(
        vision=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=7),
        projection_dim=12, files="sharded", dtype="bf16", preprocessor="fast", position_ids=False, hidden_act="quick_gelu")),
    "vit-tiny": ("vit", 14, dict(
        hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3, image_size=32, patch_size=8,
        n_labels=5, files="safetensors", dtype="f32", qkv_bias=False, hidden_act="gelu", layer_norm_eps=1e-12)),
    "vit-bare-tiny": ("vit-bare", 15, dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=30, patch_size=10,
        n_labels=2, files="safetensors", dtype="f32", qkv_bias=True, hidden_act="gelu", pooler=True, layer_norm_eps=1e-12)),
    # OpenCLIP: the shape of g (a ratio that is no integer), a pickled checkpoint, the folder's own small tokenizer.
    "openclip-tiny": ("openclip", 16, dict(
        config=dict(embed_dim=16,
            vision_cfg=dict(image_size=30, patch_size=10, layers=2, width=24, head_width=12, mlp_ratio=4.3637),
            text_cfg=dict(context_length=16, vocab_size=0, width=24, heads=2, layers=2)),
        hf_tokenizer=True, n_merges=60, files="bin", dtype="f32", custom_text=False)),
    "openclip-custom-text-tiny": ("openclip", 17, dict(
        config=dict(embed_dim=12, quick_gelu=True,
            vision_cfg=dict(image_size=24, patch_size=8, layers=1, width=24, head_width=8),
            text_cfg=dict(context_length=12, vocab_size=0, width=16, heads=2, layers=1)),
        hf_tokenizer=True, n_merges=10, files="safetensors", dtype="f16", custom_text=True,
        preprocess=dict(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5], interpolation="bilinear", resize_mode="squash"))),
    "st-clip-tiny": ("st-clip", 18, dict(
        vision=dict(hidden_size=24, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14),
        text=dict(hidden_size=24, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=16),
        projection_dim=16, n_merges=20, hidden_act="quick_gelu", files="safetensors", dtype="f32", tokenizer="both",
        preprocessor="old", eos="id", position_ids=True, pad="<|endoftext|>")),
    "st-multilingual-tiny": ("st-multilingual", 19, dict(
        dim=36, n_heads=3, hidden_dim=64, n_layers=2, max_position_embeddings=24, out_features=16, files="safetensors",
        dtype="f32", bias=False, activation="torch.nn.modules.linear.Identity")),
    "siglip-tiny": ("siglip", 20, dict(
        vision=dict(hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3, image_size=32, patch_size=8),
        text=dict(hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=12),
        files="safetensors", dtype="f32")),
}  # fmt: skip

OTHER_TEXTS = {
    "st-multilingual-tiny": ["ein Foto von dem Hund im Schnee", "un gato", "the big dog's car under the tree, and the cat in the snow at night."],
    "openclip-tiny": TEXTS + ["it&#39;s a  “cat”"],
}


def main():
    for name in sys.argv[1:] or MODELS:
        kind, seed, changes = MODELS[name]
        folder = os.path.join(here, "models", name)
        make_model.make(kind, folder, seed, "tiny", **changes)
        dump_reference.dump(folder, PICTURES, OTHER_TEXTS.get(name, TEXTS))
        for root, _, names in os.walk(folder):  # files that no reader looks at
            for unused in set(names) & {"generation_config.json", "training_args.bin", "README.md"}:
                os.remove(os.path.join(root, unused))
        size = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(folder) for f in fs)
        print(f"{name}: {size / 1024:.0f} KiB")
    shutil.rmtree(os.path.join(here, "__pycache__"), ignore_errors=True)


if __name__ == "__main__":
    main()
