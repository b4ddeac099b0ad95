"""results.json: every score with its settings, merged by key, written atomically.

The document::

    {
      "format": "cytoimagenet-results", "schema_version": 1,
      "versions": {"cytoimagenet": "0.1.0", "python": ..., "numpy": ..., ...},
      "results": [entry, ...],      sorted by key; one per (task, split, score, model, preprocess, settings)
      "paired": [comparison, ...],  between two models on the same samples, computed from the predictions
      "not_compared": [...]         models of the same test that could not be compared, with the reason
    }

An entry (`ENTRY` names the fields that are always there): shares are between 0 and 1; `interval` and `bootstrap` have
`low` and `high`; `confusion` has one row per true class and a last column of unclassified samples; `beside` marks a
score under a standardisation that was not chosen. `predictions/<key>.parquet` in the same folder contains id, label,
predicted and group. `docs/evaluation.md` documents every field.
"""

from __future__ import annotations

import json
import platform
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...builder.errors import SchemaError
from ...builder.storage import atomic_writer, write_atomic
from ...builder.versions import versions_of
from .paired import compare
from .score import Result

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "cytoimagenet-results"
SCHEMA_VERSION = 1
ENTRY: dict[str, tuple[type, ...]] = {
    "key": (str,),
    "task": (str,),
    "split": (str,),
    "score": (str,),
    "model": (str,),
    "preprocess": (str,),
    "beside": (bool,),
    "value": (float, int),
    "correct": (int, type(None)),
    "n": (int,),
    "interval": (dict,),
    "bootstrap": (dict, type(None)),
    "settings": (dict,),
    "digest": (str,),
    "rows": (int,),
    "left_out": (int,),
}
LISTS = ("results", "paired", "not_compared")
PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "copairs", "torch", "transformers", "openvino")


def read(out: str | PathLike[str]) -> dict[str, Any]:
    """Read the document in a folder of results, or return an empty one if there is none yet.

    Raises
    ------
    SchemaError
        If the file is damaged or another document.
    """
    path = Path(out) / "results.json"
    if not path.is_file():
        return {"format": FORMAT, "schema_version": SCHEMA_VERSION, "versions": {}, **{name: [] for name in LISTS}}
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise SchemaError(f"Not JSON: {error}", where=path, next="Move it away and run the evaluation again") from error
    check(document, path)
    return document


def check(document: Any, where: str | PathLike[str] = "results.json") -> None:
    """Check a document of results.

    Raises
    ------
    SchemaError
        If it has another format or version, or a field of an entry is missing or has another type.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SchemaError(f"Not a document of the format {FORMAT}", where=where)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise SchemaError(f"Schema version {document.get('schema_version')} is not {SCHEMA_VERSION}", where=where)
    entries: Any = document.get("results")
    lists = (entries, document.get("paired"), document.get("not_compared", []))
    if not all(isinstance(one, list) for one in lists):
        raise SchemaError("`results`, `paired` and `not_compared` must be lists", where=where)
    for number, entry in enumerate(entries):
        for name, kinds in ENTRY.items():
            if not isinstance(entry, dict) or name not in entry or not isinstance(entry[name], kinds):
                raise SchemaError(f"Entry {number}: {name!r} is missing or has another type", where=where)
        if not 0 <= entry["value"] <= 1:
            raise SchemaError(f"Entry {number}: {entry['value']} is not between 0 and 1", where=where)
    keys = [entry["key"] for entry in entries]
    if len(set(keys)) != len(keys):
        raise SchemaError("Two entries have the same key", where=where)


def merge(out: str | PathLike[str], result: Result) -> dict[str, Any]:
    """Write a result into the document of a folder; a score with the same key is replaced.

    Predictions are written first and the document last, so that it never names a missing file. `pair` updates the
    comparisons.
    """
    out = Path(out)
    document = read(out)
    for key, predictions in result.predictions.items():
        _write_table(out / "predictions" / f"{key}.parquet", predictions)
    entries = {entry["key"]: entry for entry in [*document["results"], *result.entries]}
    in_order = [entries[key] for key in sorted(entries)]
    return _write(out, in_order, document["paired"], document.get("not_compared", []))


def pair(out: str | PathLike[str]) -> dict[str, Any]:
    """Compare all models of a folder of results and write the comparisons into its document."""
    entries = read(out)["results"]
    _write(Path(out), entries, *compare(Path(out), entries))
    return read(out)


def _write(
    out: Path, entries: list[dict[str, Any]], paired: list[dict[str, Any]], not_compared: list[dict[str, Any]]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "results": entries,
        "paired": paired,
        "not_compared": not_compared,
    }
    check(document)
    # one entry per line, so that two documents can be compared line by line
    head = _json({name: document[name] for name in ("format", "schema_version", "versions")})[:-1]
    lists = [f'"{name}": [\n' + ",\n".join(map(_json, document[name])) + "\n]" for name in LISTS]
    write_atomic(out / "results.json", (",\n".join([head, *lists]) + "}\n").encode())
    return document


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that scores may depend on."""
    return {"python": platform.python_version(), **versions_of("cytoimagenet", *PACKAGES)}


def _write_table(path: Path, table: pd.DataFrame) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_writer(path) as file:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), file, compression="zstd")
