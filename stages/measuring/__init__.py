"""What validate measures: accuracy, calibration, latency, and the conditions around them."""
