"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a machine that is shared: no test is to fail because of it.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
