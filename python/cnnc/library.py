"""A compiled library: its note, read without loading it, and its descriptor."""

import _ctypes
import ctypes
import json
import os
import struct
import threading

from .interface import ABI_VERSION, Error, Model

_LARGEST_NOTE = 64 << 20


def read_note(path):
    """What the library says of itself, a dictionary. Nothing of it is executed; raises Error for other files."""
    refused = Error(f"{path} is not a network that cnnc has compiled")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = file.read(64)
            if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
                raise refused
            offset, entry_bytes, count = struct.unpack("<Q", header[32:40]) + struct.unpack("<HH", header[54:58])
            if entry_bytes != 56 or offset > size:
                raise refused
            file.seek(offset)
            segments = file.read(entry_bytes * count)
            for at in range(0, len(segments) - 55, 56):
                kind, _, begin, _, _, length, _, align = struct.unpack_from("<IIQQQQQQ", segments, at)
                if kind != 4 or length > _LARGEST_NOTE or begin > size:
                    continue
                file.seek(begin)
                text = _find_note(file.read(min(length, size - begin)), 8 if align == 8 else 4)
                if text is not None:
                    note = json.loads(text)
                    if isinstance(note, dict) and isinstance(note.get("name"), str):
                        return note
    except ValueError:  # not JSON, not UTF-8
        pass
    raise refused


def _find_note(notes, align):
    at = 0
    while len(notes) - at >= 12:
        name_bytes, text_bytes, kind = struct.unpack_from("<III", notes, at)
        name = at + 12
        text = name + -(-name_bytes // align) * align
        if kind == 1 and notes[name : name + name_bytes] == b"cnnc\0" and text + text_bytes <= len(notes):
            return notes[text : text + text_bytes]
        at = text + -(-text_bytes // align) * align
    return None


_versions = {}  # path => what was loaded from there, in order
_versions_lock = threading.Lock()


def _path_for_loader(path):
    # The loader knows libraries by the path's text: a file that was compiled again would not be looked at. Another text
    # for the same path makes it look, and it still loads an unchanged file only once.
    path = os.path.abspath(path)
    status = os.stat(path)
    identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
    with _versions_lock:
        versions = _versions.setdefault(path, [])
        if identity not in versions:
            versions.append(identity)
        number = versions.index(identity)
    return os.path.join(os.path.dirname(path), "./" * number + os.path.basename(path))


class Library:
    """The loaded file. Loading runs its code: only for files that are trusted."""

    def __init__(self, path):
        self.path = os.fspath(path)
        self.note = read_note(self.path)
        try:
            self._library = ctypes.CDLL(_path_for_loader(self.path))
        except OSError as error:
            raise Error(f"cannot load {self.path}: {error}") from None
        try:
            descriptor = self._library[self.note["name"]]
        except AttributeError:
            self.close()
            raise Error(f"{self.path} has no descriptor '{self.note['name']}'") from None
        descriptor.restype = ctypes.POINTER(Model)
        self.model = descriptor().contents
        version = self.model.abi_version, self.model.struct_size
        if version[0] != ABI_VERSION or version[1] < ctypes.sizeof(Model):
            self.close()
            raise Error(f"{self.path} has version {version[0]} of the interface, this is {ABI_VERSION}: compile it again")

    def close(self):
        if self._library is not None:
            _ctypes.dlclose(self._library._handle)
            self._library = self.model = None
