"""Attacks on the network: everything by which a packet could arrive at a listener of the host.
Nothing is sent to any address but this machine's own."""

import ctypes, os, socket, struct, sys, time
from attack import *

PORT = NEAR.get("tcp", 0)
UDP = NEAR.get("udp", 0)
HOSTS = NEAR.get("hosts", [])


def dial(host, port=PORT, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(0.5)
        s.connect((host, port))
        s.sendall(TOKEN.encode())
        time.sleep(0.05)


def throw(host, port=UDP, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.sendto(TOKEN.encode(), (host, port))
        time.sleep(0.05)


@attack("arrived")
def loopback():
    """Escape list 35: the host's loopback services."""
    dial("127.0.0.1")


@attack("arrived")
def loopback_by_other_names():
    """Escape list 36: the same in decimal, octal, hexadecimal, short, mapped and by other addresses of 127/8."""
    each([lambda h=h: dial(h) for h in ("2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0", "127.9.9.9")])
    each([lambda h=h: dial(h, family=socket.AF_INET6) for h in ("::1", "::ffff:127.0.0.1", "::ffff:7f00:1")])


@attack("arrived")
def addresses_of_this_machine():
    """Escape list 36: the host by its own address."""
    each([lambda h=h: dial(h, family=socket.AF_INET6 if ":" in h else socket.AF_INET) for h in HOSTS])


@attack("arrived")
def curl_without_proxy():
    """Escape list 35: proxy variables unset, a real client."""
    sh(f"env -u http_proxy -u HTTP_PROXY -u ALL_PROXY curl -s -m 1 --noproxy '*' http://127.0.0.1:{PORT}/{TOKEN}")


@attack("arrived")
def datagrams():
    """Escape list 37, 44: UDP, as DNS and QUIC use it."""
    each([lambda h=h: throw(h) for h in ["127.0.0.1", *[h for h in HOSTS if ":" not in h]]])


@attack("arrived")
def name_service():
    """Escape list 37: DNS on port 53, over UDP and TCP, the secret in a label."""
    port = NEAR["dns"]
    label = TOKEN.encode()
    query = struct.pack(">HHHHHH", 1, 256, 1, 0, 0, 0) + bytes([len(label)]) + label + b"\0" + struct.pack(">HH", 1, 1)
    def udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(query, ("127.0.0.1", port))
            time.sleep(0.05)
    def tcp():
        with socket.socket() as s:
            s.settimeout(0.5)
            s.connect(("127.0.0.1", port))
            s.sendall(struct.pack(">H", len(query)) + query)
    each([udp, tcp])


@attack("arrived")
def fast_open():
    """Own: data in the first packet, before any connect."""
    with socket.socket() as s:
        s.sendto(TOKEN.encode(), 0x20000000, ("127.0.0.1", PORT))
        time.sleep(0.05)


@attack("arrived")
def multipath():
    """Own: MPTCP is TCP to everybody but a filter of protocols."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as s:
        s.settimeout(0.5)
        s.connect(("127.0.0.1", PORT))
        s.sendall(TOKEN.encode())
        time.sleep(0.05)


@attack("proved", control="root")
def raw_sockets():
    """Escape list 44: raw IP, packets, and packets by their old name."""
    kinds = [(2, 3, 1), (2, 3, 255), (10, 3, 58), (17, 3, 0x300), (17, 2, 0x300), (2, 10, 0x300)]
    each([lambda k=k: socket.socket(*k) and proved() for k in kinds])


@attack("proved", control="userns")
def raw_sockets_in_a_namespace():
    """Escape list 44, with the privileges a namespace gives."""
    each([lambda k=k: socket.socket(*k) and proved() for k in [(2, 3, 1), (17, 3, 0x300)]])


@attack("proved")
def other_families():
    """Own: AF_ALG, netfilter's netlink, the kernel's events, Bluetooth and whatever else the kernel has."""
    # Fourteen families that stand for hundreds of thousands of lines of kernel.
    kinds = [(38, 5, 0), (16, 3, 12), (16, 3, 15), (16, 3, 4), (16, 3, 16), (44, 3, 0), (31, 3, 1), (29, 3, 1),
             (30, 5, 0), (41, 2, 0), (43, 1, 0), (21, 5, 0), (2, 5, 132), (2, 6, 33)]
    each([lambda k=k: socket.socket(*k) and proved() for k in kinds])


@attack("proved", control="root")
def privileged_options():
    """Own: transparent binding, repair of connections, and marks that firewalls trust."""
    s = socket.socket()
    each([lambda o=o: s.setsockopt(*o, 1) or proved() for o in ((0, 19), (6, 19), (1, 36), (1, 32))])


@attack("proved", control="userns")
def address_added():
    """Own: an address of its own choosing."""
    if sh("ip addr add 127.9.9.10/32 dev lo") == 0:
        proved()
