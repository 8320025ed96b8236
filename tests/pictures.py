"""Pictures of a validation for tests, with real PNG files in them."""

import io

from PIL import Image

from pipeline.gates.pictures import ActivationMap, Answer, Picture, Pictures, WorstImage


def png(side_px: int = 8, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """Return a PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def answer(class_name: str, confidence: float, *, is_right: bool) -> Answer:
    """Return what one network answers."""
    return Answer(class_name=class_name, confidence=confidence, is_right=is_right)


PICTURES = Pictures(
    kind="held-out",
    wrong=9,
    n=540,
    pictures=(
        Picture(
            worst=WorstImage(
                index=12,
                label="a",
                answers={
                    "teacher": answer("a", 0.99, is_right=True),
                    "student": answer("b", 0.8, is_right=False),
                    "engine": answer("b", 0.7, is_right=False),
                },
            ),
            image=png(),
            maps={
                "teacher": ActivationMap(height=2, width=2, values=bytes([0, 255, 10, 20])),
                "student": ActivationMap(height=2, width=2, values=bytes(4)),
            },
        ),
        Picture(
            worst=WorstImage(
                index=3,
                label="b",
                answers={
                    "teacher": answer("a", 0.6, is_right=False),
                    "student": answer("a", 0.9, is_right=False),
                },
            ),
            image=png(64, (0, 0, 250)),
        ),
    ),
)
"""The two worst of nine images; the first has maps, the student's without a place."""
