"""Fuzz every parser of ours with Atheris for some time; print a table, and exit with 1 if there is a finding.

    python benchmarks/fuzz.py --minutes 10                          # the table of docs/benchmarks/fuzz.md
    python benchmarks/fuzz.py --minutes 60 --corpus ~/fuzz-corpus   # starts from the inputs of the run before

Inputs that make a parser fail are written to the folder of `--save`. `lines` is the number of places of our Python code
that were reached, as Atheris counts them; it does not see the libraries in C that decode pixels.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INPUTS, LINES, PEAK = r"number_of_executed_units: *(\d+)", r"cov: (\d+)", r"peak_rss_mb: *(\d+)"  # as libFuzzer prints


def last(pattern: str, text: str) -> str:
    """Return what the last match of a pattern found, with thousands separated; `?` if there is none."""
    found = re.findall(pattern, text)
    return f"{int(found[-1]):,}" if found else "?"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="time for all parsers")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the changes, at least 1")
    parser.add_argument("--only", action="append", choices=[*TARGETS], help="fuzz this parser; default: all")
    parser.add_argument("--save", default="fuzz-findings", help="folder for inputs that make a parser fail")
    parser.add_argument("--corpus", help="folder for inputs that reach further lines; used again by the next run")
    given = parser.parse_args()
    names = given.only or list(TARGETS)
    seconds = max(1, round(60 * given.minutes / len(names)))
    print("| parser | inputs | lines | CPU, s | peak MB | findings |\n|" + "---|" * 6, flush=True)
    findings = 0
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz.run", "--only", name, "--seconds", str(seconds),
                   "--seed", str(given.seed), "--save", str(Path(given.save).resolve())]  # fmt: skip
        command += ["--corpus", str(Path(given.corpus).resolve())] if given.corpus else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        findings += ended.returncode != 0
        inputs, lines, peak = (last(pattern, ended.stdout) for pattern in (INPUTS, LINES, PEAK))
        print(f"| {name} | {inputs} | {lines} | {cpu:.0f} | {peak} | {int(ended.returncode != 0)} |", flush=True)
        if ended.returncode != 0:
            print(ended.stdout[-3000:], file=sys.stderr, flush=True)
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
