"""Momentum Adversarial Distillation: the game, its losses and its moments."""
