"""Features of samples: a matrix with ids and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...builder.storage import atomic_writer

if TYPE_CHECKING:
    import pandas as pd

    from ..tables.feature_table import FeatureTable
    from .decode import Refusal

SETTINGS_OF_THE_RUN = ("computed", "network_seconds", "all_seconds", "processes")
"""Settings that differ between runs that give equal features; not written to files that users compare."""


@dataclass(frozen=True)
class Features:
    """Features of samples, one row per sample.

    Attributes
    ----------
    ids : list of str
        One per row, unique.
    values : array, shape (samples, features), float32
        Often memory-mapped.
    settings : mapping
        How they were computed: model, weights, preprocessing, input size, engine, seconds.
    refused : list of Refusal
        Samples without features, because their images can't be used.
    """

    ids: list[str]
    values: NDArray[np.float32]
    settings: Mapping[str, Any] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def names(self) -> list[str]:
        """The names of the columns: `f0000`, `f0001`, ..."""
        return [f"f{number:04d}" for number in range(self.values.shape[1])]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with the column `id` and one column per feature."""
        import pandas as pd

        frame = pd.DataFrame(np.asarray(self.values), columns=self.names, copy=False)
        frame.insert(0, "id", pd.Series(self.ids, dtype="str"))
        return frame

    def to_table(self) -> FeatureTable:
        """Return the table that tasks score, without copying the values."""
        import pandas as pd

        from ..tables.feature_table import FeatureTable

        source = f"{self.settings.get('model', 'features')} {self.settings.get('preprocess', '')}".strip()
        keys = pd.DataFrame({"id": pd.Series(self.ids, dtype="str")})
        return FeatureTable(keys, self.values, self.names, source)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet, with the settings in the metadata of the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.to_frame(), preserve_index=False)
        settings = {name: value for name, value in self.settings.items() if name not in SETTINGS_OF_THE_RUN}
        metadata = {"cytoimagenet": json.dumps(settings, sort_keys=True, default=str)}
        with atomic_writer(path) as file:
            # floats of a network hardly compress: a dictionary would cost time and save nothing
            pq.write_table(table.replace_schema_metadata(metadata), file, use_dictionary=["id"], compression="zstd")
