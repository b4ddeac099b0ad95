"""The report of benchmarks/gpu.py: no measurement can end it, and nothing that was measured is lost."""

from __future__ import annotations

import importlib.util
import json
import sys
import time

import pytest


@pytest.fixture(scope="module")
def gpu(checkout):
    spec = importlib.util.spec_from_file_location("gpu", checkout / "benchmarks" / "gpu.py")
    module = sys.modules.setdefault("gpu", importlib.util.module_from_spec(spec))  # dataclasses look it up by name
    spec.loader.exec_module(module)
    yield module
    del sys.modules["gpu"]


def test_a_failure_is_a_row_and_the_next_measurement_runs(gpu, tmp_path):
    report = gpu.Report(tmp_path, time.monotonic() + 1000)

    def fails():
        raise RuntimeError("out of | memory\nat all")

    report.measure("one", 5, lambda: {"images/s": 1234.5})
    report.measure("two", 5, fails)
    report.measure("three", 5, lambda: __import__("no_such_package"))
    report.measure("four", 2000, lambda: {"images/s": 1.0})
    report.measure("five", 5, lambda: {"images/s": 99.5, "ratio": 0.5})
    assert report.rate("one") == 1234.5
    assert report.rate("two") is None
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["what"] for row in rows] == ["one", "two", "three", "four", "five"]
    assert rows[1]["remarks"].startswith("failed: RuntimeError: out of | memory at all (test_gpu_benchmark.py:")
    assert "no_such_package" in rows[2]["remarks"]
    assert rows[3]["remarks"].startswith("skipped: about 2000 s")
    table = (tmp_path / "gpu.md").read_text().splitlines()
    assert table[-5].startswith("| one | 1,234 |") or table[-5].startswith("| one | 1,235 |")
    assert {line.count("|") for line in table[2:]} == {len(gpu.COLUMNS) + 1}


def test_a_measurement_that_takes_too_long_is_stopped(gpu, tmp_path):
    with pytest.raises(TimeoutError), gpu.limit(0.01):
        while True:
            pass
    with gpu.limit(100):  # what is limited next has its own time
        pass
