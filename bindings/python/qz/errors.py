"""One exception class per status of the library, with qz.Error above them all."""
from __future__ import annotations


class Error(Exception):
    """Something libqz could not do. The text is one line: call, file, tensor, expected, found.

    status: the number of the QZ_STATUS_ constant.
    """

    status = -1

    @property
    def name(self) -> str:
        """The name of the status: "QZ_STATUS_IO"."""
        from ._library import ffi, lib
        return ffi.string(lib.qz_status_name(self.status)).decode()


class InvalidArgument(Error, ValueError):
    """The caller's mistake: a value, a shape, a token id, a target that exists already."""
    status = 1


class Unsupported(Error):
    """Well formed, but not something this library can do; the text says what would be."""
    status = 2


class OutOfMemory(Error, MemoryError):
    """Not enough memory."""
    status = 3


class IoError(Error, OSError):
    """The system refused: missing file, full disk, no permission, file changed while it was read."""
    status = 4


class BadFile(Error, ValueError):
    """A file is not what it must be."""
    status = 5


class DeviceError(Error):
    """The device failed."""
    status = 6


class NumericError(Error, ArithmeticError):
    """NaN or infinity in weights or activations, or a Hessian that no damping made positive definite."""
    status = 7


class Cancelled(Error):
    """A progress function of the caller asked to stop. (Ctrl-C raises KeyboardInterrupt instead.)"""
    status = 8


class BufferTooSmall(Error):
    """A buffer was too small; the package sizes its own, so this is never seen."""
    status = 9


class Busy(Error):
    """Another run holds this target, or the handle is inside one of its callbacks."""
    status = 10


class Mismatch(Error):
    """Verification found a difference."""
    status = 11


class InternalError(Error):
    """A bug of the library."""
    status = 12


BY_STATUS = {kind.status: kind for kind in Error.__subclasses__()}


def make(status: int, text: str) -> Error:
    """The exception for a status; a status that is newer than this package is a plain Error."""
    error = BY_STATUS.get(status, Error)(text)
    error.status = status
    return error
