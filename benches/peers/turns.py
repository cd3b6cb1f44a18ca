"""Turns of a peer, as in `turns.rs`."""

import os
import shutil
import sys
import tempfile
import time

BIN = sys.argv[1]


def take(life):
    """`life` creates a server in a directory, yields after its first answer, and then removes it."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # The output of programs must not be mistaken for an answer.
    os.dup2(2, 1)
    for _ in sys.stdin:
        directory = tempfile.mkdtemp()
        begun = time.perf_counter()
        with life(directory):
            create = time.perf_counter() - begun
        print(f"took: {create} {time.perf_counter() - begun}", file=answers)
        shutil.rmtree(directory, ignore_errors=True)
