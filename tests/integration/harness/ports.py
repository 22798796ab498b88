# SPDX-License-Identifier: Apache-2.0
"""Free loopback ports, also between test programs that run at the same time."""

import atexit
import random
import socket

# Below the kernel's range for outgoing connections, so that no client's own port can take one.
_LOWEST, _HIGHEST = 12000, 32000

# A port that ends like one of these says what its listener is for: 14587 is taken for submission. No test wants that by chance.
_MAIL_PORTS = {110, 143, 465, 587, 993, 995, 4190}

# An abstract Unix socket a port: a reservation that other test programs see and that ends with this process.
_reservations = []
atexit.register(lambda: [reservation.close() for reservation in _reservations])


def _is_free(port):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def reserve_port():
    """A port that nothing listens on, reserved for the life of this process."""
    while True:
        port = random.randint(_LOWEST, _HIGHEST)
        if _MAIL_PORTS & {port % 1000, port % 10000}:
            continue
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            reservation.bind(f"\0mailgate-test-port-{port}")
        except OSError:
            reservation.close()
            continue
        if _is_free(port):
            _reservations.append(reservation)
            return port
        reservation.close()
