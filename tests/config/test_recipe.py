"""Recipes: they survive JSON, errors name the field, and the digest covers every field."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config.recipe import (
    LRN,
    CifarNet,
    Cosine,
    Late,
    MlpNet,
    Net,
    Plateau,
    Recipe,
    Sgd,
    SpatialLRN,
    Steps,
    Views,
)
from alexnet.config.recipes import RECIPES, named, override
from alexnet.core.errors import InputError

PAPER = RECIPES["paper"]


def through_json(recipe: Recipe) -> Recipe:
    return Recipe.of(json.loads(json.dumps(recipe.plain(), allow_nan=False)))


# Runs and checkpoints carry the digests, so they have stayed since 0.2.0. Only cifar-13 and cifar-11 have new ones:
# now their biases keep their rate to the end, as in the files of 2012.
DIGESTS = {
    "paper": "a2ed9fa06ded",
    "source": "8047f511e672",
    "source-145": "e23f9e725b5c",
    "batch-256": "97fe2411f7b4",
    "large": "e733e296c0a7",
    "one-gpu": "fc7eced0a8a1",
    "bvlc": "0f61bf16aa9d",
    "caffenet": "260db2a0d156",
    "owt": "a579ea0e6ced",
    "cifar-13": "0f6cc1b410e8",
    "cifar-11": "64600fd51121",
    "cifar-18": "ba7800dd4076",
    "tiny": "346701fc2242",
    "small": "7eeb2b72705f",
    "demo": "52e9ccc42948",
    "today": "4d5eb48063c2",
    "today-64": "8ecd04d00915",
    "today-256": "f02589977ec5",
}
TODAY = {"today": "small", "today-64": "tiny", "today-256": "source"}


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_named_recipe_survives_json(name: str) -> None:
    again = through_json(RECIPES[name])
    assert again == RECIPES[name]
    assert again.digest == RECIPES[name].digest


def test_every_named_recipe_has_a_digest_of_its_own() -> None:
    digests = {recipe.digest for recipe in RECIPES.values()}
    assert len(digests) == len(RECIPES)
    assert all(len(d) == 12 and int(d, 16) >= 0 for d in digests)


def test_the_digests_of_the_named_recipes_stay() -> None:
    assert {name: recipe.digest for name, recipe in RECIPES.items()} == DIGESTS


def test_a_field_that_came_later_counts_once_it_is_set() -> None:
    """At its default, the digest leaves it out, but the recipe still shows it."""
    source = RECIPES["source"]
    set_anew = source.replace(sgd={"lars": None}, schedule={"warmup_epochs": 0})
    assert set_anew.digest == source.digest
    assert source.plain()["sgd"]["lars"] is None
    assert source.plain()["schedule"]["warmup_epochs"] == 0.0
    changes: list[dict[str, Any]] = [
        {"sgd": {"lars": 0.001}},
        {"sgd": {"lars": 0.002}},
        {"schedule": {"warmup_epochs": 1}},
    ]
    digests = {source.replace(**change).digest for change in changes}
    assert len(digests | {source.digest}) == 4


@pytest.mark.parametrize("name", [name for name in DIGESTS if name not in ("large", "small", *TODAY)])  # which warm up
def test_a_run_begun_before_a_field_came_has_the_same_recipe(name: str) -> None:
    before = RECIPES[name].plain()
    del before["sgd"]["lars"]
    before["schedule"].pop("warmup_epochs", None)
    assert Recipe.of(before) == RECIPES[name]
    assert Recipe.of(before).digest == DIGESTS[name]


def test_batch_256_is_net_170_with_twice_the_batch_and_twice_the_rates() -> None:
    """2012 log, 170-256-double: "matches #170 exactly"."""
    source = RECIPES["source"]
    assert RECIPES["batch-256"] == source.replace(sgd={"batch": 256, "lr": 0.02, "bias_lr": 0.04})
    assert (source.sgd.batch, source.sgd.lr, source.sgd.bias_lr) == (128, 0.01, 0.02)


def test_large_is_source_but_for_batch_rate_lars_and_warm_up() -> None:
    """Not in the paper: You et al. 2017."""
    source, large = RECIPES["source"], RECIPES["large"]
    assert large.sgd.batch == 1024
    assert large.sgd.lars is not None
    assert isinstance(large.schedule, Steps)
    assert large.schedule.warmup_epochs > 0
    back = {name: getattr(source.sgd, name) for name in ("batch", "lr", "lars")}
    assert large.replace(sgd=back, schedule={"warmup_epochs": 0.0}) == source
    for name, recipe in RECIPES.items():
        if name != "large":
            assert recipe.sgd.lars is None, name
            warm = isinstance(recipe.schedule, Steps) and recipe.schedule.warmup_epochs > 0
            assert warm == (name == "small"), name


@pytest.mark.parametrize("name", list(TODAY))
def test_today_has_the_layers_of_its_base_and_each_later_idea(name: str) -> None:
    """The layers differ in their initial weights and their dropout, and the base has none of these ideas.

    today-64 has the widths of small.
    """
    today, base, small = RECIPES[name], RECIPES[TODAY[name]], RECIPES["small"]
    assert isinstance(small.net, Net)
    if name == "today-64":
        base = base.replace(net={"channels": small.net.channels, "hidden": small.net.hidden})
    assert isinstance(base.net, Net)
    back = {"init": "normal", "bias_one_layers": base.net.bias_one_layers, "dropout": base.net.dropout}
    assert today.replace(net=back).net == base.net
    assert isinstance(today.schedule, Cosine)
    later = {"views": ("area", "aspect"), "sgd": ("decoupled", "label_smoothing", "average")}
    for part, names in later.items():
        for field in names:
            now, before = (getattr(getattr(recipe, part), field) for recipe in (today, base))
            assert now != before == getattr(getattr(PAPER, part), field), field


numbers = st.floats(0, 1e6, allow_nan=False)
rates = st.floats(1e-6, 1e3)
lrns = st.builds(
    LRN, n=st.sampled_from([1, 3, 5, 9]), k=rates, alpha=rates, beta=rates, divide_alpha_by_n=st.booleans()
)
spatial_lrns = st.builds(SpatialLRN, n=st.sampled_from([1, 3, 5]), k=rates, alpha=rates, beta=rates)
nets = st.builds(
    Net,
    image_size=st.integers(67, 300),
    classes=st.integers(2, 5000),
    channels=st.lists(st.integers(1, 200).map(lambda n: 2 * n), min_size=5, max_size=5).map(tuple),
    lrn=st.none() | lrns,
    spatial_lrn=st.none() | spatial_lrns,
    std=st.lists(rates, min_size=8, max_size=8).map(tuple),
    bias_one_layers=st.lists(st.integers(1, 8), max_size=8, unique=True).map(tuple),
    activation=st.sampled_from(["relu", "tanh", "logistic"]),
)
cifars = st.builds(CifarNet, norm=st.none() | lrns | spatial_lrns, norm2_first=st.booleans())
mlps = st.builds(
    MlpNet,
    image_size=st.integers(1, 300),
    hidden=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    dropout=st.floats(0, 0.9),
)
recipes = st.builds(Recipe, net=mlps) | st.builds(
    Recipe,
    net=nets | cifars,
    views=st.builds(
        Views,
        colour=numbers,
        scale=rates,
        mean=st.sampled_from(["place", "centre"]),
        area=st.sampled_from([(), (0.25, 1.0), (1.0, 1.0)]),
    ),
    sgd=st.builds(
        Sgd,
        lr=numbers,
        layer_weight_decay=st.dictionaries(st.sampled_from(["conv1", "conv2"]), numbers),
        lars=st.none() | st.floats(1e-6, 1),
        label_smoothing=st.floats(0, 0.9),
        average=st.floats(0, 1),
    ),
    schedule=st.builds(Plateau, patience=st.integers(1, 50))
    | st.builds(Steps, milestones=st.lists(numbers, max_size=4).map(tuple), warmup_epochs=st.floats(0, 90))
    | st.builds(Cosine, warmup_epochs=st.floats(0, 89), final=st.floats(0, 1)),
    late=st.builds(Late, colour_off=st.none() | numbers, conv1_frozen=st.none() | numbers),
    seed=st.integers(0, 2**32 - 1),
)


@given(recipes)
def test_any_recipe_survives_json(recipe: Recipe) -> None:
    again = through_json(recipe)
    assert again == recipe
    assert again.digest == recipe.digest


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(sgd=Sgd(lr=1)),
        Recipe(schedule=Steps(milestones=(30, 60))),
        Recipe(late=Late(colour_off=68)),
        Recipe(net=Net(std=(1, 1, 1, 1, 1, 1, 1, 1))),
    ],
    ids=["rate", "at", "colour_off", "std"],
)
def test_a_whole_number_where_a_number_belongs_does_not_change_the_digest(recipe: Recipe) -> None:
    """In Python, 1 equals 1.0 and passes for a float; a resumed run reads its recipe from a file."""
    again = through_json(recipe)
    assert again == recipe
    assert again.digest == recipe.digest


def leaves(value: Any, place: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """List every innermost field of a recipe, with its path."""
    found = []
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        here = (*place, field.name)
        found += leaves(inner, here) if dataclasses.is_dataclass(inner) else [(here, inner)]
    return found


def another(path: tuple[str, ...], value: Any) -> Any:
    """Return another valid value of the same type."""
    special: dict[str, Any] = {
        "activation": "tanh", "mean": "place" if value == "centre" else "centre", "seed": 1,
        "colour_scale": "eigenvalue", "shuffle": "once" if value == "each epoch" else "each epoch", "towers": 1,
        "channels": [8] * len(value) if isinstance(value, tuple) else None, "kernel_sizes": [7, 3, 3, 3, 1], "n": 7,
        "layer_weight_decay": {"conv1": 0.5}, "bias_one_layers": [3], "milestones": [1.0, 2.0],
        "bias_milestones": [3.0], "momentum": 0.5,
        "dropout": 0.25, "lars": 0.5, "skip": [4], "conv6": 64, "layer_lr": {"fc8": 10.0},
        "start": {"recipe": "0123456789ab", "step": 9, "layers": ["conv1"]}, "across": "all",
        "padding": [2, 2, 1, 1, 1], "dropped": ["pool5", "fc6"], "dropout_scale": "training", "biases": [0.5] * 8,
        "init": "uniform", "class_weights": "balanced", "area": [0.25, 1.0],
    }  # fmt: skip
    if path == ("views", "std"):
        return [58.0, 57.0, 57.0]
    if path[-1] in special:
        return special[path[-1]]
    if value is None:
        return {"kind": "SpatialLRN"} if path[-1] == "spatial_lrn" else 33.0
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return [v * 2 for v in value]
    return value * 2 or 0.125


@pytest.mark.parametrize("name", ["paper", "source-145"])
def test_the_digest_changes_with_any_field(name: str) -> None:
    recipe = RECIPES[name].replace(views={"pictures_per_crop": 1, "area": (0.5, 1.0)})
    digests = {recipe.digest}
    paths = [path for path, _ in leaves(recipe)]
    assert len(paths) > 40
    for path, value in leaves(recipe):
        change: Any = another(path, value)
        for part in reversed(path):
            change = {part: change}
        if path == ("views", "crops"):  # central views are not scaled
            change["views"]["area"] = []
        changed = recipe.replace(**change)
        assert changed != recipe, path
        assert through_json(changed) == changed, path
        digests.add(changed.digest)
    assert len(digests) == len(paths) + 1


def test_replace_reaches_the_fields_inside_a_field_and_leaves_the_rest() -> None:
    changed = PAPER.replace(net={"lrn": {"n": 3}}, epochs=10)
    assert isinstance(changed.net, Net)
    assert isinstance(PAPER.net, Net)
    assert changed.net.lrn == LRN(n=3)
    assert changed == dataclasses.replace(PAPER, net=dataclasses.replace(PAPER.net, lrn=LRN(n=3)), epochs=10)
    without = PAPER.replace(net={"lrn": None})
    assert isinstance(without.net, Net)
    assert without.net.lrn is None
    assert without.replace(net={"lrn": LRN()}) == PAPER
    assert without.replace(net={"lrn": {}}) == PAPER
    assert PAPER.replace() == PAPER


def test_another_kind_is_chosen_by_value_or_by_its_name() -> None:
    steps = Steps(milestones=(1.0,))
    assert PAPER.replace(schedule=steps).schedule == steps
    assert PAPER.replace(schedule={"kind": "Steps", "milestones": [1]}).schedule == steps
    assert PAPER.replace(net={"kind": "CifarNet"}).net == CifarNet()
    assert PAPER.replace(net={"kind": "MlpNet"}).net == MlpNet()


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("net.lrn.n=3", "net.lrn.n", 3),
        ("net.lrn=null", "net.lrn", None),
        ("net.activation=tanh", "net.activation", "tanh"),
        ("net.channels=[8, 8, 8, 8, 8]", "net.channels", (8,) * 5),
        ("views.crops=false", "views.crops", False),
        ("sgd.lr=1", "sgd.lr", 1.0),
        ("sgd.shuffle=each epoch", "sgd.shuffle", "each epoch"),
        ("schedule.drops=0", "schedule.drops", 0),
        ('schedule={"kind": "Steps", "milestones": [3]}', "schedule", Steps(milestones=(3.0,))),
        ("late.colour_off=30", "late.colour_off", 30.0),
        ("epochs=7", "epochs", 7),
    ],
)
def test_a_setting_sets_its_field(setting: str, path: str, value: object) -> None:
    found: Any = override(PAPER, [setting])
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("views.area=[0.5]", r"views\.area is \[0\.5\]; it must be empty, or two parts of a picture's area"),
        ("views.area=[0, 1]", "more than 0 and at most 1, the least first"),
        ("views.area=[0.9, 0.5]", "more than 0 and at most 1, the least first"),
        ("views.crops=false", r"views\.area is \[0\.35, 1\.0\]; it must be empty where views\.crops is false"),
        ("views.area=[]", r"views\.aspect is 1\.33.*; it must be 1 where views\.area is empty"),
        ("views.aspect=0.5", r"views\.aspect is 0\.5; it must be 1 \(square crops\) to 10"),
        ("sgd.average=2", r"sgd\.average is 2\.0; it must be 0 \(off\) to 1, the whole run"),
        ("sgd.label_smoothing=1", r"sgd\.label_smoothing is 1\.0; it must be 0 \(off\) to 1, 1 excluded"),
        ("sgd.lars=0.001", r"sgd\.decoupled is true; it must be false where sgd\.lars is set"),
        ("schedule.warmup_epochs=20", r"schedule\.warmup_epochs is 20\.0; it must be 0 \(off\) or more, less than 20"),
        ("schedule.final=1.5", r"schedule\.final is 1\.5; it must be 0 to 1"),
        ("schedule=cosine", r'schedule is .cosine.; it must be .* or \{"kind": "Cosine", \.\.\.\}'),
    ],
)
def test_fields_of_today_that_cannot_be_are_refused_by_name_and_rule(setting: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        override(RECIPES["today"], [setting])


def test_settings_apply_in_order() -> None:
    assert override(PAPER, ["epochs=3", "net.pool=2", "epochs=4"]) == PAPER.replace(epochs=4, net={"pool": 2})
    assert override(PAPER, []) == PAPER


def test_setting_one_layers_decay_leaves_the_others() -> None:
    """cifar-13 has no weight decay in its convolutions; setting one more layer's must not restore theirs."""
    before, after = RECIPES["cifar-13"], override(RECIPES["cifar-13"], ["sgd.layer_weight_decay.fc=0.01"])
    assert after.sgd.layer_weight_decay == before.sgd.layer_weight_decay | {"fc": 0.01}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("net.channel=[1]", ["net.channel", "net.channels"]),
        ("nett.pool=2", ["nett", "net"]),
        ("net.lrn.alfa=1", ["net.lrn.alfa", "net.lrn.alpha"]),
        ("sgd.Lr=1", ["sgd.Lr", "sgd.lr"]),
        ("epoch=1", ["epoch", "epochs"]),
        ("sgd.layer_weight_decay.cnv1=0.1", ["sgd.layer_weight_decay", "cnv1"]),
        ("qqqqqq=1", ["qqqqqq", "net", "views", "sgd", "schedule", "late", "epochs", "seed"]),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest_that_is(setting: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        override(PAPER, [setting])
    assert all(word in str(refusal.value) for word in words)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("net.pool", '"three"'), ("net.pool", "2.5"), ("net.pool", "true"), ("net.pool", "null"), ("net.pool", "1"),
        ("net.activation", "gelu"), ("net.activation", "1"), ("net.lrn", "true"), ("net.lrn", "[]"),
        ("net.lrn.divide_alpha_by_n", "1"), ("net.lrn.n", "5.0"), ("net.channels", "96"), ("net.channels", "[96, 256]"),
        ("net.channels", '["a", 1, 1, 1, 1]'), ("net.channels", "[3, 256, 384, 384, 256]"),
        ("net.kernel_sizes", "[11, 5]"),
        ("net.kernel_sizes", "[11, 4, 3, 3, 3]"), ("net.std", "[0.01]"), ("net.towers", "3"), ("net.dropout", "1"),
        ("net.dropout", "-0.1"), ("net.classes", "1"), ("net.image_size", "10"), ("views.pictures_per_crop", "0"),
        ("views.colour", "-1"), ("views.scale", "0"), ("views.scale", "NaN"), ("views.mean", "corner"),
        ("sgd.lr", "-1"), ("sgd.lr", "Infinity"), ("sgd.lr", "fast"), ("sgd.momentum", "1"), ("sgd.batch", "0"),
        ("sgd.lars", "0"), ("sgd.lars", "-0.001"), ("sgd.lars", "2"), ("sgd.lars", "true"),
        ("sgd.layer_weight_decay", '{"conv1": "a"}'), ("schedule.factor", "1"), ("schedule.patience", "0"),
        ("epochs", "0"),
        ("epochs", "1.5"), ("seed", "-1"), ("seed", "4294967296"), ("late.colour_off", '"never"'),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_by_the_name_of_its_field(field: str, bad: str) -> None:
    with pytest.raises(InputError) as refusal:
        override(PAPER, [f"{field}={bad}"])
    assert field in str(refusal.value)
    assert "must be" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("net.hidden", "[]"), ("net.hidden", "[10, 0]"), ("net.hidden", "10"), ("net.std", "[0.01, 0.01]"),
        ("net.std", "[0.01, -1, 0.01]"), ("net.bias_one_layers", "[4]"), ("net.bias_one_layers", "[0]"),
        ("net.dropout", "1"),
        ("net.classes", "1"), ("net.image_size", "0"), ("net.activation", "gelu"),
    ],
)  # fmt: skip
def test_a_full_net_that_cannot_be_is_refused_by_the_name_of_its_field(field: str, bad: str) -> None:
    with pytest.raises(InputError, match=rf"{field} .*must be"):
        override(PAPER.replace(net=MlpNet()), [f"{field}={bad}"])


@pytest.mark.parametrize("bad", ["-1", "96", "null", '"long"'])
def test_a_warm_up_that_does_not_fit_the_schedule_is_refused(bad: str) -> None:
    with pytest.raises(InputError, match=r"schedule\.warm.*must be"):
        override(RECIPES["source"], [f"schedule.warmup_epochs={bad}"])


@pytest.mark.parametrize("setting", ["net.lrn.n=4", "net.lrn.n=0", "net.lrn.n=-1"])
def test_a_window_without_a_centre_is_refused_when_the_recipe_is_built(setting: str) -> None:
    """Section 3.3 prints n/2 on both sides, which needs an odd n; an error at the first forward pass is too late."""
    with pytest.raises(InputError, match=r"lrn\.n|norm\.n"):
        override(PAPER, [setting])


@pytest.mark.parametrize("setting", ["net.spatial_lrn.n=4", "net.spatial_lrn.n=0"])
def test_so_is_a_window_within_a_map(setting: str) -> None:
    with pytest.raises(InputError, match=r"spatial_lrn\.n"):
        override(RECIPES["source"], [setting])


def test_maps_that_shrink_to_nothing_are_refused_when_the_recipe_is_built() -> None:
    """Views of 30 pixels leave 6, 3 and then 1 unit a side, too few for the window of pool5."""
    with pytest.raises(InputError, match=r"net\."):
        PAPER.replace(net={"image_size": 30})


@pytest.mark.parametrize("text", ["epochs", "=3", ""])
def test_a_setting_without_a_value_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"net\.lrn\.n=3"):
        override(PAPER, [text])


def test_a_path_through_a_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"net\.lrn is null"):
        override(PAPER.replace(net={"lrn": None}), ["net.lrn.n=3"])
    with pytest.raises(InputError, match="epochs"):
        override(PAPER, ["epochs.of=3"])


def test_shared_crops_need_crops() -> None:
    with pytest.raises(InputError, match=r"views\.pictures_per_crop"):
        RECIPES["source"].replace(views={"crops": False})


def test_a_recipe_is_read_from_its_file(tmp_path: Path) -> None:
    recipe = RECIPES["source"].replace(epochs=3)
    for name, content in (("own.json", recipe.plain()), ("run.json", {"name": "x", "recipe": recipe.plain()})):
        (tmp_path / name).write_text(json.dumps(content))
        assert named(str(tmp_path / name)) == recipe
    for name, known in RECIPES.items():
        assert named(name) is known


def test_a_file_may_say_only_what_differs_from_the_paper(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"net": {"pool": 2}, "epochs": 5}')
    assert named(str(tmp_path / "own.json")) == PAPER.replace(net={"pool": 2}, epochs=5)


@pytest.mark.parametrize(
    "content", ["", "[]", "3", '{"nets": {}}', '{"net": {"pools": 2}}', '{"net": {"kind": "Tree"}}', '{"epochs": "x"}']
)
def test_a_file_that_is_no_recipe_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(InputError) as refusal:
        named(str(tmp_path / "own.json"))
    assert "\n" not in str(refusal.value)


def test_a_name_that_is_no_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="source-145"):
        named("source-144")
    with pytest.raises(InputError, match="cannot be read"):
        named("missing.json")


def test_recipes_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.epochs = 3  # type: ignore[misc]
