"""What is wrong with a program, for the message of whoever names its place."""


class UnusableProgram(Exception):
    """A program that cannot be loaded, differentiated, or run on images."""

    def __init__(self, wrong: str, remedy: str) -> None:
        """Keep both halves of the message."""
        super().__init__(wrong, remedy)
        self.wrong = wrong
        self.remedy = remedy

    def __str__(self) -> str:
        """Return both halves as one line."""
        return f"{self.wrong}; {self.remedy}"
