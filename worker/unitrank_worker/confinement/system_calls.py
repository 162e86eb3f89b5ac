"""Limits the system calls of this process, with seccomp: a refused call fails with an error.

Everything else is allowed, so that libraries work. Refused are: connections, other programs and
processes, other processes' memory, changes of a file's owner or rights (Landlock allows these), and
parts of the kernel that a computation does not need.
"""

import errno
import os
from typing import Any

from unitrank_worker.confinement.errors import NotConfined

CLONE_THREAD = 0x00010000
PR_SET_PDEATHSIG = 1

REFUSED = {
    "connections": "socket socketpair connect bind listen accept accept4 sendmmsg",
    "programs and processes": "execve execveat fork vfork unshare setns",
    "other processes": "ptrace process_vm_readv process_vm_writev process_madvise kcmp move_pages migrate_pages "
    "pidfd_open pidfd_getfd pidfd_send_signal tkill",
    "owners, rights and times of files": "chmod fchmod fchmodat chown fchown lchown fchownat "
    "utime utimes utimensat futimesat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
    # Before Linux 6.2, Landlock lets a process truncate a file that it may only read.
    "sizes of files": "truncate",
    "other ways to files": "inotify_init inotify_init1 fanotify_init name_to_handle_at open_by_handle_at lookup_dcookie",
    "memory that processes share": "shmget shmat shmctl semget semop semtimedop semctl "
    "msgget msgsnd msgrcv msgctl mq_open mq_unlink",
    "file systems": "mount umount umount2 mount_setattr move_mount open_tree fsopen fsconfig fsmount fspick "
    "pivot_root chroot swapon swapoff acct quotactl quotactl_fd",
    "the kernel": "bpf perf_event_open userfaultfd add_key request_key keyctl init_module finit_module delete_module "
    "kexec_load kexec_file_load reboot syslog iopl ioperm personality vhangup nfsservctl",
    "the machine": "settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname",
}
"""Topic → names of calls that fail with EPERM."""
MISSING = ("clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Calls that fail with ENOSYS, so that libraries use an older call, which has a rule."""
SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
"""Calls that send a signal: only to this process."""
NEWER = range(450, 512)
"""Numbers of calls that are newer than these lists. They fail with ENOSYS."""


class SystemCallFilter:
    """The filter of this process. Raises NotConfined if seccomp cannot be used.

    Building the filter runs programs, to find the library libseccomp.
    """

    def __init__(self) -> None:
        try:
            import pyseccomp
        except (ImportError, RuntimeError) as error:
            raise NotConfined(f"seccomp cannot be used: {error}") from error
        try:
            self._filter = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
            self._filter.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)
            self._add_rules(pyseccomp)
        except OSError as error:
            raise NotConfined(f"seccomp cannot be used: {error}") from error

    def load(self) -> None:
        """Limit all threads. Raises NotConfined."""
        try:
            self._filter.load()
        except OSError as error:
            raise NotConfined(f"seccomp cannot be used: {error}") from error

    def _add_rules(self, seccomp: Any) -> None:  # Any: the module, which macOS does not have
        refuse, missing = seccomp.ERRNO(errno.EPERM), seccomp.ERRNO(errno.ENOSYS)
        own, argument = os.getpid(), seccomp.Arg
        rules: list[tuple[int, str | int, list[Any]]] = [
            *((refuse, name, []) for names in REFUSED.values() for name in names.split()),
            *((missing, name, []) for name in (*MISSING, *NEWER)),
            *((refuse, name, [argument(0, seccomp.NE, own)]) for name in SIGNALS),
            # A new process; a thread is allowed.
            (refuse, "clone", [argument(0, seccomp.MASKED_EQ, CLONE_THREAD, 0)]),
            # A message to an address, without a connection.
            (refuse, "sendto", [argument(4, seccomp.NE, 0)]),
            # A life after the parent's end, which kills this process: see `die_with_parent`.
            (refuse, "prctl", [argument(0, seccomp.EQ, PR_SET_PDEATHSIG)]),
            # Limits of another process.
            (refuse, "prlimit64", [argument(0, seccomp.NE, 0)]),
        ]
        # Opening a file to read it can also truncate the file.
        truncating = os.O_TRUNC | os.O_ACCMODE
        rules += [
            (refuse, name, [argument(flags, seccomp.MASKED_EQ, truncating, os.O_TRUNC | os.O_RDONLY)])
            for name, flags in (("open", 1), ("openat", 2))
        ]
        for action, name, arguments in rules:
            number = name if isinstance(name, int) else seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
            # Negative: this machine, or an old libseccomp, does not have the call.
            if number >= 0:
                self._filter.add_rule(action, number, *arguments)
