"""Measure speed, against peers and the machine's bound."""
