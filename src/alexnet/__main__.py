"""The command `alexnet`, which is also `python -m alexnet`."""

import sys


def main() -> None:
    """As cli.main; Ctrl-C while its parts are still being loaded is a line too."""
    try:
        from alexnet.cli.main import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("alexnet: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
