"""What training a teacher and distilling a student share."""
