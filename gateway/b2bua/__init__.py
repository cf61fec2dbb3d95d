"""The back-to-back user agent: calls of two legs, relayed transactions, and the record each call leaves."""
