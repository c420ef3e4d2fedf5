"""Frames in files: the lines that the README shows keep every id, time and amount."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

import nbext
from nbext.exchange import LocalExchange

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
LARGE = 2**53 + 1
"""The first whole number that no float is."""


@pytest.fixture(params=["floats", "exact", "result", "nothing"])
def frame(request: pytest.FixtureRequest) -> pd.DataFrame:
    """Return open orders or a result, with ids that are no floats."""
    with (
        LocalExchange() as exchange,
        nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client,
    ):
        if request.param != "nothing":
            exchange.seed_orders()
        call = nbext.cancel_all if request.param == "result" else nbext.open_orders
        frame = call("BTCUSDT", client=client, exact=request.param == "exact")
    frame["orderId"] += LARGE - frame["orderId"].min() if len(frame) else 0
    return frame


def written(frame: pd.DataFrame, method: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run the line of the README that calls this method, and give the file."""
    (line,) = re.findall(rf"^df\..*{method}\(.*$", README, re.MULTILINE)
    monkeypatch.chdir(folder)
    exec(line, {"df": frame})  # noqa: S102 - the line under test
    (path,) = folder.iterdir()
    return path


def test_parquet_comes_back_equal(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dtypes, exact Decimals and attrs."""
    again = pd.read_parquet(written(frame, "to_parquet", tmp_path, monkeypatch))
    pd.testing.assert_frame_equal(again, frame)
    assert again.attrs == frame.attrs


def test_csv_comes_back_equal(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is told the dtypes; exact Decimals need them named, too."""
    path = written(frame, "to_csv", tmp_path, monkeypatch)
    names = frame.dtypes.astype(str)
    again = pd.read_csv(path, dtype=names.replace(["datetime64[ms, UTC]", "object"], "str").to_dict())
    for name in names.index[names == "object"]:
        again[name] = pd.Series([None if pd.isna(text) else Decimal(text) for text in again[name]], dtype=object)
    again = again.astype(frame.dtypes)
    pd.testing.assert_frame_equal(again, frame)


def test_a_spreadsheet_keeps_ids_and_times(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each id, time and amount is there as it was: nothing is rounded to what a spreadsheet calls a number."""
    again = pd.read_excel(written(frame, "to_excel", tmp_path, monkeypatch), dtype=object)
    assert list(again) == list(frame)
    for name in frame.select_dtypes(["Int64"]):
        assert [int(each) for each in again[name].dropna()] == frame[name].dropna().tolist()
    for name in frame.select_dtypes(["datetimetz"]):
        assert [pd.Timestamp(each) for each in again[name].dropna()] == frame[name].dropna().tolist()
    for name in ("price", "origQty", "executedQty"):
        assert [float(each) for each in again[name].dropna()] == [float(each) for each in frame[name].dropna()]
    for name in frame.select_dtypes(["str"]):
        assert again[name].dropna().tolist() == frame[name].dropna().tolist()
