"""Asks for things in words that contradict themselves, over a connection to one place. It says what came back, and never
whether that was right."""

import json, os, re, shutil, socket, ssl, subprocess

API, OTHER, PORT, TOKEN = "api.example.test", "other.example.test", int(os.environ["PORT"]), os.environ["TOKEN"]
HERE, THERE = f"{API}:{PORT}", f"{OTHER}:{PORT}"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"


def context():
    made = ssl.create_default_context()
    # What the gate shows is not what is tried here.
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def said(stream, text):
    stream.settimeout(3)
    stream.sendall(text.encode("latin1"))
    answer = b""
    try:
        while chunk := stream.recv(65536):
            answer += chunk
    except OSError as error:
        answer += repr(error).encode() if not answer else b""
    return answer.decode("latin1")


def request(text, sni=API, context=context()):
    with socket.create_connection((API, PORT), 5) as plain, context.wrap_socket(plain, server_hostname=sni) as stream:
        return said(stream, text)


def get(path, host=HERE, more="", target=None, method="GET", version="1.1"):
    hosts = "".join(f"Host: {one}\r\n" for one in ([host] if isinstance(host, str) else host))
    return f"{method} {target or path} HTTP/{version}\r\n{hosts}{BEARER}{more}Connection: close\r\n\r\n"


def in_pieces(sni, size):
    """A ClientHello a few bytes at a time."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(into, out, server_hostname=sni)
    with socket.create_connection((API, PORT), 5) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = False
        while True:
            try:
                if not sent:
                    tls.do_handshake()
                    tls.write(get(f"/repos/pieces-{sni[:5]}").encode())
                    sent = True
                answer = tls.read(4096)
                return answer.decode("latin1")
            except ssl.SSLWantReadError:
                hello = out.read()
                for at in range(0, len(hello), size):
                    stream.sendall(hello[at : at + size])
                if not (more := stream.recv(65536)):
                    raise OSError("closed")
                into.write(more)


def in_records(sni):
    """A ClientHello in two records (RFC 8446, section 5.1)."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(into, out, server_hostname=sni)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        hello = out.read()[5:]
    half = len(hello) // 2
    with socket.create_connection((API, PORT), 5) as stream:
        for part in (hello[:half], hello[half:]):
            stream.sendall(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part)
        into.write(stream.recv(65536))
        tls.do_handshake()
        stream.sendall(out.read())
        tls.write(get("/repos/records").encode())
        stream.sendall(out.read())
        while True:
            try:
                return tls.read(4096).decode("latin1")
            except ssl.SSLWantReadError:
                into.write(stream.recv(65536))


def plainly(text):
    with socket.create_connection((API, PORT), 5) as stream:
        return said(stream, text)


NODE = """
const by = require('http2').connect('https://' + process.env.AT);
by.on('error', e => { console.log('error ' + e.message); process.exit(0) });
const ask = JSON.parse(process.argv[1]);
const call = by.request({ ...ask, authorization: 'Bearer ' + process.env.TOKEN }, { endStream: true });
call.on('response', h => console.log(JSON.stringify(h)));
call.on('data', d => process.stdout.write(d));
call.on('error', e => { console.log('error ' + e.message); process.exit(0) });
call.on('end', () => by.close());
"""


def over_h2(**headers):
    ask = json.dumps({":" + name.removeprefix("p_") if name.startswith("p_") else name: value for name, value in headers.items()})
    ran = subprocess.run(["node", "-e", NODE, ask], capture_output=True, text=True, timeout=20, env={**os.environ, "AT": HERE})
    return ran.stdout + ran.stderr


INNER = f"GET /repos/smuggled HTTP/1.1\r\nHost: {THERE}\r\n{BEARER}Connection: close\r\n\r\n"
CHUNK = f"{len(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"
POST = f"POST /repos/outer HTTP/1.1\r\nHost: {HERE}\r\n{BEARER}"

TRIES = {
    # What agrees with itself, in unusual forms.
    "right": lambda: request(get("/repos/right")),
    "right, pieces of one byte": lambda: in_pieces(API, 1),
    "right, two records": lambda: in_records(API),
    "right, absolute form": lambda: request(get("", target=f"https://{HERE}/repos/absolute")),
    # What does not.
    "sni": lambda: request(get("/repos/sni"), sni=OTHER),
    "sni and host": lambda: request(get("/repos/sni-host", host=THERE), sni=OTHER),
    "no sni": lambda: request(get("/repos/no-sni"), sni=None),
    "sni in pieces": lambda: in_pieces(OTHER, 7),
    "sni below": lambda: request(get("/repos/below"), sni="sub." + API),
    "host": lambda: request(get("/repos/host", host=THERE)),
    "host without port": lambda: request(get("/repos/host-port", host=OTHER)),
    "host, another port": lambda: request(get("/repos/port", host=f"{API}:1")),
    "host with a user": lambda: request(get("/repos/user", host=f"{API}@{THERE}")),
    "host with a path": lambda: request(get("/repos/path", host=f"{HERE}/@{OTHER}")),
    "host with a blank": lambda: request(get("/repos/blank", host=f"{HERE} {OTHER}")),
    "host list": lambda: request(get("/repos/list", host=f"{HERE}, {THERE}")),
    "two hosts": lambda: request(get("/repos/two", host=[HERE, THERE])),
    "two hosts, other order": lambda: request(get("/repos/owt", host=[THERE, HERE])),
    "no host": lambda: request(get("/repos/none", host=[])),
    "empty host": lambda: request(get("/repos/empty", host="")),
    "absolute form": lambda: request(get("", target=f"https://{THERE}/repos/absolute-other")),
    "absolute form, host too": lambda: request(get("", target=f"https://{THERE}/repos/absolute-both", host=THERE)),
    "absolute form, plain": lambda: request(get("", target=f"http://{HERE}/repos/absolute-plain")),
    "absolute form, user": lambda: request(get("", target=f"https://{API}@{THERE}/repos/absolute-user")),
    "connect": lambda: request(get("", target=THERE, method="CONNECT", host=THERE)),
    "connect here": lambda: request(get("", target=HERE, method="CONNECT")),
    "two lengths": lambda: request(POST + f"Content-Length: 0\r\nContent-Length: {len(INNER)}\r\n\r\n" + INNER),
    "length and chunks": lambda: request(POST + f"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNK}"),
    "chunks and length": lambda: request(POST + f"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{INNER}"),
    "chunked twice": lambda: request(POST + f"Transfer-Encoding: chunked, identity\r\n\r\n{CHUNK}"),
    "strange chunked": lambda: request(POST + f"Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n{INNER}"),
    "folded": lambda: request(POST + f"Transfer-Encoding:\r\n chunked\r\nContent-Length: 0\r\n\r\n{CHUNK}"),
    "blank before colon": lambda: request(POST + f"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n{CHUNK}"),
    "pipelined": lambda: request(get("/repos/first").replace("Connection: close\r\n", "") + INNER),
    "body of a get": lambda: request(get("/repos/get-body", more=f"Content-Length: {len(INNER)}\r\n").replace("Connection: close\r\n", "") + INNER + INNER),
    "upgrade to h2c": lambda: request(get("/repos/h2c", more="Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")),
    "upgrade to anything": lambda: request(get("/repos/upgrade", more="Connection: Upgrade\r\nUpgrade: raw\r\n")),
    "plain": lambda: plainly(get("/repos/plain")),
    "h2 right": lambda: over_h2(p_path="/repos/h2-right"),
    "h2 authority": lambda: over_h2(p_path="/repos/h2-authority", p_authority=THERE),
    "h2 host": lambda: over_h2(p_path="/repos/h2-host", host=THERE),
    "h2 host for authority": lambda: over_h2(p_path="/repos/h2-swap", p_authority=HERE, host=THERE),
    "h2 scheme": lambda: over_h2(p_path="/repos/h2-scheme", p_scheme="http"),
    "h2 connect": lambda: over_h2(p_method="CONNECT", p_authority=THERE),
}  # fmt: skip

for name, attempt in TRIES.items():
    if name.startswith("h2") and not shutil.which("node"):
        continue
    try:
        answer = attempt()
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps([name, re.sub(r"\s+", " ", answer)]), flush=True)
