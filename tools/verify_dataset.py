#!/usr/bin/env python3
"""Check the files of a CytoImageNet dataset folder against its manifest. Needs Python 3.9 or newer and no package.

    python3 verify_dataset.py DIR

This file depends on nothing of the software that wrote the folder: copy it, read it, run it. It checks that

- `manifest.json` is unchanged since it was written: its digest, its seal and its form;
- it names only files that a dataset folder has;
- every file that it names exists, with the recorded number of bytes and sha256, and there are no others.

It does not look into the files; `cytoimagenet verify` also checks every image, table and tar header. Neither shows who
wrote the folder: anybody can write one that agrees with itself. For that, check its signature, if it has one:

    python3 -m pip install model-signing pyopenssl
    python3 -m model_signing verify key DIR/manifest.json --signature DIR/manifest.sig --public_key public.pem

The exit code is 0 if there is no problem, otherwise 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys

MAX_MANIFEST_BYTES = 1 << 26
SCHEMAS = ("1", "2")  # first numbers of the `schema_version`
SPLITS = ("train", "validation", "sample")
TABLES = ("metadata.parquet", "classes.parquet", "rejected.parquet")
FORMATS = {"webdataset": "tar", "parquet": "parquet"}
NAMES = {
    # per key of the manifest that lists files: the patterns of the names it may contain
    "files": (
        r"metadata\.parquet",
        r"classes\.parquet",
        r"rejected\.parquet",
        r"data/(?:train|validation|sample)-[0-9]{5,9}-of-[0-9]{5,9}\.(?:tar|parquet)",
    ),
    "pages": (r"README\.md", r"croissant\.json", r"preview\.png", r"LICENSE\.md"),
    "derived": (r"quality\.parquet", r"audit\.html", r"embeddings/[a-z0-9][a-z0-9._-]{0,79}\.parquet"),
}
OUTSIDE_THE_DIGEST = ("digest", "versions", "pages", "derived", "seal")
KEYS = {
    "format": str, "schema_version": str, "shard_format": str, "settings": dict, "seed": int, "versions": dict,
    "classes": list, "splits": dict, "files": dict, "counts": dict, "pages": dict, "digest": str, "seal": str,
}  # fmt: skip
ENTRIES = {
    "classes": {"label": str, "category": str, "train": int, "validation": int},
    "splits": {"rows": int, "bytes": int, "shards": int},
    "files": {"rows": int, "bytes": int, "sha256": str},
    "pages": {"bytes": int, "sha256": str},
    "derived": {"rows": int, "bytes": int, "sha256": str, "settings": dict},
}
# written by git, the Hub and Finder
HARMLESS_FOLDERS = (".cache/", ".git/", ".unfinished/")  # the last one: of an interrupted `shard` or `embed`
HARMLESS_FILES = (".gitattributes", ".gitignore", ".DS_Store")


def check(root: str) -> list[str]:
    """Return the problems of a dataset folder."""
    try:
        manifest = read_manifest(os.path.join(root, "manifest.json"))
    except (OSError, ValueError, RecursionError) as error:
        return [f"manifest.json: {str(error) or type(error).__name__}"]
    return [*check_sums(manifest), *check_files(root, manifest)]


def read_manifest(path: str) -> dict:
    """Read a manifest and check digest, seal and form. A ValueError says what is wrong."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        raw = file.read(MAX_MANIFEST_BYTES + 1)
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ValueError(f"larger than {MAX_MANIFEST_BYTES:,} bytes")
    manifest = json.loads(raw)
    check_form(manifest)
    for name, outside in (("digest", OUTSIDE_THE_DIGEST), ("seal", ("seal",))):
        content = {key: value for key, value in manifest.items() if key not in outside}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        if hashlib.sha256(text.encode()).hexdigest() != manifest[name]:
            raise ValueError(f"it was altered: its {name} does not match its content")
    if (json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode() != raw:
        raise ValueError("it was altered: it is not written in the form that its content has")
    return manifest


def check_form(manifest: object) -> None:
    """Refuse what is not a manifest, before anything uses it."""
    if not isinstance(manifest, dict) or manifest.get("format") != "cytoimagenet":
        raise ValueError("not the manifest of a CytoImageNet dataset")
    for name, kind in KEYS.items():
        if not isinstance(manifest.get(name), kind):
            raise ValueError(f"{name} is absent or of another type")
    own = manifest.get("own_sources", {})
    if not isinstance(own, dict) or not all(isinstance(facts, dict) for facts in own.values()):
        raise ValueError("own_sources is of another type")
    if not all(isinstance(fact, str) for facts in own.values() for fact in facts.values()):
        raise ValueError("an entry of own_sources is not text")
    if not isinstance(manifest.get("derived", {}), dict):
        raise ValueError("keys absent or of another type: derived")
    if manifest["schema_version"].split(".")[0] not in SCHEMAS:
        raise ValueError(f"schema version {manifest['schema_version']!r}; this program reads {' and '.join(SCHEMAS)}")
    if manifest["shard_format"] not in FORMATS:
        raise ValueError("unknown format of shards")
    for part, kinds in ENTRIES.items():
        content = manifest.get(part, {})
        for entry in content if isinstance(content, list) else content.values():
            if not isinstance(entry, dict) or any(type(entry.get(key)) is not kind for key, kind in kinds.items()):
                raise ValueError(f"an entry of {part} lacks one of {', '.join(kinds)}")
    for part in NAMES:
        for name, entry in manifest.get(part, {}).items():
            if not may_have(part, name, manifest["shard_format"]):
                raise ValueError(f"it names a file that a dataset folder does not have: {name[:120]!r}")
            if len(entry["sha256"]) != 64 or entry["bytes"] < 0 or entry.get("rows", 0) < 0:
                raise ValueError(f"no valid size and sha256 for {name}")


def may_have(part: str, name: str, shard_format: str) -> bool:
    """Return whether a key of the manifest that lists files may contain this name."""
    if not re.fullmatch("|".join(NAMES[part]), name):
        return False
    shard = re.fullmatch(r"data/[a-z]+-([0-9]+)-of-([0-9]+)\.([a-z]+)", name)
    return not shard or (shard[3] == FORMATS[shard_format] and int(shard[1]) < int(shard[2]))


def check_sums(manifest: dict) -> list[str]:
    """Return what is wrong with the numbers of the manifest."""
    problems = [f"{name}: not in the manifest" for name in TABLES if name not in manifest["files"]]
    for split, entry in manifest["splits"].items():
        shards = [one for name, one in manifest["files"].items() if name.startswith(f"data/{split}-")]
        sums = {"rows": sum(s["rows"] for s in shards), "bytes": sum(s["bytes"] for s in shards), "shards": len(shards)}
        if any(entry[name] != value for name, value in sums.items()):
            problems.append(f"manifest.json: split {split!r} is not the sum of its shards")
    return problems


def check_files(root: str, manifest: dict) -> list[str]:
    """Return what is wrong with the files."""
    expected = {name: entry for part in NAMES for name, entry in manifest.get(part, {}).items()}
    problems = [] if "README.md" in expected else ["README.md: absent; without it `datasets` does not know the columns"]
    for name, entry in expected.items():
        path = os.path.join(root, *name.split("/"))
        try:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                problems.append(f"{name}: not a regular file")
            elif found.st_size != entry["bytes"]:
                problems.append(f"{name}: {found.st_size:,} bytes; the manifest records {entry['bytes']:,}")
            elif sha256_of(path) != entry["sha256"]:
                problems.append(f"{name}: sha256 differs, the file was damaged or altered")
        except OSError as error:
            problems.append(f"{name}: {error.strerror or error}")
    for name in sorted(names_below(root) - set(expected) - {"manifest.json", "manifest.sig"}):
        if not name.startswith(HARMLESS_FOLDERS) and name.rsplit("/", 1)[-1] not in HARMLESS_FILES:
            problems.append(f"{name!r}: unexpected")
    return problems


def sha256_of(path: str) -> str:
    """Return the sha256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def names_below(root: str) -> set[str]:
    """Return the names of all files of a folder, with `/` between folders."""
    names = set()
    for folder, _, files in os.walk(root):
        inner = os.path.relpath(folder, root).replace(os.sep, "/")
        names |= {name if inner == "." else f"{inner}/{name}" for name in files}
    return names


def main() -> int:
    """Check the folder named on the command line; return the exit code."""
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    problems = check(sys.argv[1])
    for problem in problems:
        print(problem.encode("ascii", "backslashreplace").decode())
    print(f"{len(problems):,} problems" if problems else "Complete and undamaged. Not checked: who wrote it.")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
