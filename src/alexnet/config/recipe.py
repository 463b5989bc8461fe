"""A recipe is a value: every number that changes a result, each with the paper's section beside it."""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

from alexnet.config import overrides
from alexnet.config.overrides import check, note
from alexnet.core.errors import UnusableError

LARGEST = 1_000_000  # bytes of a recipe file


@dataclass(frozen=True)
class LRN:
    """Response normalisation across the maps of one tower (section 3.3)."""

    n: int = note(5, "3.3: neighbouring maps in the sum")
    k: float = note(2.0, "3.3")
    alpha: float = note(1e-4, "3.3")
    beta: float = note(0.75, "3.3")
    share: bool = note(False, "alpha divided by n, as the 2012 code does; the printed formula does not")

    def __post_init__(self) -> None:
        check_norm("lrn", self.n, self.k, self.alpha, self.beta)

    @property
    def a(self) -> float:
        """What multiplies the sum of squares."""
        return self.alpha / self.n if self.share else self.alpha


@dataclass(frozen=True)
class WithinMap:
    """Response normalisation over a square window of one map: in the 2012 code, not in the paper."""

    n: int = note(5, "2012 code, cnorm2: side of the window in units")
    k: float = note(1.0, "2012 code: fixed at 1")
    alpha: float = note(1e-3, "2012 code: always divided by n * n")
    beta: float = note(0.75, "2012 code")

    def __post_init__(self) -> None:
        check_norm("within", self.n, self.k, self.alpha, self.beta)

    @property
    def a(self) -> float:
        """What multiplies the sum of squares."""
        return self.alpha / self.n**2


def check_norm(name: str, n: int, k: float, alpha: float, beta: float) -> None:
    """Refuse what has no centre, divides by zero or does not normalise."""
    check(n >= 1 and n % 2 == 1, f"{name}.n", n, "odd: a window has a centre")
    check(k > 0, f"{name}.k", k, "more than 0")
    check(alpha >= 0 and beta >= 0, f"{name}.alpha, {name}.beta", (alpha, beta), "0 or more")


@dataclass(frozen=True)
class Net:
    """The network of figure 2. Widths count all towers together."""

    input: int = note(224, "2: pixels a side of a view")
    classes: int = note(1000, "2: taken from the store when training")
    towers: int = note(2, "3.2: groups of maps that meet only at conv3, fc6, fc7 and fc8")
    kernels: tuple[int, ...] = note((96, 256, 384, 384, 256), "3.5: maps of conv1 to conv5")
    sizes: tuple[int, ...] = note((11, 5, 3, 3, 3), "3.5: side of the kernels")
    stride: int = note(4, "3.5: of conv1; the others move by 1")
    hidden: int = note(4096, "3.5: units of fc6 and of fc7")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "3.1")
    lrn: LRN | None = note(LRN(), "3.3: after conv1 and conv2")
    lrn1_first: bool = note(False, "normalise conv1 before its activation, as the 2012 code does")
    within: WithinMap | None = note(None, "a norm within each map after norm2, as the 2012 code has")
    pool: int = note(3, "3.4: side of the pools; they move by 2, so 2 means no overlap")
    dropout: float = note(0.5, "4.2: after fc6 and fc7; probability of a zero")
    std: tuple[float, ...] = note((0.01,) * 8, "5: of the initial weights, conv1 to fc8")
    ones: tuple[int, ...] = note((2, 4, 5, 6, 7), "5: layers whose biases start at 1")
    talk: bool = note(True, "3.2: the towers meet before fc8; false, as in net 150 of 2012: there alone", later=True)
    without: tuple[int, ...] = note((), "7: middle convolutions left out, of 3, 4 and 5", later=True)
    conv6: int = note(0, "6: maps of a sixth convolution over pool5, begun as conv5; 0: none", later=True)

    def __post_init__(self) -> None:
        check(len(self.kernels) == 5, "net.kernels", self.kernels, "five widths, conv1 to conv5")
        check(len(self.sizes) == 5, "net.sizes", self.sizes, "five kernel sides, conv1 to conv5")
        check(min(self.sizes) > 0, "net.sizes", self.sizes, "1 or more each")
        check(all(s % 2 for s in self.sizes[1:]), "net.sizes", self.sizes, "odd sides from conv2 on")
        check(len(self.std) == 8 and min(self.std) >= 0, "net.std", self.std, "eight values, 0 or more, conv1 to fc8")
        check(set(self.ones) <= set(range(1, 9)), "net.ones", self.ones, "layers, 1 to 8")
        check(self.towers in (1, 2), "net.towers", self.towers, "1 or 2")
        once = len(set(self.without)) == len(self.without) < 3 and set(self.without) <= {3, 4, 5}
        check(once, "net.without", self.without, "at most two of 3, 4 and 5, each once")
        check(self.conv6 >= 0, "net.conv6", self.conv6, "0 (none) or more")
        widths = (*self.kernels, self.hidden)
        check(min(widths) > 0, "net.kernels, net.hidden", widths, "1 or more each")
        check(
            all(w % self.towers == 0 for w in (*widths, self.conv6)),
            "net.kernels, net.hidden, net.conv6",
            (*widths, self.conv6),
            f"multiples of the {self.towers} towers",
        )
        check(0 <= self.dropout < 1, "net.dropout", self.dropout, "a probability below 1")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        check(self.pool >= 2 and self.stride >= 1, "net.pool, net.stride", (self.pool, self.stride), "2+ and 1+")
        check(self.input >= self.sizes[0], "net.input", self.input, f"at least conv1's side, {self.sizes[0]}")
        side = -(-(self.input - self.sizes[0]) // self.stride) + 1
        for pool in ("pool1", "pool2", "pool5"):
            check(side >= self.pool, "net.input", self.input, f"larger: {pool} of {self.pool} sees {side} units a side")
            side = -(-(side - self.pool) // 2) + 1

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have weights."""
        middle = tuple(f"conv{i}" for i in (3, 4, 5) if i not in self.without)
        return ("conv1", "conv2", *middle, *(("conv6",) if self.conv6 else ()), "fc6", "fc7", "fc8")

    @property
    def meet(self) -> tuple[str, ...]:
        """The layers, each with weights, that see the maps of both towers (section 3.2: conv3, fc6, fc7 and fc8)."""
        return (
            (self.layers[2], *(n for n in self.layers[3:] if n in ("conv6", "fc6", "fc7", "fc8")))
            if self.talk
            else ("fc8",)
        )

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """Standard deviation of each layer's initial weights, and its initial biases (section 5)."""
        numbers = {name: 5 if name == "conv6" else int(name[-1]) for name in self.layers}
        return {name: (self.std[i - 1], float(i in self.ones)) for name, i in numbers.items()}


@dataclass(frozen=True)
class CifarNet:
    """The small nets of 2012 for CIFAR-10: convolutions, locally connected layers, one fully connected."""

    input: int = note(24, "2012: crop of 24 from 32")
    classes: int = note(10, "taken from the store when training")
    kernels: tuple[int, ...] = note((64, 64), "2012: maps of the 5 x 5 convolutions")
    local: tuple[int, ...] = note((32, 32), "2012: maps of the 3 x 3 layers whose weights are not shared")
    pools: tuple[str, ...] = note(("max", "max"), "2012: 3 x 3, moving by 2, windows clipped at the border")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "2012")
    pool1_first: bool = note(False, "2012, cifar-18: conv1's activation comes after its pool")
    norm: LRN | WithinMap | None = note(None, "2012: norm 1 and norm 2")
    norm2_first: bool = note(True, "2012: norm 2 before pool 2 (norm 1 always follows pool 1)")
    std: tuple[float, ...] = note((1e-4, 0.01, 0.04, 0.04, 0.01), "2012: of the initial weights, layer by layer")

    def __post_init__(self) -> None:
        layers = len(self.kernels) + len(self.local) + 1
        widths = (*self.kernels, *self.local)
        check(bool(self.kernels) and min(widths) > 0, "net.kernels, net.local", widths, "1 or more each")
        check(min(self.std, default=0) >= 0, "net.std", self.std, "0 or more each")
        check(len(self.std) == layers, "net.std", self.std, f"{layers} values, one a layer")
        check(len(self.pools) == len(self.kernels), "net.pools", self.pools, "one for each of net.kernels")
        check(all(p in ("max", "avg") for p in self.pools), "net.pools", self.pools, "max or avg")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        check(self.input >= 2 ** (len(self.kernels) + 1), "net.input", self.input, "larger: each pool halves it")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have weights."""
        convolutions = [f"conv{i}" for i in range(1, len(self.kernels) + 1)]
        local = [f"local{i}" for i in range(len(self.kernels) + 1, len(self.kernels) + len(self.local) + 1)]
        return (*convolutions, *local, "fc")

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """Standard deviation of each layer's initial weights, and its initial biases."""
        return {name: (std, 0.0) for name, std in zip(self.layers, self.std, strict=True)}


@dataclass(frozen=True)
class MlpNet:
    """A net of fully connected layers alone, which the claim `fc-conv` holds against convolutions; not the paper's."""

    input: int = note(32, "pixels a side of a view")
    classes: int = note(10, "taken from the store when training")
    hidden: tuple[int, ...] = note((1000, 1000), "units of the hidden layers, fc1 first")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "3.1")
    dropout: float = note(0.5, "4.2: after each hidden layer; probability of a zero")
    std: tuple[float, ...] = note((0.01, 0.01, 0.01), "5: of the initial weights, layer by layer")
    ones: tuple[int, ...] = note((2,), "5: layers whose biases start at 1")

    def __post_init__(self) -> None:
        layers = len(self.hidden) + 1
        check(min(self.hidden, default=0) > 0, "net.hidden", self.hidden, "one width or more, 1 or more each")
        check(min(self.std, default=0) >= 0, "net.std", self.std, "0 or more each")
        check(len(self.std) == layers, "net.std", self.std, f"{layers} values, one a layer")
        check(set(self.ones) <= set(range(1, layers + 1)), "net.ones", self.ones, f"layers, 1 to {layers}")
        check(0 <= self.dropout < 1, "net.dropout", self.dropout, "a probability below 1")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        check(self.input >= 1, "net.input", self.input, "1 or more")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have weights."""
        return tuple(f"fc{i}" for i in range(1, len(self.hidden) + 2))

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """Standard deviation of each layer's initial weights, and its initial biases (section 5)."""
        both = zip(self.layers, self.std, strict=True)
        return {name: (std, float(i in self.ones)) for i, (name, std) in enumerate(both, 1)}


AnyNet = Net | CifarNet | MlpNet


@dataclass(frozen=True)
class Views:
    """How a stored picture becomes the net's input (section 4.1)."""

    crops: bool = note(True, "4.1: random place; otherwise the centre")
    mirror: bool = note(True, "4.1: half of the views are mirrored")
    share: int = note(1, "consecutive pictures that share crop and mirror; 32 in the 2012 code")
    colour: float = note(0.1, "4.1: standard deviation of the colour noise's alpha; 0 is off")
    colour_scale: Literal["deviation", "eigenvalue"] = note(
        "deviation", "4.1 prints the eigenvalue, which on 0-255 pixels would be +-1,483; the code has its square root"
    )
    colour_shrink: bool = note(False, "divide by 1 + colour after the noise, as the 2012 code does")
    mean: Literal["place", "centre"] = note("place", "2: each pixel's own mean, or the centre's whatever the crop")
    scale: float = note(1.0, "2: raw 0-255 pixels; anything but 1 is not the paper's (1/58 is today's habit)")

    def __post_init__(self) -> None:
        check(self.share >= 1, "views.share", self.share, "1 or more pictures")
        check(self.colour >= 0, "views.colour", self.colour, "0 (off) or more")
        check(self.scale > 0, "views.scale", self.scale, "a positive factor")


@dataclass(frozen=True)
class Sgd:
    """The update rule of section 5."""

    batch: int = note(128, "5")
    momentum: float = note(0.9, "5")
    rate: float = note(0.01, "5: of the weights, at the start")
    bias_rate: float = note(0.01, "5: equal for all layers; the 2012 code doubles it for biases")
    decay: float = note(0.0005, "5: of the weights")
    bias_decay: float = note(0.0005, "5 prints one rule for all; the 2012 code does not decay biases")
    layer_decay: dict[str, float] = note({}, "decay of single layers where it differs")
    shuffle: Literal["once", "each epoch"] = note("each epoch", "not said; the 2012 code shuffles once, at preparation")
    lars: float | None = note(None, "not the paper's: You et al. 2017, trust coefficient of weights", later=True)
    layer_rate: dict[str, float] = note(
        {}, "factors on the rates of single layers, as 2012's fine-tuning; 0: frozen", later=True
    )

    def __post_init__(self) -> None:
        check(self.batch >= 1, "sgd.batch", self.batch, "1 or more pictures")
        check(0 <= self.momentum < 1, "sgd.momentum", self.momentum, "0 to 1, 1 excluded")
        for name in ("rate", "bias_rate", "decay", "bias_decay"):
            value = getattr(self, name)
            check(0 <= value <= 1e9, f"sgd.{name}", value, "0 to a billion")
        rates = tuple(self.layer_rate.values())
        check(
            all(0 <= r <= 1e9 for r in rates), "sgd.layer_rate", self.layer_rate, "factors of 0 (frozen) to a billion"
        )
        check(self.lars is None or 0 < self.lars <= 1, "sgd.lars", self.lars, "more than 0, at most 1; or null (off)")


@dataclass(frozen=True)
class Plateau:
    """Divide the rate when the validation error stops improving (section 5)."""

    factor: float = note(10.0, "5: by ten")
    drops: int = note(3, "5: three times before the end")
    patience: int = note(5, "epochs of `of` without a better error; 2012 judged by eye")
    of: int = note(90, "5: roughly 90 cycles; patience shrinks with the epochs asked for")

    def __post_init__(self) -> None:
        check(self.drops >= 0, "schedule.drops", self.drops, "0 or more")
        check(1 < self.factor <= 1e6, "schedule.factor", self.factor, "more than 1, at most a million")
        check(self.of >= 1 and self.patience >= 1, "schedule.patience", self.patience, "1 or more epochs")


@dataclass(frozen=True)
class Steps:
    """Divide the rates at given epochs of `of`; a run of other length meets them at the same fractions."""

    at: tuple[float, ...] = note((), "epochs at which the weights' rate is divided")
    factor: float = note(10.0, "by this")
    bias_at: tuple[float, ...] = note((), "the same for the biases' rate")
    bias_factor: float = note(10.0, "by this")
    of: int = note(90, "epochs that the numbers of this schedule refer to")
    warm: float = note(0.0, "not the paper's: epochs of even growth from a tenth of the rates; 0: none", later=True)

    def __post_init__(self) -> None:
        check(self.of >= 1, "schedule.of", self.of, "1 or more epochs")
        check(0 < self.factor <= 1e6, "schedule.factor", self.factor, "more than 0, at most a million")
        check(0 < self.bias_factor <= 1e6, "schedule.bias_factor", self.bias_factor, "more than 0, at most a million")
        check(0 <= self.warm <= self.of, "schedule.warm", self.warm, f"0 (off) to the {self.of} epochs of schedule.of")


@dataclass(frozen=True)
class Late:
    """What the 2012 runs switched late in training, in epochs of the schedule's `of`; None is never."""

    colour_off: float | None = note(None, "2012 log: colour noise off")
    conv1_slow: float | None = note(None, "2012 log: conv1's rate set to conv1_rate")
    conv1_rate: float = note(1e-5, "2012 log")
    conv1_frozen: float | None = note(None, "2012 log: conv1's rate set to 0")

    def __post_init__(self) -> None:
        check(self.conv1_rate >= 0, "late.conv1_rate", self.conv1_rate, "0 or more")


@dataclass(frozen=True)
class Start:
    """Another run's layers, which training starts from (section 6)."""

    recipe: str = note("", "digest of that run's recipe")
    store: str = note("", "digest of the store that it saw")
    step: int = note(0, "its step at which the weights were taken")
    layers: tuple[str, ...] = note((), "6: layers taken from it; the others start anew")


@dataclass(frozen=True)
class Recipe:
    """All that decides a result but the store and the precision."""

    net: AnyNet = note(Net(), "3")
    views: Views = note(Views(), "4.1")
    sgd: Sgd = note(Sgd(), "5")
    schedule: Plateau | Steps = note(Plateau(), "5")
    late: Late = note(Late(), "2012 log")
    epochs: int = note(90, "5: roughly 90 cycles")
    seed: int = note(0, "not said; 2012 set none")
    start: Start | None = note(None, "6: another run's layers to start from", later=True)

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        check(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2^32 - 1")
        named = {"sgd.layer_decay": self.sgd.layer_decay, "sgd.layer_rate": self.sgd.layer_rate}
        for field, layers in (named | {"start.layers": self.start.layers if self.start else ()}).items():
            for name in layers:
                if name not in self.net.layers:
                    raise UnusableError(overrides.unknown(f"{field}.{name}", name, list(self.net.layers), f"{field}."))
        check(
            self.views.crops or self.views.share == 1, "views.share", self.views.share, "1 where views.crops is false"
        )

    def but(self, **changes: Any) -> Self:
        """This recipe with some fields changed; a mapping reaches the fields inside a field.

        Raises UnusableError naming the field, its value and what would do.
        """
        return cast(Self, overrides.vary(self, changes, ""))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify the recipe."""
        same = Recipe.of(self.plain())  # 1 and 1.0 are the same rate
        text = json.dumps(overrides.plain(same, later=False), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def plain(self) -> dict[str, Any]:
        """The recipe as JSON's own types; `Recipe.of` reads it back."""
        return cast(dict[str, Any], overrides.plain(self))

    @classmethod
    def of(cls, plain: Any) -> Self:
        """The recipe that `plain` was made from; raises UnusableError for anything else."""
        if not isinstance(plain, dict):
            raise UnusableError(f"a recipe is a JSON object; this is {overrides.show(plain)}")
        return cast(Self, overrides.typed(plain, cls, ""))


paper = Recipe()

# Net 145's layers with net 170's automatic schedule: rates fall by 250 in all, in three equal steps.
source = paper.but(
    net={"lrn": {"share": True}, "lrn1_first": True, "within": WithinMap()}
    | {"std": (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)},
    views={"share": 32, "colour_shrink": True, "mean": "centre"},
    sgd={"bias_rate": 0.02, "bias_decay": 0.0, "shuffle": "once"},
    schedule=Steps(at=(23.75, 47.5, 71.25), factor=250 ** (1 / 3), bias_at=(47.5,), bias_factor=10.0, of=95),
    late={"colour_off": 68.0, "conv1_frozen": 74.0},
    epochs=95,
)

# The contest run itself: what its author did by hand, at the epochs he wrote down.
source_145 = source.but(
    schedule=Steps(at=(25.0, 51.0, 79.0), of=91),
    late={"colour_off": 67.0, "conv1_slow": 67.0, "conv1_frozen": 72.0},
    epochs=91,
)

# The same notes on net 170 at twice the batch and twice the rates: it "matches #170 exactly".
batch_256 = source.but(sgd={"batch": 256, "rate": 0.02, "bias_rate": 0.04})

# Not the paper's: batch 1,024 and up, for many devices at once. Trust coefficient, rate (2 at batch 1,024; 10 at 4,096)
# and warm-up are those that You, Gitman & Ginsburg (2017) published for AlexNet. Their rate then falls as
# (1 - progress)^2, on average to a third; source's steps, kept here, average 0.30. They scale the biases' rate as the
# weights'; here it stays source's, which did as well in a small trial as one eight times as high: that is ours.
large = source.but(sgd={"batch": 1024, "rate": 2.0, "lars": 0.001}, schedule={"warm": 5.0})

# Section 3.2's comparison: half the kernels, but conv5 and the fully connected layers kept whole.
one_gpu = paper.but(net={"towers": 1, "kernels": (48, 128, 192, 192, 256)})

cifar_views = {"share": 1, "colour": 0.0, "mean": "centre"}
cifar_sgd = {"rate": 0.001, "bias_rate": 0.002, "decay": 0.004, "bias_decay": 0.0, "shuffle": "once"}
cifar_13 = Recipe(
    net=CifarNet(),
    views=Views(**cifar_views),  # type: ignore[arg-type]
    sgd=Sgd(**cifar_sgd, layer_decay={"conv1": 0.0, "conv2": 0.0}),  # type: ignore[arg-type]
    schedule=Steps(at=(500.0, 510.0), bias_at=(500.0, 510.0), of=520),
    epochs=520,
)
# The published pair differs in more than the norm: local3 has twice the maps and fc's decay is 0.01.
cifar_11 = cifar_13.but(
    net={"norm": LRN(n=9, k=1.0, alpha=1e-3, share=True), "local": (64, 32)},
    sgd={"layer_decay": {"fc": 0.01}},
)
cifar_18 = cifar_13.but(
    net=CifarNet(
        input=32,
        kernels=(32, 32, 64),
        local=(),
        pools=("max", "avg", "avg"),
        pool1_first=True,
        norm=WithinMap(n=3, alpha=5e-5),
        norm2_first=False,
        std=(1e-4, 0.01, 0.01, 0.01),
    ),
    views={"crops": False, "mirror": False},
    sgd={"layer_decay": {"conv1": 0.004, "conv2": 0.004, "fc": 1.0}},
    schedule=Steps(at=(120.0, 130.0), bias_at=(120.0, 130.0), of=140),
    epochs=140,
)

# AlexNet's shape for 64-pixel stores: input, conv1's kernel and stride halve (56 x 64/256 of 224), so the maps are
# 27, 13 and 6 units a side where the large net's are 55, 27, 13 and 6; halving the widths as well leaves a twentieth of
# the multiply-adds. Initial weights grow as the inputs of a unit shrink, so that a layer passes on what the 2012 net's
# does (std times the root of the inputs).
tiny = source.but(
    net={"input": 56, "sizes": (5, 5, 3, 3, 3), "stride": 2, "kernels": (48, 128, 192, 192, 128), "hidden": 1024}
    | {"std": (0.022, 0.014, 0.042, 0.042, 0.042, 0.028, 0.02, 0.02)},
    epochs=60,
)

# The main job's net: two towers and the real 224-pixel path, narrow enough to train in about a minute. Its layers see
# a fifth of the inputs or fewer, so their initial weights are larger, to pass on as much as the large net's do.
demo = source.but(
    net={"kernels": (16, 32, 48, 48, 32), "hidden": 256, "within": None}
    | {"std": (0.01, 0.05, 0.05, 0.05, 0.05, 0.03, 0.05, 0.03)},
    sgd={"batch": 16, "rate": 0.005, "bias_rate": 0.01},
    views={"share": 1},
    schedule=Steps(at=(13.0, 17.0), of=20),
    late=Late(),
    epochs=20,
)

RECIPES: dict[str, Recipe] = {
    "paper": paper,
    "source": source,
    "source-145": source_145,
    "batch-256": batch_256,
    "large": large,
    "one-gpu": one_gpu,
    "cifar-13": cifar_13,
    "cifar-11": cifar_11,
    "cifar-18": cifar_18,
    "tiny": tiny,
    "demo": demo,
}


def override(recipe: Recipe, settings: list[str]) -> Recipe:
    """`recipe` with settings such as ``net.lrn.n=3`` applied, each value written as in JSON (or a bare word)."""
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise UnusableError(f"--set {overrides.cut(setting)}: write it as name=value, for example net.lrn.n=3")
        try:
            change: Any = overrides.read(text)
        except ValueError:  # no JSON, or a number of thousands of digits
            change = text
        names = path.split(".")
        overrides.check_path(recipe, names)
        for name in reversed(names):
            change = {name: change}
        recipe = recipe.but(**change)
    return recipe


def named(name: str) -> Recipe:
    """The recipe of that name, or the one in that JSON file."""
    if name in RECIPES:
        return RECIPES[name]
    if name.endswith(".json") or os.path.exists(name):
        try:
            with open(name, "rb") as file:
                data = file.read(LARGEST + 1)
            if len(data) > LARGEST:
                raise ValueError(f"it has more than {LARGEST:,} bytes, and no recipe has")
            plain = overrides.read(data.decode("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise UnusableError(
                f"recipe file {name} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from None
        if isinstance(plain, dict) and isinstance(plain.get("recipe"), dict):  # a run's recipe.json
            plain = plain["recipe"]
        return Recipe.of(plain)
    raise UnusableError(overrides.unknown(name, name, list(RECIPES), "", what="recipe"))
