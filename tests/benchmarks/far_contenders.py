"""``python far_contenders.py CLIENT URL API_KEY SECRET_KEY``: one client, in whatever interpreter runs this, as told.

Each line on standard input is ``first``, ``look`` or ``cancel`` with the symbols that it is about; the answer is a
line of JSON: the monotonic times before and after, and the name of what was raised. A client has one call for one
symbol, so that its user asks for one after the other. What it imports, it imports with the first line.
"""

from __future__ import annotations

import json
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Calls = tuple[Callable[[str], object], Callable[[list[str]], object], Callable[[list[str]], object]]


def one_by_one(cancel: Callable[[str], object]) -> Callable[[list[str]], object]:
    """Cancel on one symbol after the other."""
    return lambda names: [cancel(name) for name in names]


def nbext(url: str, api_key: str, secret_key: str) -> Calls:
    """Make nbext's client; after its first answer, the whole of nbext takes over."""
    from nbext import SpotClient

    client = SpotClient(url, api_key=api_key, secret_key=secret_key)

    def look(names: list[str]) -> object:
        from nbext import open_orders

        return open_orders(*names, client=client)

    def cancel(names: list[str]) -> object:
        from nbext import cancel_all

        return cancel_all(*names, client=client, yes=True)

    return client.cancel_open_orders, look, cancel


def python_binance(url: str, api_key: str, secret_key: str) -> Calls:
    """Make python-binance's client, which says hello to the exchange when it is made."""
    from binance.client import Client  # type: ignore[import-not-found]

    Client.API_URL = f"{url}/api"
    client = Client(api_key, secret_key)

    def cancel(symbol: str) -> object:
        return client.cancel_all_open_orders(symbol=symbol)

    return cancel, lambda _: client.get_open_orders(), one_by_one(cancel)


def ccxt(url: str, api_key: str, secret_key: str) -> Calls:
    """Make ccxt's client, which loads the markets before it does anything, and hurries no more than it is told."""
    import ccxt as package  # type: ignore[import-not-found]

    client = package.binance(
        {
            "apiKey": api_key,
            "secret": secret_key,
            "enableRateLimit": False,  # its own brake would be measured instead of the line
            "requests_trust_env": True,  # for the certificate
            "options": {"fetchMarkets": {"types": ["spot"]}, "warnOnFetchOpenOrdersWithoutSymbol": False},
        }
    )
    client.urls["test"] = {"public": url + "/api/v3", "private": url + "/api/v3", "sapi": url + "/sapi/v1"}
    client.set_sandbox_mode(True)

    def cancel(symbol: str) -> object:
        return client.cancel_all_orders(f"{symbol.removesuffix('USDT')}/USDT")

    return cancel, lambda _: client.fetch_open_orders(), one_by_one(cancel)


def binance_sdk_spot(url: str, api_key: str, secret_key: str) -> Calls:
    """Make the official SDK's client."""
    from binance_common.configuration import ConfigurationRestAPI  # type: ignore[import-not-found]
    from binance_sdk_spot.spot import Spot  # type: ignore[import-not-found]

    configuration = ConfigurationRestAPI(api_key=api_key, api_secret=secret_key, base_path=url)
    rest = Spot(config_rest_api=configuration).rest_api

    def cancel(symbol: str) -> object:
        return rest.delete_open_orders(symbol=symbol).data()

    return cancel, lambda _: rest.get_open_orders().data(), one_by_one(cancel)


CLIENTS: dict[str, Callable[[str, str, str], Calls]] = {
    "nbext": nbext,
    "python_binance": python_binance,
    "ccxt": ccxt,
    "binance_sdk_spot": binance_sdk_spot,
}


def main(name: str, url: str, api_key: str, secret_key: str) -> None:
    """Do as told until there is no more to do."""
    calls: Any = None
    for line in sys.stdin:
        kind, *names = line.split()
        began, error = time.monotonic(), None
        try:
            if calls is None:
                calls = CLIENTS[name](url, api_key, secret_key)
            first, look, cancel = calls
            if kind == "first":
                first(*names)
            else:
                (look if kind == "look" else cancel)(names)
        except Exception as raised:  # noqa: BLE001 - its name is what was asked for
            error = type(raised).__name__
        print(json.dumps([began, time.monotonic(), error]), flush=True)  # noqa: T201 - a program prints


if __name__ == "__main__":
    main(*sys.argv[1:])
