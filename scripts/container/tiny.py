"""The smallest program there is, to find out whether an engine really runs containers.

A client that answers `--version` or `info` is no engine: without its daemon, its runtime or a right to cgroups it
fails only when a container starts. This program needs no libraries and no registry: it is an ELF file with one
segment that calls exit(0).
"""

from __future__ import annotations

import io
import struct
import tarfile

PROGRAM = "exit0"

# Kernel's number of the machine in the ELF header, and the instructions of exit(0).
_MACHINES = {
    "x86_64": (62, bytes.fromhex("31ff b83c000000 0f05")),  # xor edi, edi; mov eax, 60; syscall
    "aarch64": (183, bytes.fromhex("000080d2 a80b80d2 010000d4")),  # mov x0, #0; mov x8, #93; svc #0
}
_HEADER_BYTES, _SEGMENT_BYTES = 64, 56
_ADDRESS = 0x400000
_PAGE_BYTES = 0x10000


def program(machine: str) -> bytes:
    """The program for a machine as `platform.machine()` calls it.

    Raises:
        KeyError: for a machine whose instructions are not written down here.
    """
    number, code = _MACHINES[machine]
    start = _HEADER_BYTES + _SEGMENT_BYTES
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bits, little endian, version 1
    sizes = (_HEADER_BYTES, _SEGMENT_BYTES, 1, 0, 0, 0)
    header = identity + struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _ADDRESS + start, _HEADER_BYTES, 0, 0, *sizes)
    length = start + len(code)
    readable_executable = 5
    segment = struct.pack("<IIQQQQQQ", 1, readable_executable, 0, _ADDRESS, _ADDRESS, length, length, _PAGE_BYTES)
    return header + segment + code


def archive(machine: str) -> bytes:
    """A tar archive that holds the program alone, as an engine's `import` takes it."""
    content = program(machine)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        entry = tarfile.TarInfo(PROGRAM)
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
