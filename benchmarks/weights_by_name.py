"""How many names of torchvision and timm madpipe takes for weights, and why not the others.

    python benchmarks/weights_by_name.py

Nothing is downloaded: names are looked up in the libraries. Writes a line for each reason, with an
example.
"""

import re
from collections import defaultdict

import timm
import torchvision
from torchvision import models

from pipeline.errors import SettingsFault
from stages.hubs import resolve

_VALUES = re.compile(r" \(.*")


def main() -> None:
    """Look all names up and print the counts."""
    names = {
        f"torchvision {torchvision.__version__}": [
            f"torchvision:{network}.{member}"
            for network in models.list_models()
            for member in models.get_model_weights(network).__members__
            if member != "DEFAULT"
        ],
        f"timm {timm.__version__}": [f"timm:{name}" for name in timm.list_pretrained()],
    }
    for library, listed in names.items():
        reasons: dict[str, list[str]] = defaultdict(list)
        remarked, labelled = 0, 0
        for name in listed:
            try:
                located = resolve.locate(name, "", "teacher.weights", None)
            except SettingsFault as error:
                reasons[_VALUES.sub("", error.faults[0][1])].append(name)
                continue
            assert located is not None
            remarked += bool(located.weights.remarks)
            labelled += bool(located.weights.classes)
        count = len(listed) - sum(map(len, reasons.values()))
        print(f"{library}: {count} of {len(listed)} names taken, {labelled} with labels, "
              f"{remarked} with a remark")  # fmt: skip
        for reason, refused in reasons.items():
            print(f"  {len(refused):4} {reason}, such as {refused[0]}")


if __name__ == "__main__":
    main()
