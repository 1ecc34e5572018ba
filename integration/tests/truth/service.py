"""A service in Python: says which requests it was given, a line of JSON each; its first line is its port."""

import http.server
import json
import sys
import urllib.parse


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def length(self):
        """Reads the body; gives its length."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            length = 0
            while size := int(self.rfile.readline().split(b";")[0], 16):
                length += len(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return length
        return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def serve(self):
        # self.path has its leading slashes merged by the library: what came stands in the request line.
        target = self.requestline.split(" ")[1]
        path = urllib.parse.urlsplit(self.path).path
        say(
            {
                "id": self.headers.get("X-Road-Id", ""),
                "method": self.command,
                "target": target,
                # As ASGI has it, and as WSGI has it: bytes that are read as characters of one byte.
                "routed": [
                    urllib.parse.unquote(path),
                    urllib.parse.unquote(path, "iso-8859-1").encode("iso-8859-1").decode("utf-8", "replace"),
                ],
                "host": self.headers.get("Host", ""),
                "length": self.length(),
            }
        )
        body = b"" if self.command == "HEAD" else b"fine"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
say(server.server_address[1])
server.serve_forever()
