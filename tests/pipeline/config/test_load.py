"""Settings are read whole, and all faults are reported at once, each with its line."""

from pathlib import Path

import pytest

from pipeline.config import load as config
from pipeline.errors import ConfigError
from pipeline.gates.measures import MEASURES
from pipeline.settings import DEFAULT_COMPARE, DEFAULT_GATES, CompareGate, Gate, Settings

MEASURE_NAMES = ", ".join(sorted(MEASURES))
SEED = "an integer >= 0 and < 4294967296"


def test_without_a_file_changes_apply_to_the_defaults() -> None:
    assert config.defaults(["build.bisect_layers=0"]).build.bisect_layers == 0
    assert config.defaults([]) == Settings()
    with pytest.raises(ConfigError, match=r"^--set build.nonsense: unknown key"):
        config.defaults(["build.nonsense=3"])


BAD = {
    "misspelt key": (
        "[distill]\nalhpa = 0.9\n",
        "FILE:2: distill.alhpa: unknown key, did you mean 'alpha'? (alhpa); correct or remove it",
    ),
    "misspelt table": (
        "[distil]\nrounds = 1\n",
        "FILE:1: distil: unknown key, did you mean 'distill'? (distil); correct or remove it",
    ),
    "unknown key like no other": (
        "[student]\nzzz = 1\n",
        "FILE:2: student.zzz: unknown key (zzz); known here: arch, weights, download",
    ),
    "text for a number": (
        '[distill]\nrounds = "many"\n',
        "FILE:2: distill.rounds: not an integer >= 1 ('many'); give an integer >= 1",
    ),
    "truth for a number": ("seed = true\n", f"FILE:1: seed: not {SEED} (True); give {SEED}"),
    "fraction for an integer": ("seed = 1.0\n", f"FILE:1: seed: not {SEED} (1.0); give {SEED}"),
    "value for a table": ("distill = 3\n", "FILE:1: distill: not a table (3); give a table"),
    "array of tables for a table": (
        "[[distill]]\nrounds = 3\n",
        "FILE:1: distill: not a table ([{'rounds': 3}]); give a table",
    ),
    "below its bound": ("seed = -1\n", f"FILE:1: seed: not {SEED} (-1); give {SEED}"),
    "at an open bound": (
        "[distill]\nalpha = 1.0\n",
        "FILE:2: distill.alpha: not a number >= 0 and < 1 (1.0); give a number >= 0 and < 1",
    ),
    "not a number": (
        "[distill]\nalpha = nan\n",
        "FILE:2: distill.alpha: not a number >= 0 and < 1 (nan); give a number >= 0 and < 1",
    ),
    "infinite": (
        "[gates]\nspeedup.min = inf\n",
        "FILE:2: gates.speedup.min: not a number (inf); give a number",
    ),
    "not a number in a list": (
        "[data]\nmean = [nan]\n",
        "FILE:2: data.mean: not a list, each a number ([nan]); give a list, each a number",
    ),
    "odd width": (
        "[distill]\ngenerator_width = 7\n",
        (
            "FILE:2: distill.generator_width: not an integer >= 2 and a multiple of 2 (7); "
            "give an integer >= 2 and a multiple of 2"
        ),
    ),
    "empty list": (
        "[validate]\nbatch_sizes = []\n",
        (
            "FILE:2: validate.batch_sizes: not a list of at least one, each an integer >= 1 ([]); "
            "give a list of at least one, each an integer >= 1"
        ),
    ),
    "empty text": (
        "[teacher]\narch = ''\n",
        "FILE:2: teacher.arch: not a text that is not empty (''); give a text that is not empty",
    ),
    "unclosed header": (
        "[distill\nrounds = 1\n",
        "FILE:1: not TOML (expected ']' at the end of a table declaration); correct the syntax",
    ),
    "no value": (
        "seed = 1\n[distill]\nrounds = \n",
        "FILE:3: not TOML (invalid value); correct the syntax",
    ),
    "key set twice": (
        "seed = 1\nseed = 2\n",
        "FILE:2: not TOML (cannot overwrite a value); correct the syntax",
    ),
    "unknown gate": (
        "[gates]\nspedup.min = 2.0\n",
        (
            "FILE:2: gates.spedup: no such measure, did you mean 'speedup'? (spedup); "
            f"use one of {MEASURE_NAMES}"
        ),
    ),
    "gate without a bound": (
        "[gates]\nspeedup.confidence = 0.9\n",
        "FILE:2: gates.speedup: has no bound (min and max absent); set min or max",
    ),
    "misspelt bound": (
        "[gates]\nspeedup.mni = 1\n",
        "FILE:2: gates.speedup.mni: unknown key, did you mean 'min'? (mni); correct or remove it",
    ),
    "number for a gate": (
        "[gates]\nspeedup = 3\n",
        "FILE:2: gates.speedup: not a table (3); give a table",
    ),
    "both weights zero": (
        "[distill]\nlambda0 = 0\nlambda1 = 0\n",
        (
            "FILE:3: distill.lambda1: lambda0 and lambda1 are both 0, so the student learns "
            "nothing (0); set at least one of them above 0"
        ),
    ),
}


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "pipeline.toml"


def message(config_file: Path, text: str, *overrides: str) -> str:
    config_file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(config_file, overrides)
    return str(caught.value).replace(str(config_file), "FILE")


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD.keys())
def test_fault_is_reported_with_its_line_its_value_and_a_remedy(
    config_file: Path, text: str, expected: str
) -> None:
    assert message(config_file, text) == expected


def test_several_faults_are_reported_at_once_sorted_by_line(config_file: Path) -> None:
    text = "\nseed = -1\n[distill]\nrounds = 0\n[data]\nroot = 3\n[student]\narch = 8\n"
    assert message(config_file, text, "run.lock_wait_s=-1").splitlines() == [
        f"FILE:2: seed: not {SEED} (-1); give {SEED}",
        "FILE:4: distill.rounds: not an integer >= 1 (0); give an integer >= 1",
        "FILE:6: data.root: not a text (3); give a text",
        "FILE:8: student.arch: not a text that is not empty (8); give a text that is not empty",
        "--set run.lock_wait_s: not a number >= 0 (-1); give a number >= 0",
    ]


def test_lines_from_ten_on_come_after_the_lines_before(config_file: Path) -> None:
    text = "[distill]\nrounds = 0\n" + "\n" * 8 + "alpha = 2\n"
    assert [line.partition(": ")[0] for line in message(config_file, text).splitlines()] == [
        "FILE:2",
        "FILE:11",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "--set seed: not KEY=VALUE (seed); write for instance seed=1"),
        ("=1", "--set =1: not KEY=VALUE (=1); write for instance seed=1"),
        ("a..b=1", "--set a..b=1: not KEY=VALUE (a..b=1); write for instance seed=1"),
        (
            "data.root=d\udce9",
            (
                r"--set data.root: is no text in UTF-8 (data.root=d\xe9); rename the file, or give "
                "a link to it"
            ),
        ),
        (
            "distill.rounds=0",
            "--set distill.rounds: not an integer >= 1 (0); give an integer >= 1",
        ),
        (
            "distil.rounds=3",
            "--set distil: unknown key, did you mean 'distill'? (distil); correct or remove it",
        ),
        ("seed.x=3", "--set seed.x: 'seed' is not a table (3); name a key of a table"),
        (
            "distill.lambda1=0",
            (
                "--set distill.lambda1: lambda0 and lambda1 are both 0, so the student learns "
                "nothing (0); set at least one of them above 0"
            ),
        ),
    ],
)
def test_fault_of_an_override_names_the_override(
    config_file: Path, override: str, expected: str
) -> None:
    assert message(config_file, "seed = 3\n[distill]\nlambda0 = 0\n", override) == expected


def test_override_that_is_more_than_one_line_is_refused(config_file: Path) -> None:
    config_file.write_text("", encoding="utf-8")
    with pytest.raises(ConfigError):
        config.load(config_file, ["seed=1\nother=2"])


def test_override_wins_over_the_file_and_repairs_its_fault(config_file: Path) -> None:
    config_file.write_text("[distill]\nrounds = 0\n", encoding="utf-8")
    settings = config.load(config_file, ["distill.rounds=7", "distill.loss=kl", 'data.root="a b"'])
    assert (settings.distill.rounds, settings.distill.loss) == (7, "kl")
    assert settings.data.root == "a b"


def test_empty_file_gives_the_defaults(config_file: Path) -> None:
    config_file.write_text("", encoding="utf-8")
    assert config.load(config_file) == Settings()


def test_gates_of_the_file_replace_the_default_gates(config_file: Path) -> None:
    config_file.write_text("[gates]\nengine_bytes.max = 9\n", encoding="utf-8")
    assert config.load(config_file).gates == {"engine_bytes": Gate(max=9)}


def test_integer_is_accepted_where_a_number_is_wanted(config_file: Path) -> None:
    config_file.write_text("[distill]\nalpha = 0\n", encoding="utf-8")
    assert repr(config.load(config_file).distill.alpha) == "0.0"


def test_number_too_large_for_a_float_is_a_fault(config_file: Path) -> None:
    text = f"[distill]\ntemperature = 1{'0' * 400}\n"
    assert message(config_file, text).startswith(
        "FILE:2: distill.temperature: not a number > 0 (1000"
    )


def test_missing_file_explains_how_to_write_one(config_file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(config_file)
    assert str(caught.value) == (
        f"{config_file}: no such file; write one with 'madpipe init' or name it with --config"
    )
    assert caught.value.exit_code == 2


def test_file_that_is_not_text_is_refused(config_file: Path) -> None:
    config_file.write_bytes(b"seed = \xff\n")
    with pytest.raises(ConfigError, match=r"pipeline\.toml:1: not UTF-8 \(byte 0xff\)"):
        config.load(config_file)


def test_folder_in_place_of_the_file_is_refused(config_file: Path) -> None:
    config_file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(config_file)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_that_begins_with_a_mark_of_its_encoding_is_read(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "pipeline.toml"
    text = ("\ufeff" if encoding == "utf-16-le" else "") + "seed = 7\r\n[distill]\r\nrounds = 0\r\n"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(ConfigError, match=r"pipeline\.toml:3: distill\.rounds: "):
        config.load(path)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"seed = 1\n# caf\xe9\n", r":2: not UTF-8 \(byte 0xe9\); save the file as UTF-8"),
        (b'[data]\nroot = "C:\\Users"\n', r":2: not TOML .*single quotes"),
        (b'[data]\nroot = "C:\\data"\n', r":2: not TOML .*single quotes"),
        (b'[data]\nroot = "my\\train"\n', r":2: data\.root: a backslash .*'my\\train'"),
    ],
)
def test_other_encodings_and_backslashes_say_what_to_write(
    tmp_path: Path, content: bytes, wanted: str
) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=wanted):
        config.load(path)


@pytest.mark.parametrize(
    ("value", "size"),
    [("8", 8), ("1024", 1024), ("[8, 1024]", (8, 1024)), ("[96, 128]", (96, 128)), ("[9, 9]", 9)],
)
def test_an_image_size_is_one_number_or_height_and_width(value: str, size: object) -> None:
    for table in ("data", "build"):
        settings = config.defaults([f"{table}.image_size_px={value}"])
        assert getattr(settings, table).image_size_px == size


@pytest.mark.parametrize(
    "value", ["7", "1025", "[7, 8]", "[8, 1025]", "[8]", "[8, 8, 3]", "96x128", "8.5", "[]"]
)
@pytest.mark.parametrize("table", ["data", "build"])
def test_an_image_size_outside_the_bounds_is_refused_by_its_setting(table: str, value: str) -> None:
    words = "an integer >= 8 and <= 1024 or a list of 2, each an integer >= 8 and <= 1024"
    with pytest.raises(ConfigError) as caught:
        config.defaults([f"{table}.image_size_px={value}"])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"--set {table}.image_size_px: not {words} (")


UNREADABLE = {
    "nested lists": f"seed = {'[' * 50}{']' * 50}",
    "very nested lists": f"seed = {'[' * 50_000}{']' * 50_000}",
    "nested tables": f"{'.'.join(['a'] * 5000)} = 1",
    "a very long key": f"{'.'.join(['a'] * 100_000)} = 1",
    "a very long table": f"[{' . '.join(['a'] * 100_000)}]\nb = 1",
    "many digits": f"seed = {'9' * 5000}",
    "many hexadecimal digits": f"seed = 0x{'f' * 100_000}",
    "a large file": "#" * 2_000_000,
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_no_settings_file_holds_is_one_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^\S+pipeline.toml.*: .+; .+"):
        config.load(path)
    with pytest.raises(ConfigError):
        config.defaults([text.replace(" = ", "=")])


def test_the_lines_of_a_long_list_are_not_searched_without_end(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text("data.classes = [\n" + '"a",\n' * 100_000 + "]\nx = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"toml: x: unknown key"):
        config.load(path)


def test_a_bound_on_the_command_line_leaves_the_other_defaults(config_file: Path) -> None:
    config_file.write_text("seed = 1\n", "utf-8")
    settings = config.load(
        config_file, ["gates.speedup.min=3", "compare.engine_bytes.worse_relative=0.05"]
    )
    assert settings.gates == DEFAULT_GATES | {"speedup": Gate(min=3)}
    assert settings.compare == DEFAULT_COMPARE | {"engine_bytes": CompareGate(worse_relative=0.05)}
    margin = config.load(config_file, ["gates.student_top1_drop.margin=0.01"]).gates
    assert margin == DEFAULT_GATES | {"student_top1_drop": Gate(margin=0.01)}
    warn = config.load(config_file, ["gates.speedup.severity=warn"]).gates["speedup"]
    assert (warn.min, warn.severity) == (DEFAULT_GATES["speedup"].min, "warn")


def test_a_table_of_bounds_replaces_the_defaults(config_file: Path) -> None:
    config_file.write_text("[gates]\nspeedup.min = 3\n", "utf-8")
    assert config.load(config_file).gates == {"speedup": Gate(min=3)}
    both = config.load(config_file, ["gates.onnx_top1_drop.max=0.1"]).gates
    assert set(both) == {"speedup", "onnx_top1_drop"}
    config_file.write_text("seed = 1\n", "utf-8")
    only = config.load(config_file, ["gates={}", "gates.speedup.min=3"])
    assert only.gates == {"speedup": Gate(min=3)}
