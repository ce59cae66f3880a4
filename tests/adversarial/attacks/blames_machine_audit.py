"""Say the same deep within an answer, of what the audit adds to the counts."""

from common import Honest, alter

Net = Honest
FAILED = {"kind": "failed", "reason": "no room on the disk"}
alter("counted", lambda message: message["complexity"].update(audit=FAILED))
