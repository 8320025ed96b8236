"""What TensorBoard's own reader finds in the event files of runs."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from pipeline.track import tensorboard_runs
from pipeline.track.tracker import RunInfo
from tests.pipeline.track.conftest import Follow


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def runs(home: Path) -> list[Path]:
    return sorted((home / "tensorboard" / "madpipe").iterdir())


def test_curves_results_gates_pictures_texts_and_the_report_are_there(
    follow: Follow, home: Path
) -> None:
    code, notes = follow("tensorboard")
    assert (code, notes) == (0, ["a | note"])
    (folder,) = runs(home)
    run = read(folder)
    loss = [(event.step, round(event.value, 3)) for event in run.Scalars("distill/student_loss")]
    assert loss == [(1, 1.0), (2, 0.5), (3, 0.333)]
    assert [event.value for event in run.Scalars("result/distill/params")] == [77850]
    assert len(run.Scalars("result/validate/seconds")) == 1
    assert run.Scalars("gate/speedup/low")[0].value > 1
    pictures = {tag: [image.step for image in run.Images(tag)] for tag in run.Tags()["images"]}
    assert pictures == {"distill/live_samples": [3], "distill/samples": [3]}
    assert (run.Images("distill/samples")[0].width, run.Images("distill/samples")[0].height) == (
        1,
        1,
    )
    (notes_event,) = run.Tensors("notes")
    assert notes_event.tensor_proto.string_val == [rb"- distill: a \| note"]
    assert b"| speedup | pass |" in run.Tensors("gates")[0].tensor_proto.string_val[0]
    assert b"| distill | precision | fp32 |" in run.Tensors("results")[0].tensor_proto.string_val[0]
    assert "</html>" in (folder / "report.html").read_text(encoding="utf-8")
    assert "madpipe.report" in (folder / "report.json").read_text(encoding="utf-8")


def test_the_settings_are_its_hyper_parameters(follow: Follow, home: Path) -> None:
    follow("tensorboard", more=("distill.rounds=7", "track.run=first try"))
    (folder,) = runs(home)
    assert folder.name == "first try"
    metadata = read(folder).SummaryMetadata("_hparams_/session_start_info")
    data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    parameters = data.session_start_info.hparams
    assert parameters["distill.rounds"].number_value == 7
    assert parameters["student.arch"].string_value == "resnet8"
    assert parameters["data.mean"].string_value == "[]"
    assert not [name for name in parameters if name.startswith(("track", "run."))]


def test_a_run_of_stored_stages_has_their_curves_and_is_a_run_of_its_own(
    follow: Follow, home: Path
) -> None:
    follow("tensorboard", more=("track.run=a",))
    follow("tensorboard", more=("track.run=a",))
    assert [folder.name for folder in runs(home)] == ["a", "a-2"]
    again = read(runs(home)[1])
    assert [event.step for event in again.Scalars("distill/student_loss")] == [1, 2, 3]
    assert not (home / "track").exists() or not list((home / "track").iterdir())


def test_a_run_that_goes_on_knows_what_its_files_hold(tmp_path: Path) -> None:
    info = RunInfo("p", "a", None, tmp_path, {}, 1.0)
    first = tensorboard_runs.open_run(info)
    first.point("distill", "rounds", 4, {"loss": 1.0})
    first.results("result/teacher", {"top1": 0.9})
    first.flush()  # and killed: the file is never closed
    second = tensorboard_runs.open_run(info._replace(run_id=first.run_id))
    assert second.last_steps() == {"distill": 4, "result/teacher": 0}
    second.point("distill", "rounds", 5, {"loss": 0.5})
    second.close("done")
    folder = tmp_path / "tensorboard" / "p" / "a"
    assert [event.step for event in read(folder).Scalars("distill/loss")] == [4, 5]
    first.close("interrupted")


def test_runs_of_one_name_that_begin_at_once_have_a_folder_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What another process makes between a look and the making is not seen by the look.
    monkeypatch.setattr(Path, "exists", lambda _: False)
    opened = [
        tensorboard_runs.open_run(RunInfo("p", "a", None, tmp_path, {}, 1.0)) for _ in range(3)
    ]
    for run in opened:
        run.close("done")
    assert [run.run_id for run in opened] == ["a", "a-2", "a-3"]
