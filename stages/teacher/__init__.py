"""The teacher stage: a teacher from the user's weights, or trained on labelled images."""
