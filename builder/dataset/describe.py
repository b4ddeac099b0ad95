"""Everything about a dataset folder in one screen of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .manifest import Manifest

SHOWN = 12  # classes named of a larger number


def describe(manifest: Manifest, *, all_classes: bool = False) -> str:
    """Return what a reader wants to know of a dataset folder.

    Parameters
    ----------
    manifest : Manifest
        Of the folder.
    all_classes : bool
        Name every class; else the first dozen.
    """
    images = sum(entry["train"] + entry["validation"] for entry in manifest.classes)
    total = sum(entry["bytes"] for entry in manifest.files.values())
    categories = Counter(entry["category"] for entry in manifest.classes)
    lines = [
        f"CytoImageNet at {manifest.root}",
        f"  {images:,} images of {len(manifest.classes):,} classes (weak labels), {size(total)}",
        "",
        *table(
            ["split", "images", "shards", "size"],
            [
                [name, f"{entry['rows']:,}", f"{entry['shards']:,}", size(entry["bytes"])]
                for name, entry in manifest.splits.items()
            ],
        ),
        "",
        *table(["category", "classes"], [[name, f"{count:,}"] for name, count in categories.most_common()]),
        "",
    ]
    shown = manifest.classes if all_classes else manifest.classes[:SHOWN]
    numbered = list(enumerate(shown))
    lines += table(
        ["index", "class", "category", "train", "validation"],
        [[str(i), c["label"], c["category"], f"{c['train']:,}", f"{c['validation']:,}"] for i, c in numbered],
    )
    if len(shown) < len(manifest.classes):
        lines.append(f"  ... and {len(manifest.classes) - len(shown):,} more")
    lines += [
        "",
        f"  form      {manifest.shard_format}, schema {manifest.schema_version}",
        f"  made with {_pairs(manifest.settings)}; images shuffled by seed {manifest.seed}",
        f"  counts    {_pairs({k: v for k, v in manifest.counts.items() if not isinstance(v, str)})}",
        f"  versions  {_pairs(manifest.versions)}",
        f"  digest    {manifest.digest}",
    ]
    return "\n".join(lines)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines of aligned columns; columns of numbers are set right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell.replace(",", "").isdigit() for cell in column[1:]) for column in columns]
    return [
        "  " + "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in [head, *rows]
    ]


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, "TB"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}".removesuffix("." + "0" * digits) + f" {unit}"


def _pairs(values: Mapping[str, Any], within: str = "") -> str:
    """Return `name=value, ...`; of a table within the table, `name.inner=value`; what is empty was not given."""
    said = [
        _pairs(value, f"{within}{name}.") if isinstance(value, dict) else f"{within}{name}={_word(value)}"
        for name, value in values.items()
    ]
    return ", ".join(filter(None, said)) or ("" if within else "nothing noted")


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value)) or "none given"
    return "none given" if value in ("", None) else str(value)
