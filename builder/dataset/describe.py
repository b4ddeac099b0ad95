"""A dataset folder on one screen of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

CLASSES_SHOWN = 12


def describe(root: str, data: Mapping[str, Any], *, all_classes: bool = False) -> str:
    """Return what `cytoimagenet info` prints about a dataset folder.

    Parameters
    ----------
    root : str
        The dataset folder.
    data : mapping
        The content of its `manifest.json`.
    all_classes : bool
        List every class instead of the first dozen.
    """
    classes = data["classes"]
    images = sum(entry["train"] + entry["validation"] for entry in classes)
    total = sum(entry["bytes"] for entry in data["files"].values())
    categories = Counter(entry["category"] for entry in classes)
    lines = [
        f"CytoImageNet at {root}",
        f"  {images:,} images of {len(classes):,} classes (weak labels), {size(total)}",
        "",
        *_table(
            ["split", "images", "shards", "size"],
            [
                [name, f"{entry['rows']:,}", f"{entry['shards']:,}", size(entry["bytes"])]
                for name, entry in data["splits"].items()
            ],
        ),
        "",
        *_table(["category", "classes"], [[name, f"{count:,}"] for name, count in categories.most_common()]),
        "",
    ]
    shown = classes if all_classes else classes[:CLASSES_SHOWN]
    lines += _table(
        ["index", "class", "category", "train", "validation"],
        [
            [str(i), entry["label"], entry["category"], f"{entry['train']:,}", f"{entry['validation']:,}"]
            for i, entry in enumerate(shown)
        ],
    )
    if len(shown) < len(classes):
        lines.append(f"  ... and {len(classes) - len(shown):,} more")
    counts = {name: value for name, value in data["counts"].items() if not isinstance(value, str) and name != "split"}
    settings = {name: value for name, value in data["settings"].items() if name != "split"}
    rule = str(data["settings"].get("split", ""))
    lines += [
        "",
        f"  format    {data['shard_format']}, schema {data['schema_version']}",
        *([f"  split     {split_in_words(rule, data['counts'].get('split', {}))}"] if rule else []),
        f"  settings  {_pairs(settings)}; images shuffled by seed {data['seed']}",
        f"  counts    {_pairs(counts)}",
        f"  versions  {_pairs(data['versions'])}",
        f"  digest    {data['digest']}",
    ]
    return "\n".join(lines)


def split_in_words(rule: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """Describe how the images were divided into train and validation.

    Parameters
    ----------
    rule : str
        The setting `split`.
    counts : mapping
        What was kept together, see `curate.split_counts.count_split`; empty if it was not counted.

    Examples
    --------
    >>> split_in_words("by-plate", {"plates": {"train": 54, "validation": 1, "unknown": 12}})
    'by plate: 54 plates in train, 1 in validation; 12 source images without a known plate are split by image'
    """
    if rule == "published":
        return "as published: a tenth of the crops of each class; crops of one source image can be in both splits"
    words, parts = rule.replace("-", " "), []
    for name, count in sorted(counts.items(), reverse=True):  # groups last
        one, train = name.removesuffix("s"), count["train"]
        parts.append(f"{train:,} {one if train == 1 else name} in train, {count['validation']:,} in validation")
        if name == "groups":
            words += " and by group (plate, movie, donor)"
        elif count["unknown"]:
            images, are = ("image", "is") if count["unknown"] == 1 else ("images", "are")
            parts.append(f"{count['unknown']:,} source {images} without a known {one} {are} split by image")
    return f"{words}: {'; '.join(parts)}" if parts else words


def size(count: int) -> str:
    """Return a number of bytes with a unit and three digits.

    Examples
    --------
    >>> size(999), size(1_820_000), size(56_000_000_000)
    ('999 bytes', '1.82 MB', '56 GB')
    """
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, "TB"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}".removesuffix("." + "0" * digits) + f" {unit}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table with aligned columns; columns of numbers are aligned to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell.replace(",", "").isdigit() for cell in column[1:]) for column in columns]
    return [
        "  " + "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in [head, *rows]
    ]


def _pairs(values: Mapping[str, Any], within: str = "") -> str:
    """Return `name=value, ...`, with `name.inner=value` for a mapping within the mapping."""
    pairs = [
        _pairs(value, f"{within}{name}.") if isinstance(value, dict) else f"{within}{name}={_word(value)}"
        for name, value in values.items()
    ]
    return ", ".join(filter(None, pairs)) or ("" if within else "none recorded")


def _word(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value)) or "none given"
    return "none given" if value in ("", None) else str(value)
