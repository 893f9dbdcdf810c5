"""Devices as Python sees them, and the memory monitor against what the test allocates."""
import mmap

import pytest

import qz


def test_devices_begin_with_the_cpu():
    with qz.Context() as context:
        devices, report = context.devices, context.device_report()
    assert devices[0].kind == "cpu" and devices[0].memory_free <= devices[0].memory_total
    assert [d["kind"] for d in report["devices"]] == [d.kind for d in devices]
    assert set(report["devices"][0]["abilities"]) == {"int4", "int8", "bf16", "fp8", "fp4"}
    assert len(devices) > 1 or "libnvidia-ml" in report["missing"][0]["why"] or report["driver"]


def test_the_monitor_sees_memory_that_comes_and_goes(tmp_path):
    log = tmp_path / "log.tsv"
    with qz.MemoryMonitor(interval=0.001, log=log) as monitor:
        with mmap.mmap(-1, 100 << 20) as block:
            block.write(b"x" * (100 << 20))
            while monitor.samples < 5:
                pass
    after = qz.MemoryUsage.now().host
    assert monitor.host_peak >= monitor.before.host + (99 << 20)
    assert after < monitor.host_peak - (80 << 20)
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert lines[0] == ["seconds", "host", "host_peak", "cgroup", "cgroup_peak", "device"]
    assert len(lines) == monitor.samples + 1
    assert max(int(line[1]) for line in lines[1:]) <= monitor.host_peak


def test_an_interval_must_be_positive():
    with pytest.raises(ValueError):
        qz.MemoryMonitor(interval=0)


def test_devices_and_doctor_on_the_command_line(cli, cli_json):
    document = cli_json("devices", "--known")
    assert document["devices"][0]["kind"] == "cpu" and any("H200" in gpu["name"] for gpu in document["known_gpus"])
    status, out, _ = cli("devices")
    assert status == 0 and "cpu:0 int8:" in out
    document = cli_json("doctor")
    assert document["packages"]["numpy"] and document["uses"].startswith("cpu:0")
    assert all(m["why"] and m["get"] for m in document["missing"])
    assert cli("doctor")[0] == 0
