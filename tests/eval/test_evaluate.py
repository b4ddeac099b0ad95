"""The protocols equal plain loops, and reproduce the scores of published profiles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.eval.evaluate import evaluate

LJOSA = "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz"


def random_screen(seed, *, weeks=3):
    """Return wells of compounds that each have one mechanism; one treatment is in all weeks."""
    rng = np.random.default_rng(seed)
    rows = []
    for compound in range(9):
        for dose in (1.0, 3.0)[: rng.integers(1, 3)]:
            week = rng.integers(1, weeks + 1)
            rows += [(f"c{compound}", dose, f"m{compound % 3}", f"Week{week}_{plate}") for plate in (1, 2)]
    rows += [("taxol", 0.3, "m0", f"Week{week}_1") for week in range(1, weeks + 1)]
    rows += [("DMSO", 0.0, "DMSO", f"Week{week}_{plate}") for week in range(1, weeks + 1) for plate in (1, 2)] * 3
    frame = pd.DataFrame(rows, columns=["compound", "concentration", "moa", "plate"])
    values = rng.normal(size=(len(frame), 4)) + frame["moa"].astype("category").cat.codes.to_numpy()[:, None]
    return pd.concat([frame, pd.DataFrame(values, columns=["w0", "w1", "w2", "w3"])], axis=1)


def slow_nearest(profiles, queries, allowed):
    """Return for each query the mechanism of its most similar allowed treatment, "" without one."""
    predicted = []
    for i in queries:
        best, answer = -np.inf, ""
        for j in queries:
            if allowed(profiles[i], profiles[j]):
                a, b = profiles[i]["mean"], profiles[j]["mean"]
                similarity = a @ b / np.sqrt((a @ a) * (b @ b))
                if similarity > best:
                    best, answer = similarity, profiles[j]["moa"]
        predicted.append(answer)
    return predicted


def slow_profiles(frame):
    profiles = []
    treated = frame[frame["compound"] != "DMSO"]
    for (compound, dose), rows in treated.groupby(["compound", "concentration"]):
        weeks = {plate.split("_")[0] for plate in rows["plate"]}
        profiles.append(
            {
                "id": f"{compound} {dose:g}",
                "compound": compound,
                "moa": rows["moa"].iloc[0],
                "batch": weeks.pop() if len(weeks) == 1 else f"alone {compound} {dose}",
                "mean": rows[["w0", "w1", "w2", "w3"]].to_numpy().mean(axis=0),
            }
        )
    return profiles


@pytest.mark.parametrize("seed", range(12))
def test_nsc_and_nscb_agree_with_plain_loops(seed):
    frame = random_screen(seed)
    result = evaluate("bbbc021", frame, probe=False)
    profiles = slow_profiles(frame)
    every = range(len(profiles))

    def other_compound(a, b):
        return a["compound"] != b["compound"]

    def other_batch(a, b):
        return other_compound(a, b) and a["batch"] != b["batch"]

    batches = {p["moa"]: {q["batch"] for q in profiles if q["moa"] == p["moa"]} for p in profiles}
    several = [i for i in every if len(batches[profiles[i]["moa"]]) > 1]
    for name, rows, rule in (("nsc", every, other_compound), ("nscb", several, other_batch)):
        predicted = slow_nearest(profiles, rows, rule)
        score = result.scores[name]
        table = result.predictions[score.key].set_index("id")
        found = table.loc[[profiles[i]["id"] for i in rows], "predicted"].tolist()
        assert found == predicted
        assert score.correct == sum(a == profiles[i]["moa"] for a, i in zip(predicted, rows, strict=True))
        assert score.n == len(rows)
        pools = [sum(rule(profiles[i], profiles[j]) for j in rows) for i in rows]
        assert table.loc[[profiles[i]["id"] for i in rows], "candidates"].tolist() == pools


def test_a_treatment_without_a_candidate_is_counted_as_unclassified():
    frame = pd.DataFrame(
        {
            "compound": ["a", "a", "b", "c"],
            "concentration": [1.0, 2.0, 1.0, 1.0],
            "moa": ["m", "m", "m", "in one week only"],
            "week": ["Week1", "Week2", "Week1", "Week1"],
            "f": [1.0, 1.0, 1.0, -1.0],
            "g": [0.0, 1.0, 2.0, -1.0],
        }
    )
    result = evaluate("bbbc021", frame, probe=False)
    assert (result.scores["nsc"].correct, result.scores["nsc"].n) == (3, 4)
    nscb = result.scores["nscb"]
    assert (nscb.unclassified, nscb.correct, nscb.n) == (1, 2, 3)  # a 1 shares its week with the only other compound
    assert result.predictions[nscb.key].set_index("id").loc["a 1", "predicted"] == ""


def test_a_score_is_a_number_with_its_settings():
    result = evaluate("bbbc021", random_screen(0), probe=False, standardise="all")
    score = result.scores["nsc"]
    assert score == score.correct / score.n
    assert score.low < score < score.high
    assert score.bootstrap["groups"] == "compounds"
    assert score.settings["standardise"] == "all"
    with pytest.raises(AttributeError):
        _ = score.nonsense
    frame = result.to_frame()
    assert frame.loc[frame["score"] == "nsc", "standardise"].tolist() == ["all", "none", "plate-dmso"]
    assert frame["beside"].tolist().count(True) == 2
    assert f"({score.correct} of {score.n})" in result.summary()


def test_taxol_of_three_wells_only():
    wells = [("Week1_22123", "D05"), ("Week1_22141", "D05"), ("Week1_22161", "D05"), ("Week2_1", "D05")]
    taxol = pd.DataFrame(wells, columns=["plate", "well"]).assign(compound="taxol", concentration=0.3, moa="m", f=1.0)
    taxol.loc[3, "f"] = 1e6
    others = taxol.assign(
        compound=["a", "b", "c", "d"], concentration=1.0, well="C03", f=[1.0, 2, 3, 4], moa=list("mmmn")
    )
    frame = pd.concat([taxol, others], ignore_index=True).assign(g=1.0)
    every = evaluate("bbbc021", frame, probe=False)
    three = evaluate("bbbc021", frame, probe=False, taxol="ljosa3")
    assert every.scores["nsc"].key != three.scores["nsc"].key
    assert three.scores["nsc"].settings["taxol"] == "ljosa3"
    assert three.scores["nsc"].n == every.scores["nsc"].n == 5
    with pytest.raises(CheckFailedError, match="None of the three taxol wells"):
        evaluate("bbbc021", frame[~frame["plate"].str.startswith("Week1_22")], probe=False, taxol="ljosa3")


def cells(seed, n=90, classes=4):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, n)
    values = rng.normal(size=(n, 3)) * [1, 50, 1] + label[:, None]
    frame = pd.DataFrame(values, columns=["a0", "a1", "a2"])
    return frame.assign(label=[f"k{i}" for i in label], id=[f"cell {i}" for i in range(n)])


def slow_votes(values, labels, fitted, fitted_labels, leave_out, ties):
    predicted = []
    for i, value in enumerate(values):
        order = sorted((np.sum((value - f) ** 2), j) for j, f in enumerate(fitted) if not (leave_out and i == j))
        votes = [fitted_labels[j] for _, j in order[:11]]
        most = max(votes.count(v) for v in votes)
        tied = [v for v in votes if votes.count(v) == most]
        predicted.append(min(tied) if ties == "published" else tied[0])
    return predicted


@pytest.mark.parametrize("ties", ["nearest", "published"])
@pytest.mark.parametrize("seed", range(3))
def test_cyclops_agrees_with_plain_loops(seed, ties):
    frame = cells(seed)
    result = evaluate("cyclops", frame, standardise="all", ties=ties, probe=False)
    values = frame[["a0", "a1", "a2"]].to_numpy()
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    predicted = slow_votes(values, None, values, frame["label"].tolist(), True, ties)
    score = result.scores["knn"]
    assert result.predictions[score.key]["predicted"].tolist() == predicted
    assert score.correct == sum(a == b for a, b in zip(predicted, frame["label"], strict=True))
    assert score.bootstrap is None  # no groups are known


def test_cyclops_scores_16_and_17_classes():
    frame = cells(0, classes=3).replace({"label": {"k0": "SPINDLE", "k1": "SPINDLEPOLE"}})
    result = evaluate("cyclops", frame, standardise="all", probe=False)
    coarse, fine = result.scores["knn"], result.scores["knn-17"]
    assert coarse.confusion["labels"] == ["SPINDLE", "k2"]
    assert fine.confusion["labels"] == ["SPINDLE", "SPINDLEPOLE", "k2"]
    assert coarse > fine


@pytest.mark.parametrize("seed", range(3))
def test_coos7_is_fitted_on_the_training_set_alone(seed):
    frame = cells(seed, 120)
    frame["split"] = ["train"] * 80 + ["test1"] * 25 + ["test3"] * 15
    frame["well"] = [f"w{i % 7}" for i in range(120)]
    frame.loc[frame["split"] != "train", ["a0", "a1", "a2"]] += 5.0  # a shift that must not reach the scaler
    result = evaluate("coos7", frame, standardise="train", probe=True)
    values = frame[["a0", "a1", "a2"]].to_numpy()
    values = (values - values[:80].mean(axis=0)) / values[:80].std(axis=0)
    labels = frame["label"].tolist()
    for name, rows in (("test1", slice(80, 105)), ("test3", slice(105, 120))):
        predicted = slow_votes(values[rows], None, values[:80], labels[:80], False, "nearest")
        score = result.scores[name]
        assert result.predictions[score.key]["predicted"].tolist() == predicted
        assert score.n == len(predicted)
        assert score.bootstrap["n_groups"] == 7
        assert result.scores[f"probe {name}"].n == len(predicted)
        assert result.scores[f"shuffled {name}"].chance == pd.Series(labels[rows]).value_counts(normalize=True).max()
    assert "test2" not in result.scores


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("cyclops", {"standardise": "train"}, "does not exist for cyclops"),
        ("cyclops", {"standardise": "plate-dmso"}, "does not exist for cyclops"),
        ("cyclops", {"standardise": "zscore"}, "--standardise zscore does not exist"),
        ("cyclops", {"ties": "random"}, "--ties random"),
        ("coos7", {}, "has no split"),
        ("bbbc021", {}, "has no compound, concentration"),
        ("bbbc022", {}, "There is no task"),
    ],
)
def test_what_does_not_exist_is_reported(task, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(task, cells(0), **options)


def test_bbbc021_has_no_training_set_and_needs_dmso():
    frame = random_screen(0)
    with pytest.raises(UsageError, match="train does not exist for bbbc021"):
        evaluate("bbbc021", frame, standardise="train")
    with pytest.raises(UsageError, match="has 0 DMSO wells"):
        evaluate("bbbc021", frame[frame["compound"] != "DMSO"], standardise="plate-dmso")
    with pytest.raises(UsageError, match="needs plates"):
        evaluate("bbbc021", frame.drop(columns="plate"), standardise="tvn")


def test_equal_input_gives_equal_entries():
    frame = random_screen(3)
    assert evaluate("bbbc021", frame).entries == evaluate("bbbc021", frame).entries


# published profiles


@pytest.fixture(scope="module")
def ljosa(shared):
    root = shared / "evaldata" / "bbbc021"
    return {
        way: evaluate("bbbc021", root / LJOSA, root, standardise=way, probe=False) for way in ("none", "plate-dmso")
    }


@pytest.mark.real
def test_the_profiles_of_ljosa_2013(ljosa):
    result = ljosa["plate-dmso"]
    nsc = result.scores["nsc"]
    assert (nsc.correct, nsc.n, nsc.settings["features"], nsc.settings["dropped"]) == (84, 103, 513, 3)
    beside = {e["settings"]["standardise"]: (e["correct"], e["n"]) for e in result.entries if e["beside"]}
    assert beside == {"none": (51, 103), "all": (87, 103)}
    assert ljosa["none"].scores["nsc"].correct == 51
    assert result.scores["nscb"].n == 92
    assert nsc.bootstrap["n_groups"] == 38
    assert result.scores["shuffled"].at_chance


@pytest.mark.real
def test_pool_sizes_as_published(ljosa, shared):
    published = pd.read_csv(shared / "evaldata/bbbc021/published_deepprofiler_errors_and_pool_sizes.csv")
    result = ljosa["plate-dmso"]
    pools = {
        name.upper(): result.predictions[result.scores[name].key].set_index("id")["candidates"]
        for name in ("nsc", "nscb")
    }
    found = [pools[row.protocol][f"{row.compound} {row.concentration:g}"] for row in published.itertuples()]
    assert found == published["candidate_pool_size"].tolist()
    assert len(found) == 15
