import pytest
from torch import nn

from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.inference.layer_names import TORCHVISION, find_layer, find_layers
from alexnet.models.layer_table import describe


def layers(name: str) -> list[str]:
    return [layer.name for layer in describe(RECIPES[name].net)]


def test_torchvisions_names_are_those_of_the_layers_in_the_same_place() -> None:
    """Its AlexNet, as https://github.com/pytorch/vision/blob/main/torchvision/models/alexnet.py builds it."""
    convs = [[nn.Conv2d, nn.ReLU, nn.MaxPool2d]] * 2 + [[nn.Conv2d, nn.ReLU]] * 2 + [[nn.Conv2d, nn.ReLU, nn.MaxPool2d]]
    features = [kind for block in convs for kind in block]
    classifier = [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]
    own = {nn.Conv2d: "conv", nn.ReLU: "relu", nn.MaxPool2d: "pool", nn.Linear: "fc"}
    expected, number = {}, 0
    for part, kinds in (("features", features), ("classifier", classifier)):
        for i, kind in enumerate(kinds):
            number += kind in (nn.Conv2d, nn.Linear)
            if kind is not nn.Dropout:
                expected[f"{part}.{i}"] = f"{own[kind]}{number}"
    assert expected == TORCHVISION
    for name in ("paper", "source", "one-gpu", "tiny"):
        assert [find_layer(theirs, layers(name)) for theirs in expected] == list(expected.values())


def test_caffes_names_and_any_case_are_understood() -> None:
    caffe = [f"{kind}{i}" for i in (1, 2) for kind in ("conv", "relu", "norm", "pool")]
    caffe += ["conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"]
    caffe += ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]
    known = layers("paper")
    assert find_layers(caffe, known) == caffe
    assert find_layers([name.upper() for name in caffe], known) == caffe
    assert find_layer(" Features.0 ", known) == "conv1"


def test_a_layer_named_twice_is_taken_once() -> None:
    assert find_layers(["fc7", "features.0", "FC7", "conv1"], layers("paper")) == ["fc7", "conv1"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fc9", "no layer fc9; did you mean fc6, fc7 or fc8? this net has "),
        ("relu_5", "no layer relu_5; did you mean relu"),
        ("features.13", "no layer features.13; did you mean features.1"),
        ("classifier.0", "dropout, which changes nothing in testing; name pool5; this net has "),
        ("classifier.3", "name relu6, or drop6 for relu6 times 1 - p; this net has "),
        ("avgpool", "name pool5; this net has "),
        ("Prob", "no layer Prob; in Caffe it is the softmax of fc8; name fc8; this net has "),
        ("data", "in Caffe it is the input"),
        ("zzz", "no layer zzz; this net has "),
        ("", "no layer ; this net has "),
        ("x" * 10_000, "xxx...; this net has "),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest_names_and_all_of_them(name: str, words: str) -> None:
    known = layers("paper")
    with pytest.raises(InputError) as refused:
        find_layer(name, known)
    assert words in str(refused.value)
    assert str(refused.value).endswith(f"this net has {', '.join(known)}")
    assert "\n" not in str(refused.value)


def test_a_net_of_another_shape_has_none_of_torchvisions_names() -> None:
    for name in ("cifar-13", "cifar-18"):
        with pytest.raises(InputError, match=r"no layer features\.0; this net has .*conv1"):
            find_layer("features.0", layers(name))
