"""ONNX graphs in the forms that exporters write, what their first nodes do to the input, and each misfit by name."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.foreign import (
    CAFFE,
    CAFFENET,
    CLASS_NAMES,
    CLASSES,
    TORCHVISION,
    Kind,
    binaryproto,
    caffe_views,
    forward,
    mean_bgr,
    off,
    onnx_model,
    squares,
    torchvision_views,
    weights,
    written,
)

import alexnet
from alexnet.config.recipe import LRN, Net, Recipe
from alexnet.core.errors import InputError
from alexnet.interop.importing import import_weights
from alexnet.models.build import build
from alexnet.runs.run import Run


def saved(folder: Path, model: Any, name: str = "net.onnx") -> Path:
    return written(folder, name, model.SerializeToString())


def logits_of(run: Path, pictures: np.ndarray) -> torch.Tensor:
    net = alexnet.load(run)
    with torch.no_grad():
        found: torch.Tensor = net(net.transform(pictures))
    return found


def reshape(*shape: int) -> tuple[str, list[np.ndarray], dict[str, Any]]:
    return "Reshape", [np.array(shape, np.int64)], {}


SOFTMAX = ("Softmax", list[np.ndarray](), dict[str, Any]())
FORMS: dict[str, dict[str, Any]] = {
    "MatMul and Add": {"transposed": True},
    "a softmax at the end": {"after": [SOFTMAX]},
    "identities": {"after": [("Identity", [], {}), SOFTMAX], "before": [("Identity", [], {})]},
    "a Reshape for the Flatten": {"change": {"flat": {"type": "Reshape"}}},
    "torchvision's mean of one unit": {"change": {"flat": {"type": "AveragePool"}}},
    "padding in a node of its own": {"before": [("Pad", [np.array([0, 0, 2, 2, 0, 0, 2, 2], np.int64)], {})],
                                     "pads": {"conv1": [0, 0, 0, 0]}},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_that_exporters_write_give_the_same_logits(form: str, tmp_path: Path) -> None:
    import onnx

    how = {key: value for key, value in FORMS[form].items() if key != "change"}
    model = onnx_model(TORCHVISION, weights(TORCHVISION), **how)
    flat = next(node for node in model.graph.node if node.name == "flat")
    if "Reshape" in form:
        flat.op_type = "Reshape"
        flat.input.append("shape")
        model.graph.node.insert(0, onnx.helper.make_node(
            "Constant", [], ["shape"], value=onnx.numpy_helper.from_array(np.array([0, -1]))))  # fmt: skip
    if "mean" in form:
        flat.input[0] = "averaged"
        at = list(model.graph.node).index(flat)
        pool = onnx.helper.make_node("AveragePool", ["pool5"], ["averaged"], kernel_shape=[1, 1], strides=[1, 1])
        model.graph.node.insert(at, pool)
    import_weights(saved(tmp_path, model), tmp_path / "run", kind="torchvision")
    pictures = squares(TORCHVISION)
    expected = forward(TORCHVISION, weights(TORCHVISION), torchvision_views(TORCHVISION, pictures))[1]
    assert off(logits_of(tmp_path / "run", pictures), expected) < 1e-5


def test_a_graph_does_not_say_how_its_input_is_made_and_the_user_has_to(tmp_path: Path) -> None:
    file = saved(tmp_path, onnx_model(CAFFE, weights(CAFFE)))
    for kind in ("auto", "onnx", "bvlc"):
        with pytest.raises(InputError, match=r"does not say how its input is made; give --as torchvision"):
            import_weights(file, tmp_path / "run", kind=kind)
    mean = written(tmp_path, "m.binaryproto", binaryproto(mean_bgr(CAFFE)))
    for kind, said in (("caffenet", "those of bvlc, not of caffenet"), ("torchvision", "those of bvlc, not of torch")):
        with pytest.raises(InputError, match=said):
            import_weights(file, tmp_path / "run", kind=kind, mean=mean)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"is Caffe's, in BGR, and belongs to --as bvlc or caffenet"):
        import_weights(file, tmp_path / "run", kind="onnx", mean=mean)


def test_a_graph_of_rgb_minus_a_mean_takes_the_mean_that_was_given(tmp_path: Path) -> None:
    rgb = mean_bgr(CAFFE)[::-1]
    np.save(tmp_path / "rgb.npy", rgb)
    file = saved(tmp_path, onnx_model(CAFFE, weights(CAFFE)))
    import_weights(file, tmp_path / "run", kind="onnx", mean=tmp_path / "rgb.npy")
    pictures, first = squares(CAFFE), (CAFFE.side - CAFFE.size) // 2
    x = torch.from_numpy(pictures.transpose(0, 3, 1, 2) - rgb)[:, :, first : first + 67, first : first + 67]
    assert off(logits_of(tmp_path / "run", pictures), forward(CAFFE, weights(CAFFE), x)[1]) < 1e-5


def colours(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 3, 1, 1)


MEAN, STD = colours(0.485, 0.456, 0.406), colours(0.229, 0.224, 0.225)
FRONTS: dict[str, list[Any]] = {
    "from 0 to 255": [("Div", [np.array(255, np.float32)], {}), ("Sub", [MEAN], {}), ("Div", [STD], {})],
    "from 0 to 1": [("Sub", [MEAN], {}), ("Mul", [1 / STD], {})],
    "added": [("Mul", [1 / (255 * STD)], {}), ("Add", [-MEAN / STD], {})],
}


@pytest.mark.parametrize("front", FRONTS)
def test_first_nodes_that_normalise_the_input_become_mean_and_std(front: str, tmp_path: Path) -> None:
    file = saved(tmp_path, onnx_model(TORCHVISION, weights(TORCHVISION), before=FRONTS[front]))
    with pytest.raises(InputError, match=r"does not say how its input is made"):
        import_weights(file, tmp_path / "run")
    import_weights(file, tmp_path / "run", kind="torchvision")
    assert Run(tmp_path / "run").recipe.views.std == pytest.approx((58.395, 57.12, 57.375), rel=1e-6)
    pictures = squares(TORCHVISION)
    expected = forward(TORCHVISION, weights(TORCHVISION), torchvision_views(TORCHVISION, pictures))[1]
    assert off(logits_of(tmp_path / "run", pictures), expected) < 1e-5


def test_a_mean_picture_in_the_graph_is_that_of_the_central_crop_blue_first(tmp_path: Path) -> None:
    first = (CAFFE.side - CAFFE.size) // 2
    crop = mean_bgr(CAFFE)[None, :, first : first + CAFFE.size, first : first + CAFFE.size]
    file = saved(tmp_path, onnx_model(CAFFE, weights(CAFFE), before=[("Sub", [crop], {})]))
    import_weights(file, tmp_path / "run", kind="bvlc")
    assert Run(tmp_path / "run").recipe.views.mean == "centre"
    pictures = squares(CAFFE)
    expected = forward(CAFFE, weights(CAFFE), caffe_views(CAFFE, pictures))[1]
    assert off(logits_of(tmp_path / "run", pictures), expected) < 1e-5


def test_norms_pools_and_paddings_are_those_of_the_graph(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros(3))
    cases: list[tuple[Kind, dict[str, Any], dict[str, Any]]] = [
        (CAFFE, {}, {"lrn": LRN(5, 1.0, 1e-4, 0.75, True, "all"), "pool_first": False, "pool_ceil": True}),
        (CAFFENET, {"ceil": False}, {"pool_first": True, "pool_ceil": False}),
        (CAFFE, {"alpha": 3e-4, "k": 2.0, "towers": 2}, {"lrn": LRN(5, 2.0, 3e-4, 0.75, True, "tower")}),
        (TORCHVISION, {}, {"lrn": None, "pool_ceil": False, "padding": (2, 2, 1, 1, 1), "towers": 1}),
        (CAFFE, {"ceil": False, "size": 68, "pads": {"conv1": [0, 0, 3, 3]}}, {"padding": (), "image_size": 68}),
        (CAFFE, {"ceil": False, "pads": {"pool1": [0, 0, 1, 1]}}, {"pool_ceil": True}),
        (CAFFE, {"drop": 0.5}, {"dropout_scale": "testing", "dropout": 0.5, "dropped": ("fc6", "fc7")}),
    ]
    for number, (kind, how, expected) in enumerate(cases):
        file = saved(tmp_path, onnx_model(kind, weights(kind), **how))
        import_weights(file, tmp_path / f"{number}", kind="onnx", mean=tmp_path / "m.npy")
        net = Run(tmp_path / f"{number}").recipe.net
        assert {name: getattr(net, name) for name in expected} == expected, number


@pytest.mark.parametrize(
    ("kind", "size", "ceil"),
    [(TORCHVISION, 63, False), (TORCHVISION, 67, False), (CAFFE, 71, False), (CAFFE, 66, True)],
)
def test_pools_round_as_the_graph_says(kind: Kind, size: int, ceil: bool, tmp_path: Path) -> None:
    """At 66, 67 and 71 pixels conv1 has an even number of units a side, so up and down differ."""
    import onnxruntime

    np.save(tmp_path / "m.npy", np.zeros(3))
    pixels = torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(1)).float()
    made = onnx_model(kind, weights(kind), size=size, ceil=ceil)
    theirs = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": pixels.numpy()})[0]
    import_weights(saved(tmp_path, made), tmp_path / "run", kind="onnx", mean=tmp_path / "m.npy")
    with torch.no_grad():
        assert off(alexnet.load(tmp_path / "run")(pixels), torch.from_numpy(theirs)) < 1e-5


def edited(model: Any, name: str, **attributes: Any) -> Any:
    """Set attributes of a node."""
    import onnx

    node = next(n for n in model.graph.node if n.name == name)
    kept = [a for a in node.attribute if a.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept + [onnx.helper.make_attribute(k, v) for k, v in attributes.items() if v is not None])
    return model


def renamed(model: Any, name: str, kind: str) -> Any:
    next(n for n in model.graph.node if n.name == name).op_type = kind
    return model


def forked(model: Any) -> Any:
    import onnx

    model.graph.node.append(onnx.helper.make_node("Relu", ["pool1"], ["elsewhere"], "elsewhere"))
    return model


def model(kind: Kind = CAFFE, **how: Any) -> Any:
    return onnx_model(kind, weights(kind), **how)


def misfits() -> Mapping[str, tuple[Any, str]]:
    eye = np.eye(5, dtype=np.float32)
    return {
        "another activation": (renamed(model(), "relu3", "Tanh"), "node relu3 (Tanh) is not a layer of AlexNet"),
        "no relu": (renamed(model(), "relu3", "Identity"), "(Conv) is a convolution, where AlexNet has a ReLU"),
        "a fork": (forked(model()), "both read pool1, where AlexNet has one layer after another"),
        "a pool more": (renamed(model(), "relu7", "MaxPool"), "node relu7 (MaxPool)"),
        "a layer more": (model(after=[("Relu", [], {}), ("MatMul", [eye], {})]), "a ReLU after fc8, AlexNet's last"),
        "stride": (edited(model(), "conv2", strides=[2, 2]), "node conv2 (Conv) has stride 2"),
        "dilation": (edited(model(), "conv3", dilations=[2, 2]), "has automatic paddings, a dilation"),
        "automatic padding": (edited(model(), "conv3", auto_pad="SAME_UPPER", pads=None), "has automatic paddings"),
        "padding on the left": (edited(model(), "conv2", pads=[2, 1, 2, 2]), "zeros at its sides, which no recipe has"),
        "pool's stride": (edited(model(), "pool2", strides=[1, 1]), "(MaxPool) has side 3 and stride 1"),
        "pool's padding": (edited(model(), "pool2", pads=[1, 1, 1, 1]), "has windows that AlexNet's pools do not have"),
        "one norm": (renamed(model(), "norm2", "Identity"), "is one of 1 norms; AlexNet has two"),
        "unequal norms": (edited(model(), "norm2", size=3), "differs from node norm1 (LRN); both norms need the same"),
        "unequal towers": (edited(model(towers=2), "norm1_1", size=3), "both towers need the same numbers"),
        "three towers": (edited(model(towers=2), "norm1", axis=0), "does not cut maps in equal parts"),
        "alpha": (edited(model(), "fc7", alpha=0.5), "is not a plain fully connected layer"),
        "a scale": (model(drop=1.5), "nor the factor of its dropout"),
        "unequal dropout": (renamed(model(drop=0.5), "drop7", "Identity"), ""),
        "after the softmax": (model(after=[SOFTMAX, ("Relu", [], {})]), "comes after the softmax"),
        "a flip": (model(before=[("Transpose", [], {"perm": [0, 1, 3, 2]})]), "(Transpose) is not a layer of AlexNet"),
        "a negative factor": (model(before=[("Mul", [colours(1, -1, 1)], {})]), "else than a positive factor"),
        "another size": (model(size=99), "reads 1 x 1 maps, but views of 99 pixels give 2 x 2"),
        "another axis": (edited(model(), "flat", axis=2), "flattens from axis 2 on, not from 1"),
        "a padding of ones": (model(before=[("Pad", [np.array([0, 0, 2, 2] * 2), np.ones((), np.float32)], {})]),
                              "adds something else than zeros around the maps"),
    }  # fmt: skip


def test_the_first_node_that_does_not_fit_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros(3))
    for case, (made, said) in misfits().items():
        file = saved(tmp_path, made)
        if not said:
            continue
        mean = None if case == "a negative factor" else tmp_path / "m.npy"
        with pytest.raises(InputError) as refused:
            import_weights(file, tmp_path / "run", kind="onnx", mean=mean)
        assert said in str(refused.value), case
        assert str(refused.value).startswith(f"{file}: ")


def test_dropout_at_one_place_alone_is_that_place(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros(3))
    made = renamed(model(drop=0.5), "drop7", "Identity")
    next(n for n in made.graph.node if n.name == "drop7").input.pop()
    import_weights(saved(tmp_path, made), tmp_path / "run", kind="onnx", mean=tmp_path / "m.npy")
    net = Run(tmp_path / "run").recipe.net
    assert isinstance(net, Net)
    assert (net.dropped, net.dropout_scale) == (("fc6",), "testing")


SMALL = {"channels": (8, 16, 16, 16, 16), "hidden": 32, "classes": CLASSES}
OWN = {
    "paper": alexnet.recipe("paper").replace(net=SMALL | {"image_size": 68}),
    "bvlc": alexnet.recipe("bvlc").replace(net=SMALL | {"image_size": 67}),
    "caffenet": alexnet.recipe("caffenet").replace(net=SMALL | {"image_size": 67}),
    "owt": alexnet.recipe("owt").replace(net=SMALL | {"image_size": 63}),
}


def facts(recipe: Recipe, side: int) -> dict[str, str]:
    """The metadata that `alexnet export --to onnx` writes."""
    chance = np.random.Generator(np.random.Philox(2))
    numbers = {"mean": (side, side, 3), "eigenvalues": (3,), "eigenvectors": (3, 3)}
    coded = {
        name: base64.b64encode(chance.normal(60, 9, s).astype("<f4").tobytes()).decode() for name, s in numbers.items()
    }
    plain = {"recipe": json.dumps(recipe.plain()), "classes": json.dumps(CLASS_NAMES), "name": "mine", "fit": "pad"}
    return {f"alexnet.{name}": value for name, value in (coded | plain | {"licence": "CC0"}).items()}


def own_graph(recipe: Recipe, metadata: Mapping[str, str]) -> Any:
    """A graph of a recipe's net, as our exporter writes it."""
    net = recipe.net
    assert isinstance(net, Net)
    kind = {True: TORCHVISION, False: CAFFENET if net.pool_first else CAFFE}[net.towers == 1]
    state = {name: tensor.detach() for name, tensor in build(net, 3).state_dict().items()}
    how: dict[str, Any] = {"size": net.image_size, "metadata": metadata, "drop": 0.5 if not net.padding else None}
    if net.lrn and net.lrn.across == "tower":
        how |= {"towers": 2, "alpha": net.lrn.a * net.lrn.n, "k": net.lrn.k, "pads": {"conv1": [0, 0, 3, 3]}}
    return onnx_model(kind, state, **how)


@pytest.mark.parametrize("name", OWN)
def test_a_graph_of_our_own_comes_back_with_its_recipe_classes_and_mean(name: str, tmp_path: Path) -> None:
    recipe = OWN[name]
    made = facts(recipe, 80)
    found = import_weights(saved(tmp_path, own_graph(recipe, made)), tmp_path / "run")
    run = Run(tmp_path / "run")
    assert (run.recipe, run.name, run.classes, found.licence) == (recipe, "mine", list(CLASS_NAMES), "CC0")
    assert run.fit == run.transform.fit == "pad"
    mean = np.frombuffer(base64.b64decode(made["alexnet.mean"]), "<f4").reshape(80, 80, 3)
    assert torch.equal(run.transform.mean, torch.from_numpy(mean.copy()))
    state = build(recipe.net, 3).state_dict()
    assert all(torch.equal(state[n], tensor) for n, tensor in run.net().state_dict().items())


def test_a_graph_whose_recipe_says_something_else_is_refused(tmp_path: Path) -> None:
    recipe = OWN["bvlc"]
    cases: dict[str, tuple[dict[str, str], str]] = {
        "another norm": (facts(recipe.replace(net={"lrn": {"k": 2.0}}), 80), "where its metadata's recipe says"),
        "another order": (facts(OWN["caffenet"], 80), "where its metadata's recipe says"),
        "another dropout": (
            facts(recipe.replace(net={"dropout_scale": "testing"}), 80),
            "recipe says ('dropout', 0.5)",
        ),
        "another size": (facts(recipe.replace(net={"image_size": 66}), 80), "where its metadata's recipe says"),
        "a small mean": (facts(recipe, 60), "mean has 3,600 pixels, not those of a square for its views"),
        "no mean": ({k: v for k, v in facts(recipe, 80).items() if k != "alexnet.mean"}, "metadata cannot be read"),
        "no base64": (facts(recipe, 80) | {"alexnet.mean": "?"}, "metadata cannot be read"),
        "no JSON": (facts(recipe, 80) | {"alexnet.recipe": "{"}, "metadata cannot be read"),
        "NaN": (
            facts(recipe, 80) | {"alexnet.eigenvalues": base64.b64encode(b"\xff" * 12).decode()},
            "NaN or infinite",
        ),
        "another fit": (facts(recipe, 80) | {"alexnet.fit": "zoom"}, "fit is zoom, not one of crop, pad, warp"),
        "another net": (facts(alexnet.recipe("cifar-18"), 80), "metadata's recipe is not of an AlexNet"),
    }
    for case, (metadata, said) in cases.items():
        with pytest.raises(InputError) as refused:
            import_weights(saved(tmp_path, own_graph(recipe, metadata)), tmp_path / "run")
        assert said in str(refused.value), (case, str(refused.value))


def external(folder: Path, location: str, **entries: int) -> Path:
    """A graph whose fc7 lies in another file."""
    made = model(TORCHVISION)
    tensor = next(t for t in made.graph.initializer if t.name == "f7weight")
    body, tensor.data_location = tensor.raw_data, 1
    tensor.ClearField("raw_data")
    for key, value in ({"location": location} | entries).items():
        tensor.external_data.add(key=key, value=str(value))
    written(folder, "weights.bin", bytes(8) + body)
    return saved(folder, made)


def test_data_outside_the_graph_lie_in_its_own_folder_or_are_refused(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    size = 32 * 32 * 4
    file = external(inside, "weights.bin", offset=8, length=size)
    import_weights(file, tmp_path / "run", kind="torchvision")
    assert torch.equal(Run(tmp_path / "run").net().state_dict()["fc7.weight"], weights(TORCHVISION)["fc7.weight"])
    assert list(Run(tmp_path / "run").environment["imported"]["beside"]) == ["weights.bin"]
    secret = written(tmp_path, "secret.bin", bytes(size))
    (inside / "link.bin").symlink_to(secret)
    (inside / "linked").symlink_to(tmp_path)
    outside = "outside the model's folder; nothing was read from there"
    for location, said in (
        ("../secret.bin", outside),
        (str(secret), outside),
        ("", outside),
        ("a/../../secret.bin", outside),
        ("..\\secret.bin", outside),
        ("C:secret.bin", outside),
        ("link.bin", "a link; copy the file"),
        ("linked/secret.bin", "a link; copy the file"),
        ("gone.bin", "does not exist"),
        (".", outside),
    ):
        with pytest.raises(InputError) as refused:
            import_weights(external(inside, location), tmp_path / "other", kind="torchvision")
        assert said in str(refused.value), location
    for entries in ({"offset": -4}, {"offset": 8, "length": size + 8}, {"length": -1}, {"offset": 1 << 70}):
        with pytest.raises(InputError, match=r"lies at bytes .* which has 4104"):
            import_weights(external(inside, "weights.bin", **entries), tmp_path / "other", kind="torchvision")
    with pytest.raises(InputError, match=r"f7weight has 4,100 bytes for the shape 32 x 32"):
        import_weights(external(inside, "weights.bin", length=4100), tmp_path / "other", kind="torchvision")
