"""A misspelt path is found before the Hub is asked; without a network the error comes at once and says so."""

from __future__ import annotations

import importlib
import logging

import pytest
from cytoimagenet.builder.errors import CytoImageNetError, UsageError
from cytoimagenet.builder.hf import hub_errors
from cytoimagenet.training import model_names
from cytoimagenet.training.model import load_backbone
from cytoimagenet.training.model_names import check_model_name


@pytest.fixture
def runs(tmp_path):
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").touch()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("runs/frist", "Did you mean runs/first?"),
        ("./runs/nope", "There are runs/first, runs/second"),
        ("/nowhere/at/all", "contains config.json"),
        ("runs\\first", "contains config.json"),
    ],
)
def test_a_path_at_which_there_is_nothing(runs, name, advice, monkeypatch):
    monkeypatch.setattr(model_names, "why_unreachable", lambda: pytest.fail("the Hub was asked"))
    with pytest.raises(UsageError, match="no such model folder") as raised:
        load_backbone(name)
    assert advice in raised.value.next


def test_names_of_the_hub_and_folders_are_accepted(runs):
    for name in ("microsoft/resnet-18", "resnet", "runs/first", str(runs / "second")):
        check_model_name(name)


def test_without_a_network_a_model_that_is_not_in_the_cache_fails_at_once(monkeypatch):
    asked = []
    monkeypatch.setattr(model_names, "why_unreachable", lambda: asked.append(1) or "no network: [Errno -2]")
    with pytest.raises(UsageError, match=r"the Hub can't be reached \(no network: \[Errno -2\]\)"):
        load_backbone("nobody/nothing")
    assert asked


def test_no_answer_is_not_a_refusal():
    """The client's errors without an answer of a server, and with one."""
    from huggingface_hub import errors

    http = importlib.import_module(errors.HTTPError.__module__.split(".")[0])
    silent = hub_errors.in_plain_words(http.ConnectError("[Errno -2] Name or service not known"), "me/it")
    assert isinstance(silent, CytoImageNetError)
    assert silent.what == "The Hub can't be reached (no network: [Errno -2] Name or service not known)"
    assert "logged in" not in silent.next
    answer = http.Response(403, request=http.Request("GET", "https://huggingface.co"))
    refused = hub_errors.in_plain_words(errors.HfHubHTTPError("403 Forbidden", response=answer), "me/it")
    assert refused.what == "The Hub refused: 403 Forbidden" and "logged in" in refused.next
    offline = hub_errors.in_plain_words(errors.OfflineModeIsEnabled("x"), "me/it")
    assert offline.what == "The Hub can't be reached (HF_HUB_OFFLINE is set)"


def test_one_request_shows_that_there_is_no_network(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens at this port
    assert hub_errors.why_unreachable().startswith("no network: ")
    with pytest.raises(CytoImageNetError, match="can't be reached"):
        hub_errors.check_reachable("me/it")


def test_the_client_prints_nothing_inside_the_block(caplog):
    logger = logging.getLogger("huggingface_hub.utils._http")
    with hub_errors.quiet_client():
        logger.warning("Retrying in 8s")
    assert not caplog.records
