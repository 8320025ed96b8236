"""What is wrong with a network, for the message of whoever knows the place. Light."""


class NetworkFault(Exception):
    """A network cannot be had as it was named; both halves of a message without its place."""

    def __init__(self, wrong: str, remedy: str) -> None:
        """Keep both halves for the message of whoever names the place."""
        super().__init__(wrong, remedy)
        self.wrong = wrong
        self.remedy = remedy

    def __str__(self) -> str:
        """Return both halves as one line."""
        return f"{self.wrong}; {self.remedy}"
