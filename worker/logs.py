"""Logs of a worker's processes: one event a line on stderr, key=value for people or JSON for machines."""

import json
import logging
import sys
import time


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"at": f"{at}.{int(record.msecs):03}Z", "level": record.levelname.lower(), "logger": record.name}
        line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(style: str) -> None:
    """Send our own loggers to stderr; `style` is `people` or `json`. RQ is heard from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    people = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(_Json() if style == "json" else people)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("unitrank").setLevel(logging.INFO)
    for name in ("rq.worker", "rq.job"):
        logging.getLogger(name).setLevel(logging.WARNING)
