"""Ctrl-C: the first is polite, the second is not."""
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from sample import ENVIRONMENT, SAMPLE

import qz
from qz._interrupt import Interrupt


def test_a_signal_inside_is_seen_and_raised_at_the_end():
    reached = False
    with pytest.raises(KeyboardInterrupt):
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.seen
            reached = True
    assert reached and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_ends_the_process_at_once():
    code = """if True:
        import signal
        from qz._interrupt import Interrupt
        with Interrupt():
            signal.raise_signal(signal.SIGINT)
            print("alive", flush=True)
            signal.raise_signal(signal.SIGINT)
            print("still alive", flush=True)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout == "alive\n" and done.returncode == -signal.SIGINT


def test_a_host_keeps_its_own_handler():
    def handler(*_):
        pass

    signal.signal(signal.SIGINT, handler)
    try:
        with Interrupt():
            assert signal.getsignal(signal.SIGINT) is handler
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_leave_signals_alone():
    seen = []

    def work():
        with Interrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def wait_for(process, pattern):
    """Reads the process's stderr up to a line that matches; the lines read."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if re.search(pattern, line):
            return lines
    raise AssertionError(f"qz ended without saying {pattern}: {''.join(lines)}")


@pytest.mark.parametrize("phase", ["sample", "calibrate|solve"])
def test_ctrl_c_on_the_command_line(qz_process, tmp_path, random_tokens, phase):
    before = set(os.listdir(tmp_path))
    words = {"sample": ["--samples", "4096", "--length", "1024"],
             "calibrate|solve": ["--calib", random_tokens, "--calib", "text", "--samples", "512"]}[phase]
    process = qz_process("quantize", SAMPLE, tmp_path / "out", *words)
    wait_for(process, f"qz: ({phase})")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    print(f"cancelled after {time.monotonic() - started:.2f} s")
    assert process.returncode == 130, err
    assert "qz: error: cancelled" in err and "Traceback" not in err
    assert out == ""
    assert set(os.listdir(tmp_path)) == before, "something was left behind"


def test_a_target_that_another_run_holds(qz_process, cli, tmp_path, random_tokens):
    words = ["quantize", SAMPLE, tmp_path / "out", "--calib", random_tokens, "--calib", "text", "--samples", "512"]
    first = qz_process(*words)
    wait_for(first, "qz: (calibrate|measure|solve)")
    status, out, err = cli("quantize", SAMPLE, tmp_path / "out", "--method", "rtn")
    assert status == 7 and "out" in err and out == ""
    first.send_signal(signal.SIGINT)
    assert first.wait() == 130
    assert cli("quantize", SAMPLE, tmp_path / "out", "--method", "rtn")[0] == 0


def test_what_a_killed_run_leaves_is_no_obstacle(qz_process, cli, tmp_path, random_tokens):
    killed = qz_process("quantize", SAMPLE, tmp_path / "out", "--calib", random_tokens, "--calib", "text", "--samples", "512")
    wait_for(killed, "qz: (calibrate|measure|solve)")
    killed.kill()
    killed.wait()
    assert not (tmp_path / "out").exists()
    assert cli("quantize", SAMPLE, tmp_path / "out", "--method", "rtn")[0] == 0
    assert cli("verify", tmp_path / "out")[0] == 0
    assert not [name for name in os.listdir(tmp_path) if name not in {"out", "tokens.npy"}], os.listdir(tmp_path)


def test_a_progress_function_stops_the_call(model, tmp_path):
    calls = []

    def stop(p):
        calls.append(p)
        return len(calls) > 1

    with pytest.raises(qz.Cancelled):
        qz.Calibration.generated(model, 512, 512, progress=stop)
    assert calls[0].phase and 0 <= calls[0].fraction <= 1


def test_an_exception_of_a_progress_function_comes_out(model, calibration, tmp_path):
    def fail(p):
        raise ZeroDivisionError(p.phase)

    with pytest.raises(ZeroDivisionError):
        qz.gptq(model, calibration, stream_to=tmp_path / "out", progress=fail)
    assert os.listdir(tmp_path) == []
