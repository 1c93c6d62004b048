#!/usr/bin/env python3
"""Copies stdin to stdout, each line with the seconds since the start in front."""

import sys
import time


def main() -> None:
    start = time.monotonic()
    for line in sys.stdin.buffer:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        print(f"[{time.monotonic() - start:7.2f}] {text}", flush=True)


if __name__ == "__main__":
    main()
