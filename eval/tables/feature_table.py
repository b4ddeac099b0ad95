"""Tables of features as other programs write them: Parquet, CSV or npz, with keys and numbers."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd

from ...builder.bounded_parquet import ALWAYS_ALLOWED_BYTES, MAX_RATIO, BoundedParquet
from ...builder.errors import SchemaError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEYS = {
    "id": ("id", "key", "sample", "sample_id", "image_id"),
    "plate": ("plate", "plate_dapi", "plate_name", "plate_id", "assay_plate_barcode"),
    "well": ("well", "well_dapi", "well_position", "well_id"),
    "site": ("site", "field", "fov"),
    "week": ("week", "batch"),
    "compound": ("compound", "compound_name", "pert_iname"),
    "concentration": ("concentration", "conc", "dose", "compound_concentration"),
    "label": ("label", "moa", "mechanism", "class", "labels"),
    "group": ("group", "groups"),
    "split": ("split",),
}
"""Our name of a key column, and its usual names (also after `Metadata_` or `Image_Metadata_`, in any case)."""

NOT_FEATURES = {"imagenumber", "tablenumber", "objectnumber", "index", "replicate", "level_0"}
"""Columns of numbers that CellProfiler and pandas write in addition to the features."""

ROWS_PER_BATCH = 4096  # of a Parquet file
SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz", ".npz")
_METADATA = re.compile(r"^(?:image_)?metadata_", re.IGNORECASE)
_KEY_OF = {name: key for key, names in KEYS.items() for name in names}


@dataclass(frozen=True)
class Named:
    """Which columns are keys although they are called otherwise; see `read_table`."""

    columns: Mapping[str, str]
    may_be_absent: frozenset[str] = frozenset()
    may_be_empty: frozenset[str] = frozenset()

    def keys_of(self, found: Sequence[str], source: str) -> dict[str, str | None]:
        """Return what each column is, as `key_of` does.

        Raises
        ------
        UsageError
            If a column is missing or named for two keys.
        """
        keys = {column: key_of(column) for column in found}
        named: dict[str, str] = {}
        for key, name in self.columns.items():
            column = next((one for one in (name, f"Metadata_{name}") if one in keys), None)
            if column is None and key in self.may_be_absent:
                continue
            if column is None:
                others = ", ".join(one for one, usually in keys.items() if usually is not None)
                raise UsageError(
                    f"There is no column {name!r} for the {key}",
                    where=source,
                    next=f"Columns that describe a row are {others[:300]}" if others else None,
                )
            if column in named:
                raise UsageError(f"The column {column!r} can't be both {named[column]} and {key}", where=source)
            named[column] = key
        # a column with the usual name of such a key only describes the row
        return {one: "" if key in self.columns else key for one, key in keys.items()} | named


@dataclass(frozen=True)
class FeatureTable:
    """Features with the keys of their rows.

    Attributes
    ----------
    keys : DataFrame
        One row per row of `values`; the columns are some of `KEYS`.
    values : array, shape (rows, features), float32 or float64
    names : list of str
        Names of the features.
    source : str
        Where the table comes from; named in errors.
    """

    keys: pd.DataFrame
    values: NDArray[np.floating]
    names: list[str]
    source: str

    def digest(self) -> str:
        """Return a SHA-256 of keys and values."""
        result = hashlib.sha256(self.keys.to_csv(index=False).encode())
        result.update(np.ascontiguousarray(self.values).view(np.uint8).data)
        return result.hexdigest()


def is_table(source: object) -> TypeGuard[str | PathLike[str] | pd.DataFrame | FeatureTable]:
    """Return whether this is a table of features, or by its suffix the path of one; otherwise it names a network.

    Examples
    --------
    >>> is_table("profiles.csv.gz"), is_table("imagenet"), is_table("runs/first")
    (True, False, False)
    """
    if isinstance(source, str | PathLike):
        return str(source).lower().endswith(SUFFIXES)
    return isinstance(source, pd.DataFrame | FeatureTable)


def read_table(
    source: str | PathLike[str] | pd.DataFrame | FeatureTable,
    columns: Mapping[str, str] | None = None,
    *,
    may_be_absent: Collection[str] = (),
    may_be_empty: Collection[str] = (),
) -> FeatureTable:
    """Read a table of features.

    Parameters
    ----------
    source : path, DataFrame or FeatureTable
        `.parquet`, `.csv` (`.csv.gz`), or `.npz` with one two-dimensional array of numbers and one-dimensional arrays
        of keys. Columns named as in `KEYS` (with or without `Metadata_`) are keys; other `Metadata_` columns and text
        are ignored; all other numbers are features.
    columns : mapping of str to str, optional
        For keys in a column of another name: key to column, such as `{"label": "phenotype"}`. `Metadata_` may be left
        out. These columns are text: `01` is not `1`.
    may_be_absent : collection of str
        Keys of `columns` that the table may lack.
    may_be_empty : collection of str
        Keys that a row may lack; they become "".

    Raises
    ------
    UsageError
        If the file is missing, damaged or of another kind, has no key or no feature, or lacks one of `columns`.

    Examples
    --------
    >>> table = read_table(pd.DataFrame({"Metadata_Plate": ["p1"], "Metadata_Well": ["B02"], "Cells_Area": [310.5]}))
    >>> list(table.keys), table.names, table.values.tolist()
    (['plate', 'well'], ['Cells_Area'], [[310.5]])
    """
    if isinstance(source, FeatureTable):
        return source
    named = Named(columns or {}, frozenset(may_be_absent), frozenset(may_be_empty))
    if isinstance(source, pd.DataFrame):
        return _split(source, "the table given", named)
    path = Path(source)
    if not path.is_file():
        raise UsageError("There is no such table of features", where=path)
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return _from_parquet(path, named)
        if name.endswith((".csv", ".csv.gz")):
            kinds = named.keys_of(list(pd.read_csv(path, nrows=0).columns), str(path))
            text = [column for column, key in kinds.items() if key in named.columns]
            return _split(pd.read_csv(path, dtype=dict.fromkeys(text, str)), str(path), named)
        if name.endswith(".npz"):
            return _from_npz(path, named)
    except UsageError:
        raise
    except SchemaError as error:
        raise UsageError(f"Not a readable table: {error.what}", where=path) from error
    except Exception as error:  # zip, numpy, Arrow and pandas raise errors of every kind for damaged files
        raise UsageError(f"Not a readable table: {str(error) or type(error).__name__}", where=path) from error
    raise UsageError("A table of features is a .parquet, .csv, .csv.gz or .npz file", where=path)


def key_of(column: str) -> str | None:
    """Return the key that a column is: one of `KEYS`, "" for a column that is ignored, None for a feature.

    Examples
    --------
    >>> key_of("Image_Metadata_Plate_DAPI"), key_of("ImageNumber"), key_of("Cells_AreaShape_Area")
    ('plate', '', None)
    """
    plain = _METADATA.sub("", column)
    key = _KEY_OF.get(plain.lower())
    if key is None and (plain != column or plain.lower() in NOT_FEATURES or plain.startswith("Unnamed:")):
        return ""
    return key


def _split(frame: pd.DataFrame, source: str, named: Named) -> FeatureTable:
    keys, names, frame = _columns(frame, source, named)
    single = {frame[name].dtype for name in names} == {np.dtype(np.float32)}
    values = np.empty((len(frame), len(names)), np.float32 if single else np.float64)
    for i, name in enumerate(names):
        values[:, i] = frame[name].to_numpy(dtype=values.dtype, na_value=np.nan)
    return _checked(keys, values, names, source, named)


def _columns(frame: pd.DataFrame, source: str, named: Named) -> tuple[pd.DataFrame, list[str], pd.DataFrame]:
    """Return the keys, the names of the features, and the table with its index among the columns."""
    if frame.index.name is not None and key_of(str(frame.index.name)):
        frame = frame.reset_index()
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise UsageError(f"Two columns have the name {repeated[0]!r}", where=source)
    keys: dict[str, pd.Series] = {}
    names = []
    for column, key in named.keys_of(list(frame.columns), source).items():
        if key:
            if key in keys:
                raise UsageError(f"Two columns contain the {key}; {column!r} is the second", where=source)
            keys[key] = frame[column]
        elif key is None and pd.api.types.is_numeric_dtype(frame[column]) and not _is_bool(frame[column]):
            names.append(column)
    return pd.DataFrame(keys), names, frame


def _from_parquet(path: Path, named: Named) -> FeatureTable:
    """Read features in batches of rows, without a second copy of a table that may take half of the memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bounded = BoundedParquet(str(path), path)
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        keys_of = named.keys_of(schema.names, str(path))
        kinds = {
            field.name: field.type
            for field in schema
            if (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
            and keys_of[field.name] is None
            and field.name not in index
        }
        single = set(kinds.values()) == {pa.float32()}
        values = np.empty((file.metadata.num_rows, len(kinds)), np.float32 if single else np.float64)
        at = 0
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=list(kinds)) if kinds else ():
            for i, name in enumerate(kinds):
                values[at : at + len(batch), i] = batch[name].to_numpy(zero_copy_only=False)
            at += len(batch)
    rest = [name for name in dict.fromkeys(schema.names) if name not in kinds]
    keys, _, _ = _columns(bounded.read(rest).to_pandas(), str(path), replace(named, may_be_absent=frozenset(KEYS)))
    return _checked(keys, values, list(kinds), str(path), named)


def _is_bool(column: pd.Series) -> bool:
    return bool(pd.api.types.is_bool_dtype(column))


def _from_npz(path: Path, named: Named) -> FeatureTable:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * path.stat().st_size):
        raise UsageError(f"The table unpacks to {unpacked:,} bytes, far more than a file of its size", where=path)
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    matrices = [name for name, array in found.items() if array.ndim == 2 and array.dtype.kind in "fiu"]
    if len(matrices) != 1:
        raise UsageError(f"One two-dimensional array of features is expected; the file has {len(matrices)}", where=path)
    values = found.pop(matrices[0])
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    keys: dict[str, NDArray[Any]] = {}
    keys_of = named.keys_of(list(found), str(path))
    for name, array in found.items():
        plural = _KEY_OF.get(name.lower().removesuffix("s"))
        key = keys_of[name] or (plural if plural not in named.columns else None)
        if key and array.ndim == 1:
            if len(array) != len(values):
                raise UsageError(f"{name!r} has {len(array)} entries for {len(values)} rows of features", where=path)
            keys[key] = array
    names = [f"f{i:04d}" for i in range(values.shape[1])]
    return _checked(pd.DataFrame(keys), np.ascontiguousarray(values), names, str(path), named)


def _checked(keys: pd.DataFrame, values: NDArray[Any], names: list[str], source: str, named: Named) -> FeatureTable:
    if not len(values):
        raise UsageError("The table has no rows", where=source)
    if not names:
        raise UsageError("The table has no numeric feature column", where=source)
    if not len(keys.columns):
        needed = "id; plate and well; or compound and concentration"
        raise UsageError(f"The table has no key column. A row needs {needed}", where=source)
    for key in keys.columns:
        column = keys[key]
        if key in named.may_be_empty:
            keys[key] = column.astype(object).where(column.notna(), "").astype(str).str.strip()
            continue
        if column.isna().any():
            raise UsageError(f"Row {int(column.isna().to_numpy().argmax()) + 1} has no {key}", where=source)
        if key != "concentration":
            keys[key] = column.astype(str)
            continue
        numbers = pd.to_numeric(column, errors="coerce")
        if numbers.isna().any():
            row = int(numbers.isna().to_numpy().argmax())
            raise UsageError(f"Row {row + 1}: {column.iloc[row]!r} is not a concentration", where=source)
        keys[key] = numbers.astype(float)
    return FeatureTable(keys, values, names, source)
