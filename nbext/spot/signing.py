"""Sign a request: key and payload bytes in, signature text out.

Nothing here reads a clock, a file or the environment. API docs, "Request security": HMAC-SHA256 as hex, RSA
(PKCS#1 v1.5, SHA-256) and Ed25519 as base64. The caller
still has to percent-encode a base64 signature, once.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Literal, Never

from nbext.forks import encryption

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["HMAC", "RSA", "Ed25519"]


class SigningKey:
    """A secret that can sign but cannot be read.

    Made by `hmac_key` or `private_key`. Its repr names the kind only, and it cannot be pickled, so that neither a
    traceback with local variables nor a saved object carries a secret.

    Attributes
    ----------
    kind : {"HMAC", "RSA", "Ed25519"}
    """

    __slots__ = ("_sign", "kind")

    def __init__(self, kind: Kind, sign: Callable[[bytes], str]) -> None:
        self.kind = kind
        self._sign = sign

    def sign(self, payload: bytes) -> str:
        """Sign the payload, exactly these bytes.

        Parameters
        ----------
        payload : bytes
            The percent-encoded query string, followed by the body without a separator.

        Returns
        -------
        str
            64 hex digits (HMAC), or base64 of 64 (Ed25519) or as many bytes as the key has (RSA).
        """
        with encryption:
            return self._sign(payload)

    def __repr__(self) -> str:
        return f"<{self.kind} key>"

    def __reduce__(self) -> Never:
        raise TypeError("a signing key cannot be pickled, since that would save its secret")


def hmac_key(secret_key: str) -> SigningKey:
    """Return an HMAC-SHA256 key for a secret key of the exchange.

    Raises
    ------
    ValueError
        It is empty, or contains blanks, control or non-ASCII characters.
    """
    _require_token(secret_key, "secret key")
    secret = secret_key.encode("ascii")
    return SigningKey("HMAC", lambda payload: hmac.digest(secret, payload, "sha256").hex())


def private_key(pem: bytes, passphrase: str | None = None) -> SigningKey:
    """Read an RSA or Ed25519 private key, in PEM as PKCS#8, encrypted or not.

    Raises
    ------
    ValueError
        It is not such a key, or the passphrase is missing, superfluous or wrong.
    """
    # Only here: an HMAC key needs none of it, and it takes longer to import than to sign.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    problem = ""
    try:
        key = load_pem_private_key(pem, passphrase.encode() if passphrase else None)
    except TypeError:  # raised if a passphrase is missing or superfluous
        problem = (
            "is not encrypted, yet a passphrase was given" if passphrase else "is encrypted: its passphrase is needed"
        )
    except (ValueError, UnsupportedAlgorithm):
        problem = "could not be read: it is not PEM in PKCS#8" + (", or the passphrase is wrong" if passphrase else "")
    if problem:  # raised out here, so that no cryptography error that may quote the key is chained to it
        raise ValueError(f"the private key {problem}")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SigningKey("Ed25519", lambda payload: _base64(key.sign(payload)))
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, digest = padding.PKCS1v15(), SHA256()
        return SigningKey("RSA", lambda payload: _base64(key.sign(payload, scheme, digest)))
    raise ValueError("the private key is neither RSA nor Ed25519")


def require_api_key(api_key: str) -> None:
    """Check that a text can be an API key, without ever showing it.

    Raises
    ------
    ValueError
        It is empty, or contains blanks, control or non-ASCII characters.
    """
    _require_token(api_key, "API key")


def _require_token(text: str, what: str) -> None:
    # Printable ASCII without blanks is all that a header value or a secret of the exchange can be. The text itself
    # stays out of the message: a key with a line end in it is how today's clients come to print keys.
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        flaw = "is empty" if not text else "contains a blank, a line end or another invalid character"
        raise ValueError(f"the {what} {flaw}")


def _base64(signature: bytes) -> str:
    return base64.b64encode(signature).decode("ascii")
