"""`Index.idx.xml` or `Index.xml`, which an Opera or Operetta writes next to the images of a plate."""

from __future__ import annotations

import pandas as pd

from ..formats.scale import of_index
from ..storage import read_bytes
from .each import each
from .folder import Folder

NAMES = "Index*.xml"
READ_BYTES = 1 << 20  # of each; it has an entry per image, with the same pixel size and objective


def with_index(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Return the rows with the magnification and pixel size of the index in the folder of their first file.

    Parameters
    ----------
    rows : DataFrame of str
        With `file`, relative to the source's folder.
    folder : Folder
        The source's folder. Without such an index in it, the rows are returned as they are.
    """
    found = folder.find(NAMES)
    if not found:
        return rows
    scales = {}
    for path in found:
        inside = path[len(folder.root) :].strip("/").rpartition("/")[0]
        scales[inside] = of_index(read_bytes(path, 0, READ_BYTES).decode("utf-8", "replace"))
    where = each(rows["file"], lambda path: path.rpartition("/")[0])
    return rows.assign(
        **{
            name: where.map({inside: str(getattr(scale, name) or "") for inside, scale in scales.items()})
            .fillna("")
            .astype("str")
            for name in ("magnification", "pixel_size")
        }
    )
