"""Several real processes on one working folder, with kills among them."""
