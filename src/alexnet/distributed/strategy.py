"""The ways for a net to lie over processes, and which nets each is for."""

from alexnet.config import overrides
from alexnet.config.recipe import AnyNet, Net

STRATEGIES = ("data", "towers", "hybrid")  # for a net to lie over processes


def refusal(net: AnyNet, strategy: str, replicas: int, batch: int) -> str:
    """Why a net cannot lie over processes that way; nothing if it can."""
    if strategy not in STRATEGIES:
        return overrides.unknown_name(strategy, strategy, list(STRATEGIES), "", what="strategy")
    if not 1 <= replicas <= batch:
        return f"replicas is {replicas}; it must be 1 to {batch}, a picture of the batch each"
    if strategy != "data" and not isinstance(net, Net):
        return f"{strategy}: a way for AlexNet's layers, which a {type(net).__name__} lacks; only data is for it"
    if strategy == "towers" and isinstance(net, Net) and net.towers == 1:
        return "towers: net.towers is 1; it must be 2 to lie in processes of their own"
    if strategy == "hybrid" and isinstance(net, Net) and not net.cross_tower:
        return "hybrid: net.cross_tower is false; it must be true for layers to be shared out by units"
    if strategy == "hybrid" and isinstance(net, Net) and net.hidden % replicas:
        return f"hybrid: replicas is {replicas}; it must divide the {net.hidden} units of fc6 and fc7"
    return ""
