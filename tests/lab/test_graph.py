"""The ONNX graph with switches: its layers are those of `walk`, at every setting."""

from itertools import product

import numpy as np
import pytest
import torch
from tests.lab.test_walk import net_of

from alexnet.lab.walk import Settings, mask, walk
from alexnet.models.layers import Dropout

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from alexnet.lab.graph import lab_graph  # noqa: E402  (it needs onnx)


@pytest.mark.parametrize("name", ["tiny", "paper", "owt", "caffenet", "one-gpu"])
def test_the_graph_walks_as_the_net_does_at_every_setting(name: str) -> None:
    net = net_of(name)
    session = onnxruntime.InferenceSession(lab_graph(net).SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    size, towers = net.net.image_size, session.get_inputs()[3].shape[0]
    x = 50 * torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    dropped = [layer for layer in net.order if isinstance(net.layer(layer), Dropout)]
    for norms, swapped, silent, seed in product(
        ((True, True), (False, True), (True, False)), (False, True), ((), (0,), (1,))[: towers + 1], (None, 4)
    ):
        expected = walk(net, x, Settings(norms, swapped, silent, seed))
        given = {
            "views": x.numpy(),
            "norms": np.array(norms),
            "swapped": np.array([swapped]),
            "towers": np.array([t not in silent for t in range(towers)], np.float32),
        }
        for layer in dropped:
            module = net.layer(layer)
            assert isinstance(module, Dropout)
            units = next(each.maps for each in net.layers if each.name == layer)
            factors = np.full(
                units, 1 - module.p if module.scale == "testing" else 1.0, np.float32
            )  # as browser.js does
            given[f"mask.{layer}"] = factors if seed is None else mask(module, len(factors), seed).numpy()
        used = {one.name for one in session.get_inputs()}
        found = dict(zip(outputs, session.run(None, {k: v for k, v in given.items() if k in used}), strict=True))
        for layer, out in expected.items():
            if layer in found:
                np.testing.assert_allclose(found[layer], out.numpy(), rtol=1e-4, atol=1e-4 * out.abs().max().item())
        assert expected.keys() - found.keys() <= {"pad1"}
