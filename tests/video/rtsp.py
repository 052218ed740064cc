"""A camera on this machine, for tests."""
import socket
import struct
import threading
import time


class RtspServer(threading.Thread):
    """One camera for one client: MPEG-TS in RTP packets, interleaved with the answers (RFC 2326, 10.12; RFC 2250)."""

    def __init__(self, stream, seconds=0.0):
        """seconds: how long sending the stream takes, at least."""
        super().__init__(daemon=True)
        self.stream, self.seconds, self.socket = stream, seconds, socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self.socket.getsockname()[1]}/camera"

    def run(self):
        with self.socket:
            client, _ = self.socket.accept()
        with client, client.makefile("rb") as lines:
            while True:
                request = lines.readline().decode()
                headers = {}
                while (line := lines.readline().decode().strip()):
                    name, value = line.split(":", 1)
                    headers[name.lower()] = value.strip()
                verb = request.split(" ")[0]
                extra, body = "", b""
                if verb == "DESCRIBE":
                    body = (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                            b"m=video 0 RTP/AVP 33\r\na=control:track\r\n")
                    extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                elif verb == "SETUP":
                    extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n{extra}\r\n".encode() + body)
                if verb == "PLAY":
                    break
            self.send(client)

    def send(self, client):
        """The stream, until the client has seen enough."""
        size = 7 * 188
        try:
            for i in range(0, len(self.stream), size):
                packet = struct.pack(">BBHII", 0x80, 33, i // size & 0xffff, 0, 1) + self.stream[i:i + size]
                client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                time.sleep(self.seconds * size / len(self.stream))
        except ConnectionError:
            pass
