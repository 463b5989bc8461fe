"""The named recipes, each with what it changes and why; and functions to find, read and change a recipe.

A recipe is a frozen dataclass of all the numbers that decide a result (config/recipe.py). Its defaults are the paper's,
so a recipe here states only where it differs from another. `alexnet recipe NAME` prints every value of a recipe with
its section of the paper.

ADD YOURS: make it from another recipe with `replace`, and add its name to RECIPES. Add its digest to
tests/config/test_recipe.py, and a row to docs/recipes.md.
"""

import os
from os import PathLike
from typing import Any, Never

from alexnet.config import overrides
from alexnet.config.recipe import LRN, CifarNet, Cosine, Late, Recipe, Sgd, SpatialLRN, Steps, Views
from alexnet.core.errors import InputError
from alexnet.core.text import describe, shorten

# The text of the paper, taken literally: the defaults of recipe.py, each with its section there.
paper = Recipe()

# The 2012 code: the layers of net 145, which won the contest, with the automatic schedule of net 170. The weights' rate
# falls by a factor of 250 in all, in three equal steps. docs/source-vs-paper.md explains each difference from the text.
source = paper.replace(
    net={"lrn": {"divide_alpha_by_n": True}, "lrn1_first": True, "spatial_lrn": SpatialLRN()}
    | {"std": (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)},
    views={"pictures_per_crop": 32, "colour_shrink": True, "mean": "centre"},
    sgd={"bias_lr": 0.02, "bias_weight_decay": 0.0, "shuffle": "once"},
    schedule=Steps(
        milestones=(23.75, 47.5, 71.25), factor=250 ** (1 / 3), bias_milestones=(47.5,), bias_factor=10.0, of_epochs=95
    ),
    late={"colour_off": 68.0, "conv1_frozen": 74.0},
    epochs=95,
)

# The contest run itself. Its author changed the rates by hand, at the epochs that he wrote down. His log does not say
# whether he lowered the biases' rate too. His file has 0.02, but he used it again later (docs/source-vs-paper.md).
source_145 = source.replace(
    schedule=Steps(milestones=(25.0, 51.0, 79.0), of_epochs=91),
    late={"colour_off": 67.0, "conv1_slow": 67.0, "conv1_frozen": 72.0},
    epochs=91,
)

# Twice the batch at twice the rates. The 2012 notes say that such a run "matches #170 exactly", with one view. That run
# ended after 84 epochs, with the colour noise off at 61 and conv1 frozen at 73; here the schedule is source's, over 95.
batch_256 = source.replace(sgd={"batch": 256, "lr": 0.02, "bias_lr": 0.04})

# Not in the paper: batch 1,024 or more, for many GPUs at once. You, Gitman & Ginsburg (2017) published this trust
# coefficient, rate (2 at batch 1,024; 10 at 4,096) and warm-up for AlexNet. Their rate then falls as (1 - progress)^2,
# which averages a third; source's steps, kept here, average 0.30. They scale the biases' rate like the weights'. Here
# the biases' rate stays source's: in a small trial of ours, a rate eight times as high did no better.
large = source.replace(sgd={"batch": 1024, "lr": 2.0, "lars": 0.001}, schedule={"warmup_epochs": 5.0})

# The one-GPU net of section 3.2, for comparison: half the kernels, but conv5 and the fully connected layers keep their
# width.
one_gpu = paper.replace(net={"towers": 1, "channels": (48, 128, 192, 192, 256)})

# The nets for CIFAR-10 in the 2012 code. Section 3.3 compares the 13 % net with the 11 % net. All of them share these
# views and rates.
cifar_views = {"pictures_per_crop": 1, "colour": 0.0, "mean": "centre"}

cifar_sgd = {"lr": 0.001, "bias_lr": 0.002, "weight_decay": 0.004, "bias_weight_decay": 0.0, "shuffle": "once"}

# Without response normalisation.
cifar_13 = Recipe(
    net=CifarNet(),
    views=Views(**cifar_views),  # type: ignore[arg-type]
    sgd=Sgd(**cifar_sgd, layer_weight_decay={"conv1": 0.0, "conv2": 0.0}),  # type: ignore[arg-type]
    schedule=Steps(milestones=(500.0, 510.0), of_epochs=520),  # the 2012 file lowers only the weights' rates
    epochs=520,
)

# With response normalisation. The two published files differ in more than that: local3 has twice the maps here, and fc
# has weight decay 0.01. Both files train on four of the five batches for 350 epochs, and on all five for 150 more. Both
# recipes here use all five throughout.
cifar_11 = cifar_13.replace(
    net={"norm": LRN(n=9, k=1.0, alpha=1e-3, divide_alpha_by_n=True), "local": (64, 32)},
    sgd={"layer_weight_decay": {"fc": 0.01}},
)

# The quick net: three convolutions, one fully connected layer, whole pictures without crops or mirrors.
cifar_18 = cifar_13.replace(
    net=CifarNet(
        image_size=32,
        channels=(32, 32, 64),
        local=(),
        pools=("max", "avg", "avg"),
        pool1_first=True,
        norm=SpatialLRN(n=3, alpha=5e-5),
        norm2_first=False,
        std=(1e-4, 0.01, 0.01, 0.01),
    ),
    views={"crops": False, "mirror": False},
    sgd={"layer_weight_decay": {"conv1": 0.004, "conv2": 0.004, "fc": 1.0}},
    schedule=Steps(milestones=(120.0, 130.0), bias_milestones=(120.0, 130.0), of_epochs=140),
    epochs=140,
)

# Nets of others whose trained weights are public; `alexnet import` reads those weights. This one is BVLC's, trained by
# Caffe. Its norm sums over all maps, since one GPU held both towers. Its pictures were warped to 256 x 256 pixels
# (`prepare --fit warp`). Its rates fell after each 100,000 steps, which are 20 epochs.
bvlc = paper.replace(
    net={
        "image_size": 227,
        "padding": (0, 2, 1, 1, 1),
        "lrn": LRN(k=1.0, divide_alpha_by_n=True, across="all"),
        "dropout_scale": "training",
        "std": (0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01),
        "biases": (0.0, 0.1, 0.0, 0.1, 0.1, 0.1, 0.1, 0.0),
    },
    views={"colour": 0.0},
    sgd={"batch": 256, "bias_lr": 0.02, "bias_weight_decay": 0.0, "shuffle": "once"},
    schedule=Steps(milestones=(20.0, 40.0, 60.0, 80.0), bias_milestones=(20.0, 40.0, 60.0, 80.0)),
)

# BVLC's other net, which pools before it normalises, and starts with biases of 1 as the paper does.
caffenet = bvlc.replace(net={"pool_first": True, "biases": (0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)})

# The net of "One weird trick" (Krizhevsky 2014) as torchvision has it: one tower, no norms, other widths. The rates are
# those of torchvision's training script, for 8 processes of 32 pictures. That script also varies the size of its crops;
# these views do not.
owt = paper.replace(
    net={
        "towers": 1,
        "channels": (64, 192, 384, 256, 256),
        "lrn": None,
        "padding": (2, 2, 1, 1, 1),
        "pool_ceil": False,
        "dropped": ("pool5", "fc6"),
        "dropout_scale": "training",
        "init": "uniform",
    },
    views={"colour": 0.0, "std": (58.395, 57.12, 57.375)},
    sgd={"batch": 256, "weight_decay": 0.0001, "bias_weight_decay": 0.0001},
    schedule=Steps(milestones=(30.0, 60.0), bias_milestones=(30.0, 60.0)),
)

# AlexNet's shape for stores of 64-pixel pictures. The input (56 = 224 x 64/256), conv1's kernel and its stride are half
# as large, so the maps are 27, 13 and 6 units a side, where the large net has 55, 27, 13 and 6. Half the widths as well
# leave a twentieth of the multiply-adds. A unit has fewer inputs, so its initial weights are larger: std times the root
# of the number of inputs equals the 2012 net's, and a layer passes on a signal of the same size.
tiny = source.replace(
    net={
        "image_size": 56,
        "kernel_sizes": (5, 5, 3, 3, 3),
        "stride": 2,
        "channels": (48, 128, 192, 192, 128),
        "hidden": 1024,
    }
    | {"std": (0.022, 0.014, 0.042, 0.042, 0.042, 0.028, 0.02, 0.02)},
    epochs=60,
)

# AlexNet's shape for stores of 32-pixel pictures, half as wide as tiny; studies on such stores start from it. conv1 has
# stride 1, so the maps are 24, 12, 6 and 3 units a side. Initial weights grow by the same rule as tiny's. Each picture
# gets its own crop and mirroring, and the rates warm up over the first twentieth of the run: both keep training calm,
# and errors differ little from seed to seed.
small = tiny.replace(
    net={"image_size": 28, "stride": 1, "channels": (24, 64, 96, 96, 64), "hidden": 512}
    | {"std": (0.022, 0.02, 0.06, 0.06, 0.06, 0.04, 0.028, 0.028)},
    views={"pictures_per_crop": 1},
    schedule={"warmup_epochs": 4.75},
    epochs=20,
)

# The net of `alexnet demo`: two towers and the real 224-pixel path, narrow enough to train in about a minute. Its units
# have at most a fifth of the large net's inputs, so the initial weights are larger, for a signal of the same size.
demo = source.replace(
    net={"channels": (16, 32, 48, 48, 32), "hidden": 256, "spatial_lrn": None}
    | {"std": (0.01, 0.05, 0.05, 0.05, 0.05, 0.03, 0.05, 0.03)},
    sgd={"batch": 16, "lr": 0.005, "bias_lr": 0.01},
    views={"pictures_per_crop": 1},
    schedule=Steps(milestones=(13.0, 17.0), of_epochs=20),
    late=Late(),
    epochs=20,
)


# Not the paper's: what came after 2012, where a net of AlexNet's layers can have it in a few lines. No batch norm, no
# residuals. Half a cosine after a warm-up over a twentieth of the run (Loshchilov & Hutter 2017, Goyal et al. 2017).
# Scaled crops with ratios of 3/4 to 4/3 (Szegedy et al. 2015, from 8 % of the area; here from 35 %, since the pictures
# are small). A tenth of each label spread over all classes (Szegedy et al. 2016). Weights of variance 2 / inputs and
# biases of 0 (He et al. 2015), for inputs whose deviation is about 1. Decay outside the velocity, 1 / (1 - momentum) =
# 10 times section 5's (Loshchilov & Hutter 2019). An average of the weights over a fiftieth of the run (Polyak &
# Juditsky 1992).
since_2012: dict[str, Any] = {
    "net": {"init": "he", "bias_one_layers": ()},
    "views": {"pictures_per_crop": 1, "scale": 1 / 58, "area": (0.35, 1.0), "aspect": 4 / 3},
    "sgd": {"decoupled": True, "weight_decay": 0.005, "label_smoothing": 0.1, "average": 0.02},
    "schedule": Cosine(of_epochs=20, warmup_epochs=1.0),
    "late": Late(),
}

# For stores of 32 and 64 pixels a side: in the shape of small, and in that of tiny at small's widths. Pilots on 5,000
# and 2,000 pictures chose widths, batch, rates, and no dropout: in minutes, wider nets and nets that drop half of fc6
# and fc7 as well fit too little (docs/log.md).
few: dict[str, Any] = {"net": {"dropout": 0.0}, "sgd": {"batch": 32}, "epochs": 20}
# The rates are the best of three on each of three sets (docs/small-folders.md), and of three on the ladder's ground.
today = small.replace(**since_2012).replace(**few).replace(sgd={"lr": 0.04, "bias_lr": 0.08})
today_64 = tiny.replace(**since_2012).replace(**few)
today_64 = today_64.replace(net={"channels": (24, 64, 96, 96, 64), "hidden": 512}, sgd={"lr": 0.02, "bias_lr": 0.04})

# In the shape of source, for stores of 256 pixels and many pictures: source's batch, rates and dropout. Not tried here.
today_256 = source.replace(**since_2012, epochs=90)


class UnknownRecipe(InputError, KeyError):
    """An unknown recipe name; the message suggests the nearest known one."""

    __str__ = Exception.__str__  # KeyError's would put the message in quotes


class Recipes(dict[str, Recipe]):
    """A dict of recipes by name. An unknown name raises UnknownRecipe, which suggests the nearest known one."""

    def __missing__(self, name: object) -> Never:
        raise UnknownRecipe(overrides.unknown_name(str(name), str(name), list(self), "", what="recipe"))


RECIPES = Recipes(
    {
        "paper": paper,
        "source": source,
        "source-145": source_145,
        "batch-256": batch_256,
        "large": large,
        "one-gpu": one_gpu,
        "bvlc": bvlc,
        "caffenet": caffenet,
        "owt": owt,
        "cifar-13": cifar_13,
        "cifar-11": cifar_11,
        "cifar-18": cifar_18,
        "tiny": tiny,
        "small": small,
        "demo": demo,
        "today": today,
        "today-64": today_64,
        "today-256": today_256,
    }
)
LARGEST = 1_000_000  # bytes of the largest recipe file that is read


def named(name: str | PathLike[str] | Recipe) -> Recipe:
    """Look up a recipe by name, or read one from a JSON file.

    Args:
        name: A name in `RECIPES`, such as "paper". Or the path of a JSON file, such as the recipe.json of a run; the
            fields that a file leaves out take the paper's values. Or a `Recipe`, which is returned unchanged.

    Returns:
        The recipe.

    Raises:
        InputError: No recipe has that name (the message suggests the nearest), or the file holds no valid recipe.

    Examples:
        >>> alexnet.recipe("paper").sgd.weight_decay
        0.0005
    """
    if isinstance(name, Recipe):
        return name
    if not isinstance(name, (str, PathLike)):
        raise InputError(f'expected the name of a recipe, such as "paper", or its JSON file, not {describe(name)}')
    name = os.fspath(name)
    if name in RECIPES:
        return RECIPES[name]
    if name.endswith(".json") or os.path.exists(name):
        try:
            with open(name, "rb") as file:
                data = file.read(LARGEST + 1)
            if len(data) > LARGEST:
                raise ValueError(f"it has more than {LARGEST:,} bytes, too many for a recipe")
            plain = overrides.parse_setting(data.decode("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"recipe file {name} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from None
        if isinstance(plain, dict) and isinstance(plain.get("recipe"), dict):  # a run's recipe.json
            plain = plain["recipe"]
        return Recipe.of(plain)
    return RECIPES[name]  # raises UnknownRecipe


def override(recipe: Recipe, settings: list[str]) -> Recipe:
    """Apply settings of the form NAME=VALUE, as given to `--set`, to a recipe.

    Args:
        recipe: The recipe to start from; it does not change.
        settings: Settings such as "net.lrn.n=3" or "net.activation=tanh", applied in order. Each value is JSON, or a
            bare word.

    Returns:
        The changed recipe.

    Raises:
        InputError: A setting is not NAME=VALUE, its name does not exist, or the field does not accept its value.
    """
    for setting in settings:
        path, equals, written = setting.partition("=")
        if not equals or not path:
            raise InputError(f"--set {shorten(setting)}: write it as name=value, for example net.lrn.n=3")
        try:
            change: Any = overrides.parse_setting(written)
        except ValueError:  # not JSON, or a number with thousands of digits
            change = written
        names = path.split(".")
        overrides.check_path(recipe, names)
        for name in reversed(names):
            change = {name: change}
        recipe = recipe.replace(**change)
    return recipe
