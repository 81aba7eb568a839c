import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import {
  MemoryBudget,
  MessageTooBigError,
  ProtocolError,
  prepareMessage,
  type SocketOptions,
} from "halyard";
import { MessageDeflate } from "#dist/engine/deflate.js";
import { type ResolvedCompression, resolveSocketOptions } from "#dist/engine/options.js";
import { WebSocketConnection } from "#dist/engine/web-socket-connection.js";
import { hasContexts } from "#dist/engine/zlib-context.js";
import type { DeflateAgreement } from "#dist/protocol/deflate-offer.js";
import { quietLogger, tcpPair } from "../support/socket-pair.js";

const lean: DeflateAgreement = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
};
const takeover: DeflateAgreement = {
  ...lean,
  serverNoContextTakeover: false,
  clientNoContextTakeover: false,
};
const tail = Buffer.from([0, 0, 0xff, 0xff]);

function deflate(agreement = lean, maxMessageSize = 1 << 20, compression = {}): MessageDeflate {
  const { compression: resolved } = resolveSocketOptions({ compression });
  return new MessageDeflate("server", agreement, resolved as ResolvedCompression, maxMessageSize);
}

/** A compressed message as zlib's own calls make it. */
function compressed(data: string | Uint8Array): Buffer {
  const bytes = deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH });
  return bytes.subarray(0, bytes.length - 4);
}

async function pair(
  agreement: DeflateAgreement,
  options: SocketOptions = {},
): Promise<{ server: WebSocketConnection; client: WebSocketConnection }> {
  const { left, right } = await tcpPair();
  const resolved = resolveSocketOptions({ compression: true, logger: quietLogger, ...options });
  const setup = {
    subprotocol: undefined,
    deflate: agreement,
    options: resolved,
    head: Buffer.alloc(0),
  };
  return {
    server: new WebSocketConnection(left, { role: "server", ...setup }),
    client: new WebSocketConnection(right, { role: "client", ...setup }),
  };
}

it("this Node has the contexts that the fast path needs", () => {
  assert.equal(hasContexts, true);
});

describe("compress", () => {
  for (const size of [1, 100, 1_000, 65_535, 65_536, 65_537, 300_000]) {
    for (const kind of ["zeros", "random"] as const) {
      it(`${size} bytes of ${kind} can be inflated by zlib itself`, async () => {
        const data = kind === "zeros" ? Buffer.alloc(size) : randomBytes(size);
        const output = await deflate().compress(data, true);
        const restored = inflateRawSync(Buffer.concat([output, tail]), {
          finishFlush: constants.Z_SYNC_FLUSH,
        });
        assert.ok(restored.equals(data));
      });
    }
  }

  it("leaves alone what is large enough to be handed to the socket as it is", async () => {
    const one = randomBytes(40_000);
    const output = await deflate().compress(one, true);
    await deflate().compress(randomBytes(40_000), true);
    await deflate().inflate(compressed("x".repeat(30_000)));
    const restored = inflateRawSync(Buffer.concat([output, tail]), {
      finishFlush: constants.Z_SYNC_FLUSH,
    });
    assert.ok(restored.equals(one));
  });

  it("makes one byte of an empty message", () => {
    assert.deepEqual(deflate().compress(new Uint8Array(0), true), Buffer.from([0]));
  });

  it("stays within the window that was agreed on", async () => {
    const data = randomBytes(600);
    const twice = Buffer.concat([data, data]);
    const small = await deflate({ ...lean, serverMaxWindowBits: 9 }).compress(twice, true);
    const large = await deflate().compress(twice, true);
    assert.ok(small.length > 1_150, "a match lies 600 bytes back, and the window has 512");
    assert.ok(large.length < 700);
  });
});

describe("inflate", () => {
  const rows: [name: string, bytes: Buffer, expected: string][] = [
    ["the example of RFC 7692 §7.2.3.1", Buffer.from("f248cdc9c90700", "hex"), "Hello"],
    [
      "a block without compression (§7.2.3.3)",
      Buffer.from("000500faff48656c6c6f00", "hex"),
      "Hello",
    ],
    [
      "BFINAL, with the empty block behind it (§7.2.3.4)",
      Buffer.from("f348cdc9c9070000", "hex"),
      "Hello",
    ],
    ["BFINAL, with nothing behind it", Buffer.from("f348cdc9c90700", "hex"), "Hello"],
    [
      "BFINAL in the middle, and more behind it",
      Buffer.from("f348cdc9c90700f248cdc9c90700", "hex"),
      "HelloHello",
    ],
    [
      "two blocks (§7.2.3.5)",
      Buffer.from("f248050000 00ffffcac9c90700".replaceAll(" ", ""), "hex"),
      "Hello",
    ],
    ["an empty message", Buffer.from([0]), ""],
    ["no bytes at all", Buffer.alloc(0), ""],
  ];
  for (const [name, bytes, expected] of rows) {
    it(`takes ${name}`, async () => {
      for (const agreement of [lean, takeover]) {
        const context = deflate(agreement);
        assert.equal((await context.inflate(bytes)).toString(), expected);
        context.end();
      }
    });
  }

  it("answers 1007 to what is no deflate data, and is not hurt by it", async () => {
    for (const bytes of [Buffer.from([0xff, 0xff, 0xff]), randomBytes(200), Buffer.alloc(50, 6)]) {
      const context = deflate();
      assert.throws(
        () => context.inflate(bytes),
        (error) => error instanceof ProtocolError && error.closeCode === 1007,
      );
      assert.equal((await deflate().inflate(compressed("fine"))).toString(), "fine");
    }
  });

  it("stops at maxMessageSize, before the memory is spent", async () => {
    const bomb = compressed(Buffer.alloc(50_000_000));
    const before = process.memoryUsage().arrayBuffers;
    await assert.rejects(async () => deflate().inflate(bomb), MessageTooBigError);
    assert.ok(process.memoryUsage().arrayBuffers - before < 10_000_000);
    assert.throws(
      () => deflate(lean, 1_000).inflate(compressed(Buffer.alloc(1_001))),
      MessageTooBigError,
    );
    assert.equal(
      (await deflate(lean, 1_000).inflate(compressed(Buffer.alloc(1_000)))).length,
      1_000,
    );
  });

  it("stops at maxRatio beyond 1 MiB", async () => {
    const zeros = compressed(Buffer.alloc(4 << 20));
    await assert.rejects(async () => deflate(lean, 16 << 20).inflate(zeros), MessageTooBigError);
    const allowed = deflate(lean, 16 << 20, { maxRatio: 2_000 });
    assert.equal((await allowed.inflate(zeros)).length, 4 << 20);
  });

  it("lets others run while it works on something large", async () => {
    let turns = 0;
    const count = setInterval(() => turns++, 0);
    const message = deflate(lean, 64 << 20, { maxRatio: 2_000 }).inflate(
      compressed(Buffer.alloc(60 << 20)),
    );
    assert.ok(message instanceof Promise);
    assert.equal((await message).length, 60 << 20);
    clearInterval(count);
    assert.ok(turns >= 2, `${turns} turns`);
  });
});

describe("a compressed connection", () => {
  for (const [name, agreement] of [
    ["without context takeover", lean],
    ["with context takeover", takeover],
    ["with small windows", { ...takeover, serverMaxWindowBits: 9, clientMaxWindowBits: 10 }],
  ] as const) {
    it(`${name} carries messages of every kind in order`, async () => {
      const { server, client } = await pair(agreement, { maxSendBuffer: 64 << 20 });
      const text = JSON.stringify(
        Array.from({ length: 60 }, (_, id) => ({ id, name: `user ${id}` })),
      );
      const messages: (string | Buffer)[] = [];
      for (let round = 0; round < 12; round++) {
        messages.push(`short ${round}`, text, "é€😀".repeat(400 + round), "");
        messages.push(Buffer.alloc(200_000, round), randomBytes(3_000), randomBytes(100_000));
      }
      const echo = (async () => {
        for await (const { data } of server) await server.send(data);
      })();
      for (const message of messages) void client.send(message);
      for (const expected of messages) {
        const { data } = await client.receive();
        if (typeof expected === "string") assert.equal(data, expected);
        else assert.ok(expected.equals(data as Buffer));
      }
      await client.close();
      await echo;
    });

    it(`${name} carries fragments, and control frames between them`, async () => {
      const { server, client } = await pair(agreement);
      const part = "compress me ".repeat(100);
      void client.send(part, { endOfMessage: false });
      void client.ping().catch(() => {});
      void client.send(part, { endOfMessage: false });
      void client.send("", { endOfMessage: true });
      void client.send("plain", { endOfMessage: false, compress: false });
      void client.send(" text");
      void client.send(part);
      assert.equal((await server.receive()).data, part + part);
      assert.equal((await server.receive()).data, "plain text");
      assert.equal((await server.receive()).data, part);
      client.abort();
    });
  }

  it("keeps the order when a small message follows one that takes long, and Close comes last", async () => {
    const { server, client } = await pair(lean, {
      maxMessageSize: 32 << 20,
      maxSendBuffer: 64 << 20,
      compression: { maxRatio: 2_000 },
    });
    const large = Buffer.alloc(10 << 20, "abcdefghijklmnop");
    const sent = [
      client.send(large),
      client.send("small", { compress: false }),
      client.send("x".repeat(5_000)),
    ];
    const closed = client.close(3000, "after all");
    await assert.rejects(client.send("too late"));
    const sizes: number[] = [];
    for await (const { data } of server) sizes.push(data.length);
    await Promise.all([...sent, closed]);
    assert.deepEqual(sizes, [large.length, 5, 5_000]);
    assert.equal(server.closeStatus, 3000);
  });

  it("sends what does not get smaller as it was, in a row and among others", async () => {
    const { server, client } = await pair(lean);
    const digits = "0123456789".repeat(40);
    const messages: (string | Buffer)[] = [];
    for (let round = 0; round < 20; round++) {
      // Shuffled characters of which each comes a few times: the code's description costs more than it saves.
      const text = String.fromCharCode(...randomBytes(300).map((byte) => 0x20 + (byte % 0x5f)));
      messages.push(text, digits, randomBytes(1_000), randomBytes(20_000), "ä".repeat(500));
    }
    for (const message of messages) void client.send(message);
    for (const expected of messages) {
      const { data } = await server.receive();
      if (typeof expected === "string") assert.equal(data, expected);
      else assert.ok(expected.equals(data as Buffer));
    }
    client.abort();
  });

  it("counts what waits for compression against maxSendBuffer", async () => {
    const { client } = await pair(lean, { maxSendBuffer: 1 << 20 });
    void client.send(Buffer.alloc(4 << 20));
    assert.ok(client.bufferedAmount >= 4 << 20);
    await assert.rejects(client.send("x"), { code: "ERR_SEND_BUFFER_FULL" });
    client.abort();
  });

  it("sends a prepared message compressed, once for all", async () => {
    const text = "prepared ".repeat(200);
    const message = prepareMessage(text);
    const pairs = await Promise.all([pair(lean), pair(lean), pair(takeover)]);
    for (const { server, client } of pairs) {
      void server.send(message);
      void server.send(message, { compress: false });
      void client.send(message);
      assert.equal((await client.receive()).data, text);
      assert.equal((await client.receive()).data, text);
      assert.equal((await server.receive()).data, text);
      client.abort();
    }
  });

  it("answers 1009 to a bomb, in one frame and in many", async () => {
    for (const size of [5_000_000, 60_000_000]) {
      const { server, client } = await pair({ ...lean });
      void client.send(Buffer.alloc(size));
      await assert.rejects(server.receive(), MessageTooBigError);
      const close = await client.receive();
      assert.equal((close as { status?: number }).status, 1009);
      client.abort();
    }
  });

  it("refuses text that is not UTF-8 once it is inflated", async () => {
    const { server, client } = await pair(lean);
    void client.send(Buffer.alloc(1_000, 0xff), { type: "text" });
    await assert.rejects(server.receive(), { code: "ERR_INVALID_UTF8" });
    client.abort();
  });

  it("stops reading when nobody receives", async () => {
    const { server, client } = await pair(lean, { receiveWindow: 16_384, maxSendBuffer: 1 << 30 });
    for (let round = 0; round < 500; round++) void client.send(randomBytes(20_000));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = client.bufferedAmount;
    assert.ok(before > 0);
    let count = 0;
    void client.close();
    for await (const { data } of server) {
      assert.equal(data.length, 20_000);
      count++;
    }
    assert.equal(count, 500);
  });
});

describe("what fuzzing found", () => {
  it("empty fragments of a compressed message are empty frames", async () => {
    const { server, client } = await pair(lean, { compression: { threshold: 0 } });
    void client.send("", { endOfMessage: false });
    void client.send("", { endOfMessage: false });
    void client.send("");
    assert.deepEqual(await server.receive(), { type: "text", data: "" });
    client.abort();
  });

  it("a prepared message does not go out inside a compressed one", async () => {
    const { server, client } = await pair(lean);
    void server.send("begin ".repeat(100), { endOfMessage: false });
    await assert.rejects(server.send(prepareMessage("x".repeat(1_000))), {
      code: "ERR_FRAGMENTS_OPEN",
    });
    void server.send("end");
    assert.equal((await client.receive()).data, `${"begin ".repeat(100)}end`);
    client.abort();
  });

  it("a compressed message that never ends is given back to the memory budget", async () => {
    const memoryBudget = new MemoryBudget(1 << 20);
    const { server, client } = await pair(lean, { memoryBudget, receiveWindow: 1_000 });
    void client.send("unread".repeat(1_000), { compress: false });
    void client.send(randomBytes(3_000), { endOfMessage: false });
    await until(() => memoryBudget.used > 0);
    client.abort();
    await server.receive();
    await assert.rejects(server.receive());
    await server.whenGone();
    await assert.rejects(server.receive());
    assert.equal(memoryBudget.used, 0);
  });
});

/** Resolves when `isTrue`, looking once per turn of the event loop; fails after 5 seconds. */
async function until(isTrue: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!isTrue()) {
    assert.ok(performance.now() < deadline, "waited too long");
    await new Promise((resolve) => setImmediate(resolve));
  }
}
