"""The validate stage: accuracy and latency of each step of the chain."""
