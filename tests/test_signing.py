from __future__ import annotations

import base64
import binascii
import pickle
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from nbext.spot import signing

if TYPE_CHECKING:
    from pathlib import Path

SECRET_KEY = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
ORDER = "&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
FULLWIDTH = "１２３４５６"
ENCODED = "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96"

ED25519_PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u
-----END PRIVATE KEY-----
"""
ED25519_PUBLIC_PEM = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGUIKv9dSpWXBViXp2m6vAIb8QMFJYBgyFEQsFJlqgA0=
-----END PUBLIC KEY-----
"""
SELL = "&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2&timestamp=1668481559918&recvWindow=5000"
CANCEL_ALL = "symbol=BTCUSDT&timestamp=1499827319559"

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PASSPHRASE = "correct horse"


def pem(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, passphrase: str | None = None
) -> bytes:
    """Write a private key in PKCS#8."""
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        pytest.param(
            "symbol=LTCBTC" + ORDER,
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
            id="documented, ascii",
        ),
        pytest.param(
            f"symbol={ENCODED}{ORDER}",
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
            id="documented, non-ascii",
        ),
        pytest.param(
            CANCEL_ALL, "d97112c82a46aae604c384663068433947147d01a3c8cfad4a53903682ec2eca", id="derived, cancel-all"
        ),
        pytest.param(
            "symbol=BTCUSDT&recvWindow=5000&timestamp=1499827319559",
            "4dd01c83b23c3f059afcb6af54fbc730669d56153a400551ed1ed7f7913837ec",
            id="derived, recvWindow",
        ),
        pytest.param(
            "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
            "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
            "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
            id="derived, query then body",
        ),
        pytest.param(
            f"symbol={FULLWIDTH}{ORDER}",
            "ca2cdfbf21d2e2958de492c7f2dd1f059dd2ed4d4459d26a5ec7928db50c8d4f",
            id="negative, not encoded",
        ),
        pytest.param(
            f"symbol={ENCODED.lower()}{ORDER}",
            "a6437db89051521c0310ac04ab760d68da896c146d72eed37dbe7ec5ed3cd114",
            id="negative, lower-case escapes",
        ),
    ],
)
def test_hmac_signatures_are_the_documented_ones(payload: str, signature: str) -> None:
    """HMAC signs exactly the bytes given, so other escapes give the other documented signature."""
    key = signing.hmac_key(SECRET_KEY)
    assert key.kind == "HMAC"
    assert key.sign(payload.encode()) == signature


@pytest.mark.parametrize(
    ("payload", "signature", "as_sent"),
    [
        pytest.param(
            "A\x01EXAMPLE\x01SPOT\x011\x0120240627-11:17:25.223",
            "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA==",
            None,
            id="FIX logon",
        ),
        pytest.param(
            "symbol=BTCUSDT" + SELL,
            "inDT086KVIP8vgUfw5sV3VTkescWztiAGlf4x8FLKHM4NInsn0c1kYVLoGMO8cyjfR6vmTku2YQE0gtfVVlfCw==",
            None,
            id="payload 1",
        ),
        pytest.param(
            f"symbol={ENCODED}{SELL}",
            "vECjNXSlVOz1DskXXQ866KhikKY8cxajBXKAU0COlYYemqEr45TXiRS/jNB3LyHHh48pu7z2S6pTFhmhWNRBBw==",
            "vECjNXSlVOz1DskXXQ866KhikKY8cxajBXKAU0COlYYemqEr45TXiRS%2FjNB3LyHHh48pu7z2S6pTFhmhWNRBBw%3D%3D",
            id="payload 2",
        ),
        pytest.param(
            CANCEL_ALL,
            "mZfG9gAJr5gYt+zgv8LFQpSFH6jW/gq9esY0ai3QkGqLexMc1ZpbT5Oa+Ef2WdMjMsV0MbKyReaZMC+n0fcTBw==",
            "mZfG9gAJr5gYt%2Bzgv8LFQpSFH6jW%2Fgq9esY0ai3QkGqLexMc1ZpbT5Oa%2BEf2WdMjMsV0MbKyReaZMC%2Bn0fcTBw%3D%3D",
            id="cancel-all",
        ),
    ],
)
def test_ed25519_signatures_are_the_documented_ones(payload: str, signature: str, as_sent: str | None) -> None:
    """Ed25519 signs the payload bytes themselves, in base64 that is percent-encoded once when sent."""
    key = signing.private_key(ED25519_PEM)
    assert key.kind == "Ed25519"
    assert key.sign(payload.encode()) == signature
    if as_sent is not None:
        assert quote(key.sign(payload.encode()), safe="") == as_sent
    public = load_pem_public_key(ED25519_PUBLIC_PEM)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(base64.b64decode(signature), payload.encode())


def test_an_rsa_signature_verifies_and_is_the_same_each_time() -> None:
    """RSA is PKCS#1 v1.5 with SHA-256: verifiable, deterministic, 344 characters for 2048 bits."""
    key = signing.private_key(pem(RSA_KEY))
    signature = key.sign(CANCEL_ALL.encode())
    assert key.kind == "RSA"
    assert len(signature) == 344
    assert key.sign(CANCEL_ALL.encode()) == signature
    assert key.sign(b"another") != signature
    RSA_KEY.public_key().verify(base64.b64decode(signature), CANCEL_ALL.encode(), padding.PKCS1v15(), SHA256())


def test_rsa_and_ed25519_agree_with_the_openssl_program(tmp_path: Path) -> None:
    """The openssl program makes the same signatures from the same key files."""
    for name, content, command in (
        ("rsa", pem(RSA_KEY), ["dgst", "-sha256", "-sign"]),
        ("ed25519", ED25519_PEM, ["pkeyutl", "-sign", "-rawin", "-inkey"]),
    ):
        key_file, payload_file = tmp_path / f"{name}.pem", tmp_path / "payload"
        key_file.write_bytes(content)
        payload_file.write_text(f"symbol={ENCODED}{SELL}", "ascii")
        tail = [str(payload_file)] if name == "rsa" else ["-in", str(payload_file)]
        done = subprocess.run(["openssl", *command, str(key_file), *tail], capture_output=True, check=True)  # noqa: S607 - wherever it is
        assert signing.private_key(content).sign(payload_file.read_bytes()) == base64.b64encode(done.stdout).decode()


@pytest.mark.parametrize("kind", ["RSA", "Ed25519"])
def test_an_encrypted_key_signs_as_its_plain_twin(kind: str) -> None:
    """An encrypted PKCS#8 file with its passphrase is the same key, whatever letters the passphrase has."""
    plain = RSA_KEY if kind == "RSA" else ed25519.Ed25519PrivateKey.generate()
    for passphrase in (PASSPHRASE, "pässwörd"):
        encrypted = pem(plain, passphrase)
        assert b"ENCRYPTED" in encrypted
        key = signing.private_key(encrypted, passphrase)
        assert key.kind == kind
        assert key.sign(b"payload") == signing.private_key(pem(plain)).sign(b"payload")


@pytest.mark.parametrize(
    ("content", "passphrase", "words"),
    [
        pytest.param(pem(RSA_KEY, PASSPHRASE), None, "passphrase is needed", id="missing"),
        pytest.param(pem(RSA_KEY, PASSPHRASE), "", "passphrase is needed", id="empty"),
        pytest.param(pem(RSA_KEY, PASSPHRASE), "wrong horse", "passphrase is wrong", id="wrong"),
        pytest.param(pem(RSA_KEY), PASSPHRASE, "is not encrypted, yet", id="superfluous"),
        pytest.param(pem(ec.generate_private_key(ec.SECP256R1())), None, "neither RSA nor Ed25519", id="EC"),
        pytest.param(b"", None, "not PEM in PKCS#8", id="empty file"),
        pytest.param(SECRET_KEY.encode(), None, "not PEM in PKCS#8", id="a secret key"),
        pytest.param(pem(RSA_KEY)[:-200], None, "not PEM in PKCS#8", id="cut"),
        pytest.param(ED25519_PEM.replace(b"MC4C", b"MC4D"), None, "not PEM in PKCS#8", id="one letter changed"),
        pytest.param(ED25519_PUBLIC_PEM, None, "not PEM in PKCS#8", id="the public key"),
        pytest.param(b"\x00\xff" * 40, None, "not PEM in PKCS#8", id="bytes"),
    ],
)
def test_what_is_not_a_usable_private_key_is_refused_unseen(content: bytes, passphrase: str | None, words: str) -> None:
    """Each refusal says what is wrong, holds no line of the file and no passphrase, and has no cause that might."""
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        signing.private_key(content, passphrase)
    message = str(caught.value)
    assert message.startswith("the private key ")
    assert passphrase is None or passphrase == "" or passphrase not in message
    assert not any(line in message for line in content.decode("latin-1").split() if len(line) > 20)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" abcDEF123", "contains a blank"),
        ("abc DEF123", "contains a blank"),
        ("abcDEF123\n", "contains a blank"),
        ("abcDEF\r\n123", "contains a blank"),
        ("abcDEF\t123", "contains a blank"),
        ("abcDEF\x00123", "contains a blank"),
        ("abcDEF\x7f123", "contains a blank"),
        ("abcDEFé123", "contains a blank"),
        ("abcDEF\u200b123", "contains a blank"),
    ],
)
def test_texts_that_no_key_can_be_are_refused_without_being_shown(text: str, words: str) -> None:
    """Blanks, line ends, control and non-ASCII characters are refused, and the text stays out of the message."""
    for check, what in ((signing.hmac_key, "secret key"), (signing.require_api_key, "API key")):
        with pytest.raises(ValueError, match=f"the {what} {words}") as caught:
            check(text)
        assert "abc" not in str(caught.value)
        assert "123" not in str(caught.value)
    signing.require_api_key("abcDEF-_123")


def test_a_signing_key_shows_its_kind_only_and_cannot_be_pickled() -> None:
    """Neither repr, nor attributes, nor pickle give the secret away."""
    for key in (signing.hmac_key(SECRET_KEY), signing.private_key(ED25519_PEM), signing.private_key(pem(RSA_KEY))):
        assert repr(key) == str(key) == f"<{key.kind} key>"
        assert not hasattr(key, "__dict__")
        assert SECRET_KEY not in "".join(repr(getattr(key, name)) for name in dir(key))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(key, protocol)


def test_signatures_are_text_that_a_url_can_carry() -> None:
    """HMAC gives 64 hex digits, Ed25519 base64 of 64 bytes."""
    assert len(bytes.fromhex(signing.hmac_key(SECRET_KEY).sign(b""))) == 32
    assert len(binascii.a2b_base64(signing.private_key(ED25519_PEM).sign(b""), strict_mode=True)) == 64
