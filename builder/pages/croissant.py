"""`croissant.json`: a description of the dataset folder in MLCommons' Croissant format, for catalogues and loaders."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import pyarrow as pa

from .. import schema
from ..dataset.manifest import CLASSES, METADATA, Manifest
from ..storage import join, write_atomic
from .licences import LICENCES
from .responsible_ai import responsible_ai

CROISSANT = "croissant.json"
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
PAPER = "https://arxiv.org/abs/2111.11646"
PAPER_DOI = "https://doi.org/10.48550/arXiv.2111.11646"
PUBLISHED = "2021-11-23"  # of the paper that describes the dataset; a date of this folder would change its bytes
CREATORS = ("Stanley Bryan Z. Hua", "Alex X. Lu", "Alan M. Moses")
_CR = (
    *("annotation", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract"),
    *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath"),
    *("key", "md5", "parentField", "readLines", "recordSet", "references", "regex", "sdVersion", "separator"),
    *("source", "subField", "transform", "unArchive", "value"),
    *("path", "repeated", "replace", "samplingRate"),  # of version 1.0, for readers of both
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{name: f"cr:{name}" for name in _CR},
}
"""The terms of Croissant 1.1, as the appendix of its specification lists them."""
_TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.float64(): "sc:Float", pa.bool_(): "sc:Boolean"}


def write_croissant(out: str | PathLike[str], manifest: Manifest) -> None:
    """Write `croissant.json` of a dataset folder; every fact comes from the manifest."""
    text = json.dumps(describe(manifest), indent=1, ensure_ascii=False) + "\n"
    write_atomic(join(out, CROISSANT), text.encode())


def describe(manifest: Manifest) -> dict[str, Any]:
    """Return the description: files with size and sha256, the columns of the tables, the images."""
    parquet = manifest.shard_format == "parquet"
    shards = [name for name in sorted(manifest.files) if name.startswith("data/")]
    kind = "application/x-parquet" if parquet else "application/x-tar"
    files = [_file(manifest, name, "application/x-parquet") for name in (METADATA, CLASSES)]
    files += [_file(manifest, name, kind) for name in shards]
    records = [
        _records("images", METADATA, schema.of_version(schema.METADATA, manifest.schema_version), key="key"),
        _records("classes", CLASSES, schema.CLASSES, key="index"),
    ]
    if not parquet:  # a tar shard has its images as files, a Parquet shard in a column
        files.append(
            {
                "@type": "cr:FileSet",
                "@id": "png",
                "name": "png",
                "description": "An 8-bit greyscale PNG for each row of images, named <key>.png.",
                "containedIn": [{"@id": name} for name in shards],
                "encodingFormat": "image/png",
                "includes": "*.png",
            }
        )
    images = sum(entry["train"] + entry["validation"] for entry in manifest.classes)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": "cytoimagenet",
        "description": f"{images:,} microscopy images in {len(manifest.classes):,} weakly labelled classes, to "
        "pretrain on. The labels come from the metadata of the sources; nobody checked them against the images.",
        "conformsTo": CONFORMS_TO,
        "license": {
            "@type": "sc:CreativeWork",
            "name": "Mixed: every image names its own licence in the column licence",
            "url": LICENCES,
        },
        "url": PAPER,
        "sameAs": PAPER_DOI,
        "creator": [{"@type": "sc:Person", "name": name} for name in CREATORS],
        "datePublished": PUBLISHED,
        "keywords": ["biology", "microscopy", "bioimage", "cells", "pretraining", "weak labels"],
        "isLiveDataset": False,
        "citeAs": "@article{hua2021cytoimagenet, title={CytoImageNet: A large-scale pretraining dataset for bioimage "
        "transfer learning}, author={Hua, Stanley Bryan Z. and Lu, Alex X. and Moses, Alan M.}, journal={arXiv "
        "preprint arXiv:2111.11646}, year={2021}, doi={10.48550/arXiv.2111.11646}}",
        "version": f"{manifest.schema_version}+{manifest.digest[:8]}",
        "distribution": files,
        "recordSet": records,
        **responsible_ai(manifest),
    }


def _file(manifest: Manifest, name: str, kind: str) -> dict[str, Any]:
    entry = manifest.files[name]
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{entry['bytes']} B",
        "encodingFormat": kind,
        "sha256": entry["sha256"],
    }


def _records(name: str, file: str, columns: pa.Schema, *, key: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/{key}"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column.name}",
                "name": column.name,
                "dataType": _TYPES[column.type],
                "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}},
            }
            for column in columns
        ],
    }
