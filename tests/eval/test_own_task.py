"""`eval --task IMAGES` and `evaluate(images, ...)`: from labelled images, or tables of features, to results.json."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.eval import run
from cytoimagenet.eval.commands import features as features_command
from cytoimagenet.eval.commands import run as command
from cytoimagenet.eval.evaluate import evaluate
from cytoimagenet.eval.features import backbones
from cytoimagenet.eval.own_images import own_images
from cytoimagenet.eval.own_tables import Columns, own_tables, task_name
from cytoimagenet.eval.results import document as results
from cytoimagenet.eval.run_tables import names_of
from cytoimagenet.eval.scores.folds import LEAK
from PIL import Image
from typer.testing import CliRunner

SIDE = 24


class Filters(torch.nn.Module):
    """A quick network of a few random filters."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.filters = torch.nn.Conv2d(3, 5, 5, stride=2)

    def forward(self, images):
        seen = torch.relu(self.filters(images))
        return torch.cat([seen.mean(dim=(2, 3)), seen.amax(dim=(2, 3))], dim=1)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """Load small networks by the names of the real ones, and one random network instead of three."""
    monkeypatch.setattr(run, "RANDOM_SEEDS", 1)
    seeds = {"imagenet": 7, "runs/first": 8}

    def load(name):
        return backbones.backbone(Filters(seeds.get(name, 1)), name.rpartition("/")[2])

    monkeypatch.setattr(backbones, "load", load)


@pytest.fixture
def cells(tmp_path):
    """A folder `cells` of 48 images with stripes of three widths, from four donors that differ in brightness."""
    root = tmp_path / "cells"
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(48):
        label, donor = "abc"[number % 3], number // 3 % 4
        width = {"a": 2, "b": 4, "c": 8}[label]
        stripes = (np.indices((SIDE, SIDE))[0] // width % 2) * 80 + 30 * donor
        noisy = np.clip(stripes + rng.normal(0, 40, (SIDE, SIDE)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(root / f"{number:02}.png")
        rows.append((f"{number:02}.png", label, f"d{donor}", f"w{number % 6}"))
    pd.DataFrame(rows, columns=["file", "label", "group", "well"]).to_csv(root / "images.csv", index=False)
    return root


def rewrite(folder, **columns):
    """Change columns of the table of a folder."""
    table = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False).assign(**columns)
    table.to_csv(folder / "images.csv", index=False)
    return table


def invoke(*arguments, of=command):
    app = typer.Typer()
    of.add_to(app)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)


def eval_images(*arguments):
    done = invoke(
        "--models", "random,imagenet,runs/first,fusion", "--engine", "torch", "--input-size", SIDE, *arguments
    )
    assert done.exit_code == 0, done.output
    return done, results.read("results")


def by_score(document, task="cells", split=""):
    return {(e["model"], e["score"]): e for e in document["results"] if (e["task"], e["split"]) == (task, split)}


def test_images_with_groups_from_files_to_the_report(cells, tmp_path):
    (cells / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    table = rewrite(cells)
    more = pd.DataFrame(
        [("broken.png", "a", "d0", "w0"), ("gone.png", "a", "d0", "w0"), ("00.png#xywh=0,0,8,8", "", "d0", "w0")],
        columns=table.columns,
    )
    pd.concat([table, more]).to_csv(cells / "images.csv", index=False)
    done, document = eval_images("--task", cells)
    found = by_score(document)
    models = ("random:0", "imagenet", "first", "fusion of imagenet and first", "mean-intensity")
    assert set(found) == {(model, score) for model in models for score in ("knn", "probe", "shuffled")}
    assert {e["preprocess"] for e in document["results"]} == {"concat-norm"}
    knn = found["imagenet", "knn"]
    assert (knn["n"], sum(c["n"] for c in knn["by_class"]), knn["rows"]) == (48, 48, 48)
    assert {name: knn["settings"][name] for name in ("k", "metric", "standardise", "folds", "seed", "input_size")} == {
        **{"k": 11, "metric": "euclidean", "standardise": "train", "seed": 0, "input_size": SIDE},
        **{"folds": "leave one of 4 groups out"},
    }
    assert (knn["bootstrap"]["groups"], knn["bootstrap"]["n_groups"]) == ("groups", 4)
    assert knn["interval"]["method"] == "Wilson" and 0 < knn["f1"] <= 1 and 0 < knn["macro"] <= 1
    assert all(e["at_chance"] for (_, score), e in found.items() if score == "shuffled")
    predictions = pd.read_parquet(tmp_path / "results" / "predictions" / f"{knn['key']}.parquet")
    assert predictions["id"].tolist() == table["file"].tolist()
    assert predictions["group"].tolist() == table["group"].tolist()
    assert predictions["fold"].tolist() == [int(group[1]) for group in table["group"]]
    pairs = {(tuple(p["models"]), p["score"]): p for p in document["paired"]}
    pair = pairs[("imagenet", "random:0"), "knn"]
    assert pair["n"] == 48 and 0 < pair["grouped_p"] <= 1 and 0 < pair["mcnemar"]["p"] <= 1
    # every sample that was offered is in a score or in a count
    rejected = pd.read_csv(tmp_path / "results" / "cells.rejected.csv").set_index("id")["reason"].to_dict()
    assert rejected == {"broken.png": "unreadable", "gone.png": "missing_channel"}
    assert "cells: 2 samples can't be used and are left out, see cells.rejected.csv" in done.output
    assert "cells: 1 of 50 samples have no label and are left out" in done.output.replace("\n", " ")
    assert (tmp_path / "results" / "report.html").is_file()


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_the_number_of_workers_changes_no_byte(cells, tmp_path, workers):
    written = tmp_path / f"out{workers}"
    asked = ["--task", cells, "--models", "imagenet", "--engine", "torch", "--input-size", SIDE, "--out"]
    for out, number in ((written, workers), (tmp_path / "again", 2)):
        assert invoke(*asked, out, "--workers", number).exit_code == 0
    names = sorted(p.name for p in (written / "predictions").iterdir())
    for name in ("results.json", *(f"predictions/{name}" for name in names)):
        assert (written / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_without_groups_the_report_says_that_neighbours_may_leak(cells, tmp_path):
    rewrite(cells, group="")
    done, document = eval_images("--task", cells, "--no-probe")
    knn = by_score(document)["imagenet", "knn"]
    assert (knn["settings"]["folds"], knn["bootstrap"]) == ("5 stratified folds", None)
    assert knn["remarks"] == [f"No groups are known. {LEAK}"]
    assert f"cells: No groups are known. {LEAK}" in done.output.replace("\n", " ")
    assert LEAK in (tmp_path / "results" / "report.html").read_text()
    assert {p["grouped_p"] for p in document["paired"]} == {None}


def test_a_split_and_other_names_of_columns(cells):
    table = rewrite(cells, set=["train"] * 24 + ["day 2"] * 12 + ["../day\n3"] * 12)
    table.rename(columns={"label": "phenotype", "group": "unused"}).to_csv(cells / "images.csv", index=False)
    done = invoke("--task", cells)
    assert "None of 48 samples has a label" in str(done.exception)
    assert "--label" in str(done.exception)
    _, document = eval_images("--task", cells, "--label", "phenotype", "--group", "well", "--split", "set")
    assert {e["split"] for e in document["results"]} == {"day 2", "../day\n3"}
    knn = by_score(document, split="day 2")["imagenet", "knn"]
    assert (knn["n"], knn["settings"]["folds"], knn["bootstrap"]["groups"]) == (12, "fitted on train", "wells")
    assert "Groups in both train and day 2: w0, w1, w2, w3, w4 and 1 more. " + LEAK in knn["remarks"]
    # a split may be called anything; the files of predictions stay in their folder
    assert all(set(e["key"]) <= set("abcdefghijklmnopqrstuvwxyz0123456789-. ") for e in document["results"])


def test_several_tasks_and_two_of_the_same_name(cells, tmp_path):
    (tmp_path / "more").mkdir()
    cells.rename(tmp_path / "more" / "cells")
    other = tmp_path / "nuclei.csv"
    table = pd.read_csv(tmp_path / "more" / "cells" / "images.csv")
    table.assign(file="more/cells/" + table["file"], label=table["well"], group="").to_csv(other, index=False)
    _, document = eval_images("--task", tmp_path / "more" / "cells", "--task", other, "--no-probe")
    assert {e["task"] for e in document["results"]} == {"cells", "nuclei"}
    done = invoke("--task", other, "--task", other, "--models", "imagenet")
    assert "Two tasks are called nuclei" in str(done.exception)
    other.rename(tmp_path / "coos7.csv")
    done = invoke("--task", tmp_path / "coos7.csv", "--models", "imagenet")
    assert "coos7 is the name of a task of the preprint" in str(done.exception)


def test_a_zip_is_a_task_of_its_name(cells, tmp_path):
    import shutil

    shutil.make_archive(str(tmp_path / "my cells.v2"), "zip", cells)
    _, document = eval_images("--task", tmp_path / "my cells.v2.zip", "--no-probe")
    assert {e["task"] for e in document["results"]} == {"my cells.v2"}
    assert task_name("a/b\\c\0") == "a-b-c-" and task_name("..") == "samples"


def test_strict_and_native_size(cells):
    (cells / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    done = invoke("--task", cells, "--models", "imagenet", "--engine", "torch", "--strict", "--input-size", "native")
    assert isinstance(done.exception, MetadataError)
    assert "Only 47 of 48 samples can be used: 00.png" in str(done.exception)
    done = invoke("--task", cells, "--models", "imagenet", "--engine", "torch", "--input-size", "native", "--no-probe")
    assert done.exit_code == 0, done.output
    knn = by_score(results.read("results"))["imagenet", "knn"]
    assert (knn["n"], knn["settings"]["input_size"]) == (47, "native")


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz"])
def test_images_and_the_table_of_their_features_have_the_same_scores(cells, tmp_path, suffix):
    _, document = eval_images("--task", cells)
    table = tmp_path / f"imagenet{suffix}"
    options = ["--model", "imagenet", "--engine", "torch", "--input-size", SIDE, "--out", table]
    assert invoke(cells, *options, of=features_command).exit_code == 0
    expected = by_score(document)
    for arguments in (["--task", cells], []):
        done = invoke("--features", table, *arguments, "--out", "tables")
        assert done.exit_code == 0, done.output
        found = by_score(results.read("tables"), "cells" if arguments else "imagenet")
        for score in ("knn", "probe", "shuffled"):
            first, second = expected["imagenet", score], found["imagenet", score]
            same = [name for name in first if name not in ("task", "key", "digest", "preprocess", "settings")]
            assert {name: first[name] for name in same} == {name: second[name] for name in same}
            assert second["preprocess"] == "as given"
            assert second["settings"].items() <= first["settings"].items()
            if score != "shuffled":
                predictions = [
                    pd.read_parquet(tmp_path / out / "predictions" / f"{one['key']}.parquet")
                    for out, one in (("results", first), ("tables", second))
                ]
                assert predictions[0].equals(predictions[1])


@pytest.fixture
def profiles(tmp_path):
    """Tables `good` and `poor` of the same 40 wells of four plates, in another order and of other formats."""
    rng = np.random.default_rng(1)
    keys = pd.DataFrame({"well": [f"{i:02}" for i in range(40)], "moa": np.tile(["x", "y"], 20)})
    keys["plate"] = np.repeat([1, 2, 3, 4], 10)  # numbers: not a feature
    shift = (keys["moa"] == "y").to_numpy()[:, None] * 3.0
    good = keys.assign(**{f"f{i:04}": v for i, v in enumerate((rng.normal(size=(40, 3)) + shift).T)})
    poor = keys.assign(**{f"f{i:04}": v for i, v in enumerate((rng.normal(size=(40, 3)) + shift / 9).T)})
    good.to_parquet(tmp_path / "good.parquet")
    poor.iloc[::-1].to_csv(tmp_path / "poor.csv", index=False)
    return good, poor


NAMED = ("--label", "moa", "--group", "plate", "--id", "well")


def test_tables_are_joined_by_id_and_compared_in_pairs(profiles, tmp_path):
    done = invoke("--features", "good.parquet", "--features", "poor.csv", *NAMED)
    assert done.exit_code == 0, done.output
    document = results.read("results")
    found = by_score(document, "good")
    assert {model for model, _ in found} == {"good", "poor"}
    good, poor = found["good", "knn"], found["poor", "knn"]
    assert (good["settings"]["features"], good["settings"]["standardise"]) == (3, "train")
    assert (good["settings"]["folds"], good["bootstrap"]["groups"]) == ("leave one of 4 groups out", "plates")
    (pair,) = [p for p in document["paired"] if p["score"] == "knn"]
    assert (pair["models"], pair["n"]) == (["good", "poor"], 40)
    assert pair["difference"] == pytest.approx(good["value"] - poor["value"]) and pair["difference"] > 0.2
    assert 0 < pair["grouped_p"] <= 1
    predictions = pd.read_parquet(tmp_path / "results" / "predictions" / f"{poor['key']}.parquet")
    assert predictions["id"].tolist() == [f"{i:02}" for i in range(40)]  # text: 01 is not 1
    # the same in Python, one table
    good_again = evaluate(None, profiles[0], label="moa", group="plate", id="well").scores["knn"]
    assert (good_again.correct, good_again.confusion) == (good["correct"], good["confusion"])


def test_the_second_table_needs_ids_only(profiles, tmp_path):
    _, poor = profiles
    poor.drop(columns=["moa", "plate"]).to_csv("poor.csv", index=False)
    done = invoke("--features", "good.parquet", "--features", "poor.csv", *NAMED, "--no-probe")
    assert done.exit_code == 0, done.output
    assert by_score(results.read("results"), "good")["poor", "knn"]["n"] == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda poor: poor.iloc[1:], "1 samples of the metadata have no row in the table: 00"),
        (lambda poor: poor.assign(moa="x"), "20 samples have another label here: 01 has 'x' instead of 'y'"),
        (lambda poor: poor.drop(columns="well"), "There is no column 'well' for the id"),
        (lambda poor: pd.concat([poor, poor]), "repeat the id"),
    ],
)
def test_tables_that_do_not_fit_together(profiles, change, message):
    change(profiles[1]).to_csv("poor.csv", index=False)
    done = invoke("--features", "good.parquet", "--features", "poor.csv", *NAMED, "--no-probe")
    assert isinstance(done.exception, UsageError), done.output
    assert message in str(done.exception)


def test_rows_without_a_label_are_left_out_and_counted(profiles):
    good, _ = profiles
    good.assign(moa=[None, " ", *good["moa"][2:]]).to_csv("good.csv", index=False)
    done = invoke("--features", "good.csv", *NAMED, "--no-probe")
    assert done.exit_code == 0, done.output
    knn = by_score(results.read("results"), "good")["good", "knn"]
    assert (knn["n"], knn["rows"], knn["left_out"]) == (38, 38, 2)
    assert "good: 2 rows of good have no label or belong to no sample and are left out" in done.output


def test_a_label_that_is_a_number_is_no_feature(profiles):
    good, _ = profiles
    table = good.assign(phenotype=(good["moa"] == "y").astype(float), f0000=0.0, f0001=0.0, f0002=np.arange(40.0) % 7)
    tables = {"first": table, "second": table.drop(columns="plate")}
    columns = Columns(label="phenotype", group="plate", id="well")
    names = [found.names for _, found, _, _ in own_tables(tables, columns)]
    assert names == [["f0000", "f0001", "f0002"]] * 2
    # a column that has the usual name of the label is neither label nor feature
    (_, found, _, samples), *_ = own_tables({"first": table.assign(label=1.0)}, columns)
    assert found.names == ["f0000", "f0001", "f0002"]
    assert samples.table["label"].tolist() == table["phenotype"].astype(str).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "good.parquet", "--label", "moaa"], "There is no column 'moaa' for the label"),
        (["--features", "good.parquet", "--label", "moa", "--group", "moa"], "can't be both label and group"),
        (["--features", "plain.csv"], "The table has no label: it has id"),
        (["--features", "good.parquet", "--features", "good.parquet"], "Two tables are called good"),
        (["--features", "good.parquet", "--name", "a", "--name", "b"], "2 names for 1 tables"),
        (["--features", "good.parquet", "--features", "poor.csv", "--label", "moa"], "joined by id, and this one has"),
        (["--features", "good.parquet", "--models", "imagenet"], "--models can't be used with --features"),
        (["--features", "good.parquet", "--metadata", "x"], "--metadata is the folder of a task"),
        (["--tasks", "coos7", "--label", "moa"], "--label can't be used with --tasks"),
        (["--label", "moa", "--id", "well"], "--label, --id can't be used with --tasks"),
        (["--task", "cells", "--id", "well"], "--id is a column of a table of features"),
        (["--strict"], "--pattern and --strict are for your own images"),
        (["--task", "cells", "--task", "b", "--features", "good.parquet"], "belong to one task"),
        (["--task", "absent"], "There is no such file or folder"),
        (["--task", "cells", "--label", "phenotype"], "There is no column 'phenotype' for the label"),
        (["--task", "cells", "--features", "good.parquet", "--id", "well"], "names the samples of cells"),
        (["--task", "cells", "--standardise", "all"], "--standardise all does not exist for cells"),
    ],
)
def test_wrong_usage(cells, profiles, arguments, message):
    pd.DataFrame({"id": ["a"], "f": [1.0]}).to_csv("plain.csv", index=False)
    done = invoke(*arguments)
    assert isinstance(done.exception, UsageError), done.output
    assert message in str(done.exception)


def test_models_are_separated_by_commas_except_in_paths_that_exist(cells, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def score_models(roots, models, *_, **__):
        raise Stop(models)

    monkeypatch.setattr("cytoimagenet.eval.run.score_models", score_models)
    (tmp_path / "deep, wide").mkdir()
    (tmp_path / "random,imagenet").mkdir()  # the name of a folder, not of two models

    def found(*options):
        done = invoke("--task", cells, *options)
        assert isinstance(done.exception, Stop), done.output
        return done.exception.args[0]

    both = ("--models", "imagenet, fusion", "--models", tmp_path / "deep, wide", "--models", "random:1,")
    assert found(*both) == ["imagenet", "fusion", str(tmp_path / "deep, wide"), "random:1"]
    assert found() == ["random", "imagenet", "RUN", "fusion"]
    monkeypatch.chdir(tmp_path)
    assert found("--models", "random,imagenet") == ["random,imagenet"]


def test_what_cannot_be_scored_is_refused_before_anything_is_computed(cells, monkeypatch):
    monkeypatch.setattr(backbones, "load", lambda name: pytest.fail("computed"))
    rewrite(cells, group=["", *["d1"] * 23, *["d2"] * 24])
    done = invoke("--task", cells)
    assert "1 of 48 samples have no group" in str(done.exception)
    rewrite(cells, group="", label="a")
    done = invoke("--task", cells)
    assert "All 48 samples have the label a" in str(done.exception)


def test_python_from_images_and_a_network_a_name_or_a_table(cells, tmp_path):
    _, document = eval_images("--task", cells)
    expected = by_score(document)["imagenet", "knn"]
    options = {"input_size": SIDE, "engine": "torch"}
    by_name = evaluate(cells, "imagenet", **options)
    assert [e for e in document["results"] if e["model"] == "imagenet"] == sorted(
        by_name.entries, key=lambda entry: entry["key"]
    )
    module = evaluate(cells, Filters(7), model="mine", probe=False, **options).scores["knn"]
    assert (module.entry["model"], module.correct) == ("mine", expected["correct"])
    table = own_images(cells).table
    from cytoimagenet import extract_features

    frame = extract_features(cells, model="imagenet", **options)
    joined = evaluate(table, frame, id="Metadata_id").scores["knn"]
    alone = evaluate(None, frame.rename(columns={"Metadata_label": "kind"}), label="kind", group="Metadata_group")
    assert joined.confusion == alone.scores["knn"].confusion == expected["confusion"]
    assert alone.scores["knn"].bootstrap["groups"] == "groups"
    (cells / "00.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    with pytest.warns(UserWarning, match="1 of 48 samples can't be used"):
        assert evaluate(cells, "imagenet", probe=False, **options).scores["knn"].n == 47


@pytest.mark.parametrize(
    ("task", "features", "options", "message"),
    [
        ("bbbc022", "imagenet", {}, "There is no task, file or folder 'bbbc022'"),
        (None, "imagenet", {}, "A network needs images"),
        ("coos7", "imagenet", {}, "A network needs the images of coos7"),
        ("coos7", pd.DataFrame({"id": ["a"], "f": [1.0]}), {"label": "x"}, "label can only be used with your own"),
        (None, pd.DataFrame({"id": ["a"], "f": [1.0]}), {"metadata": "x"}, "`metadata` is the folder of a task"),
    ],
)
def test_python_errors(task, features, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(task, features, **options)


def test_names_of_tables():
    assert list(names_of(["a/x.parquet", "b/y.csv"], ["first", "second"])) == ["first", "second"]
    with pytest.raises(UsageError, match="Two tables are called x"):
        names_of(["a/x.parquet", "b/x.csv"])


def test_json_is_the_document(profiles):
    done = invoke("--features", "good.parquet", *NAMED, "--no-probe", "--json")
    assert json.loads(done.stdout) == results.read("results")
