import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { compose, handleUpgrades, type WebSocketConnection, webSockets } from "halyard";
import { WebSocket as UndiciWebSocket } from "undici";
import { WebSocket as WsClient } from "ws";
import { keepingLogger, listen, once, Signal, stop, withTimeout } from "./support/network.js";

/** What the clients of the WHATWG's interface have in common. */
interface StandardSocket extends EventTarget {
  binaryType: string;
  readonly protocol: string;
  readonly extensions: string;
  send(data: string | Uint8Array): void;
  close(code?: number, reason?: string): void;
}
type StandardConstructor = new (url: string, protocols?: readonly string[]) => StandardSocket;

const standardClients: { name: string; Client: StandardConstructor }[] = [
  { name: "undici", Client: UndiciWebSocket as unknown as StandardConstructor },
];
// From Node 22 on there is one built in.
const builtIn = (globalThis as { WebSocket?: unknown }).WebSocket;
if (builtIn !== undefined) {
  standardClients.push({ name: "Node's own", Client: builtIn as StandardConstructor });
}

/** What a handler saw of its peer's Close; anew for each test that asks. */
let closeSeen = new Signal<[status: number | undefined, description: string | undefined]>("");

async function echo(socket: WebSocketConnection): Promise<void> {
  for await (const message of socket) await socket.send(message.data);
}

/** What the server does, by path. */
const handlers: Record<string, (socket: WebSocketConnection) => unknown> = {
  "/echo": echo,
  async "/pieces"(socket) {
    const buffer = new Uint8Array(1000);
    for (;;) {
      const { count, type, endOfMessage } = await socket.receive(buffer);
      if (type === "close") return;
      await socket.send(buffer.subarray(0, count), { type, endOfMessage });
    }
  },
  "/leaves": (socket) => socket.close(4001, "auf Wiedersehen 👋"),
  "/leaves-without-a-word": (socket) => socket.close(1005),
  "/returns": () => {},
  "/throws"() {
    throw new Error("a defect of the application");
  },
  "/aborts": (socket) => socket.abort(),
  async "/tells"(socket) {
    for await (const _ of socket);
    closeSeen.fire([socket.closeStatus, socket.closeStatusDescription]);
  },
  async "/pings"(socket) {
    const roundTrip = await socket.ping();
    await socket.send(roundTrip >= 0 ? "answered" : "a negative time");
  },
  async "/fragments"(socket) {
    await socket.send("frag", { endOfMessage: false });
    await socket.send("", { endOfMessage: false });
    await socket.send("ment 語");
  },
};

const server = createServer(
  compose(
    [
      webSockets({ logger: keepingLogger() }),
      async (request, response) => {
        const handler = handlers[request.url ?? ""];
        if (handler === undefined) {
          response.writeHead(404).end();
          return;
        }
        const [subprotocol] = request.webSockets.requestedProtocols.filter((name) =>
          name.startsWith("v2."),
        );
        await handler(await request.webSockets.accept(subprotocol ? { subprotocol } : {}));
      },
    ],
    { logger: keepingLogger() },
  ),
);
handleUpgrades(server, { shutdownTimeout: 500 });
let port = 0;
const urlOf = (path: string) => `ws://127.0.0.1:${port}${path}`;

before(async () => {
  port = await listen(server);
});
after(() => stop(server));

/** Data that each client sends and must get back. */
const texts = ["hello", "", "aé語😀", "\u0000\uffff", "x".repeat(126), "語".repeat(30_000)];
const binaries = [0, 1, 125, 126, 65_535, 65_536, 1024 * 1024].map((size) =>
  Buffer.alloc(size, "0123456789 and so on"),
);

for (const { name, Client } of standardClients) {
  describe(`the client of ${name}`, () => {
    it("opens, without extensions, and closes with code and reason", async () => {
      const client = await open(Client, "/tells");
      closeSeen = new Signal("the handler's view of the Close");
      assert.equal(client.socket.protocol, "");
      assert.equal(client.socket.extensions, "");
      client.socket.close(4321, "genug 😀");
      assert.deepEqual(await client.closed(), { code: 4321, reason: "genug 😀", wasClean: true });
      assert.deepEqual(await closeSeen.wait(), [4321, "genug 😀"]);
    });

    it("closes without a code", async () => {
      const client = await open(Client, "/tells");
      closeSeen = new Signal("the handler's view of the Close");
      client.socket.close();
      const { wasClean } = await client.closed();
      assert.equal(wasClean, true);
      assert.deepEqual(await closeSeen.wait(), [1005, ""]);
    });

    for (const path of ["/echo", "/pieces"]) {
      it(`gets back what it sends, ${path}`, async () => {
        const client = await open(Client, path);
        for (const text of texts) client.socket.send(text);
        for (const text of texts) assert.ok((await client.next()) === text, text.slice(0, 20));
        for (const bytes of binaries) client.socket.send(bytes);
        for (const bytes of binaries) {
          const data = await client.next();
          assert.ok(bytes.equals(Buffer.from(data as ArrayBuffer)), `${bytes.length} bytes`);
        }
        client.socket.close(1000);
        assert.equal((await client.closed()).code, 1000);
      });
    }

    it("agrees on a subprotocol", async () => {
      const client = await open(Client, "/echo", ["v1.chat", "v2.chat"]);
      assert.equal(client.socket.protocol, "v2.chat");
      client.socket.close();
      await client.closed();
    });

    it("puts fragments together", async () => {
      const client = await open(Client, "/fragments");
      assert.equal(await client.next(), "fragment 語");
      assert.equal((await client.closed()).code, 1000);
    });

    it("answers pings", async () => {
      const client = await open(Client, "/pings");
      assert.equal(await client.next(), "answered");
      await client.closed();
    });

    for (const [path, expected] of [
      ["/leaves", { code: 4001, reason: "auf Wiedersehen 👋", wasClean: true }],
      ["/leaves-without-a-word", { code: 1005, reason: "", wasClean: true }],
      ["/returns", { code: 1000, reason: "", wasClean: true }],
      ["/throws", { code: 1011, reason: "", wasClean: true }],
      ["/aborts", { code: 1006, reason: "", wasClean: false }],
    ] as const) {
      it(`sees how the server ends: ${path.slice(1)}`, async () => {
        const client = await open(Client, path);
        assert.deepEqual(await client.closed(), expected);
      });
    }

    it("fails where the server refuses", async () => {
      const socket = new Client(urlOf("/nowhere"));
      const closed = new Promise<Event>((resolve) => socket.addEventListener("close", resolve));
      await withTimeout(closed);
    });
  });
}

interface StandardClient {
  readonly socket: StandardSocket;
  /** The data of the next message. */
  next(): Promise<unknown>;
  closed(): Promise<{ code: number; reason: string; wasClean: boolean }>;
}

async function open(
  Client: StandardConstructor,
  path: string,
  protocols?: readonly string[],
): Promise<StandardClient> {
  const socket = new Client(urlOf(path), protocols);
  socket.binaryType = "arraybuffer";
  const unread: unknown[] = [];
  let wake: (() => void) | undefined;
  socket.addEventListener("message", (event) => {
    unread.push((event as MessageEvent).data);
    wake?.();
  });
  const closed = new Promise<CloseEvent>((resolve) => {
    socket.addEventListener("close", (event) => resolve(event as CloseEvent));
  });
  const opened = new Promise<void>((resolve) => {
    socket.addEventListener("open", () => resolve());
  });
  const early = closed.then(({ code }) => {
    // A message or a Close may come together with the 101, but not instead of it.
    throw new Error(`closed with ${code} before it was open`);
  });
  await withTimeout(Promise.race([opened, early]), undefined, "open");
  return {
    socket,
    async next() {
      while (unread.length === 0) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await withTimeout(woken, undefined, "a message");
      }
      return unread.shift();
    },
    async closed() {
      const { code, reason, wasClean } = await withTimeout(closed, undefined, "close");
      return { code, reason, wasClean };
    },
  };
}

describe("the client of ws", () => {
  /** The next message's data, and whether it is binary. */
  async function next(client: WsClient): Promise<{ data: Buffer; isBinary: boolean }> {
    const [data, isBinary] = await once(client, "message");
    return { data, isBinary };
  }

  async function openWs(path: string, protocols: string[] = []): Promise<WsClient> {
    // Compression is offered, as ws does by default, and must be declined in due form.
    const client = new WsClient(urlOf(path), protocols);
    await once(client, "open");
    return client;
  }

  async function close(client: WsClient, code: number, reason = ""): Promise<[number, string]> {
    const closed = once(client, "close");
    client.close(code, reason);
    const [status, description] = await closed;
    return [status, String(description)];
  }

  for (const path of ["/echo", "/pieces"]) {
    it(`gets back what it sends, ${path}`, async () => {
      const client = await openWs(path);
      assert.equal(client.extensions, "");
      for (const text of texts) {
        const answer = next(client);
        client.send(text);
        const { data, isBinary } = await answer;
        assert.equal(isBinary, false);
        assert.ok(data.equals(Buffer.from(text)), text.slice(0, 20));
      }
      for (const bytes of binaries) {
        const answer = next(client);
        client.send(bytes);
        const { data, isBinary } = await answer;
        assert.equal(isBinary, true);
        assert.ok(data.equals(bytes), `${bytes.length} bytes`);
      }
      assert.deepEqual(await close(client, 1000), [1000, ""]);
    });

    it(`sends fragments with pings between, ${path}`, async () => {
      const client = await openWs(path);
      const answer = next(client);
      const ponged = once(client, "pong");
      client.send("frag", { fin: false });
      client.ping("between");
      client.send("", { fin: false });
      client.send(Buffer.from("ment 語"), { fin: true });
      assert.equal((await answer).data.toString(), "fragment 語");
      assert.equal(String((await ponged)[0]), "between");
      assert.deepEqual(await close(client, 1000), [1000, ""]);
    });
  }

  it("is answered to pings of 0 to 125 bytes, and may send pongs", async () => {
    const client = await openWs("/echo");
    for (const payload of ["", "x", "x".repeat(125)]) {
      const ponged = once(client, "pong");
      client.pong("nobody asked");
      client.ping(payload);
      assert.equal(String((await ponged)[0]), payload);
    }
    assert.deepEqual(await close(client, 1000), [1000, ""]);
  });

  it("answers our pings", async () => {
    const client = new WsClient(urlOf("/pings"));
    const message = once(client, "message");
    const closed = once(client, "close");
    assert.equal(String((await message)[0]), "answered");
    assert.equal((await closed)[0], 1000);
  });

  it("closes with every code it can send, and gets it back", async () => {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]) {
      const client = await openWs("/echo");
      assert.deepEqual(await close(client, code, "why"), [code, "why"]);
    }
    for (const code of [3000, 3999, 4000, 4999]) {
      const client = await openWs("/tells");
      closeSeen = new Signal("the handler's view of the Close");
      assert.deepEqual(await close(client, code, "r".repeat(123)), [code, "r".repeat(123)]);
      assert.deepEqual(await closeSeen.wait(), [code, "r".repeat(123)]);
    }
  });

  it("agrees on a subprotocol", async () => {
    const client = await openWs("/echo", ["v1.chat", "v2.chat"]);
    assert.equal(client.protocol, "v2.chat");
    await close(client, 1000);
  });

  for (const [path, code, reason] of [
    ["/leaves", 4001, "auf Wiedersehen 👋"],
    ["/leaves-without-a-word", 1005, ""],
    ["/returns", 1000, ""],
    ["/throws", 1011, ""],
    ["/aborts", 1006, ""],
  ] as const) {
    it(`sees how the server ends: ${path.slice(1)}`, async () => {
      const client = new WsClient(urlOf(path));
      const [status, description] = await once(client, "close");
      assert.deepEqual([status, String(description)], [code, reason]);
    });
  }

  it("is refused as an ordinary request would be", async () => {
    const client = new WsClient(urlOf("/nowhere"));
    client.on("error", () => {});
    const [, response] = await once(client, "unexpected-response");
    assert.equal(response.statusCode, 404);
    client.terminate();
  });

  it("is told 1009 when a message is too big, and the server goes on", async () => {
    const client = await openWs("/echo");
    client.on("error", () => {});
    const closed = once(client, "close");
    client.send(Buffer.alloc(1024 * 1024 + 1));
    assert.equal((await closed)[0], 1009);
    const other = await openWs("/echo");
    const answer = next(other);
    other.send("still there");
    assert.equal((await answer).data.toString(), "still there");
    await close(other, 1000);
  });

  it("is closed with 1001 when the server closes", async () => {
    const short = createServer(
      compose([webSockets(), async (request) => echo(await request.webSockets.accept())]),
    );
    handleUpgrades(short);
    const client = new WsClient(`ws://127.0.0.1:${await listen(short)}/`);
    await once(client, "open");
    const closed = once(client, "close");
    await stop(short);
    assert.equal((await closed)[0], 1001);
  });
});
