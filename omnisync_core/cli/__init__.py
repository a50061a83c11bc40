"""The command line. Each command imports what it needs: `lipsync` never meets training or the speech synthesiser."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ..errors import InputError, NoMouthHereError, OutputError
from . import adapt, batch, bench, demo, evaluate, lipsync, prepare, queue, synth, track, train, verify
from .parser import Parser

COMMANDS = (lipsync, batch, track, verify, demo, synth, prepare, train, evaluate, adapt, bench, queue)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for bad input, 128 + the signal's number when stopped."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    try:
        with _stoppable():
            options.command(options)
    except (InputError, OutputError) as error:
        picture = f"; {track.picture_of(error, options)}" if isinstance(error, NoMouthHereError) else ""
        print(f"error: {error}{picture}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        again = f"Go on with: python -m omnisync_core {shlex.join(given)}"
        with suppress(OSError):  # the terminal may be gone
            print(options.stopped(options, again), file=sys.stderr, flush=True)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m omnisync_core", description=__doc__.splitlines()[0])
    parser.set_defaults(stopped=lambda *_: "stopped")
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser


@contextmanager
def _stoppable() -> Iterator[None]:
    """A system that ends the program, or a terminal that closes, stops it as the user does."""

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    # Whoever starts it with nohup wants it to go on.
    changed = [number for number in numbers if before[number] is signal.SIG_DFL]
    for each in changed:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in changed:
            signal.signal(each, before[each])
