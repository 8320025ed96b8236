"""Keys have the lines on which they stand, however they are written."""

from pipeline.config.load import key_lines, line_of


def test_table_has_the_line_of_its_header() -> None:
    assert key_lines("# first\n\n[a]\nx = 1\n\n[b.c]\ny = 2\n") == {
        ("a",): 3,
        ("a", "x"): 4,
        ("b",): 6,
        ("b", "c"): 6,
        ("b", "c", "y"): 7,
    }


def test_dotted_key_marks_the_tables_that_it_implies() -> None:
    lines = key_lines("[gates]\nspeedup.min = 2\nspeedup.max = 3\n")
    assert lines["gates", "speedup"] == 2
    assert lines["gates", "speedup", "max"] == 3


def test_value_over_several_lines_has_the_line_on_which_it_begins() -> None:
    lines = key_lines('a = [\n  1,\n  # two\n  2,\n]\nb = """\nc = 3\n[d]\n"""\ne = 4\n')
    assert lines == {("a",): 1, ("b",): 6, ("e",): 10}


def test_inline_table_gives_its_keys_the_line_of_the_table() -> None:
    assert key_lines("x = 0\na = {b = 1, c = {d = 2}}\n") == {
        ("x",): 1,
        ("a",): 2,
        ("a", "b"): 2,
        ("a", "c"): 2,
        ("a", "c", "d"): 2,
    }


def test_quoted_and_spaced_keys_are_one_path() -> None:
    assert key_lines('[ "a b" ]\n"c.d" . e = 1\n')["a b", "c.d", "e"] == 2


def test_array_of_tables_has_the_line_of_the_first_of_its_headers() -> None:
    lines = key_lines("[[a]]\nx = 1\n[[a]]\nx = 2\n")
    assert (lines["a",], lines["a", "x"]) == (1, 2)


def test_bracket_in_a_comment_or_a_value_is_no_header() -> None:
    lines = key_lines('# [no]\na = "[no]"  # [no]\nb = 1\n')
    assert lines == {("a",): 2, ("b",): 3}


def test_windows_line_ends_count_as_one_line() -> None:
    assert key_lines("a = 1\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 2, ("b", "c"): 3}


def test_form_feed_and_other_separators_in_a_text_start_no_line() -> None:
    assert key_lines('a = "x\u2028y\x85z"\nb = 1\n') == {("a",): 1, ("b",): 2}


def test_unknown_path_has_the_line_of_its_nearest_table() -> None:
    lines = key_lines("[a]\nx = 1\n")
    assert line_of(lines, ("a", "y", "z")) == 1
    assert line_of(lines, ("b",)) is None
