#!/usr/bin/env python3
"""A timestamping authority (RFC 3161) for trying things out: `openssl ts` behind plain HTTP.

    docs/timestamp-server.py DIRECTORY [ADDRESS:PORT]      default 127.0.0.1:8491; port 0 is any that is free

Out: `ready http://ADDRESS:PORT root DIRECTORY/root.pem`, then tokens for whoever asks. DIRECTORY is made with new keys if it
is not there. Needs the program `openssl`, 3.0 or newer. Its clock is this machine's, so where the operator of a gateway runs
it, it says nothing that the gateway does not say itself.
"""

import http.server
import pathlib
import secrets
import subprocess
import sys
import threading

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
# A request has about 70 bytes.
MAX_QUERY = 4096

CERTIFICATES = """[req]
distinguished_name = name
prompt = no
[name]
O = Timestamps for trials
CN = unused
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[signer]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""

STAMPING = """[tsa]
default_tsa = it
[it]
serial = {directory}/serial
signer_cert = {directory}/signer.pem
signer_key = {directory}/signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def openssl(*arguments, given=b""):
    """Output of a command; its complaint is shown if it fails."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace"))
    return done.stdout


def make(directory):
    """Keys and certificates of a root and a signer."""
    directory.mkdir(mode=0o700)
    config = directory / "certificates.cnf"
    config.write_text(CERTIFICATES)
    for name in ("root", "signer"):
        key = directory / f"{name}.key"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    root, request = directory / "root.pem", directory / "signer.csr"
    # Two authorities have two names: a verifier finds the root by it.
    days, name = ("-sha256", "-days", 3650), f"/O=Timestamps for trials/CN={secrets.token_hex(8)}"
    openssl("req", "-config", config, "-x509", "-new", "-key", directory / "root.key", *days, "-extensions", "root",
            "-subj", name, "-out", root)
    openssl("req", "-config", config, "-new", "-key", directory / "signer.key", "-subj", name + "/OU=signer", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", root, "-CAkey", directory / "root.key", "-CAcreateserial", *days,
            "-extfile", config, "-extensions", "signer", "-out", directory / "signer.pem")
    (directory / "serial").write_text("01\n")
    (directory / "stamping.cnf").write_text(STAMPING.format(directory=directory))


class Stamper(http.server.BaseHTTPRequestHandler):
    """Answers one question a request."""

    protocol_version = "HTTP/1.1"
    directory = None
    # Serial numbers are given one after another.
    one_at_a_time = threading.Lock()

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        if length > MAX_QUERY or self.headers.get("Content-Type") != QUERY:
            return self.answer(400, b"")
        query = self.rfile.read(length)
        with self.one_at_a_time:
            config = str(self.directory / "stamping.cnf")
            command = ["openssl", "ts", "-reply", "-config", config, "-section", "it", "-queryfile", "/dev/stdin"]
            done = subprocess.run(command, input=query, capture_output=True)
        return self.answer(500, b"") if done.returncode else self.answer(200, done.stdout)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", REPLY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nobody needs a line for each request."""


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1]).absolute()
    host, port = (sys.argv[2] if len(sys.argv) == 3 else "127.0.0.1:8491").rsplit(":", 1)
    if not directory.exists():
        make(directory)
    Stamper.directory = directory
    server = http.server.ThreadingHTTPServer((host, int(port)), Stamper)
    print(f"ready http://{host}:{server.server_address[1]} root {directory / 'root.pem'}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
