"""What must hold for any file: parsing and the command line end in success or in an error of the user's, soon."""

from __future__ import annotations

import contextlib
import io
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from bad_files import bad_file
from weft.compiler import cli, front
from weft.ir.errors import UserError

LIMIT = 10.0  # seconds of processor time for one command
COMMANDS = (
    ["inspect", "--json"],
    ["opt", "--passes", "simplify,inline,cse,dce,streaming,factor"],
    ["opt"],
    ["opt", "--passes", "guards,monotone,streaming_stores"],
    ["inspect", "--source", "--target", "c"],
    ["compile", "--emit", "source,header,manifest"],
)


class TooLongError(BaseException):
    """Not an Exception: nothing on the way may catch it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TooLongError in the body after so much processor time (the main thread alone gets signals)."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TooLongError(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check_file(number: int) -> Iterator[str]:
    """What is wrong with the way file `number` is treated: nothing, or a line per finding."""
    data = bad_file(number)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bad.gir"
        path.write_bytes(data)
        try:
            with limited(LIMIT), contextlib.suppress(UserError):
                front.parse(front.read_text(path), "bad.gir")
        except (TooLongError, Exception) as error:
            yield f"parsing: {type(error).__name__}: {error}"
        command, *options = COMMANDS[number // 8 % len(COMMANDS)]  # eight kinds of files
        if command == "compile":
            options += ["-o", f"{folder}/out"]
        out, err = io.StringIO(), io.StringIO()
        try:
            with limited(LIMIT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.run([command, str(path), *options])
        except (TooLongError, Exception) as error:
            yield f"weft {command} {options}: {type(error).__name__}: {error}"
            return
        said = err.getvalue()
        if code not in (0, cli.USER):
            yield f"weft {command} {options}: exit code {code}: {said[:2000]}"
        elif "Traceback" in said or (code and not said.startswith("weft: ")):
            yield f"weft {command} {options}: no proper message: {said[:2000]}"
