"""A short run of the coverage-guided fuzzer on every parser of ours; benchmarks/fuzz.py is the long one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from cytoimagenet.builder.formats.grey_png import encode_png

from tests.fuzz import targets

RUNS = 150  # inputs for each parser, in addition to those to start from: about ten seconds in all


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="Atheris is not installed (Linux and macOS only)"
)
def test_no_input_makes_a_parser_fail(checkout, tmp_path):
    command = [sys.executable, "-m", "tests.fuzz.run", "--runs", str(RUNS), "--seed", "1", "--save", str(tmp_path)]
    ended = subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "PYTHONHASHSEED": "0"},  # the same inputs each time
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    lines = ended.stdout.splitlines()
    for name in targets.TARGETS:
        assert f"{name}: no finding" in lines, ended.stdout[-4000:]
    assert ended.returncode == 0


@pytest.mark.parametrize("name", targets.TARGETS)
def test_what_the_fuzzer_starts_from(name, tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "FOLDER", tmp_path)
    target = targets.TARGETS[name]
    seeds = target.seeds()
    for data in seeds:
        target.parse(data)
        target.parse(data[: len(data) // 2])
    assert any(len(data) <= targets.MAX_SEED_BYTES for data in seeds)


@pytest.mark.parametrize(
    ("parser", "name"),
    [
        ("tiff_plain.read", "plain TIFF"),
        ("decode_png", "dataset PNG"),
        ("read_file", "image"),
        ("schema.read", "metadata.parquet"),
    ],
)
def test_a_parser_that_fails_is_noticed(parser, name, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(targets, "FOLDER", tmp_path)
    owner, _, attribute = parser.rpartition(".")
    monkeypatch.setattr(getattr(targets, owner) if owner else targets, attribute, fails)
    with pytest.raises(ZeroDivisionError):
        targets.TARGETS[name].parse(targets.TARGETS[name].seeds()[-1])


def test_other_pixels_are_noticed(monkeypatch):
    monkeypatch.setattr(targets, "decode_png", lambda data: targets.GREY + 1)
    with pytest.raises(AssertionError, match="Pillow reads other pixels"):
        targets.parse_dataset_png(encode_png(targets.GREY))
    monkeypatch.setattr(targets.tiff_plain, "read", lambda *_: targets.GREY + 1)
    with pytest.raises(AssertionError, match="tifffile reads other pixels"):
        targets.parse_plain_tiff(targets.plain_tiffs()[-1])
