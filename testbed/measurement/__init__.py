"""What a run directory says: figures out of captures and journals."""
