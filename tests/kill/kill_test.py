"""Runs that are killed or starved: the target is complete or absent, whenever it happens.

A small quantization (quantize_once) runs under a preloaded library (fault_shim) that counts the calls which change files
and lets one of them go wrong: SIGKILL before it, SIGKILL after it (a write: after half of its bytes), or an error. Then

- the target is absent, or complete: every file has the SHA-256 of an undisturbed run, and qz_model_verify agrees;
- with overwrite, where an older output stands, the target is the old one or the new one, never anything else;
- after an error the status is QZ_STATUS_IO, the words name a file, and nothing is left beside the target;
- the next run into the same place succeeds, and removes what a killed run left.

The exceptions are named in FORGIVEN.
"""

import argparse
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

IO_STATUS = 4  # QZ_STATUS_IO
OLD_BITS, NEW_BITS = "8", "4"

# Calls whose failure does not end the run, because nothing depends on them: giving the lock back, and removing an
# older output after the new one took its place. What they leave is removed by the next run.
FORGIVEN = re.compile(r"(unlink|close) .*\.qz-lock|(unlink|rmdir) .*\.qz-partial")
# The rename has happened, but the directory above could not be synced: the target is complete, its name may not outlive
# a power failure, and the run says so.
PUBLISHED = re.compile(r"fsync {parent}$")


def digest(directory):
    """File name -> SHA-256; the report without its times and what memory it took."""
    found = {}
    for path in sorted(directory.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if path.name == "qz_report.json":
            report = json.loads(data)
            for module in report["modules"]:
                del module["seconds"]
            report.pop("seconds", None)
            report.pop("memory", None)
            data = json.dumps(report).encode()
        found[str(path.relative_to(directory))] = hashlib.sha256(data).hexdigest()
    return found


class Kill:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.parent = work / "place"
        self.target = self.parent / "out"
        self.log = work / "log"
        self.older = work / "older"
        self.fresh()
        self.must(self.run("rtn", OLD_BITS))
        self.old = digest(self.target)
        shutil.copytree(self.target, self.older)
        self.fresh()
        self.must(self.run(self.args.method, NEW_BITS))
        self.new = digest(self.target)
        assert len(self.new) >= 5 and self.new != self.old, self.new

    def fresh(self, older=False):
        shutil.rmtree(self.parent, ignore_errors=True)
        self.parent.mkdir()
        if older:
            shutil.copytree(self.older, self.target)

    def run(self, method, bits, overwrite=False, fault=None, at=0):
        env = dict(os.environ, LD_PRELOAD=str(self.args.shim), QZ_FAULT_LOG=str(self.log))
        # Under the address sanitizer the shim comes before its runtime, which is harmless here.
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        if fault:
            env.update(QZ_FAULT=str(fault), QZ_FAULT_AT=str(at))
        words = [self.args.program, method, self.args.model, str(self.target), bits]
        return subprocess.run(
            words + (["overwrite"] if overwrite else []), env=env, capture_output=True, text=True, errors="replace"
        )

    def must(self, result):
        assert result.returncode == 0, (result.returncode, result.stderr)

    def calls(self):
        return [line.split(" ", 1)[1] for line in self.log.read_text(errors="replace").splitlines()]

    def moments(self, overwrite):
        self.fresh(older=overwrite)
        self.must(self.run(self.args.method, NEW_BITS, overwrite))
        calls = self.calls()
        n, want = len(calls), min(self.args.moments, len(calls))
        return n, sorted({1 + i * (n - 1) // max(1, want - 1) for i in range(want)})

    def state(self):
        if not self.target.exists():
            return "absent"
        found = digest(self.target)
        if found == self.new:
            return "complete"
        assert found == self.old, f"the target is neither old nor new nor absent: {sorted(found)}"
        return "old"

    def leftovers(self):
        return sorted(path.name for path in self.parent.iterdir() if path != self.target)

    def verify(self):
        result = subprocess.run(
            [self.args.program, "verify", self.args.model, str(self.target)], capture_output=True, text=True
        )
        self.must(result)

    def again(self, state):
        """The next run cleans up and succeeds."""
        self.must(self.run(self.args.method, NEW_BITS, overwrite=state != "absent"))
        assert self.state() == "complete", self.state()
        assert self.leftovers() == [], self.leftovers()

    def killed(self, overwrite):
        n, moments = self.moments(overwrite)
        counts = {"complete": 0, "absent": 0, "old": 0}
        for i, at in enumerate(moments):
            self.fresh(older=overwrite)
            result = self.run(self.args.method, NEW_BITS, overwrite, "kill-after" if i % 2 else "kill-before", at)
            assert result.returncode == -signal.SIGKILL, (at, result.returncode, result.stderr)
            state = self.state()
            assert state != ("absent" if overwrite else "old"), (at, state, self.calls()[-1])
            if state == "complete":
                self.verify()
            counts[state] += 1
            self.again(state)
        other = f"old {counts['old']}" if overwrite else f"absent {counts['absent']}"
        what = "overwriting, killed" if overwrite else "killed"
        print(f"{what} at {len(moments)} of {n} moments: complete {counts['complete']}, {other}", flush=True)

    def starved(self, name, overwrite):
        n, moments = self.moments(overwrite)
        published = re.compile(PUBLISHED.pattern.replace("{parent}", re.escape(str(self.parent))))
        counts = {"refused": 0, "forgiven": 0, "published": 0}
        for at in moments:
            self.fresh(older=overwrite)
            result = self.run(self.args.method, NEW_BITS, overwrite, getattr(errno, name), at)
            call, state = self.calls()[at - 1], self.state()
            where = (name, at, call, state, result.returncode, result.stderr, self.leftovers())
            if FORGIVEN.match(call):
                assert result.returncode == 0 and state == "complete", where
                kind = "forgiven"
            elif published.match(call):
                assert result.returncode == IO_STATUS and state == "complete", where
                kind = "published"
            else:
                assert result.returncode == IO_STATUS, where
                assert state == ("old" if overwrite else "absent"), where
                assert self.leftovers() == [], where
                kind = "refused"
            if kind != "forgiven":
                line = result.stderr.strip()
                assert line.startswith("QZ_STATUS_IO: ") and "\n" not in line, where
                assert str(self.parent) in line and os.strerror(getattr(errno, name)) in line, where
            counts[kind] += 1
            self.again(state)
        what = f"{name} while overwriting" if overwrite else name
        print(
            f"{what} at {len(moments)} of {n} calls: refused with nothing left {counts['refused']}, "
            f"published but not synced {counts['published']}, without effect {counts['forgiven']}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, type=os.path.abspath)
    parser.add_argument("--shim", required=True, type=os.path.abspath)
    parser.add_argument("--model", default="tests/data/goldens/models/llama-tied", type=os.path.abspath)
    parser.add_argument("--method", default="gptq", choices=["rtn", "gptq"])
    parser.add_argument("--moments", default=50, type=int)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qz-kill-") as work:
        kill = Kill(args, Path(os.path.realpath(work)))
        for overwrite in (False, True):
            kill.killed(overwrite)
            for name in ("ENOSPC", "EIO"):
                kill.starved(name, overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
