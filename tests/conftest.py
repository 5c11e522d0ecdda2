"""What holds for every test."""

import signal

from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a machine that is shared: no test is to fail because of it.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Who is started in the background by a shell has SIGINT ignored, and so have those whom it starts: tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
