# SPDX-License-Identifier: Apache-2.0
"""Real mail servers, a balancer and mailgate itself in a scratch folder, for the integration tests and the demo.

Everything listens on loopback, lives below one temporary folder and is stopped by its process id, on failure too.
Original client addresses are documentation addresses that travel in PROXY headers.
"""
