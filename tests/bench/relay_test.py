#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the relay of bench/relay makes of loopback. Times are compared with what a link costs at least, so that a busy machine fails no
test. The program is the first argument."""
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

RELAY = sys.argv.pop(1)
WAN, MOBILE = 0.040, 0.120  # round trips
INITIAL_WINDOW = 14480
LONGEST = 20  # seconds until something that comes has come


def unused_ports(count):
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Link:
    """A relay before a server that calls `serve` with each connection."""

    def __init__(self, profile, serve):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port, self.control = unused_ports(2)
        self.serve = serve
        threading.Thread(target=self.accept, daemon=True).start()
        self.relay = subprocess.Popen([RELAY, str(self.port), str(self.listener.getsockname()[1]), str(self.control), profile])
        deadline = time.monotonic() + LONGEST
        while True:
            try:
                self.ask('counts')
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def connect(self):
        out = socket.create_connection(('127.0.0.1', self.port), timeout=LONGEST)
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return out

    def ask(self, word):
        with socket.create_connection(('127.0.0.1', self.control), timeout=LONGEST) as control:
            control.sendall(word.encode() + b'\n')
            return control.makefile().read().strip()

    def close(self):
        self.relay.terminate()
        self.relay.wait()
        self.listener.close()


def echo(connection):
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass


def receive(connection, size):
    out = b''
    while len(out) < size:
        piece = connection.recv(size - len(out))
        if not piece:
            break
        out += piece
    return out


class Relay(unittest.TestCase):
    def link(self, profile, serve=echo):
        link = Link(profile, serve)
        self.addCleanup(link.close)
        return link

    def test_a_connection_and_a_request_cost_two_round_trips_and_the_next_one_costs_one(self):
        link = self.link('wan')
        begin = time.monotonic()
        with link.connect() as client:
            client.sendall(b'question')
            self.assertEqual(receive(client, 8), b'question')
            self.assertGreaterEqual(time.monotonic() - begin, 2 * WAN)
            begin = time.monotonic()
            client.sendall(b'another')
            self.assertEqual(receive(client, 7), b'another')
            self.assertGreaterEqual(time.monotonic() - begin, WAN)

    def test_a_server_that_speaks_first_is_heard_after_two_round_trips(self):
        def greet(connection):
            with connection:
                connection.sendall(b'hello')
        link = self.link('wan', greet)
        begin = time.monotonic()
        with link.connect() as client:
            self.assertEqual(receive(client, 5), b'hello')
            self.assertGreaterEqual(time.monotonic() - begin, 2 * WAN)
            self.assertEqual(client.recv(1), b'')  # and its end comes behind it

    def test_a_long_answer_begins_slowly(self):
        def flood(connection):
            with connection:
                connection.sendall(bytes(10 * INITIAL_WINDOW))
        link = self.link('mobile', flood)
        begin = time.monotonic()
        with link.connect() as client:
            # One window after two round trips, two more after the third, four after the fourth.
            receive(client, 6 * INITIAL_WINDOW)
            self.assertGreaterEqual(time.monotonic() - begin, 4 * MOBILE)

    def test_connections_share_the_speed(self):
        size = 500_000
        def flood(connection):
            with connection:
                connection.sendall(bytes(size))
        link = self.link('wan', flood)
        begin = time.monotonic()
        clients = [link.connect() for _ in range(4)]
        for client in clients:
            with client:
                self.assertEqual(len(receive(client, size)), size)
        self.assertGreaterEqual(time.monotonic() - begin, 4 * size / 12_500_000)

    def test_a_sender_is_held_back_after_what_the_link_holds(self):
        sent = []
        def flood(connection):
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
                connection.settimeout(1)
                try:
                    while True:
                        sent.append(connection.send(bytes(16384)))
                except OSError:
                    pass
        link = self.link('wan', flood)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.connect(('127.0.0.1', link.port))
        time.sleep(1.5)
        client.close()
        self.assertGreater(sum(sent), 16384)
        # 500 kB are on the way, 64 KiB in the buffer; the rest is sockets.
        self.assertLess(sum(sent), 900_000)

    def test_cut_resets_both_ends(self):
        ended = threading.Event()
        def wait_for_reset(connection):
            try:
                while connection.recv(1):
                    connection.sendall(b'y')
            except ConnectionResetError:
                ended.set()
        link = self.link('wan', wait_for_reset)
        with link.connect() as client:
            client.sendall(b'x')
            receive(client, 1)
            self.assertEqual(link.ask('cut'), 'done')
            with self.assertRaises(ConnectionResetError):
                client.recv(1)
        self.assertTrue(ended.wait(LONGEST))

    def test_a_reset_reaches_the_other_end_after_half_a_round_trip(self):
        ended = []
        def wait_for_reset(connection):
            try:
                while connection.recv(1):
                    connection.sendall(b'y')
            except ConnectionResetError:
                ended.append(time.monotonic())
        with self.link('mobile', wait_for_reset).connect() as client:
            client.sendall(b'x')
            receive(client, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            begin = time.monotonic()
        while not ended and time.monotonic() - begin < LONGEST:
            time.sleep(0.01)
        self.assertGreaterEqual(ended[0] - begin, MOBILE / 2)

    def test_what_is_frozen_comes_when_it_thaws(self):
        link = self.link('lan')
        with link.connect() as client:
            client.sendall(b'one')
            receive(client, 3)
            link.ask('freeze')
            client.sendall(b'two')
            client.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                client.recv(1)
            link.ask('thaw')
            client.settimeout(LONGEST)
            self.assertEqual(receive(client, 3), b'two')

    def test_bytes_and_connections_are_counted(self):
        link = self.link('none')
        for text in (b'one', b'twelve'):
            with link.connect() as client:
                client.sendall(text)
                self.assertEqual(receive(client, len(text)), text)
        deadline = time.monotonic() + LONGEST
        while link.ask('counts') != '2 9 9 0' and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(link.ask('counts'), '2 9 9 0')

    def test_a_megabyte_comes_as_it_was(self):
        text = bytes(index * index % 251 for index in range(1_000_000))
        with self.link('lan').connect() as client:
            threading.Thread(target=client.sendall, args=(text,), daemon=True).start()
            self.assertEqual(receive(client, len(text)), text)


if __name__ == '__main__':
    unittest.main(verbosity=2)
