"""TensorRT in both its editions: the same classes under two import names."""
