"""The columns of the dataset in the types of `datasets`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from .. import schema
from .manifest import Manifest


def card_features(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the columns as plain `datasets` reads them, in the card's YAML form."""
    names = {str(i): label for i, label in enumerate(manifest.class_names)}
    label = {"class_label": {"names": names}}
    columns = [{"name": "key", "dtype": "string"}, *({"name": f.name, "dtype": dtype(f.type)} for f in schema.ROW)]
    if manifest.shard_format == "parquet":
        rest = [column for column in columns if column["name"] != "label"]
        return [{"name": "image", "dtype": "image"}, {"name": "label", "dtype": label}, *rest]
    return [{"name": "png", "dtype": "image"}, {"name": "cls", "dtype": label}, {"name": "json", "struct": columns}]


def parquet_features(class_names: list[str]) -> dict[str, Any]:
    """Return the columns of the Parquet twin in the form `datasets` keeps inside Parquet files."""
    columns: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": class_names, "_type": "ClassLabel"},
        "key": {"dtype": "string", "_type": "Value"},
    }
    for field in schema.ROW:
        columns.setdefault(field.name, {"dtype": dtype(field.type), "_type": "Value"})
    return columns


def dtype(kind: pa.DataType) -> str:
    """Return how `datasets` names an Arrow type of our schema."""
    return {"double": "float64"}.get(str(kind), str(kind))
