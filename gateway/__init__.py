"""A SIP back-to-back user agent that makes call rejections tell the truth."""

__version__ = "0.1.0"
