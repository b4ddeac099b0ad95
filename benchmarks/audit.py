"""Recall, precision, time and memory of `cytoimagenet audit`, measured by planting, next to plain library pipelines.

    python benchmarks/audit.py cytoimagenet --embeddings imagenet --json audit.json       # everything
    python benchmarks/audit.py cytoimagenet --parts duplicates,outliers                   # some parts
    python benchmarks/audit.py cytoimagenet --fastdup venv/bin/python                     # fastdup, of another Python

Into the images of a dataset folder, read into memory, three kinds of defects are planted; the folder stays as it is.

duplicates  Altered copies of images: rotated by 90 degrees, mirrored, other contrast, size (0.5 to 2), JPEG of quality
            50 or more, shifted by up to 10 %, and all of these at once. A pair counts as right if it was planted, or if
            the same images are a pair without any planting (repeats that the dataset has of its own).
labels      5, 10 and 20 % of the labels replaced: by any other class, by the nearest class, or by the second nearest
            one (`--noise none,second`), by the distance between means of the standardised embeddings. The truth of an
            interval is the planted share plus the share that the audit estimates without planting, which nobody knows
            exactly.
outliers    2 % of the images replaced by blurred, covered, empty ones, or with text or a scale bar. The planted defects
            are written independently of those that the audit learns from: other kernels, fonts, shapes and noise.

Plain pipelines: exact neighbours of the embeddings by faiss, with the threshold that is best for the planted pairs;
fastdup with its default threshold; cleanlab on out-of-fold probabilities of a logistic regression of the embeddings;
the distance to the 10th neighbour (faiss) as score of outliers.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
from cytoimagenet.builder.dataset.embeddings import open_embeddings
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.eval.audit.defects import find_outliers
from cytoimagenet.eval.audit.duplicates import Duplicates, connected, find_duplicates, groups_of
from cytoimagenet.eval.audit.image_features import features
from cytoimagenet.eval.audit.pixels import Pixels, collect, measure
from cytoimagenet.eval.audit.probabilities import NEIGHBOURS, train
from cytoimagenet.eval.audit.wrong_labels import find_wrong_labels
from cytoimagenet.eval.scores.neighbours import nearest
from cytoimagenet.loaders.map_images import map_images, read_places
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

Image = np.ndarray
PARTS = ("duplicates", "labels", "outliers")
COPIES = ("rotated", "mirrored", "contrast", "gamma", "smaller", "larger", "jpeg", "shifted", "cropped", "all at once")
COPY_SHARE = 0.05  # of the images that get a copy
DEFECT_SHARE = 0.02
WRONG_SHARES = (0.05, 0.10, 0.20)


# ---------------------------------------------------------------------------------------------- what is planted


def altered(rng: np.random.Generator, kind: str, image: Image) -> tuple[Image, Image]:
    """Return what takes the place of an image, and its altered copy."""
    if kind == "cropped":  # two crops of the image, shifted against each other by up to 10 %
        height, width = image.shape
        down, right = round(rng.uniform(0, 0.1) * height), round(rng.uniform(0, 0.1) * width)
        return image[: height - down, : width - right].copy(), image[down:, right:].copy()
    steps = {
        "rotated": [_rotated], "mirrored": [_mirrored], "contrast": [_contrast], "gamma": [_gamma],
        "smaller": [lambda r, i: _resized(r, i, 0.5, 0.9)], "larger": [lambda r, i: _resized(r, i, 1.1, 2)],
        "jpeg": [_jpeg], "shifted": [_shifted],
        "all at once": [
            lambda r, i: _resized(r, i, 0.5, 2), _shifted, _mirrored, _rotated,
            _contrast if rng.random() < 0.5 else _gamma, _jpeg,
        ],
    }[kind]  # fmt: skip
    copy = image
    for step in steps:
        copy = step(rng, copy)
    return image, np.ascontiguousarray(copy)


def _rotated(rng: np.random.Generator, image: Image) -> Image:
    return np.rot90(image, rng.integers(1, 4))


def _mirrored(rng: np.random.Generator, image: Image) -> Image:
    return image[:, ::-1] if rng.random() < 0.5 else image[::-1]


def _contrast(rng: np.random.Generator, image: Image) -> Image:
    factor = rng.uniform(0.4, 1.0)
    return np.clip(np.rint(image * factor + rng.uniform(0, 255 * (1 - factor))), 0, 255).astype(np.uint8)


def _gamma(rng: np.random.Generator, image: Image) -> Image:
    return np.rint(255 * (image / 255) ** np.exp(rng.uniform(-np.log(2), np.log(2)))).astype(np.uint8)


def _resized(rng: np.random.Generator, image: Image, low: float, high: float) -> Image:
    factor = np.exp(rng.uniform(np.log(low), np.log(high)))
    size = [max(8, round(length * factor)) for length in image.shape[::-1]]
    return cv2.resize(
        np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    )


def _jpeg(rng: np.random.Generator, image: Image) -> Image:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))]
    return cv2.imdecode(cv2.imencode(".jpg", np.ascontiguousarray(image), quality)[1], cv2.IMREAD_GRAYSCALE)


def _shifted(rng: np.random.Generator, image: Image) -> Image:
    height, width = image.shape
    down, right = (round(rng.uniform(-0.1, 0.1) * length) for length in (height, width))
    if rng.random() < 0.5:
        return np.roll(image, (down, right), (0, 1))
    motion = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(np.ascontiguousarray(image), motion, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _disk_blur(rng: np.random.Generator, image: Image) -> Image:
    radius = max(2.0, rng.uniform(0.05, 0.12) * min(image.shape))
    y, x = np.mgrid[-int(radius) : int(radius) + 1, -int(radius) : int(radius) + 1]
    kernel = (x**2 + y**2 <= radius**2).astype(np.float32)
    plane = cv2.filter2D(image.astype(np.float32), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    low, high = np.percentile(plane, [0.1, 99.9])
    return np.clip(np.rint((plane - low) / max(high - low, 1) * 255), 0, 255).astype(np.uint8)


def _dust(rng: np.random.Generator, image: Image) -> Image:
    picture = Picture.fromarray(image)
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    level = 250 if np.median(image) < 128 else 5
    if rng.random() < 0.5:
        x, y, a, b = rng.uniform(0, width), rng.uniform(0, height), *(rng.uniform(0.2, 0.45, 2) * min(width, height))
        pen.ellipse((x - a, y - b, x + a, y + b), fill=level)
    else:
        points = [(rng.uniform(0, width), rng.uniform(0, height)) for _ in range(5)]
        pen.line(points, fill=level, width=max(1, round(0.03 * min(width, height))), joint="curve")
    return np.array(picture)


def _blank(rng: np.random.Generator, image: Image) -> Image:
    plane = rng.poisson(rng.choice([3, 20, 200]), image.shape).astype(np.float32)
    if rng.random() < 0.5:  # of a camera that was binned and resized
        plane = cv2.resize(plane[::2, ::2], image.shape[::-1], interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(plane, [0.1, 99.9])
    return np.clip(np.rint((plane - low) / max(high - low, 1e-6) * 255), 0, 255).astype(np.uint8)


def _letters(rng: np.random.Generator, image: Image) -> Image:
    picture = Picture.fromarray(image)
    words = str(rng.choice(["Control", "24 h", "DMSO 0.1%", "well B07", "GFP", "day 3 (n=4)"]))
    font = ImageFont.load_default(size=max(8, round(rng.uniform(0.1, 0.16) * picture.height)))
    place = (rng.uniform(0.03, 0.3) * picture.width, rng.uniform(0.03, 0.8) * picture.height)
    ImageDraw.Draw(picture).text(place, words, fill=255 if np.median(image) < 128 else 0, font=font)
    return np.array(picture)


def _bar(rng: np.random.Generator, image: Image) -> Image:
    picture = Picture.fromarray(image)
    width, height = picture.size
    long, thick = rng.uniform(0.2, 0.35) * width, max(2, round(0.025 * height))
    left, top = 0.95 * width - long, 0.93 * height - thick
    ImageDraw.Draw(picture).rectangle(
        (left, top, left + long, top + thick - 1), fill=255 if np.median(image) < 128 else 0
    )
    return np.array(picture)


DEFECTS: dict[str, Callable[[np.random.Generator, Image], Image]] = {
    "out of focus": _disk_blur, "debris": _dust, "empty": _blank, "text": _letters, "scale bar": _bar,
}  # fmt: skip


# ---------------------------------------------------------------------------------------------- the measurements


class Data:
    """A dataset folder in memory."""

    def __init__(self, folder: str, model: str | None, workers: int, classes: int | None, per_class: int) -> None:
        self.manifest = Manifest.load(folder)
        self.workers = workers
        rows = self.manifest.metadata(["label", "dir_name", "idx"])
        chosen = _sample(rows["label"], classes, per_class)
        rows = rows.iloc[chosen].reset_index(drop=True)
        places = read_places(self.manifest).take(pa.array(chosen))
        parts = map_images(self.manifest.root, places, lambda images: images, workers=workers)
        self.images: list[Image] = [image for part in parts for image in part]
        names = sorted(rows["label"].unique())
        self.label = pd.Categorical(rows["label"], categories=names).codes.astype(np.int64)
        self.classes = len(names)
        self.source = pd.factorize(rows["dir_name"])[0].astype(np.int64)
        self.group = pd.factorize(rows["dir_name"] + "\n" + rows["idx"])[0].astype(np.int64)
        embeddings = open_embeddings(self.manifest, model)
        self.settings = embeddings.settings
        self.vectors = embeddings.take(chosen)

    def measured(self, images: list[Image]) -> Pixels:
        """Return the measurements of images, as the audit takes them."""
        parts = (measure(images[start : start + 64]) for start in range(0, len(images), 64))
        return collect(parts, len(images), "measure")

    def embedded(self, images: list[Image]) -> np.ndarray:
        """Return the embeddings of other images by the network of the folder's embeddings."""
        from cytoimagenet.eval.features import backbones, engine
        from cytoimagenet.loaders.transforms import to_square

        network, side = backbones.load(self.settings["source"] or self.settings["model"]), self.settings["input_size"]
        run = engine.runner(network.module, network.name, (side, side), self.settings["engine"])
        batches = [images[start : start + 64] for start in range(0, len(images), 64)]
        return np.concatenate(
            [run(np.stack([to_square(i, side) for i in batch]).astype(np.float32) / 255) for batch in batches]
        )


def _sample(label: pd.Series, classes: int | None, per_class: int) -> np.ndarray:
    """Return the rows of all images, or of some images of some of the classes that have enough of them."""
    if classes is None:
        return np.arange(len(label))
    rng = np.random.default_rng(0)
    large = [name for name, count in label.value_counts().sort_index().items() if count >= per_class]
    names = rng.permutation(large)[:classes]
    rows = [rng.permutation(np.flatnonzero((label == name).to_numpy()))[:per_class] for name in names]
    return np.sort(np.concatenate(rows))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a function and the seconds of processor time it took, over all threads."""
    start = time.process_time()
    return function(), time.process_time() - start


def duplicates(data: Data, seed: int, fastdup: str | None) -> dict[str, Any]:
    """Plant copies, and search for them."""
    rng = np.random.default_rng(seed)
    count = round(COPY_SHARE * len(data.images))
    chosen, images, kinds = rng.permutation(len(data.images))[:count], list(data.images), []
    for number, original in enumerate(chosen.tolist()):
        kinds.append(COPIES[number % len(COPIES)])
        images[original], copy = altered(rng, kinds[-1], images[original])
        images.append(copy)
    planted = {(int(a), len(data.images) + i) for i, a in enumerate(chosen)}
    without = find_duplicates(data.measured(data.images), workers=data.workers)
    pixels = data.measured(images)
    found, seconds = timed(lambda: find_duplicates(pixels, workers=data.workers))
    scores = _score_pairs(found.pairs, planted, without, chosen, len(data.images))
    pairs = set(map(tuple, found.pairs.tolist()))
    kind, hit = np.array(kinds), np.array([pair in pairs for pair in sorted(planted, key=lambda pair: pair[1])])
    return {
        "images": len(images),
        "planted": count,
        "found without planting": {"pairs": len(without.pairs), "images": int((without.group >= 0).sum())},
        "audit": {
            **scores,
            "recall by kind": {name: float(hit[kind == name].mean()) for name in COPIES},
            "cpu seconds": seconds,
        },
        **_neighbours(data, images, planted, without, chosen),
        **(_fastdup(images, planted, without, chosen, len(data.images), fastdup) if fastdup else {}),
    }


def _score_pairs(
    pairs: np.ndarray, planted: set[tuple[int, int]], without: Duplicates, chosen: np.ndarray, images: int
) -> dict[str, float]:
    """Return recall and precision; pairs of images that repeat each other without planting are right as well."""
    given = {tuple(pair) for pair in pairs.tolist()}
    # a copy also repeats what its original repeats
    origin = np.arange(images + len(chosen))
    origin[images:] = chosen
    own = groups_of(without.pairs, images)[origin]
    right = sum(
        pair in planted or origin[pair[0]] == origin[pair[1]] or 0 <= own[pair[0]] == own[pair[1]] for pair in given
    )
    touching = [pair for pair in given if pair[0] >= images or pair[1] >= images]
    good = sum(origin[a] == origin[b] or 0 <= own[a] == own[b] for a, b in touching)
    return {
        "recall": len(given & planted) / len(planted),
        "precision": right / max(len(given), 1),
        "precision among pairs with a copy": good / max(len(touching), 1),
        "pairs": len(given),
    }


def _neighbours(
    data: Data, images: list[Image], planted: set[tuple[int, int]], without: Duplicates, chosen: np.ndarray
) -> dict[str, Any]:
    """Search for neighbours of the embeddings by faiss; the best threshold is chosen on the planted pairs."""
    import faiss

    changed = np.concatenate([np.sort(chosen), np.arange(len(data.images), len(images))])
    vectors = np.concatenate([data.vectors, np.zeros((len(chosen), data.vectors.shape[1]), np.float32)])
    vectors[changed] = data.embedded([images[place] for place in changed])

    def search() -> tuple[np.ndarray, np.ndarray]:
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        index = faiss.IndexFlatIP(unit.shape[1])
        index.add(unit)
        similarity, near = index.search(unit, 6)
        first = np.repeat(np.arange(len(unit)), 6)
        pairs, value = np.sort(np.stack([first, near.ravel()], axis=1), axis=1), similarity.ravel()
        kept = pairs[:, 0] < pairs[:, 1]
        pairs, place = np.unique(pairs[kept], axis=0, return_index=True)
        return pairs, value[kept][place]

    (pairs, value), seconds = timed(search)
    best: dict[str, float] = {"recall": 0.0, "precision": 0.0}
    for threshold in np.linspace(0.8, 0.999, 60):
        one = _score_pairs(pairs[value >= threshold], planted, without, chosen, len(data.images))
        if min(one["recall"], one["precision"]) > min(best["recall"], best["precision"]):
            best = {**one, "threshold": float(threshold)}
    return {"faiss on embeddings, best threshold": {**best, "cpu seconds": seconds}}


def _fastdup(
    images: list[Image], planted: set[tuple[int, int]], without: Duplicates, chosen: np.ndarray, count: int, python: str
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "images"
        source.mkdir()
        for number, image in enumerate(images):
            cv2.imwrite(str(source / f"{number:07d}.png"), image)
        program = (
            "import fastdup,sys;f=fastdup.create(work_dir=sys.argv[2],input_dir=sys.argv[1]);"
            "f.run(threshold=0.9,print_summary=False,overwrite=True);f.similarity().to_csv(sys.argv[3])"
        )
        table = Path(folder) / "pairs.csv"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [python, "-c", program, source, Path(folder) / "work", table], capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.returncode:
            return {"fastdup": {"error": done.stderr[-400:], "cpu seconds": seconds}}
        pairs = pd.read_csv(table)
        left, right = (
            pairs[name].str.extract(r"(\d{7})\.png")[0].astype(int) for name in ("filename_from", "filename_to")
        )
        result = {}
        for threshold in (0.9, 0.96):
            some = (pairs["distance"] >= threshold).to_numpy() & (left != right).to_numpy()
            unique = np.unique(np.sort(np.stack([left, right], axis=1)[some], axis=1), axis=0)
            result[f"fastdup, similarity {threshold}"] = {
                **_score_pairs(unique, planted, without, chosen, count),
                "cpu seconds": seconds,
            }
        return result


def labels(data: Data, seed: int, noise: str, *, with_cleanlab: bool) -> dict[str, Any]:
    """Plant wrong labels, estimate their share and flag them."""
    pixels = data.measured(data.images)
    pairs = find_duplicates(pixels, workers=data.workers).pairs
    _, first = np.unique(data.group, return_index=True)
    linked = np.stack([np.arange(len(data.group)), first[data.group]], axis=1)
    group = connected(np.concatenate([pairs, linked]), len(data.group))
    described = features(pixels, data.vectors)
    near, similarity = nearest(
        described.coarse, described.coarse, NEIGHBOURS, "cosine", itself=True, differ=((group, group),)
    )
    scaled = (data.vectors - data.vectors.mean(axis=0)) / (data.vectors.std(axis=0) + 1e-6)
    centres = np.stack(
        [scaled[data.label == c].mean(axis=0) if (data.label == c).any() else np.inf for c in range(data.classes)]
    )
    distance = ((centres[:, None] - centres[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    order = np.nan_to_num(distance, nan=np.inf).argsort(axis=1)
    replaced_by = {"nearest": order[:, 0], "second": order[:, 1]}
    probabilities = _logistic(scaled, group) if with_cleanlab else None
    result: dict[str, Any] = {"images": len(data.label), "classes": data.classes}
    base: float | None = None
    for kind, share in (("none", 0.0), *((k, s) for k in ("uniform", *replaced_by) for s in WRONG_SHARES)):
        if kind not in noise.split(","):
            continue
        rng = np.random.default_rng([seed, round(1000 * share), len(kind)])
        wrong = rng.random(len(data.label)) < share
        label = data.label.copy()
        other = (label + rng.integers(1, data.classes, len(label))) % data.classes
        label[wrong] = replaced_by[kind][label[wrong]] if kind in replaced_by else other[wrong]

        def audit(label: np.ndarray = label) -> Any:
            trained = train(
                described.values, label, data.classes, group, near, similarity, seed=seed, compared=described.compared
            )
            return find_wrong_labels(trained, data.source, group, seed=seed)

        found, seconds = timed(audit)
        one = {
            "planted": float(wrong.mean()),
            "estimate": found.total.share,
            "interval": [found.total.low, found.total.high],
            "flagged": int(found.flagged.sum()),
            **_precision_recall(found.flagged, wrong),
            "cpu seconds": seconds,
        }
        base = one["estimate"] if kind == "none" else base
        if base is not None:
            truth = one["planted"] + base * (1 - one["planted"])
            one["planted plus what was there"] = truth
            one["interval contains it"] = bool(found.total.low <= truth <= found.total.high)
        one["precision at recall 0.5"] = _precision_at(found.judgement.wrong, wrong, 0.5)
        result[f"{kind} {share:.0%}"] = {"audit": one}
        if probabilities:
            result[f"{kind} {share:.0%}"]["cleanlab"] = _cleanlab(probabilities, label, wrong)
    return result


def _logistic(values: np.ndarray, group: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from labels to out-of-fold probabilities of a logistic regression."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import GroupKFold

    small = PCA(256, random_state=0).fit_transform(values).astype(np.float32)
    small /= small.std()

    def probabilities(label: np.ndarray) -> np.ndarray:
        result = np.zeros((len(label), int(label.max()) + 1), np.float32)
        for train_, test in GroupKFold(5).split(small, label, group):
            model = SGDClassifier(loss="log_loss", alpha=1e-4, max_iter=8, tol=None, random_state=0)
            model.fit(small[train_], label[train_])
            result[np.ix_(test, model.classes_)] = model.predict_proba(small[test])
        return result / result.sum(axis=1, keepdims=True)

    return probabilities


def _cleanlab(
    probabilities: Callable[[np.ndarray], np.ndarray], label: np.ndarray, wrong: np.ndarray
) -> dict[str, Any]:
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    def run() -> tuple[np.ndarray, float]:
        given = probabilities(label)
        joint = compute_confident_joint(label, given)
        return find_label_issues(label, given, n_jobs=1), 1 - float(np.trace(joint) / joint.sum())

    (flagged, share), seconds = timed(run)
    return {
        "estimate": share,
        "flagged": int(flagged.sum()),
        **_precision_recall(flagged, wrong),
        "cpu seconds": seconds,
    }


def _precision_recall(flagged: np.ndarray, wrong: np.ndarray) -> dict[str, float | None]:
    if not wrong.any():
        return {"precision": None, "recall": None}
    hits = float((flagged & wrong).sum())
    return {"precision": hits / max(int(flagged.sum()), 1), "recall": hits / int(wrong.sum())}


def _precision_at(score: np.ndarray, wrong: np.ndarray, recall: float) -> float | None:
    """Return the precision of the highest scores down to a recall."""
    if not wrong.any():
        return None
    hits = np.cumsum(wrong[np.argsort(-score, kind="stable")])
    place = int(np.searchsorted(hits, recall * wrong.sum()))
    return float(hits[place] / (place + 1))


def outliers(data: Data, seed: int) -> dict[str, Any]:
    """Replace images by images with a defect, and look at which place of the ranking they come."""
    rng = np.random.default_rng(seed)
    count = round(DEFECT_SHARE * len(data.images))
    chosen, images = np.sort(rng.permutation(len(data.images))[:count]), list(data.images)
    kind = np.array([list(DEFECTS)[number % len(DEFECTS)] for number in range(count)])
    for place, name in zip(chosen.tolist(), kind.tolist(), strict=True):
        images[place] = DEFECTS[name](rng, images[place])
    planted = np.zeros(len(images), bool)
    planted[chosen] = True
    pixels = data.measured(images)
    found, seconds = timed(
        lambda: find_outliers(
            lambda rows: [[images[row] for row in rows]], pixels, data.source, data.label, data.group, seed=0
        )
    )
    rank = np.empty(len(images), int)
    rank[np.argsort(-found.score, kind="stable")] = np.arange(len(images))
    score, plain_seconds = timed(lambda: _distance_to_neighbours(pixels))
    return {
        "images": len(images),
        "planted": count,
        "audit": {
            **_ranking(found.score, planted),
            **_precision_recall(found.flagged, planted),
            "flagged": int(found.flagged.sum()),
            "within the first 2 %, by kind": {
                name: float((rank[chosen[kind == name]] < 0.02 * len(images)).mean()) for name in DEFECTS
            },
            "cpu seconds": seconds,
        },
        "faiss, distance to the 10th neighbour": {**_ranking(score, planted), "cpu seconds": plain_seconds},
    }


def _distance_to_neighbours(pixels: Pixels) -> np.ndarray:
    """Return the distance to the 10th neighbour among the audit's own measurements, standardised."""
    import faiss

    values = np.concatenate([pixels.statistics, pixels.histogram], axis=1)
    values = ((values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)).astype(np.float32)
    index = faiss.IndexFlatL2(values.shape[1])
    index.add(values)
    return index.search(values, 11)[0][:, 10]


def _ranking(score: np.ndarray, planted: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    order = np.argsort(-score, kind="stable")
    count = int(planted.sum())
    return {
        "area under the ROC curve": float(roc_auc_score(planted, score)),
        "planted among the first 100": float(planted[order[:100]].mean()),
        "planted among the first (number planted)": float(planted[order[:count]].mean()),
        "planted within the first 2 %": float(planted[order[: round(0.02 * len(score))]].sum() / count),
    }


def main() -> None:
    """Run the parts and print their results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="dataset folder with embeddings")
    parser.add_argument("--embeddings", help="model; by default the only one in the folder")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--noise", default="none,uniform,nearest", help="which wrong labels to plant")
    parser.add_argument("--cleanlab", action=argparse.BooleanOptionalAction, default=True, help="compare with cleanlab")
    parser.add_argument("--classes", type=int, help="a sample: this number of classes; by default all images")
    parser.add_argument("--per-class", type=int, default=40, help="with --classes: images of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fastdup", help="Python of an environment with fastdup, which needs other versions than ours")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = Data(options.folder, options.embeddings, options.workers, options.classes, options.per_class)
    results: dict[str, Any] = {}
    for part in options.parts.split(","):
        if part == "duplicates":
            results[part] = duplicates(data, options.seed, options.fastdup)
        elif part == "labels":
            results[part] = labels(data, options.seed, options.noise, with_cleanlab=options.cleanlab)
        else:
            results[part] = outliers(data, options.seed)
        results["peak memory in GB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
        print(part, json.dumps(results[part], indent=1), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
