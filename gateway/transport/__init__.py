"""SIP over sockets: the only trio I/O for SIP."""
