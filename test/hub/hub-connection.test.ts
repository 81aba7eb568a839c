import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { messagePack } from "halyard/messagepack";
import { Deferred } from "#dist/deferred.js";
import { Hub, HubError, json } from "#dist/hub/index.js";
import { MessageType } from "#dist/hub-protocol/messages.js";
import {
  type Brief,
  type ClientTraits,
  clientOf,
  closing,
  encoded,
  FakeClient,
  handlerOf,
  invocation,
  Lines,
  turns,
} from "../support/fake-connection.js";
import { until } from "../support/network.js";

const protocols = [json(), messagePack()];
const handshake = (protocol: string, version: unknown = 1) =>
  `${JSON.stringify({ protocol, version })}\x1e`;
const generalError = "Connection closed with an error.";

/** Says what happens to it. */
function watchedHub() {
  const events: string[] = [];
  const errors: unknown[] = [];
  class WatchedHub extends Hub {
    override onConnected() {
      events.push("connected");
    }
    override onDisconnected(error?: Error) {
      events.push("disconnected");
      errors.push(error);
    }
    echo(value: unknown) {
      events.push("echo");
      return value;
    }
    abort() {
      this.context.abort();
      return "too late";
    }
  }
  return { WatchedHub, events, errors };
}

/** `performance.now()` so many milliseconds from now. */
const later = (ms: number) => performance.now() + ms;

describe("handshake", () => {
  class QuietHub extends Hub {
    static connected = 0;
    override onConnected() {
      QuietHub.connected++;
    }
    echo(value: unknown) {
      return value;
    }
  }
  const both = { supportedProtocols: protocols };

  const accepted: [name: string, bytes: string][] = [
    ["json", '{"protocol":"json","version":1}\x1e'],
    [
      "properties in another order, and others",
      '{ "x": [{}], "version": 1, "protocol": "json" }\x1e',
    ],
    ["a name in another case", '{"protocol":"JSON","version":1}\x1e'],
    ["version 2 without stateful reconnect", '{"protocol":"json","version":2}\x1e'],
    ["version 0", '{"protocol":"json","version":0}\x1e'],
    ["messagepack", '{"protocol":"messagepack","version":1}\x1e'],
  ];
  for (const [name, bytes] of accepted) {
    it(`is accepted: ${name}`, async () => {
      const client = clientOf(QuietHub, both, { shakesHands: false });
      client.write(bytes);
      assert.deepEqual(
        client.connection.sent.map(({ bytes }) => bytes.toString()),
        ["{}\x1e"],
      );
      assert.equal(client.connection.format, name === "messagepack" ? "Binary" : "Text");
      await turns();
      assert.equal(client.connection.ending, undefined);
    });
  }

  const detail = "An unexpected error occurred during connection handshake.";
  const refused: [
    name: string,
    bytes: string,
    error: string,
    details?: string | undefined,
    traits?: ClientTraits,
  ][] = [
    ["an unknown protocol", handshake("XML"), "The protocol 'XML' is not supported."],
    [
      "a name of Object.prototype",
      handshake("__proto__"),
      "The protocol '__proto__' is not supported.",
    ],
    [
      "a later version",
      handshake("Json", 3),
      "The server does not support version 3 of the 'Json' protocol.",
    ],
    [
      "binary over events",
      handshake("messagepack"),
      "Cannot use the 'messagepack' protocol on the current transport. The transport does not support 'Binary' transfer format.",
      undefined,
      { transport: "ServerSentEvents" },
    ],
    ["too much without an end", "x".repeat(32_769), "Handshake was canceled."],
    ["too much with an end", `{"x":"${"x".repeat(32_769)}"}\x1e`, "Handshake was canceled."],
    ["no JSON", "GET / HTTP/1.1\x1e", detail, " InvalidDataException: Error reading JSON."],
    ["nothing", "\x1e", detail, " InvalidDataException: Error reading JSON."],
    [
      "no protocol",
      '{"version":1}\x1e',
      detail,
      ` InvalidDataException: Missing required property 'protocol'. Message content: {"version":1}`,
    ],
    [
      "no version",
      '{"protocol":"json"}\x1e',
      detail,
      ` InvalidDataException: Missing required property 'version'. Message content: {"protocol":"json"}`,
    ],
    [
      "a version that is no number",
      '{"protocol":"json","version":"1"}\x1e',
      detail,
      " InvalidDataException: Expected 'version' to be of type Number.",
    ],
  ];
  for (const [name, bytes, error, details, traits] of refused) {
    for (const enableDetailedErrors of [false, true]) {
      it(`is refused ${enableDetailedErrors ? "with" : "without"} details: ${name}`, async () => {
        QuietHub.connected = 0;
        const handler = handlerOf(QuietHub, { ...both, enableDetailedErrors });
        const client = new FakeClient(handler, { ...traits, shakesHands: false });
        client.write(bytes, '{"type":1,"target":"echo","invocationId":"1","arguments":[1]}\x1e');
        await until(() => client.connection.ending !== undefined, "the end");
        assert.equal(client.handshake, enableDetailedErrors && details ? error + details : error);
        assert.deepEqual(client.take(), []);
        assert.equal(client.connection.ending, "close done");
        assert.equal(QuietHub.connected, 0);
        assert.equal(handler.manager.connections.has(client.id), false);
        await client.hub.done;
      });
    }
  }

  for (const protocol of protocols) {
    it(`and messages may come in any pieces: ${protocol.name}`, async () => {
      const call = encoded(protocol, invocation("echo", ["ä"], "7"));
      const bytes = Buffer.concat([Buffer.from(handshake(protocol.name)), call, call]);
      const answers = [
        { id: "7", result: "ä" },
        { id: "7", result: "ä" },
      ];
      const handler = handlerOf(QuietHub, both);
      for (let at = 0; at <= bytes.length; at++) {
        const client = new FakeClient(handler, { protocol, shakesHands: false });
        client.write(bytes.subarray(0, at));
        client.write(bytes.subarray(at));
        assert.deepEqual(await client.nextFew(2), answers, `split at ${at}`);
        client.end();
      }
      const client = new FakeClient(handler, { protocol, shakesHands: false });
      for (const byte of bytes) client.write(Buffer.from([byte]));
      assert.deepEqual(await client.nextFew(2), answers, "byte by byte");
      client.end();
      const slow = new FakeClient(handler, { protocol, shakesHands: false });
      for (const byte of bytes) {
        slow.write(Buffer.from([byte]));
        await turns(1);
      }
      assert.deepEqual(await slow.nextFew(2), answers, "byte by byte, in a turn each");
      slow.end();
    });
  }

  it("has a time limit", async () => {
    QuietHub.connected = 0;
    const { hub, ...client } = clientOf(
      QuietHub,
      { handshakeTimeout: 500 },
      { shakesHands: false },
    );
    hub.tick(later(400));
    assert.equal(client.connection.ending, undefined);
    hub.tick(later(501));
    await hub.done;
    assert.deepEqual(
      client.connection.sent.map(({ bytes }) => bytes.toString()),
      ['{"error":"Handshake was canceled."}\x1e'],
    );
    assert.equal(client.connection.ending, "close done");
    assert.equal(QuietHub.connected, 0);
  });

  it("has a time limit of which the handler's own clock takes care", async () => {
    const client = clientOf(QuietHub, { handshakeTimeout: 20 }, { shakesHands: false });
    client.write('{"protocol":');
    await until(() => client.handshake !== undefined, "the refusal");
    assert.equal(client.handshake, "Handshake was canceled.");
  });

  it("that never came is answered with nothing", async () => {
    const { WatchedHub, events } = watchedHub();
    const client = clientOf(WatchedHub, {}, { shakesHands: false });
    client.write('{"protocol":"json"');
    client.end();
    await client.hub.done;
    assert.deepEqual(client.connection.sent, []);
    assert.deepEqual(events, []);
  });

  it("of version 1 turns stateful reconnect off, of version 2 leaves it on", async () => {
    for (const version of [1, 2]) {
      const client = clientOf(QuietHub, {}, { allowsReconnect: true, version });
      assert.equal(client.handshake, "");
      assert.equal(client.connection.allowsReconnect, version === 2);
    }
  });
});

describe("what a client says", () => {
  for (const protocol of protocols) {
    const tolerated: [name: string, bytes: Buffer][] = [
      ["a ping", encoded(protocol, { type: MessageType.ping })],
      [
        "a cancel of nothing",
        encoded(protocol, { type: MessageType.cancelInvocation, invocationId: "x" }),
      ],
      [
        "an item of nothing",
        encoded(protocol, { type: MessageType.streamItem, invocationId: "x", item: 1 }),
      ],
      [
        "a completion of nothing",
        encoded(protocol, {
          type: MessageType.completion,
          invocationId: "__proto__",
          error: undefined,
          hasResult: true,
          result: 1,
        }),
      ],
      ["an ack nobody asked for", encoded(protocol, { type: MessageType.ack, sequenceId: 100 })],
      [
        "a sequence nobody asked for",
        encoded(protocol, { type: MessageType.sequence, sequenceId: 100 }),
      ],
      [
        "an unknown type",
        protocol.name === "json"
          ? Buffer.from('{"type":99,"target":"echo"}\x1e')
          : Buffer.from([3, 0x92, 99, 0xc0]),
      ],
    ];
    for (const [name, bytes] of tolerated) {
      it(`is tolerated over ${protocol.name}: ${name}`, async () => {
        const { WatchedHub } = watchedHub();
        const client = clientOf(WatchedHub, {}, { protocol });
        client.write(bytes);
        assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
      });
    }

    it(`may come in one piece or in pieces over ${protocol.name}`, async () => {
      const { WatchedHub } = watchedHub();
      const handler = handlerOf(WatchedHub, { supportedProtocols: [protocol] });
      const client = new FakeClient(handler, { protocol });
      const messages = ["a", "b".repeat(200), "c"].map((text, i) =>
        client.encode(invocation("echo", [text], `${i}`)),
      );
      const bytes = Buffer.concat(messages);
      for (let at = 1; at < bytes.length; at++) {
        client.write(bytes.subarray(0, at));
        client.write(bytes.subarray(at));
        const answers = await client.nextFew(3);
        assert.deepEqual(
          answers.map(({ id }) => id),
          ["0", "1", "2"],
          `split at ${at}`,
        );
      }
    });
  }

  it("waits for onConnected", async () => {
    const gate = new Deferred<void>();
    const events: string[] = [];
    class SlowHub extends Hub {
      override async onConnected() {
        events.push("connecting");
        await gate.promise;
        events.push("connected");
      }
      echo(value: unknown) {
        events.push("echo");
        return value;
      }
    }
    const client = clientOf(SlowHub);
    const answer = client.invoke("echo", 1);
    await turns();
    assert.deepEqual(events, ["connecting"]);
    gate.resolve();
    assert.deepEqual(await answer, { result: 1 });
    assert.deepEqual(events, ["connecting", "connected", "echo"]);
  });
});

describe("back-pressure to a client that sends too fast", () => {
  function blockedHub() {
    let gate = new Deferred<void>();
    const done: unknown[] = [];
    class BlockedHub extends Hub {
      async wait(value: unknown) {
        await gate.promise;
        done.push(value);
      }
    }
    const open = () => {
      gate.resolve();
      gate = new Deferred();
    };
    return { BlockedHub, done, open };
  }

  for (const protocol of protocols) {
    it(`pauses the transport and resumes it over ${protocol.name}`, async () => {
      const { BlockedHub, done, open } = blockedHub();
      const client = clientOf(BlockedHub, {}, { protocol });
      await turns();
      const text = "x".repeat(1_000);
      for (let i = 0; i < 60; i++) client.post("wait", `${i}${text}`);
      await turns();
      assert.deepEqual(client.connection.events, []);
      for (let i = 60; i < 80; i++) client.post("wait", `${i}${text}`);
      // What a transport had read already still comes.
      assert.deepEqual(client.connection.events, ["pause"]);
      for (let i = 80; i < 100; i++) client.post("wait", `${i}${text}`);
      assert.deepEqual(client.connection.events, ["pause"]);
      while (done.length < 98) {
        const before = done.length;
        open();
        await until(() => done.length > before, "the next call");
        assert.deepEqual(client.connection.events, ["pause"], "still something waits");
      }
      for (let i = done.length; i < 100; i++) {
        open();
        await until(() => done.length === i + 1, "the last calls");
      }
      await until(() => !client.connection.isPaused, "the resumption");
      assert.deepEqual(client.connection.events, ["pause", "resume"]);
      assert.deepEqual(
        done,
        Array.from({ length: 100 }, (_, i) => `${i}${text}`),
      );
    });
  }

  it("ends the connection when one message is too large", async () => {
    const { BlockedHub } = blockedHub();
    const client = clientOf(BlockedHub, { enableDetailedErrors: true });
    await turns();
    for (let i = 0; i < 40; i++) client.write("x".repeat(1_000));
    assert.deepEqual(await client.untilEnded(), [
      closing(
        `${generalError} InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.`,
        true,
      ),
    ]);
    assert.equal(client.connection.events.includes("pause"), false);
  });

  it("takes messages of the largest size, and not of one byte more", async () => {
    for (const [excess, isTaken] of [
      [0, true],
      [1, false],
    ] as const) {
      const { WatchedHub } = watchedHub();
      const client = clientOf(WatchedHub, { maximumReceiveMessageSize: 200 });
      const frame = client.encode(invocation("echo", [""], "1")).length;
      client.send(invocation("echo", ["x".repeat(200 - frame + excess)], "1"));
      await turns();
      assert.equal(client.connection.ending === undefined, isTaken);
    }
  });
});

describe("the end", () => {
  interface Ending {
    readonly name: string;
    readonly happens: (client: FakeClient) => void;
    /** What the client hears, without and with details. */
    readonly hears: Brief[];
    readonly detail?: string;
    readonly ending?: string;
    /** Text of the error that `onDisconnected` gets. */
    readonly error?: string;
    readonly code?: string;
  }
  const protocolError = "Connection closed with an error.";
  const endings: Ending[] = [
    {
      name: "context.abort()",
      happens: (client) => client.post("abort"),
      hears: [closing()],
      ending: "close done",
    },
    {
      name: "the client's Close",
      happens: (client) => client.close(),
      hears: [closing()],
      ending: "close done",
    },
    {
      name: "the client's Close with an error",
      happens: (client) => client.close("out of coffee"),
      hears: [closing()],
      ending: "close done",
      error: "out of coffee",
      code: "ERR_HUB",
    },
    {
      name: "bytes that are no message",
      happens: (client) => client.write("no JSON\x1e"),
      hears: [closing(protocolError, true)],
      detail: " InvalidDataException: Error reading JSON.",
      ending: "close error",
      error: "Error reading JSON.",
      code: "ERR_HUB_PROTOCOL",
    },
    {
      name: "a missing property",
      happens: (client) => client.write('{"type":1,"arguments":[]}\x1e'),
      hears: [closing(protocolError, true)],
      detail: " InvalidDataException: Missing required property 'target'.",
      ending: "close error",
      error: "Missing required property 'target'.",
      code: "ERR_HUB_PROTOCOL",
    },
    {
      name: "a message that is too large",
      happens: (client) => client.write("x".repeat(32_769)),
      hears: [closing(protocolError, true)],
      detail:
        " InvalidDataException: The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.",
      ending: "close error",
      error:
        "The maximum message size of 32768B was exceeded. The message size can be configured in AddHubOptions.",
      code: "ERR_HUB_MESSAGE_TOO_BIG",
    },
    {
      name: "a client that went silent",
      happens: (client) => {
        client.ping();
        client.hub.tick(later(0));
        client.hub.tick(later(30_001));
      },
      hears: [closing(protocolError, true)],
      detail:
        " OperationCanceledException: Client hasn't sent a message/ping within the configured ClientTimeoutInterval.",
      ending: "close done",
      error: "Client hasn't sent a message/ping within the configured ClientTimeoutInterval.",
      code: "ERR_CLIENT_TIMEOUT",
    },
    { name: "the transport's end by the client", happens: (client) => client.end(), hears: [] },
    {
      name: "the transport's loss",
      happens: (client) => client.end({ cause: "lost" }),
      hears: [],
    },
    {
      name: "a failing transport",
      happens: (client) => client.end({ cause: "lost", error: new Error("EPIPE") }),
      hears: [],
      error: "EPIPE",
    },
    {
      name: "shutdown",
      happens: (client) => client.end({ cause: "shutdown" }),
      hears: [closing(undefined, true)],
    },
    {
      name: "expired authentication",
      happens: (client) => client.end({ cause: "expired" }),
      hears: [closing(undefined, true)],
    },
    {
      name: "disconnect() from outside",
      happens: (client) => client.hub.disconnect({}),
      hears: [closing()],
      ending: "close done",
    },
    {
      name: "disconnect() with an error",
      happens: (client) => client.hub.disconnect({ error: "maintenance", allowReconnect: true }),
      hears: [closing("maintenance", true)],
      ending: "close done",
    },
  ];
  for (const protocol of protocols) {
    for (const enableDetailedErrors of [false, true]) {
      for (const { name, happens, hears, detail, ending, error, code } of endings) {
        if (protocol.name !== "json" && name.match(/bytes|missing|too large/)) continue;
        const how = enableDetailedErrors && detail !== undefined ? ", with details" : "";
        if (enableDetailedErrors && detail === undefined) continue;
        it(`by ${name} over ${protocol.name}${how}`, async () => {
          const { WatchedHub, events, errors } = watchedHub();
          const handler = handlerOf(WatchedHub, {
            enableDetailedErrors,
            supportedProtocols: [protocol],
          });
          const client = new FakeClient(handler, { protocol, allowsReconnect: true, version: 1 });
          await until(() => events.includes("connected"), "the connection");
          await turns();
          client.connection.allowsReconnect = true;
          happens(client);
          await client.hub.done;
          const withDetail = hears.map((message) =>
            how && message.error ? { ...message, error: `${message.error}${detail}` } : message,
          );
          assert.deepEqual(client.take(), withDetail);
          // Some clients come back with the old token at once.
          if (hears.length > 0) assert.equal(client.connection.sent.at(-1)?.allowsReconnect, false);
          assert.equal(client.connection.allowsReconnect, false);
          if (ending !== undefined) assert.equal(client.connection.ending, ending);
          assert.deepEqual(events, ["connected", "disconnected"]);
          const [given] = errors as (Error & { code?: string })[];
          assert.equal(given?.message, error);
          if (code !== undefined) assert.equal(given?.code, code);
          assert.equal(handler.manager.connections.size, 0);
          // Nothing after the end is of any consequence.
          client.post("echo", 1);
          client.write("no JSON\x1e");
          client.hub.tick(later(1e9));
          client.hub.drained();
          client.hub.resumed();
          client.hub.interrupted();
          client.hub.userChanged();
          client.hub.disconnect({});
          client.end();
          await turns();
          assert.deepEqual(events, ["connected", "disconnected"]);
          assert.deepEqual(client.take(), []);
        });
      }
    }
  }

  it("comes in order: Close, signals, onDisconnected, lifetime manager, transport", async () => {
    const order: string[] = [];
    class OrderedHub extends Hub {
      async wait() {
        this.signal.addEventListener("abort", () => order.push("call"));
        this.context.signal.addEventListener("abort", () => order.push("connection"));
        order.push("waiting");
        await new Promise(() => {});
      }
      override async onDisconnected() {
        order.push(`closed ${client.connection.ending}`);
        await turns();
        order.push(`members ${handler.manager.connections.size}`);
      }
    }
    const handler = handlerOf(OrderedHub);
    const client = new FakeClient(handler);
    client.call("wait");
    await until(() => order.length === 1, "the call");
    client.connection.onSend = () => order.push("sent");
    client.close();
    await client.hub.done;
    assert.deepEqual(order.splice(0, 2), ["waiting", "sent"]);
    assert.deepEqual(order.splice(0, 2).sort(), ["call", "connection"]);
    assert.deepEqual(order, ["closed undefined", "members 1"]);
    assert.equal(handler.manager.connections.size, 0);
    assert.equal(client.connection.ending, "close done");
  });

  for (const [error, enableDetailedErrors, text] of [
    [new RangeError("secret"), false, generalError],
    [new RangeError("secret"), true, `${generalError} RangeError: secret`],
    [new HubError("The room is full."), false, `${generalError} HubException: The room is full.`],
  ] as const) {
    it(`by onConnected that throws ${error.name}, details ${enableDetailedErrors}`, async () => {
      const events: string[] = [];
      class RefusingHub extends Hub {
        override async onConnected() {
          throw error;
        }
        override onDisconnected() {
          events.push("disconnected");
        }
        echo() {
          events.push("echo");
        }
      }
      const handler = handlerOf(RefusingHub, { enableDetailedErrors });
      const client = new FakeClient(handler);
      client.post("echo");
      assert.deepEqual(await client.untilEnded(), [closing(text)]);
      await client.hub.done;
      assert.deepEqual(events, []);
      assert.equal(client.connection.ending, "close error");
      assert.equal(handler.manager.connections.size, 0);
    });
  }

  it("while onConnected runs lets it finish, and then onDisconnected be called", async () => {
    const gate = new Deferred<void>();
    const events: string[] = [];
    class SlowHub extends Hub {
      override async onConnected() {
        this.signal.addEventListener("abort", () => events.push("signal"));
        this.context.signal.addEventListener("abort", () => events.push("context.signal"));
        await gate.promise;
        events.push("connected");
      }
      override onDisconnected() {
        events.push("disconnected");
      }
      echo() {
        events.push("echo");
      }
    }
    const client = clientOf(SlowHub);
    client.post("echo");
    await turns();
    client.end();
    await turns();
    assert.deepEqual(events.sort(), ["context.signal", "signal"]);
    gate.resolve();
    await client.hub.done;
    assert.deepEqual(events.slice(2), ["connected", "disconnected"]);
  });

  it("while onConnected runs, which then throws, is not told to onDisconnected", async () => {
    const gate = new Deferred<void>();
    const events: string[] = [];
    class SlowHub extends Hub {
      override async onConnected() {
        await gate.promise;
        throw new Error("too late");
      }
      override onDisconnected() {
        events.push("disconnected");
      }
    }
    const client = clientOf(SlowHub);
    await turns();
    client.close();
    client.end();
    gate.resolve();
    await client.hub.done;
    assert.deepEqual(events, []);
  });

  it("by abort() in onConnected", async () => {
    const events: string[] = [];
    class AbortingHub extends Hub {
      override async onConnected() {
        this.context.abort();
      }
      override onDisconnected(error?: Error) {
        events.push(`disconnected ${error}`);
      }
      echo() {
        events.push("echo");
      }
    }
    const client = clientOf(AbortingHub);
    client.post("echo");
    assert.deepEqual(await client.untilEnded(), [closing()]);
    assert.deepEqual(events, ["disconnected undefined"]);
  });

  it("is survived by an onDisconnected that throws", async () => {
    const logger = new Lines();
    class ThrowingHub extends Hub {
      override onDisconnected() {
        throw new Error("disconnected");
      }
    }
    const handler = handlerOf(ThrowingHub, { logger });
    const client = new FakeClient(handler);
    await turns();
    client.close();
    await client.hub.done;
    assert.equal(handler.manager.connections.size, 0);
    assert.deepEqual(logger.of("error"), ["halyard: onDisconnected of a hub threw"]);
  });

  it("within a send leaves nothing behind", async () => {
    const { WatchedHub, events } = watchedHub();
    const handler = handlerOf(WatchedHub);
    const client = new FakeClient(handler, { shakesHands: false });
    client.connection.onSend = () => client.end({ cause: "timeout", error: new Error("full") });
    client.shakeHands();
    await client.hub.done;
    await turns();
    assert.equal(handler.manager.connections.size, 0);
    assert.deepEqual(events, []);
  });

  it("within a broadcast leaves the others what is theirs", async () => {
    const { WatchedHub, events } = watchedHub();
    const handler = handlerOf(WatchedHub);
    const clients = Array.from({ length: 5 }, () => new FakeClient(handler));
    await until(() => events.length === 5, "the connections");
    const [, failing] = clients as [FakeClient, FakeClient];
    failing.connection.onSend = () => failing.end({ cause: "timeout", error: new Error("full") });
    await handler.manager.sendToAll("news", [1]);
    await handler.manager.sendToAll("news", [2]);
    await failing.hub.done;
    assert.equal(handler.manager.connections.size, 4);
    for (const client of clients) {
      if (client === failing) continue;
      assert.deepEqual(client.take(), [
        { call: "news", args: [1] },
        { call: "news", args: [2] },
      ]);
    }
  });
});

describe("keep-alive", () => {
  for (const protocol of protocols) {
    it(`pings on time over ${protocol.name}, whatever else is sent`, async () => {
      const { WatchedHub } = watchedHub();
      const client = clientOf(WatchedHub, { keepAliveInterval: 1_000 }, { protocol });
      const start = performance.now();
      client.hub.tick(start + 900);
      assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
      client.hub.tick(start + 1_100);
      assert.deepEqual(client.take(), [{ ping: true }]);
      client.hub.tick(start + 1_900);
      assert.deepEqual(client.take(), []);
      client.hub.tick(start + 2_200);
      assert.deepEqual(client.take(), [{ ping: true }]);
    });
  }

  it("uses its connection by calls, not by pings", async () => {
    const { WatchedHub } = watchedHub();
    const client = clientOf(WatchedHub);
    client.connection.wasUsed = false;
    client.hub.tick(later(15_001));
    client.write(encoded(json(), { type: MessageType.ping }));
    assert.equal(client.connection.wasUsed, false);
    assert.deepEqual(client.take(), [{ ping: true }]);
    assert.deepEqual(await client.invoke("echo", 1), { result: 1 });
    assert.equal(client.connection.wasUsed, true);
  });

  it("sends all clients the same ping", async () => {
    const { WatchedHub } = watchedHub();
    const handler = handlerOf(WatchedHub);
    const clients = [new FakeClient(handler), new FakeClient(handler)];
    for (const client of clients) client.hub.tick(later(15_001));
    const [first, second] = clients.map((client) => client.connection.sent.at(-1)?.shared);
    assert.ok(first !== undefined && first === second);
  });

  it("pings nobody over long polling, and nobody who does not read", async () => {
    const { WatchedHub } = watchedHub();
    const polling = clientOf(WatchedHub, {}, { transport: "LongPolling" });
    polling.hub.tick(later(100_000));
    assert.deepEqual(polling.take(), []);
    const slow = clientOf(WatchedHub);
    slow.connection.bufferedBytes = 10;
    slow.hub.tick(later(100_000));
    assert.deepEqual(slow.take(), []);
  });

  it("pings by the handler's own clock, which stops with the last connection", async (t) => {
    const start = t.mock.method(globalThis, "setInterval");
    const stop = t.mock.method(globalThis, "clearInterval");
    const { WatchedHub } = watchedHub();
    const client = clientOf(WatchedHub, { keepAliveInterval: 10 });
    assert.deepEqual(await client.nextFew(3), [{ ping: true }, { ping: true }, { ping: true }]);
    client.end();
    await client.hub.done;
    const { length } = client.connection.sent;
    await turns(50);
    assert.equal(client.connection.sent.length, length);
    const [clock] = start.mock.calls.map(({ result }) => result);
    assert.ok(clock !== undefined && stop.mock.calls.some((call) => call.arguments[0] === clock));
  });

  const times = { clientTimeoutInterval: 1_000 };

  it("has no client timeout before the first ping", async () => {
    const { WatchedHub } = watchedHub();
    const client = clientOf(WatchedHub, times);
    await client.invoke("echo", 1);
    client.hub.tick(later(0));
    client.hub.tick(later(1e6));
    assert.equal(client.connection.ending, undefined);
    client.ping();
    client.hub.tick(later(1e6));
    client.hub.tick(later(1e6 + 999));
    assert.equal(client.hub.isOpen, true);
    client.hub.tick(later(1e6 + 1_001));
    assert.equal(client.hub.isOpen, false);
  });

  it("counts any message, even a part of one", async () => {
    const { WatchedHub } = watchedHub();
    const client = clientOf(WatchedHub, times);
    const start = performance.now();
    client.ping();
    await turns();
    client.hub.tick(start);
    client.post("echo", 1);
    client.hub.tick(start + 900);
    client.write('{"type"');
    client.hub.tick(start + 1_800);
    client.hub.tick(start + 2_700);
    assert.equal(client.hub.isOpen, true);
    client.hub.tick(start + 2_801);
    assert.equal(client.hub.isOpen, false);
  });

  it("does not count the time in which nothing can be read", async () => {
    const gate = new Deferred<void>();
    class BusyHub extends Hub {
      async wait() {
        await gate.promise;
      }
    }
    const client = clientOf(BusyHub, times);
    const start = performance.now();
    client.ping();
    client.call("wait");
    client.call("wait");
    await turns();
    for (let ms = 0; ms < 10_000; ms += 500) client.hub.tick(start + ms);
    assert.equal(client.hub.isOpen, true);
    gate.resolve();
    await client.nextFew(2);
    client.hub.tick(start + 10_000);
    assert.equal(client.hub.isOpen, true);
    client.hub.tick(start + 11_501);
    assert.equal(client.hub.isOpen, false);
  });
});

describe("an authentication that was refreshed", () => {
  it("is told to the hub, with the new user", async () => {
    const users: unknown[] = [];
    class UserHub extends Hub {
      override async onAuthenticationRefreshed() {
        users.push(this.context.user);
      }
    }
    const client = clientOf(UserHub, {}, { user: "old", userId: "1" });
    await turns();
    client.connection.user = "new";
    client.hub.userChanged();
    await turns();
    assert.deepEqual(users, ["new"]);
  });

  it("for another user ends the connection", async () => {
    const { WatchedHub } = watchedHub();
    const client = clientOf(WatchedHub, {}, { userId: "ada" });
    await turns();
    client.connection.userId = "bob";
    client.hub.userChanged();
    assert.deepEqual(await client.untilEnded(), [closing()]);
  });

  it("may throw in the hub", async () => {
    const logger = new Lines();
    class ThrowingHub extends Hub {
      override onAuthenticationRefreshed() {
        throw new Error("refresh");
      }
    }
    const client = clientOf(ThrowingHub, { logger });
    await turns();
    client.hub.userChanged();
    await turns();
    assert.equal(client.hub.isOpen, true);
    assert.deepEqual(logger.of("error"), ["halyard: onAuthenticationRefreshed of a hub threw"]);
  });
});
