"""Make the committed language models of tests/golden/models and what the reference writes with them.

    make_language.py [NAME...]

The C test test_language.c opens each and compares tokens and beam scores, without Python. Weights are float16, to
be small; both sides compute in float32. The seeds are fixed, but another release of PyTorch may draw other numbers.
"""
import os
import shutil
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "tools"))
sys.path.append(os.path.join(here, "..", "live"))

import torch  # noqa: E402
import transformers as t  # noqa: E402
from PIL import Image  # noqa: E402
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil  # noqa: E402

import language as live  # noqa: E402
from make_model import write_json  # noqa: E402

PROMPTS = ["a cat", "Question: what colour is the car? Answer:", "Größe"]
ENDS = [live.END, 65, 66, 67, 200]
IDS = dict(vocab_size=live.VOCABULARY, pad_token_id=live.PAD, eos_token_id=live.END)
OPT = dict(IDS, bos_token_id=live.END, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=96,
           word_embed_proj_dim=32)  # fmt: skip
LLAMA = dict(IDS, bos_token_id=live.BEGIN, hidden_size=36, intermediate_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
             max_position_embeddings=96)  # fmt: skip
T5 = dict(IDS, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=live.PAD, feed_forward_proj="gated-gelu",
          dense_act_fn="gelu_new", tie_word_embeddings=False, bos_token_id=live.END)  # fmt: skip


def blip2(text):
    vision = dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=7)
    qformer = dict(hidden_size=18, intermediate_size=24, num_hidden_layers=3, num_attention_heads=3, vocab_size=live.VOCABULARY, encoder_hidden_size=24)
    return t.Blip2ForConditionalGeneration(
        t.Blip2Config(vision_config=vision, qformer_config=qformer, text_config=text, num_query_tokens=4, image_token_index=live.IMAGE))  # fmt: skip


MODELS = {
    "opt-tiny": (31, "</s> $A", lambda: t.OPTForCausalLM(t.OPTConfig(**OPT))),
    "llama-tiny": (32, "<s> $A", lambda: t.LlamaForCausalLM(t.LlamaConfig(**LLAMA))),
    "t5-tiny": (33, "$A </s>", lambda: t.T5ForConditionalGeneration(t.T5Config(**T5))),
    "blip2-opt-tiny": (34, "</s> $A", lambda: blip2(dict(OPT, model_type="opt"))),
    "blip2-t5-tiny": (35, "$A </s>", lambda: blip2(dict(T5, model_type="t5", d_model=24, num_layers=1, num_heads=3))),
}
SETTINGS = [
    dict(max_new_tokens=12),
    dict(max_new_tokens=12, repetition_penalty=1.25, no_repeat_ngram_size=2, min_new_tokens=8),
    dict(max_new_tokens=10, num_beams=3, num_return_sequences=2, length_penalty=0.8, early_stopping=False),
    dict(max_new_tokens=10, num_beams=4, num_return_sequences=1, length_penalty=1.0, early_stopping=True),
]


def make(name):
    seed, template, build = MODELS[name]
    folder = os.path.join(here, "models", name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(f"{folder}/reference")
    sees = name.startswith("blip2")
    model = live.randomise(build(), seed, 1.5).half()
    ends = [live.END] if sees else ENDS
    if not sees:
        model.generation_config.eos_token_id = ENDS
    model.save_pretrained(folder)
    os.chmod(f"{folder}/model.safetensors", 0o644)
    model = model.float().eval()
    tokenizer = live.make_tokenizer(folder, template, image=sees)
    pixels = None
    if sees:
        live.write_preprocessor(folder, 28)
        shutil.copy(os.path.join(here, "pictures", "car.jpg"), f"{folder}/reference/0.jpg")
        processor = BlipImageProcessorPil.from_pretrained(folder)
        pixels = processor(Image.open(f"{folder}/reference/0.jpg"), return_tensors="pt").pixel_values
    results = []
    for prompt in PROMPTS + ([None] if sees else []):
        words = [live.END] if prompt is None else tokenizer(prompt).input_ids
        ids = torch.tensor([[live.IMAGE] * (4 if sees else 0) + words])
        inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids), **(dict(pixel_values=pixels) if sees else {}))
        n_prompt = 1 if "t5" in name else ids.shape[1]
        for settings in SETTINGS:
            texts = live.reference(model, tokenizer, ends, n_prompt, inputs, settings)
            stopping = settings.get("early_stopping")
            results.append(dict(prompt=prompt, settings=dict(settings, early_stopping=bool(stopping)),
                                texts=[dict(tokens=i, text=s, score=score) for i, s, score in texts]))  # fmt: skip
    write_json(f"{folder}/reference/reference.json", results)
    size = sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(folder) for f in fs)
    print(f"{name}: {size / 1024:.0f} KiB")


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(name)
