"""Lines of the log as OTLP has them."""

from __future__ import annotations

import logging

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource

from .feed import LogLine
from .spans import SCOPE

_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


def log_record(line: LogLine, resource: Resource) -> ReadableLogRecord:
    """Return a line as the SDK has it."""
    severity = _SEVERITIES.get(line.level, SeverityNumber.UNSPECIFIED)
    at = int(line.at * 1e9)
    record = LogRecord(
        timestamp=at,
        observed_timestamp=at,
        trace_id=int(line.trace_id, 16) if line.trace_id else None,
        severity_text=logging.getLevelName(line.level),
        severity_number=severity,
        body=line.text,
        attributes=line.attributes,
    )
    return ReadableLogRecord(record, resource, SCOPE)
