"""Changes of what lies outside the store: images, labels and weights."""

from typing import NamedTuple

from benchmarks.reliability.cache_hits.edits import (
    Edit,
    copied,
    linked,
    moved,
    new_file,
    new_folder,
    nothing,
    one_byte,
    removed,
    replaced,
    text,
    together,
)
from benchmarks.reliability.cache_hits.expected import DISTILL, LABELLED, TEACHER

_DISTILL, _TEACHER = frozenset({DISTILL}), frozenset({TEACHER})
_CATS, _DOGS = "data/train/cats", "data/val/dogs"


class Mutation(NamedTuple):
    """A change of a project, and the stages whose key has to follow."""

    what: str
    project: str
    edit: Edit
    expected: frozenset[str]
    before: Edit = nothing
    """Makes what has to be there already when the first keys are taken."""


def _data(what: str, edit: Edit, before: Edit = nothing) -> Mutation:
    """Return a change of the labelled images."""
    return Mutation(f"data: {what}", "folders", edit, LABELLED, before)


def _photos(what: str, edit: Edit, before: Edit = nothing) -> Mutation:
    """Return a change of the images without labels."""
    return Mutation(f"images: {what}", "folders", edit, _DISTILL, before)


_EXCHANGED = together(
    moved(f"{_DOGS}/0.bmp", "x"),
    moved(f"{_DOGS}/1.bmp", f"{_DOGS}/0.bmp"),
    moved("x", f"{_DOGS}/1.bmp"),
)
_LABELS_OUTSIDE = together(
    moved("data/labels.csv", "labels.csv"),
    text("pipeline.toml", '"labels.csv"', '"../labels.csv"'),
)
_LINK = f"{_CATS}/8.bmp"
_TWO_TARGETS = together(
    copied("photos/2.bmp", "firsts.bmp"),
    copied("photos/3.bmp", "second.bmp"),
    linked(_LINK, "firsts.bmp"),
)
_FOLDER_BEHIND = together(copied("photos", "outside"), linked("photos/more", "outside"))

MUTATIONS = [
    _data("one byte of a training image", one_byte(f"{_CATS}/0.bmp")),
    _data("one byte of a held-out image", one_byte(f"{_DOGS}/3.bmp")),
    _data("another image in an image's place", replaced(f"{_DOGS}/1.bmp")),
    _data("an image is gone", removed(f"{_CATS}/1.bmp")),
    _data("one more image", new_file(f"{_CATS}/9.bmp")),
    _data("an image has another name", moved(f"{_CATS}/0.bmp", f"{_CATS}/7.bmp")),
    _data("an image is of the other part", moved(f"{_CATS}/0.bmp", "data/val/cats/7.bmp")),
    _data("an image is of another class", moved(f"{_CATS}/0.bmp", "data/train/dogs/7.bmp")),
    _data("two images change places", _EXCHANGED),
    _data("a class has another name", moved(_CATS, "data/train/cows")),
    _data("a class without images", new_folder("data/train/birds")),
    _data("labels, of equal size", text("data/labels.csv", "0.bmp,cats", "0.bmp,dogs")),
    _data("labels outside the folder", one_byte("labels.csv"), _LABELS_OUTSIDE),
    _data("the order of classes", text("classes.txt", "dogs\ncats", "cats\ndogs")),
    _data("what lies behind a link", one_byte("firsts.bmp"), _TWO_TARGETS),
    _data("another target of a link, of equal size", linked(_LINK, "second.bmp"), _TWO_TARGETS),
    _photos("one byte of an image", one_byte("photos/1.bmp")),
    _photos("one more", new_file("photos/more/9.bmp")),
    _photos("what lies behind a link to a folder", one_byte("outside/2.bmp"), _FOLDER_BEHIND),
    Mutation("weights: of the teacher", "bank", one_byte("teacher.safetensors"), _TEACHER),
    Mutation("weights: of the start", "bank", one_byte("start.safetensors"), _DISTILL),
    Mutation("weights: an ONNX file", "program", text("teacher.onnx", "flat", "flut"), _TEACHER),
    Mutation("weights: beside it", "program", one_byte("teacher.data"), _TEACHER),
]
