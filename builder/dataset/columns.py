"""The columns of the dataset in the types that `datasets` uses."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from .. import schema
from .manifest import Manifest


def card_features(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the columns of a folder as the YAML of its card lists them, for `datasets` without this package."""
    names = {str(i): label for i, label in enumerate(manifest.class_names)}
    label = {"class_label": {"names": names}}
    present = schema.of_version(schema.ROW, manifest.schema_version)
    columns = [{"name": "key", "dtype": "string"}, *({"name": f.name, "dtype": _dtype(f.type)} for f in present)]
    if manifest.shard_format == "parquet":
        rest = [column for column in columns if column["name"] != "label"]
        return [{"name": "image", "dtype": "image"}, {"name": "label", "dtype": label}, *rest]
    return [{"name": "png", "dtype": "image"}, {"name": "cls", "dtype": label}, {"name": "json", "struct": columns}]


def parquet_features(class_names: list[str]) -> dict[str, Any]:
    """Return the columns of a Parquet shard in the form `datasets` stores inside Parquet files."""
    columns: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": class_names, "_type": "ClassLabel"},
        "key": {"dtype": "string", "_type": "Value"},
    }
    for field in schema.ROW:
        columns.setdefault(field.name, {"dtype": _dtype(field.type), "_type": "Value"})
    return columns


def _dtype(kind: pa.DataType) -> str:
    """Return the name that `datasets` gives to an Arrow type of our schema."""
    return {"double": "float64"}.get(str(kind), str(kind))
