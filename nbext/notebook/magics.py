"""The magics: parse a line, make the call, return the frame."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.getipython import get_ipython
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display
from traitlets import Enum, TraitError

from nbext import messages, profiles
from nbext.errors import NbextError
from nbext.notebook import cells
from nbext.notebook.lines import in_one_line, parse, whole_options
from nbext.notebook.progress import Progress
from nbext.signals import let_through
from nbext.untrusted import encodable, printable

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

    from nbext.cancel.consent import Ask, Confirm
    from nbext.cancel.job import Job
    from nbext.notebook.panel import CancelPanel
    from nbext.spot.client import SpotClient


_profile = argument("--profile", metavar="P", help="local, testnet, demo, live, custom, or one from profiles.toml")
_exact = argument("--exact", action="store_true", help="prices and quantities as Decimal rather than float64")
_prefix = argument("--prefix", metavar="P", help="only orders whose client order id starts with P")
_yes = argument("-y", "--yes", action="store_true", help="do not ask")


def _filters(function: Any) -> Any:
    """Add the options that choose some of the open orders."""
    side = argument("--side", metavar="BUY|SELL", help="only orders of this side, and the rest of their lists")
    kind = argument("--type", metavar="T", help="only orders of this type, such as LIMIT")
    age = argument("--older-than", metavar="AGE", help="only orders at least this old: 90s, 15m, 2h, 1d")
    return side(kind(_prefix(age(function))))


@magics_class
class NBExt(Magics):
    """Magics that look at open orders and cancel them."""

    shell: InteractiveShell
    confirm = Enum(
        ["live", "always", "never"],
        default_value="live",
        help="When %cancel_all asks before it cancels: on a live exchange, always, or never.",
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._panels: dict[tuple[str, str, str], CancelPanel] = {}

    @in_one_line
    @whole_options
    @magic_arguments()
    @argument("symbols", nargs="*", metavar="SYMBOL", help="such as BTCUSDT or BTC/USDT; {name} takes a variable")
    @argument("--all", action="store_true", help="every symbol that has open orders, instead of naming them")
    @_profile
    @argument("--recv-window", metavar="MS", help="how long the request stays valid, in ms; at most 60000")
    @_exact
    @argument("-n", "--dry-run", action="store_true", help="preview only: nothing is canceled; overrides --yes")
    @_yes
    @argument("--check", action="store_true", help="read again afterwards and say what is still open")
    @_filters
    @line_cell_magic
    def cancel_all(self, line: str, cell: str | None = None) -> DataFrame:
        """Cancel every open order on the symbols, and return a DataFrame with one row per order.

        As a cell magic, run the cell first, then cancel, even if the cell raises or is interrupted.

        Examples::

            %cancel_all BTCUSDT
            df = %cancel_all BTCUSDT ETHUSDT --yes
            %cancel_all --all --dry-run
        """
        __tracebackhide__ = True  # a cell's own error is shown without our frames
        args = parse(self.cancel_all, line)
        if args.all and args.symbols:
            raise UsageError("%cancel_all: use symbols or --all, not both. Nothing was sent.")
        if not args.all and not args.symbols:
            raise UsageError("%cancel_all: name a symbol, like BTCUSDT, or use --all. Nothing was sent.")
        from nbext import session
        from nbext.cancel import job as cancel
        from nbext.cancel.consent import DeclinedError
        from nbext.cancel.selection import Filter, Options, Selection

        with _shown_frames(), Progress() as progress:
            job = cancel.Job(
                session.client_for(args.profile),
                Selection.parse(
                    args.symbols,
                    Filter.parse(args.side, args.type, args.prefix, args.older_than),
                    all_symbols=args.all,
                ),
                Options.parse(args.recv_window, exact=args.exact),
                say=_say,
                progress=progress,
            )
            confirm = cast("Confirm", self.confirm)
            how = {"dry_run": args.dry_run, "yes": args.yes, "check": args.check}
            try:
                if cell is not None:
                    return self._after_cell(cell, job, args)
                return _summed_up(cancel.perform(job, **how, ask=ask, confirm=confirm))
            except DeclinedError as declined:
                return _summed_up(job.keep(declined))

    @in_one_line
    @whole_options
    @magic_arguments()
    @argument("symbols", nargs="*", metavar="SYMBOL", help="such as BTCUSDT or BTC/USDT; none means all")
    @_profile
    @_exact
    @_filters
    @line_magic
    def open_orders(self, line: str) -> DataFrame:
        """Show what is open now, in the columns of %cancel_all.

        Filters choose what the same filters of %cancel_all would cancel.

        Examples::

            %open_orders BTCUSDT
            %open_orders BTCUSDT --older-than 1h
            df = %open_orders
        """
        args = parse(self.open_orders, line)
        from nbext import session
        from nbext.cancel import job as cancel
        from nbext.cancel.selection import Filter, Selection

        chosen = Filter.parse(args.side, args.type, args.prefix, args.older_than)
        wanted = Selection.parse(args.symbols, chosen, all_symbols=not args.symbols)
        client = session.client_for(args.profile)
        return _summed_up(cancel.open_orders(client, wanted, exact=args.exact, say=_say))

    @in_one_line
    @whole_options
    @magic_arguments()
    @argument("profile", nargs="?", metavar="PROFILE", help="the profile to switch to")
    @argument("--doctor", action="store_true", help="check everything that a cancel needs; cancels nothing")
    @argument("--profile", dest="examined", metavar="P", help="with --doctor: the profile to check")
    @line_magic
    def nbext(self, line: str) -> DataFrame | None:
        """Show the profile in use, or switch to another; or check everything that a cancel needs.

        Examples::

            %nbext
            %nbext testnet
            %nbext --doctor --profile testnet
        """
        args = parse(self.nbext, line)
        if args.doctor and args.profile is not None:
            raise UsageError("%nbext --doctor takes its profile as --profile P.")
        if args.examined is not None and not args.doctor:
            raise UsageError("%nbext takes --profile with --doctor only; %nbext P switches to P.")
        if args.doctor:
            from nbext import doctor

            checks = []
            for check in doctor.examine(args.examined):
                _say(str(check))
                checks.append(check)
            _say(doctor.summary(checks))
            return _summed_up(doctor.frame(checks))
        from nbext import session

        if args.profile is not None:
            profiles.select(args.profile)
        client = session.client_for()
        if args.profile is not None:  # how many workers there will be, the symbols of this session suggest
            client.connect_ahead(len(session.symbols_met))
        kind = "LIVE" if profiles.is_live(client.base_url) else "not live"
        print(f"profile       {client.profile} ({kind})")
        print(f"host          {client.host}")
        print(f"key           {f'...{client.key_hint} ({client.key_kind})' if client.key_hint else 'none'}")
        print(f"clock offset  {_clock(client)}")
        print(f"used weight   {'unknown' if client.used_weight is None else client.used_weight}")
        for number, guard in enumerate(_guards()):
            _say(f"{'' if number else 'guards':<14}{guard}")
        if client.held_for:
            print(f"waiting       {client.held_for:.0f} s, as the exchange asked")
        return None

    @in_one_line
    @whole_options
    @magic_arguments()
    @argument("--last", metavar="N", type=int, help="the last N requests; by default 1000")
    @argument("--raw", metavar="ID", help="the raw answer to one request")
    @argument("--reconcile", action="store_true", help="finish cancels without a recorded outcome")
    @line_magic
    def cancel_log(self, line: str) -> DataFrame | None:
        """Show the journal: what was asked and what came back, oldest first.

        The last 1000 requests, unless ``--last`` says how many.

        Examples::

            %cancel_log --last 10
            %cancel_log --raw 5f1d7e0a9b3c2d41
            %cancel_log --reconcile
        """
        args = parse(self.cancel_log, line)
        from nbext.cancel import unfinished

        if args.raw is not None:
            print(encodable(printable(unfinished.raw_answer(args.raw), lines=True)))
            return None
        if args.last is not None and args.last < 1:
            raise UsageError("--last must be at least 1.")
        if args.reconcile:
            return unfinished.reconcile_open(say=_say)
        last = unfinished.LAST if args.last is None else args.last
        if said := unfinished.shown_of(last):
            print(said)
        return unfinished.cancel_log(last)

    @in_one_line
    @whole_options
    @magic_arguments()
    @argument("symbols", nargs="*", metavar="SYMBOL", help="such as BTCUSDT or BTC/USDT")
    @_profile
    @_prefix
    @_yes
    @argument("--after", metavar="TIME", help="cancel also after this long without a sign of life: 60s, 5m")
    @argument("--off", action="store_true", help="remove the guard from these symbols, or from all")
    @line_magic
    def nbext_guard(self, line: str) -> None:
        """Cancel the open orders on the symbols when this kernel ends, however it ends; without any, show the guards.

        A second process, the watchdog, waits for the end of this one. Every finished cell is a sign of life, and so is
        nbext.alive().

        Examples::

            %nbext_guard BTCUSDT
            %nbext_guard BTCUSDT --prefix run7-
            %nbext_guard BTCUSDT --after 60s
            %nbext_guard --off
        """
        args = parse(self.nbext_guard, line)
        from nbext import session
        from nbext.cancel import job as cancel
        from nbext.cancel.consent import DeclinedError
        from nbext.cancel.guard import keeper
        from nbext.cancel.selection import Filter, Selection, parse_age

        if args.off:
            names = [name for symbol in args.symbols or [None] for name in keeper.remove(symbol)]
            _say(f"Guard removed: {', '.join(names)}." if names else "There was no guard to remove.")
            return
        if not args.symbols:
            print(encodable("\n".join(_guards())) or "Nothing is guarded. Name a symbol, like %nbext_guard BTCUSDT.")
            return
        client = session.client_for(args.profile)
        after = None if (age := parse_age(args.after)) is None else age.total_seconds()
        only = Filter.parse(prefix=args.prefix)
        jobs = [cancel.Job(client, Selection.parse([symbol], only)) for symbol in args.symbols]
        if profiles.ends_with_this_process(client.base_url):
            where = messages.place(client)
            print(f"Nothing to guard: the exchange ends with this kernel, and its orders with it {where}.")
            return
        try:
            for job in jobs:
                job.agree(ask, yes=args.yes, confirm=cast("Confirm", self.confirm), before_cell=True)
        except DeclinedError as declined:
            _say(f"{declined.said}; no guard was set.")
            return
        for job in jobs:
            keeper.keep(job, after=after, say=_say)
        which = "Open orders" if args.prefix is None else f"Open orders whose client order id starts with {args.prefix}"
        when = "when this kernel ends, however it ends"
        if keeper.pid is None:
            when = "when this kernel ends normally, not when it is killed"
        if after is not None:
            when += f", or gives no sign of life for {after:g} s"
        symbols = ", ".join(job.symbols[0] for job in jobs)
        _say(f"Guarded: {symbols} {messages.place(client)}. {which} are canceled {when} (watchdog: {keeper.state}).")

    @in_one_line
    @whole_options
    @magic_arguments()
    @argument(
        "symbol", nargs="?", default="", metavar="SYMBOL", help="such as BTCUSDT; none means all with open orders"
    )
    @_profile
    @line_magic
    def cancel_panel(self, line: str) -> CancelPanel:
        """Open a panel with the open orders, and buttons that cancel them. There is one for each profile and symbol.

        Examples::

            %cancel_panel
            %cancel_panel BTCUSDT
        """
        args = parse(self.cancel_panel, line)
        if type(self.shell).__name__ == "TerminalInteractiveShell":
            raise UsageError("%cancel_panel needs a notebook. Here, use %open_orders and %cancel_all.")
        from nbext.notebook.panel import CancelPanel  # loads ipywidgets, which no other magic needs

        panel = CancelPanel(args.symbol, profile=args.profile, confirm=lambda: cast("Confirm", self.confirm))
        which = (*panel.place, panel.symbol)
        if which in self._panels:  # a cell that is run again shows its new panel only
            self._panels[which].close()
        self._panels[which] = panel
        return panel

    def close_panels(self) -> None:
        """Close all panels."""
        while self._panels:
            self._panels.popitem()[1].close()

    def _after_cell(self, cell: str, job: Job, args: Namespace) -> DataFrame:
        """Run the cell, then cancel, however the cell ended."""
        __tracebackhide__ = True
        code = cells.compile_cell(self.shell, cell)
        if not args.dry_run:
            job.agree(ask, yes=args.yes, confirm=cast("Confirm", self.confirm), before_cell=True)
        failure: BaseException | None = None
        mine = os.getpid()
        try:
            cells.run(self.shell, code)
        except BaseException as error:  # noqa: BLE001 - an interrupt or sys.exit() leaves orders behind just as well
            failure = error
        if os.getpid() != mine:  # a child that the cell has forked
            raise failure or UsageError("A forked child left the cell; it sends nothing. End it in the cell.")
        try:
            frame = _summed_up(job.rehearse() if args.dry_run else job.run(check=args.check))
        except (NbextError, KeyboardInterrupt) as error:
            raise error from failure
        if failure is not None:
            _show(frame)
            raise failure
        return frame


def _summed_up(frame: DataFrame) -> DataFrame:
    """Return a frame after noting that its summary was printed, so that it is not repeated."""
    from nbext.notebook import formatters

    formatters.note_summed_up(frame)
    return frame


def _say(line: str) -> None:
    print(encodable(printable(line)))


def _guards() -> list[str]:
    """Return a line for each guard, and one for the watchdog."""
    guard = sys.modules.get("nbext.cancel.guard")  # else nothing is guarded
    lines = guard.keeper.shown() if guard is not None else []
    return [printable(line) for line in (*lines, f"watchdog: {guard.keeper.state}")] if guard and lines else []


def _after_cell(_: object = None) -> None:
    """Count a finished cell as a sign of life, and show what watchdogs of earlier kernels have left."""
    if (guard := sys.modules.get("nbext.cancel.guard")) is not None:
        guard.keeper.alive()
    if "nbext.session" in sys.modules:  # else nothing of nbext has been used
        from nbext.cancel import notices

        notices.tell(_say)


def ask(preview: DataFrame, question: str) -> str | None:
    """Show a preview and prompt the user.

    Returns
    -------
    str or None
        What was typed. None if this shell cannot prompt: it has no standard input, or that has ended.
    """
    display(_summed_up(preview))
    try:
        return input(encodable(question))
    except (EOFError, StdinNotImplementedError, OSError) as error:
        let_through(error)
        return None


def ask_if_possible() -> Ask | None:
    """Return `ask` if there is an IPython shell to ask in."""
    return ask if get_ipython() is not None else None


def load(shell: InteractiveShell) -> None:
    """Register the magics and the display of our frames."""
    from nbext.notebook import completion, formatters
    from nbext.notebook.preloading import preloader

    try:
        magics = NBExt(shell)
    except TraitError as error:
        # %config keeps a bad value after refusing it; without this, nbext would never load again.
        shell.config.pop("NBExt", None)
        print(f"nbext: invalid setting, reset to its default: {error}", file=sys.stderr)
        magics = NBExt(shell)
    shell.register_magics(magics)
    formatters.register(shell)
    completion.register(shell)
    shell.events.register("post_run_cell", _after_cell)
    preloader.start(shell, lambda line: parse(magics.cancel_all, line))


def unload(shell: InteractiveShell) -> None:
    """Undo `load`, and close the connections."""
    from nbext.notebook import completion, formatters
    from nbext.notebook.preloading import preloader

    preloader.stop(shell)
    manager = shell.magics_manager
    magics = manager.registry.pop("NBExt", None)
    for kind, names in NBExt.magics.items():
        for name in names:
            manager.magics[kind].pop(name, None)
    if magics is not None:
        magics.close_panels()  # before the clients that they use
    if magics in shell.configurables:
        shell.configurables.remove(magics)
    formatters.unregister(shell)
    completion.unregister(shell)
    with contextlib.suppress(ValueError):
        shell.events.unregister("post_run_cell", _after_cell)
    if (guard := sys.modules.get("nbext.cancel.guard")) is not None:
        guard.keeper.remove()
    if (session := sys.modules.get("nbext.session")) is not None:  # else nothing was kept
        session.reset()


@contextlib.contextmanager
def _shown_frames() -> Iterator[None]:
    """Show an error's frame before IPython shows its one line."""
    try:
        yield
    except (NbextError, KeyboardInterrupt) as error:
        frame = getattr(error, "frame", None)
        if frame is not None and len(frame):
            _show(_summed_up(frame))
        raise


def _show(frame: DataFrame) -> None:
    """Display a frame before an error; a display that fails must not replace the error."""
    try:
        display(frame)
    except Exception as error:  # noqa: BLE001 - whatever a formatter does
        let_through(error)
        print(f"The table cannot be shown ({type(error).__name__}); it is in nbext.last.")


def _clock(client: SpotClient) -> str:
    try:
        offset = client.measure_clock_offset()
    except NbextError as error:
        return f"unknown: {error}"
    if abs(offset) < 1:
        return "0 ms"
    return f"{abs(offset):.0f} ms, this machine's clock is {'behind' if offset > 0 else 'ahead'}"
