"""Nearest neighbours: our search of all rows at once, compared with one faiss query per row, as published.

    python benchmarks/eval.py              # full size, about 3 minutes on two cores
    python benchmarks/eval.py --small      # a tenth of the rows, to test the script

The published code queries a flat faiss index one row at a time. That is timed on some queries, half of them before
our search and half after it, and extrapolated. Our search runs in a separate process, to measure its peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

FEATURES, NEIGHBOURS, TARGET_RATIO, TARGET_GB = 2560, 11, 20.0, 2.0
CASES = {
    "CYCLoPs, leave one out": (27_000, 0),
    "COOS-7, test 3 in train": (41_456, 32_596),
}


def features(rows: int, seed: int) -> np.ndarray:
    """Return rows around 20 centres, on axes with decreasing weights, similar to the features of a network."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((20, FEATURES), dtype=np.float32)
    made = rng.standard_normal((rows, FEATURES), dtype=np.float32)
    made *= np.linspace(2, 0.2, FEATURES, dtype=np.float32)
    made += 0.3 * centres[rng.integers(0, 20, rows)]
    return made


def one_by_one(index, queries: np.ndarray, k: int) -> float:
    begun = time.perf_counter()
    for row in range(len(queries)):
        index.search(queries[row : row + 1], k)
    return time.perf_counter() - begun


def ours(rows: int, asked: int) -> None:
    """Time our search (called in a separate process); print seconds, peak memory and the first neighbours as JSON."""
    from cytoimagenet.eval.scores.neighbours import nearest

    candidates = features(rows, 1)
    queries = features(asked, 2) if asked else candidates
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    begun = time.perf_counter()
    index, _ = nearest(queries, candidates, NEIGHBOURS, "euclidean", itself=not asked)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "input": start, "peak": peak, "first": index[:200].tolist()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--queries", type=int, default=200, help="number of faiss queries that are timed")
    parser.add_argument("--ours", nargs=2, type=int, metavar=("ROWS", "ASKED"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.ours:
        ours(*chosen.ours)
        return
    import faiss

    print("| neighbours | one faiss query per row (extrapolated) | ours | ratio | same neighbours | peak memory |")
    print("|---|---|---|---|---|---|")
    for name, sizes in CASES.items():
        rows, asked = (size // 10 if chosen.small else size for size in sizes)
        candidates = features(rows, 1)
        queries = (features(asked, 2) if asked else candidates)[: chosen.queries]
        index = faiss.IndexFlatL2(FEATURES)
        index.add(candidates)
        k = NEIGHBOURS + (not asked)
        half = len(queries) // 2
        before = one_by_one(index, queries[:half], k)
        done = subprocess.run(
            [sys.executable, __file__, "--ours", str(rows), str(asked)], capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stderr)
        found = json.loads(done.stdout)
        after = one_by_one(index, queries[half:], k)
        whole = (before + after) / len(queries) * (asked or rows)
        theirs = index.search(queries, k)[1]
        if not asked:  # the published code leaves out the first neighbour, which should be the row itself
            theirs = theirs[:, 1:]
        same = np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(theirs, found["first"], strict=False)])
        shown = f"{asked or rows:,} in {rows:,} x {FEATURES:,}"
        ratio, memory = whole / found["seconds"], f"{found['peak']:.2f} GB, {found['input']:.2f} of it the input"
        print(
            f"| {name}: {shown} | {whole:,.0f} s | {found['seconds']:,.1f} s | {ratio:.1f} (target {TARGET_RATIO:.0f}) "
            f"| {100 * same:.2f} % | {memory} (target {TARGET_GB:.0f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
