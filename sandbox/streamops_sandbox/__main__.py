"""The command `sandbox`."""

from __future__ import annotations

import sys


def main() -> int:
    """Check what everything else relies on, then run the command."""
    if sys.version_info < (3, 11):  # noqa: UP036 - older ones reach this line, to be told so
        print(
            "sandbox: Python {}.{} is too old: 3.11 or newer is needed.".format(*sys.version_info),
            file=sys.stderr,
        )
        return 1
    if not sys.platform.startswith("linux"):
        print(
            "sandbox: needs Linux, where every address of 127.0.0.0/8 answers; "
            "on other systems run it in a Linux virtual machine.",
            file=sys.stderr,
        )
        return 1
    from streamops_sandbox.cli import run  # noqa: PLC0415 - only now

    return run()


if __name__ == "__main__":
    sys.exit(main())
