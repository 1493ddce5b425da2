"""The `cq` command line.

Exit codes are stable (`shared.errors.ExitCode`): 0 done, 1 failed, 64 usage, 65 bad data, 69 something is away, 70 a
bug, 75 timed out, 77 refused (by risk, the gateway or the broker), 78 wrong settings.
"""

from __future__ import annotations

import sys

from shared.errors import CLICK_USAGE, CqError, ExitCode, UnknownContract


def main() -> None:
    """Run `cq`; every error we raise on purpose becomes one sentence on stderr and its exit code."""
    from copilot_quant.cli.application import build_app  # a script that imports this package pays nothing for typer

    try:
        build_app(sys.argv[1:])(prog_name="cq", standalone_mode=True)
    except SystemExit as e:
        sys.exit(ExitCode.USAGE if e.code == CLICK_USAGE else e.code)
    except UnknownContract as e:
        sys.stderr.write(f"cq: {e}\n")
        for candidate in e.candidates:
            sys.stderr.write(f"  {candidate}\n")
        sys.exit(e.exit_code)
    except CqError as e:
        sys.stderr.write("".join(f"cq: {line}\n" for line in getattr(e, "mistakes", [str(e)])))
        sys.exit(e.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except OSError as e:
        if e.filename is None:
            raise
        sys.stderr.write(f"cq: {e.filename}: {e.strerror}\n")  # a file that somebody named
        sys.exit(ExitCode.BAD_DATA)
    except KeyboardInterrupt:
        sys.exit(130)
