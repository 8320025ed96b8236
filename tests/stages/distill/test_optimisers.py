"""The optimisers take their rates from the settings."""

from torch import nn

from pipeline.settings import Distill
from stages.distill import optimisers


def test_the_student_learns_by_sgd_and_the_generator_by_adam() -> None:
    options = Distill(
        student_learning_rate=0.3, student_weight_decay=0.01, generator_learning_rate=0.02
    )
    student = optimisers.of_student(nn.Linear(2, 2), options).param_groups[0]
    generator = optimisers.of_generator(nn.Linear(2, 2), options).param_groups[0]
    assert (student["lr"], student["weight_decay"], student["nesterov"]) == (0.3, 0.01, True)
    assert (generator["lr"], generator["betas"]) == (0.02, (0.5, 0.999))
