"""The settings are validated when they are built."""

from __future__ import annotations

import dataclasses

import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.protocols.settings import EvaluationSettings


def test_every_default_is_valid_and_no_standardisation_is_chosen():
    settings = EvaluationSettings()
    assert (settings.standardise, settings.taxol, settings.ties, settings.cyclops_labels) == (
        *(None, "all", "nearest", "clean"),
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("standardise", "--standardise"),
        ("taxol", "--taxol"),
        ("ties", "--ties"),
        ("cyclops_labels", "--cyclops-labels"),
    ],
)
def test_an_unknown_value_is_reported_with_its_option_and_what_there_is(name, option):
    with pytest.raises(UsageError, match=f"{option} other does not exist") as caught:
        EvaluationSettings(**{name: "other"})
    assert caught.value.next.startswith("Use one of ") and "None" not in caught.value.next
