"""Maps become pictures that lie over an image: transparent where nothing speaks for the answer."""

import base64
import io

import numpy as np
from PIL import Image

from pipeline.report import pictures
from tests.measurements import changed
from tests.pictures import PICTURES, png


def opened(source: str) -> Image.Image:
    head, _, content = source.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.format is not None
    assert head == f"data:image/{image.format.lower()};base64"
    return image


def test_a_map_is_a_small_picture_more_opaque_where_a_network_looks() -> None:
    seen = pictures.view(PICTURES).mapped[0].maps[0]
    assert (seen.network, seen.answer.class_name) == ("teacher", "a")
    assert seen.source is not None
    rgba = np.asarray(opened(seen.source).convert("RGBA")).astype(int)
    assert rgba.shape == (2, 2, 4)
    opacity_HW = rgba[..., 3]
    assert opacity_HW[0, 1] == opacity_HW.max() > 200
    assert opacity_HW[0, 0] == opacity_HW.min() < 80
    # Bright where most speaks for it, dark where nothing does.
    assert rgba[0, 1, :3].sum() > rgba[0, 0, :3].sum() + 100


def test_where_nothing_speaks_for_an_answer_no_picture_lies_over_the_image() -> None:
    assert pictures.view(PICTURES).mapped[0].maps[1].source is None


def test_images_with_and_without_maps_and_what_the_teacher_gets_right() -> None:
    view = pictures.view(PICTURES)
    assert [picture.number for picture in view.pictures] == [12, 3]
    assert [picture.number for picture in view.mapped] == [12]
    assert view.map_sizes == {"teacher": "2 by 2", "student": "2 by 2"}
    assert [np.asarray(opened(picture.source)).shape[0] for picture in view.pictures] == [8, 64]


def test_a_jpeg_is_called_one() -> None:
    buffer = io.BytesIO()
    opened(f"data:image/png;base64,{base64.b64encode(png()).decode()}").save(buffer, format="JPEG")
    image = base64.b64encode(buffer.getvalue()).decode()
    view = pictures.view(changed(PICTURES, "pictures.0", image=image))
    assert opened(view.pictures[0].source).format == "JPEG"
