"""How a call or a start can fail. `code` is for programs (the protocol's error codes), `message` for people."""


class Refused(Exception):
    """
    A call that was refused, or a run that failed.

    Codes of the engine: "bad-input"; "does-not-fit" (details: `need` and `have` in bytes, `fits` in words);
    "unknown-session"; "worker-failed" (a kernel or a rank failed; the worker is ready for the next run); "rank-died"
    (a process is gone or silent; the processes have to be started again). The server adds those of its limits, such
    as "queue-full" and "time-limit".
    """

    def __init__(self, code: str, message: str, details: dict | None = None):
        super().__init__(message)
        self.code, self.message, self.details = code, message, details or {}


class Cancelled(Exception):
    """The run was cancelled. The worker is ready for the next one."""


class CannotMeet(Exception):
    """The processes of a worker cannot find or reach each other: who or what is missing, and what to do."""


class CannotStart(Exception):
    """Why the worker doesn't start: a wrong option, or something that this machine lacks."""


def error_text(error: Exception) -> str:
    """Type and first line of an error, at most 200 characters of it."""
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
