"""What is wrong with a program, for the message of whoever names its place."""

from models.fault import NetworkFault


class UnusableProgram(NetworkFault):
    """A program that cannot be loaded, differentiated, or run on images."""
