"""Looks for secrets in everything that a run has left: files, logs, journals, answers, memory, command lines."""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import pathlib
from collections.abc import Iterator

ZSTD_FRAME = b"\x28\xb5\x2f\xfd"


def spellings(secret: str) -> list[bytes]:
    """As it is, in hex, in base64 wherever it begins, and in percent-encoding."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode(), "".join(f"%{b:02X}" for b in raw).encode(), "".join(f"%{b:02x}" for b in raw).encode()]
    for before in range(3):
        # What stands before and behind changes the first and the last characters alone.
        text = base64.b64encode(b"\0" * before + raw)
        core = text[4 if before else 0 : len(text) // 4 * 4 - 4]
        found += [core, core.replace(b"+", b"-").replace(b"/", b"_")]
    return list(dict.fromkeys(found))


class Unpacker:
    """Blocks of sealed journal segments are zstd frames; its library is found on every Debian."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("zstd")
        self.library = ctypes.CDLL(name) if name else None
        if self.library:
            for function in ("ZSTD_getFrameContentSize", "ZSTD_findFrameCompressedSize", "ZSTD_decompress"):
                getattr(self.library, function).restype = ctypes.c_size_t
            self.library.ZSTD_isError.restype = ctypes.c_uint

    def frames(self, data: bytes) -> Iterator[bytes]:
        # Addresses instead of slices: a segment has hundreds of frames, and is large.
        start = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        at = data.find(ZSTD_FRAME)
        while at >= 0 and self.library:
            rest = ctypes.c_void_p(start + at)
            size = self.library.ZSTD_findFrameCompressedSize(rest, ctypes.c_size_t(len(data) - at))
            if self.library.ZSTD_isError(ctypes.c_size_t(size)):
                at = data.find(ZSTD_FRAME, at + 1)
                continue
            out = ctypes.create_string_buffer(int(self.library.ZSTD_getFrameContentSize(rest, ctypes.c_size_t(size))))
            length = self.library.ZSTD_decompress(out, ctypes.c_size_t(len(out)), rest, ctypes.c_size_t(size))
            yield out.raw[:length]
            at = data.find(ZSTD_FRAME, at + size)


class Search:
    def __init__(self, secrets: dict[str, str]) -> None:
        self.spellings = {name: spellings(secret) for name, secret in secrets.items()}
        self.unpacker = Unpacker()
        self.files, self.bytes, self.unpacked = 0, 0, 0
        self.found: list[str] = []

    def text(self, where: str, data: bytes) -> None:
        self.bytes += len(data)
        for name, forms in self.spellings.items():
            if any(form in data for form in forms):
                self.found.append(f"{name} in {where}")

    def folder(self, folder: pathlib.Path, left_out: set[pathlib.Path]) -> None:
        for path in sorted(folder.rglob("*")):
            if path in left_out or not path.is_file():
                continue
            self.files += 1
            data = path.read_bytes()
            self.text(str(path.relative_to(folder)), data)
            if path.suffix == ".djz":
                for frame in self.unpacker.frames(data):
                    self.unpacked += len(frame)
                    self.text(f"{path.relative_to(folder)}, unpacked", frame)

    def process(self, name: str, pid: int) -> None:
        for file in ("cmdline", "environ"):
            try:
                self.text(f"{file} of {name}", pathlib.Path(f"/proc/{pid}/{file}").read_bytes())
            except OSError:
                pass
