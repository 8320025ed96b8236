"""Rotation and transparency of image files, which are left aside as torchvision leaves them."""

from pathlib import Path

from PIL import Image

from stages.data import headers


def test_files_with_a_rotation_or_transparency_are_counted(tmp_path: Path) -> None:
    rotation = Image.Exif()
    rotation[0x0112] = 6
    Image.new("RGB", (8, 8)).save(tmp_path / "turned.jpg", exif=rotation)
    Image.new("RGB", (8, 8)).save(tmp_path / "upright.jpg")
    Image.new("RGBA", (8, 8)).save(tmp_path / "glass.png")
    (tmp_path / "broken.jpg").write_bytes(b"none")
    first, second = headers.notes([str(path) for path in sorted(tmp_path.iterdir())], 3)
    assert first.startswith("1 of 4 images looked at have a rotation in EXIF, which is not applied")
    assert "turned.jpg" in first
    assert second.startswith("1 of 4 images looked at have transparency, which is dropped")
    assert "glass.png" in second


def test_plain_files_are_no_matter(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert headers.notes([str(tmp_path / "a.png")], 3) == ()
    assert headers.notes([], 3) == ()
