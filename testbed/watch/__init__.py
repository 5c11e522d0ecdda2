"""A handover to look at in a terminal, in slow motion: made from the captures of a measured run."""
