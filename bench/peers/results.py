"""The results of one machine, a JSON file in docs/performance."""
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/performance"


def machine_name(cpu, sets):
    """"intel-xeon-amx": what tells kinds of machines apart, as a file's name."""
    words = re.sub(r"\(.*?\)|processor|cpu|@.*|[0-9]+-core", " ", cpu.lower()).split()
    best = next((s for s in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if s in sets), "other")
    return "-".join([*words, best.split("_")[0] if best.startswith("amx") else best.replace("_", "-")])


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def state():
    """The commit that was measured, and whether more than documentation was changed on top of it."""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "lib", "include", "bench", "cmake", "CMakeLists.txt")
    return git("rev-parse", "--short=10", "HEAD") + (" with changes" if changed else "")


class File:
    def __init__(self, name, machine):
        self.path = FOLDER / f"{name}.json"
        self._machine = machine

    def add(self, group, command, rows):
        """Rows of a group replace those of the same shape and m; each carries the machine's state as it was when it was measured."""
        kept = json.loads(self.path.read_text()) if self.path.is_file() else {"groups": {}}
        old = kept["groups"].get(group, [])
        key = lambda row: (row["shape"], row["m"])
        mine = {key(row) for row in rows}
        for row in rows:
            row.update(command=command, **{name: self._machine[name] for name in ("date", "state", "threads")})
        kept["groups"][group] = sorted([r for r in old if key(r) not in mine] + rows, key=lambda r: (r["shape"], r["m"]))
        kept["machine"] = self._machine
        FOLDER.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(rounded(kept), indent=1, ensure_ascii=False) + "\n")


def rounded(value):
    """Five digits are more than a clock gives."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
