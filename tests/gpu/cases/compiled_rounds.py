"""Training rounds on hollow CUDA that are compiled, and recorded as CUDA graphs."""

from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from stages.training import state_file
from tests.gpu.cases.rounds import trainer
from tests.gpu.hollow.calls import Calls

WARM_ROUNDS = 3
MOST_GRAPHS = 7
"""Student in both modes, generator, its EMA, the folded teacher, the teacher with moments, and the
student's part in the generator step."""


@pytest.mark.parametrize(
    ("mode", "resolved", "most_launches"),
    # Of two student steps on 8 pixels: 286 and 803, of which 24 look for
    # faults of the teacher. Not compiled they are 1,233; compiled, before
    # the moments were a part of it, they were 1,044. Outside of graphs are the losses, the
    # images' shifts, the figures, the EMA and the optimisers.
    [("auto", "cuda-graphs", 290), ("on", "on", 810)],
    ids=("auto", "on"),
)
def test_rounds_are_compiled_once_and_wait_for_nothing(
    tmp_path: Path,
    mode: str,
    resolved: str,
    most_launches: int,
) -> None:
    # Every second round is measured.
    compiled = trainer(tmp_path, compile=mode, rounds=100)
    assert (compiled.compile_mode, compiled.is_folded) == (resolved, True)
    for _ in range(WARM_ROUNDS):
        compiled.train_round()
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] <= MOST_GRAPHS

    state_file.save(tmp_path / "state", compiled.state())
    with torch._dynamo.config.patch(error_on_recompile=True):
        for turn in ("measured", "plain", "measured again", "restored"):
            if turn == "restored":
                compiled.restore(state_file.load(tmp_path / "state"))
                compiled.train_round()
            before = Calls.read()
            compiled.train_round()
            calls = Calls.read().since(before)
            assert (calls.waits, calls.captures, calls.refused) == (0, 0, 0), turn
            assert (calls.graph_launches > 0) == (resolved == "cuda-graphs")
            if turn == "plain":
                assert calls.launches <= most_launches, calls.launches
    assert counters["stats"]["unique_graphs"] <= MOST_GRAPHS
