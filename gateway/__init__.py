"""A SIP back-to-back user agent that makes call rejections tell the truth."""

from .speedups import prefer_sources

__version__ = "0.1.0"

prefer_sources()
