"""Seconds and peak memory of `cytoimagenet eval --features TABLE` for tables of the size of the real sets.

    python benchmarks/eval_tables.py              # full size, about 20 minutes on two cores
    python benchmarks/eval_tables.py --small      # a tenth of the rows, to test the script
    python benchmarks/eval_tables.py --tasks own  # 100,000 samples of one's own, 5 folds by group

The tables are simulated: classes around centres, a shift per well, axes with decreasing weights. Times and memory are
those of real tables of this size; the scores mean nothing. Each command runs in a separate process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

FEATURES_PER_CHANNEL = 1280  # of EfficientNet-B0
COOS7 = {"train": 41_456, "test1": 10_364, "test2": 17_021, "test3": 32_596, "test4": 30_772}
CYCLOPS = 27_000
OWN = 100_000
OWN_WIDTH = 1280
START = "import cytoimagenet; cytoimagenet.main()"


def simulated(labels: np.ndarray, wells: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Return one row of features for each pair of label and well."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((len(labels), width), dtype=np.float32)
    values *= np.linspace(2, 0.2, width, dtype=np.float32)
    for codes, weight in ((labels, 0.15), (wells, 0.1)):
        centres = weight * np.random.default_rng([seed, 1]).standard_normal((codes.max() + 1, width), dtype=np.float32)
        for start in range(0, len(values), 4096):
            values[start : start + 4096] += centres[codes[start : start + 4096]]
    return values


def bbbc021(times: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Return 102 treatments of 38 compounds with 12 images each, taxol with 1,320, and six wells of DMSO per plate."""
    rows = []
    plates = [f"Week{1 + n % 10}_{22000 + n}" for n in range(55)]
    for number in range(102):
        compound = number % 38
        for plate in (plates[(compound * 3 + i) % 55] for i in range(3)):
            rows += [(f"compound {compound}", 1.0 + number // 38, f"mechanism {compound % 12}", plate, number)] * 4
    rows += [("taxol", 0.3, "mechanism 0", plate, 102) for plate in plates for _ in range(max(1, round(24 * times)))]
    rows += [("DMSO", 0.0, "DMSO", plate, 103) for plate in plates for _ in range(max(4, round(24 * times)))]
    keys = pd.DataFrame(rows, columns=["compound", "concentration", "label", "plate", "code"])
    keys["well"] = [f"{'ABCDEFGH'[i % 8]}{1 + i // 8 % 12:02d}" for i in range(len(keys))]
    mechanism = pd.factorize(keys["label"])[0]
    return keys.drop(columns="code"), simulated(mechanism, pd.factorize(keys["plate"])[0], 3 * FEATURES_PER_CHANNEL, 0)


def coos7(times: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the cells of every set, in wells of one label each."""
    rng = np.random.default_rng(1)
    split = np.repeat(list(COOS7), [round(n * times) for n in COOS7.values()])
    well = rng.integers(0, 28, len(split)) + 28 * pd.factorize(split)[0]
    keys = pd.DataFrame({"label": [f"class {w % 7}" for w in well], "split": split, "plate": split, "well": well})
    return keys, simulated(well % 7, well, 2 * FEATURES_PER_CHANNEL, 1)


def cyclops(times: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the cells of 16 classes of decreasing size."""
    share = np.linspace(3, 0.5, 16)
    code = np.random.default_rng(2).choice(16, round(CYCLOPS * times), p=share / share.sum())
    return pd.DataFrame({"label": [f"place {c:02d}" for c in code]}), simulated(code, code, 2 * FEATURES_PER_CHANNEL, 2)


def own(times: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Return samples of 20 classes in 500 groups, with the features of one channel."""
    rng = np.random.default_rng(3)
    n = round(OWN * times)
    label, group = rng.integers(0, 20, n), rng.integers(0, 500, n)
    keys = pd.DataFrame({"label": [f"class {c}" for c in label], "group": [f"well {g}" for g in group]})
    return keys, simulated(label, group, OWN_WIDTH, 3)


def measured(arguments: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a command; return its seconds, CPU seconds and peak memory in GB."""
    log = folder / "log"
    begun = time.perf_counter()
    with open(log, "w") as file:
        child = os.posix_spawn(
            sys.executable, [sys.executable, "-c", START, *arguments], os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, file.fileno(), stream) for stream in (1, 2)],
        )  # fmt: skip
        _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(log.read_text()[-3000:])
    return time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--tasks", default="bbbc021,cyclops,coos7,own")
    chosen = parser.parse_args()
    print("| table | size of the features | probe | seconds | CPU seconds | peak memory | scores |")
    print("|---|---|---|---|---|---|---|")
    for task in chosen.tasks.split(","):
        keys, values = {"bbbc021": bbbc021, "coos7": coos7, "cyclops": cyclops, "own": own}[task](
            0.1 if chosen.small else 1
        )
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            write(keys, values, folder / "simulated.parquet")
            size, shape = values.nbytes / 2**30, f"{len(values):,} x {values.shape[1]:,}"
            del values
            asked = ["eval", "--features", str(folder / "simulated.parquet"), "--out", str(folder / "results")]
            if task == "own":
                asked += ["--label", "label", "--group", "group"]
            else:
                asked += ["--tasks", task, "--data", made, "--standardise", "train" if task == "coos7" else "all"]
            for probe in (False,) if task == "own" and not chosen.small else (False, True):
                wall, used, peak = measured([*asked, "--probe" if probe else "--no-probe"], folder)
                found = json.loads((folder / "results" / "results.json").read_text())["results"]
                print(
                    f"| {task}, {shape} | {size:.2f} GB | {'yes' if probe else 'no'} | {wall:.0f} | {used:.0f} "
                    f"| {peak:.2f} GB | {len(found)} |",
                    flush=True,
                )


def write(keys: pd.DataFrame, values: np.ndarray, path: Path) -> None:
    """Write the table in groups of rows, one column per feature."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = keys.assign(id=[f"row {i}" for i in range(len(keys))])
    names = [f"f{i:04d}" for i in range(values.shape[1])]
    schema = pa.Table.from_pandas(keys.head(0), preserve_index=False).schema.remove_metadata()
    schema = pa.schema([*schema, *(pa.field(name, pa.float32()) for name in names)])
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=[*keys]) as writer:
        for start in range(0, len(keys), 16384):
            rows = slice(start, start + 16384)
            columns = pa.Table.from_pandas(keys[rows], preserve_index=False).columns
            columns += [pa.array(column) for column in np.ascontiguousarray(values[rows].T)]
            writer.write_table(pa.table(columns, schema=schema))


if __name__ == "__main__":
    main()
