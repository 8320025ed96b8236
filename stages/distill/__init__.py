"""The distill stage: a student by Momentum Adversarial Distillation, without images."""
