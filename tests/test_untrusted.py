from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from conftest import answer

from nbext import cancel
from nbext.errors import NbextError, RejectedError
from nbext.spot import SpotClient
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import PlainServer

HOSTILE = [
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u202eevil\u2066",
    "\u200f\u061c",
    "a\r\nb\x00\x7f",
    "\ud83d\udc80 \udc00",
    "\u2028\u2029\ufeff\u200b",
]


def is_safe(text: str) -> bool:
    """Whether a terminal shows a text and does nothing else, and any stream can write it."""
    text.encode()
    return text.isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_might_obey_is_escaped(text: str) -> None:
    """Escape sequences, controls, bidirectional marks and lone surrogates become escapes; the rest stays."""
    assert is_safe(printable(text))
    assert is_safe(str(NbextError(f"BTCUSDT: {text}")))
    assert printable("BTC１２３ — naïve 日本") == "BTC１２３ — naïve 日本"
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


@pytest.mark.parametrize("text", HOSTILE)
def test_what_an_exchange_says_reaches_no_terminal_as_it_is(text: str, serve: Callable[..., PlainServer]) -> None:
    """Neither an error's message and attributes nor a summary line holds what a terminal might obey."""
    said: list[str] = []

    def respond(_: object) -> bytes:
        return reply

    server = serve(respond)
    client = SpotClient(server.url, api_key="kTest", secret_key="sTest")
    reply = answer(f'{{"code":-1100,"msg":{_json(text)}}}', 400)
    with pytest.raises(RejectedError) as caught:
        client.request("GET", "/api/v3/account")
    assert is_safe(str(caught.value))
    assert is_safe(caught.value.msg)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args  # noqa: S301 - written here
    report = '[{"symbol":X,"orderId":1,"orderListId":1,"contingencyType":X,"orders":[],"orderReports":[{"symbol":X,'
    report += '"orderId":1,"orderListId":1,"origClientOrderId":X,"status":X,"origQty":"1","executedQty":"0"}]}]'
    reply = answer(report.replace("X", _json(text)))
    with pytest.raises(NbextError) as odd:
        cancel.Job(["BTCUSDT"], client=client, settle_seconds=0, say=said.append).run()
    assert all(map(is_safe, [*said, str(odd.value), *map(str, getattr(odd.value, "failures", {}).values())]))
    assert said


def _json(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"'
