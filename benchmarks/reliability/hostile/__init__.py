"""Hostile files: each with a canary, and the command that reads it as a user would.

Not tested here, since it cannot be had: engines of TensorRT and caches of its kernels, which need a
GPU; Slurm, whose jobs come as pickles of submitit from the folder of a sweep; the caches of
torch.compile, which lie in the system's folder for temporary files and are torch's; stores of
objects and SFTP in a cloud (the test suite has servers of both); GitHub's own rendering.
"""
