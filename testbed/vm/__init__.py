"""The virtual machine for kernels that lack what the lab needs, and its clocks."""
