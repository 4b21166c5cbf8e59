"""A Hub to test against: a real server with invented content."""

from tests.doubles.hub.jobs import Job
from tests.doubles.hub.server import Asked, FakeHub, Fault
from tests.doubles.hub.spaces import FakeTrackio

__all__ = ["Asked", "FakeHub", "FakeTrackio", "Fault", "Job"]
