"""All schemes side by side: sweep, runs, and what Table 1 and Figures 13 and 14 look like when measured."""
