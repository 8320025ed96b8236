"""What was measured, its intervals, and the verdicts on it."""
