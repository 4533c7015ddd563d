"""What a run can end in besides a result; `code` is for programs (the protocol's), `message` for people."""


class Refused(Exception):
    """
    A run that was not done, or that failed. Codes: "bad-input"; "does-not-fit" (details: need and have in bytes, fits in words); "unknown-session";
    "worker-failed" (a kernel or a rank failed; the worker is ready for the next run); "rank-died" (a process is gone or silent; the worker has to be started again).
    """

    def __init__(self, code: str, message: str, details: dict | None = None):
        super().__init__(message)
        self.code, self.message, self.details = code, message, details or {}


class Alone(Exception):
    """The processes of a worker do not come together: who or what is missing, and what to do."""


class Cancelled(Exception):
    """The run was cancelled; the worker is ready for the next."""
