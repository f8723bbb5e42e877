#!/usr/bin/env python3
"""Write src/tokens/html_entities.h: the named character references of HTML 5.

Usage: html_entities.py OUTPUT

Python's table, and which names ftfy 6.3 also takes in capitals (&EACUTE;): OpenCLIP's cleaning uses both.
"""
import html
import html.entities
import sys

BARE, FULL, CAPITALS = 1, 2, 4  # without semicolon, with it, in ftfy's table alone


def main():
    table = {}
    for name, text in html.entities.html5.items():
        stem = name.removesuffix(";")
        flags = FULL if name.endswith(";") else BARE
        table[stem] = (text, table.get(stem, (text, 0))[1] | flags)
    for name, text in html.entities.html5.items():
        upper = name.upper()
        if name.endswith(";") and name == name.lower() and html.unescape("&" + upper) == "&" + upper:
            table.setdefault(upper[:-1], (text.upper(), CAPITALS))
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write("/* Written by tools/html_entities.py; do not edit. Sorted by name. */\n\n")
        file.write("static const html_entity entities[] = {\n")
        row = []
        for name in sorted(table, key=str.encode):
            text, flags = table[name]
            code = "".join("\\%03o" % b for b in text.encode())
            row.append('{"%s", "%s", %d},' % (name, code, flags))
            if len(row) == 4:
                file.write("    " + " ".join(row) + "\n")
                row = []
        file.write("    " + " ".join(row) + "\n};\n")


if __name__ == "__main__":
    main()
