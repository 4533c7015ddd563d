"""What a run can end in besides a result; `code` is for programs, `message` for people."""


class Refused(Exception):
    """
    A run that was not done. Codes: "bad-input", "does-not-fit" (details: need, have in bytes, whatFits), "wrong-ranks"
    (details: ranks, processes), "no-session", "cache-full" (details: need, have in tokens), "rank-error" (a rank failed; the
    worker is ready for the next run), "rank-lost" (a process is gone; the worker has to be started again).
    """

    def __init__(self, code: str, message: str, details: dict | None = None):
        super().__init__(message)
        self.code, self.message, self.details = code, message, details or {}


class Cancelled(Exception):
    """The run was cancelled; the worker is ready for the next."""
