"""The report, one page about runs and studies, and the facts for a bug report."""
