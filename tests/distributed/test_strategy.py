"""The nets that each strategy supports; any other gets one line with the value and the values that work."""

import pytest

from alexnet.config.recipes import RECIPES
from alexnet.distributed.strategy import STRATEGIES, refusal


@pytest.mark.parametrize(
    ("strategy", "replicas", "recipe", "words"),
    [
        ("tower", 2, "paper", "no strategy tower; did you mean towers?"),
        ("hybrid", 3, "paper", "--strategy hybrid: 3 replicas cannot share the 4096 units"),
        ("towers", 2, "one-gpu", "--strategy towers: the recipe's net.towers is 1; it must be 2"),
        ("hybrid", 2, "cifar-18", "is for AlexNet only; train a CifarNet with"),
    ],
)
def test_a_strategy_that_a_net_cannot_go_is_refused_in_one_line(
    strategy: str, replicas: int, recipe: str, words: str
) -> None:
    said = refusal(RECIPES[recipe].net, strategy, replicas)
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("replicas", [1, 2, 128])
def test_the_papers_net_goes_every_strategy(strategy: str, replicas: int) -> None:
    assert refusal(RECIPES["paper"].net, strategy, replicas) == ""
