"""Faults that any file of bytes can have, as functions of its bytes and of random numbers."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

Mutator = Callable[[random.Random, bytes], tuple[str, bytes]]
"""Returns what was done, in a few words, and the bytes that came of it."""

_SMALL = 4096
_CHUNK = 1 << 26


def any_of(
    rng: random.Random, content: bytes, mutators: Sequence[tuple[int, Mutator]]
) -> tuple[str, bytes]:
    """Let one of the mutators, which stand with their weights, break some bytes."""
    (mutate,) = rng.choices([m for _, m in mutators], [weight for weight, _ in mutators])
    return mutate(rng, content)


def truncated(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Cut a file short, mostly anywhere, now and then behind a few bytes."""
    end = rng.randrange(min(64, len(content)) if rng.random() < 0.2 else len(content))
    return f"cut at {end} of {len(content)}", content[:end]


def flipped(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Flip up to 16 bits, half of the time in the first kilobytes, where headers are."""
    changed = bytearray(content)
    end = min(_SMALL, len(changed)) if rng.random() < 0.5 else len(changed)
    count = rng.choice((1, 1, 2, 4, 16))
    for _ in range(count):
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return f"{count} bits flipped", bytes(changed)


def overwritten(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Put zeros, ones, random bytes or other bytes of the file in some place."""
    size = min(rng.choice((1, 2, 4, 8, 64, 1024)), len(content))
    place = rng.randrange(len(content) - size + 1)
    source = rng.randrange(len(content) - size + 1)
    kind, filler = rng.choice(
        (
            ("zeros", bytes(size)),
            ("ones", b"\xff" * size),
            ("noise", rng.randbytes(size)),
            ("other bytes", content[source : source + size]),
        )
    )
    return f"{size} {kind} at {place}", content[:place] + filler + content[place + size :]


def spliced(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Leave out, double or insert a piece."""
    size = min(rng.choice((1, 4, 64, 1024)), len(content))
    place = rng.randrange(len(content) - size + 1)
    piece, rest = content[place : place + size], content[place + size :]
    kind, inner = rng.choice(
        (("left out", b""), ("doubled", piece * 2), ("inserted", rng.randbytes(size) + piece))
    )
    return f"{size} bytes {kind} at {place}", content[:place] + inner + rest


def framed(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Put something before or behind the whole."""
    kind, changed = rng.choice(
        (
            ("text before", b"\n" + content),
            ("zeros behind", content + bytes(1000)),
            ("itself behind", content + content),
            ("another zip behind", content + _other_zip()),
        )
    )
    return kind, changed


def replaced(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Give another file altogether."""
    kinds: Sequence[tuple[str, bytes]] = (
        ("empty", b""),
        ("one zero", b"\0"),
        ("zeros", bytes(5000)),
        ("noise", rng.randbytes(5000)),
        ("beginning and noise", content[:64] + rng.randbytes(5000)),
        ("a web page", b"<!DOCTYPE html><html></html>"),
        ("an LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        ("another zip", _other_zip()),
        ("end of a zip alone", b"PK\x05\x06" + bytes(18)),
    )
    return rng.choice(kinds)


GENERAL: Sequence[tuple[int, Mutator]] = (
    (3, truncated), (4, flipped), (3, overwritten), (2, spliced), (1, framed), (1, replaced)
)  # fmt: skip
"""Faults of any file, with their weights."""


class Member(NamedTuple):
    """A file in a zip archive as it is to be written, lies included."""

    name: str
    content: bytes
    compression: int = zipfile.ZIP_STORED
    zeros: int = 0
    """So many zeros behind the content, which nobody had in memory; a multiple of 64 MiB."""


def members(content: bytes) -> list[Member]:
    """Return the members of a sound zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [Member(name, archive.read(name)) for name in archive.namelist()]


def zipped(parts: Sequence[Member]) -> bytes:
    """Return an archive of these members; several may have one name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for part in parts:
            info = zipfile.ZipInfo(part.name)
            info.compress_type = part.compression
            archive.NameToInfo.pop(part.name, None)  # of a name that is there already it warns
            if part.zeros:
                _append_zeros(archive, info, part)
            else:
                archive.writestr(info, part.content)
    return buffer.getvalue()


def _append_zeros(archive: zipfile.ZipFile, info: zipfile.ZipInfo, part: Member) -> None:
    """Append a member of far more bytes than its archive has."""
    zeros = bytes(_CHUNK)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(part.content) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += block * (part.zeros // _CHUNK) + packer.flush()
    info.compress_type = zipfile.ZIP_DEFLATED
    info.file_size = len(part.content) + part.zeros
    info.compress_size = len(packed)
    info.CRC = zlib.crc32(part.content)
    for _ in range(part.zeros // _CHUNK):
        info.CRC = zlib.crc32(zeros, info.CRC)
    assert archive.fp is not None
    info.header_offset = archive.fp.tell()
    archive.fp.write(info.FileHeader() + packed)
    archive.filelist.append(info)
    archive.start_dir = archive.fp.tell()
    archive._didModify = True  # type: ignore[attr-defined]


def with_lying_directory(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Let an entry of an archive's central directory lie of its sizes, checksum or place."""
    entries = _places_of(content, b"PK\x01\x02")
    if not entries:
        return flipped(rng, content)
    place = rng.choice(entries)
    name, offset, form = rng.choice(
        (
            ("version", 6, "<H"), ("flags", 8, "<H"), ("method", 10, "<H"), ("checksum", 16, "<I"),
            ("packed size", 20, "<I"), ("size", 24, "<I"), ("name length", 28, "<H"),
            ("extra length", 30, "<H"), ("comment length", 32, "<H"), ("attributes", 38, "<I"),
            ("offset", 42, "<I"),
        )
    )  # fmt: skip
    largest = 0xFFFF if form == "<H" else 0xFFFFFFFF
    (old,) = struct.unpack_from(form, content, place + offset)
    value = rng.choice(
        (0, 1, 8, 99, largest, largest // 2, old + 1, old * 2, rng.randrange(1 << 16))
    )
    changed = bytearray(content)
    struct.pack_into(form, changed, place + offset, value & largest)
    return f"directory: {name} {value & largest}", bytes(changed)


def with_lying_end(rng: random.Random, content: bytes) -> tuple[str, bytes]:
    """Let the end of an archive lie about how many entries there are, and where."""
    place = content.rfind(b"PK\x05\x06")
    if place < 0:
        return flipped(rng, content)
    name, offset, form = rng.choice(
        (("count", 10, "<H"), ("directory size", 12, "<I"), ("directory offset", 16, "<I"),
         ("comment length", 20, "<H"))
    )  # fmt: skip
    largest = 0xFFFF if form == "<H" else 0xFFFFFFFF
    value = rng.choice((0, 1, largest, largest - 1, rng.randrange(largest)))
    changed = bytearray(content)
    struct.pack_into(form, changed, place + offset, value)
    return f"end: {name} {value}", bytes(changed)


def with_other_members(  # noqa: C901, PLR0912  (a case for each kind)
    rng: random.Random, content: bytes
) -> tuple[str, bytes]:
    """Leave out, double, rename, empty, grow or compress members, or add odd ones."""
    parts = members(content)
    number = rng.randrange(len(parts))
    part = parts[number]
    folder = part.name.partition("/")[0]
    kind = rng.choice(
        ("left out", "doubled", "renamed", "emptied", "grown", "compressed", "added", "bomb",
         "out of the folder", "other case", "cut", "swapped", "broken")
    )  # fmt: skip
    match kind:
        case "left out":
            del parts[number]
        case "doubled":
            parts.append(part._replace(content=rng.choice((b"", part.content, b"\x80\x02}q."))))
        case "renamed":
            parts[number] = part._replace(name=rng.choice(("x", f"{part.name}/x", "é" * 300, "/a")))
        case "emptied":
            parts[number] = part._replace(content=b"")
        case "grown":
            parts[number] = part._replace(content=part.content + bytes(1000))
        case "compressed":
            parts = [p._replace(compression=zipfile.ZIP_DEFLATED) for p in parts]
        case "added":
            parts.append(Member(f"{folder}/{rng.choice(('byteorder', '.format_version', 'x'))}",
                                rng.choice((b"big", b"little", b"", b"9" * 100))))  # fmt: skip
        case "bomb":
            parts[number] = part._replace(zeros=3 << 30 >> rng.randrange(3))
        case "out of the folder":
            parts.append(Member("../../outside", b"x"))
        case "other case":
            parts.append(part._replace(name=part.name.upper()))
        case "cut":
            parts[number] = part._replace(content=part.content[: len(part.content) // 2])
        case "swapped":
            other = rng.randrange(len(parts))
            parts[number], parts[other] = (
                parts[number]._replace(content=parts[other].content),
                parts[other]._replace(content=part.content),
            )
        case _:
            if part.content:
                parts[number] = part._replace(content=any_of(rng, part.content, GENERAL)[1])
    return f"member {part.name.partition('/')[2] or part.name} {kind}", zipped(parts)


OF_ARCHIVES: Sequence[tuple[int, Mutator]] = (
    (3, with_lying_directory), (1, with_lying_end), (4, with_other_members)
)  # fmt: skip
"""Faults of zip archives, with their weights."""


def _places_of(content: bytes, mark: bytes) -> list[int]:
    places, place = [], content.find(mark)
    while place >= 0:
        places.append(place)
        place = content.find(mark, place + 1)
    return places


def _other_zip() -> bytes:
    return zipped([Member("readme.txt", b"hello", zipfile.ZIP_DEFLATED)])
