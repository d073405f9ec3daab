"""The program ``pretrieve``, and ``python -m pretrieve`` where the script is not on the path."""

from __future__ import annotations

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line.

    Until it handles signals, and after, Ctrl-C ends the process as it ends every other program, without a traceback.

    Raises:
        SystemExit: always, with the command's exit code.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pretrieve.cli.app import main as command_line

    command_line()


if __name__ == "__main__":
    main()
