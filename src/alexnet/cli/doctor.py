"""The verb for a bug report."""

from alexnet.cli.console import show_json, table
from alexnet.cli.options import Json


def doctor(*, json_: Json = False) -> None:
    """Show what a bug report needs to know of this machine and of what is installed, to be pasted whole.

    Example: alexnet doctor

    Example: alexnet doctor --json
    """
    from alexnet.reporting.installation import facts, in_words

    found = facts()
    if json_:
        show_json(found)
    else:
        table("", ["fact", "here"], in_words(found))
