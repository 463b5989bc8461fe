"""The command that collects facts for a bug report."""

from alexnet.cli.console import show_json, table
from alexnet.cli.options import Json


def doctor(*, json_: Json = False) -> None:
    """Print the versions, devices and settings that a bug report needs.

    Paste the whole output into the report.

    Example: alexnet doctor

    Example: alexnet doctor --json
    """
    from alexnet.reporting.installation import facts, in_words

    found = facts()
    if json_:
        show_json(found)
    else:
        table("", ["fact", "here"], in_words(found))
