"""`eval` in several processes, and after a kill, writes the same files as one uninterrupted process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from cytoimagenet.eval.results import document as results
from cytoimagenet.eval.simulate.coos7 import simulate_coos7
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops

# small networks with the names of the real ones, small chunks and no page: otherwise as a user runs it
EVAL = """
import os, signal, sys
import torch
from cytoimagenet.eval import run
from cytoimagenet.eval.features import backbones, cache
from cytoimagenet.eval.report import write as report

kill_at = int(sys.argv.pop(1))


def load(name):
    torch.manual_seed(len(name))
    layers = torch.nn.Conv2d(3, 6, 5, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return backbones.backbone(torch.nn.Sequential(*layers), name.rpartition("/")[2])


backbones.load = load
cache.MAX_CHUNK = 16
run.RANDOM_SEEDS = 1
report.write_report = lambda *page, **more: None
left, write = kill_at, cache.write_chunk


def dying(*asked):
    global left
    write(*asked)
    left -= 1
    if left == 0:
        (asked[0] / ".partial-chunk").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


cache.write_chunk = dying
sys.argv[0] = "cytoimagenet"
import cytoimagenet

cytoimagenet.main()
"""
FOUR_METHODS = 4 * 4  # tables of random, imagenet, a run and brightness


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    """Return a function that runs `eval` in a folder of results, and one undisturbed run of it."""
    root = tmp_path_factory.mktemp("processes")
    simulate_cyclops(root / "data" / "cyclops", cells=4)
    simulate_coos7(root / "data" / "coos7", train=4, test=2)
    (root / "eval.py").write_text(EVAL)
    asked = ["eval", "--data", str(root / "data"), "--tasks", "coos7,cyclops", "--engine", "torch", "--no-probe"]
    asked += ["--models", "random,imagenet,runs/mine,fusion", "--out"]

    def run(out, *launcher, kill_at=0):
        command = [sys.executable, *launcher, str(root / "eval.py"), str(kill_at), *asked, str(root / out)]
        options = {"capture_output": True, "text": True, "timeout": 300, "cwd": root}
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **options)
        assert done.returncode == (-signal.SIGKILL if kill_at else 0), done.stderr
        return root / out, done

    return run, left(run("alone")[0])


def left(out):
    """Return what is in a folder of results but for what says how the run went."""
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.name not in ("timing.json", "about.json")]
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def test_two_processes_make_the_results_of_one(evaluate):
    run, alone = evaluate
    out, done = run("two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    about = [json.loads(path.read_bytes()) for path in out.rglob("about.json")]
    assert len(about) == 2 * FOUR_METHODS
    assert all(one["processes"] == 2 for one in about)
    shared = [one for one in about if one["task"] == "coos7"]
    assert all(0 < one["computed"] < 7 * (4 + 4 * 2) for one in shared)  # the main process did a part of the work
    assert left(out) == alone
    assert done.stdout.count("Written:") == 1


def test_kill_9_between_images_and_scores(evaluate):
    run, alone = evaluate
    out, _ = run("killed", kill_at=FOUR_METHODS + 3)
    assert not (out / "results.json").exists()
    assert len(list(out.rglob("chunk-*.npy"))) == FOUR_METHODS + 3
    run("killed")
    about = [json.loads(path.read_bytes()) for path in out.rglob("about.json")]
    assert {one["computed"] for one in about if one["task"] == "coos7"} == {7 * (4 + 4 * 2) - 16}  # one chunk was kept
    assert left(out) == alone
    assert {entry["task"] for entry in results.read(out)["results"]} == {"coos7", "cyclops"}
