"""Power cuts: what a run wrote, replayed without what no fsync had made durable."""
