"""What a rehearsal found: a table for the terminal, and a file to send to the project. Neither has a secret in it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbext.rehearsal.probes_rules import NOT_SEEN_VALUES
from nbext.spot.scrubbing import HIDDEN, scrub
from nbext.untrusted import printable
from nbext.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbext.credentials import Credential
    from nbext.rehearsal.findings import Claim, Difference

_PACKAGES = ("pandas", "requests", "urllib3", "cryptography")
_ACCOUNT = re.compile(r"""(\\*"(?:uid|accountId|tradeGroupId)\\*"\s*:\s*\\*"?)-?[0-9]+""")
_WIDTH = 100
_INDENT = " " * 15


class Scrubber:
    """Takes the secrets of a credential, and numbers of accounts, out of any text.

    Parameters
    ----------
    credential : Credential or None
    """

    def __init__(self, credential: Credential | None) -> None:
        names = ("api_key", "secret_key", "private_key", "passphrase")
        found = [getattr(credential, name, None) for name in names]
        self._secrets = [secret for secret in found if secret is not None]

    def __call__(self, text: str) -> str:
        """Return a text without them."""
        secrets = [line for secret in self._secrets for line in secret.reveal().splitlines()]
        return _ACCOUNT.sub(rf"\1{HIDDEN}", scrub(text.encode("utf-8", "replace"), secrets).decode("utf-8", "replace"))


def document(
    facts: Mapping[str, Any],
    *,
    claims: Iterable[Claim],
    not_played: Mapping[str, str],
    differences: Iterable[Difference],
    not_asked: Mapping[str, str],
    left_open: Sequence[str],
) -> dict[str, Any]:
    """Return everything as a JSON-able document."""
    versions = {"nbext": __version__, "python": platform.python_version(), "system": platform.system()}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        **facts,
        "versions": versions,
        "claims": [each._asdict() for each in claims],
        "not_played": dict(not_played),
        "differences": [each._asdict() for each in differences],
        "rules_not_asked": dict(sorted(not_asked.items())),
        "values_not_seen": {f"{rule}: {value}": why for (rule, value), why in NOT_SEEN_VALUES.items()},
        "left_open": list(left_open),
    }


def write(document: Mapping[str, Any], path: Path, clean: Scrubber) -> None:
    """Write a document, without secrets, in one go: a reader finds the old file or the new one, whole."""
    text = json.dumps(_cleaned(document, clean), indent=2, ensure_ascii=False)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _cleaned(value: Any, clean: Scrubber) -> Any:
    if isinstance(value, dict):
        return {clean(str(name)): _cleaned(each, clean) for name, each in value.items()}
    if isinstance(value, list):
        return [_cleaned(each, clean) for each in value]
    return clean(value) if isinstance(value, str) else value


def table(document: Mapping[str, Any], clean: Scrubber) -> Iterator[str]:
    """Return the lines of the table for the terminal."""
    for line in _lines(document):
        yield printable(clean(line))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield "held compared  claim"
    for claim in document["claims"]:
        word = {True: "yes", False: "NO", None: "?"}[claim["held"]]
        yield f"{word:<4} {claim['compared']:>8,}  {claim['name']}"
        yield from textwrap.wrap(claim["detail"], _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
    if document["not_played"]:
        yield ""
        yield "Not played:"
        width = max(map(len, document["not_played"]))
        yield from (f"  {name:<{width}}  {reason}" for name, reason in document["not_played"].items())
    yield ""
    count = len(document["differences"])
    not_asked = len(document["rules_not_asked"])
    yield f"{count or 'No'} difference{'' if count == 1 else 's'} from RULES.md{':' if count else '.'}"
    if not_asked:
        yield f"{not_asked} of its rules cannot be seen here; the file says why."
    for each in document["differences"]:
        yield f"  {each['rule']}"
        yield from textwrap.wrap(f"usual: {each['usual']}", _WIDTH, initial_indent="    ", subsequent_indent=_INDENT)
        yield from textwrap.wrap(f"here:  {each['found']}", _WIDTH, initial_indent="    ", subsequent_indent=_INDENT)
