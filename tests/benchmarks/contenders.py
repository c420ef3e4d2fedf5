"""One cancel-all through each client, in whatever interpreter runs this.

- ``python contenders.py fresh CLIENT URL SYMBOL`` prints the monotonic time of its first answer.
- ``python contenders.py warm CLIENT URL SYMBOL ROUNDS`` prints, in JSON, the seconds that each call took, and those
  of a hand-signed `http.client` by turns with it.

Each client imports what it needs when it is made, so that a fresh process pays for that and for nothing else.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Cancel = Callable[[str], object]

API_KEY = "k" * 64
SECRET_KEY = "s" * 64


def http_client(url: str) -> Cancel:
    """Make a hand-signed `http.client`."""
    from floors import HandSigned

    return HandSigned(url).cancel


def bare_requests(url: str) -> Cancel:
    """Make what a script does with requests, signed by hand."""
    import hashlib
    import hmac

    import requests

    def cancel(symbol: str) -> object:
        query = f"symbol={symbol}&timestamp={time.time_ns() // 1_000_000}"
        signature = hmac.new(SECRET_KEY.encode(), query.encode(), hashlib.sha256).hexdigest()
        target = f"{url}/api/v3/openOrders?{query}&signature={signature}"
        return requests.delete(target, headers={"X-MBX-APIKEY": API_KEY}, timeout=10).json()

    return cancel


def nbext(url: str) -> Cancel:
    """Make nbext's client."""
    from nbext import SpotClient

    return SpotClient(url, api_key=API_KEY, secret_key=SECRET_KEY).cancel_open_orders


def python_binance(url: str) -> Cancel:
    """Make python-binance's client."""
    from binance.client import Client  # type: ignore[import-not-found]

    Client.API_URL = f"{url}/api"
    client = Client(API_KEY, SECRET_KEY)
    return lambda symbol: client.cancel_all_open_orders(symbol=symbol)


def binance_connector(url: str) -> Cancel:
    """Make binance-connector's client."""
    from binance.spot import Spot  # type: ignore[import-not-found]

    cancel: Cancel = Spot(api_key=API_KEY, api_secret=SECRET_KEY, base_url=url).cancel_open_orders
    return cancel


CLIENTS = {
    "http_client": http_client,
    "bare_requests": bare_requests,
    "nbext": nbext,
    "python_binance": python_binance,
    "binance_connector": binance_connector,
}


def main(mode: str, name: str, url: str, symbol: str, rounds: str = "1") -> None:
    """Do what the command line says."""
    cancel = CLIENTS[name](url)
    cancel(symbol)
    if mode == "fresh":
        print(time.monotonic())  # noqa: T201 - a program prints
        return
    import json

    floor = http_client(url)
    taken: list[list[float]] = [[], []]
    for _ in range(int(rounds)):
        for call, times in zip((cancel, floor), taken, strict=True):
            began = time.perf_counter()
            call(symbol)
            times.append(time.perf_counter() - began)
    print(json.dumps(taken))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
