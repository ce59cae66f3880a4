from __future__ import annotations

import torch

from esrbench.probes.eager import eagerly


def test_nothing_is_compiled_in_the_block_and_again_after_it() -> None:
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, _inputs: object) -> object:
        compiled.append(graph)
        return graph.forward

    doubled = torch.compile(lambda x: x * 2, backend=backend)
    with eagerly():
        assert doubled(torch.ones(1)).item() == 2
    assert compiled == []
    assert doubled(torch.ones(1)).item() == 2
    assert len(compiled) == 1
