"""Networks: tensors in, tensors out. Knows nothing of files, training or the stage engine."""
