"""The files of a folder for the hub: the card's front matter as the hub's own library reads it, and config.json."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.exported import published

from alexnet.inference.evaluate import Errors
from alexnet.interop.hub_folder import Result, card, config
from alexnet.runs.published import Published

RESULTS = [
    Result(Errors(300, 10, 0.25, 0.125, 0.5), "cifar-10", "test", "at the end of training"),
    Result(Errors(300, 1, 0.5, 0.25, 0.75), "cifar-10", "test", "at the end of training"),
]
EVIL = 'x"\n---\nlicense: mit\n<script>alert(1)</script> | `code` [a](b) \x1b[2J'


def changed(own: Published, **change: Any) -> Published:
    return Published(**vars(own) | change)


def read(text: str, folder: Path) -> Any:
    """The card as huggingface_hub reads it."""
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: the extra hub")
    (folder / "README.md").write_text(text)
    return hub.ModelCard.load(folder / "README.md")


def test_the_hubs_own_library_reads_the_results_of_the_card(tmp_path: Path) -> None:
    own = changed(published("source"), licence="MIT")
    found = read(card(own, RESULTS, {"data": "cifar-10", "steps": "7"}), tmp_path).data
    assert (found.license, found.library_name, found.pipeline_tag) == ("mit", "alexnet", "image-classification")
    assert (found.datasets, found.metrics, found.model_name) == (["cifar10"], ["accuracy"], "alexnet-source")
    told = [(r.metric_type, r.metric_name, r.metric_value, r.dataset_split) for r in found.eval_results]
    assert told == [
        ("accuracy", "top-1 accuracy, 10 views, at the end of training", 0.75, "test"),
        ("accuracy", "top-5 accuracy, 10 views, at the end of training", 0.875, "test"),
        ("accuracy", "top-1 accuracy, 1 view, at the end of training", 0.5, "test"),
        ("accuracy", "top-5 accuracy, 1 view, at the end of training", 0.75, "test"),
    ]


def test_without_results_a_licence_or_known_data_the_card_names_none(tmp_path: Path) -> None:
    text = card(published("source"), [], {})
    found = read(text, tmp_path).data.to_dict()
    assert not {"model-index", "license", "datasets", "metrics"} & found.keys()
    assert "Nobody has measured" in text
    assert "Nobody has stated a licence" in text


def test_names_with_markup_stay_words(tmp_path: Path) -> None:
    own = changed(published("source"), name=EVIL, licence=EVIL, classes=[EVIL] + ["a"] * 29)
    text = card(own, [Result(RESULTS[0].errors, EVIL, EVIL, EVIL)], {"device": EVIL})
    found = read(text, tmp_path).data
    assert (found.license, found.license_name, found.model_name) == ("other", EVIL, f"alexnet-{EVIL}")
    body = text.split("\n---\n", 1)[1]
    assert "<script>" not in body
    assert "\x1b" not in text
    assert "10 more in `config.json`" in body
    assert not re.search(r"^(---|license:)", body, re.M)


def test_the_config_has_timms_fields_and_the_whole_recipe() -> None:
    own = published("owt")
    found = config(changed(own, statistics=own.statistics | {"mean": torch.full((71, 71, 3), 127.5)}))
    given = found["pretrained_cfg"]
    assert (found["num_classes"], found["num_features"]) == (7, 32)
    assert (given["input_size"], given["crop_pct"], given["crop_mode"]) == ([3, 63, 63], 63 / 71, "center")
    assert (given["mean"], given["std"]) == ([0.5] * 3, [0.229, 0.224, 0.225])
    assert (given["first_conv"], given["classifier"], given["pool_size"]) == ("conv1", "fc8", [1, 1])
    assert found["label_names"] == own.classes
    assert found["alexnet"]["recipe"] == own.recipe.plain()
    assert config(changed(own, fit="pad"))["pretrained_cfg"]["crop_mode"] == "border"
    warped = config(changed(published("mlp"), fit="warp"))
    assert warped["pretrained_cfg"]["crop_mode"] == "squash"
    assert warped["pretrained_cfg"]["std"] == [round(1 / 255, 6)] * 3


@pytest.mark.parametrize("name", ["paper", "bvlc", "cifar-18", "mlp", "columns"])
def test_a_card_is_made_for_each_family(name: str, tmp_path: Path) -> None:
    own = changed(published(name), fit="warp")
    text = card(own, RESULTS, {})
    assert f"recipe {name}" in text
    assert "squeezing" in text
    assert "{{" not in text
    assert ("divided by 58.0, 57.0, 56.0" in text) == (name == "columns")
