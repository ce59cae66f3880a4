"""Numbers of the system calls that a filter names, and what kind of call each is."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["denied", "listening", "starting", "uncounted", "shared", "pretended", "judged"]
"""``denied`` to every worker; ``listening`` on sockets, which CUDA does when it starts;
``starting`` processes; ``uncounted`` memory, which no limit holds;
``shared``: changes files or processes of the host in ways that Landlock cannot control;
``pretended``: the same, but where processes may be started it does nothing and succeeds; ``judged``
by its arguments."""


class Syscall(NamedTuple):
    """One system call.

    Attributes:
        kind: when it is denied.
        x86_64: its number (Linux ``syscall_64.tbl``), None where there is no such call.
        aarch64: its number (``asm-generic/unistd.h``), None where there is no such call.
    """

    kind: Kind
    x86_64: int | None
    aarch64: int | None


HIGHEST: Final = 469
"""The youngest call known here, ``file_setattr`` of Linux 6.17."""

SYSCALLS: Final = {
    "_sysctl": Syscall("denied", 156, None),
    "accept": Syscall("denied", 43, 202),
    "accept4": Syscall("denied", 288, 242),
    "acct": Syscall("denied", 163, 89),
    "add_key": Syscall("denied", 248, 217),
    "adjtimex": Syscall("denied", 159, 171),
    "bind": Syscall("listening", 49, 200),
    "bpf": Syscall("denied", 321, 280),
    "chroot": Syscall("denied", 161, 51),
    "clock_adjtime": Syscall("denied", 305, 266),
    "clock_settime": Syscall("denied", 227, 112),
    "connect": Syscall("denied", 42, 203),
    "delete_module": Syscall("denied", 176, 106),
    "fanotify_init": Syscall("denied", 300, 262),
    "finit_module": Syscall("denied", 313, 273),
    "fsconfig": Syscall("denied", 431, 431),
    "fsmount": Syscall("denied", 432, 432),
    "fsopen": Syscall("denied", 430, 430),
    "fspick": Syscall("denied", 433, 433),
    "init_module": Syscall("denied", 175, 105),
    "io_uring_enter": Syscall("denied", 426, 426),
    "io_uring_register": Syscall("denied", 427, 427),
    "io_uring_setup": Syscall("denied", 425, 425),
    "ioperm": Syscall("denied", 173, None),
    "iopl": Syscall("denied", 172, None),
    "kcmp": Syscall("denied", 312, 272),
    "kexec_file_load": Syscall("denied", 320, 294),
    "kexec_load": Syscall("denied", 246, 104),
    "keyctl": Syscall("denied", 250, 219),
    "listen": Syscall("listening", 50, 201),
    "lookup_dcookie": Syscall("denied", 212, 18),
    "migrate_pages": Syscall("denied", 256, 238),
    "modify_ldt": Syscall("denied", 154, None),
    "mount": Syscall("denied", 165, 40),
    "mount_setattr": Syscall("denied", 442, 442),
    "move_mount": Syscall("denied", 429, 429),
    "move_pages": Syscall("denied", 279, 239),
    "mq_open": Syscall("denied", 240, 180),
    "mq_unlink": Syscall("denied", 241, 181),
    "msgget": Syscall("denied", 68, 186),
    "name_to_handle_at": Syscall("denied", 303, 264),
    "nfsservctl": Syscall("denied", 180, 42),
    "open_by_handle_at": Syscall("denied", 304, 265),
    "open_tree": Syscall("denied", 428, 428),
    "open_tree_attr": Syscall("denied", 467, 467),
    "perf_event_open": Syscall("denied", 298, 241),
    "personality": Syscall("denied", 135, 92),
    "pidfd_getfd": Syscall("denied", 438, 438),
    "pidfd_open": Syscall("denied", 434, 434),
    "pidfd_send_signal": Syscall("denied", 424, 424),
    "pivot_root": Syscall("denied", 155, 41),
    "process_madvise": Syscall("denied", 440, 440),
    "process_mrelease": Syscall("denied", 448, 448),
    "process_vm_readv": Syscall("denied", 310, 270),
    "process_vm_writev": Syscall("denied", 311, 271),
    "ptrace": Syscall("denied", 101, 117),
    "quotactl": Syscall("denied", 179, 60),
    "quotactl_fd": Syscall("denied", 443, 443),
    "reboot": Syscall("denied", 169, 142),
    "request_key": Syscall("denied", 249, 218),
    "semget": Syscall("denied", 64, 190),
    "setdomainname": Syscall("denied", 171, 162),
    "sethostname": Syscall("denied", 170, 161),
    "setns": Syscall("denied", 308, 268),
    "settimeofday": Syscall("denied", 164, 170),
    "shmat": Syscall("denied", 30, 196),
    "shmctl": Syscall("denied", 31, 195),
    "shmget": Syscall("denied", 29, 194),
    "socket": Syscall("listening", 41, 198),
    "swapoff": Syscall("denied", 168, 225),
    "swapon": Syscall("denied", 167, 224),
    "sysfs": Syscall("denied", 139, None),
    "syslog": Syscall("denied", 103, 116),
    "umount2": Syscall("denied", 166, 39),
    "unshare": Syscall("denied", 272, 97),
    "uselib": Syscall("denied", 134, None),
    "userfaultfd": Syscall("denied", 323, 282),
    "ustat": Syscall("denied", 136, None),
    "vhangup": Syscall("denied", 153, 58),
    "execve": Syscall("starting", 59, 221),
    "execveat": Syscall("starting", 322, 281),
    "fork": Syscall("starting", 57, None),
    "setpgid": Syscall("starting", 109, 154),
    "setsid": Syscall("starting", 112, 157),
    "tkill": Syscall("starting", 200, 130),
    "vfork": Syscall("starting", 58, None),
    "memfd_create": Syscall("uncounted", 319, 279),
    "memfd_secret": Syscall("uncounted", 447, 447),
    "chmod": Syscall("pretended", 90, None),
    "chown": Syscall("shared", 92, None),
    "fchmod": Syscall("pretended", 91, 52),
    "fchmodat": Syscall("pretended", 268, 53),
    "fchmodat2": Syscall("pretended", 452, 452),
    "fchown": Syscall("shared", 93, 55),
    "fchownat": Syscall("shared", 260, 54),
    "file_setattr": Syscall("shared", 469, 469),
    "fremovexattr": Syscall("shared", 199, 16),
    "fsetxattr": Syscall("shared", 190, 7),
    "futimesat": Syscall("pretended", 261, None),
    "ioprio_set": Syscall("shared", 251, 30),
    "lchown": Syscall("shared", 94, None),
    "lremovexattr": Syscall("shared", 198, 15),
    "lsetxattr": Syscall("shared", 189, 6),
    "removexattr": Syscall("shared", 197, 14),
    "removexattrat": Syscall("shared", 466, 466),
    "sched_setattr": Syscall("shared", 314, 274),
    "sched_setparam": Syscall("shared", 142, 118),
    "sched_setscheduler": Syscall("shared", 144, 119),
    "setpriority": Syscall("shared", 141, 140),
    "setxattr": Syscall("shared", 188, 5),
    "setxattrat": Syscall("shared", 463, 463),
    "truncate": Syscall("shared", 76, 45),
    "utime": Syscall("pretended", 132, None),
    "utimensat": Syscall("pretended", 280, 88),
    "utimes": Syscall("pretended", 235, None),
    "clone": Syscall("judged", 56, 220),
    "clone3": Syscall("judged", 435, 435),
    "fcntl": Syscall("judged", 72, 25),
    "ioctl": Syscall("judged", 16, 29),
    "kill": Syscall("judged", 62, 129),
    "prctl": Syscall("judged", 157, 167),
    "prlimit64": Syscall("judged", 302, 261),
    "rt_sigqueueinfo": Syscall("judged", 129, 138),
    "rt_tgsigqueueinfo": Syscall("judged", 297, 240),
    "sched_setaffinity": Syscall("judged", 203, 122),
    "socketpair": Syscall("judged", 53, 199),
    "tgkill": Syscall("judged", 234, 131),
}
