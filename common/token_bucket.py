"""How often something may happen: `rate` times a second in the long run, `burst` times at once."""

from dataclasses import dataclass, field


@dataclass
class TokenBucket:
    """Moments are any clock's that only rises, in seconds."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, now: float) -> bool:
        """Whether it may happen once more now."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
