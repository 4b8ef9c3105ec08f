"""Writes secrets in every form the filter promises to know them in, one case a line.

Nothing of the engine is used or imitated here: the forms are those of the requirement, written with Python's own encoders, so that
a mistake that both sides share is unlikely. `encode.py SEED COUNT` prints `form TAB secret TAB begin TAB end TAB chunk TAB text`:
secret and text in hexadecimal, begin and end the bytes of the text that hold the secret, chunk how many bytes arrive at once
(0: all). The same seed prints the same lines.
"""

import base64
import codecs
import gzip
import html
import json
import random
import string
import sys
import urllib.parse
import zlib

RAW = random.Random()
LETTERS = string.ascii_letters + string.digits


def pick(alphabet, count):
    return "".join(RAW.choice(alphabet) for _ in range(count))


# What is kept secret: tokens, passwords, keys of the kinds people store.
def secrets():
    yield "ghp_" + pick(LETTERS, 36)
    yield "sk-proj-" + pick(LETTERS + "-_", 48)
    yield pick("0123456789abcdef", 32)
    yield pick(string.ascii_uppercase + string.digits, 20)
    yield pick(LETTERS + "+/", 40)
    yield pick(string.ascii_letters, 4) + pick(string.digits, 2) + pick("!#@$%&*", 2) + pick(string.ascii_letters, 4)
    yield "%s-%s-%s" % (pick(string.ascii_lowercase, 6), pick(string.ascii_lowercase, 7), pick(string.digits, 4))
    yield 'q"' + pick(LETTERS, 6) + "\\" + pick(LETTERS, 5) + "<&>'" + pick(LETTERS, 4)
    yield "pä" + pick(LETTERS, 7) + "ßö" + pick(LETTERS, 5)
    yield "postgres://app:%s@db.internal:5432/main" % pick(LETTERS, 18)
    yield pick(LETTERS, 8)
    yield "-".join(pick("0123456789abcdef", n) for n in (8, 4, 4, 4, 12))
    yield pick(LETTERS + "-_", 20) + "." + pick(LETTERS + "-_", 60) + "." + pick(LETTERS + "-_", 43)


def escaped(text, one, chance=1.0):
    return "".join(one(c) if RAW.random() < chance else c for c in text)


def units(text):
    data = text.encode("utf-16-be")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def each_byte(text, form):
    return "".join(form % b for b in text.encode())


def mixed_case(text):
    return "".join(RAW.choice((c.lower(), c.upper())) for c in text)


# A document around a secret, as it stands within something encoded.
def document(secret):
    return RAW.choice(
        (
            "%s",
            "token=%s\n",
            '{"user":"app","token":"%s"}',
            "# " + pick(LETTERS, RAW.randint(1, 40)) + "\nAPI_KEY=%s\nMODE=" + pick(LETTERS, 12) + "\n",
            pick(LETTERS + " ", RAW.randint(1, 90)) + " %s " + pick(LETTERS + " ", RAW.randint(1, 90)),
        )
    ).replace("%s", secret)


def shifted(secret, shift):
    head = pick(LETTERS + " ", shift + 3 * RAW.randint(0, 12))
    return (head + secret + pick(LETTERS + " ", RAW.randint(0, 9))).encode()


def wrapped(text, width, line_end):
    return line_end.join(text[i : i + width] for i in range(0, len(text), width))


def deflated(data):
    squeeze = zlib.compressobj(RAW.randint(1, 9), zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush()


def b64(data):
    return base64.b64encode(data).decode()


LOOKALIKE = {
    "a": "а", "c": "с", "e": "е", "o": "о", "p": "р", "x": "х", "y": "у", "i": "і", "j": "ј", "s": "ѕ",
    "A": "А", "B": "В", "C": "С", "E": "Е", "H": "Н", "K": "К", "M": "М", "O": "О", "P": "Р", "T": "Т", "X": "Х",
    "v": "ν", "Z": "Ζ", "I": "Ι", "N": "Ν", "Y": "Υ",
}  # fmt: skip


def fullwidth(c):
    return chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c


def mathematical(c):
    if "A" <= c <= "Z":
        return chr(0x1D400 + ord(c) - 65)
    if "a" <= c <= "z":
        return chr(0x1D41A + ord(c) - 97)
    if "0" <= c <= "9":
        return chr(0x1D7CE + ord(c) - 48)
    return c


def laced(text, between, chance=1.0):
    out = text[0]
    for c in text[1:]:
        if RAW.random() < chance:
            out += RAW.choice(between)
        out += c
    return out


INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u180e\u2063"
TAGS = [chr(n) for n in range(0xE0020, 0xE007F)]

NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def named(c):
    return NAMED.get(c, "&#%d;" % ord(c))


def ascii_only(secret):
    return secret.isascii()


# Form: how it is written, and for which secrets that says anything.
FORMS = {
    "raw": lambda s: s,
    "json": lambda s: json.dumps(s)[1:-1],
    "json utf-8": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "json twice": lambda s: json.dumps(json.dumps(s))[3:-3],
    "json in json": lambda s: json.dumps(json.dumps({"k": s}))[1:-1],
    "u escapes": lambda s: "".join("\\u%04x" % u for u in units(s)),
    "u escapes upper": lambda s: "".join("\\u%04X" % u for u in units(s)),
    "u escapes some": lambda s: "".join("\\u%04x" % u if u > 126 or RAW.random() < 0.5 or chr(u) in '"\\' else chr(u) for u in units(s)),
    "u braces": lambda s: escaped(s, lambda c: "\\u{%x}" % ord(c)),
    "x escapes": lambda s: each_byte(s, "\\x%02x"),
    "x escapes upper": lambda s: each_byte(s, "\\x%02X"),
    "python repr of bytes": lambda s: repr(s.encode())[2:-1],
    "html": lambda s: html.escape(s),
    "html decimal": lambda s: escaped(s, lambda c: "&#%d;" % ord(c)),
    "html hexadecimal": lambda s: escaped(s, lambda c: "&#x%x;" % ord(c)),
    "html hexadecimal upper": lambda s: escaped(s, lambda c: "&#X%X;" % ord(c)),
    "html padded": lambda s: escaped(s, lambda c: "&#%07d;" % ord(c)),
    "html some": lambda s: "".join(named(c) if not c.isalnum() or RAW.random() < 0.3 else c for c in s),
    "percent": lambda s: urllib.parse.quote(s, safe=""),
    "percent plus": lambda s: urllib.parse.quote_plus(s),
    "percent all": lambda s: each_byte(s, "%%%02X"),
    "percent all lower": lambda s: each_byte(s, "%%%02x"),
    "percent some": lambda s: "".join("%%%02X" % b if b > 126 or chr(b) not in LETTERS or RAW.random() < 0.4 else chr(b) for b in s.encode()),
    "percent twice": lambda s: urllib.parse.quote(each_byte(s, "%%%02X"), safe=""),
    "hex": lambda s: s.encode().hex(),
    "hex upper": lambda s: s.encode().hex().upper(),
    "hex mixed case": lambda s: mixed_case(s.encode().hex()),
    "hex within": lambda s: document(s).encode().hex(),
    "hex colons": lambda s: s.encode().hex(":"),
    "hex spaces": lambda s: s.encode().hex(" "),
    "hex 0x": lambda s: ", ".join("0x%02x" % b for b in s.encode()),
    "hex 0x one": lambda s: "0x" + s.encode().hex(),
    "base32": lambda s: base64.b32encode(s.encode()).decode(),
    "base32 lower": lambda s: base64.b32encode(s.encode()).decode().lower(),
    "base32 within": lambda s: base64.b32encode(document(s).encode()).decode(),
    "base32 bare": lambda s: base64.b32encode(s.encode()).decode().rstrip("="),
    "base64": lambda s: b64(s.encode()),
    "base64 bare": lambda s: b64(s.encode()).rstrip("="),
    "base64 offset 0": lambda s: b64(shifted(s, 0)),
    "base64 offset 1": lambda s: b64(shifted(s, 1)),
    "base64 offset 2": lambda s: b64(shifted(s, 2)),
    "base64 url-safe": lambda s: base64.urlsafe_b64encode(shifted(s, RAW.randint(0, 2))).decode().rstrip("="),
    "base64 within": lambda s: b64(document(s).encode()),
    "base64 twice": lambda s: b64(b64(document(s).encode()).encode()),
    "base64 url-safe twice": lambda s: base64.urlsafe_b64encode(base64.urlsafe_b64encode(document(s).encode())).decode(),
    "base64 thrice": lambda s: b64(b64(b64(s.encode()).encode()).encode()),
    "base64 wrapped 76": lambda s: wrapped(b64((pick(LETTERS, 50) + s + pick(LETTERS, 80)).encode()), 76, "\n"),
    "base64 wrapped 64": lambda s: wrapped(b64((pick(LETTERS, 41) + s + pick(LETTERS, 80)).encode()), 64, "\r\n"),
    "base64 wrapped indented": lambda s: wrapped(b64((pick(LETTERS, 40) + s + pick(LETTERS, 60)).encode()), 60, "\n    "),
    "base64 wrapped narrow": lambda s: wrapped(b64(s.encode()), 8, "\n"),
    "base64 wrapped in json": lambda s: wrapped(b64((pick(LETTERS, 50) + s + pick(LETTERS, 80)).encode()), 76, "\\n"),
    "base64 percent": lambda s: urllib.parse.quote(b64(shifted(s, RAW.randint(0, 2))), safe=""),
    "gzip base64": lambda s: b64(gzip.compress(document(s).encode(), RAW.randint(1, 9), mtime=0)),
    "gzip base64 long": lambda s: b64(gzip.compress((pick(LETTERS, 3000) + s + pick(LETTERS, 500)).encode(), mtime=0)),
    "gzip base64 url-safe": lambda s: base64.urlsafe_b64encode(gzip.compress(document(s).encode(), mtime=0)).decode().rstrip("="),
    "gzip base64 wrapped": lambda s: wrapped(b64(gzip.compress((pick(LETTERS, 200) + s).encode(), mtime=0)), 76, "\n"),
    "zlib base64": lambda s: b64(zlib.compress(document(s).encode(), RAW.randint(0, 9))),
    "deflate base64": lambda s: b64(deflated(document(s).encode())),
    "gzip hex": lambda s: gzip.compress(document(s).encode(), mtime=0).hex(),
    "utf-16 le": lambda s: s.encode("utf-16-le"),
    "utf-16 be": lambda s: s.encode("utf-16-be"),
    "utf-16 le base64": lambda s: b64(document(s).encode("utf-16-le")),
    "utf-16 be base64": lambda s: b64(document(s).encode("utf-16-be")),
    "utf-16 mark base64": lambda s: b64(b"\xff\xfe" + document(s).encode("utf-16-le")),
    "utf-16 hex": lambda s: s.encode("utf-16-le").hex(),
    "reversed": lambda s: s[::-1],
    "reversed base64": lambda s: b64(s[::-1].encode()),
    "base64 reversed": lambda s: b64(s.encode())[::-1],
    "rot13": lambda s: codecs.encode(s, "rot13"),
    "rot13 base64": lambda s: b64(codecs.encode(s, "rot13").encode()),
    "zero-width each": lambda s: laced(s, "\u200b"),
    "zero-width some": lambda s: laced(s, INVISIBLE, 0.4),
    "zero-width many": lambda s: laced(s, ["\u200b\u200c", "\u200d\u2060\ufeff"]),
    "tags between": lambda s: laced(s, TAGS, 0.6),
    "variation selectors": lambda s: laced(s, ["\ufe0f", "\ufe00", "\U000e0100"], 0.5),
    "tags": lambda s: escaped(s, lambda c: chr(0xE0000 + ord(c)) if ord(c) < 127 else c),
    "homoglyphs": lambda s: "".join(LOOKALIKE.get(c, c) for c in s),
    "homoglyphs some": lambda s: escaped(s, lambda c: LOOKALIKE.get(c, c), 0.5),
    "fullwidth": lambda s: escaped(s, fullwidth),
    "mathematical": lambda s: escaped(s, mathematical),
    "spaced": lambda s: " ".join(s),
    "spaced wide": lambda s: "  ".join(s),
    "spaced tab": lambda s: "\t".join(s),
    "spaced nbsp": lambda s: "\u00a0".join(s),
    "spaced line each": lambda s: "\n".join(s),
    "spaced groups": lambda s: " ".join(s[i : i + 4] for i in range(0, len(s), 4)),
    "wrapped": lambda s: wrapped(s, max(4, len(s) // 3), "\n"),
}  # fmt: skip

NESTED = ("base64", "base64 within", "hex", "percent all", "json twice", "gzip base64", "u escapes", "html decimal", "base32", "zlib base64")

BEFORE_AND_AFTER = (
    ("", ""),
    ("2026-03-14T09:26:53Z INFO worker[17] request failed: ", " (attempt 2)\n"),
    ("token=", "\n"),
    ("token: ", "\nnext: 1\n"),
    ("curl -H 'X-Key: ", "' https://api.example.com/v1/items\n"),
    ('value = "', '";\n'),
    ("<td>", "</td>"),
    ("![i](https://img.example.com/p.png?d=", ")"),
    ("https://example.com/?q=", "&page=2"),
    ("| ", " | ok |\n"),
    ("(", ")"),
    ("line one\nline two ", "\nline three\n"),
)


def case(form, secret):
    if form == "nested":
        text = secret
        # Three in one another; one that packs and encodes, or escapes twice, is two of them.
        names = [RAW.choice(NESTED) for _ in range(RAW.randint(2, 3))]
        while sum(2 if "z" in name or "twice" in name else 1 for name in names) > 4:
            names[RAW.randrange(len(names))] = RAW.choice(NESTED)
        for name in names:
            text = FORMS[name](text)
        form = "nested: " + " in ".join(names)
    else:
        text = FORMS[form](secret)
    body = text if isinstance(text, bytes) else text.encode()
    before, after = RAW.choice(BEFORE_AND_AFTER)
    filler = "".join("%s %s\n" % (pick(LETTERS, 9).lower(), pick(string.ascii_lowercase, 20)) for _ in range(RAW.randint(0, 6)))
    head, tail = (filler + before).encode(), (after + filler).encode()
    chunk = RAW.choice((0, 0, 1, 7, 16, 64, 256))
    whole = head + body + tail
    print(form, secret.encode().hex(), len(head), len(head) + len(body), chunk, whole.hex(), sep="\t")


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    RAW.seed(seed)
    for _ in range(count):
        for form in FORMS:
            for secret in secrets():
                if form in ("mathematical", "fullwidth", "tags", "spaced groups") and not ascii_only(secret):
                    continue
                case(form, secret)
        for _ in range(4):
            for secret in secrets():
                case("nested", secret)


main()
