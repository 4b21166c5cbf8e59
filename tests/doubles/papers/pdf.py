"""A tiny writer of PDFs, and a paper written with it: several pages, a table, ligatures, hyphens, a running header."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

# Codes 1 and 2 are the ligatures fi and fl, as TeX's fonts have them; the blank is wide, as in those fonts too.
_FONT = (
    "<< /Type /Font /Subtype /Type1 /BaseFont /ABCDEF+Invented /FirstChar 1 /LastChar 126 /Widths [{widths}]"
    " /Encoding << /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [1 /fi /fl] >>"
    " /FontDescriptor << /Type /FontDescriptor /FontName /ABCDEF+Invented /Flags 4 /FontBBox [0 0 1000 1000]"
    " /ItalicAngle 0 /Ascent 700 /Descent -200 /CapHeight 700 /StemV 80 >> >>"
).format(widths=" ".join("500" for _ in range(126)))

TITLE = "Warm Tea: Small Models for Kettles"
LINES: tuple[tuple[str, ...], ...] = (
    (
        TITLE,
        "Ada Field and Bo Lund",
        "Abstract",
        "We \x01nd that a small model can tell when a kettle boils. The work\x02ow is simple and the ef-",
        "\x01ciency is high, so that no cloud is needed.",
        "1 Introduction",
        "Kettles are everywhere. A sound of two seconds is enough to classify them, and a well-known",
        "baseline needs a hundred times more. Our well-known data is made up.",
        "1.1 Related work",
        "Others have listened to toasters. See [1] for a sur-",
        "vey of toast.",
    ),
    (
        "2 Method",
        "We take the energy of eight bands and \x01t a linear model with a learning rate of 0.01.",
        "The survey of bands is in Table 1.",
        "2.1 Bands",
        "Each band is twice as wide as the one below.",
        "Band  Width  Weight",
        "low  100  0.10",
        "middle  200  0.35",
        "high  400  0.55",
    ),
    (
        "3 Results",
        "The model is right in 97.5 percent of cases after 400 steps.",
        "4 Conclusion",
        "Small is warm.",
        "References",
        "[1] C. Oak. A survey of toast. Invented Press, 2020.",
    ),
)


def paper() -> bytes:
    """The paper as PDF, with a header and a page number on each page."""
    pages = []
    for number, lines in enumerate(LINES, start=1):
        pages.append([f"Field and Lund: Warm Tea, page {number} of 3", *lines, str(number)])
    return pdf(pages)


def pdf(pages: Sequence[Sequence[str]]) -> bytes:
    """A PDF with these lines on its pages. Words stand apart by a small move, not by a blank, as TeX sets them."""
    return pdf_of_streams([_content(lines) for lines in pages])


def pdf_of_streams(contents: Sequence[bytes], resources: str = "", more: Sequence[bytes] = ()) -> bytes:
    """A PDF with these content streams as pages. more: further objects, numbered from 4 on; resources may name them."""
    first = 4 + len(more)
    pages = [first + 2 * i for i in range(len(contents))]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{n} 0 R' for n in pages)}] >>".encode(),
        _FONT.encode(),
        *more,
    ]
    for number, content in zip(pages, contents, strict=True):
        page = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R"
            f" /Resources << /Font << /F1 3 0 R >> {resources} >> >>"
        )
        objects += [page.encode(), stream(content)]
    return assemble(objects)


def stream(content: bytes, extra: str = "") -> bytes:
    packed = zlib.compress(content, 9)
    return f"<< {extra} /Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode() + packed + b"\nendstream"


def assemble(objects: Sequence[bytes]) -> bytes:
    """Number the objects from 1, the first being the catalogue, and write the table that finds them."""
    out = bytearray(b"%PDF-1.5\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n".encode()
    return bytes(out)


def _content(lines: Sequence[str]) -> bytes:
    out = [b"BT /F1 10 Tf 14 TL 72 720 Td"]
    for line in lines:
        words = [_escaped(word) for word in line.split(" ")]
        # A run of two blanks is a column of a table: a wide move.
        pieces = " ".join(f"({word}) -220" if word else "-2000" for word in words)
        out.append(f"[{pieces}] TJ T*".encode("latin-1"))
    return b"\n".join([*out, b"ET"])


def _escaped(word: str) -> str:
    return word.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
