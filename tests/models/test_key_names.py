"""The same layer under the names of different repositories."""

from models.key_names import match_key_names


def test_names_are_spelled_as_wanted_in_both_directions() -> None:
    wanted = {"layer2.0.shortcut.0.weight", "linear.bias"}
    other = {"layer2.0.downsample.0.weight": 1, "fc.bias": 2}
    assert match_key_names(other, wanted) == {"layer2.0.shortcut.0.weight": 1, "linear.bias": 2}
    back = match_key_names({"layer2.0.shortcut.0.weight": 1, "linear.bias": 2}, other.keys())
    assert back == other


def test_a_name_that_is_wanted_or_unknown_stays() -> None:
    assert match_key_names({"fc.bias": 1, "head.bias": 2}, {"fc.bias"}) == {
        "fc.bias": 1,
        "head.bias": 2,
    }


def test_only_whole_parts_of_a_name_are_exchanged() -> None:
    assert match_key_names({"fc1.bias": 1}, {"linear1.bias"}) == {"fc1.bias": 1}


def test_nothing_is_put_in_the_place_of_a_tensor_that_is_there() -> None:
    assert match_key_names({"fc.bias": 1, "linear.bias": 2}, {"linear.bias"}) == {
        "fc.bias": 1,
        "linear.bias": 2,
    }
