"""``torchrun … -m stream_ottt.replay``: the command ``stream-ottt replay`` in each of several processes."""

from __future__ import annotations

import sys

from stream_ottt.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "replay")
    main()
