"""Ask this container's own `/readyz`; exit status 0 when ready. The health check of the container image."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    """Return 0 when the service in this container is ready, 1 with the reasons on stdout otherwise."""
    port = os.environ.get("CQ_HTTP_PORT", "9100")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=3) as reply:
            return 0 if reply.status == 200 else 1
    except urllib.error.HTTPError as e:
        sys.stdout.write(e.read().decode(errors="replace"))
    except OSError as e:
        sys.stdout.write(f"{e}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
