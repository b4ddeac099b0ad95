"""The text that `info` prints, for a manifest written by hand."""

from cytoimagenet.builder.dataset.describe import describe

DATA = {
    "schema_version": "1.0.0",
    "shard_format": "webdataset",
    "settings": {"min_images": 287, "sources": [], "only": ["a", "b"], "evaldata": ""},
    "seed": 3,
    "versions": {"numpy": "2.1"},
    "classes": [
        {"label": "actin", "category": "cell_visible", "train": 1800, "validation": 200},
        {"label": "human", "category": "organism", "train": 9, "validation": 1},
    ],
    "splits": {
        "train": {"rows": 1809, "bytes": 181_000_000, "shards": 8},
        "validation": {"rows": 201, "bytes": 999, "shards": 1},
    },
    "files": {"data/train-00000-of-00001.tar": {"bytes": 181_000_000}, "data/x.tar": {"bytes": 999}},
    "counts": {"rejected": 4, "rows": {"in": 2014, "left": {"dim": 4}, "lost": {}}, "input": "0123"},
    "digest": "abc",
}
TEXT = """\
CytoImageNet at there
  2,010 images of 2 classes (weak labels), 181 MB

  split       images  shards  size
  train        1,809       8  181 MB
  validation     201       1  999 bytes

  category      classes
  cell_visible        1
  organism            1

  index  class  category      train  validation
      0  actin  cell_visible  1,800         200
      1  human  organism          9           1

  format    webdataset, schema 1.0.0
  settings  min_images=287, sources=none given, only=a|b, evaldata=none given; images shuffled by seed 3
  counts    rejected=4, rows.in=2014, rows.left.dim=4
  versions  numpy=2.1
  digest    abc"""


def test_every_line():
    assert describe("there", DATA) == TEXT


def test_a_dozen_classes_or_all():
    classes = [{"label": f"c{n:02}", "category": "gene", "train": n, "validation": 0} for n in range(15)]
    data = {**DATA, "classes": classes, "settings": {}}
    assert "c11" in describe("x", data) and "c12" not in describe("x", data)
    assert "  ... and 3 more" in describe("x", data).splitlines()
    assert "c14" in describe("x", data, all_classes=True) and "more" not in describe("x", data, all_classes=True)
    assert "  settings  none recorded; images shuffled by seed 3" in describe("x", data).splitlines()
