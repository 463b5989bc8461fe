"""The command `alexnet`, also `python -m alexnet`."""

import sys

from alexnet.core import threads
from alexnet.core.signals import deliver_again


def main() -> None:
    """Run cli.main, and print one line for Ctrl-C even while modules are still loading."""
    deliver_again()
    try:
        threads.begin()
        from alexnet.cli.main import main as command

        command()
    except KeyboardInterrupt:
        sys.stderr.write("alexnet: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
