"""What a classifier gives for an image. Light."""

from typing import Literal

OutputKind = Literal["logits", "probabilities", "one-logit", "one-probability"]
"""K logits, K probabilities, or of two classes one logit or probability, that of the second."""
