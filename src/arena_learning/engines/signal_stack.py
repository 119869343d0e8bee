"""A stack for signal handlers that outlives OpenVINO's own.

Python's handlers run on a thread's alternate signal stack where it has one. OpenVINO gives the thread that loads a
model such a stack, because the registers of newer processors need more room than a usual one. With the model it frees
that stack, and leaves the thread with it or with the one of an earlier model: the next Ctrl-C would end the process
with a segmentation fault instead of an orderly stop (openvino 2026.4).
"""

from __future__ import annotations

import ctypes
import sys
import threading

_BYTES = 256 * 1024  # several times what a signal takes with all registers of any processor
_own = threading.local()
_KEPT: list[ctypes.Array[ctypes.c_char]] = []  # for ever: a thread may get a signal as long as it lives


class _Stack(ctypes.Structure):
    """The system's ``stack_t`` on Linux."""

    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def keep_signal_stack() -> None:
    """Give this thread an alternate signal stack of its own, whichever it has now (Linux).

    Call it in the thread that has loaded a model of OpenVINO's, and again after the model was freed.
    """
    if sys.platform != "linux":
        return
    if not hasattr(_own, "memory"):
        _own.memory = ctypes.create_string_buffer(_BYTES)
        _KEPT.append(_own.memory)
    stack = _Stack(ctypes.addressof(_own.memory), 0, _BYTES)
    # An error means that a handler is running on the stack that is to be replaced: it stays.
    ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)
