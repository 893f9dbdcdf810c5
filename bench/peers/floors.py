"""What the machine can do, measured in this process (bench/floors.cc), and libqz's X^T X (bench/peers/native.cc)."""
import ctypes
import pathlib
import platform

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Peak(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("factors", ctypes.c_char_p), ("flops", ctypes.c_double)]


native = ctypes.CDLL(str(ROOT / "build/release/bench/libqz_bench_native.so"))
native.bench_read_bandwidth.restype = ctypes.c_double
native.bench_engine.restype = ctypes.c_char_p
native.bench_peaks.argtypes = [ctypes.c_int, ctypes.POINTER(Peak), ctypes.c_int]
native.bench_xtx.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]


class Floors:
    """read: bytes per second; peaks: [(instruction, type of its factors, operations per second)]."""

    def __init__(self, threads):
        self.threads = threads
        room = (Peak * 16)()
        count = native.bench_peaks(threads, room, len(room))
        self.peaks = [(p.name.decode(), p.factors.decode(), p.flops) for p in room[:count]]
        self.read = native.bench_read_bandwidth(threads, 10)

    def again(self):
        """The bandwidth now: on a shared machine it moves."""
        return native.bench_read_bandwidth(self.threads, 2)

    def engine(self):
        """The name of libqz's instruction set here."""
        return native.bench_engine().decode().split(";")[0]

    def best(self, *factors):
        """The fastest instruction for these types of factors."""
        return max((p for p in self.peaks if p[1] in factors), key=lambda p: p[2])


def cpu():
    """The CPU's name and the instruction sets that matter here."""
    name, flags = platform.processor() or platform.machine(), []
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = line.split(":", 1)[1].split()
    known = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8"]
    return name, [flag for flag in known if flag in flags]
