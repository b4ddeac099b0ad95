"""Kill a command (kill -9) at random moments, run it again to its end, compare every byte with an undisturbed run.

    python benchmarks/kills.py build --kills 3       # quick
    python benchmarks/kills.py --kills 20            # the table of docs/benchmarks/kills.md

The moments are uniform over the time of an undisturbed run, including the start of Python. A run that finishes before
its moment is counted separately. Only the main process is killed: its workers must end by themselves.

Files are compared by name and content, except those that describe the run and not its result: the times of the steps,
and the page that shows them. The bytes that a command leaves in the system's temporary folder are counted too.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

START = "import cytoimagenet; cytoimagenet.main()"


class Case(NamedTuple):
    """A command: its input, its arguments, and the files that must be the same after a rerun."""

    prepare: Callable[[Path], None]
    arguments: Callable[[Path, Path], list[str]]  # functions of the prepared input and the output folder
    same: tuple[str, ...] = ("**/*",)
    except_names: tuple[str, ...] = ()  # files that differ from run to run


def sources(folder: Path) -> None:
    from cytoimagenet.builder.simulate.source import simulate_source

    for name in ("bbbc013", "bbbc015", "bbbc026"):
        simulate_source(name, folder / "raw", seed=0, fields=30)


def curated(folder: Path) -> None:
    from cytoimagenet.builder.simulate.curated_folder import write_curated

    write_curated(folder / "curated", classes=8, images=400, sides=(64, 160))


def archive(folder: Path) -> None:
    from import_kaggle import tiny, write_zip

    folder.mkdir()
    write_zip(folder, 12_000, tiny(12_000))


def evaluation_sets(folder: Path) -> None:
    from cytoimagenet.eval.simulate.cyclops import simulate_cyclops

    simulate_cyclops(folder / "cyclops", cells=20)


def dataset(folder: Path) -> None:
    from cytoimagenet.builder.shards.write import write_dataset
    from cytoimagenet.builder.simulate.curated_folder import write_curated

    write_curated(folder / "curated", classes=3, images=40, sides=(64, 96))
    write_dataset(folder / "curated", folder / "cytoimagenet")


CASES = {
    "build": Case(
        sources,
        lambda given, out: ["build", f"{given}/raw", "--out", f"{out}/cytoimagenet", "--min-images", "10",
                           "--chunk-rows", "8", "--workers", "2"],
    ),
    "shard": Case(
        curated,
        lambda given, out: ["shard", f"{given}/curated", "--out", f"{out}/cytoimagenet", "--shard-size", "500KB"],
    ),
    "import-kaggle": Case(
        archive,
        lambda given, out: ["import-kaggle", f"{given}/archive.zip", "--out", f"{out}/cytoimagenet",
                           "--shard-size", "500KB"],
    ),
    "train": Case(
        dataset,
        lambda given, out: ["train", f"{given}/cytoimagenet", "--out", f"{out}/run", "--recipe", "quick",
                            "--epochs", "2", "--size", "32", "--set", "save_every=2"],
        same=("run/model.safetensors", "run/history.csv"),
    ),
    "eval": Case(
        evaluation_sets,
        lambda given, out: ["eval", "--data", f"{given}", "--tasks", "cyclops", "--models", "random:0", "--out",
                           f"{out}/results", "--preprocess", "concat-norm,merge-norm", "--no-probe"],
        except_names=("timing.json", "about.json", "report.html"),
    ),
}  # fmt: skip


def contents(folder: Path, case: Case) -> dict[str, bytes]:
    files = {path for pattern in case.same for path in folder.glob(pattern) if path.is_file()}
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(files) if path.name not in case.except_names
    }


def run(arguments: list[str], root: Path, kill_after: float | None = None) -> bool:
    """Run a command to its end, or kill it after some seconds; return whether it was killed."""
    log, temporary = root / "log", root / "temporary"
    temporary.mkdir(exist_ok=True)
    with open(log, "ab") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", START, *arguments], stdout=file, stderr=file, env={**os.environ, "TMPDIR": temporary}
        )
        try:
            code = child.wait(kill_after)
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            return True
    if code:
        sys.exit(f"`cytoimagenet {' '.join(arguments)}` failed with exit code {code}:\n{log.read_text()[-3000:]}")
    return False


def bench(command: str, kills: int, seed: int) -> dict:
    case, rng = CASES[command], random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        case.prepare(root / "input")
        undisturbed, out = root / "undisturbed", root / "out"
        start = time.perf_counter()
        run(case.arguments(root / "input", undisturbed), root)
        seconds = time.perf_counter() - start
        expected = contents(undisturbed, case)
        hit = rerun = different = 0
        for _ in range(kills):
            if run(case.arguments(root / "input", out), root, rng.uniform(0, seconds)):
                hit += 1
            start = time.perf_counter()
            run(case.arguments(root / "input", out), root)
            rerun += time.perf_counter() - start
            found = contents(out, case)
            different += found != expected
            for name in sorted(found.keys() | expected.keys()):
                if found.get(name) != expected.get(name):
                    print(f"different: {name}", file=sys.stderr)
            shutil.rmtree(out)
        left = sum(path.stat().st_size for path in (root / "temporary").rglob("*") if path.is_file())
    return {
        "command": command,
        "files compared": len(expected),
        "kills": hit,
        "finished before": kills - hit,
        "different after the rerun": different,
        "undisturbed, s": seconds,
        "mean rerun, s": rerun / kills,
        "left in the temporary folder, MB": left / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", choices=[*CASES, []], default=[])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    lines = [bench(name, asked.kills, asked.seed) for name in asked.commands or CASES]
    print("| " + " | ".join(lines[0]) + " |\n|" + "---|" * len(lines[0]))
    for line in lines:
        print("| " + " | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in line.values()) + " |")
    sys.exit(any(line["different after the rerun"] for line in lines))


if __name__ == "__main__":
    main()
