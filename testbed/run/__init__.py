"""A measured run: handovers with traffic, and what was seen of them."""
