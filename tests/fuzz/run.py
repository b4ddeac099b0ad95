"""Fuzz our parsers with Atheris, which changes inputs so that they reach further lines of our code.

python -m tests.fuzz.run --runs 300 --seed 1 [--only NAME] [--save FOLDER]

Each parser is fuzzed in a process of its own. An input that makes one fail is written to FOLDER.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cytoimagenet"]):
    from tests.fuzz import targets


def fuzz(name: str, given: argparse.Namespace) -> int:
    """Fuzz one parser in a fork of this process; return the status it ended with, 0 if there was no finding."""
    target = targets.TARGETS[name]
    save = Path(given.save, name.replace(" ", "-"))
    save.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-fuzz-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, data in enumerate(target.seeds()):
            if len(data) <= targets.MAX_SEED_BYTES:
                (corpus / f"{number:04d}").write_bytes(data)
        if given.corpus is not None:
            kept = Path(given.corpus, name.replace(" ", "-"))
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copytree(corpus, kept, dirs_exist_ok=True)
            corpus = kept
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            targets.FOLDER = Path(folder, "work")
            limit = [f"-runs={given.runs}"] if given.seconds is None else [f"-max_total_time={given.seconds}"]
            options = [f"-seed={given.seed}", f"-timeout={given.timeout}", "-rss_limit_mb=3000", "-print_final_stats=1",
                       f"-max_len={targets.MAX_SEED_BYTES}", f"-artifact_prefix={save}-"]  # fmt: skip
            atheris.Setup([sys.argv[0], *limit, *options, str(corpus)], target.parse)
            atheris.Fuzz()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Fuzz the parsers one after the other; exit with the number of those with a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[*targets.TARGETS], help="fuzz this parser; default: all")
    parser.add_argument("--runs", type=int, default=300, help="inputs for each parser")
    parser.add_argument("--seconds", type=int, help="fuzz each parser for this time instead")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the changes, at least 1")
    parser.add_argument("--timeout", type=int, default=60, help="seconds after which one input is a finding")
    parser.add_argument("--save", default=".", help="folder for inputs that make a parser fail")
    parser.add_argument("--corpus", help="folder for inputs that reach further lines; used again by the next run")
    given = parser.parse_args()
    found = 0
    for name in given.only or targets.TARGETS:
        status = fuzz(name, given)
        print(f"{name}: {'no finding' if status == 0 else f'FINDING, status {status}'}", flush=True)
        found += status != 0
    sys.exit(found)


if __name__ == "__main__":
    main()
