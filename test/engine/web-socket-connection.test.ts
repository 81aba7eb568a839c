import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import test, { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import {
  ConnectionClosedError,
  InvalidStateError,
  MemoryBudget,
  MessageTooBigError,
  ProtocolError,
  SendBufferFullError,
} from "halyard";
import {
  clientFrame,
  connectionOver,
  serverAndRawClient,
  socketPair,
  tcpPair,
} from "../support/socket-pair.js";

const code = (expected: string) => (error: unknown) =>
  (error as { code?: string } | undefined)?.code === expected;

/** Everything a raw client received until the server ended its direction. */
async function readAll(client: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of client) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Resolves when `isTrue`, looking once per turn of the event loop; fails after 5 seconds. */
async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!isTrue()) {
    assert.ok(performance.now() < deadline, `waited too long until ${what}`);
    await turn();
  }
}

describe("whole messages", () => {
  it("come by for await, in order, with their types", async () => {
    const { server, client } = await socketPair();
    void client.send("text");
    void client.send(new Uint8Array([1, 2, 3]));
    void client.send(new Uint8Array([4, 5]).buffer);
    void client.send(new DataView(new Uint8Array([6, 7, 8, 9]).buffer, 1, 2));
    void client.send("");
    const closed = client.close(1000, "done");
    const seen: unknown[] = [];
    for await (const { type, data } of server) {
      seen.push(type === "text" ? data : [...data]);
    }
    await closed;
    assert.deepEqual(seen, ["text", [1, 2, 3], [4, 5], [7, 8], ""]);
    assert.equal(server.closeStatus, 1000);
    assert.equal(server.closeStatusDescription, "done");
    assert.equal(server.state, "closed");
    assert.equal(client.state, "closed");
  });

  it("come by receive, and the Close behind the last one", async () => {
    const { server, client } = await socketPair();
    void client.send("one");
    void client.closeOutput(3000, "bye");
    assert.deepEqual(await server.receive(), { type: "text", data: "one" });
    assert.deepEqual(await server.receive(), { type: "close", status: 3000, description: "bye" });
    assert.equal(server.state, "closeReceived");
    await server.send("still allowed");
    await server.close(3001, "bye too");
    assert.equal(server.state, "closed");
    assert.deepEqual(await client.receive(), { type: "text", data: "still allowed" });
    assert.deepEqual(await client.receive(), {
      type: "close",
      status: 3001,
      description: "bye too",
    });
    assert.equal(client.state, "closed");
  });

  it("are put together from fragments, with control frames between", async () => {
    const { server, client } = await serverAndRawClient();
    client.write(clientFrame(1, "frag", false));
    client.write(clientFrame(9, "ping"));
    client.write(clientFrame(0, "", false));
    client.write(clientFrame(0, "ment", true));
    assert.deepEqual(await server.receive(), { type: "text", data: "fragment" });
    server.abort();
  });

  for (const size of [1, 4_095, 65_536, 1_000_000]) {
    it(`of ${size} bytes arrive whole in both directions`, async () => {
      const { server, client } = await socketPair();
      const bytes = Buffer.alloc(size, "abcdefg");
      const reply = server
        .receive()
        .then(({ data }) => server.send(data as Buffer))
        .then(() => server.send(bytes.toString()));
      await client.send(bytes);
      const binary = await client.receive();
      const text = await client.receive();
      await reply;
      assert.ok(bytes.equals(binary.data as Buffer));
      assert.equal(text.data, bytes.toString());
      client.abort();
    });
  }

  it("can be left and taken up again: a break does not close", async () => {
    const { server, client } = await socketPair();
    void client.send("1");
    void client.send("2");
    for await (const message of server) {
      assert.equal(message.data, "1");
      break;
    }
    assert.equal(server.state, "open");
    assert.equal((await server.receive()).data, "2");
    client.abort();
  });

  it("are received by one at a time", async () => {
    const { server, client } = await socketPair();
    const first = server.receive();
    await assert.rejects(server.receive(), code("ERR_RECEIVE_PENDING"));
    await client.send("x");
    assert.equal((await first).data, "x");
    client.abort();
  });
});

describe("piecewise receive", () => {
  it("fills the buffer or ends with the frame, as ASP.NET's does", async () => {
    const { server, client } = await serverAndRawClient();
    const buffer = new Uint8Array(4);
    client.write(clientFrame(1, "abcdef", false));
    client.write(clientFrame(0, "gh", true));
    client.write(clientFrame(2, "wxyz", true));
    client.write(clientFrame(1, "", true));
    client.write(clientFrame(8, Buffer.from([0x03, 0xe8])));
    const rows = [
      ["abcd", "text", false],
      ["ef", "text", false],
      ["gh", "text", true],
      ["wxyz", "binary", true],
      ["", "text", true],
      ["", "close", true],
    ] as const;
    for (const [bytes, type, endOfMessage] of rows) {
      const result = await server.receive(buffer);
      assert.deepEqual(result, { count: bytes.length, type, endOfMessage });
      assert.equal(Buffer.from(buffer.subarray(0, result.count)).toString(), bytes);
    }
    server.abort();
  });

  it("waits until the buffer is full or the frame is complete", async () => {
    const { server, client } = await serverAndRawClient();
    const frame = clientFrame(1, "abcdef");
    const result = server.receive(new Uint8Array(5));
    let isSettled = false;
    void result.then(() => {
      isSettled = true;
    });
    client.write(frame.subarray(0, frame.length - 3));
    const probe = client.write(frame.subarray(frame.length - 3, frame.length - 2));
    assert.ok(probe);
    await turn();
    assert.equal(isSettled, false);
    client.write(frame.subarray(frame.length - 2));
    assert.deepEqual(await result, { count: 5, type: "text", endOfMessage: false });
    server.abort();
  });

  it("with an empty buffer waits for data and takes none", async () => {
    const { server, client } = await serverAndRawClient();
    const waiting = server.receive(new Uint8Array(0));
    client.write(clientFrame(1, "hello"));
    assert.deepEqual(await waiting, { count: 0, type: "text", endOfMessage: false });
    assert.deepEqual(await server.receive(new Uint8Array(0)), {
      count: 0,
      type: "text",
      endOfMessage: false,
    });
    assert.equal((await server.receive()).data, "hello");
    client.write(clientFrame(2, ""));
    assert.deepEqual(await server.receive(new Uint8Array(0)), {
      count: 0,
      type: "binary",
      endOfMessage: true,
    });
    server.abort();
  });

  it("and whole receive share a message", async () => {
    const { server, client } = await serverAndRawClient();
    client.write(clientFrame(1, "begin ", false));
    client.write(clientFrame(0, "and end", true));
    assert.equal((await server.receive(new Uint8Array(3))).count, 3);
    assert.deepEqual(await server.receive(), { type: "text", data: "in and end" });
    server.abort();
  });
});

describe("aborting a receive by its signal", () => {
  it("leaves the socket alive and loses no byte of a whole message", async () => {
    const { server, client } = await serverAndRawClient();
    const controller = new AbortController();
    const receive = server.receive({ signal: controller.signal });
    const frame = clientFrame(1, "abcdefghij");
    client.write(frame.subarray(0, 10));
    await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort(new Error("enough"));
    await assert.rejects(receive, /enough/);
    client.write(frame.subarray(10));
    assert.deepEqual(await server.receive(), { type: "text", data: "abcdefghij" });
    assert.equal(server.state, "open");
    server.abort();
  });

  it("loses no byte of a piecewise one either", async () => {
    const { server, client } = await serverAndRawClient();
    const controller = new AbortController();
    const receive = server.receive(new Uint8Array(10), { signal: controller.signal });
    const frame = clientFrame(2, "0123456789");
    client.write(frame.subarray(0, 10));
    await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort();
    await assert.rejects(receive, { name: "AbortError" });
    client.write(frame.subarray(10));
    const buffer = Buffer.alloc(10);
    let count = 0;
    while (count < 10) count += (await server.receive(buffer.subarray(count))).count;
    assert.equal(buffer.toString(), "0123456789");
    server.abort();
  });

  it("does nothing when the signal fired before, or fires later", async () => {
    const { server, client } = await socketPair();
    await assert.rejects(server.receive({ signal: AbortSignal.abort() }), { name: "AbortError" });
    const controller = new AbortController();
    const receive = server.receive({ signal: controller.signal });
    await client.send("x");
    assert.equal((await receive).data, "x");
    controller.abort();
    await client.send("y");
    assert.equal((await server.receive()).data, "y");
    client.abort();
  });
});

describe("sending", () => {
  it("splits a message into fragments of any type of data", async () => {
    const { server, client } = await socketPair();
    void client.send("a", { endOfMessage: false });
    void client.send(Buffer.from("b"), { endOfMessage: false });
    void client.ping().catch(() => {});
    void client.send("", { endOfMessage: true });
    void client.send(Buffer.from("text by bytes"), { type: "text" });
    assert.deepEqual(await server.receive(), { type: "text", data: "ab" });
    assert.deepEqual(await server.receive(), { type: "text", data: "text by bytes" });
    client.abort();
  });

  it("puts U+FFFD for a lone surrogate, in short and in long text", async () => {
    const { server, client } = await socketPair();
    for (const [text, expected] of [
      ["\ud800x", "\ufffdx"],
      ["é\udc00".repeat(30_000), "é\ufffd".repeat(30_000)],
    ] as const) {
      void client.send(text);
      assert.equal((await server.receive()).data, expected);
    }
    client.abort();
  });

  it("refuses what is no data, and sends nothing", async () => {
    const { server, client } = await socketPair();
    for (const wrong of [undefined, null, 5, {}, ["x"]]) {
      await assert.rejects(client.send(wrong as unknown as string), TypeError);
    }
    await client.send("after");
    assert.equal((await server.receive()).data, "after");
    client.abort();
  });

  it("waits while the peer does not read, and goes on when it does", async () => {
    const { server, client } = await socketPair({}, { receiveWindow: 1024 });
    const chunk = Buffer.alloc(64 * 1024, 1);
    let sent = 0;
    let isWaiting = false;
    const sender = (async () => {
      for (; sent < 400; sent++) {
        const sending = server.send(chunk);
        isWaiting = true;
        await sending;
        isWaiting = false;
      }
      await server.close();
    })();
    // Kernel buffers take some; 25 MB they do not.
    let before = -1;
    while (before !== sent || sent === 0) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.ok(isWaiting && sent < 400, `${sent} messages were sent to nobody`);
    let received = 0;
    for await (const message of client) received += message.data.length;
    await sender;
    assert.equal(received, 400 * chunk.length);
  });

  it("is refused beyond maxSendBuffer; what was accepted arrives", async () => {
    const { server, client } = await socketPair(
      { maxSendBuffer: 256 * 1024 },
      { receiveWindow: 1 },
    );
    const text = "x".repeat(10_000);
    let accepted = 0;
    let refused: unknown;
    while (refused === undefined) {
      await Promise.race([
        server.send(text).then(
          () => accepted++,
          (error) => {
            if (refused === undefined) refused = error;
          },
        ),
        turn(),
      ]);
      assert.ok(server.bufferedAmount < 400 * 1024);
    }
    assert.ok(refused instanceof SendBufferFullError);
    assert.equal(server.state, "open");
    let received = 0;
    const reader = (async () => {
      for await (const _ of client) received++;
    })();
    await until(() => server.bufferedAmount === 0, "all was written");
    await server.close();
    await reader;
    assert.ok(received >= accepted && accepted > 0, `${received} of ${accepted} arrived`);
  });

  it("never becomes an unhandled rejection", async () => {
    const unhandled: unknown[] = [];
    const listener = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", listener);
    const { server, client } = await socketPair();
    void server.receive();
    void server.ping();
    client.abort();
    await until(() => server.state === "aborted", "the loss was noticed");
    void server.send("x");
    void server.ping();
    void server.closeOutput();
    void server.receive();
    void server.close(1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.off("unhandledRejection", listener);
    assert.deepEqual(unhandled, []);
  });

  it("lets the sender use its buffer again once the promise is settled", async () => {
    const { server, client } = await socketPair();
    const buffer = Buffer.alloc(100_000);
    const sender = (async () => {
      for (let round = 0; round < 50; round++) {
        buffer.fill(round);
        await server.send(buffer);
      }
      await server.close();
    })();
    let round = 0;
    for await (const { data } of client) {
      assert.ok(
        (data as Buffer).every((byte) => byte === round),
        `message ${round} was changed`,
      );
      round++;
    }
    await sender;
    assert.equal(round, 50);
  });

  it("gives up waiting by its signal, and refuses one that fired before", async () => {
    const { server, client } = await socketPair(
      { maxSendBuffer: 100_000_000 },
      { receiveWindow: 1 },
    );
    await assert.rejects(server.send("x", { signal: AbortSignal.abort() }), { name: "AbortError" });
    void server.send(Buffer.alloc(20_000_000));
    const controller = new AbortController();
    const sending = server.send("late", { signal: controller.signal });
    controller.abort();
    await assert.rejects(sending, { name: "AbortError" });
    assert.equal(server.state, "open");
    client.abort();
  });
});

describe("back-pressure in", () => {
  it("stops reading from TCP at the receive window", async () => {
    const { server, client } = await serverAndRawClient({ receiveWindow: 16 * 1024 });
    const frame = clientFrame(2, Buffer.alloc(1000));
    let written = 0;
    while (client.write(frame)) written += frame.length;
    for (let round = 0; round < 5000; round++) client.write(frame);
    await new Promise((resolve) => setTimeout(resolve, 200));
    // 5 MB were offered: most of them still lie with the client and the kernel.
    const before = client.writableLength;
    assert.ok(before > 0, "everything was read though nobody received");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(client.writableLength, before);
    client.write(clientFrame(8));
    let count = 0;
    for await (const message of server) count += message.data.length;
    assert.ok(count >= 5_000_000 && count % 1000 === 0);
    assert.equal(server.state, "closed");
    assert.ok(written >= 0);
  });

  it("counts what small messages cost, and loses none", async () => {
    const { server, client } = await serverAndRawClient();
    const frames = Buffer.concat(Array.from({ length: 20_000 }, (_, n) => clientFrame(1, `${n}`)));
    client.write(frames);
    await new Promise((resolve) => setTimeout(resolve, 50));
    client.write(clientFrame(8));
    let expected = 0;
    for await (const { data } of server) assert.equal(data, `${expected++}`);
    assert.equal(expected, 20_000);
  });

  it("lets a pending receive gather beyond the window", async () => {
    const { server, client } = await socketPair({ receiveWindow: 1024 });
    void client.send(Buffer.alloc(500_000, 7));
    const { data } = await server.receive();
    assert.equal(data?.length, 500_000);
    client.abort();
  });

  it("counts what all sockets hold, and answers 1013 beyond the budget", async () => {
    const memoryBudget = new MemoryBudget(300_000);
    const first = await serverAndRawClient({ memoryBudget });
    const second = await serverAndRawClient({ memoryBudget });
    const half = clientFrame(2, Buffer.alloc(200_000)).subarray(0, 190_000);
    const one = first.server.receive();
    const two = second.server.receive();
    first.client.write(half);
    await until(() => memoryBudget.used > 180_000, "the first message was counted");
    second.client.write(half);
    await assert.rejects(two, code("ERR_OVERLOAD"));
    const answer = await readAll(second.client);
    assert.deepEqual([...answer], [0x88, 2, 1013 >> 8, 1013 & 0xff]);
    first.client.write(Buffer.alloc(200_014 - 190_000));
    assert.equal((await one).data?.length, 200_000);
    await until(() => memoryBudget.used === 0, "all was given back");
    first.server.abort();
  });
});

describe("violations", () => {
  const rows = [
    { name: "reserved bits", bytes: [0xf1, 0x80, 0, 0, 0, 0], status: 1002, type: ProtocolError },
    { name: "no mask", bytes: [0x81, 0x00], status: 1002, type: ProtocolError },
    {
      name: "text that is not UTF-8",
      bytes: [0x81, 0x81, 0, 0, 0, 0, 0xff],
      status: 1007,
      type: ProtocolError,
    },
    {
      name: "a message over the limit",
      bytes: [0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0],
      status: 1009,
      type: MessageTooBigError,
    },
  ];
  for (const { name, bytes, status, type } of rows) {
    it(`${name}: ${status}, and receive throws`, async () => {
      const { server, client } = await serverAndRawClient();
      const receive = server.receive();
      client.write(Buffer.from(bytes));
      await assert.rejects(receive, type);
      assert.deepEqual([...(await readAll(client))], [0x88, 2, status >> 8, status & 0xff]);
      assert.equal(server.state, "aborted");
      await assert.rejects(server.send("x"), type);
      assert.equal(server.closeStatus, undefined);
    });
  }

  it("come after the messages before them", async () => {
    const { server, client } = await serverAndRawClient();
    client.write(Buffer.concat([clientFrame(1, "good"), Buffer.from([0xff, 0xff])]));
    const seen: unknown[] = [];
    await assert.rejects(async () => {
      for await (const { data } of server) {
        seen.push(data);
        await server.send("echo");
      }
    }, ProtocolError);
    assert.deepEqual(seen, ["good"]);
    const answer = await readAll(client);
    assert.equal(answer.toString("latin1"), "\x81\x04echo\x88\x02\x03\xea");
  });

  it("are answered after closeTimeout when nobody receives, and by close at once", async () => {
    const slow = await serverAndRawClient({ closeTimeout: 50 });
    slow.client.write(Buffer.concat([clientFrame(1, "unread"), Buffer.from([0xff, 0xff])]));
    assert.deepEqual([...(await readAll(slow.client))], [0x88, 2, 0x03, 0xea]);
    assert.equal((await slow.server.receive()).data, "unread");
    await assert.rejects(slow.server.receive(), ProtocolError);

    const quick = await serverAndRawClient();
    quick.client.write(Buffer.concat([clientFrame(1, "unread"), Buffer.from([0xff, 0xff])]));
    await quick.server.receive();
    await quick.server.close(1000);
    assert.deepEqual([...(await readAll(quick.client))], [0x88, 2, 0x03, 0xea]);
  });
});

describe("closing", () => {
  it("answers an empty Close with an empty Close", async () => {
    const { server, client } = await serverAndRawClient();
    client.write(clientFrame(8));
    for await (const _ of server) assert.fail("no message was sent");
    assert.equal(server.closeStatus, 1005);
    assert.equal(server.closeStatusDescription, "");
    assert.deepEqual([...(await readAll(client))], [0x88, 0]);
  });

  it("drops what is unread and ends a waiting receive", async () => {
    const { server, client } = await socketPair();
    void client.send("unread");
    const answered = (async () => {
      for await (const _ of client);
    })();
    await until(() => true, "now");
    const waiting = client.receive().catch((error) => error);
    assert.ok((await waiting) instanceof InvalidStateError);
    const loop = (async () => {
      const seen: unknown[] = [];
      for await (const { data } of server) seen.push(data);
      return seen;
    })();
    await server.close(4000, "enough");
    await answered;
    assert.ok((await loop).length <= 1);
    assert.equal(client.closeStatus, 4000);
    assert.equal(server.state, "closed");
    await server.close();
    await assert.rejects(server.send("x"), ConnectionClosedError);
  });

  it("may be done by both sides at once", async () => {
    const { server, client } = await socketPair();
    await Promise.all([server.close(3001), client.close(3002)]);
    assert.equal(server.state, "closed");
    assert.equal(client.state, "closed");
    assert.deepEqual([server.closeStatus, client.closeStatus], [3002, 3001]);
  });

  it("refuses codes and descriptions that may not be sent", async () => {
    const { server, client } = await socketPair();
    for (const status of [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 1.5, Number.NaN]) {
      await assert.rejects(server.close(status), RangeError);
      await assert.rejects(server.closeOutput(status), RangeError);
    }
    await assert.rejects(server.close(1000, "é".repeat(62)), RangeError);
    await assert.rejects(server.close(1005, "why"), RangeError);
    assert.equal(server.state, "open");
    client.abort();
  });

  it("gives up on a peer that does not answer", async () => {
    const { server, client } = await serverAndRawClient({ closeTimeout: 60_000 });
    const receive = server.receive();
    await server.close(1000, "", { timeout: 30 });
    assert.equal(server.state, "aborted");
    await assert.rejects(receive, code("ERR_CLOSE_TIMEOUT"));
    client.resume();
    await once(client, "close");
  });

  it("gives up by its signal", async () => {
    const { server } = await serverAndRawClient();
    const controller = new AbortController();
    const closing = server.close(1000, "", { signal: controller.signal });
    controller.abort(new Error("no time"));
    await assert.rejects(closing, /no time/);
    assert.equal(server.state, "aborted");
  });

  it("by closeOutput goes on receiving, and refuses to send", async () => {
    const { server, client } = await socketPair();
    await server.closeOutput(1000, "no more from me");
    assert.equal(server.state, "closeSent");
    await assert.rejects(server.send("x"), code("ERR_CLOSE_SENT"));
    await assert.rejects(server.closeOutput(), code("ERR_CLOSE_SENT"));
    assert.equal((await client.receive()).type, "close");
    await client.send("last words");
    const closing = client.close(1000, "ok");
    assert.equal((await server.receive()).data, "last words");
    assert.equal((await server.receive()).type, "close");
    await closing;
    assert.equal(server.state, "closed");
  });

  it("is done for an application that received the Close and does nothing", async () => {
    const { server, client } = await serverAndRawClient({ closeTimeout: 40 });
    client.write(clientFrame(8, Buffer.from([0x0b, 0xb8])));
    assert.equal((await server.receive()).type, "close");
    assert.deepEqual([...(await readAll(client))], [0x88, 2, 0x0b, 0xb8]);
    assert.equal(server.state, "closed");
  });

  it("works for a peer that ends its direction right after its Close", async () => {
    const { server, client } = await serverAndRawClient();
    client.end(clientFrame(8, Buffer.from([0x03, 0xe8])));
    for await (const _ of server);
    assert.equal(server.state, "closed");
    assert.deepEqual([...(await readAll(client))], [0x88, 2, 0x03, 0xe8]);
  });

  it("happens at the end of an await using block", async () => {
    const { server, client } = await socketPair();
    const reader = (async () => {
      for await (const _ of client);
    })();
    await (async () => {
      await using socket = server;
      await socket.send("x");
    })();
    await reader;
    assert.equal(client.closeStatus, 1000);
    assert.equal(server.state, "closed");
  });

  it("ends TCP within closeTimeout though the peer keeps its direction open", async () => {
    const { server, client } = await serverAndRawClient({ closeTimeout: 50 });
    client.write(clientFrame(8));
    for await (const _ of server);
    await server.whenGone();
    assert.equal(client.writable, true);
    client.destroy();
  });
});

describe("loss", () => {
  it("makes receive and send fail with ERR_CONNECTION_LOST", async () => {
    const { server, client } = await serverAndRawClient();
    const receive = server.receive();
    client.end();
    await assert.rejects(receive, (error: ConnectionClosedError) => {
      assert.equal(error.code, "ERR_CONNECTION_LOST");
      assert.equal(error.closeReceived, undefined);
      return true;
    });
    await assert.rejects(server.send("x"), code("ERR_CONNECTION_LOST"));
    assert.equal(server.state, "aborted");
  });

  it("comes after the messages that arrived before it", async () => {
    const { server, client } = await serverAndRawClient();
    client.end(
      Buffer.concat([
        clientFrame(1, "1"),
        clientFrame(1, "2"),
        clientFrame(1, "cut").subarray(0, 7),
      ]),
    );
    await until(() => server.state === "aborted", "the end was seen");
    assert.equal((await server.receive()).data, "1");
    assert.equal((await server.receive()).data, "2");
    await assert.rejects(server.receive(), code("ERR_CONNECTION_LOST"));
  });

  it("by abort is ERR_ABORTED here and an end without Close there", async () => {
    const { server, client } = await socketPair();
    const receive = server.receive();
    const other = client.receive();
    server.abort();
    await assert.rejects(receive, code("ERR_ABORTED"));
    await assert.rejects(other, code("ERR_CONNECTION_LOST"));
    assert.equal(server.state, "aborted");
    server.abort();
  });

  it("tells what was sent and received of the closing handshake", async () => {
    const { server, client } = await socketPair();
    await client.closeOutput(3000, "a");
    await server.receive();
    await server.close(3001, "b");
    await assert.rejects(server.send("x"), (error: ConnectionClosedError) => {
      assert.deepEqual(error.closeReceived, { status: 3000, description: "a" });
      assert.deepEqual(error.closeSent, { status: 3001, description: "b" });
      assert.equal(error.receivedFirst, true);
      return true;
    });
  });
});

describe("endHandler", () => {
  const rows = [
    { name: "a return closes with 1000", error: undefined, status: 1000 },
    { name: "a throw closes with 1011", error: new Error("mine"), status: 1011 },
  ];
  for (const { name, error, status } of rows) {
    it(name, async () => {
      const { server, client } = await socketPair();
      const ended = server.endHandler(error);
      assert.equal(((await client.receive()) as { status: number }).status, status);
      await client.close();
      await ended;
    });
  }

  it("answers the peer's Close with the peer's status", async () => {
    const { server, client } = await socketPair();
    const closing = client.close(3333, "mine");
    assert.equal((await server.receive()).type, "close");
    await server.endHandler();
    await closing;
    assert.deepEqual([client.closeStatus, client.closeStatusDescription], [3333, "mine"]);
  });

  it("knows its own failure from the application's error", async () => {
    const { server, client } = await socketPair();
    client.abort();
    const failure = await server.receive().catch((error) => error);
    assert.ok(server.isOwnFailure(failure));
    assert.ok(!server.isOwnFailure(new Error("other")) && !server.isOwnFailure(undefined));
    await server.endHandler(failure);
  });
});

describe("web streams", () => {
  it("carry messages both ways with back-pressure", async () => {
    const { server, client } = await socketPair({ receiveWindow: 4096 });
    const echoed = server.readable.pipeTo(server.writable);
    const writer = client.writable.getWriter();
    const sender = (async () => {
      for (let n = 0; n < 200; n++) await writer.write(n % 2 ? `${n}` : Buffer.alloc(10_000, n));
    })();
    let n = 0;
    for await (const chunk of client.readable as unknown as AsyncIterable<string | Uint8Array>) {
      if (n % 2) assert.equal(chunk, `${n}`);
      else assert.equal((chunk as Uint8Array).length, 10_000);
      if (++n === 200) break;
    }
    await sender;
    await client.close();
    await echoed;
    assert.equal(server.state, "closed");
  });

  it("fail when the connection is lost, and abort it when they are aborted", async () => {
    const { server, client } = await socketPair();
    const reader = server.readable.getReader();
    await client.writable.abort();
    await assert.rejects(reader.read(), code("ERR_CONNECTION_LOST"));
    assert.equal(client.state, "aborted");
  });
});

test("receiveBufferSize is the option's value", async () => {
  const { server, client } = await socketPair({ receiveBufferSize: 1234 });
  assert.equal(server.receiveBufferSize, 1234);
  assert.equal(client.receiveBufferSize, 4096);
  client.abort();
});

describe("a peer that left before the connection was made", () => {
  it("is noticed at once", async () => {
    const { left, right } = await tcpPair();
    left.resume();
    right.end();
    await once(left, "end");
    const server = connectionOver(left, "server");
    await assert.rejects(server.receive(), code("ERR_CONNECTION_LOST"));
    await server.closed;
    assert.equal(server.state, "aborted");
  });
});

test("closed resolves at the end, however it comes, and afterwards", async () => {
  const { server, client } = await socketPair();
  const ends = Promise.all([server.closed, client.closed]);
  server.abort();
  await ends;
  await server.closed;
  assert.equal(client.state, "aborted");
});
