#!/usr/bin/env python3
"""Write src/tokens/unicode_tables.h: what the reference's tokenizer answers for every code point.

Usage: unicode_tables.py OUTPUT      (needs the packages tokenizers and transformers' own Python, and libutf8proc)

The reference links several Unicode libraries of different ages. Their answers are probed, one code point
after the other, so that the tables are exact whatever utf8proc and PCRE2 the program is built with.
"""
import ctypes
import sys

from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
ALL = "".join(map(chr, POINTS))
utf8proc = ctypes.CDLL("libutf8proc.so.2")
libc = ctypes.CDLL(None)


def matching(pattern):
    """Code points that the reference's regular expressions match."""
    rest = set()
    for piece, _ in pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(ALL):
        rest.update(map(ord, piece))
    return set(POINTS) - rest


def splitting(pre_tokenizer):
    return {c for c in POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) > 1}


def removed(normalizer):
    return {c for c in POINTS if normalizer.normalize_str("a" + chr(c) + "a") == "aa"}


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def emit(file, name, points, comment):
    rows = ranges(points)
    file.write(f"/* {comment} */\nstatic const vlm_range {name}[] = {{\n")
    for i in range(0, len(rows), 8):
        file.write("    " + " ".join(f"{{0x{a:x}, 0x{b:x}}}," for a, b in rows[i : i + 8]) + "\n")
    file.write("};\n\n")


def theirs(form, text):
    return getattr(normalizers, form)().normalize_str(text)


def ours(form, text):
    function = getattr(utf8proc, "utf8proc_" + form)
    function.restype = ctypes.c_void_p
    result = function(text.encode())
    value = ctypes.string_at(result).decode()
    libc.free(ctypes.c_void_p(result))
    return value


def unknown_to_normalization():
    """Code points that the reference's normalization is too old for: no decomposition, class 0."""
    unknown = set()
    forms = ("NFC", "NFD", "NFKC", "NFKD")
    for c in POINTS[1:]:
        for context in ("%s", "a\u0345%s", "a%s\u0334"):
            text = context % chr(c)
            if any(theirs(form, text) != ours(form, text) for form in forms):
                unknown.add(c)
                break
    for c in POINTS[1:]:
        parts = ours("NFD", chr(c))
        if len(parts) > 1 and theirs("NFC", parts) != ours("NFC", parts) and not set(map(ord, parts)) & unknown:
            unknown.add(ord(parts[1]))
    return unknown


def pcre2_set(regex):
    """Code points of a class as PCRE2 10.42 (Unicode 14) knows them: Python 3.11's are the same age."""
    import unicodedata

    assert unicodedata.unidata_version == "14.0.0"
    return {c for c in POINTS if unicodedata.category(chr(c)) == regex}


def stand_ins():
    """(first, last, older code point) with the same category and UTF-8 length."""
    rows = []
    unassigned = pcre2_set("Cn")
    han = matching(r"\p{Han}")
    for category in "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Cf".split():
        known = pcre2_set(category)
        members = matching(r"\p{%s}" % category) & unassigned
        for is_han in (False, True):
            for a, b in ranges(c for c in members if (c in han) == is_han):
                length = len(chr(a).encode())
                assert len(chr(b).encode()) == length
                fits = [c for c in known if len(chr(c).encode()) == length and (c in han) == is_han]
                if not fits and category == "Nl":  # no 3-byte ones left: any letter-like number serves
                    continue
                rows.append((a, b, max(fits)))
    return sorted(rows)


def newest_stand_ins():
    """The same for what only OpenCLIP's `regex` module knows: letters and numbers newer still."""
    import regex

    rows = []
    for category, instead in (("L", {2: 0x561, 3: 0x3041, 4: 0x10000}), ("N", {4: 0x10107})):
        known = matching(r"\p{%s}" % category)
        pattern = regex.compile(r"\p{%s}" % category)
        for a, b in ranges(c for c in POINTS if c not in known and pattern.match(chr(c))):
            for c in (a, b):
                assert len(chr(c).encode()) == len(chr(a).encode())
            rows.append((a, b, instead[len(chr(a).encode())]))
    return sorted(rows)


def scripts():
    """Group numbers by probing: two neighbours of one script are not split."""
    split = pre_tokenizers.UnicodeScripts()
    together = lambda a, b: len(split.pre_tokenize_str(chr(a) + chr(b))) == 1
    rows, leaders = [], []
    number_of = {}
    for c in POINTS:
        if together(0x41, c) and together(0x3B1, c):
            number = 0  # any script
        else:
            number = rows[-1][2] if rows and rows[-1][2] and together(leaders[rows[-1][2] - 1], c) else None
            if number is None:
                number = next((i + 1 for i, leader in enumerate(leaders) if together(leader, c)), None)
            if number is None:
                leaders.append(c)
                number = len(leaders)
        number_of[c] = number
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == number:
            rows[-1][1] = c
        else:
            rows.append([c, c, number])
    return rows


def main():
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("/* Written by tools/unicode_tables.py from the reference's answers; do not edit. Sorted ranges. */\n\n")
        emit(file, "punctuation", splitting(pre_tokenizers.Punctuation()), "Punctuation and BertPreTokenizer")
        w = pre_tokenizers.Whitespace()
        word = {c for c in POINTS if len(w.pre_tokenize_str("a" + chr(c) + "a")) == 1}
        emit(file, "word", word, "\\w of Whitespace and single_word")
        emit(file, "numeric", splitting(pre_tokenizers.Digits()), "Digits")
        bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
        emit(file, "nonspacing", removed(normalizers.BertNormalizer(**{**bert, "strip_accents": True})), "BertNormalizer's strip_accents")
        emit(file, "combining", removed(normalizers.StripAccents()), "StripAccents")
        emit(file, "bert_control", removed(normalizers.BertNormalizer(**{**bert, "clean_text": True})), "BertNormalizer's clean_text")
        emit(file, "not_normalized", unknown_to_normalization(), "left alone by NFC, NFD, NFKC and NFKD")
        final = lambda text: text.lower().endswith("\u03c2")
        cased = {c for c in POINTS if final(chr(c) + "\u03a3")}
        emit(file, "cased", cased, "before or after a sigma: a cased letter (Python's str.lower)")
        emit(file, "case_ignorable", {c for c in POINTS if c not in cased and final("A" + chr(c) + "\u03a3")}, "between a letter and a sigma: looked through")
        lower = normalizers.Lowercase()
        rows = [(c, ord(s)) for c in POINTS if len(s := lower.normalize_str(chr(c))) == 1 and ord(s) != c and ord(s) != utf8proc.utf8proc_tolower(c)]
        file.write("/* Lower-case forms newer than Unicode 15 */\nstatic const uint32_t lowercase[][2] = {\n")
        for i in range(0, len(rows), 8):
            file.write("    " + " ".join(f"{{0x{a:x}, 0x{b:x}}}," for a, b in rows[i : i + 8]) + "\n")
        file.write("};\n\n/* Characters newer than Unicode 14, and what stands in for them */\nstatic const vlm_range_value stand_ins[] = {\n")
        rows = stand_ins()
        for i in range(0, len(rows), 6):
            file.write("    " + " ".join(f"{{0x{a:x}, 0x{b:x}, 0x{v:x}}}," for a, b, v in rows[i : i + 6]) + "\n")
        file.write("};\n\n/* The same, for what only the regex module knows */\nstatic const vlm_range_value newest_stand_ins[] = {\n")
        rows = newest_stand_ins()
        for i in range(0, len(rows), 6):
            file.write("    " + " ".join(f"{{0x{a:x}, 0x{b:x}, 0x{v:x}}}," for a, b, v in rows[i : i + 6]) + "\n")
        file.write("};\n\n/* UnicodeScripts; 0: any */\nstatic const vlm_range_value scripts[] = {\n")
        rows = [row for row in scripts() if row[2]]
        for i in range(0, len(rows), 6):
            file.write("    " + " ".join(f"{{0x{a:x}, 0x{b:x}, {v}}}," for a, b, v in rows[i : i + 6]) + "\n")
        file.write("};\n")


if __name__ == "__main__":
    main()
