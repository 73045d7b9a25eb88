"""Takes notifications as programs do that were written for Nova: with oslo.messaging's listener.

Prints one line for each, in their order, until the one that is named has come. Exits with 0 then, with
1 when it does not come in time, and with 2 when it was called in a wrong way. The broker's address is
in the environment variable BROKER_URL, because it has a password.
"""

import argparse
import os
import sys
import threading

import oslo_messaging
from oslo_config import cfg


class Printer:
    """Gets what the listener receives, whatever its priority."""

    def __init__(self, last):
        self._last = last
        self.done = threading.Event()

    def info(self, _context, publisher, event, payload, _metadata):
        data = payload["nova_object.data"]
        print(event, publisher, payload["nova_object.name"], data["state"], flush=True)
        if event == self._last:
            self.done.set()

    error = info


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--until", required=True, metavar="EVENT", help="event to wait for")
    parser.add_argument("--within", type=float, default=120, metavar="SECONDS")
    options = parser.parse_args()
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    url = os.environ["BROKER_URL"]
    transport = oslo_messaging.get_notification_transport(conf, url=url)
    target = oslo_messaging.Target(exchange="nova", topic="versioned_notifications")
    printer = Printer(options.until)
    listener = oslo_messaging.get_notification_listener(
        transport, [target], [printer], executor="threading"
    )
    # One thread: what comes is printed whole and in its order.
    listener.start(override_pool_size=1)
    came = printer.done.wait(options.within)
    listener.stop()
    listener.wait()
    return 0 if came else 1


if __name__ == "__main__":
    sys.exit(main())
