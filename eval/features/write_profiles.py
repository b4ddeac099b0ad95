"""Write features with metadata: Parquet, CSV, npz or AnnData, a part at a time."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ...builder.errors import UsageError
from ...builder.extras import naming_the_extra
from ...builder.storage import atomic_writer
from .profiles import Profiles
from .table import SETTINGS_OF_THE_RUN

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip: equal features give equal bytes


def write(profiles: Profiles, path: str | PathLike[str]) -> None:
    """Write a table of features.

    Parameters
    ----------
    profiles : Profiles
    path : str or path
        `.parquet`; `.csv` or `.csv.gz`; `.npz` (arrays `features`, `feature_names` and one per column of metadata);
        `.h5ad` (needs the extra `anndata`). Local or a URL.

    Raises
    ------
    UsageError
        For any other suffix, or if anndata is not installed.
    """
    writer = _writer(path)
    with atomic_writer(path) as file:
        writer(profiles, file)


def check_suffix(path: str | PathLike[str]) -> None:
    """Raise the errors of `write` before anything is computed."""
    _writer(path)


def _writer(path: str | PathLike[str]) -> Callable[[Profiles, IO[bytes]], None]:
    name = fspath(path).lower()
    found = next((writer for suffix, writer in WRITERS.items() if name.endswith(suffix)), None)
    if found is None:
        raise UsageError(f"Features are not written as {Path(name).name!r}", next=f"Use {', '.join(WRITERS)}")
    if found is _h5ad:
        with naming_the_extra():
            import anndata  # noqa: F401
    return found


def settings_of(profiles: Profiles) -> str:
    """Return the settings as JSON, without those that differ between runs of equal features."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: plain(inner) for name, inner in value.items() if name not in SETTINGS_OF_THE_RUN}
        return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(dict(profiles.settings)), sort_keys=True, default=str)


def _parquet(profiles: Profiles, file: IO[bytes]) -> None:
    """Write row groups of bounded size; the settings are in the metadata of the file."""
    schema = pa.Table.from_pandas(profiles.metadata.iloc[:0], preserve_index=False).schema.remove_metadata()
    for name in profiles.names:
        schema = schema.append(pa.field(name, pa.float32()))
    schema = schema.with_metadata({"cytoimagenet": settings_of(profiles)})
    metadata = list(profiles.metadata.columns)
    # floats of a network hardly compress: a dictionary would cost time and save nothing
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=metadata) as writer:
        for _, rows, values in profiles.parts():
            columns = [pa.array(rows[name]) for name in metadata]
            columns += [pa.array(np.ascontiguousarray(column)) for column in values.T]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _csv(profiles: Profiles, file: IO[bytes]) -> None:
    for start, rows, values in profiles.parts():
        features = pd.DataFrame(values, columns=profiles.names, index=rows.index)
        text = pd.concat([rows, features], axis=1).to_csv(index=False, header=start == 0, lineterminator="\n")
        file.write(text.encode())


def _csv_gz(profiles: Profiles, file: IO[bytes]) -> None:
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        _csv(profiles, packed)  # type: ignore[arg-type]


def _npz(profiles: Profiles, file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo("features.npy", EPOCH), "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(profiles), len(profiles.names))}
            np.lib.format.write_array_header_1_0(member, header)
            for _, _, values in profiles.parts():
                member.write(values.tobytes())
        arrays = {"feature_names": np.array(profiles.names, "U"), "settings": np.array(settings_of(profiles))}
        for name in profiles.metadata:
            column = profiles.metadata[name]
            numbers = pd.api.types.is_numeric_dtype(column)
            arrays[str(name)] = column.to_numpy() if numbers else column.astype(str).to_numpy("U")
        for name, array in arrays.items():
            packed = io.BytesIO()
            np.save(packed, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), packed.getvalue())


def _h5ad(profiles: Profiles, file: IO[bytes]) -> None:
    """Write AnnData: rows are observations, features are variables."""
    import anndata

    with tempfile.TemporaryDirectory(prefix="cytoimagenet-h5ad-") as folder:
        matrix = np.lib.format.open_memmap(
            Path(folder, "x.npy"), "w+", np.float32, (len(profiles), len(profiles.names))
        )
        for start, _, values in profiles.parts():
            matrix[start : start + len(values)] = values
        observations = profiles.metadata.copy()
        for name in observations:
            if not pd.api.types.is_numeric_dtype(observations[name]):
                observations[name] = _categories(observations[name])
        observations.index = pd.Index([str(i) for i in range(len(profiles))], dtype="object")
        if "Metadata_id" in observations and observations["Metadata_id"].is_unique:
            observations.index = pd.Index(observations["Metadata_id"].tolist(), dtype="object", name=None)
        variables = pd.DataFrame(index=pd.Index(profiles.names, dtype="object"))
        # the view as a plain array: pages of the file, not memory
        data = anndata.AnnData(X=np.asarray(matrix), obs=observations, var=variables)
        data.uns["cytoimagenet"] = settings_of(profiles)
        data.write_h5ad(Path(folder, "table.h5ad"))
        with open(Path(folder, "table.h5ad"), "rb") as written:
            while part := written.read(1 << 24):
                file.write(part)


def _categories(column: pd.Series) -> pd.Categorical:
    """Return text as categories of Python strings: anndata makes its own categories, but can't write Arrow strings."""
    values = column.astype("object")
    return pd.Categorical(values, categories=pd.Index(sorted(set(values)), dtype="object"))


WRITERS: Mapping[str, Callable[[Profiles, IO[bytes]], None]] = {
    ".parquet": _parquet,
    ".csv.gz": _csv_gz,
    ".csv": _csv,
    ".npz": _npz,
    ".h5ad": _h5ad,
}
"""By suffix of the file."""
