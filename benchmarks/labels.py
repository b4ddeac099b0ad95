"""Time and memory of weak labelling, from file to file, compared with the published algorithm on the same rows.

    python benchmarks/labels.py                    # 2.7 million rows
    python benchmarks/labels.py --rows 27000000 --runs 1 --no-published    # ten times the published size
    python benchmarks/labels.py --rows 200000      # a quick test

The rows are simulated: twelve sources with the numbers of rows of the registry and the label structure of their
publishers (numbers of compounds, genes and proteins, and their skew). Ten times the rows are ten times the fields of
view of the same compounds and genes, so more of them reach the threshold.

The published algorithm is written from its description: for each label one pass over the text of all rows; a
stratified sample by repeated random fractions of each group. It would take hours, so it is timed on a few labels and
samples, and extrapolated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from cytoimagenet.builder import schema
from cytoimagenet.builder.sources.registry import SOURCES

# source: for each label column the number of texts, their skew (0 = even), and the share of rows with a text
PROFILES = {
    "rec_rxrx1": {"organism": (1, 0, 1), "cell_type": (4, 0, 1), "sirna": (280, 0.1, 0.95)},
    "rec_rxrx19a": {
        "organism": (2, 0, 1),
        "cell_type": (3, 1, 1),
        "compound": (820, 0.3, 0.9),
        "phenotype": (4, 1, 1),
    },
    "rec_rxrx19b": {
        "organism": (1, 0, 1),
        "cell_type": (1, 0, 1),
        "compound": (1856, 0.2, 0.9),
        "phenotype": (4, 1, 1),
    },
    "rec_rxrx2": {"organism": (1, 0, 1), "cell_type": (1, 0, 1), "compound": (300, 0.1, 0.9)},
    "idr0016": {"organism": (1, 0, 1), "cell_type": (1, 0, 1), "compound": (30616, 0.2, 0.8)},
    "idr0088": {"organism": (1, 0, 1), "cell_type": (1, 0, 1), "compound": (1006, 0.8, 0.9), "gene": (300, 1, 0.2)},
    "idr0009": {"organism": (1, 0, 1), "cell_type": (1, 0, 1), "gene": (19000, 0.3, 0.95), "phenotype": (20, 1, 0.3)},
    "idr0003": {"organism": (1, 0, 1), "cell_type": (1, 0, 1), "gene": (5300, 0.2, 1), "phenotype": (30, 1, 0.4)},
    "idr0017": {"organism": (1, 0, 1), "cell_type": (12, 0.2, 1), "compound": (330, 0.2, 0.9), "gene": (12, 0, 0.6)},
    "bbbc051": {"organism": (1, 0, 1), "cell_type": (8, 0.5, 1), "phenotype": (8, 0.5, 1)},
    "bbbc022": {"organism": (1, 0, 1), "cell_type": (1, 0, 1), "compound": (1600, 0.2, 0.9)},
    "kag_hpa": {"organism": (1, 0, 1), "cell_type": (17, 0.5, 0.5), "cell_visible": (28, 1, 1)},
}
ROW_GROUP = 500_000
PLATES = 60


def make_catalogue(path: Path, rows: int) -> None:
    """Write a simulated catalogue of about `rows` rows."""
    total = sum(SOURCES[name].images for name in PROFILES)
    with pq.ParquetWriter(path, schema.CATALOG, compression="zstd") as writer:
        for number, (name, profile) in enumerate(PROFILES.items()):
            rng = np.random.default_rng(number)
            left = round(rows * SOURCES[name].images / total)
            start = 0
            while left:
                size = min(left, ROW_GROUP)
                writer.write_table(_rows(name, profile, start, size, rng))
                start, left = start + size, left - size


def _rows(name: str, profile: dict, start: int, size: int, rng: np.random.Generator) -> pa.Table:
    """Return `size` rows of a source, numbered from `start`."""
    number = pa.array(np.char.mod("%08d", np.arange(start, start + size)).astype(object), pa.string())
    plate = pa.array([f"{name} plate {i}" for i in range(PLATES)]).take(pa.array(rng.integers(0, PLATES, size)))
    folder = pa.array([f"{name}/plate_{i}/images" for i in range(PLATES)]).take(pa.array(rng.integers(0, PLATES, size)))
    join = pa.compute.binary_join_element_wise
    files = [join(folder, join(number, f"_w{w}.tif", ""), "/") for w in (1, 2, 3)]
    columns = {field.name: pa.repeat(pa.scalar(schema.empty(field.name), field.type), size) for field in schema.CATALOG}
    columns |= {
        "idx": join(name, number, "-"),
        "database": pa.repeat(pa.scalar(SOURCES[name].database), size),
        "name": plate,
        "dir_name": pa.repeat(pa.scalar(name), size),
        "path": folder,
        "filename": join(number, "_w1.tif", ""),
        "microscopy": pa.repeat(pa.scalar("fluorescence"), size),
        "channels": join(*files, "|"),
        "stains": pa.repeat(pa.scalar("nucleus|actin|golgi"), size),
        "licence": pa.repeat(pa.scalar("CC BY 4.0"), size),
        "cell_visible": pa.repeat(pa.scalar("nucleus|actin|golgi"), size),
    }
    for column, (kinds, skew, filled) in profile.items():
        shares = 1 / np.arange(1, kinds + 1) ** skew
        code = rng.choice(kinds, size, p=shares / shares.sum()) + 1
        code[rng.random(size) > filled] = 0
        stem = column if column in ("organism", "cell_type") else f"{name} {column}"
        texts = ["", *(f"{stem} {i}" for i in range(kinds))]
        if column == "cell_visible":  # an image shows several structures
            second = rng.integers(0, 3, size)
            texts = ["", *(f"nucleus|{a}" if not b else f"nucleus|{a}|{texts[b]}" for b in range(3) for a in texts[1:])]
            code = np.where(code > 0, code + second * kinds, 0)
        columns[column] = pa.array(texts).take(pa.array(code))
    return pa.table([columns[field] for field in schema.CATALOG.names], schema=schema.CATALOG)


def measured(catalogue: Path, out: Path) -> tuple[float, float, float, dict]:
    """Run the command in a separate process; return seconds, CPU seconds, peak GB and its report."""
    code = (  # peak memory from /proc: `ru_maxrss` would include that of this process
        "import re, resource, sys, cytoimagenet\n"
        "sys.argv = ['cytoimagenet', *sys.argv[1:]]\n"
        "try:\n    cytoimagenet.main()\n"
        "finally:\n    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    peak = re.search('VmHWM:\\\\s+(\\\\d+)', open('/proc/self/status').read())[1]\n"
        "    print(used.ru_utime + used.ru_stime, peak, file=sys.stderr)\n"
    )
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", code, "label", str(catalogue), "--out", str(out)],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    report = json.loads(Path(str(out).replace(".parquet", ".report.json")).read_text())
    cpu, peak = map(float, ran.stderr.split()[-2:])
    return seconds, cpu, peak * 1024 / 1e9, report


def published_filter(frame: pd.DataFrame, column: str, label: str) -> pd.DataFrame:
    """Return the rows of one label, by the published description: search for the text in the values of every row."""
    found = frame[column].map(lambda value: label in value.split("|") if value else False)
    return frame[found & ~frame["assigned"]]


def published_sample(rows: pd.DataFrame, target: int, over: list[str]) -> pd.DataFrame:
    """Return a sample, by the published description: random fractions of every group until few enough rows are left."""
    while len(rows) > target * 1.05:
        part = max(target / len(rows), 0.5)
        rows = rows.groupby(over, group_keys=False)[rows.columns.tolist()].apply(pd.DataFrame.sample, frac=part)
    return rows


def published(catalogue: Path, report: dict, labels: int = 4) -> tuple[float, float]:
    """Return CPU seconds of the published algorithm: to find the rows of a label (mean of some), and to sample one."""
    frame = pq.read_table(catalogue).to_pandas()
    frame["assigned"] = False
    spread = report["classes"][:: max(len(report["classes"]) // labels, 1)][:labels]
    start = time.process_time()
    for label in spread:
        published_filter(frame, label["category"], label["label"].removesuffix(f" ({label['category']})"))
    filtered = (time.process_time() - start) / len(spread)
    many = sorted((label for label in report["classes"] if label["left"] > 1000), key=lambda label: label["left"])
    middle = many[len(many) // 2]
    rows = published_filter(frame, middle["category"], middle["label"].removesuffix(f" ({middle['category']})"))
    start = time.process_time()
    if len(rows) > 10_000:
        rows = published_sample(rows, 10_000, ["name", "organism", "cell_type"])
    over = ["organism", "cell_type", "cell_visible", "sirna", "compound", "phenotype"]
    published_sample(rows, 1000, [column for column in over if column != middle["category"]])
    return filtered, time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_700_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/cytoimagenet-benchmark-labels"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-published", action="store_true")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        make_catalogue(asked.make, asked.rows)
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    catalogue = asked.folder / f"catalog-{asked.rows}.parquet"
    if not catalogue.exists():
        partial = catalogue.with_suffix(".partial")
        # in a separate process, so that its memory is not counted here
        subprocess.run([sys.executable, __file__, "--rows", str(asked.rows), "--make", str(partial)], check=True)
        os.replace(partial, catalogue)
    runs = [measured(catalogue, asked.folder / "selection.parquet") for _ in range(asked.runs)]
    report = runs[0][-1]
    potential = sum(label["rows"] >= 287 for label in (*report["classes"], *report["skipped"]))
    sampled = sum(label["left"] > 1000 for label in report["classes"])
    twice = sum(label["left"] > 10_000 for label in report["classes"])
    print(f"{report['rows']:,} rows, {potential:,} potential labels, {len(report['classes']):,} classes,")
    print(f"{report['selected']:,} rows selected; {sampled:,} labels sampled, {twice:,} of them twice")
    print("\n| | seconds | CPU seconds | peak memory, GB |\n|---|---|---|---|")
    for run in runs:
        print(f"| `cytoimagenet label`, file to file | {run[0]:.1f} | {run[1]:.1f} | {run[2]:.2f} |")
    if not asked.no_published:
        filtered, sampling = published(catalogue, report)
        total = filtered * potential + sampling * sampled
        cpu = min(run[1] for run in runs)
        print(f"| published algorithm: rows of one label (mean of 4 labels) | | {filtered:.2f} | |")
        print(f"| published algorithm: sampling of the median sampled label | | {sampling:.1f} | |")
        print(
            f"| published algorithm: complete, **extrapolated** from these | | {total:,.0f} ({total / cpu:,.0f}x) | |"
        )


if __name__ == "__main__":
    main()
