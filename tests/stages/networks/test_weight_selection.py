"""A student starts from the layers and channels that its teacher has under the same names."""

import torch
from torch import nn

from models import registry
from stages.networks.weight_selection import select_weights


def _network(arch: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return registry.create(arch, in_channels=3, num_classes=10, code=None)


def test_layers_of_the_same_name_and_shape_are_the_teachers() -> None:
    teacher, student = _network("resnet20", 0), _network("resnet8", 1)
    with torch.no_grad():
        for name, value in teacher.named_buffers():
            if name.endswith("running_mean"):
                value.fill_(0.5)
    selected = select_weights(student, teacher)
    assert selected == sum(p.numel() for p in student.parameters())
    theirs = teacher.state_dict()
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


def test_a_narrower_student_gets_evenly_spaced_channels() -> None:
    teacher, student = nn.Conv2d(6, 8, 3), nn.Conv2d(3, 4, 3)
    assert select_weights(student, teacher) == student.weight.numel() + 4
    assert torch.equal(student.weight, teacher.weight[::2, ::2])
    assert student.bias is not None
    assert teacher.bias is not None
    assert torch.equal(student.bias, teacher.bias[::2])


def test_channels_at_uneven_distances_come_in_order_and_once() -> None:
    teacher, student = nn.Linear(7, 5), nn.Linear(3, 5)
    select_weights(student, teacher)
    assert torch.equal(student.weight, teacher.weight[:, [0, 2, 4]])


def test_what_the_teacher_lacks_stays_at_random() -> None:
    teacher = nn.ModuleDict({"wide": nn.Conv2d(3, 2, 3), "kernel": nn.Conv2d(3, 4, 7)})
    student = nn.ModuleDict(
        {
            "wide": nn.Conv2d(3, 4, 3),
            "kernel": nn.Conv2d(3, 4, 3),
            "other": nn.Linear(2, 2),
        }
    )
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert select_weights(student, teacher) == 0
    after = student.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_networks_of_other_families_share_nothing() -> None:
    assert select_weights(_network("mobilenetv2", 1), _network("resnet20", 0)) == 0
