"""Which nets torchvision's AlexNet can hold, by the field that decides it, and the names of its tensors."""

from typing import Any

import pytest
from tests.exported import published

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.interop.torchvision_writer import check_fits, state_dict

OTHERS: dict[str, Any] = {
    "towers": 2,
    "channels": (64, 192, 384, 256, 128),
    "kernel_sizes": (9, 5, 3, 3, 3),
    "stride": 3,
    "padding": (),
    "hidden": 2048,
    "activation": "tanh",
    "lrn": LRN(),
    "spatial_lrn": SpatialLRN(),
    "pool": 2,
    "skip": (4,),
    "conv6": 8,
    "image_size": 227,
    "dropped": ("fc6", "fc7"),
    "dropout_scale": "testing",
}


def test_recipe_owt_fits_with_any_number_of_classes_and_either_rounding_of_pools() -> None:
    check_fits(RECIPES["owt"])
    check_fits(RECIPES["owt"].replace(net={"classes": 3, "pool_ceil": True}))
    check_fits(RECIPES["owt"].replace(net={"dropout": 0.0, "dropped": (), "dropout_scale": "testing"}))


@pytest.mark.parametrize("field", OTHERS)
def test_a_net_that_differs_is_refused_with_the_field(field: str) -> None:
    with pytest.raises(InputError, match=rf"^net\.{field} is .*torchvision's AlexNet has"):
        check_fits(RECIPES["owt"].replace(net={field: OTHERS[field]}))


@pytest.mark.parametrize("name", ["cifar-11", "paper", "source", "bvlc", "tiny"])
def test_other_recipes_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="owt"):
        check_fits(RECIPES[name])


def test_each_tensor_has_the_name_of_the_same_layer() -> None:
    own = published("owt")
    renamed = state_dict(own.weights)
    assert list(renamed)[:3] == ["features.0.weight", "features.0.bias", "features.3.weight"]
    assert list(renamed)[-1] == "classifier.6.bias"
    assert renamed["classifier.1.weight"] is own.weights["fc6.weight"]
    assert len(renamed) == len(own.weights) == 16
