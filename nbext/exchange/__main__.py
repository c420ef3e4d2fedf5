"""Serve one exchange alone: ``python -m nbext.exchange``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from nbext.exchange import Dialect, LocalExchange, Refusal


def main() -> int:
    """Serve until interrupted or terminated; the first line on standard output says where and with which key."""
    parser = argparse.ArgumentParser(
        prog="python -m nbext.exchange",
        description="Serve an exchange with Binance Spot's API on loopback. Keys come from the environment variables "
        "NBEXT_EXCHANGE_API_KEY and NBEXT_EXCHANGE_SECRET_KEY when both are set; else they are made up.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen at (default: a free one)")
    parser.add_argument("--seed", type=int, default=0, help="fixes order ids and starting prices, never keys")
    parser.add_argument(
        "--public-key",
        type=Path,
        action="append",
        default=[],
        metavar="PEM",
        help="file with an RSA or Ed25519 public key whose signatures are accepted too; may be repeated",
    )
    parser.add_argument("--seed-orders", action="store_true", help="start with a mixture of open orders")
    parser.add_argument(
        "--walk",
        action="append",
        default=[],
        metavar="SYMBOL",
        help="let the price of a symbol move by itself, a step each second; may be repeated",
    )
    parser.add_argument(
        "--dialect",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="behave differently where the API's documentation is silent (nbext/exchange/RULES.md); may be repeated",
    )
    options = parser.parse_args()

    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())

    api_key, secret_key = (os.environ.get(f"NBEXT_EXCHANGE_{name}") for name in ("API_KEY", "SECRET_KEY"))
    if not (api_key and secret_key):
        api_key = secret_key = None
    try:
        dialect = Dialect.read(options.dialect)
        exchange = LocalExchange(
            seed=options.seed, port=options.port, api_key=api_key, secret_key=secret_key, dialect=dialect
        )
        for path in options.public_key:
            exchange.add_key(public_key=path.read_bytes(), api_key=exchange.api_key)
        for symbol in options.walk:
            exchange.start_market(symbol, realtime=True)
        exchange.start()
    except (OSError, ValueError, OverflowError, Refusal) as error:
        parser.error(str(error))
    if options.seed_orders:
        exchange.seed_orders()
    with exchange:
        greeting = {"url": exchange.url, "apiKey": exchange.api_key, "secretKey": exchange.secret_key}
        sys.stdout.write(json.dumps(greeting) + "\n")
        sys.stdout.flush()
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
