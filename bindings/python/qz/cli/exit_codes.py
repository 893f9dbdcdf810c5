"""What `qz` tells its caller with its exit status. Stable: scripts rely on them."""
from __future__ import annotations

from .. import errors

OK = 0
FINDINGS = 1
USAGE = 2
BAD_INPUT = 3
UNSUPPORTED = 4
IO = 5
NUMERIC = 6
BUSY = 7
OUT_OF_MEMORY = 8
INTERNAL = 70
CANCELLED = 130
BROKEN_PIPE = 141

TABLE = """\b
Exit status:
    0  done
    1  verify found a difference, or check a reason not to load
    2  the command line is wrong
    3  an input file or an argument is not what it must be
    4  well formed, but not supported
    5  the system refused: missing file, full disk, no permission
    6  NaN, infinity, or a Hessian that no damping repairs
    7  another run holds the target
    8  out of memory
   70  a bug of qz
  130  cancelled with Ctrl-C; nothing is left behind
"""

_BY_ERROR = {errors.InvalidArgument: BAD_INPUT, errors.BadFile: BAD_INPUT, errors.Unsupported: UNSUPPORTED, errors.IoError: IO,
             errors.DeviceError: IO, errors.NumericError: NUMERIC, errors.Busy: BUSY, errors.OutOfMemory: OUT_OF_MEMORY,
             errors.Cancelled: CANCELLED, errors.Mismatch: FINDINGS}


def of(problem: BaseException) -> int:
    """The exit status for an exception."""
    if isinstance(problem, KeyboardInterrupt):
        return CANCELLED
    if isinstance(problem, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(problem, errors.Error):
        return _BY_ERROR.get(type(problem), INTERNAL)
    return IO if isinstance(problem, OSError) else INTERNAL
