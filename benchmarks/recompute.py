"""Recompute three claims' intervals from raw records, without the package: python benchmarks/recompute.py results."""

import base64
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

if len(sys.argv) != 2 or not (files := sorted(Path(sys.argv[1]).rglob("*.json"))):
    sys.exit(__doc__)
read = [json.loads(path.read_text()) for path in files]
runs = [r for r in read if r.get("record") == "run" and r["store"]["pictures"] == 50_000 and r["precision"] == "bf16"]
runs = list({(r["digest"], r["seed"]): r for r in runs}.values())  # a copy of a record does not count twice


def right(views: str, tuning: bool = False, **known: Any) -> np.ndarray:
    """Tell for each judged or tuning net of known settings, and each picture, whether it is right: a part, at a tie."""
    nets = [r for r in runs if tuning == (r["seed"] == 1000) and known["epochs"] == r["recipe"]["epochs"]]
    flat = [(r, r["recipe"] | r["recipe"]["sgd"] | r["recipe"]["net"]) for r in nets]
    kept = [r["right"][views] for r, has in flat if all(has[key] == value for key, value in known.items())]
    found = [np.unpackbits(np.frombuffer(base64.b64decode(one["bits"]), np.uint8), count=10_000) for one in kept]
    ties = [[one.get("ties", {}).get(str(i), 1) for i in range(10_000)] for one in kept]
    return np.array(found, float) * np.array(ties)


def errors(*rates: float, **known: Any) -> np.ndarray:
    """Compute the judged nets' errors with ten views, at the rate that has the least error on the tuning seed."""
    lr = min(rates, key=lambda lr: 1 - right("ten", len(rates) > 1, lr=lr, **known).mean())
    return 1 - right("ten", lr=lr, **known).mean(1)


def welch(more: np.ndarray, less: np.ndarray) -> tuple[float, float, float]:
    """Estimate a difference, its error and degrees of freedom: no other arm has two seeds, so none moderates these."""
    a, b, n, m = more.var(ddof=1) / len(more), less.var(ddof=1) / len(less), len(more) - 1, len(less) - 1
    df = 0.75 * min(n, m) + 0.25 * (a + b) ** 2 / (a * a / n + b * b / m)
    return more.mean() - less.mean(), math.sqrt(a + b), df


def crossed(gain: np.ndarray) -> tuple[float, float, float]:
    """Estimate a mean gain with its error over nets and over pictures, whose degrees of freedom are infinite."""
    a, b = gain.mean(1).var(ddof=1) / len(gain), gain.mean(0).var(ddof=1) / gain.shape[1]
    return gain.mean(), math.sqrt(a + b), (a + b) ** 2 / (a * a / (len(gain) - 1))


for claim, (difference, se, df) in {
    "fc-conv": welch(errors(1e-4, 3e-4, 1e-3, epochs=10, kind="MlpNet"), errors(0.01, epochs=10, kind="Net")),
    "momentum": welch(errors(0.01, 0.03, 0.1, 0.3, epochs=5, momentum=0.0), errors(0.01, epochs=5, momentum=0.9)),
    "ten-views": crossed(right("ten", epochs=20) - right("one", epochs=20)),
}.items():
    print(claim, *(f"{100 * (difference + side * t.ppf(0.975, df) * se):.4f}" for side in (0, -1, 1)))
