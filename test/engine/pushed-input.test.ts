import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import {
  type CloseInfo,
  compose,
  connect,
  type HalyardError,
  handleUpgrades,
  type Logger,
  prepareMessage,
  type SocketOptions,
  ViolationError,
  type WebSocketConnection,
  type WebSocketRequest,
  webSockets,
} from "halyard";
import type { ByteSink } from "#dist/engine/pushed-input.js";
import type { WriteHandle } from "#dist/engine/socket-writer.js";
import { serveUntilEnd } from "../support/http2.js";
import { keepingLogger, Signal, until } from "../support/network.js";
import { clientFrame, connectionOver, quietLogger, tcpPair } from "../support/socket-pair.js";

/** Keeps what it is given, as text, a message each. */
class Collector implements ByteSink {
  readonly messages: string[] = [];
  readonly ends: (readonly [CloseInfo | undefined, HalyardError | undefined])[] = [];
  drained = 0;
  /** Called for every whole message. */
  onMessage: (text: string) => void = () => {};
  #parts: Buffer[] = [];

  onBytes(chunk: Buffer, start: number, end: number, endsMessage: boolean): void {
    this.#parts.push(Buffer.copyBytesFrom(chunk, start, end - start));
    if (!endsMessage) return;
    const text = Buffer.concat(this.#parts).toString();
    this.#parts = [];
    this.messages.push(text);
    this.onMessage(text);
  }

  onEnd(close: CloseInfo | undefined, error: HalyardError | undefined): void {
    this.ends.push([close, error]);
  }

  onDrained(): void {
    this.drained++;
  }
}

interface Pair {
  readonly server: WebSocketConnection;
  readonly client: WebSocketConnection;
}

/** Both ends of a WebSocket that was opened by a request. */
async function opened(t: TestContext, options: SocketOptions, isHttp2: boolean): Promise<Pair> {
  const accepted = new Signal<WebSocketConnection>("the accepted socket");
  const listener = compose([
    webSockets({ logger: quietLogger, ...options }),
    async (request: WebSocketRequest) => {
      const socket = await request.webSockets.accept();
      accepted.fire(socket);
      await socket.closed;
    },
  ]);
  const server = isHttp2 ? createHttp2Server(listener) : createServer(listener);
  handleUpgrades(server, { logger: quietLogger });
  const port = await serveUntilEnd(t, server);
  const { compression = false } = options;
  const client = await connect(`ws://127.0.0.1:${port}`, { http2: isHttp2, compression });
  t.after(() => client.abort());
  return { server: await accepted.wait(), client };
}

const compression = { threshold: 8 };
const transports = [
  {
    name: "TCP",
    pair: (t: TestContext, options: SocketOptions = {}) => opened(t, options, false),
  },
  {
    name: "TCP, compressed",
    pair: (t: TestContext, options: SocketOptions = {}) =>
      opened(t, { compression, ...options }, false),
  },
  {
    name: "HTTP/2",
    pair: (t: TestContext, options: SocketOptions = {}) => opened(t, options, true),
  },
  {
    name: "HTTP/2, compressed",
    pair: (t: TestContext, options: SocketOptions = {}) =>
      opened(t, { compression, ...options }, true),
  },
];

/** A server's end with a sink, and the bare TCP socket of a client. */
async function consumed(
  options: SocketOptions = {},
): Promise<{ server: WebSocketConnection; client: Socket; sink: Collector }> {
  const { left, right } = await tcpPair();
  const server = connectionOver(left, "server", options);
  const sink = new Collector();
  server.consume(sink);
  return { server, client: right, sink };
}

const long = "abc語 ".repeat(20_000);

for (const { name, pair } of transports) {
  describe(`a sink, over ${name}`, () => {
    it("is given every message's bytes in order, and the Close once", async (t) => {
      const { server, client } = await pair(t);
      const sink = new Collector();
      server.consume(sink);
      const sent = ["one", "", "語", long, "last"];
      for (const text of sent) void client.send(text);
      void client.send(Buffer.from("bytes"));
      const closed = client.close(3001, "bye");
      await until(() => sink.ends.length > 0, "the end");
      assert.deepEqual(sink.messages, [...sent, "bytes"]);
      assert.deepEqual(sink.ends, [[{ status: 3001, description: "bye" }, undefined]]);
      await server.close(3001);
      await closed;
      assert.equal(client.closeStatus, 3001);
      assert.equal(sink.ends.length, 1);
    });

    it("is given what was unread first", async (t) => {
      const { server, client } = await pair(t);
      const first = await Promise.all([client.send("early"), server.receive()]);
      assert.equal(first[1].data, "early");
      for (let index = 0; index < 100; index++) void client.send(`message ${index}`);
      await client.ping();
      const sink = new Collector();
      server.consume(sink);
      void client.send("late");
      await until(() => sink.messages.at(-1) === "late", "the last message");
      assert.equal(sink.messages.length, 101);
      assert.equal(sink.messages[0], "message 0");
      assert.equal(sink.messages[99], "message 99");
    });

    it("gets nothing while it is paused, and all of it afterwards", async (t) => {
      const { server, client } = await pair(t, { maxSendBuffer: 1 << 26 });
      const sink = new Collector();
      server.consume(sink);
      sink.onMessage = () => server.pauseInput();
      const count = 300;
      for (let index = 0; index < count; index++) void client.send(`${index} ${"x".repeat(2000)}`);
      for (let seen = 1; seen <= count; seen++) {
        await until(() => sink.messages.length === seen, `message ${seen}`);
        if (seen % 50 === 0) {
          for (let pass = 0; pass < 20; pass++) await turn();
          assert.equal(sink.messages.length, seen);
        }
        server.resumeInput();
      }
      assert.deepEqual(
        sink.messages.map((text) => Number.parseInt(text, 10)),
        Array.from({ length: count }, (_, index) => index),
      );
    });

    it("has its bytes to itself while it sends others", async (t) => {
      const { server, client } = await pair(t);
      const sink = new Collector();
      const { onBytes } = sink;
      sink.onBytes = (chunk, start, end, endsMessage) => {
        server.post("an answer ".repeat(200), "text");
        onBytes.call(sink, chunk, start, end, endsMessage);
      };
      server.consume(sink);
      const sent = ["first ", "second ", "third "].map((word) => word.repeat(100));
      for (const text of sent) await client.send(text);
      for (const _ of sent) assert.equal((await client.receive()).data, "an answer ".repeat(200));
      assert.deepEqual(sink.messages, sent);
    });

    it("ends with an error when the connection is aborted or lost", async (t) => {
      for (const who of ["server", "client"] as const) {
        const both = await pair(t);
        const sink = new Collector();
        both.server.consume(sink);
        both[who].abort();
        await until(() => sink.ends.length > 0, "the end");
        const [close, error] = sink.ends[0] ?? [];
        assert.equal(close, undefined);
        assert.equal(error?.code, who === "server" ? "ERR_ABORTED" : "ERR_CONNECTION_LOST");
        await both.server.closed;
        assert.equal(sink.ends.length, 1);
      }
    });

    it("that throws ends its connection with 1011 and disturbs nobody else", async (t) => {
      const logger = keepingLogger();
      const { server, client } = await pair(t, { logger });
      const sink = new Collector();
      sink.onMessage = () => {
        throw new Error("in onBytes");
      };
      const { onEnd } = sink;
      sink.onEnd = (close, error) => {
        onEnd.call(sink, close, error);
        throw new Error("in onEnd");
      };
      server.consume(sink);
      void client.send("one");
      void client.send("two");
      assert.equal((await client.receive()).type, "close");
      assert.equal(client.closeStatus, 1011);
      assert.deepEqual(sink.messages, ["one"]);
      assert.equal(sink.ends[0]?.[1]?.code, "ERR_ABORTED");
      assert.equal(server.state, "aborted");
      const errors = logger.lines.filter(({ level }) => level === "error");
      assert.deepEqual(
        errors.map(({ details }) => (details as { error: Error }).error.message),
        ["in onBytes", "in onEnd"],
      );
    });
  });

  describe(`posting, over ${name}`, () => {
    it("sends strings, bytes, ranges and prepared messages in order", async (t) => {
      const { server, client } = await pair(t, { maxSendBuffer: 1 << 26 });
      server.consume(new Collector());
      const source = Buffer.from(`.${long}.`);
      const expected: [string, string][] = [];
      const shared = prepareMessage("for many");
      const sharedLong = prepareMessage(Buffer.from(long));
      for (let round = 0; round < 5; round++) {
        const note = `note ${round}`;
        assert.equal(server.post(note), true);
        assert.equal(server.post(Buffer.from(`bytes ${round}`)), true);
        assert.equal(server.post(Buffer.from("as text"), "text"), true);
        assert.equal(server.postBytes(source, 1, 7, "text"), true);
        assert.equal(server.postBytes(source, 1, source.length - 1, "binary"), true);
        // What was given is copied: it may be used again at once.
        const scratch = Buffer.from("scratch: used again");
        assert.equal(server.postBytes(scratch, 0, scratch.length, "text"), true);
        scratch.fill(0);
        assert.equal(server.post(shared), true);
        assert.equal(server.post(shared), true);
        assert.equal(server.post(sharedLong), true);
        assert.equal(server.post(long), true);
        expected.push(["text", note], ["binary", `bytes ${round}`], ["text", "as text"]);
        expected.push(["text", source.toString("utf8", 1, 7)], ["binary", long]);
        expected.push(["text", "scratch: used again"]);
        expected.push(["text", "for many"], ["text", "for many"]);
        expected.push(["binary", long], ["text", long]);
      }
      for (const [type, text] of expected) {
        const { type: actual, data } = await client.receive();
        assert.equal(actual, type);
        assert.ok(data?.toString() === text, text.slice(0, 20));
      }
    });

    it("is refused when too much waits, until the sink is told that nothing does", async (t) => {
      const { server, client } = await pair(t, { maxSendBuffer: 200_000 });
      const sink = new Collector();
      server.consume(sink);
      // What does not get smaller, so that it counts in full wherever it goes.
      const noise = Buffer.alloc(20_000);
      for (let at = 0; at < noise.length; at++) noise[at] = Math.random() * 256;
      let accepted = 0;
      const deadline = Date.now() + 10_000;
      while (server.postBytes(noise, 0, noise.length, "binary")) {
        accepted++;
        await turn();
        assert.ok(Date.now() < deadline, "never refused");
      }
      assert.ok(server.bufferedAmount > 200_000);
      const before = sink.drained;
      for (let count = 0; count < accepted; count++) await client.receive();
      await until(() => sink.drained > before, "being drained");
      assert.equal(server.bufferedAmount, 0);
      assert.equal(server.post("again"), true);
      assert.equal((await client.receive()).data, "again");
    });

    it("is refused once the connection cannot send", async (t) => {
      const { server, client } = await pair(t);
      server.consume(new Collector());
      await server.closeOutput();
      assert.equal(server.post("late"), false);
      assert.equal(server.postBytes(Buffer.from("late"), 0, 4, "text"), false);
      await client.close();
      await server.closed;
      assert.equal(server.post("later"), false);
    });
  });
}

describe("a sink", () => {
  it("is given pieces as they come, text among them, whatever the reads", async () => {
    const { client, sink, server } = await consumed();
    const bytes = Buffer.concat([
      clientFrame(1, "spl", false),
      clientFrame(9, "ping"),
      clientFrame(0, "it 語"),
      clientFrame(2, Buffer.alloc(300, "x")),
    ]);
    for (const byte of bytes) {
      client.write(Buffer.from([byte]));
      await turn();
    }
    await until(() => sink.messages.length === 2, "two messages");
    assert.deepEqual(sink.messages, ["split 語", "x".repeat(300)]);
    server.abort();
  });

  const violations = [
    { name: "a reserved bit", bytes: Buffer.from([0xf1, 0x80]), status: 1002 },
    { name: "text that is not UTF-8", bytes: clientFrame(1, Buffer.from([0xff])), status: 1007 },
    { name: "a message too large", bytes: clientFrame(2, Buffer.alloc(2000)), status: 1009 },
  ];
  for (const { name, bytes, status } of violations) {
    it(`learns of ${name} behind what came before, which the peer is told of`, async () => {
      const { client, sink, server } = await consumed({ maxMessageSize: 1000 });
      client.write(Buffer.concat([clientFrame(1, "before"), bytes, clientFrame(1, "after")]));
      const received: Buffer[] = [];
      for await (const chunk of client) received.push(chunk as Buffer);
      const answer = Buffer.concat(received);
      assert.equal(answer.readUInt16BE(2), status);
      assert.deepEqual(sink.messages, ["before"]);
      assert.equal(sink.ends.length, 1);
      const error = sink.ends[0]?.[1];
      assert.equal(error instanceof ViolationError && error.closeCode, status);
      assert.equal(server.state, "aborted");
    });
  }

  it("may pause, resume, close and abort from within", async () => {
    const { client, sink, server } = await consumed();
    sink.onMessage = (text) => {
      if (text === "both") {
        server.pauseInput();
        server.resumeInput();
      }
      if (text === "pause") {
        server.pauseInput();
        setImmediate(() => server.resumeInput());
      }
      if (text === "close") void server.close(3000);
    };
    const texts = ["both", "a", "pause", "b", "both", "pause", "both", "c", "close", "dropped"];
    client.write(Buffer.concat(texts.map((text) => clientFrame(1, text))));
    await until(() => sink.messages.at(-1) === "close", "the last message");
    client.end(clientFrame(8, Buffer.from([3, 232])));
    await until(() => sink.ends.length > 0, "the end");
    assert.deepEqual(sink.messages, texts.slice(0, -1));
    assert.deepEqual(sink.ends, [[{ status: 1000, description: "" }, undefined]]);

    const other = await consumed();
    other.sink.onMessage = () => {
      other.server.pauseInput();
      other.server.abort();
    };
    other.client.write(Buffer.concat([clientFrame(1, "a"), clientFrame(1, "b")]));
    await until(() => other.sink.ends.length > 0, "the end");
    assert.deepEqual(other.sink.messages, ["a"]);
  });

  it("that pauses among unread messages gets the rest, and the Close, when it resumes", async () => {
    const { left, right } = await tcpPair();
    const server = connectionOver(left, "server");
    right.write(Buffer.concat(["a", "b", "c"].map((text) => clientFrame(1, text))));
    right.end(clientFrame(8, Buffer.from([3, 232])));
    await until(() => server.state === "closeReceived", "the Close");
    const sink = new Collector();
    sink.onMessage = () => {
      server.pauseInput();
      // Within a call, nothing is handed over a second time or out of turn.
      if (sink.messages.length === 2) server.resumeInput();
    };
    server.consume(sink);
    assert.deepEqual(sink.messages, ["a"]);
    server.resumeInput();
    assert.deepEqual(sink.messages, ["a", "b", "c"]);
    assert.equal(sink.ends.length, 0);
    server.resumeInput();
    assert.deepEqual(sink.ends, [[{ status: 1000, description: "" }, undefined]]);
    server.abort();
  });

  it("that comes when all is over is told so", async () => {
    const { left, right } = await tcpPair();
    const server = connectionOver(left, "server");
    right.write(clientFrame(1, "unread"));
    right.end();
    await server.closed;
    const sink = new Collector();
    server.consume(sink);
    assert.deepEqual(sink.messages, ["unread"]);
    assert.equal(sink.ends[0]?.[1]?.code, "ERR_CONNECTION_LOST");
  });

  it("that comes behind a violation answers it", async () => {
    const { left, right } = await tcpPair();
    const server = connectionOver(left, "server", { closeTimeout: 60_000 });
    right.write(Buffer.concat([clientFrame(1, "unread"), Buffer.from([0xf1, 0x80])]));
    const first = server.receive();
    assert.equal((await first).data, "unread");
    await turn();
    const sink = new Collector();
    server.consume(sink);
    const [answer] = (await new Promise((resolve) =>
      right.once("data", (...chunk) => resolve(chunk)),
    )) as Buffer[];
    assert.equal(answer?.readUInt16BE(2), 1002);
    assert.equal(sink.ends.length, 1);
    right.destroy();
  });

  it("is the only one, and no receive is beside it", async () => {
    const { server, client, sink } = await consumed();
    const pending = (error: unknown) => (error as { code: string }).code === "ERR_RECEIVE_PENDING";
    assert.throws(() => server.consume(sink), pending);
    await assert.rejects(server.receive(), pending);
    server.abort();
    client.destroy();

    const { left } = await tcpPair();
    const other = connectionOver(left, "server");
    void other.receive();
    assert.throws(() => other.consume(sink), pending);
    other.abort();
  });

  it("paused for longer than the keep-alive allows keeps its connection", async () => {
    const { server, client, sink } = await consumed({
      keepAliveInterval: 20,
      keepAliveTimeout: 20,
    });
    server.pauseInput();
    let pings = 0;
    client.on("data", () => {
      pings++;
    });
    await until(() => pings >= 3, "three pings");
    assert.equal(server.state, "open");
    client.write(clientFrame(1, "still here"));
    server.resumeInput();
    await until(() => sink.messages.length === 1, "the message");
    server.abort();
  });

  it("is told of a throwing onDrained's end too", async () => {
    const logger: Logger & { lines: unknown[] } = keepingLogger();
    const { server, client, sink } = await consumed({ logger, maxSendBuffer: 1 << 26 });
    sink.onDrained = () => {
      throw new Error("in onDrained");
    };
    client.pause();
    while (server.bufferedAmount === 0) {
      server.post(Buffer.alloc(60_000));
      await turn();
    }
    client.resume();
    await until(() => sink.ends.length > 0, "the end");
    assert.equal(sink.ends[0]?.[1]?.code, "ERR_ABORTED");
    assert.equal(logger.lines.length, 1);
  });
});

describe("a prepared message for many", () => {
  it("arrives at each of them, one at a time and several in a turn", async (t) => {
    const pairs: Pair[] = [];
    for (const { pair } of transports) {
      for (let index = 0; index < 5; index++) pairs.push(await pair(t));
    }
    for (const count of [1, 2, 7]) {
      for (let index = 0; index < count; index++) {
        const message = prepareMessage(`${count} ${index} ${"-".repeat(300)}`);
        for (const { server } of pairs) assert.equal(server.post(message), true);
      }
      for (const { client } of pairs) {
        for (let index = 0; index < count; index++) {
          const { data } = await client.receive();
          assert.equal(data, `${count} ${index} ${"-".repeat(300)}`);
        }
      }
    }
  });

  it("leaves in one write, however many there are in a turn", async () => {
    const { left, right } = await tcpPair();
    const server = connectionOver(left, "server");
    const written: Uint8Array[] = [];
    const socket = left as unknown as { _handle: WriteHandle };
    const { writeBuffer } = socket._handle;
    socket._handle.writeBuffer = (request, chunk) => {
      written.push(chunk);
      return writeBuffer.call(socket._handle, request, chunk);
    };
    const message = prepareMessage("for many");
    server.post(message);
    await turn();
    assert.equal(written.length, 1);
    assert.equal(written[0], message.frame());
    for (let index = 0; index < 10; index++) server.post(message);
    await turn();
    assert.equal(written.length, 2);
    assert.equal(written[1]?.length, 10 * message.frame().length);
    right.destroy();
    server.abort();
  });
});
