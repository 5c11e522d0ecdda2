"""The page that a measurement becomes: figures, tables and what stands beside them, in one HTML file."""
