"""Training, loaders and features on a GPU, each compared with the network alone on the same card in the same run.

    PYTHONPATH=. python benchmarks/gpu.py --out FOLDER               # on a machine with a GPU, about 5 minutes
    PYTHONPATH=. python benchmarks/gpu.py --out FOLDER --minutes 9   # also what is compiled
    PYTHONPATH=. python benchmarks/gpu.py --out FOLDER --toy         # tiny sizes: a test of the script, also on a CPU

Every measurement stands on its own: if one fails, its row contains the error. Rows are printed, and written to
`gpu.json` and `gpu.md` in FOLDER, as soon as they are known. Measurements for which no time is left are skipped. It
needs torch, transformers, accelerate, OpenCV, imagecodecs, pandas and pyarrow, but no network, no timm and no datasets.

*Network alone*: random tensors that are on the device already, channels_last, fused AdamW, forward, backward and step.
Ratios are to the row of the network alone with the same batch, precision and compilation.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))
warnings.filterwarnings("ignore")

import torch  # noqa: E402

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
COLUMNS = ("what", "images/s", "ratio", "memory, GB", "remarks")
Row = dict[str, Any]


@dataclass
class Sizes:
    """How much is measured."""

    side: int = 224
    source_side: int = 300
    images: int = 2000  # stored; an epoch repeats them
    shard_bytes: int = 4 << 20  # at least one shard per worker
    repeats: int = 10
    warm_up: int = 10
    steps: int = 40
    large: int = 256
    small: int = 64
    workers: tuple[int, ...] = (1, 2, 4, 8, 14)
    train_workers: int = 8
    features: tuple[tuple[int, int], ...] = ((224, 256), (64, 3136))  # side, batch
    model: str = "efficientnet-b0"


TOY = Sizes(32, 40, 120, 1 << 14, 2, 1, 2, 8, 4, (1, 2), 2, ((32, 8), (48, 16)))


@dataclass
class Report:
    """The rows so far, and the time that is left."""

    out: Path
    deadline: float
    rows: list[Row] = field(default_factory=list)

    def measure(self, what: str, seconds: float, work: Callable[[], Row]) -> Row:
        """Add the row of one measurement, which may fail; skip it if less than `seconds` are left."""
        left = self.deadline - time.monotonic()
        row: Row
        if left < seconds:
            row = {"remarks": f"skipped: about {seconds:.0f} s, {max(0, left):.0f} s left"}
        else:
            started = time.perf_counter()
            try:
                if GPU:
                    torch.cuda.reset_peak_memory_stats()
                with limit(min(max(seconds, left), 4 * seconds + 20)):
                    row = work()
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(last.filename).name}:{last.lineno}"
                row = {"remarks": f"failed: {type(error).__name__}: {str(error)[:300]} ({place})".replace("\n", " ")}
            row["seconds"] = round(time.perf_counter() - started, 1)
            if GPU and "memory, GB" not in row:
                with contextlib.suppress(RuntimeError):
                    row["memory, GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
        gc.collect()
        if GPU:
            with contextlib.suppress(RuntimeError):
                torch.cuda.empty_cache()
        self.rows.append({"what": what, **row})
        print(line(self.rows[-1]), flush=True)
        self.write()
        return self.rows[-1]

    def write(self) -> None:
        """Write all rows."""
        facts = environment()
        (self.out / "gpu.json").write_text(json.dumps({"environment": facts, "rows": self.rows}, indent=1) + "\n")
        head = [", ".join(f"{name} {value}" for name, value in facts.items()), "", *header()]
        (self.out / "gpu.md").write_text("\n".join([*head, *map(line, self.rows)]) + "\n")

    def rate(self, what: str) -> float | None:
        """Return the images/s of a row, if it was measured."""
        return next((row.get("images/s") for row in self.rows if row["what"] == what), None)


def header() -> list[str]:
    return ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]


def line(row: Row) -> str:
    def shown(value: Any) -> str:
        return f"{value:,.0f}" if isinstance(value, float) and value >= 100 else str("" if value is None else value)

    return "| " + " | ".join(shown(row.get(column)).replace("|", "/") for column in COLUMNS) + " |"


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def environment() -> dict[str, str]:
    """Return the machine and the versions that matter."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"device": torch.cuda.get_device_name() if GPU else "CPU", "cores": str(len(os.sched_getaffinity(0)))}
    found |= {"Python": platform.python_version(), "torch": torch.__version__}
    for name in ("transformers", "accelerate", "timm", "imagecodecs", "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def tiny_model(folder: str) -> str:
    """Save a network of three convolutions, for `--toy`; return its folder."""
    import transformers
    from transformers import ResNetConfig, ResNetForImageClassification

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=2)
    ResNetForImageClassification(config).save_pretrained(f"{folder}/tiny")
    return f"{folder}/tiny"


def synchronize() -> None:
    if GPU:
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="folder of gpu.json and gpu.md")
    parser.add_argument("--minutes", type=float, default=4.8, help="start no measurement that would end later")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to test the script; always without a GPU")
    parser.add_argument("--only", nargs="+", choices=("train", "load", "features", "resume", "compile"), default=None)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    report = Report(asked.out, time.monotonic() + 60 * asked.minutes)
    toy = asked.toy or not GPU
    sizes = TOY if toy else Sizes()
    chosen = asked.only or ("train", "load", "features", "resume", "compile")
    print(", ".join(f"{name} {value}" for name, value in environment().items()), *header(), sep="\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-gpu-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_CACHE_HOME", folder)
        if toy:
            sizes.model = tiny_model(folder)
        # each group is imported when it starts: a package that is missing fails that group alone
        for group in ("train", "load", "features", "resume", "compile"):
            if group in chosen:
                try:
                    from gpu_groups import GROUPS

                    GROUPS[group](report, sizes, Path(folder))
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    cause = f"{type(error).__name__}: {error}"[:300]
                    report.measure(f"{group}", 0, lambda cause=cause: {"remarks": f"failed: {cause}"})
    print(f"\nwritten to {asked.out / 'gpu.md'} and gpu.json")


if __name__ == "__main__":
    main()
