"""The responsible-AI part of `croissant.json`: where the images and labels come from, their biases and their limits.

The terms are those of http://mlcommons.org/croissant/RAI/1.0. The facts are those of the dataset card.
"""

from __future__ import annotations

from typing import Any

from ..dataset.manifest import Manifest
from .card import FEW_TRAINING_IMAGES

_BUILT = [
    "Each channel is rescaled between its 0.1th and 99.9th percentile; fluorescence channels are averaged; brightfield "
    "images stay separate.",
    "Small classes are enlarged with crops of their images, one in each quadrant, at 1/2 to 1/16 of their size.",
    "Empty, constant, binary, dim, saturated, unreadable and duplicate images are left out, each with its reason in "
    "rejected.parquet.",
]
_IMPORTED = [
    "Imported from the published archive; its authors rescaled each channel between its 0.1th and 99.9th percentile, "
    "averaged the channels, and enlarged small classes with crops.",
    "Images that are absent, unreadable, not 8-bit grey, or equal in all pixels to an earlier one are left out, each "
    "with its reason in rejected.parquet. The PNG bytes are unchanged.",
]


def responsible_ai(manifest: Manifest) -> dict[str, Any]:
    """Return the properties `rai:...` of a dataset folder.

    Parameters
    ----------
    manifest : Manifest
        Of the folder, whose table of images is read.
    """
    images = manifest.metadata(["database", "dir_name"])
    databases = images["database"].value_counts(normalize=True)
    publishers, sources = len(databases), images["dir_name"].nunique()
    small = sum(entry["train"] < FEW_TRAINING_IMAGES for entry in manifest.classes)
    facts: dict[str, Any] = {
        "dataCollection": f"Microscopy images of {publishers:,} {'publisher' if publishers == 1 else 'publishers'}, "
        f"from {sources:,} {'source' if sources == 1 else 'sources'}. Nothing was photographed for this dataset.",
        "dataCollectionType": ["Secondary Data Analysis"],
        "dataCollectionRawData": "The image files and metadata tables of the publishers; the columns dir_name, idx and "
        "channels name the files of each image.",
        "dataCollectionMissingData": "A value that a publisher does not give is an empty text.",
        "dataPreprocessingProtocol": _IMPORTED if "imported" in manifest.settings else _BUILT,
        "dataAnnotationProtocol": [
            "A class is a text from the metadata of a source: an organism, cell type, compound, gene, stain or the "
            "like. An image has several such texts; a program takes the rarest. Nobody checked the labels against the "
            "images."
        ],
        "annotationsPerItem": "1",
        "machineAnnotationTools": ["cytoimagenet, https://arxiv.org/abs/2111.11646"],
        "dataBiases": [
            f"The choice of images is that of the publishers: {100 * databases.iloc[0]:.0f} % come from "
            f"{databases.index[0]}. Most public images are of human cancer cell lines and of a few organisms.",
            "Plates, dates and microscopes differ between classes: a network can learn these batch effects instead of "
            "biology.",
            f"{small:,} of {len(manifest.classes):,} classes have fewer than {FEW_TRAINING_IMAGES} training images.",
        ],
        "dataLimitations": [
            "The labels are weak, and an image has one label although several may be right.",
            "Intensities were rescaled image by image: brightness can't be compared between images.",
            "Not for diagnosis, for claims about a compound, gene or cell line, for training where a label must be "
            "true, or for benchmarks of the classes themselves.",
        ],
        "dataUseCases": ["Pretraining of image models for microscopy; transfer of their features to other tasks."],
        "dataSocialImpact": "Features learned here may speed up the analysis of microscopy experiments. Conclusions "
        "about health need data with true labels.",
        "personalSensitiveInformation": [
            "The images show cells, not persons. Some come from patients' samples, which their publishers made "
            "anonymous."
        ],
        "dataReleaseMaintenancePlan": "A version depends on its sources, settings and seed alone. Its digest names it: "
        "a new version has another digest and another tag.",
    }
    if manifest.settings.get("split") == "published":
        facts["dataLimitations"].append(
            "Crops of one source image are in train and in validation, as published: validation scores are too high."
        )
    return {f"rai:{name}": value for name, value in facts.items()}
