"""Hide what was sent, key and signature, in the answers that echo it.

A proxy or firewall may answer with the signed URL, in any spelling.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = "<hidden>"

# No answer of the exchange contains any of these; every other spelling of a secret needs one.
_MARKS = (b"\\", b"%", b"&", b"=", b"\0", b"\n")
_SHORTEST = 8
"""Shorter text cannot be a key, and would match ordinary words."""
_PIECE = 12
"""So much of a secret, and half as much on either side of it, is a part of it and no chance."""
_ECHO = 16_384
"""Bytes of the largest plain body searched for parts: pages that quote a request are short, lists of orders long."""
_DEEPEST = 16
"""At most this many nested encodings are undone; text with more is hidden entirely."""

_NAMED = re.compile(r"""(?i)(signature|api-?key)(["']?(?:\s*[:=]\s*|\s*>\s*|%3D)["']?)[^&\s"'<>]+""")
_NAMES = ("signature", "apikey", "api-key")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ENTITY = re.compile(r"&#?[A-Za-z0-9]+;")
_BROKEN = re.compile(r"%\s*([0-9a-fA-F])\s*([0-9a-fA-F])")
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_TOKEN = re.compile(rf"[A-Za-z0-9+/=_.~-]{{{_PIECE},}}+")
_NOT_ALNUM = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalnum())
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f]")


def scrub(body: bytes, secrets: Sequence[str]) -> bytes:
    """Return an answer's body without the secrets that were sent, however they are spelled.

    A body in which there is nothing to hide comes back as it is. Otherwise escapes of JSON, HTML and URLs, UTF-16 and
    line ends within are undone as far as needed; JSON stays JSON with the same values. Parts of a secret are hidden,
    too, and so is whatever is named a signature or an API key.

    Parameters
    ----------
    body : bytes
    secrets : sequence of str
        Those shorter than 8 characters are passed over.
    """
    secrets = [secret for secret in secrets if len(secret) >= _SHORTEST]
    hiding = _Hiding(secrets)
    if not any(mark in body for mark in _MARKS) and not hiding.spots(body, parts=len(body) <= _ECHO):
        try:
            if body.isascii() or body.decode():
                return body
        except UnicodeDecodeError:  # perhaps compressed
            pass
    text = _as_text(body)
    if text is None:
        return f"<{len(body)} bytes that are not text>".encode()
    hidden = hiding.hide(text)
    if hidden == text:
        return body
    try:
        document = json.dumps(hiding.walk(json.loads(text)), separators=(",", ":"))
    except (ValueError, RecursionError):
        return hidden.encode("utf-8", "surrogatepass")
    return json.dumps(HIDDEN).encode() if hiding.finds(document) else document.encode()


def _in_base64(text: str) -> list[str]:
    """Return how base64 spells a text within a longer one, for each offset."""
    raw = text.encode("utf-8", "replace")
    return [b64encode(b"\0" * before + raw).decode()[4:-4] for before in range(3)]


def _as_text(body: bytes) -> str | None:
    """Return a body in its most likely encoding; None if it is not text."""
    if b"\0" in body[:64] or body.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return body.decode(json.detect_encoding(body)).lstrip("\ufeff")
        except UnicodeDecodeError:
            pass
    body = body.replace(b"\0", b"")
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
        return None if _BINARY.search(text) else text
    return text


class _Hiding:
    """Finds secrets in text, and hides them."""

    def __init__(self, secrets: Sequence[str]) -> None:
        forms = {secret: [secret, *_in_base64(secret)] for secret in secrets}
        for secret in secrets:
            if (sent := quote(secret, safe="")) != secret:
                forms[secret] += [*_in_base64(sent), *_in_base64(sent.lower())]
        self._forms = {_squeezed(form) for each in forms.values() for form in each if len(form) >= _SHORTEST}
        self._known: dict[str, str] = {}
        self._pieces = [
            form[start : start + _PIECE]
            for form in map(_squeezed, secrets)
            for start in range(0, len(form) - _PIECE + 1, _PIECE // 2)
            if not form[start : start + _PIECE].isdigit()  # or prices and ids could be hidden
        ]

    def spots(self, body: bytes, *, parts: bool = True) -> bool:
        """Return whether a text without escapes contains a secret or part of one, in any case or in base64."""
        squeezed = body.lower().translate(None, _NOT_ALNUM)
        return any(form in squeezed for form in (*self._forms, *(self._pieces if parts else ())))

    def hide(self, text: str, depth: int = _DEEPEST) -> str:
        """Return a text without the secrets, decoded if only that reveals them."""
        decoded = _decoded(text)
        if decoded != text:
            # First the innermost encoding, while it is intact.
            deeper = self.hide(decoded, depth - 1) if depth else HIDDEN
            if deeper != decoded:
                return deeper
        return self._hide_plain(text)

    def finds(self, text: str) -> bool:
        """Return whether a text contains a secret or part of one, in any spelling."""
        for _ in range(_DEEPEST):
            if self.spots(text.encode("utf-8", "surrogatepass")):
                return True
            if (decoded := _decoded(text)) == text:
                return False
            text = decoded
        return True

    def walk(self, document: object) -> object:
        """Return a JSON document without the secrets."""
        if isinstance(document, str):
            return self._hide_again(document)
        if isinstance(document, list):
            return [self.walk(entry) for entry in document]
        if isinstance(document, dict):
            return {
                self._hide_again(name): HIDDEN if isinstance(value, str) and self._is_named(name) else self.walk(value)
                for name, value in document.items()
            }
        return document

    def _hide_again(self, text: str) -> str:
        """Do as `hide`, with a cache for repeated texts."""
        if (hidden := self._known.get(text)) is None:
            hidden = self._known[text] = self.hide(text) if len(text) >= _SHORTEST else text
        return hidden

    @staticmethod
    def _is_named(name: str) -> bool:
        lowered = name.lower()
        return any(word in lowered for word in _NAMES)

    def _hide_plain(self, text: str) -> str:
        squeezed = _squeezed(text)
        for form in self._forms:
            if form in squeezed:
                text = re.sub("(?i)" + b"[^A-Za-z0-9]*+".join(map(_one, form)).decode(), HIDDEN, text)
        if any(piece in squeezed for piece in self._pieces):
            text = _TOKEN.sub(self._hide_token, text)
        if self._is_named(text):
            text = _NAMED.sub(rf"\1\2{HIDDEN}", text)
        return text

    def _hide_token(self, token: re.Match[str]) -> str:
        squeezed = _squeezed(token[0])
        return HIDDEN if any(piece in squeezed for piece in self._pieces) else token[0]


def _one(byte: int) -> bytes:
    return bytes([byte])


def _squeezed(text: str) -> bytes:
    """Return a text's ASCII letters and digits only, in lower case: which wrapping and quoting do not change."""
    return text.encode("utf-8", "surrogatepass").lower().translate(None, _NOT_ALNUM)


def _decoded(text: str) -> str:
    """Undo one layer of escapes, even if a line end splits them."""
    text = text.replace("\0", "")
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return unquote(_BROKEN.sub(r"%\1\2", text)) if "%" in text else text


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else _CONTROLS.get(escape[3], escape[3])
