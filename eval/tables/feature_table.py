"""Tables of features as other programs write them: Parquet, CSV or npz, with keys and numbers."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd

from ...builder.bounded_parquet import ALWAYS_ALLOWED_BYTES, MAX_RATIO, BoundedParquet
from ...builder.errors import SchemaError, UsageError
from .columns import KEYS, Named, choose_features, key_of, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_PER_BATCH = 4096  # of a Parquet file
SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz", ".npz")
ABSENT = (
    "",
    "#N/A",
    "#NA",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "<NA>",
    "n/a",
    "nan",
    "null",
    "-nan",
    "-NaN",
    "1.#QNAN",
)
"""What a CSV file contains in place of a number that is not known."""


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
    remarks : tuple of str
        What a reader of scores must know: columns that are not used as features, as sentences.
    """

    keys: pd.DataFrame
    values: NDArray[np.floating]
    names: list[str]
    source: str
    remarks: tuple[str, ...] = ()

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
    prefixes: Collection[str] = (),
) -> FeatureTable:
    """Read a table of features.

    Parameters
    ----------
    source : path, DataFrame or FeatureTable
        `.parquet`, `.csv` (`.csv.gz`), or `.npz` with one two-dimensional array of numbers and one-dimensional arrays
        of keys. Columns named as in `KEYS` (with or without `Metadata_`) are keys, and text: `01` is not `1`, and `NA`
        is a name. Other `Metadata_` columns and text are ignored. Features are `f0000`, `f0001` ... if there are such
        columns, else all other numbers except columns that only describe a sample (`time`, `x`): these are left out,
        and named in `remarks`.
    columns : mapping of str to str, optional
        For keys in a column of another name: key to column, such as `{"label": "phenotype"}`. `Metadata_` may be left
        out.
    may_be_absent : collection of str
        Keys of `columns` that the table may lack.
    may_be_empty : collection of str
        Keys that a row may lack; they become "".
    prefixes : collection of str
        What names of features start with: only these columns are features.

    Raises
    ------
    UsageError
        If the file is missing, damaged or of another kind, has no key or no feature, or lacks one of `columns`.

    Examples
    --------
    >>> frame = pd.DataFrame({"Metadata_Plate": ["p1"], "Metadata_Well": ["B02"], "Cells_Area": [310.5], "time": [3]})
    >>> table = read_table(frame)
    >>> list(table.keys), table.names, table.values.tolist(), table.remarks
    (['plate', 'well'], ['Cells_Area'], [[310.5]], ('Not used as features: time.',))
    """
    if isinstance(source, FeatureTable):
        return source
    named = Named(columns or {}, frozenset(may_be_absent), frozenset(may_be_empty))
    if isinstance(source, pd.DataFrame):
        return _split(source, "the table given", named, prefixes)
    path = Path(source)
    if not path.is_file():
        raise UsageError("There is no such table of features", where=path)
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return _from_parquet(path, named, prefixes)
        if name.endswith((".csv", ".csv.gz")):
            return _split(_read_csv(path, named), str(path), named, prefixes)
        if name.endswith(".npz"):
            return _from_npz(path, named)
    except UsageError:
        raise
    except SchemaError as error:
        raise UsageError(f"Not a readable table: {error.what}", where=path) from error
    except Exception as error:  # zip, numpy, Arrow and pandas raise errors of every kind for damaged files
        raise UsageError(f"Not a readable table: {str(error) or type(error).__name__}", where=path) from error
    raise UsageError("A table of features is a .parquet, .csv, .csv.gz or .npz file", where=path)


def _read_csv(path: Path, named: Named) -> pd.DataFrame:
    """Read keys as text, whatever they look like, and everything else as pandas does."""
    kinds = named.keys_of(list(pd.read_csv(path, nrows=0).columns), str(path))
    text = {column: str for column, key in kinds.items() if key is not None}
    absent = {column: list(ABSENT) for column in kinds if column not in text}
    return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=absent)


def _split(frame: pd.DataFrame, source: str, named: Named, prefixes: Collection[str] = ()) -> FeatureTable:
    keys, numbers, frame, remarks = _columns(frame, source, named)
    choice = choose_features(numbers, prefixes, source)
    names = choice.features
    single = {frame[name].dtype for name in names} == {np.dtype(np.float32)}
    values = np.empty((len(frame), len(names)), np.float32 if single else np.float64)
    for i, name in enumerate(names):
        values[:, i] = frame[name].to_numpy(dtype=values.dtype, na_value=np.nan)
    return _checked(keys, values, names, source, named, [*_left_out(choice.left_out), *remarks])


def _left_out(names: Collection[str]) -> list[str]:
    return [f"Not used as features: {listed(names)}."] if names else []


def _columns(frame: pd.DataFrame, source: str, named: Named) -> tuple[pd.DataFrame, list[str], pd.DataFrame, list[str]]:
    """Return the keys, the columns of numbers, the table with its index among the columns, and remarks."""
    if frame.index.name is not None and key_of(str(frame.index.name)):
        frame = frame.reset_index()
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise UsageError(f"Two columns have the name {repeated[0]!r}", where=source)
    keys: dict[str, pd.Series] = {}
    numbers, mostly = [], []
    for column, key in named.keys_of(list(frame.columns), source).items():
        if key:
            if key in keys:
                raise UsageError(f"Two columns contain the {key}; {column!r} is the second", where=source)
            keys[key] = frame[column]
        elif key is None and not pd.api.types.is_bool_dtype(frame[column]):
            if pd.api.types.is_complex_dtype(frame[column]):
                raise _complex_numbers(column, source)
            if pd.api.types.is_numeric_dtype(frame[column]) or _is_decimal(frame[column]):
                numbers.append(column)
            elif (problem := _mostly_numbers(frame[column])) is not None:
                mostly.append(f"{column} ({problem})")
    remarks = [f"Text that is mostly numbers, not used as features: {listed(mostly)}."] if mostly else []
    if mostly and not numbers:
        raise UsageError(
            f"Columns are text, although most of their cells are numbers: {listed(mostly)}",
            where=source,
            next="Write numbers with a decimal point, and leave cells without a number empty",
        )
    return pd.DataFrame(keys), numbers, frame, remarks


def _complex_numbers(column: str, source: str) -> UsageError:
    return UsageError(
        f"{column!r} has complex numbers", where=source, next="Store real and imaginary part, or the absolute value"
    )


def _is_decimal(column: pd.Series) -> bool:
    known = list(column.dropna()) if column.dtype == object else []
    return bool(known) and all(isinstance(value, Decimal) for value in known)


def _mostly_numbers(column: pd.Series) -> str | None:
    """Return the first cell that is no number, with its row, if at least half of the cells of a text column are."""
    text = column.dropna().astype(str).str.strip()
    number = pd.to_numeric(text.str.replace(",", ".", n=1, regex=False), errors="coerce").notna()
    if not len(text) or number.mean() < 0.5:
        return None
    wrong = pd.to_numeric(text, errors="coerce").isna()
    return f"{text[wrong].iloc[0]!r}" if wrong.any() else "numbers as text"


def _from_parquet(path: Path, named: Named, prefixes: Collection[str]) -> FeatureTable:
    """Read features in batches of rows, without a second copy of a table that may take half of the memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    bounded = BoundedParquet(str(path), path)
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        index = (schema.pandas_metadata or {}).get("index_columns", [])
        keys_of = named.keys_of(schema.names, str(path))
        types = {
            field.name: field.type
            for field in schema
            if any(is_a(field.type) for is_a in (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal))
            and keys_of[field.name] is None
            and field.name not in index
        }
        choice = choose_features(list(types), prefixes, str(path))
        names = choice.features
        single = {types[name] for name in names} == {pa.float32()}
        values = np.empty((file.metadata.num_rows, len(names)), np.float32 if single else np.float64)
        at = 0
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=names) if names else ():
            for i, name in enumerate(names):
                column = batch[name].cast(pa.float64()) if pa.types.is_decimal(types[name]) else batch[name]
                values[at : at + len(batch), i] = column.to_numpy(zero_copy_only=False)
            at += len(batch)
    rest = [name for name in dict.fromkeys(schema.names) if name not in types]
    absent = replace(named, may_be_absent=frozenset(KEYS))
    keys, _, _, remarks = _columns(bounded.read(rest).to_pandas(), str(path), absent)
    return _checked(keys, values, names, str(path), named, [*_left_out(choice.left_out), *remarks])


def _from_npz(path: Path, named: Named) -> FeatureTable:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * path.stat().st_size):
        raise UsageError(f"The table unpacks to {unpacked:,} bytes, far more than a file of its size", where=path)
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    imaginary = next((name for name, array in found.items() if array.dtype.kind == "c"), None)
    if imaginary is not None:
        raise _complex_numbers(imaginary, str(path))
    matrices = [name for name, array in found.items() if array.ndim == 2 and array.dtype.kind in "fiu"]
    if len(matrices) != 1:
        raise UsageError(f"One two-dimensional array of features is expected; the file has {len(matrices)}", where=path)
    values = found.pop(matrices[0])
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    keys: dict[str, NDArray[Any]] = {}
    keys_of = named.keys_of(list(found), str(path))
    for name, array in found.items():
        plural = key_of(name.lower().removesuffix("s"))
        key = keys_of[name] or (plural if plural not in named.columns else None)
        if key and array.ndim == 1:
            if len(array) != len(values):
                raise UsageError(f"{name!r} has {len(array)} entries for {len(values)} rows of features", where=path)
            keys[key] = array
    names = [f"f{i:04d}" for i in range(values.shape[1])]
    return _checked(pd.DataFrame(keys), np.ascontiguousarray(values), names, str(path), named)


def _checked(
    keys: pd.DataFrame,
    values: NDArray[Any],
    names: list[str],
    source: str,
    named: Named,
    remarks: Iterable[str] = (),
) -> FeatureTable:
    if not len(values):
        raise UsageError("The table has no rows", where=source)
    if not names:
        raise UsageError("The table has no numeric feature column", where=source)
    if not len(keys.columns):
        needed = "id; plate and well; or compound and concentration"
        raise UsageError(f"The table has no key column. A row needs {needed}", where=source)
    checked: dict[str, pd.Series] = {}
    for key in keys.columns:
        column = keys[key]
        text = column.astype(object).where(column.notna(), "").astype(str)
        empty = (text.str.strip() == "").to_numpy()
        if key in named.may_be_empty:
            checked[key] = text.str.strip()
            continue
        if empty.all() and key not in named.columns:
            continue  # a column without content is no key
        if empty.any():
            raise UsageError(
                f"Row {int(empty.argmax()) + 1} has no {key}",
                where=source,
                next=f"Fill in the {key}, or leave the row out",
            )
        if key != "concentration":
            checked[key] = column.astype(str)
            continue
        numbers = pd.to_numeric(column, errors="coerce").astype(float)
        wrong = (numbers.isna() | ~np.isfinite(numbers) | (numbers < 0)).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            raise UsageError(f"Row {row + 1}: {column.iloc[row]!r} is not a concentration", where=source)
        checked[key] = numbers
    if not checked:
        raise UsageError("Every key column of the table is empty", where=source)
    return FeatureTable(pd.DataFrame(checked), values, names, source, tuple(remarks))
