"""Language models, and BLIP-2 on top of them, with new random weights: vlm's texts against transformers' generate.

Tokens must be equal and beam scores equal to 1e-4 (both sums of float32 log-probabilities, in another order). Pixels
are taken from vlm, since tests/live/pixels.py compares them.
"""
import json
import os

import numpy
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from common import random_picture

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

END, PAD, BEGIN, IMAGE = 256, 257, 258, 259
VOCABULARY = 262  # two rows more than the tokenizer has names for, as hub models have


def make_tokenizer(folder, template, image=False):
    """Bytes and a few special tokens. `template` is where the special ones stand: "</s> $A", "$A </s>", "$A"."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    names = ["</s>", "<pad>", "<s>"] + (["<image>"] if image else [])
    tokenizer.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in names])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if template != "$A":
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("</s>", END), ("<s>", BEGIN)])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", bos_token="<s>")
    fast.save_pretrained(folder)
    return fast


def randomise(model, seed, gain=1.2):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim > 1:
                table = any(k in name for k in ("embed", "shared", "wte", "wpe", "query_tokens"))
                p.copy_(noise if table else noise * gain / p[0].numel() ** 0.5)
            else:
                p.copy_(noise * 0.2 if "bias" in name else 1 + noise * 0.2)
    return model.eval()


# ---- language models ------------------------------------------------------------------------------------


def language_models():
    t = transformers
    ids = dict(vocab_size=VOCABULARY, pad_token_id=PAD, eos_token_id=END)
    opt = dict(ids, bos_token_id=END, hidden_size=48, ffn_dim=80, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128)
    llama = dict(ids, bos_token_id=BEGIN, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
                 num_key_value_heads=2, max_position_embeddings=128)  # fmt: skip
    t5 = dict(ids, d_model=48, d_kv=8, d_ff=80, num_layers=2, num_heads=4, decoder_start_token_id=PAD)
    return {
        "opt": ("</s> $A", lambda: t.OPTForCausalLM(t.OPTConfig(**opt, word_embed_proj_dim=48))),
        "opt-350m": ("</s> $A", lambda: t.OPTForCausalLM(t.OPTConfig(**opt, word_embed_proj_dim=20, do_layer_norm_before=False))),
        "llama": ("<s> $A", lambda: t.LlamaForCausalLM(t.LlamaConfig(**llama))),
        "mistral": ("<s> $A", lambda: t.MistralForCausalLM(t.MistralConfig(**llama, sliding_window=7, head_dim=8))),
        "gpt2": ("$A", lambda: t.GPT2LMHeadModel(t.GPT2Config(**ids, bos_token_id=END, n_embd=48, n_layer=3, n_head=4, n_positions=128))),
        "t5": ("$A </s>", lambda: t.T5ForConditionalGeneration(t.T5Config(**t5))),
        "flan-t5": ("$A </s>", lambda: t.T5ForConditionalGeneration(
            t.T5Config(**dict(t5, d_kv=16), feed_forward_proj="gated-gelu", tie_word_embeddings=False))),
    }  # fmt: skip


def settings(rng):
    """(options of the program, arguments of generate)"""
    ngram, least, penalty = rng.randint(2, 3), rng.randint(6, 12), round(rng.uniform(0.7, 1.6), 2)
    yield ["--max-new-tokens", 14], dict(max_new_tokens=14)
    yield (["--max-new-tokens", 16, "--repetition-penalty", penalty, "--no-repeat-ngram", ngram, "--min-length", least],
           dict(max_new_tokens=16, repetition_penalty=penalty, no_repeat_ngram_size=ngram, min_new_tokens=least))  # fmt: skip
    for stopping in ("true", "false", "never"):
        beams, power = rng.randint(2, 5), rng.choice([-1.0, 0.0, 0.6, 1.0, 2.0])
        best = rng.randint(1, beams)
        options = ["--max-new-tokens", 12, "--beams", beams, "--n-best", best, "--length-penalty", power, "--early-stopping", stopping]
        wanted = dict(max_new_tokens=12, num_beams=beams, num_return_sequences=best, length_penalty=power,
                      early_stopping={"true": True, "false": False}.get(stopping, "never"))  # fmt: skip
        if rng.random() < 0.5:
            options += ["--repetition-penalty", penalty, "--no-repeat-ngram", ngram, "--min-length", 3]
            wanted.update(repetition_penalty=penalty, no_repeat_ngram_size=ngram, min_new_tokens=3)
        yield options, wanted


def reference(model, tokenizer, ends, n_prompt, inputs, arguments):
    """[(tokens, text, score)], best first."""
    with torch.no_grad():
        out = model.generate(**inputs, **arguments, do_sample=False, return_dict_in_generate=True, output_scores=True)
    scores = out.sequences_scores.tolist() if arguments.get("num_beams", 1) > 1 else [None] * len(out.sequences)
    results = []
    for ids, score in zip(out.sequences.tolist(), scores):
        ids = ids[n_prompt:]
        at = next((i for i, t in enumerate(ids) if t in ends), len(ids) - 1)  # what follows the end is padding
        ids = ids[: at + 1]
        results.append((ids, tokenizer.decode(ids, skip_special_tokens=True), score))
    return results


def compare(session, name, got, wanted):
    session.equal(f"{name}: tokens", got["tokens"], wanted[0][0])
    session.equal(f"{name}: text", got["text"], wanted[0][1])
    if wanted[0][2] is None:
        session.ok(f"{name}: no score without beams", "score" not in got)
        return
    session.ok(f"{name}: score", abs(got["score"] - wanted[0][2]) <= 1e-4 * max(1, abs(wanted[0][2])), f"got {got['score']}, wanted {wanted[0][2]}")
    session.equal(f"{name}: alternatives", [a["tokens"] for a in got["alternatives"]], [w[0] for w in wanted])
    scores = [a["score"] for a in got["alternatives"]]
    # A negative length penalty multiplies the sum, and with it the rounding.
    allowed = 1e-4 * max([1] + [abs(w[2]) for w in wanted])
    session.close(f"{name}: their scores", scores, [w[2] for w in wanted], allowed, "difference of beam scores")


def check_language(session, name, template, make):
    folder, seed, rng = session.new_folder(name), session.rng.randrange(1 << 30), session.rng
    model = randomise(make(), seed)
    ends = sorted({END, *rng.sample(range(256), 9)})  # several, so that texts end
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder)
    tokenizer = make_tokenizer(folder, template)
    prompts = ["a cat", "Größe 猫, </s> and so on and so on: " + "x" * rng.randint(1, 30)]
    for number, (options, arguments) in enumerate(settings(rng)):
        prompt = prompts[number % 2]
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids))
        n_prompt = 1 if model.config.is_encoder_decoder else ids.shape[1]
        wanted = reference(model, tokenizer, ends, n_prompt, inputs, arguments)
        with session.guard(f"{name} seed {seed} {options}"):
            got = session.vlm("generate", "-m", folder, *options, "--", prompt).json[0]
            session.equal(f"{name}: input", got["input"], prompt)
            compare(session, f"{name} seed {seed} {options}", got, wanted)
    return folder


def check_long(session):
    """A prompt of several blocks, of which the last is not whole, and as long a text for an encoder."""
    t, seed, length = transformers, session.rng.randrange(1 << 30), session.rng.randint(1030, 1500)
    ids = dict(vocab_size=VOCABULARY, pad_token_id=PAD, eos_token_id=END)
    mistral = dict(ids, bos_token_id=BEGIN, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                   max_position_embeddings=2048, sliding_window=700, head_dim=8)  # fmt: skip
    t5 = dict(ids, d_model=48, d_kv=8, d_ff=80, num_layers=2, num_heads=4, decoder_start_token_id=PAD)
    prompt = "".join(session.rng.choice("abcdefgh ") for _ in range(length))
    for name, template, model in (("mistral", "<s> $A", t.MistralForCausalLM(t.MistralConfig(**mistral))),
                                  ("t5", "$A </s>", t.T5ForConditionalGeneration(t.T5Config(**t5)))):  # fmt: skip
        folder = session.new_folder(f"{name}-long")
        randomise(model, seed).save_pretrained(folder)
        tokenizer = make_tokenizer(folder, template)
        words = tokenizer(prompt, return_tensors="pt").input_ids
        inputs = dict(input_ids=words, attention_mask=torch.ones_like(words))
        n_prompt = words.shape[1] if name == "mistral" else 1
        for options, arguments in (([], {}), (["--beams", 3, "--n-best", 2], dict(num_beams=3, num_return_sequences=2))):
            wanted = reference(model, tokenizer, {END}, n_prompt, inputs, dict(max_new_tokens=8, **arguments))
            got = session.vlm("generate", "-m", folder, "--max-new-tokens", 8, *options, "-", stdin=prompt.encode()).json[0]
            compare(session, f"{name} seed {seed}, {length} tokens {options}", got, wanted)


def check_other_ways(session, name, folder, prompt):
    """stdin, stop strings, seeds."""
    plain = ["generate", "-m", folder, "--max-new-tokens", 12]
    whole = session.vlm(*plain, prompt).json[0]
    session.equal(f"{name}: the prompt from stdin", session.vlm(*plain, "-", stdin=prompt.encode()).json[0]["tokens"], whole["tokens"])
    characters = [c for c in whole["text"][1:] if c.isascii() and c.isprintable()]
    if characters:
        stopped = session.vlm(*plain, "--stop", characters[-1], prompt).json[0]
        session.equal(f"{name}: a text ends before a stop string", stopped["text"], whole["text"].split(characters[-1])[0])
        session.equal(f"{name}: and its tokens are the same", stopped["tokens"], whole["tokens"][: len(stopped["tokens"])])
    drawn = [session.vlm(*plain, "--temperature", 30, "--top-p", 0.99, "--seed", s, prompt).json[0]["tokens"] for s in (3, 3, 4)]
    session.equal(f"{name}: the same seed", drawn[0], drawn[1])
    session.ok(f"{name}: another seed", drawn[0] != drawn[2])
    session.equal(f"{name}: the likeliest alone", session.vlm(*plain, "--top-k", 1, "--seed", 5, prompt).json[0]["tokens"], whole["tokens"])


# ---- BLIP-2 ---------------------------------------------------------------------------------------------


def blip2_config(kind, queries, retrieval=False):
    vision = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=7)
    qformer = dict(hidden_size=36, intermediate_size=60, num_hidden_layers=4, num_attention_heads=3, vocab_size=VOCABULARY, encoder_hidden_size=48,
                   use_qformer_text_input=retrieval)  # fmt: skip
    opt = dict(model_type="opt", vocab_size=VOCABULARY, hidden_size=40, ffn_dim=80, num_hidden_layers=3, num_attention_heads=4,
               max_position_embeddings=128, word_embed_proj_dim=40, eos_token_id=END, bos_token_id=END, pad_token_id=PAD)  # fmt: skip
    t5 = dict(model_type="t5", vocab_size=VOCABULARY, d_model=48, d_kv=8, d_ff=80, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
              dense_act_fn="gelu", tie_word_embeddings=False, decoder_start_token_id=PAD, bos_token_id=END, eos_token_id=END, pad_token_id=PAD)  # fmt: skip
    text = {"opt": opt, "t5": t5}[kind]
    return transformers.Blip2Config(vision_config=vision, qformer_config=qformer, text_config=text, num_query_tokens=queries, image_token_index=IMAGE,
                                    image_text_hidden_size=16)  # fmt: skip


def write_preprocessor(folder, size):
    config = dict(image_processor_type="BlipImageProcessor", do_resize=True, size=dict(height=size, width=size), resample=3, do_rescale=True,
                  rescale_factor=1 / 255, do_normalize=True, image_mean=[0.48, 0.46, 0.41], image_std=[0.27, 0.26, 0.28], do_convert_rgb=True)  # fmt: skip
    with open(f"{folder}/preprocessor_config.json", "w") as f:
        json.dump(config, f)


def make_older(folder, older, template):
    """The layout before <image>: the same weights, a config and a tokenizer that do not know it."""
    os.link(f"{folder}/model.safetensors", f"{older}/model.safetensors")
    os.link(f"{folder}/preprocessor_config.json", f"{older}/preprocessor_config.json")
    with open(f"{folder}/config.json") as f:
        config = json.load(f)
    for key in ("image_token_index", "image_token_id"):
        config.pop(key, None)
    with open(f"{older}/config.json", "w") as f:
        json.dump(config, f)
    make_tokenizer(older, template)


def pixels_of(session, folder, path):
    session.vlm("pixels", "-m", folder, path, "-o", f"{folder}/pixels.npy", as_json=False)
    return torch.from_numpy(numpy.load(f"{folder}/pixels.npy"))[None]


def check_blip2(session, kind, size):
    rng, seed, queries = session.rng, session.rng.randrange(1 << 30), session.rng.randint(3, 7)
    name = f"blip2-{kind}"
    folder, older = session.new_folder(name), session.new_folder(f"{name}-older")
    model = randomise(transformers.Blip2ForConditionalGeneration(blip2_config(kind, queries)), seed, 1.5)
    model.save_pretrained(folder)
    template = "</s> $A" if kind == "opt" else "$A </s>"
    tokenizer = make_tokenizer(folder, template, image=True)
    write_preprocessor(folder, size)
    make_older(folder, older, template)
    paths = []
    for i in range(3):
        paths.append(f"{folder}/{i}.png")
        random_picture(rng).save(paths[-1])
    pixels = [pixels_of(session, folder, p) for p in paths]

    def wanted(pixel, prompt, arguments):
        words = [END] if prompt is None else tokenizer(prompt).input_ids
        ids = torch.tensor([[IMAGE] * queries + words])
        inputs = dict(pixel_values=pixel, input_ids=ids, interpolate_pos_encoding=size != 28)
        return reference(model, tokenizer, {END}, 1 if kind == "t5" else ids.shape[1], inputs, arguments)

    for number, (options, arguments) in enumerate(settings(rng)):
        i, name = number % 3, f"blip2-{kind} seed {seed} {options}"
        question, raw = "what is it?", rng.random() < 0.5
        prompt = question if raw else f"Question: {question} Answer:"
        with session.guard(name):
            answer = wanted(pixels[i], prompt, arguments)
            asked = ["ask", *(["--raw-prompt"] if raw else []), *options]
            newer = session.vlm(*asked, "-m", folder, paths[i], question).json[0]
            compare(session, f"{name}: ask", newer, answer)
            old = session.vlm(*asked, "-m", older, paths[i], question).json[0]
            if "--repetition-penalty" not in options:  # the older layout has no token that penalties could see
                session.equal(f"{name}: both layouts", old, newer)
    with session.guard(f"blip2-{kind} seed {seed}: captions"):
        texts = [wanted(p, None, dict(max_new_tokens=10))[0][0] for p in pixels]
        for layout in (folder, older):
            got = session.vlm("caption", "-m", layout, "--max-new-tokens", 10, *paths).json
            session.equal(f"blip2-{kind} seed {seed}: captions", [g["tokens"] for g in got], texts)
            session.equal(f"blip2-{kind}: inputs", [g["input"] for g in got], paths)
        prompted = wanted(pixels[1], "a photo of", dict(max_new_tokens=10))
        got = session.vlm("caption", "-m", folder, "--max-new-tokens", 10, "--prompt", "a photo of", paths[1]).json[0]
        compare(session, f"blip2-{kind} seed {seed}: a prompt", got, prompted)
        check_encoded(session, f"blip2-{kind}", folder, paths, texts)
    with session.guard(f"blip2-{kind} seed {seed}: chat"):
        check_chat(session, kind, folder, paths[2], lambda prompt, arguments: wanted(pixels[2], prompt, arguments))
    return folder


def check_chat(session, kind, folder, path, wanted):
    """Two questions; the second prompt holds the first turn. A reply ends before the word that begins a question."""
    questions, history, replies = ["what is it?", "why?"], "", []
    for question in questions:
        prompt = f"{history} Question: {question} Answer:"
        replies.append(wanted(prompt, dict(max_new_tokens=9))[0][1].split("Question")[0].strip())
        history += f"{' ' if history else ''}Question: {question} Answer: {replies[-1]}."
    got = session.vlm("chat", "-m", folder, "--max-new-tokens", 9, path, stdin="\n".join(questions).encode()).json
    session.equal(f"blip2-{kind}: a conversation", got, [dict(question=q, text=r) for q, r in zip(questions, replies)])


def check_encoded(session, name, folder, paths, texts):
    session.vlm("encode", "-m", folder, *paths, "-o", f"{folder}/kept", as_json=False)
    got = session.vlm("caption", "-m", folder, "--max-new-tokens", 10, "--encoded", f"{folder}/kept").json
    session.equal(f"{name}: captions of kept pictures", [g["tokens"] for g in got], texts)
    session.equal(f"{name}: their names", [g["input"] for g in got], [f"{folder}/kept/{os.path.basename(p)}" for p in paths])
    with open(f"{folder}/kept", "rb") as f:
        data = f.read()
    with open(f"{folder}/cut", "wb") as f:
        f.write(data[: session.rng.randrange(len(data))])
    session.vlm("caption", "-m", folder, "--encoded", f"{folder}/cut", status=1)


def check_instructblip(session, kind):
    """The instruction goes into the Q-Former too; behind it a Vicuna or a Flan-T5."""
    rng, seed, queries = session.rng, session.rng.randrange(1 << 30), session.rng.randint(3, 7)
    name, template = f"instructblip-{kind} seed {seed}", {"llama": "<s> $A", "t5": "$A </s>"}[kind]
    folder = session.new_folder(f"instructblip-{kind}")
    like = blip2_config("t5", queries).to_dict()
    llama = dict(model_type="llama", vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
                 max_position_embeddings=128, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=PAD)  # fmt: skip
    qformer = {k: v for k, v in like["qformer_config"].items() if k not in ("model_type", "use_qformer_text_input")}
    config = transformers.InstructBlipConfig(
        vision_config={k: v for k, v in like["vision_config"].items() if k != "model_type"}, qformer_config=qformer,
        text_config=llama if kind == "llama" else like["text_config"], num_query_tokens=queries, image_token_index=IMAGE)  # fmt: skip
    model = randomise(transformers.InstructBlipForConditionalGeneration(config), seed, 1.5)
    model.save_pretrained(folder)
    tokenizer = make_tokenizer(folder, template, image=True)
    instructions = make_tokenizer(f"{folder}/qformer_tokenizer", "<s> $A </s>")
    write_preprocessor(folder, 28)
    path, question = f"{folder}/0.png", "what is it?"
    random_picture(rng).save(path)
    ids = torch.tensor([[IMAGE] * queries + tokenizer(question).input_ids])
    read = torch.tensor([instructions(question).input_ids])
    inputs = dict(pixel_values=pixels_of(session, folder, path), input_ids=ids, attention_mask=torch.ones_like(ids), qformer_input_ids=read,
                  qformer_attention_mask=torch.ones_like(read))  # fmt: skip
    wanted = reference(model, tokenizer, {END}, 1 if kind == "t5" else ids.shape[1], inputs, dict(max_new_tokens=12))
    compare(session, f"{name}: ask", session.vlm("ask", "-m", folder, "--max-new-tokens", 12, path, question).json[0], wanted)
    session.vlm("encode", "-m", folder, path, "-o", f"{folder}/kept", as_json=False)
    kept = session.vlm("ask", "-m", folder, "--max-new-tokens", 12, "--encoded", f"{folder}/kept", question).json[0]
    compare(session, f"{name}: ask about a kept picture", kept, wanted)


def check_match(session):
    seed, queries, rng = session.rng.randrange(1 << 30), session.rng.randint(3, 7), session.rng
    folder = session.new_folder("match")
    model = randomise(transformers.Blip2ForImageTextRetrieval(blip2_config("opt", queries, True)), seed, 1.5)
    model.save_pretrained(folder)
    tokenizer = make_tokenizer(folder, "<s> $A </s>", image=True)
    write_preprocessor(folder, 28)
    path = f"{folder}/0.png"
    random_picture(rng).save(path)
    pixel, texts = pixels_of(session, folder, path), ["a cat", "", "a much longer text of more than thirty-two tokens"]
    got = session.vlm("match", "-m", folder, *(x for t in texts for x in ("--text", t)), path).json
    for text, line in zip(texts, got):
        words = tokenizer(text).input_ids
        words = words if len(words) <= 32 else words[:31] + words[-1:]
        ids = torch.tensor([[IMAGE] * queries + words])
        with torch.no_grad():
            arguments = dict(pixel_values=pixel, input_ids=ids, attention_mask=torch.ones_like(ids))
            itc = model(**arguments).logits_per_image
            itm = model(**arguments, use_image_text_matching_head=True).logits_per_image.softmax(dim=1)[0, 1]
        session.equal(f"match seed {seed}: text", line["text"], text)
        session.close(f"match seed {seed}: ITC of {text!r}", [line["itc"]], [itc.item()], 1e-4, "difference of match scores")
        session.close(f"match seed {seed}: ITM of {text!r}", [line["itm"]], [itm.item()], 1e-4, "difference of match scores")


def run(session):
    torch.set_num_threads(2)
    others = session.rng.sample(["opt", "opt-350m", "llama", "mistral", "gpt2"], 1) + [session.rng.choice(["t5", "flan-t5"])]
    for name, (template, make) in language_models().items():
        with session.guard(name):
            folder = check_language(session, name, template, make)
            if name in others:
                check_other_ways(session, name, folder, "a cat")
    with session.guard("long prompts"):
        check_long(session)
    folders = {}
    for kind, size in (("opt", 28), ("t5", session.rng.choice([28, 35, 50]))):
        with session.guard(f"blip2-{kind}"):
            folders[kind] = check_blip2(session, kind, size)
    if len(folders) == 2:
        session.vlm("caption", "-m", folders["t5"], "--encoded", f"{folders['opt']}/kept", status=1)
        session.ok("a picture that another model encoded is refused", True)
    for kind in ("llama", "t5"):
        with session.guard(f"instructblip-{kind}"):
            check_instructblip(session, kind)
    with session.guard("match"):
        check_match(session)
