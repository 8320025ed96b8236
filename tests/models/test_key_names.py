"""The same layer under the names of different repositories."""

import pytest

from models.key_names import fit_names, match_key_names


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


def _shapes(*names: str, size: int = 2) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(names, (size,))


OWN = _shapes("stage1.0.conv1.weight", "stage1.0.bn1.num_batches_tracked", "fc.bias")


@pytest.mark.parametrize(
    "prefix", ["", "network.", "a.b.", "module.", "model._orig_mod.", "classifier.", "fc."]
)
def test_whatever_all_that_is_needed_lies_under_is_removed(prefix: str) -> None:
    file = {prefix + name: shape for name, shape in OWN.items()}
    fit = fit_names(file, OWN)
    assert fit.own_names == {prefix + name: name for name in OWN}
    assert not fit.aside


def test_a_prefix_that_only_the_network_has_is_added() -> None:
    wanted = {f"backbone.{name}": shape for name, shape in OWN.items()}
    assert fit_names(OWN, wanted).own_names == {name: f"backbone.{name}" for name in OWN}


def test_what_lies_beside_the_network_is_left_aside() -> None:
    file = {f"model.{name}": shape for name, shape in OWN.items()} | _shapes("criterion.weight")
    assert fit_names(file, OWN).aside == ("criterion.weight",)


def test_a_layer_too_many_inside_is_no_fit() -> None:
    file = {f"model.{name}": shape for name, shape in (OWN | _shapes("fc2.bias")).items()}
    fit = fit_names(file, OWN)
    assert set(fit.own_names.values()) > OWN.keys()


def test_what_was_trained_comes_before_its_average_and_two_networks_stay_two() -> None:
    def doubled(other: str) -> dict[str, tuple[int, ...]]:
        pairs = (("model", name) for name in OWN), ((other, name) for name in OWN)
        return {f"{place}.{name}": (2,) for pair in pairs for place, name in pair}

    for other in ("model_ema", "ema", "averaged_model", "swa"):
        assert fit_names(doubled(other), OWN).prefixes == ("model.",)
    assert fit_names(doubled("teacher"), OWN).prefixes == ("model.", "teacher.")


def test_wrappers_within_old_spellings_and_stages_are_other_names_of_the_same() -> None:
    wanted = {"features.0.weight", "block.denselayer1.norm1.weight", "stage2.0.shortcut.0.weight"}
    file = {
        "features.module.0.weight": 1,
        "block.denselayer1.norm.1.weight": 2,
        "layer2.0.downsample.0.weight": 3,
    }
    assert match_key_names(file, wanted).keys() == wanted


BODY = {"conv.weight": (8, 3, 3, 3), "bn.weight": (8,), "bn.bias": (8,)}
HEADED = BODY | {"fc.weight": (5, 8), "fc.bias": (5,)}


@pytest.mark.parametrize(
    ("body", "head"), [("", "fc.1"), ("", "head"), ("backbone.", "head.fc"), ("", "last")]
)
def test_a_head_of_another_name_is_the_one_layer_that_is_left(body: str, head: str) -> None:
    file = {body + name: shape for name, shape in BODY.items()}
    file |= {f"{head}.weight": (5, 8), f"{head}.bias": (5,)}
    statistics = {"preprocessor.mean": (3,), "preprocessor.std": (3,)}
    fit = fit_names(file | statistics, HEADED)
    assert set(fit.own_names.values()) == HEADED.keys()
    assert (fit.head, fit.aside) == (head, tuple(statistics))


@pytest.mark.parametrize(
    "others",
    [
        {"fc.0.weight": (8, 8), "fc.0.bias": (8,), "fc.2.weight": (5, 8), "fc.2.bias": (5,)},
        {"head.weight": (5, 8), "head.bias": (5,), "neck.weight": (8,)},
        {"head.weight": (5, 8)},
        {"head.weight": (5, 9), "head.bias": (5,)},
    ],
)
def test_a_head_of_more_or_of_other_layers_is_none(others: dict[str, tuple[int, ...]]) -> None:
    fit = fit_names(BODY | others, HEADED)
    assert not fit.head
    assert "fc.weight" not in fit.own_names.values()


@pytest.mark.parametrize("wrapper", ["_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_of_layers_and_observers_are_no_layers(wrapper: str) -> None:
    file = {name.replace("conv1", f"conv1.{wrapper}"): shape for name, shape in OWN.items()}
    observers = _shapes("stage1.0.conv1.weight_fake_quant.scale", "fc.activation_post_process.min")
    fit = fit_names(file | observers, OWN)
    assert set(fit.own_names.values()) == OWN.keys()
    assert fit.aside == tuple(observers)


@pytest.mark.parametrize("prefix", ["", "features.", "model.backbone."])
def test_a_sequence_of_a_resnets_layers_has_their_numbers(prefix: str) -> None:
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    layers = [f"layer{number}.0.{part}" for number in range(1, 5) for part in ("conv1", "bn1")]
    network = _shapes(*(f"{name}.weight" for name in ("conv1", "bn1", *layers)))
    network |= {"fc.weight": (5, 2), "fc.bias": (5,)}
    file = {name: shape for name, shape in network.items() if name.startswith("fc")}
    for name in network.keys() - file.keys():
        first, _, rest = name.partition(".")
        file[f"{prefix}{numbers[first]}.{rest}"] = network[name]
    fit = fit_names(file, network)
    assert set(fit.own_names.values()) == network.keys()
    assert fit.own_names[f"{prefix}7.0.bn1.weight"] == "layer4.0.bn1.weight"
    assert not fit.aside
