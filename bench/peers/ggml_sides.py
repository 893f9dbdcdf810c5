"""ggml's side (bench/peers/ggml.cc), in the buffer types that its CPU backend has for this machine."""
import ctypes
import pathlib
import subprocess
import sys

import numpy as np

from race import Side

LIBRARY = pathlib.Path(__file__).resolve().parents[2] / "build/peers/libqz_peers_llama.so"


def load():
    library = ctypes.CDLL(str(LIBRARY))
    library.peer_ggml_buffers.restype = ctypes.c_char_p
    library.peer_ggml_new.restype = ctypes.c_void_p
    library.peer_ggml_new.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64,
                                      ctypes.c_int]
    library.peer_ggml_run.restype = ctypes.c_int64
    library.peer_ggml_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    for function in (library.peer_ggml_sleep, library.peer_ggml_wake, library.peer_ggml_free):
        function.argtypes, function.restype = [ctypes.c_void_p], None
    return library


class Ggml(Side):
    """A product in one of ggml's types; inputs float32, which it rounds to 8 bits itself."""

    def __init__(self, buffer, kind, w, copies, threads):
        self._library = load()
        self.name = f"ggml {kind.upper()} {buffer.replace('CPU_', '').lower() or 'plain'}"
        self._rows = w.shape[0]
        self._self = self._library.peer_ggml_new(buffer.encode(), kind.encode(), *w.shape, w.ctypes.data, copies, threads)
        if not self._self:
            raise RuntimeError(f"{self.name}: ggml has no such buffer")

    def __del__(self):
        if getattr(self, "_self", None):
            self._library.peer_ggml_free(self._self)

    def prepare(self, x):
        self._x = np.ascontiguousarray(x)

    def result(self):
        y = np.zeros((self._x.shape[0], self._rows), np.float32)
        self.wake()
        self._product(1, y.ctypes.data)
        self.sleep()
        return y

    def run(self, times):
        return self._product(times, None)

    def _product(self, times, out):
        done = self._library.peer_ggml_run(self._self, self._x.ctypes.data, self._x.shape[0], times, out)
        if done == 0:
            raise RuntimeError(f"{self.name}: the product failed")
        return done

    def wake(self):
        self._library.peer_ggml_wake(self._self)

    def sleep(self):
        self._library.peer_ggml_sleep(self._self)


def usable_buffers(threads):
    """(the buffer types that compute here, what is to be said of those that do not). Each is tried in a process of its own, because one
    that does not work ends the process."""
    usable, words = [], []
    for buffer in load().peer_ggml_buffers().decode().split():
        tried = subprocess.run([sys.executable, __file__, buffer, str(threads)], capture_output=True, text=True)
        if tried.returncode == 0:
            usable.append(buffer)
        else:
            words.append(f"ggml's {buffer} path ends with {describe(tried.returncode)} on this machine and is left out")
    return usable, words


def describe(code):
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def main(buffer, threads):
    """Both types, few and many rows."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((256, 1024), dtype=np.float32)
    for kind in ("q4_0", "q4_K"):
        side = Ggml(buffer, kind, w, 2, int(threads))
        for m in (1, 64):
            x = rng.standard_normal((m, 1024), dtype=np.float32)
            side.prepare(x)
            y, exact = side.result(), x @ w.T
            if not np.linalg.norm(y - exact) < 0.2 * np.linalg.norm(exact):
                sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
