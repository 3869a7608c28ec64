"""Runs a command under a filter of system calls:  refuse.py WHAT COMMAND [ARGUMENT …]

WHAT is `bpf`: who calls it is ended, as by systemd's SystemCallFilter=~bpf; or address families,
`AF_UNIX,AF_PACKET`: a socket of one is refused, as by systemd's RestrictAddressFamilies=~…"""
import ctypes
import os
import platform
import socket
import struct
import sys

BPF, SOCKET = {"x86_64": (321, 41), "aarch64": (280, 198)}[platform.machine()]
KILL_PROCESS, REFUSE, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
EAFNOSUPPORT = 97
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2

if sys.argv[1] == "bpf":
    instructions = [
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, 1, BPF),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    ]
else:
    families = [int(getattr(socket, name)) for name in sys.argv[1].split(",")]
    count = len(families)
    instructions = [
        (LOAD, 0, 0, NUMBER),
        (EQUAL, 0, count + 1, SOCKET),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        *[(EQUAL, count - at, 0, family) for at, family in enumerate(families)],
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE | EAFNOSUPPORT),
    ]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in instructions))


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


program = Program(len(instructions), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
