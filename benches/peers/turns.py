"""Turns of a peer, as `turns.rs` takes them: see there."""

import os
import shutil
import sys
import tempfile
import time

BIN = sys.argv[1]


def take(life):
    """`life` makes a server in a directory, yields after its first answer, and then removes it."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    # What the programs print must not be taken for an answer.
    os.dup2(2, 1)
    for _ in sys.stdin:
        directory = tempfile.mkdtemp()
        begun = time.perf_counter()
        with life(directory):
            create = time.perf_counter() - begun
        print(f"took: {create} {time.perf_counter() - begun}", file=answers)
        shutil.rmtree(directory, ignore_errors=True)
