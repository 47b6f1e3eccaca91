"""How many files this process, and with it its children, may have open."""

import resource

from redrush.processes.failure import ProcessFailed


def allow_files(count: int) -> None:
    """Raise this process's limit of open files, which its children inherit, to `count` if it is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ProcessFailed(f"this account may open {hard} files, {count} are needed: ulimit -Hn {count}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
