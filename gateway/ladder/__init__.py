"""Ladders: the messages of one call as arrows between those who sent and received them."""

from .model import Arrow, Ladder, Participant, build

__all__ = ["Arrow", "Ladder", "Participant", "build"]
