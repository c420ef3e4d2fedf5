"""Connections, clients and the local exchange belong to the process that made them; a forked child has its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.networking import TLSServer
from support.server import PlainServer, Request, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Serve = Callable[[Callable[[Request], bytes | Iterable[bytes]]], PlainServer]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

START = """
import contextlib, io, json, multiprocessing, os, signal, socket, sys, threading, time, warnings
warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # Python's own, about forks beside threads
os.environ["NBEXT_JOURNAL"] = "off"
import nbext
from nbext import session as clients

def fork(work):
    child = os.fork()
    if not child:
        signal.alarm(30)
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return child

def end(child):
    assert os.waitpid(child, 0)[1] == 0
"""


def run(program: str, first: str = "", **environment: str) -> Any:
    """Run a program in a process of its own, something first, and give the JSON document that it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", first + START + program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def report(request: Request) -> bytes:
    """Answer a cancel-all with one order on the symbol that was asked for."""
    time.sleep(0.002)
    entry = {"symbol": request.params["symbol"], "orderId": 7, "orderListId": -1, "status": "CANCELED"}
    return answer([{**entry, "origClientOrderId": "a", "clientOrderId": "b"}])


POOL = """
def work(symbol):
    frame = nbext.cancel_all(symbol, client=client, yes=True)
    return [symbol, frame.symbol.tolist(), os.getpid()]

client = nbext.connect(base_url=BASE, api_key="k" * 64, secret_key="s" * 64)
client.cancel_open_orders("PARENT")  # its connection is kept
with multiprocessing.get_context("fork").Pool(4) as pool:
    made = pool.map(work, [f"S{number}USDT" for number in range(80)], chunksize=1)
client.cancel_open_orders("PARENT")
print(json.dumps(made))
"""


@pytest.mark.parametrize("kind", ["TCP", "TLS"])
def test_every_frame_of_a_pool_belongs_to_its_symbol(kind: str, tmp_path: Path) -> None:
    """Children that were forked after the client was used never read each other's answers."""
    server = PlainServer(report) if kind == "TCP" else TLSServer(report, tmp_path)
    settings = {"REQUESTS_CA_BUNDLE": str(server.certificate)} if isinstance(server, TLSServer) else {}
    try:
        made = run(f"BASE = {server.url!r}\n{POOL}", **settings)
    finally:
        server.close()
    assert [symbols for _, symbols, _ in made] == [[symbol] for symbol, _, _ in made]
    assert len({pid for _, _, pid in made}) > 1
    asked = Counter(request.params["symbol"] for request in server.requests)
    assert asked == Counter({f"S{number}USDT": 1 for number in range(80)}) + Counter({"PARENT": 2})
    mine = {request.connection for request in server.requests if request.params["symbol"] == "PARENT"}
    others = {request.connection for request in server.requests if request.params["symbol"] != "PARENT"}
    assert not mine & others
    assert len(mine) == 1  # and the parent's connection outlived the children


def test_a_childs_copy_keeps_no_connection_open(serve: Serve) -> None:
    """A parent that closes its client hangs up, though a child lives on."""
    server = serve(report)
    closed = run(
        f"""
client = nbext.connect(base_url={server.url!r}, api_key="k" * 64, secret_key="s" * 64)
with socket.create_server(("127.0.0.1", 0)) as listener:
    line = nbext.SpotClient(f"http://127.0.0.1:{{listener.getsockname()[1]}}", api_key="k" * 64, secret_key="s" * 64)
    asking = threading.Thread(target=line.request, args=("GET", "/api/v3/time"), kwargs={{"signed": False}})
    asking.start()
    there, _ = listener.accept()
    there.recv(9999)
    there.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}")
    asking.join()
    child = fork(lambda: time.sleep(60))
    line.close()
    there.settimeout(20)
    print(json.dumps(there.recv(1) == b""))
    there.close()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
    )
    assert closed is True


@pytest.mark.parametrize("kind", ["TCP", "TLS"])
def test_forks_during_calls_and_locks(kind: str, tmp_path: Path) -> None:
    """Children forked while threads cancel without a pause cancel, too: none hangs, and none hears another's answer."""
    server = PlainServer(report) if kind == "TCP" else TLSServer(report, tmp_path)
    settings = {"REQUESTS_CA_BUNDLE": str(server.certificate)} if isinstance(server, TLSServer) else {}
    try:
        made = run(
            f"""
client = nbext.connect(base_url={server.url!r}, api_key="k" * 64, secret_key="s" * 64)
nbext.cancel_all("FIRST", client=client, yes=True)
stop, wrong = threading.Event(), []

def go_on(name):
    while not stop.is_set():
        client.close()  # so that there are handshakes to be caught in
        frame = nbext.cancel_all(name, client=client, yes=True)
        if frame.symbol.tolist() != [name]:
            wrong.append(name)

def work(number):
    for again in range(3):
        name = f"C{{number}}X{{again}}"
        assert nbext.cancel_all(name, client=client, yes=True).symbol.tolist() == [name]
    many = [f"M{{number}}X{{again}}" for again in range(5)]
    assert nbext.cancel_all(*many, client=client, yes=True).symbol.tolist() == many

threads = [threading.Thread(target=go_on, args=(f"T{{number}}",)) for number in range(3)]
for thread in threads:
    thread.start()
children = []
for number in range(15):
    time.sleep(0.03)
    children.append(fork(lambda: work(number)))
ended = [os.waitpid(child, 0)[1] for child in children]
stop.set()
for thread in threads:
    thread.join()
assert not any(ended), ended
print(json.dumps(wrong))
""",
            **settings,
        )
    finally:
        server.close()
    assert made == []
    counted = Counter(request.params["symbol"] for request in server.requests)
    assert all(counted[f"C{number}X{again}"] == 1 for number in range(15) for again in range(3))
    assert all(counted[f"M{number}X{again}"] == 1 for number in range(15) for again in range(5))


@pytest.mark.parametrize("kind", ["TCP", "TLS"])
def test_a_call_that_was_under_way_ends_with_the_fork(kind: str, tmp_path: Path) -> None:
    """A child that comes back from a signal handler into its parent's call sends and reads nothing for it."""

    def respond(request: Request) -> bytes:
        os.kill(int(request.headers["X-MBX-APIKEY"]), signal.SIGALRM)
        time.sleep(1)
        return report(request)

    server = PlainServer(respond) if kind == "TCP" else TLSServer(respond, tmp_path)
    settings = {"REQUESTS_CA_BUNDLE": str(server.certificate)} if isinstance(server, TLSServer) else {}
    try:
        heard = run(
            f"""
client = nbext.connect(base_url={server.url!r}, api_key=str(os.getpid()), secret_key="s" * 64)
read, write = os.pipe()

def handler(number, stack):
    global child
    child = os.fork()
    if not child:
        signal.alarm(20)

signal.signal(signal.SIGALRM, handler)
try:
    said = client.cancel_open_orders("BTCUSDT")[0]["symbol"]
except nbext.NbextError as error:
    said = type(error).__name__
if not child:
    os.write(write, said.encode())
    os._exit(0)
end(child)
print(json.dumps([said, os.read(read, 99).decode()]))
""",
            **settings,
        )
    finally:
        server.close()
    assert heard == ["BTCUSDT", "OutcomeUnknownError"]
    assert len(server.requests) == 1


SLOWLY = """
def slowly(frame, event, arg):
    if frame.f_code.co_name == "_load_frames":
        time.sleep(0.2)
        return slowly

threading.settrace(slowly)
"""


@pytest.mark.parametrize("busy", ["", SLOWLY], ids=["at once", "on a busy machine"])
def test_a_fork_while_pandas_is_being_imported(serve: Serve, busy: str) -> None:
    """While one thread makes the first frame of a process another forks: the child gets a frame of its own."""
    server = serve(report)
    made = run(
        busy
        + f"""
client = nbext.connect(base_url={server.url!r}, api_key="k" * 64, secret_key="s" * 64)
first = threading.Thread(target=nbext.cancel_all, args=("FIRST",), kwargs={{"client": client, "yes": True}})
first.start()
while "pandas" not in sys.modules:
    time.sleep(0.001)
early = not hasattr(sys.modules["pandas"], "DataFrame")
child = fork(lambda: nbext.cancel_all("SECOND", client=client, yes=True))
end(child)
first.join()
print(json.dumps(early))
"""
    )
    assert made is True


def test_the_first_frame_imports_nothing_more() -> None:
    """A fork waits for the import of what builds frames, and for nothing that would come after it."""
    made = run(
        """
import nbext.cancel.job, nbext.frames.build
from nbext.orders import from_reports
before = set(sys.modules)
order = {"symbol": "BTCUSDT", "orderId": 7, "price": "1.5", "transactTime": 1, "usedSor": True, "other": [1]}
for exact in (False, True):
    assert len(nbext.frames.build.frame(from_reports([order]), exact=exact)) == 1
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    )
    assert made == []


def test_a_child_that_exits_cancels_nothing_for_its_parent(serve: Serve) -> None:
    """Neither a guard of the process nor a guarded block nor a cell is over because a child ends."""
    server = serve(report)
    run(
        f"""
from nbext.cancel.guard import keeper
from nbext.cancel.job import Job
from nbext.cancel.selection import Selection
client = nbext.connect(base_url={server.url!r}, api_key="k" * 64, secret_key="s" * 64)
keeper.keep(Job(client, Selection.parse(["KERNEL"])), say=str)

from IPython.core.interactiveshell import InteractiveShell
os.environ.update(NBEXT_BASE_URL={server.url!r}, BINANCE_API_KEY="k" * 64, BINANCE_API_SECRET="s" * 64)
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nbext")
shell.user_ns["os"] = os
with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
    with nbext.guard("BLOCK", client=client, yes=True):
        child = os.fork()
        if not child:
            sys.exit(0)
        end(child)
    cell = "child = os.fork()\\nif not child: raise SystemExit\\nos.waitpid(child, 0)\\nNone"
    try:
        shell.run_cell_magic("cancel_all", "CELL --yes", cell)
    except SystemExit:
        os._exit(0)  # what a program's end does is tried with the block
print(json.dumps(None))
""",
    )
    assert Counter(request.params["symbol"] for request in server.requests) == {"BLOCK": 1, "CELL": 1, "KERNEL": 1}


LOCAL = """
def told(call):
    try:
        return call()
    except (nbext.NbextError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"

def place():
    nbext.local().place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
"""


def test_a_child_cancels_on_its_parents_exchange() -> None:
    """The local profile reaches it over HTTP, as no live host; the exchange itself is refused to the child."""
    made = run(
        LOCAL
        + """
place()
read, write = os.pipe()

def work():
    frame = nbext.cancel_all("BTCUSDT")
    again = nbext.open_orders()
    said = [frame.outcome.tolist(), len(again), told(nbext.local), told(lambda: exchange.open_orders())]
    os.write(write, json.dumps(said).encode())

exchange = nbext.local()
end(fork(work))
end(fork(lambda: exchange.stop()))
place()
left = len(exchange.open_orders())
print(json.dumps([*json.loads(os.read(read, 9999)), left, nbext.cancel_all("BTCUSDT").outcome.tolist()]))
"""
    )
    outcomes, left, local, direct, after, again = made
    assert outcomes == again == ["canceled"]
    assert (left, after) == (0, 1)
    assert local.startswith("ConfigurationError: nbext.local() belongs to the parent of this process")
    assert direct.startswith("RuntimeError: this exchange belongs to process ")


def test_a_child_without_an_exchange_to_inherit_starts_its_own() -> None:
    """Where the parent has none, or has stopped it, the child has one like any process."""
    made = run(
        LOCAL
        + """
read, write = os.pipe()

def work():
    place()
    os.write(write, json.dumps(nbext.cancel_all("BTCUSDT").outcome.tolist()).encode())

end(fork(work))
first = json.loads(os.read(read, 9999))
nbext.local().stop()
end(fork(work))
print(json.dumps([first, json.loads(os.read(read, 9999)), len(nbext.local().open_orders())]))
"""
    )
    assert made == [["canceled"], ["canceled"], 0]


def test_an_exchange_ends_with_its_process_though_a_child_lives(tmp_path: Path) -> None:
    """Once the parent is dead, a cancel in the child is refused at once: nobody holds the port open."""
    result = tmp_path / "result"
    run(
        LOCAL
        + f"""
place()
nbext.open_orders()
parent = os.getpid()

def work():
    os.setsid()
    while os.getppid() == parent:
        time.sleep(0.05)
    began = time.monotonic()
    said = told(lambda: nbext.cancel_all("BTCUSDT"))
    with open({str(result)!r}, "w") as file:
        json.dump([said, time.monotonic() - began], file)
    os.rename({str(result)!r}, {str(result)!r} + ".done")

null = os.open(os.devnull, os.O_RDWR)
print("null", flush=True)
for number in (1, 2):
    os.dup2(null, number)
fork(work)
os._exit(0)
"""
    )
    done = tmp_path / "result.done"
    deadline = time.monotonic() + 60
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    said, seconds = json.loads(done.read_text())
    assert said.startswith("NotSentError: BTCUSDT on local (127.0.0.1:")
    assert "the connection was refused" in said
    assert seconds < 10


def test_a_child_that_exits_as_a_program_does_leaves_the_exchange_alone() -> None:
    """Its exit handlers, its last garbage, and a with block that it leaves: the parent still serves."""
    made = run(
        """
with nbext.LocalExchange() as exchange:
    client = nbext.SpotClient(exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key)
    client.request("GET", "/api/v3/time", signed=False)
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        answers = [client.request("GET", "/api/v3/ping", signed=False) for _ in range(3)]
        exchange.seed_orders()
        canceled = client.cancel_open_orders("BTCUSDT")
if not child:
    sys.exit(0)
print(json.dumps([answers, len(canceled) > 0]))
"""
    )
    assert made == [[{}, {}, {}], True]


LATE = """
client = nbext.connect(base_url=BASE, api_key="k" * 64, secret_key="s" * 64)
client.cancel_open_orders("FIRST")
from nbext import forks
in_hook, rounds = HOOK, []

class Time(Exception): pass

def ring(*_):
    raise Time

signal.signal(signal.SIGALRM, ring)

def shoot():  # stands in the hook, as a signal does that comes just then
    if armed.pop(os.getpid() == parent, None):
        signal.raise_signal(NUMBER)

forks.in_child(shoot)
forks._before.append(shoot)
parent = os.getpid()
read, write = os.pipe()
armed = {in_hook == "before": True}
try:
    child = os.fork()
    for _ in range(1000): pass
    caught = "nothing"
except (KeyboardInterrupt, Time) as error:
    caught = type(error).__name__
if os.getpid() != parent:
    signal.alarm(20)
    said = client.cancel_open_orders("CHILD")[0]["symbol"]
    os.write(write, json.dumps([caught, said, len(forks.sockets), forks.encryption.forking]).encode())
    os._exit(0)
os.wait()
after = client.cancel_open_orders("AFTER")[0]["symbol"]
print(json.dumps([caught, forks.encryption.forking, after, json.loads(os.read(read, 999))]))
"""


@pytest.mark.parametrize(("number", "name"), [("SIGINT", "KeyboardInterrupt"), ("SIGALRM", "Time")])
@pytest.mark.parametrize("hook", ["before", "child"])
def test_a_signal_that_comes_around_a_fork_is_not_lost(serve: Serve, hook: str, number: str, name: str) -> None:
    """What runs around a fork is completed, and then the handler's exception is raised, on the side that was asked."""
    server = serve(report)
    program = LATE.replace("HOOK", repr(hook)).replace("NUMBER", f"signal.{number}")
    parents, forking, symbol, (childs, again, sockets, left) = run(f"BASE = {server.url!r}\n{program}")
    assert (parents, childs) == ((name, "nothing") if hook == "before" else ("nothing", name))
    assert forking == left == []
    assert (symbol, again) == ("AFTER", "CHILD")
    assert sockets == 1  # its own; the parent's is closed
    assert Counter(request.params["symbol"] for request in server.requests) == {"FIRST": 1, "CHILD": 1, "AFTER": 1}


BREAK = """
import logging, os
os.register_at_fork(after_in_child=logging._lock.acquire)  # after logging's own: as if that had been interrupted
"""


def test_an_interrupt_around_a_fork_leaves_no_lock_of_logging_locked(serve: Serve) -> None:
    """Python frees it in the child in Python, and goes on if that is interrupted: what logs would then wait forever."""
    made = run(
        f"BASE = {serve(report).url!r}"
        """
logging.getLogger("nbext").setLevel("DEBUG")
client = nbext.connect(base_url=BASE, api_key="k" * 64, secret_key="s" * 64)
read, write = os.pipe()
end(fork(lambda: os.write(write, nbext.cancel_all("CHILD", client=client, yes=True).symbol[0].encode())))
print(json.dumps(os.read(read, 99).decode()))
""",
        first=BREAK,
    )
    assert made == "CHILD"


def test_an_interrupt_does_not_leave_a_child_with_a_socket_of_the_exchange() -> None:
    """It comes while the child closes them: all are closed, and then it is raised."""
    made = run(
        """
from nbext.exchange.http import server

class Shooter:  # stands among the servers, as a signal does that comes just then
    def disown(self):
        if armed:
            armed.clear()
            signal.raise_signal(signal.SIGINT)

with nbext.LocalExchange() as exchange:
    shooters = [Shooter() for _ in range(9)]
    for shooter in shooters:
        server._servers.add(shooter)
    armed, parent, caught = [True], os.getpid(), "nothing"
    read, write = os.pipe()
    try:
        child = os.fork()
        for _ in range(1000): pass
    except KeyboardInterrupt:
        caught = "KeyboardInterrupt"
    if os.getpid() != parent:
        listening = [each._socket.fileno() for each in server._servers if each not in shooters]
        os.write(write, json.dumps([caught, listening]).encode())
        os._exit(0)
    end(child)
    print(json.dumps([caught, json.loads(os.read(read, 999))]))
"""
    )
    assert made == ["nothing", ["KeyboardInterrupt", [-1]]]


def test_an_interrupt_of_a_step_that_fails_makes_no_fork_wait() -> None:
    """It is raised in place of the end of the block, as while there is nothing to read yet and the user gives up."""
    seconds = run(
        """
import _thread, operator
from functools import partial
from nbext.forks import encryption

def step():
    with encryption:  # the signal comes while this is in C, as in OpenSSL, and that then fails
        list(map(operator.call, [_thread.interrupt_main, partial(operator.truediv, 1, 0)]))

def interrupted():
    try:
        step()
    except KeyboardInterrupt:
        return True

caught = [interrupted() for _ in range(2)]

def elsewhere():
    began = time.monotonic()
    end(fork(lambda: None))
    caught.append(time.monotonic() - began)

thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
print(json.dumps(caught))
"""
    )
    assert seconds[:2] == [True, True]
    assert seconds[2] < 4


def test_a_fork_waits_for_a_step_of_encryption(tmp_path: Path) -> None:
    """Certificates that come slowly, here out of a pipe, keep OpenSSL busy: nobody forks until they are read."""
    made = run(
        f"""
bundle = {str(tmp_path / "bundle.pem")!r}
os.mkfifo(bundle)
os.environ["REQUESTS_CA_BUNDLE"] = bundle
client = nbext.connect(base_url="https://127.0.0.1:1", api_key="k" * 64, secret_key="s" * 64)
failed, forked = [], threading.Event()

def ask():
    try:
        client.cancel_open_orders("BTCUSDT")
    except nbext.NotSentError as error:
        failed.append(str(error))

def elsewhere():
    end(fork(lambda: None))
    forked.set()

asking, forking = threading.Thread(target=ask), threading.Thread(target=elsewhere)
asking.start()
write = os.open(bundle, os.O_WRONLY)  # opens once it is read
forking.start()
early = forked.wait(1)
os.close(write)
forking.join()
asking.join()
print(json.dumps([early, len(failed)]))
"""
    )
    assert made == [False, 1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing else tells of threads that leave")
def test_a_fork_waits_for_a_thread_that_has_ended_for_python_only() -> None:
    """Its last act, OpenSSL's clean-up, takes a lock. Here another clean-up comes first and takes its time."""
    left = run(
        """
import ctypes
from nbext.forks import encryption
libc, key = ctypes.CDLL(None), ctypes.c_uint()
assert libc.pthread_key_create(ctypes.byref(key), libc.usleep) == 0  # called with the thread's value, as it ends
libc.pthread_setspecific.argtypes = [ctypes.c_uint, ctypes.c_void_p]

def work():
    with encryption:
        libc.pthread_setspecific(key, 200_000)
    os.write(write, str(threading.get_native_id()).encode())

read, write = os.pipe()
threading.Thread(target=work, daemon=True).start()
number = os.read(read, 99).decode()
while len(sys._current_frames()) > 1:
    time.sleep(0.001)
end(fork(lambda: None))
print(json.dumps(os.path.exists(f"/proc/self/task/{number}")))
"""
    )
    assert left is False


def test_an_interrupt_while_pandas_is_imported_breaks_no_later_frame(serve: Serve) -> None:
    """What it meets is the wait for another thread's import: modules in C cannot be imported a second time."""
    server = serve(report)
    made = run(
        f"""
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "numpy.linalg":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
client = nbext.connect(base_url={server.url!r}, api_key="k" * 64, secret_key="s" * 64)
said = io.StringIO()
try:
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        nbext.cancel_all("FIRST", client=client, yes=True)
except KeyboardInterrupt as error:
    first = [type(error).__name__]
print(json.dumps(first + nbext.cancel_all("SECOND", client=client, yes=True).symbol.tolist()))
"""
    )
    assert made == ["Interrupted", "SECOND"]
