"""The teacher stage: a teacher from given weights, or trained on labelled images."""
