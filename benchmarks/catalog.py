"""Time and memory of the catalogue of all 40 sources at full size, from file lists alone.

    python benchmarks/catalog.py                     # all sources at the size given in the registry
    python benchmarks/catalog.py --fraction 0.02     # a fiftieth of it

Every source is simulated as a file list (`files.txt`) and its publisher's tables, then catalogued in a separate
process. In the same run, one source is grouped into rows with plain pandas (`str.extract`, `groupby`) and with our
code.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

TARGET_ROWS, TARGET_SECONDS, TARGET_GIB = 2_700_000, 300, 4
IMAGES_PER_FIELD = {"bbbc010": 2, "bbbc012": 2, "bbbc041": 8, "kag_hpa": 4, "kag_hpa_single": 4}
COMPARED = "rec_rxrx1"  # source that is also grouped with plain pandas

SIMULATE = """
import sys
from cytoimagenet.builder.simulate.source import simulate_source
simulate_source(sys.argv[1], sys.argv[2], seed=0, fields=int(sys.argv[3]), pixels=False)
"""
PLAIN = """
import re, sys, time
import pandas as pd
from cytoimagenet import SOURCES
source = SOURCES[sys.argv[2]]
start = time.perf_counter()
lines = open(f"{sys.argv[1]}/{source.dir_name}/files.txt").read().split("\\n")
files = pd.Series(sorted(line for line in lines if line))
found = files.str.replace(r"\\.[a-z]+$", "", regex=True).str.extract(source.pattern, flags=re.IGNORECASE)
found["file"] = files
found["rank"] = found["channel"].map({name: rank for rank, name in enumerate(source.stains)})
keys = [name for name in found.columns if name not in ("channel", "file", "rank")]
rows = found.sort_values("rank", kind="stable").groupby(keys, dropna=False)["file"].agg("|".join)
print(time.perf_counter() - start, len(rows))
"""
OURS = """
import sys, time
from cytoimagenet import SOURCES
from cytoimagenet.builder.sources.rows import gather
from cytoimagenet.builder.sources.folder import Folder
start = time.perf_counter()
rows = gather(SOURCES[sys.argv[2]], Folder(f"{sys.argv[1]}/{sys.argv[2]}", sys.argv[2]))
print(time.perf_counter() - start, len(rows))
"""


def run(code: str, *arguments: object) -> str:
    """Run Python code in a separate process and return what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Simulate the sources, catalogue them, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--work", type=Path, default=Path("/tmp/cytoimagenet-bench-catalog"))
    parser.add_argument("--keep", action="store_true", help="keep the simulated lists, and use them in the next run")
    options = parser.parse_args()
    from cytoimagenet import SOURCES

    raw = options.work / f"raw-{options.fraction}"
    start = time.perf_counter()
    for name, source in SOURCES.items():
        fields = max(1, round(source.images * options.fraction / IMAGES_PER_FIELD.get(name, 1)))
        if not (raw / name / "files.txt").exists():
            run(SIMULATE, name, raw, fields)
    simulated = time.perf_counter() - start

    out = options.work / "catalog.parquet"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    start = time.perf_counter()
    code = (
        "import resource, sys, json; from cytoimagenet.builder.sources.catalog import write_catalog; "
        "made = write_catalog(sys.argv[1], sys.argv[2]); "
        "print(json.dumps({'rss': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "
        "'counts': [c.to_dict() for c in made.counts]}))"
    )
    result = json.loads(run(code, raw, out))
    seconds = time.perf_counter() - start
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    files = sum(count["listed"] for count in result["counts"])
    rows = sum(count["rows"] for count in result["counts"])
    assert all(c["listed"] == c["used"] + sum(c["skipped"].values()) for c in result["counts"])
    plain, plain_rows = run(PLAIN, raw, COMPARED).split()
    ours, ours_rows = run(OURS, raw, COMPARED).split()
    assert plain_rows == ours_rows

    print(f"(lists of {len(result['counts'])} sources simulated in {simulated:.0f} s, which is not counted)\n")
    print("| work | size | time | memory | target |")
    print("|---|---|---|---|---|")
    size, gib = f"{files:,} files, {rows:,} rows", result["rss"] / 2**20
    target = f"{TARGET_ROWS:,} rows in <= {TARGET_SECONDS} s and <= {TARGET_GIB} GiB"
    ratio = f"{float(plain) / float(ours):.1f} times as fast as plain pandas"
    print(f"| complete catalogue to Parquet | {size} | {seconds:.0f} s ({cpu:.0f} s CPU) | {gib:.2f} GiB | {target} |")
    print(f"| {COMPARED} grouped with plain pandas | {plain_rows} rows | {float(plain):.1f} s | | |")
    print(f"| {COMPARED} grouped with `gather` | {ours_rows} rows | {float(ours):.1f} s | | {ratio} |")
    slowest = sorted(result["counts"], key=lambda count: -count["listed"])[:5]
    print("\nLargest: " + ", ".join(f"{c['source']} {c['listed']:,} files, {c['rows']:,} rows" for c in slowest))
    if not options.keep:
        shutil.rmtree(options.work)


if __name__ == "__main__":
    main()
