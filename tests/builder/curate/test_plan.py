"""The plan: sorted rows, crops by class size, and chunks in the order of the files."""

import pandas as pd
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.curate.plan import make_plan
from cytoimagenet.builder.errors import SchemaError, UsageError

from tests.builder.curate import curated_sources as made

ROWS = [
    made.row("b-1", "actin", "b/2.png#xywh=0,0,9,9", "b"),
    made.row("a-1", "lamin", "a/1.tif", "a"),
    made.row("b-0", "lamin", "b/2.png#xywh=5,5,9,9", "b"),
    made.row("b-2", "actin", "b/1.png", "b"),
]


def idx_of(jobs):
    return [[row.idx for row in job.rows] for job in jobs]


@pytest.mark.parametrize("form", ["frame", "file"])
def test_rows_are_sorted_by_label_and_processed_by_file(form, tmp_path):
    selection = pd.DataFrame(ROWS)[schema.SELECTION.names]
    if form == "file":
        schema.write(selection, tmp_path / "selection.parquet", schema.SELECTION)
        selection = tmp_path / "selection.parquet"
    plan = make_plan(selection)
    assert plan.selection["idx"].to_pylist() == ["b-1", "b-2", "a-1", "b-0"]
    assert plan.crops.tolist() == [4, 4, 4, 4]
    jobs = list(plan.jobs(3))
    assert idx_of(jobs) == [["a-1", "b-2", "b-1"], ["b-0"]]  # both boxes of b/2.png one after the other
    assert [job.number for job in jobs] == [0, 1]
    assert tuple(jobs[1].rows[0]) == ("b-0", "b/2.png#xywh=5,5,9,9", 4)


@pytest.mark.parametrize("form", ["frame", "file"])
def test_a_selection_of_an_earlier_version_has_no_provenance(form, tmp_path):
    selection = pd.DataFrame(ROWS)[schema.SELECTION.names].drop(columns=[*schema.ADDED])
    if form == "file":
        selection.to_parquet(tmp_path / "selection.parquet")
        selection = tmp_path / "selection.parquet"
    plan = make_plan(selection)
    for name in schema.ADDED:
        assert plan.selection[name].to_pylist() == [schema.empty(name)] * 4
    assert plan.selection.column_names == schema.SELECTION.names


def test_the_order_of_the_selection_does_not_matter():
    plans = [make_plan(pd.DataFrame(rows)[schema.SELECTION.names]) for rows in (ROWS, ROWS[::-1])]
    assert plans[0].selection.equals(plans[1].selection)
    assert idx_of(plans[0].jobs(2)) == idx_of(plans[1].jobs(2))


def test_wrong_selections_are_refused(tmp_path):
    selection = pd.DataFrame(ROWS)[schema.SELECTION.names]
    with pytest.raises(UsageError, match="No image was selected"):
        make_plan(selection.head(0))
    with pytest.raises(UsageError, match="selected twice") as caught:
        make_plan(pd.concat([selection, selection.tail(1)]))
    assert caught.value.where == "idx b-2"
    with pytest.raises(SchemaError, match="channels"):
        make_plan(selection.drop(columns="channels"))
