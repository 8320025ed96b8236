"""Pictures of the generators while they learn: how often, of what, and that looking is free."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pipeline.stage import Stage
from stages.distill import live_pictures
from stages.distill.distributed.group import Group
from stages.distill.job import build_trainer
from stages.distill.live_pictures import LivePictures
from stages.distill.trainer import DistillTrainer
from tests.stages.distill.tiny_training import job, teacher, trained_state
from tests.stages.tiny import context, settings

pytestmark = pytest.mark.usefixtures("one_thread")
STAGE = Stage(name="distill", run="none:run", outputs={}, settings=("bank",))


def trainer_of(folder: Path, **options: Any) -> DistillTrainer:
    return build_trainer(job(**options), teacher(folder), Group())[0]


@pytest.mark.parametrize(
    "options", [{}, {"generator": "cat", "ema_batch_norm": "averaged"}], ids=str
)
def test_looking_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(live_pictures, "_LEAST_INTERVAL_S", 0.0)
    alone, watched = trainer_of(tmp_path, **options), trainer_of(tmp_path, **options)
    ctx, emitted = context(STAGE, settings(), {}, tmp_path)
    torch.manual_seed(5)
    alone.run()
    state = torch.get_rng_state()
    torch.manual_seed(5)
    pictures = LivePictures(ctx, watched)
    watched.run(on_round=pictures.show)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(alone.rng.get_state(), watched.rng.get_state())
    one, other = trained_state(alone), trained_state(watched)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [fields["step"] for _, fields in emitted] == [1, 2, 3, 4]
    with Image.open(emitted[-1][1]["path"]) as picture:
        assert picture.format == "PNG"


def test_there_is_one_at_the_start_one_at_the_end_and_few_between(tmp_path: Path) -> None:
    ctx, emitted = context(STAGE, settings(), {}, tmp_path)
    trainer = trainer_of(tmp_path)
    trainer.run(on_round=LivePictures(ctx, trainer).show)
    assert [(kind, fields["step"]) for kind, fields in emitted] == [("picture", 1), ("picture", 4)]
    resumed = trainer_of(tmp_path)
    resumed.restore(trainer.state() | {"round": 2})
    emitted.clear()
    resumed.run(on_round=LivePictures(ctx, resumed).show)
    assert [fields["step"] for _, fields in emitted] == [4]


def test_there_is_none_where_no_synthetic_image_is_to_be_kept(tmp_path: Path) -> None:
    ctx, emitted = context(STAGE, settings({"bank": {"keep": False}}), {}, tmp_path)
    trainer = trainer_of(tmp_path)
    trainer.run(on_round=LivePictures(ctx, trainer).show)
    assert not emitted
