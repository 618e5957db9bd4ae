"""Compares the system calls that the systemd unit allows with those that Portcullis makes.

    calls.py UNIT src/process/calls.rs

Every call in the second file must be allowed by the first, and so must what comes before Portcullis has
its own filter. Groups (@system-service) are expanded as the installed systemd knows them.
"""

import re
import subprocess
import sys

# Made before Portcullis' own filter is there, and for it: starting, confining, reading back.
BEFORE = {
    "execve", "set_tid_address", "prctl", "prlimit64", "capget", "capset", "seccomp",
    "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "clone", "clone3",
    "mmap", "mprotect", "socket", "socketpair", "ioctl",
}


def group(name: str) -> set[str]:
    out = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True
    ).stdout
    lines = (line.strip() for line in out.splitlines()[1:])
    words = {line for line in lines if line and not line.startswith("#")}
    return set().union(*(group(word) if word.startswith("@") else {word} for word in words))


def allowed(unit: str) -> set[str]:
    """As systemd reads it: lines in their order, the first one starting an allow list."""
    calls = group("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        removes, line = line.startswith("~"), line.removeprefix("~")
        for word in line.split():
            named = group(word) if word.startswith("@") else {word}
            calls = calls - named if removes else calls | named
    return calls


def main() -> int:
    unit, source = (open(path, encoding="utf-8").read() for path in sys.argv[1:])
    made = set(re.findall(r"libc::SYS_(\w+)", source)) | BEFORE
    missing = sorted(made - allowed(unit))
    if missing:
        print(f"{sys.argv[1]}: SystemCallFilter lacks {' '.join(missing)}")
        return 1
    print(f"{len(made)} system calls, all allowed by the unit")
    return 0


sys.exit(main())
