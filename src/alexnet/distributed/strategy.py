"""The strategies by which processes share a net, and which nets each is for."""

from alexnet.config.overrides import unknown_name
from alexnet.config.recipe import AnyNet, Net

STRATEGIES = ("data", "towers", "hybrid")


def refusal(net: AnyNet, strategy: str, replicas: int) -> str:
    """Say why a net cannot lie over processes by a strategy.

    Args:
        net: The net, as a recipe describes it.
        strategy: One of `STRATEGIES`.
        replicas: How many replicas of the net there are to be; "towers" takes two processes for each.

    Returns:
        One line that names the value and what would do, or "" if nothing is in the way.
    """
    if strategy not in STRATEGIES:
        return unknown_name(strategy, strategy, list(STRATEGIES), "", what="strategy")
    if strategy == "data":
        return ""
    if not isinstance(net, Net):
        return f"--strategy {strategy} is for AlexNet's layers, which a {type(net).__name__} lacks; only data is for it"
    if strategy == "towers" and net.towers != 2:
        return f"--strategy towers: the recipe's net.towers is {net.towers}; it must be 2"
    if strategy == "hybrid" and not net.cross_tower:
        return "--strategy hybrid: net.cross_tower is false, and units of towers that do not meet cannot be shared out"
    if strategy == "hybrid" and net.hidden % replicas:
        return f"--strategy hybrid: {replicas} replicas cannot share the {net.hidden} units of fc6 and fc7 evenly"
    return ""
