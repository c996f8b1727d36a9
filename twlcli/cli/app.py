"""The `twl` command.

Each of its commands is imported and built when it is called; the others cost no time.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from twlcli import __version__
from twlcli.cli.command import Command
from twlcli.cli.printable import echo, say
from twlcli.errors import TwlError
from twlcli.io import DISK_FULL, is_address
from twlcli.stores.address import shown

# Module and name of the function, or of the group, and the line that the list of commands shows.
COMMANDS = {
    "train": ("train:train", "Train a tagger on labelled images."),
    "eval": ("eval:evaluate", "Measure a model on labelled images."),
    "compare": ("compare:compare", "Compare losses or settings on your own data."),
    "probe": ("probe:probe", "Measure frozen networks by linear classifiers on image sets."),
    "export": ("export:export", "Write a model as one ONNX file."),
    "tag": ("tag:tag", "Tag images with a model."),
    "retag": ("retag:retag", "Make tags of scores again, without model and images."),
    "review": ("review:review", "Choose the images whose labels teach a model most."),
    "untag": ("untag:untag", "Take twl's tags out of sidecars and photographs again."),
    "merge": ("merge:merge", "Join the tables that several machines wrote."),
    "data": ("data:app", "Inspect, check, convert and split labels, draw a sample set."),
    "model": ("model:app", "Show what a model is, adopt models of other programs."),
    "models": ("models:models", "List the models that come with twl."),
    "features": ("features:app", "Show and remove features of images that are kept on disk."),
    "recipe": ("recipe:app", "List recipes and explain their keys."),
    "doctor": ("doctor:doctor", "Show versions, devices and what twl will use."),
    "help": ("help:help_", "Show how a command is used."),
    "version": ("help:version", "Show the version."),
}

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h, on which schedulers can be told to run a job again
INTERRUPTED = 130  # by Ctrl-C, as a shell says it
STOPPED = (TRY_AGAIN, INTERRUPTED)
MAY_BE_EMPTY = ("--title", "--separator", "--set")  # texts

_UsageError: Any = typer.BadParameter.__base__  # of the copy of Click inside Typer


class ErrorBoundary(TyperGroup):
    """Prints a TwlError or a wrong use as one line on stderr, and exits with 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the options before the command inside the boundary."""
        with self._reported(ctx):
            check_not_empty(args)
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command inside the boundary."""
        with self._reported(ctx):
            return super().invoke(ctx)

    @contextmanager
    def _reported(self, ctx: Any) -> Iterator[None]:
        try:
            yield
        except (TwlError, _UsageError) as error:
            if "NoArgs" in type(error).__name__:  # a group without a command shows its help
                raise
            if _interrupted.is_set():  # libraries in C make other errors of it
                raise _end_of_interrupt() from None
            say(f"error: {self._text(ctx, error)}")
            raise typer.Exit(2) from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            say(f"error: {error.filename}: {error.strerror}")
            raise typer.Exit(2) from error
        except KeyboardInterrupt:  # of commands that have nothing more to say of it
            raise _end_of_interrupt() from None

    def _text(self, ctx: Any, error: Any) -> str:
        from twlcli.cli import hints

        if not isinstance(error, TwlError):
            return hints.usage_text(error)
        hint = error.hinted(hints.names_of_arguments(self, ctx))
        return f"{error.message}; {hint}" if hint else error.message


_interrupted = threading.Event()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Ctrl-C as Python has it, and remembered."""
    _interrupted.set()
    raise KeyboardInterrupt


def _end_of_interrupt() -> typer.Exit:
    say("interrupted")
    return typer.Exit(INTERRUPTED)


def check_not_empty(arguments: Sequence[str]) -> None:
    """Raise TwlError for an empty argument, as of a variable that is not set: it names no file."""
    for before, argument in pairwise(("", *arguments)):
        option, equals, value = argument.partition("=")
        if not argument and before not in MAY_BE_EMPTY:
            raise TwlError(f"{before if before.startswith('-') else 'an argument'} is empty")
        if option.startswith("--") and equals and not value and option not in MAY_BE_EMPTY:
            raise TwlError(f"{option} is empty")


class Commands(ErrorBoundary):
    """The group of all commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, without loading them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, loaded now; None where there is none."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _built(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


class DiskCommand(Command):
    """A command that says so where an address is given for a file of the disk."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the arguments.

        Raises:
            TwlError: an address is meant to be a path.
        """
        texts = [*args, *(each.partition("=")[2] for each in args)]
        addresses = {Path(each): each for each in texts if "://" in each and is_address(each)}
        rest = super().parse_args(ctx, args)
        for value in ctx.params.values() if addresses else ():
            for each in value if isinstance(value, list | tuple) else [value]:
                if isinstance(each, Path) and each in addresses:
                    raise TwlError(
                        f"{shown(addresses[each])}: is in a store; twl {ctx.info_name} takes it "
                        "from the disk only"
                    )
        return rest


def imported(name: str) -> Any:
    """The function, or the `typer.Typer` with functions of its own, that is a command."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    return getattr(import_module(f"twlcli.cli.{module}"), attribute)


def _built(name: str) -> Any:
    found = imported(name)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, cls=DiskCommand)(found)
        found = single
    return get_command(found)


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, evaluate, export and run multi-label image taggers.",
)


def _version(asked: bool) -> None:
    if asked:
        echo(f"twl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of `twl` itself; its help is the app's."""
    import logging

    # Without any handler Python would print Pillow's log warnings about odd files on stderr.
    logging.getLogger("PIL").addHandler(logging.NullHandler())


class _Unfailing(TextIOWrapper):
    """Standard error: no work ends because a line about it finds a full disk."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _nowhere(flags: int) -> int:
    """The null device as the first free number, also in processes that are started."""
    descriptor = os.open(os.devnull, flags)
    os.set_inheritable(descriptor, True)
    return descriptor


def _in_a_model() -> bool:
    """Whether a thread is left in a model that does not come to an end."""
    if threading.active_count() == 1:
        return False
    from twlcli.model.predictor import THREADS

    return any(thread.name.startswith(THREADS) for thread in threading.enumerate())


def main() -> None:
    """Entry point of the console script."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
            signal.signal(signal.SIGINT, _interrupt)
        _main()
    except KeyboardInterrupt:  # outside of any command
        say("interrupted")
        sys.exit(INTERRUPTED)
    except Exception:  # a bug; its message may hold what a file says
        if _interrupted.is_set():
            say("interrupted")
            sys.exit(INTERRUPTED)
        import traceback

        echo(traceback.format_exc(), err=True, nl=False)
        sys.exit(1)


def _main() -> None:
    # No file shall take the number of a stream that whoever called has closed.
    if sys.stdin is None:
        _nowhere(os.O_RDONLY)
    closed = sys.stdout is None
    if closed:  # writing to it shall fail
        sys.stdout = open(_nowhere(os.O_RDONLY), "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(_nowhere(os.O_WRONLY), "w")  # noqa: SIM115
    if isinstance(sys.stderr, TextIOWrapper):
        form: Any = {"encoding": sys.stderr.encoding, "errors": "backslashreplace"}
        sys.stderr = _Unfailing(sys.stderr.detach(), line_buffering=True, **form)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        try:
            app(prog_name="twl")
        except SystemExit as end:
            # By a signal, and a second one shall not change the code; or a model goes on, for whose
            # thread Python would wait.
            if end.code in STOPPED or _in_a_model():
                with suppress(OSError):
                    sys.stdout.flush()
                os._exit(int(end.code or 0))
            raise
        finally:
            sys.stdout.flush()
    except OSError as error:
        closed = closed and error.errno == errno.EBADF
        if not closed and error.errno not in (errno.EPIPE, *DISK_FULL):
            raise
        if error.errno != errno.EPIPE:  # else whoever reads has seen enough
            reason = f"{error.filename or 'the output'}: cannot be written ({error.strerror})"
            reason = "standard output is closed" if closed else reason
            say(f"error: {reason}")
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123  for the interpreter's last flush
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(2 if error.errno != errno.EPIPE else 1)
