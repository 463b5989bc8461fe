"""The slides of `alexnet slides`: the deck that the project was created from, drawn anew, corrected and with verdicts."""
