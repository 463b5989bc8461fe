import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.exact import exactly
from tests.rounding import gamma

from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.inference import features, similar
from alexnet.inference.layer_names import last_hidden
from alexnet.runs.run import load

FP32: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


def test_nearest_pictures_are_those_of_a_plain_search(
    store: Path, run: Path, pictures: Path, monkeypatch: Any
) -> None:  # fmt: skip
    monkeypatch.setattr(similar, "BATCH", 7)
    queries = [pictures / "red/02.png", pictures / "blue/01.png"]
    answers = similar.similar(run, store, queries, 4, layer="fc7", **FP32)
    split, asked = Store(store)["train"], features.features(run, queries, **FP32).values
    rows = features.features(run, store, split="train", **FP32).values.astype(np.float64)
    for answer, query in zip(answers, asked, strict=True):
        apart = [sum((a - b) ** 2 for a, b in zip(query.astype(np.float64), row, strict=True)) ** 0.5 for row in rows]
        best = sorted(range(len(rows)), key=lambda i: (apart[i], i))[:4]
        assert [n["number"] for n in answer["neighbours"]] == best
        assert [n["name"] for n in answer["neighbours"]] == [split.names[i] for i in best]
        far, rtol = [apart[i] for i in best], gamma(len(query) + 4)  # sums of squares in float64: no cancellation
        np.testing.assert_allclose([n["distance"] for n in answer["neighbours"]], far, rtol=rtol)
        assert [n["class"] for n in answer["neighbours"]] == [
            ["blue", "green", "red"][split.labels[i]] for i in best
        ]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_of_pictures_equally_far_the_first_in_the_store_comes_first(
    store: Path, run: Path, monkeypatch: Any, batch: int
) -> None:
    """This holds for any batch size. Features with few values make ties."""
    monkeypatch.setattr(similar, "BATCH", batch)
    split = Store(store)["train"]
    monkeypatch.setattr(similar, "extract", lambda net, layer, images, compute: coarse(images))
    compute = choose_compute("cpu", "fp32")
    queries = coarse(torch.from_numpy(split.read(np.array([4, 20]))))
    ids, apart = similar.nearest(load(run), "", split, queries, 9, compute)
    rows = coarse(torch.from_numpy(split.read(np.arange(len(split))))).numpy()
    for query, found, distances in zip(queries.numpy(), ids, apart, strict=True):
        far = np.linalg.norm(rows - query, axis=1)
        assert found.tolist() == np.argsort(far, kind="stable")[:9].tolist()
        assert len(set(distances.tolist())) < 9
    assert (apart[:, 0] == 0).all()


def coarse(images: torch.Tensor) -> torch.Tensor:
    return (images.float().mean((1, 2)) / 60).round()


def test_a_stored_picture_is_its_own_nearest(store: Path, run: Path, pictures: Path) -> None:
    split = Store(store)["train"]
    (path,) = [p for p in pictures.rglob("*.png") if split.names[7].endswith(f"{p.parent.name}/{p.name}")]
    (answer,) = similar.similar(run, store, path, 1, **FP32)
    assert answer["neighbours"][0]["number"] == 7
    values, room = exactly(run, split, "relu7")
    # Two batch sizes may round each unit differently.
    assert answer["neighbours"][0]["distance"] <= 2 * room * math.sqrt(values.shape[1])


def test_similar_goes_on_past_files_that_cannot_be_read(run: Path, store: Path, damaged: list[Path]) -> None:
    answers = similar.similar(run, store, damaged, 99, split="val", **FP32)
    assert [a["image"] for a in answers] == [str(path) for path in damaged]
    assert ["error" in a for a in answers] == [False, True, False, True, False]
    assert len(answers[0]["neighbours"]) == len(Store(store)["val"])


def test_pictures_are_compared_by_the_last_hidden_layer() -> None:
    from alexnet.models.build import build

    with torch.device("meta"):
        nets = [build(RECIPES[name].net, 0) for name in ("source", "one-gpu", "cifar-13", "cifar-18")]
    assert [last_hidden(net) for net in nets] == ["relu7", "relu7", "relu4", "pool3"]


def test_pictures_are_compared_by_any_name_of_a_layer(store: Path, run: Path, pictures: Path) -> None:
    path = pictures / "red/02.png"
    theirs, ours = (similar.similar(run, store, path, 3, layer=name, **FP32) for name in ("Classifier.4", "fc7"))
    assert theirs == ours


def test_what_cannot_be_compared_is_refused(run: Path, store: Path, pictures: Path, tmp_path: Path) -> None:
    from alexnet.data.prepare.prepare import prepare

    prepare(pictures, tmp_path / "small", side=32, val_fraction=0.29, jobs=1)
    with pytest.raises(InputError, match=r"takes 64-pixel pictures.*has 32"):
        similar.similar(run, tmp_path / "small", pictures / "red/00.png", **FP32)
    with pytest.raises(InputError, match="--top 0"):
        similar.similar(run, store, pictures / "red/00.png", 0, **FP32)
    with pytest.raises(InputError, match="no layer fc9"):
        similar.similar(run, store, pictures / "red/00.png", layer="fc9", **FP32)
