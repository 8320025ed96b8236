"""How a teacher is trained on labelled images. Imported by the teacher stage alone."""
