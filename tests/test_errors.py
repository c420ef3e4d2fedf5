from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pandas as pd
import pytest

import nbext
from nbext import errors
from nbext.errors import (
    ConfigurationError,
    IncompleteError,
    Interrupted,
    NbextError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)

LEAVES: list[type[NbextError]] = [
    ConfigurationError,
    NotSentError,
    RejectedError,
    RateLimitedError,
    IncompleteError,
    OutcomeUnknownError,
]


def test_the_tree_has_the_documented_shape() -> None:
    """Each class answers one question, and only a rate limit is a kind of refusal."""
    public = {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception) and not name.startswith("_")
    }
    assert set(public.values()) == {NbextError, *LEAVES}
    assert NbextError.__bases__ == (Exception,)
    for kind in LEAVES:
        related = {other for other in LEAVES if other is not kind and issubclass(kind, other)}
        assert related == ({RejectedError} if kind is RateLimitedError else set())
        assert issubclass(kind, NbextError)
        assert not issubclass(kind, (OSError, ValueError))


def test_every_error_that_a_call_raises_can_be_named() -> None:
    """The one of an interrupt included, which is no `NbextError`, so that a loop ends."""
    for kind in (*LEAVES, NbextError, Interrupted):
        assert getattr(nbext, kind.__name__) is kind
        assert kind.__name__ in nbext.__all__
    assert issubclass(nbext.Interrupted, KeyboardInterrupt)


@pytest.mark.parametrize("kind", LEAVES)
def test_ipython_shows_one_line(kind: type[NbextError]) -> None:
    """The rendered traceback is the class and its message, and nothing else."""
    assert kind("BTCUSDT: what to do.")._render_traceback_() == [f"{kind.__name__}: BTCUSDT: what to do."]


def test_attributes_have_their_documented_defaults() -> None:
    """What an answer did not tell is None, or empty."""
    for kind in LEAVES:
        assert kind("x").frame is None
        assert str(kind("x")) == "x"
    rejected, limited = RejectedError("x"), RateLimitedError("x")
    for error in (rejected, limited):
        assert (error.code, error.msg, error.http_status) == (None, "", None)
    assert limited.retry_after is None
    for partial in (IncompleteError("x"), OutcomeUnknownError("x")):
        assert partial.failures == {}


def test_a_partial_result_keeps_its_own_failures() -> None:
    """The frame is the one given; the failures are a copy."""
    table, failures = pd.DataFrame({"orderId": [1]}), {"BTCUSDT": NotSentError("y")}
    for kind in (IncompleteError, OutcomeUnknownError):
        error = kind("x", frame=table, failures=failures)
        assert error.frame is table
        assert error.failures == failures
        assert error.failures is not failures


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (ConfigurationError("x"), {}),
        (NotSentError("x"), {}),
        (
            RejectedError("x", code=-2011, msg="Unknown order sent.", http_status=400),
            {"code": -2011, "msg": "Unknown order sent.", "http_status": 400},
        ),
        (
            RateLimitedError("x", code=-1003, msg="m", http_status=429, retry_after=1.5),
            {"code": -1003, "msg": "m", "http_status": 429, "retry_after": 1.5},
        ),
        (IncompleteError("x", failures={}), {"failures": {}}),
        (OutcomeUnknownError("x"), {"failures": {}}),
    ],
)
def test_errors_survive_pickling_and_copying(error: NbextError, attributes: dict[str, Any]) -> None:
    """Code, text, status and waiting time reach another process as they were."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):  # noqa: S301 - written here
            assert type(twin) is type(error)
            assert str(twin) == "x"
            assert {name: getattr(twin, name) for name in attributes} == attributes


def test_frames_and_failures_survive_pickling() -> None:
    """An unknown outcome keeps what is known of each order."""
    error = OutcomeUnknownError(
        "x", frame=pd.DataFrame({"orderId": [1, 2]}), failures={"BTCUSDT": RejectedError("y", code=-1021)}
    )
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - written here
    assert twin.frame["orderId"].tolist() == [1, 2]
    assert twin.failures["BTCUSDT"].code == -1021
