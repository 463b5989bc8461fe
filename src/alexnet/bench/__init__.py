"""How fast it is, beside peers and the machine's bound."""
