"""Only features are features: what describes a sample is left out and named; keys are text in every format."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.evaluate import evaluate
from cytoimagenet.eval.run_tables import score_tables
from cytoimagenet.eval.tables.columns import is_doubtful
from cytoimagenet.eval.tables.feature_table import read_table
from cytoimagenet.eval.tasks.registry import find


def table(**columns):
    return pd.DataFrame({"id": ["a", "b", "c", "d"], "area": [1.0, 2.0, 4.0, 3.0], **columns})


def saved(frame, folder, suffix):
    path = folder / f"t{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def in_every_format(frame, folder):
    yield frame
    for suffix in (".parquet", ".csv", ".csv.gz"):
        yield saved(frame, folder, suffix)


@pytest.mark.parametrize(
    "name", ["time", "Time_h", "x", "Y", "z_um", "PlateNumber", "plate_no", "Cell ID", "timepoint", "bbox-0", "Dose_1"]
)
def test_columns_that_describe_a_sample_are_left_out_and_named(tmp_path, name):
    frame = table(**{name: [1, 2, 3, 4]})
    assert is_doubtful(name)
    for source in in_every_format(frame, tmp_path):
        found = read_table(source)
        assert (found.names, found.remarks) == (["area"], (f"Not used as features: {name}.",))


@pytest.mark.parametrize(
    "name", ["Cells_Location_Center_X", "Nuclei_Number_Object_Texture", "x12", "0", "PC 1", "F1", "run_x_0001"]
)
def test_features_of_others_are_features(tmp_path, name):
    assert name in read_table(table(**{name: [1, 2, 3, 4]})).names


def test_of_our_own_tables_only_our_columns_are_features(tmp_path):
    frame = table(f0000=[1.0, 2, 3, 4], f0001=[4.0, 3, 2, 1])
    for source in in_every_format(frame, tmp_path):
        found = read_table(source)
        assert (found.names, found.remarks) == (["f0000", "f0001"], ("Not used as features: area.",))


def test_a_declared_prefix_decides(tmp_path):
    frame = table(x=[5, 6, 7, 8], Cells_a=[0.0, 1, 0, 1])
    for source in in_every_format(frame, tmp_path):
        assert read_table(source, prefixes=["Cells_", "x"]).names == ["x", "Cells_a"]
        with pytest.raises(UsageError, match="No column of numbers starts with 'Nuclei_'"):
            read_table(source, prefixes=["Nuclei_"])


def test_a_table_of_doubtful_columns_alone_is_refused(tmp_path):
    frame = table(x=[5, 6, 7, 8], time=[1, 2, 3, 4]).drop(columns="area")
    for source in in_every_format(frame, tmp_path):
        with pytest.raises(UsageError, match="may describe the samples rather than measure them: x, time") as caught:
            read_table(source)
        assert "--features-prefix" in caught.value.next


def test_a_label_in_a_column_of_time_can_not_win(rng):
    label = np.repeat(["a", "b"], 30)
    noise = {f"n{i}": rng.normal(size=60) for i in range(3)}
    result = evaluate("cyclops", pd.DataFrame({"label": label, "time": np.repeat([0, 1000], 30), **noise}), probe=False)
    assert float(result.scores["knn"]) < 0.8
    assert result.entries[0]["remarks"] == ["features: Not used as features: time."]
    result = evaluate(
        "cyclops",
        pd.DataFrame({"label": label, "time": np.repeat([0, 1000], 30), **noise}),
        probe=False,
        features_prefix="time",
    )
    assert (float(result.scores["knn"]), result.entries[0]["settings"]["features_prefix"]) == (1.0, "time")


def test_keys_are_text_in_every_format(tmp_path):
    frame = pd.DataFrame(
        {
            "id": ["000", "001", "1e3", "1000", "1.0"],
            "label": ["NA", "None", "nan", "01", "1"],
            "plate": ["007", "7", "NULL", "1", "n/a"],
            "area": [1.0, 2.0, np.nan, 4.0, 5.0],
        }
    )
    expected = frame[["id", "label", "plate"]].to_dict("list")
    for source in in_every_format(frame, tmp_path):
        found = read_table(source)
        assert found.keys.to_dict("list") == expected
        np.testing.assert_array_equal(found.values.ravel(), frame["area"])


def test_the_same_table_has_the_same_score_in_every_format(tmp_path, rng):
    frame = pd.DataFrame(rng.normal(size=(60, 4)), columns=["a0", "a1", "a2", "a3"])
    frame = frame.assign(label=rng.choice(["01", "1", "1.0"], 60), id=[f"{i:03d}" for i in range(60)])
    scores = {float(evaluate("cyclops", one, probe=False).scores["knn"]) for one in in_every_format(frame, tmp_path)}
    assert len(scores) == 1 and scores.pop() < 0.7


@pytest.mark.parametrize("cell", ["#DIV/0!", "n.d.", "1,5", "< 3"])
def test_text_that_is_mostly_numbers_is_named(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f'id,area,size\na,1,2\nb,2,"{cell}"\nc,3,4\nd,4,5\n')
    found = read_table(tmp_path / "t.csv")
    assert found.names == ["area"]
    assert found.remarks == (f"Text that is mostly numbers, not used as features: size ({cell!r}).",)


def test_decimal_commas_throughout_are_an_error(tmp_path):
    (tmp_path / "t.csv").write_text('id,area\na,"1,5"\nb,"2,5"\n')
    with pytest.raises(UsageError, match=r"Columns are text, .*: area \('1,5'\)") as caught:
        read_table(tmp_path / "t.csv")
    assert "decimal point" in caught.value.next


def test_text_is_no_feature_and_no_remark(tmp_path):
    assert read_table(table(note=["good", "bad", "7", "good"])).remarks == ()


def test_decimals_are_numbers(tmp_path):
    exact = pa.array([Decimal("1.25"), Decimal("2.50")], pa.decimal128(10, 2))
    pq.write_table(pa.table({"id": ["a", "b"], "area": exact, "plain": [1.0, 2.0]}), tmp_path / "t.parquet")
    for source in (tmp_path / "t.parquet", pd.read_parquet(tmp_path / "t.parquet")):
        found = read_table(source)
        assert (found.names, found.values.tolist()) == (["area", "plain"], [[1.25, 1.0], [2.5, 2.0]])


def test_complex_numbers_are_refused(tmp_path):
    with pytest.raises(UsageError, match="'wave' has complex numbers"):
        read_table(table(wave=[1j, 2, 3, 4]))
    np.savez(tmp_path / "t.npz", features=np.eye(2) * 1j, id=["a", "b"])
    with pytest.raises(UsageError, match="'features' has complex numbers"):
        read_table(tmp_path / "t.npz")


def test_empty_keys(tmp_path):
    frame = table(label=["x", "", "x", "y"])
    for source in in_every_format(frame, tmp_path):
        with pytest.raises(UsageError, match="Row 2 has no label"):
            read_table(source)
    frame = table(label=list("xxyy"), split="")
    for source in in_every_format(frame, tmp_path):
        assert set(read_table(source).keys) == {"id", "label"}  # a column without content is no key


@pytest.mark.parametrize("dose", [-0.3, np.inf])
def test_impossible_doses_are_refused(dose):
    with pytest.raises(UsageError, match=r"Row 2: .* is not a concentration"):
        read_table(table(compound="x", concentration=[1.0, dose, 3.0, 0.0]))


def test_dead_cells_and_ghosts_are_no_classes_of_cyclops(rng):
    frame = pd.DataFrame(rng.normal(size=(40, 3)), columns=["a0", "a1", "a2"])
    frame = frame.assign(label=["ER", "DEAD", "GOLGI", "GHOST"] * 10)
    knn = evaluate("cyclops", frame, probe=False).entries[0]
    assert (knn["n"], knn["left_out"], [c["label"] for c in knn["by_class"]]) == (20, 20, ["ER", "GOLGI"])
    with pytest.raises(UsageError, match="All cells are DEAD or GHOST"):
        evaluate("cyclops", frame.assign(label="DEAD"))


@pytest.mark.parametrize("task", ["cyclops", "coos7", "bbbc021"])
def test_one_class_is_refused(rng, task):
    frame = pd.DataFrame(rng.normal(size=(40, 3)), columns=["a0", "a1", "a2"])
    frame = frame.assign(label="ER", split=["train", "test1"] * 20, compound=np.arange(40).astype(str), concentration=1)
    with pytest.raises(UsageError, match="All samples have the label ER: there is nothing to tell apart"):
        evaluate(task, frame, probe=False)


def test_a_row_without_a_number_is_named():
    frame = table(label=list("xxyy"), size=[1.0, 2, 3, 4])
    frame.loc[2, ["area", "size"]] = np.nan
    with pytest.raises(UsageError, match="No feature of c is a finite number"):
        evaluate("cyclops", frame, probe=False)
    frame.loc[3, ["area", "size"]] = np.inf
    with pytest.raises(UsageError, match="No feature of c and 1 more is a finite number"):
        evaluate("cyclops", frame, probe=False)


def test_a_group_is_never_ignored_silently(rng, tmp_path):
    frame = pd.DataFrame(rng.normal(size=(40, 3)), columns=["a0", "a1", "a2"])
    frame = frame.assign(id=[f"c{i}" for i in range(40)], label=list("xy") * 20, group=np.repeat(range(4), 10))
    words = "features: The column group of the table is not used by cyclops. To keep groups apart, score the table"
    result = evaluate("cyclops", frame, probe=False)
    assert result.entries[0]["remarks"][0].startswith(words) and result.entries[0]["settings"]["features"] == 3
    own = evaluate(None, frame, label="label", probe=False)
    assert own.scores["knn"].settings["folds"] == "leave one of 4 groups out"
    assert not any("group of the table" in remark for entry in own.entries for remark in entry["remarks"])
    frame.to_csv(tmp_path / "mine.csv", index=False)
    from cytoimagenet.eval.protocols.settings import EvaluationSettings

    run = score_tables(
        {"mine": tmp_path / "mine.csv"}, find("cyclops"), None, tmp_path, EvaluationSettings(probe=False)
    )
    assert any("The column group of the table is not used" in note for note in run.notes)
