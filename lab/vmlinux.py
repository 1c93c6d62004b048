#!/usr/bin/env python3
"""Takes the ELF kernel out of a bzImage: Xen would unpack it at each boot, slowly when emulated.

usage: vmlinux.py BZIMAGE VMLINUX ZSTD-PROGRAM

The offsets are those of the x86 boot protocol (Documentation/arch/x86/boot.rst): the setup code's
size in sectors at 0x1f1, the payload's offset and length at 0x248.
"""

import lzma
import struct
import subprocess
import sys
import zlib


def payload(image: bytes) -> bytes:
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start : start + length]


def unpack(data: bytes, zstd: str) -> bytes:
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        # The kernel's build appends the unpacked size, which zstd does not know.
        return subprocess.run([zstd, "-dc"], input=data[:-4], stdout=subprocess.PIPE, check=True).stdout
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(data)
    sys.exit(f"vmlinux.py: unknown compression, magic {data[:6].hex()}")


def main() -> None:
    source, target, zstd = sys.argv[1:]
    with open(source, "rb") as file:
        kernel = unpack(payload(file.read()), zstd)
    if not kernel.startswith(b"\x7fELF"):
        sys.exit(f"vmlinux.py: the payload of {source} is no ELF file")
    with open(target, "wb") as file:
        file.write(kernel)


if __name__ == "__main__":
    main()
