"""The strategies for sharing a net among processes, and the nets that each one supports."""

from alexnet.config.overrides import unknown_name
from alexnet.config.recipe import AnyNet, Net

STRATEGIES = ("data", "towers", "hybrid")


def refusal(net: AnyNet, strategy: str, replicas: int) -> str:
    """Explain why a net does not support a strategy.

    Args:
        net: The net, as a recipe describes it.
        strategy: One of `STRATEGIES`.
        replicas: Number of replicas of the net, 1 or more; "towers" takes two processes for each.

    Returns:
        One line that names the value and the values that work, or "" if the net supports the strategy.
    """
    if strategy not in STRATEGIES:
        return unknown_name(strategy, strategy, list(STRATEGIES), "", what="strategy")
    if strategy == "data":
        return ""
    if not isinstance(net, Net):
        return f"--strategy {strategy} is for AlexNet only; train a {type(net).__name__} with --strategy data"
    if strategy == "towers" and net.towers != 2:
        return f"--strategy towers: the recipe's net.towers is {net.towers}; it must be 2"
    if strategy == "towers" and net.lrn and net.lrn.across == "all":
        return "--strategy towers: net.lrn.across is all, but each process holds the maps of one tower; set it to tower"
    if "pool5" in net.dropped:
        return f"--strategy {strategy}: net.dropped has pool5; train such a net with --strategy data"
    if strategy == "hybrid" and not net.cross_tower:
        return "--strategy hybrid needs net.cross_tower: it cannot split the units of towers that never meet"
    if strategy == "hybrid" and net.hidden % replicas:
        return f"--strategy hybrid: {replicas} replicas cannot share the {net.hidden} units of fc6 and fc7 evenly"
    return ""
