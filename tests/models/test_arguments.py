"""Arguments and inputs of nets, and the messages for common mistakes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import alexnet
from alexnet.config.recipe import CifarNet, MlpNet, Net
from alexnet.core.errors import InputError
from alexnet.models.cifar import Cifar
from alexnet.models.mlp import Mlp
from alexnet.models.network import Network

NARROW = Net(image_size=67, channels=(4,) * 5, hidden=8, classes=3)
LITTLE = MlpNet(image_size=4, classes=3, hidden=(4,), std=(0.1, 0.1))
SMALL = CifarNet(channels=(4, 4), local=(4, 4))
MAKES: dict[str, tuple[Callable[..., Network], Any]] = {
    "AlexNet": (alexnet.AlexNet, NARROW),
    "Cifar": (Cifar, SMALL),
    "Mlp": (Mlp, LITTLE),
}


@pytest.mark.parametrize("kind", MAKES)
def test_a_number_of_classes_takes_the_place_of_the_settings_own(kind: str) -> None:
    make, settings = MAKES[kind]
    net = make(settings, num_classes=7)
    assert net.net.classes == 7
    last = net.get_submodule(net.net.layers[-1])
    assert isinstance(last, nn.Linear)
    assert last.out_features == 7


def test_alexnet_without_settings_is_the_papers_and_with_classes_alone_but_for_these() -> None:
    with torch.device("meta"):
        assert alexnet.AlexNet().net == Net()
        net = alexnet.AlexNet(num_classes=10)
        assert alexnet.AlexNet(alexnet.RECIPES["paper"]).net == Net()
        assert Cifar(alexnet.RECIPES["cifar-18"]).net == alexnet.RECIPES["cifar-18"].net
    assert net.fc8.weight.shape == (10, 4096)
    assert net.conv1.weight.shape == (96, 3, 11, 11)


NET: Any = alexnet.AlexNet
SLIPS: dict[str, Callable[[], object]] = {
    r'AlexNet\("paper"\) needs a recipe, not a name; write AlexNet\(alexnet.recipe\("paper"\)\)': lambda: NET("paper"),
    r"AlexNet needs its own settings, not those of Cifar; alexnet.models.build.build\(": lambda: NET("cifar-13"),
    r"AlexNet needs its own settings, not those of Cifar; alexnet\.models\.build": lambda: NET(CifarNet()),
    r"AlexNet needs its own settings, not those of Cifar; .*": lambda: NET(alexnet.RECIPES["cifar-13"]),
    r"AlexNet takes a recipe or its net, such as .*, not 'weights.pt'": lambda: NET("weights.pt"),
    r"AlexNet takes a recipe or its net, such as .*, not dict": lambda: NET({"classes": 10}),
    r"AlexNet\(10\) needs a recipe, not a number; for 10 classes write AlexNet\(num_classes=10\)": lambda: NET(10),
    r"AlexNet has no argument classes; write num_classes": lambda: NET(classes=10),
    r"no argument of AlexNet num_clases; did you mean num_classes\?": lambda: NET(num_clases=10),
    r"AlexNet has no argument hidden; it is a setting .*replace\(Net\(\), hidden=": lambda: NET(hidden=10),
    r"num_classes is 1; it must be a whole number, 2 or more": lambda: NET(num_classes=1),
    r"num_classes is 'ten'; it must be": lambda: NET(num_classes="ten"),
    r"Cifar needs its own settings, not those of AlexNet; ": lambda: Cifar(Net()),  # type: ignore[arg-type]
    r"Mlp has no argument classes; write num_classes": lambda: Mlp(classes=3),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("words", SLIPS)
def test_a_usual_slip_is_told_what_would_do(words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        SLIPS[words]()
    assert "\n" not in str(caught.value)


INPUTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "float32 Tensor (2, 3, 70, 70)": lambda x: torch.zeros(2, 3, 70, 70),
    "float32 Tensor (3, 67, 67)": lambda x: x[0],
    "float32 Tensor (2, 67, 67, 3)": lambda x: x.permute(0, 2, 3, 1),
    "uint8 Tensor (2, 3, 67, 67)": lambda x: x.byte(),
    "float64 Tensor (2, 3, 67, 67)": lambda x: x.double(),
    "bfloat16 Tensor (2, 3, 67, 67)": lambda x: x.bfloat16(),
    "float32 Tensor (2, 1, 67, 67)": lambda x: x[:, :1],
    "float32 ndarray (2, 3, 67, 67)": lambda x: x.numpy(),
    "None": lambda x: None,
}


@pytest.mark.parametrize("words", INPUTS)
def test_an_input_of_another_shape_or_type_is_refused_with_the_shape_that_is_taken(words: str) -> None:
    """From pool1 on, 70 pixels give maps as large as 67 do, so nothing else would notice."""
    net, x = alexnet.AlexNet(NARROW), torch.zeros(2, 3, 67, 67)
    for act in (net, lambda given: net.features(given, "fc7")):
        with pytest.raises(InputError) as caught:
            act(INPUTS[words](x))
        assert str(caught.value) == f"this net takes float32 Tensor (N, 3, 67, 67), not {words}" or "height" in str(
            caught.value
        )
    with pytest.raises(InputError):
        net(INPUTS[words](x))
    with torch.no_grad():
        assert net.eval()(x).shape == (2, 3)


@pytest.mark.parametrize(("kind", "layer", "late"), [("AlexNet", "pool5", "fc6"), ("Cifar", "norm2", "local3")])
def test_the_convolutions_see_views_of_any_size_and_what_follows_does_not(kind: str, layer: str, late: str) -> None:
    make, settings = MAKES[kind]
    net = make(settings).eval()
    layer = layer if kind == "AlexNet" else "pool2"
    x = torch.zeros(1, 3, 96, 80)
    with torch.no_grad():
        assert net.features(x, layer).shape[0] == 1
        with pytest.raises(InputError, match=rf"\(N, 3, {settings.image_size}, {settings.image_size}\), not"):
            net.features(x, late)
    with torch.no_grad(), pytest.raises(InputError, match=r"\(N, 3, height, width\), not float32 Tensor \(1, 1, 96"):
        net.features(x[:, :1], layer)


@pytest.mark.parametrize("kind", MAKES)
def test_a_net_takes_inputs_of_its_own_type_and_any_type_where_autocast_casts(kind: str) -> None:
    make, settings = MAKES[kind]
    net = make(settings).eval()
    x = torch.zeros(1, 3, settings.image_size, settings.image_size)
    with torch.no_grad():
        assert net.double()(x.double()).dtype == torch.float64
        with pytest.raises(InputError, match="float64"):
            net(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert net.float()(x.bfloat16()).shape == (1, settings.classes)


def test_a_first_layer_without_plain_weights_takes_any_floating_type() -> None:
    """A module in its place, and a parametrised weight, which a check must not recompute."""
    net = Mlp(LITTLE).eval()
    nn.utils.parametrizations.spectral_norm(net.get_submodule("fc1"))
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(InputError):
        net(torch.zeros(1, 3, 5, 5))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net = Mlp(LITTLE).double().eval()
    net.add_module("fc1", nn.Sequential(nn.Linear(48, 4, dtype=torch.float64)))
    assert net(torch.zeros(1, 3, 4, 4, dtype=torch.float64)).shape == (1, 3)
