"""``python -m stream_ottt``: the command line."""

from stream_ottt.cli import main

if __name__ == "__main__":
    main()
