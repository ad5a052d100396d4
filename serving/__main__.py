"""Start the HTTP server: python -m serving --workers 2

Several workers divide the CPU cores. They share one folder for their metrics, and one that names the bundle that all serve.
The settings are SENTIMENT_* environment variables.
"""

import argparse
import os
import tempfile
from pathlib import Path

import uvicorn
from uvicorn.supervisors import Multiprocess

from serving.inference.cpu import usable_cores
from serving.web.connections import Connection

APP = "serving.web.application:create_app"


class Supervisor(Multiprocess):
    """uvicorn's parent process of several workers. SIGHUP, which a closing terminal sends, ends it; uvicorn would restart the workers."""

    handle_hup = Multiprocess.handle_term


def main() -> None:
    """Start the server. The exit codes are those of uvicorn."""
    parser = argparse.ArgumentParser("python -m serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s; 0.0.0.0 for all)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="number of processes (%(default)s)")
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    if options.workers == 1:
        uvicorn.run(APP, factory=True, http=Connection, host=options.host, port=options.port)
    else:
        run_workers(options.host, options.port, options.workers)


def run_workers(host: str, port: int, workers: int) -> None:
    """Run several workers; keep their shared folders until the last worker has ended."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "metrics"
        metrics.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        os.environ["SENTIMENT_STATE"] = str(Path(folder) / "state")
        os.environ["SENTIMENT_THREADS"] = os.environ.get("SENTIMENT_THREADS") or str(max(1, usable_cores() // workers))
        config = uvicorn.Config(APP, factory=True, http=Connection, host=host, port=port, workers=workers)
        Supervisor(config, sockets=[config.bind_socket()]).run()


if __name__ == "__main__":
    main()
