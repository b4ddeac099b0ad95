"""BBBC041: blood smears with a bounding box around every cell. Each box becomes a row."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import pandas as pd

from ..errors import MetadataError
from ..text_tables import decode, read_bounded
from .folder import Folder

EXPECTED = (
    "A list of {image: {pathname}, objects: [{bounding_box: {minimum: {r, c}, maximum: {r, c}}, category}]}; "
    "r counts rows, c columns."
)


def malaria(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Replace each smear by one row per box in `training.json` and `test.json`.

    `cell_type` is the box's category. A smear that no file describes stays one row without a label.
    """
    boxes = [box for name in ("training.json", "test.json") for path in folder.find(name) for box in read_boxes(path)]
    # the same file may be in two folders; a box is one cell nevertheless
    table = pd.DataFrame(boxes, columns=["image", "box", "cell_type"], dtype="str").drop_duplicates()
    rows = rows.assign(image=rows["image"].str.lower())
    counts = folder.counts
    known = rows["image"].isin(set(table["image"]))
    counts.unlabelled += int((~known).sum())
    counts.labels_without_image += int((~table["image"].isin(set(rows["image"]))).sum())
    if table.empty:
        return rows
    boxed = rows[known].reset_index().merge(table, on="image", how="inner", validate="many_to_many")
    boxed["channels"] = boxed["channels"] + "#xywh=" + boxed.pop("box")
    bare = rows[~known].reset_index().assign(cell_type="")
    return pd.concat([boxed, bare]).sort_values("index", kind="stable").drop(columns="index")


def read_boxes(path: str | PathLike[str]) -> list[tuple[str, str, str]]:
    """Read one file of boxes.

    Returns
    -------
    list of (image, box, category)
        Image name in lower case without folder and extension; box as `x,y,width,height` in pixels.

    Raises
    ------
    MetadataError
        If the file does not have the published form; the error names the line or entry.
    """

    def wrong(problem: str, where: str) -> MetadataError:
        return MetadataError(problem, where=f"{path}, {where}", next=f"Expected: {EXPECTED}")

    try:
        entries = json.loads(decode(read_bounded(path)))
    except json.JSONDecodeError as error:
        raise wrong(f"Not JSON: {error.msg}", f"line {error.lineno}") from error
    except RecursionError as error:
        raise wrong("Nested too deeply", "line 1") from error
    if not isinstance(entries, list):
        raise wrong("The file is not a list", "line 1")
    boxes = []
    for number, entry in enumerate(entries, start=1):
        where = f"entry {number}"
        try:
            name = _text(entry["image"]["pathname"]).rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()
            for place, item in enumerate(entry["objects"], start=1):
                where = f"entry {number}, object {place}"
                low, high = item["bounding_box"]["minimum"], item["bounding_box"]["maximum"]
                x, y = _pixels(low["c"]), _pixels(low["r"])
                width, height = _pixels(high["c"]) - x, _pixels(high["r"]) - y
                if width < 1 or height < 1:
                    raise ValueError(f"a box of {width} by {height} pixels")
                boxes.append((name, f"{x},{y},{width},{height}", _text(item["category"]).replace("|", "/")))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise wrong(f"Not as published: {problem}", where) from error
    return boxes


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} instead of a text")
    return value


def _pixels(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} instead of a number of pixels")
    return value
