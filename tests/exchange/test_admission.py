"""Admission by itself, with a clock that is set by hand."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support.exchange_client import sign

from nbext.exchange.api.admission import Admission, Key, Request, hmac_verifier, public_key_verifier
from nbext.exchange.api.endpoints import BY_NAME
from nbext.exchange.engine.limits import OrderCount, RequestLimits
from nbext.exchange.engine.refusals import Refusal, TooMuch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from nbext.exchange.api.admission import Call

API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET_KEY = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
STAMP = 1_499_827_319_559
ASCII = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
WIDE = ASCII.replace("LTCBTC", "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96")
ED25519_PRIVATE = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u
-----END PRIVATE KEY-----
"""
ED25519_PUBLIC = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGUIKv9dSpWXBViXp2m6vAIb8QMFJYBgyFEQsFJlqgA0=
-----END PUBLIC KEY-----
"""
CANCEL_ALL = "symbol=BTCUSDT&timestamp=1499827319559"
CANCEL_ALL_ED25519 = "mZfG9gAJr5gYt+zgv8LFQpSFH6jW/gq9esY0ai3QkGqLexMc1ZpbT5Oa+Ef2WdMjMsV0MbKyReaZMC+n0fcTBw=="


class HandClock:
    """A clock in microseconds that stands still until it is set."""

    def __init__(self) -> None:
        self.milliseconds: float = STAMP

    def __call__(self) -> int:
        """Return the time."""
        return round(self.milliseconds * 1000)


@pytest.fixture
def clock() -> HandClock:
    """Return a clock at the documented timestamp."""
    return HandClock()


@pytest.fixture
def admission(clock: HandClock) -> Admission:
    """Return an admission that knows the documented HMAC key."""
    made = Admission(clock)
    made.keys[API_KEY] = Key("main", can_trade=True, verifiers=[hmac_verifier(SECRET_KEY)])
    return made


def admit(
    admission: Admission,
    name: str,
    query: str = "",
    body: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    api_key: str = API_KEY,
) -> Call:
    """Send a request for admission."""
    request = Request(query.encode(), body.encode(), {"X-MBX-APIKEY": api_key, **(headers or {})})
    return admission.admit(BY_NAME[name], request)


def refused(
    admission: Admission,
    name: str,
    query: str = "",
    body: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    api_key: str = API_KEY,
) -> tuple[int, str]:
    """Return the refusal of a request."""
    with pytest.raises(Refusal) as caught:
        admit(admission, name, query, body, headers=headers, api_key=api_key)
    return caught.value.code, caught.value.text


def signed(payload: str) -> str:
    """Return a query with its signature."""
    return f"{payload}&signature={sign(SECRET_KEY, payload)}"


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (ASCII, "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        (WIDE, "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)
def test_documented_hmac_vectors_pass(admission: Admission, payload: str, signature: str) -> None:
    """The documented HMAC signatures pass, in either case of their hex digits."""
    assert admit(admission, "order", f"{payload}&signature={signature}").params["price"] == Decimal("0.1")
    assert admit(admission, "order", f"{payload}&signature={signature.upper()}").account == "main"


@pytest.mark.parametrize(
    "signature",
    [
        "ca2cdfbf21d2e2958de492c7f2dd1f059dd2ed4d4459d26a5ec7928db50c8d4f",
        "a6437db89051521c0310ac04ab760d68da896c146d72eed37dbe7ec5ed3cd114",
        "0" * 64,
        "x",
        "%C3%A9",
    ],
)
def test_signatures_over_other_bytes_are_refused(admission: Admission, signature: str) -> None:
    """A signature over unencoded text, lower-case escapes, or nothing is refused."""
    answer = refused(admission, "order", f"{WIDE}&signature={signature}")
    assert answer == (-1022, "Signature for this request is not valid.")


def test_lower_case_escapes_pass_when_they_are_what_was_sent(admission: Admission) -> None:
    """Exactly the bytes that were sent are verified."""
    payload = WIDE.replace("%EF%BC", "%ef%bc")
    wide = admit(
        admission, "order", f"{payload}&signature=a6437db89051521c0310ac04ab760d68da896c146d72eed37dbe7ec5ed3cd114"
    )
    assert wide.params["symbol"] == "\uff11\uff12\uff13\uff14\uff15\uff16"


def test_query_and_body_are_joined_without_separator(admission: Admission) -> None:
    """The payload of a split request is the query immediately followed by the body."""
    query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
    body = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    signature = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"
    assert len(admit(admission, "order", query, f"{body}&signature={signature}").params) == 6
    assert len(admit(admission, "order", f"{query}&signature={signature}", body).params) == 6
    assert refused(admission, "order", query, f"{body}&signature={sign(SECRET_KEY, f'{query}&{body}')}")[0] == -1022


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (CANCEL_ALL, "d97112c82a46aae604c384663068433947147d01a3c8cfad4a53903682ec2eca"),
        (
            "symbol=BTCUSDT&recvWindow=5000&timestamp=1499827319559",
            "4dd01c83b23c3f059afcb6af54fbc730669d56153a400551ed1ed7f7913837ec",
        ),
    ],
)
def test_cancel_all_vectors_pass_wherever_the_signature_stands(
    admission: Admission, payload: str, signature: str
) -> None:
    """The signature may stand first, last or in between, in the query or in the body."""
    first, _, rest = payload.partition("&")
    for text in (
        f"{payload}&signature={signature}",
        f"signature={signature}&{payload}",
        f"{first}&signature={signature}&{rest}",
    ):
        assert admit(admission, "cancelAll", text).params == {"symbol": "BTCUSDT"}
        assert admit(admission, "cancelAll", "", text).params == {"symbol": "BTCUSDT"}


def test_ed25519_vectors_pass(admission: Admission) -> None:
    """An Ed25519 signature passes percent-encoded, and fails with its plus signs bare."""
    admission.keys[API_KEY].verifiers = [public_key_verifier(ED25519_PUBLIC)]
    encoded = quote(CANCEL_ALL_ED25519, safe="")
    assert admit(admission, "cancelAll", f"{CANCEL_ALL}&signature={encoded}").account == "main"
    assert refused(admission, "cancelAll", f"{CANCEL_ALL}&signature={CANCEL_ALL_ED25519}")[0] == -1022
    assert refused(admission, "cancelAll", f"{CANCEL_ALL}&signature={quote(encoded)}")[0] == -1022
    private: Ed25519PrivateKey = load_pem_private_key(ED25519_PRIVATE, None)  # type: ignore[assignment]
    other = base64.b64encode(private.sign(f"{CANCEL_ALL}&".encode())).decode()
    assert refused(admission, "cancelAll", f"{CANCEL_ALL}&signature={quote(other, safe='')}")[0] == -1022


def test_rsa_signatures_pass_with_pkcs1_only(admission: Admission) -> None:
    """An RSA signature passes with PKCS1-v1_5 padding and fails with PSS."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    admission.keys[API_KEY].verifiers = [public_key_verifier(pem)]
    payload = CANCEL_ALL.encode()
    good = base64.b64encode(private.sign(payload, padding.PKCS1v15(), hashes.SHA256())).decode()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    bad = base64.b64encode(private.sign(payload, pss, hashes.SHA256())).decode()
    assert admit(admission, "cancelAll", f"{CANCEL_ALL}&signature={quote(good, safe='')}").account == "main"
    assert refused(admission, "cancelAll", f"{CANCEL_ALL}&signature={quote(bad, safe='')}")[0] == -1022


def test_keys_are_checked_by_form_then_by_knowledge(admission: Admission) -> None:
    """A missing or malformed key is -2014; an unknown one, or one that may not trade, is -2015."""
    query = signed(CANCEL_ALL)
    for key in ("", "short", "e\u0301" * 32):
        assert refused(admission, "cancelAll", query, api_key=key) == (-2014, "API-key format invalid.")
    unknown = (-2015, "Invalid API-key, IP, or permissions for action.")
    assert refused(admission, "cancelAll", query, api_key="A" * 64) == unknown
    admission.keys[API_KEY].can_trade = False
    assert refused(admission, "cancelAll", query) == unknown
    assert admit(admission, "openOrders", query).account == "main"


@pytest.mark.parametrize(
    ("ahead", "code"), [(-5000.001, -1021), (-5000, 0), (0, 0), (999.999, 0), (1000, -1021), (20_000, -1021)]
)
def test_timing_bounds(admission: Admission, clock: HandClock, ahead: float, code: int) -> None:
    """The future bound is strict at one second, the age bound inclusive at the window."""
    clock.milliseconds = STAMP - ahead
    if code == 0:
        assert admit(admission, "cancelAll", signed(CANCEL_ALL)).timestamp == STAMP * 1000
        return
    text = "outside of the recvWindow" if ahead < 0 else "1000ms ahead of the server's time"
    assert text in refused(admission, "cancelAll", signed(CANCEL_ALL))[1]


def test_receive_window_has_three_decimals(admission: Admission, clock: HandClock) -> None:
    """A window of 6000.346 ms admits exactly that age."""
    query = signed("symbol=BTCUSDT&recvWindow=6000.346&timestamp=1499827319559")
    clock.milliseconds = STAMP + 6000.346
    assert admit(admission, "cancelAll", query).recv_window == 6_000_346
    clock.milliseconds = STAMP + 6000.347
    assert refused(admission, "cancelAll", query)[0] == -1021


def test_age_is_checked_again_before_the_engine(admission: Admission, clock: HandClock) -> None:
    """A request that is too old when it reaches the engine is refused."""
    call = admit(admission, "cancelAll", signed(CANCEL_ALL))
    clock.milliseconds = STAMP + 5000
    admission.check_departure(call)
    clock.milliseconds = STAMP + 5000.001
    with pytest.raises(Refusal, match="-1021"):
        admission.check_departure(call)


def test_microsecond_timestamps_are_understood(admission: Admission) -> None:
    """A timestamp of sixteen digits is read as microseconds."""
    assert admit(admission, "cancelAll", signed(f"symbol=BTCUSDT&timestamp={STAMP}123")).timestamp == STAMP * 1000 + 123


@pytest.mark.parametrize(
    ("window", "code", "text"),
    [
        ("60000.001", -1102, "'recvWindow' contains unexpected value. Cannot be greater than 60000."),
        ("1.2345", -1111, "Parameter 'recvWindow' has too much precision."),
        ("abc", -1100, "Illegal characters found in parameter 'recvWindow'"),
        ("-1", -1100, "Illegal characters found in parameter 'recvWindow'"),
        ("", -1105, "Parameter 'recvWindow' was empty."),
    ],
)
def test_bad_windows(admission: Admission, window: str, code: int, text: str) -> None:
    """Each kind of bad window has its own refusal."""
    answer = refused(admission, "cancelAll", signed(f"symbol=BTCUSDT&recvWindow={window}&timestamp={STAMP}"))
    assert answer[0] == code
    assert answer[1].startswith(text)


def test_parameters_are_counted(admission: Admission) -> None:
    """A fifth parameter of cancel-all is too many; a foreign one among four was not read."""
    many = refused(admission, "cancelAll", signed(f"{CANCEL_ALL}&recvWindow=5000&x=1"))
    assert many == (-1101, "Too many parameters; expected '4' and received '5'.")
    foreign = refused(admission, "cancelAll", signed(f"{CANCEL_ALL}&x=1"))
    assert foreign == (-1104, "Not all sent parameters were read; read '3' parameter(s) but was sent '4'.")
    eight = refused(admission, "query", signed(f"{CANCEL_ALL}&orderId=1&origClientOrderId=a&recvWindow=5&x=1&y=2"))
    assert eight == (-1101, "Too many parameters; expected '6' and received '8'.")


def test_a_name_twice_is_a_duplicate_in_one_place_only(admission: Admission) -> None:
    """Twice in the query is refused; in query and body the query wins."""
    twice = refused(admission, "cancelAll", signed(f"{CANCEL_ALL}&symbol=ETHUSDT"))
    assert twice == (-1101, "Duplicate values for a parameter detected.")
    query = "symbol=BTCUSDT"
    body = f"symbol=ETHUSDT&timestamp={STAMP}"
    call = admit(admission, "cancelAll", query, f"{body}&signature={sign(SECRET_KEY, query + body)}")
    assert call.params == {"symbol": "BTCUSDT"}


@pytest.mark.parametrize("name", ["symbol", "timestamp", "signature"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_mandatory_parameters(admission: Admission, name: str, how: str) -> None:
    """A mandatory parameter that is absent or empty is named."""
    values = {"symbol": "BTCUSDT", "timestamp": str(STAMP), "signature": "0" * 64}
    if how == "empty":
        values[name] = ""
    else:
        del values[name]
    answer = refused(admission, "cancelAll", "&".join(f"{key}={value}" for key, value in values.items()))
    assert answer == (-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


@pytest.mark.parametrize("symbol", ["btcusdt", "BTCUSDT%20", "BTC/USDT", "%FF", "A" * 51, "%ZZ"])
def test_symbols_with_illegal_characters(admission: Admission, symbol: str) -> None:
    """A symbol that does not match the pattern is -1100, and the text quotes the pattern."""
    answer = refused(admission, "cancelAll", signed(f"symbol={symbol}&timestamp={STAMP}"))
    legal = r"^[\w\-._&&[^a-z]]{1,50}$"
    assert answer == (-1100, f"Illegal characters found in parameter 'symbol'; legal range is '{legal}'.")


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("side=HOLD", -1117),
        ("type=ICEBERG", -1116),
        ("timeInForce=GTD", -1115),
        ("newOrderRespType=SHORT", -1130),
        ("selfTradePreventionMode=MAYBE", -1130),
        ("pegPriceType=MID", -1210),
        ("pegOffsetType=TICKS", -1211),
        ("quantity=1e3", -1100),
        ("quantity=-1", -1100),
        ("price=9999999999", 0),
        ("price=99999999999999999999", -1108),
        ("strategyId=99999999999999999999", -1108),
        ("newClientOrderId=a%20b", -1100),
        ("newClientOrderId=", -1105),
    ],
)
def test_malformed_values_of_an_order(admission: Admission, extra: str, code: int) -> None:
    """Each unknown word and each malformed number has its code."""
    values = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timestamp": str(STAMP)}
    name, _, value = extra.partition("=")
    values[name] = value
    query = signed("&".join(f"{key}={each}" for key, each in values.items()))
    if code:
        assert refused(admission, "order", query)[0] == code
    else:
        assert name in admit(admission, "order", query).params


def test_time_unit_header_has_four_spellings(admission: Admission) -> None:
    """Milliseconds and microseconds in upper and lower case; anything else is -1194."""
    units = {"MILLISECOND": 1000, "millisecond": 1000, "MICROSECOND": 1, "microsecond": 1}
    for word, unit in units.items():
        assert admit(admission, "time", headers={"X-MBX-TIME-UNIT": word}).unit == unit
    assert refused(admission, "time", headers={"X-MBX-TIME-UNIT": "Microsecond"})[0] == -1194


def test_body_of_a_get_is_ignored(admission: Admission) -> None:
    """A GET is its query only."""
    assert admit(admission, "openOrders", signed(CANCEL_ALL), "symbol=ETHUSDT").params == {"symbol": "BTCUSDT"}


def test_a_body_that_is_no_form_brings_no_parameters(admission: Admission) -> None:
    """Parameters in a JSON body do not count as sent."""
    headers = {"Content-Type": "application/json"}
    assert refused(admission, "cancelAll", "", signed(CANCEL_ALL), headers=headers)[0] == -1102


def test_weights_by_parameters(admission: Admission) -> None:
    """Weights depend on the parameters as listed."""
    for name, query, weight in [
        ("depth", "symbol=BTCUSDT", 5),
        ("depth", "symbol=BTCUSDT&limit=500", 25),
        ("depth", "symbol=BTCUSDT&limit=1000", 50),
        ("depth", "symbol=BTCUSDT&limit=5000", 250),
        ("ticker/price", "", 4),
        ("ticker/price", "symbol=BTCUSDT", 2),
        ("openOrders", signed(CANCEL_ALL), 6),
        ("openOrders", signed(f"timestamp={STAMP}"), 80),
        ("myTrades", signed(f"{CANCEL_ALL}&orderId=1"), 5),
    ]:
        assert admit(admission, name, query).weight == weight


def test_weight_limit_counts_by_the_minute_of_the_clock(admission: Admission, clock: HandClock) -> None:
    """Over the limit a refusal gives the seconds to the end of the minute; the next minute starts at zero."""
    clock.milliseconds = STAMP // 60_000 * 60_000 + 45_500
    admission.limits = RequestLimits(weight=40)
    admit(admission, "exchangeInfo")
    admit(admission, "exchangeInfo")
    with pytest.raises(TooMuch) as caught:
        admit(admission, "ping")
    assert (caught.value.code, caught.value.retry_after) == (-1003, 15)
    clock.milliseconds += 15_000
    assert admit(admission, "ping").weight == 1


def test_order_count_falls_with_first_fills() -> None:
    """A maker fill takes five off the count, a taker fill one, and it never falls below zero."""
    count = OrderCount(10, 100)
    count.placed(7, 0)
    count.first_fill(0, is_maker=True)
    assert (count.ten_seconds.at(0), count.day.at(0)) == (2, 2)
    count.first_fill(0, is_maker=True)
    assert count.ten_seconds.at(0) == 0
    count.placed(10, 0)
    exhausted = count.exhausted(1, 0)
    assert exhausted
    assert exhausted[1] == "10 SECOND"
    assert count.exhausted(1, 10_000_000) is None
