"""A Meshwire client for Python 3.9 or later with `websockets`: docs/writing-a-client.md as code, steps 1 to 9."""
import asyncio, collections, contextlib, json, random, time, uuid
import websockets
FINAL = {1000, 1002, 1003, 1007, 1008, 1009, *range(4400, 4500)}  # close codes: to come back unchanged is useless

class MeshError(Exception):
    def __init__(self, code, message, retryable=False, **_):
        super().__init__(f"{code}: {message}")
        self.code, self.retryable = code, retryable

class MeshClient:  # `await handler(message)` returns the reply to a query; what it raises gives the message back
    @classmethod
    async def connect(cls, url, name, capabilities, handler=None, **agent):
        self = cls()
        self.url, self.handler, self.agent = url, handler, {"name": name, "capabilities": capabilities, **agent}
        self.socket = self.session = self.producer = self.error = None
        self.seq, self.silence, self.unanswered, self.asked = 0, 10, {}, {}  # s; seq -> (frame, future); id -> future
        self.line, self.turn, self.welcomed = asyncio.Lock(), asyncio.Lock(), asyncio.Future()
        self.processed, self.staying = collections.deque(maxlen=10_000), asyncio.ensure_future(self._stay_connected())
        return await self.welcomed

    async def send(self, to, payload, message_type="notification", **fields):  # returns when the mesh has stored it
        async with self.line:  # first come, first served
            while len(self.unanswered) >= 1024 and not self.error: await asyncio.sleep(0.01)
        if self.error: raise self.error
        to, answer = {"agent": to} if isinstance(to, str) else to, asyncio.Future()
        frame = {"type": "send", "to": to, "messageType": message_type, "payload": payload, **fields}
        self.seq += 1  # from here to the writing nothing comes between: no gap, no other order
        self.unanswered[self.seq] = (frame, answer)
        await self._write({**frame, "ref": self.seq, "seq": self.seq})
        return await answer

    async def request(self, to, payload, timeout=30):  # asks, and returns the message that answers
        key = uuid.uuid4().hex
        self.asked[key] = answer = asyncio.Future()
        answer.add_done_callback(lambda _: self.asked.pop(key))
        await self.send(to, payload, "query", correlationId=key, ttlMs=int(timeout * 1000))
        return await asyncio.wait_for(answer, timeout)

    async def close(self):  # waits for the answers to what was sent, then is offline: registration and inbox stay
        if self.unanswered: await asyncio.wait([answer for _, answer in self.unanswered.values()], timeout=5)
        self._end(MeshError("closed", "the client was closed"))
        await self._write({"type": "bye", "ref": "bye", "keep": True})
        await asyncio.wait([self.staying], timeout=5)

    def _end(self, error):
        self.error = self.error or error
        for future in [self.welcomed, *self.asked.values(), *(answer for _, answer in self.unanswered.values())]:
            if not future.done(): future.set_exception(error)

    async def _stay_connected(self):
        tries, options = 0, {"ping_interval": None, "compression": None, "max_size": None, "close_timeout": 1}
        while not self.error:
            began = time.monotonic()
            try:
                async with websockets.connect(self.url, subprotocols=["meshwire.v1"], **options) as socket:
                    await self._session(socket)
            except MeshError as error:
                if not error.retryable: self._end(error)
            except websockets.ConnectionClosed as closed:
                if closed.rcvd and closed.rcvd.code in FINAL: self._end(MeshError("closed", str(closed)))
            except (OSError, asyncio.TimeoutError, websockets.WebSocketException): pass
            self.socket, tries = None, 0 if time.monotonic() - began > 10 else tries + 1
            delay = random.random() if tries < 2 else 0.25 + random.random() * min(15, 2 ** (tries - 1))
            await asyncio.sleep(0 if self.error else delay)

    async def _session(self, socket):
        if not self.unanswered or not self.producer:  # a new producer: what has no answer is numbered from 1
            self.producer, self.unanswered = uuid.uuid4().hex, dict(enumerate(self.unanswered.values(), 1))
            self.seq = len(self.unanswered)
        hello = {"type": "hello", "ref": 0, "protocol": 1, "producer": self.producer, "session": self.session}
        await socket.send(json.dumps({**hello, "agent": self.agent}))
        while True:
            for line in filter(None, (await asyncio.wait_for(socket.recv(), self.silence)).split("\n")):
                await self._on_frame(socket, json.loads(line))

    async def _on_frame(self, socket, frame):
        kind, error = frame["type"], MeshError(**frame["error"]) if frame["type"] == "error" else None
        if kind == "welcome": await self._on_welcome(socket, frame)
        elif kind == "ping": await self._write({"type": "pong"})
        elif kind == "receipt" or frame.get("messageType") == "response":
            answer = self.asked.get(frame.get("correlationId"))
            if answer and not answer.done(): answer.set_result(frame)
            await self._write({"type": "ack", "ids": [frame.get("receiptId", frame["id"])]})
        elif kind == "message": asyncio.ensure_future(self._handle(frame))
        elif error and frame.get("ref") == 0: raise error  # hello was refused
        elif error and error.code in ("store_unavailable", "draining"): await socket.close(4004)  # the seq stays open
        elif frame.get("ref") in self.unanswered:
            answer = self.unanswered.pop(frame["ref"])[1]
            if not answer.done(): answer.set_exception(error) if error else answer.set_result(frame["result"])

    async def _on_welcome(self, socket, welcome):
        self.agent["id"], self.session, written = welcome["agent"]["id"], welcome["session"], 0
        self.silence = sum(welcome["heartbeat"].values()) / 1000
        if not welcome["resumed"] and self.seq:  # the hub has forgotten this agent and its numbers: hello once more
            self.producer = None
            raise MeshError("forgotten", "the registration was gone", retryable=True)
        while written < self.seq:  # what is sent meanwhile joins the end
            written += 1
            if written in self.unanswered:
                await socket.send(json.dumps({**self.unanswered[written][0], "ref": written, "seq": written}))
        self.socket = socket
        if not self.welcomed.done(): self.welcomed.set_result(self)

    async def _handle(self, message):
        async with self.turn:  # one after the other, in order
            outcome = {"type": "ack", "ids": [message["id"]]}
            try:
                reply = None if not self.handler or message["id"] in self.processed else await self.handler(message)
                if reply is not None and message["messageType"] == "query":
                    key = message.get("correlationId", message["id"])
                    await self.send(message["from"], reply, "response", correlationId=key)
                self.processed.append(message["id"])
            except Exception as error:
                outcome = {"type": "nack", "id": message["id"], "delayMs": 1000, "reason": str(error)[:256]}
            await self._write(outcome)

    async def _write(self, frame):  # without a connection not at all: what matters is said again on the next one
        with contextlib.suppress(websockets.ConnectionClosed):
            if self.socket: await self.socket.send(json.dumps(frame))
