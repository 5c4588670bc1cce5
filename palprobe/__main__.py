"""`python -m palprobe` is the `palprobe` command."""

from palprobe.cli import main

if __name__ == "__main__":
    main()
