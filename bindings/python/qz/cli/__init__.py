"""The command line. Results on stdout, everything else on stderr, exit statuses as exit_codes.py says."""
from __future__ import annotations

import os
import sys
import traceback
from typing import Optional, Sequence

import click

from .. import __version__
from ..errors import Error
from . import exit_codes
from .advise import advise_command
from .arch import arch
from .check import check
from .common import write_json
from .compare import compare
from .convert import convert
from .devices import devices
from .doctor import doctor
from .estimate import estimate
from .evaluate import evaluate
from .generate import generate
from .imatrix import imatrix
from .inspect import inspect
from .presets import presets
from .quantize import quantize
from .report import report
from .verify import verify

__all__ = ["main"]


@click.group(epilog=exit_codes.TABLE, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
             no_args_is_help=False)
@click.version_option(__version__, prog_name="qz")
def commands() -> None:
    """Quantizes language models on the CPU."""


for command in (quantize, evaluate, compare, generate, inspect, convert, presets, verify, report, devices, doctor, estimate, check, advise_command,
                arch, imatrix):
    commands.add_command(command)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one command; the exit status. Never raises, never shows a traceback unless --debug was given."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return commands.main(args=words, prog_name="qz", standalone_mode=False) or exit_codes.OK
    except click.exceptions.Abort:  # click's name for KeyboardInterrupt
        return _fail(words, exit_codes.CANCELLED, "cancelled")
    except click.ClickException as problem:
        hint = problem.ctx.command_path if isinstance(problem, click.UsageError) and problem.ctx else "qz"
        return _fail(words, exit_codes.USAGE, problem.format_message(), f" (see '{hint} --help')")
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.BROKEN_PIPE
    except Exception as problem:
        code = exit_codes.of(problem)
        text = str(problem) or type(problem).__name__
        if code == exit_codes.INTERNAL:
            text = f"bug in qz: {type(problem).__name__}: {text}"
        if "--debug" in words:
            traceback.print_exc()
        return _fail(words, code, text, name=problem.name if isinstance(problem, Error) else None)


def _fail(words: list[str], code: int, text: str, hint: str = "", name: Optional[str] = None) -> int:
    line = " ".join(text.split())
    print(f"qz: error: {line}{hint}", file=sys.stderr)
    if "--json" in words:
        write_json({"error": {"exit_status": code, "status": name, "text": line}})
    return code
