/** What Microsoft's TypeScript client is tested for, with each of its versions, in Node. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import type { ILogger, IStreamResult } from "@microsoft/signalr";
import { once, Signal, timeLimit } from "../../support/network.js";
import {
  type Case,
  type Group,
  getText,
  observed,
  openDoor,
  type Scene,
  tokenFor,
  uniqueName,
} from "./case.js";
import {
  type ClientLibrary,
  clientLibraries,
  combinations,
  type HubConnection,
  type IHttpConnectionOptions,
  type ProtocolName,
  type TransportName,
  transports,
} from "./clients.js";

const text = "你好，世界！ Hello \u{1F9ED}";

interface Wish {
  readonly path?: string;
  /** Instead of the target's own address. */
  readonly baseUrl?: string;
  readonly transport?: TransportName | undefined;
  readonly protocol?: ProtocolName;
  readonly http?: IHttpConnectionOptions;
  readonly isStateful?: boolean;
  /** Delays of the automatic reconnect. */
  readonly reconnect?: number[];
}

/** A connection that is not started and will be stopped after the case. */
function makeConnection(
  scene: Scene,
  { signalR, messagePack }: ClientLibrary,
  {
    path = "/testhub",
    baseUrl = scene.target.baseUrl,
    transport,
    protocol = "json",
    http,
    isStateful = false,
    reconnect,
  }: Wish,
): HubConnection {
  const builder = new signalR.HubConnectionBuilder()
    .configureLogging(signalR.LogLevel.None)
    .withUrl(`${baseUrl}${path}`, {
      ...http,
      ...(transport && { transport: signalR.HttpTransportType[transport] }),
    })
    .withHubProtocol(
      protocol === "json"
        ? new signalR.JsonHubProtocol()
        : new messagePack.MessagePackHubProtocol(),
    );
  if (isStateful) builder.withStatefulReconnect();
  if (reconnect !== undefined) builder.withAutomaticReconnect(reconnect);
  const connection = builder.build();
  scene.defer(() => connection.stop());
  return connection;
}

async function startConnection(scene: Scene, library: ClientLibrary, wish: Wish) {
  const connection = makeConnection(scene, library, wish);
  await connection.start();
  return connection;
}

/** Events of a connection, to be awaited one by one. */
function eventsOf(connection: HubConnection): EventEmitter {
  const events = new EventEmitter();
  connection.onclose((error) => events.emit("close", error));
  connection.onreconnecting((error) => events.emit("reconnecting", error));
  connection.onreconnected((id) => events.emit("reconnected", id));
  return events;
}

/** Every item of a stream; fails as the stream does. */
function readStream<T>(stream: IStreamResult<T>): Promise<T[]> {
  const items: T[] = [];
  return new Promise((resolve, reject) => {
    stream.subscribe({
      next: (item) => items.push(item),
      complete: () => resolve(items),
      error: reject,
    });
  });
}

/** As after a silence that was too long. */
function loseConnection(connection: HubConnection): void {
  (connection as unknown as { serverTimeout(): void }).serverTimeout();
}

const failed = (method: string, message: string) =>
  `An unexpected error occurred invoking '${method}' on the server. ${message}`;

/** Rejected with exactly this message. */
async function rejectsWith(promise: Promise<unknown>, message: string | RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error) => {
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  });
}

// --- for each transport and protocol ---

type HubCase = [title: string, run: (scene: Scene, wish: Wish, library: ClientLibrary) => unknown];

const matrixCases: readonly HubCase[] = [
  [
    "invokes a method and gets its result",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      assert.equal(await connection.invoke("Echo", text), text);
      assert.equal(await connection.invoke("Echo", ""), "");
    },
  ],
  [
    "the same over TLS",
    async (scene, wish, library) => {
      const baseUrl = scene.target.secureBaseUrl;
      const connection = await startConnection(scene, library, { ...wish, baseUrl });
      assert.equal(await connection.invoke("Echo", text), text);
    },
  ],
  [
    "sends without a result",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const received = new Signal<string>("Message");
      connection.on("Message", (value: string) => received.fire(value));
      assert.equal(await connection.send("InvokeWithString", text), undefined);
      assert.equal(await received.wait(), text);
    },
  ],
  [
    "sends an object and gets one",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const received = new Signal<unknown>("CustomObject");
      connection.on("CustomObject", (value) => received.fire(value));
      await connection.send("SendCustomObject", { Name: "test", Value: 42 });
      assert.deepEqual(await received.wait(), { Name: "test", Value: 42 });
    },
  ],
  [
    "streams",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      assert.deepEqual(await readStream(connection.stream<string>("Stream")), ["a", "b", "c"]);
    },
  ],
  [
    "cancels a stream",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const cancelled = new Signal("StreamCanceled");
      connection.on("StreamCanceled", () => cancelled.fire());
      const subscription = connection.stream("InfiniteStream").subscribe({
        next() {},
        complete() {},
        error() {},
      });
      subscription.dispose();
      await cancelled.wait();
    },
  ],
  [
    "an exception rejects the call",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const message = failed("ThrowException", "InvalidOperationException: An error occurred.");
      await rejectsWith(connection.invoke("ThrowException", "An error occurred."), message);
      assert.equal(await connection.invoke("Echo", "after"), "after");
    },
  ],
  ...["EmptyStream", "Stream"].map(
    (method): HubCase => [
      `${method} can't be invoked as a plain method`,
      async (scene, wish, library) => {
        const connection = await startConnection(scene, library, wish);
        await rejectsWith(
          connection.invoke(method),
          `The client attempted to invoke the streaming '${method}' method with a non-streaming invocation.`,
        );
      },
    ],
  ),
  [
    "an exception ends a stream",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      await rejectsWith(
        readStream(connection.stream("StreamThrowException", "An error occurred.")),
        failed("StreamThrowException", "InvalidOperationException: An error occurred."),
      );
    },
  ],
  [
    "a plain method can't be streamed",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      await rejectsWith(
        readStream(connection.stream("Echo", "42")),
        "The client attempted to invoke the non-streaming 'Echo' method with a streaming invocation.",
      );
    },
  ],
  [
    "the server calls the client, whatever the case of the name",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const received = new Signal<string>("Message");
      connection.on("message", (value: string) => received.fire(value));
      await connection.invoke("InvokeWithString", text);
      assert.equal(await received.wait(), text);
    },
  ],
  [
    "handlers stay through a restart",
    async (scene, wish, library) => {
      const connection = makeConnection(scene, library, wish);
      const events = new EventEmitter();
      connection.on("Message", (value: string) => events.emit("Message", value));
      for (const value of ["first", "second"]) {
        await connection.start();
        const received = once(events, "Message");
        await connection.invoke("InvokeWithString", value);
        assert.deepEqual(await received, [value]);
        await connection.stop();
      }
    },
  ],
  [
    "a hub that can't be made fails the call or the connection",
    async (scene, wish, library) => {
      const connection = makeConnection(scene, library, { ...wish, path: "/uncreatable" });
      const used = connection.start().then(() => connection.invoke("Echo", text));
      await rejectsWith(
        used,
        /Connection closed with an error\. InvalidOperationException: This hub cannot be made\.$/,
      );
    },
  ],
  [
    "values of many types go there and back",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const sent = complexObject(wish.protocol);
      assertComplex(await connection.invoke("EchoComplexObject", sent), sent);
    },
  ],
  [
    "values of many types come",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      assertComplex(await connection.invoke("SendComplexObject"), complexObject(wish.protocol));
    },
  ],
  [
    "can be restarted",
    async (scene, wish, library) => {
      const connection = makeConnection(scene, library, wish);
      for (const _ of [1, 2]) {
        await connection.start();
        assert.equal(await connection.invoke("Echo", text), text);
        const closed = once(eventsOf(connection), "close");
        await connection.stop();
        assert.deepEqual(await closed, [undefined]);
      }
    },
  ],
  [
    "uploads a stream",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const subject = new library.signalR.Subject<string>();
      const result = connection.invoke("StreamingConcat", subject);
      for (const part of ["Hello", " ", "world", "!"]) subject.next(part);
      subject.complete();
      assert.equal(await result, "Hello world!");
    },
  ],
  [
    "an upload that fails rejects the call",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const subject = new library.signalR.Subject<string>();
      const result = connection.invoke("StreamingConcat", subject);
      const message = failed("StreamingConcat", "HubException: Something bad");
      const rejected = rejectsWith(result, message);
      subject.next("Hello");
      subject.error(new Error("Something bad"));
      await rejected;
    },
  ],
  ...(
    [
      ["returns a value", () => 10, "10"],
      [
        "throws",
        () => {
          throw new Error("from callback");
        },
        "Error: from callback",
      ],
      ["returns nothing", () => {}, "Client didn't provide a result."],
    ] as const
  ).map(
    ([title, answer, expected]): HubCase => [
      `a client asked for a result ${title}`,
      async (scene, wish, library) => {
        const connection = await startConnection(scene, library, wish);
        connection.on("Result", answer);
        assert.equal(await getText(scene, `/clientresult/${connection.connectionId}`), expected);
      },
    ],
  ),
];

interface ComplexObject {
  ByteArray: unknown;
  DateTime: Date | string;
  Guid: string;
  IntArray: number[];
  String: string;
}

/** In MessagePack bytes and dates are values of their own. */
function complexObject(protocol: ProtocolName | undefined): ComplexObject {
  const isBinary = protocol === "messagepack";
  return {
    ByteArray: isBinary ? Uint8Array.of(1, 2, 3) : "AQID",
    DateTime: isBinary ? new Date(Date.UTC(2000, 0, 1)) : "2000-01-01T00:00:00Z",
    Guid: "00010203-0405-0607-0706-050403020100",
    IntArray: [1, 2, 3],
    String: "hello world",
  };
}

function assertComplex(actual: ComplexObject, expected: ComplexObject): void {
  // One writes fractions of a second, another none.
  const plain = (value: ComplexObject) => ({
    ...value,
    ByteArray: value.ByteArray instanceof Uint8Array ? [...value.ByteArray] : value.ByteArray,
    DateTime: new Date(value.DateTime).getTime(),
  });
  assert.deepEqual(plain(actual), plain(expected));
}

// --- for each transport ---

const transportCases: readonly HubCase[] = [
  ...(
    [
      ["at once", (token: string) => token],
      ["by a promise", (token: string) => Promise.resolve(token)],
    ] as const
  ).map(
    ([title, give]): HubCase => [
      `an authorized hub, with a token given ${title}`,
      async (scene, wish, library) => {
        const token = await tokenFor(scene);
        const connection = await startConnection(scene, library, {
          ...wish,
          path: "/authorizedhub",
          http: { accessTokenFactory: () => give(token) },
        });
        assert.equal(await connection.invoke("Echo", text), text);
        assert.equal(await connection.invoke("WhoAmI"), "testuser");
      },
    ],
  ),
  [
    "an authorized hub, without a token",
    async (scene, wish, library) => {
      const connection = makeConnection(scene, library, { ...wish, path: "/authorizedhub" });
      await rejectsWith(
        connection.start(),
        /^Failed to complete negotiation with the server: Error: (Unauthorized|.*): Status code '401'$/,
      );
    },
  ],
  [
    "the client's time limit",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const closed = once(eventsOf(connection), "close");
      connection.serverTimeoutInMilliseconds = 1;
      const call = connection.invoke("Echo", text);
      if (wish.transport === "LongPolling") {
        assert.equal(await call, text);
        // There is none on this transport: another turn of polls, and it is still connected.
        assert.equal(await connection.invoke("Echo", "again"), "again");
        await connection.stop();
        assert.deepEqual(await closed, [undefined]);
      } else {
        await call.catch(() => {});
        const [error] = await closed;
        assert.equal(
          error?.message,
          "Server timeout elapsed without receiving a message from the server.",
        );
      }
    },
  ],
  [
    "keeps the cookies of negotiate",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      assert.equal(await connection.invoke("GetCookie", "testCookie"), "testValue");
      assert.equal(await connection.invoke("GetCookie", "testCookie2"), "testValue2");
      assert.equal(await connection.invoke("GetCookie", "expiredCookie"), null);
    },
  ],
  [
    "reconnects with a new id",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, { ...wish, reconnect: [0] });
      const events = eventsOf(connection);
      const firstId = connection.connectionId;
      const [reconnecting, reconnected] = [
        once(events, "reconnecting"),
        once(events, "reconnected"),
      ];
      loseConnection(connection);
      const [error] = await reconnecting;
      assert.match(error?.message, /^Server timeout elapsed/);
      const [id] = await reconnected;
      assert.equal(id, connection.connectionId);
      assert.notEqual(id, firstId);
      assert.equal(await connection.invoke("Echo", text), text);
      assert.equal(await connection.invoke("GetCallerConnectionId"), id);
    },
  ],
  [
    "takes another address while it reconnects",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, { ...wish, reconnect: [0] });
      const events = eventsOf(connection);
      const other = `${scene.url("/testhub")}?numRedirects=42`;
      connection.onreconnecting(() => {
        connection.baseUrl = other;
      });
      const reconnected = once(events, "reconnected");
      loseConnection(connection);
      await reconnected;
      assert.equal(connection.baseUrl, other);
      assert.equal(await connection.invoke("GetNumRedirects"), 42);
    },
  ],
  [
    "sends its user agent",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, wish);
      const userAgent = await connection.invoke<string>("GetHeader", "User-Agent");
      assert.match(userAgent, new RegExp(`^Microsoft SignalR/${library.version}\\.`));
    },
  ],
  [
    "headers of the user win",
    async (scene, wish, library) => {
      const headers = { "User-Agent": "Custom Agent", "X-HEADER": "VALUE" };
      const connection = await startConnection(scene, library, { ...wish, http: { headers } });
      assert.equal(await connection.invoke("GetHeader", "User-Agent"), "Custom Agent");
      assert.equal(await connection.invoke("GetHeader", "X-HEADER"), "VALUE");
    },
  ],
];

// --- stateful reconnect, for each protocol ---

const statefulCases: readonly HubCase[] = [
  [
    "a lost socket goes unnoticed",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, {
        ...wish,
        path: "/stateful",
        isStateful: true,
      });
      const noticed: unknown[] = [];
      connection.onreconnecting((error) => noticed.push(error));
      connection.onclose((error) => noticed.push(error));
      const id = connection.connectionId;
      const door = uniqueName();
      const held = connection.invoke("Hold", door);
      await observed(scene, id as string, `holding ${door}`);
      socketOf(connection).terminate();
      const sent = connection.invoke("Echo", "in between");
      await openDoor(scene, door);
      assert.deepEqual(await Promise.all([held, sent]), [door, "in between"]);
      assert.equal(await connection.invoke("ConnectionId"), id);
      assert.deepEqual(noticed, []);
    },
  ],
  [
    "stopping is the end",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, {
        ...wish,
        path: "/stateful",
        isStateful: true,
      });
      const id = connection.connectionId as string;
      const closed = once(eventsOf(connection), "close");
      await connection.stop();
      assert.deepEqual(await closed, [undefined]);
      assert.equal(await observed(scene, id, "disconnected"), "disconnected none");
    },
  ],
  [
    "Close from the server closes for good",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, {
        ...wish,
        path: "/stateful",
        isStateful: true,
      });
      const closed = once(eventsOf(connection), "close");
      await connection.send("Abort");
      assert.deepEqual(await closed, [undefined]);
    },
  ],
];

/** The socket under a connection, to be cut. */
function socketOf(connection: HubConnection): { terminate(): void } {
  const { transport } = (connection as unknown as { connection: { transport: object } }).connection;
  return (transport as { _webSocket: { terminate(): void } })._webSocket;
}

// --- once for each version ---

const singleCases: readonly HubCase[] = [
  [
    "reconnects through a redirect of negotiate",
    async (scene, wish, library) => {
      const path = `/redirect?baseUrl=${scene.target.baseUrl}`;
      const connection = await startConnection(scene, library, { ...wish, path, reconnect: [0] });
      const reconnected = once(eventsOf(connection), "reconnected");
      const before = await connection.invoke<number>("GetNumRedirects");
      loseConnection(connection);
      const [id] = await reconnected;
      const after = await connection.invoke<number>("GetNumRedirects");
      assert.ok(after > 0 && before > 0);
      assert.equal(id, connection.connectionId);
      assert.equal(await connection.invoke("GetCallerConnectionId"), id);
    },
  ],
  [
    "a redirect of negotiate can bring a token",
    async (scene, wish, library) => {
      const path = `/redirect-with-token?baseUrl=${scene.target.baseUrl}`;
      const connection = await startConnection(scene, library, { ...wish, path });
      assert.equal(await connection.invoke("WhoAmI"), "redirected");
    },
  ],
  [
    "gives up redirects that never end",
    async (scene, wish, library) => {
      const connection = makeConnection(scene, library, { ...wish, path: "/redirect-forever" });
      await rejectsWith(connection.start(), "Negotiate redirection limit exceeded.");
    },
  ],
  [
    "reconnects without negotiation",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, {
        ...wish,
        transport: "WebSockets",
        http: { skipNegotiation: true },
        reconnect: [0],
      });
      const reconnected = once(eventsOf(connection), "reconnected");
      loseConnection(connection);
      assert.deepEqual(await reconnected, [undefined]);
      assert.equal(await connection.invoke("Echo", text), text);
    },
  ],
  [
    "knows its id as the server does",
    async (scene, wish, library) => {
      const connection = makeConnection(scene, library, wish);
      assert.equal(connection.connectionId, null);
      await connection.start();
      const first = connection.connectionId;
      assert.equal(await connection.invoke("GetCallerConnectionId"), first);
      await connection.stop();
      assert.equal(connection.connectionId, null);
      await connection.start();
      assert.notEqual(connection.connectionId, first);
      assert.equal(await connection.invoke("GetCallerConnectionId"), connection.connectionId);
    },
  ],
  [
    "knows no id without negotiation",
    async (scene, wish, library) => {
      const connection = await startConnection(scene, library, {
        ...wish,
        transport: "WebSockets",
        http: { skipNegotiation: true },
      });
      assert.equal(connection.connectionId, null);
      assert.match(await connection.invoke("GetCallerConnectionId"), /^[\w-]{22}$/);
    },
  ],
  ...(
    [
      ["json", "ServerSentEvents"],
      ["messagepack", "LongPolling"],
    ] as const
  ).flatMap(([protocol, expected]): HubCase[] => [
    [
      `falls back to ${expected} where there are no WebSockets, ${protocol}`,
      async (scene, wish, library) => {
        const path = "/testhub-nowebsockets";
        const connection = await startConnection(scene, library, { ...wish, path, protocol });
        assert.equal(await connection.invoke("GetActiveTransportName"), expected);
      },
    ],
    [
      `falls back to ${expected} when WebSockets fail, ${protocol}`,
      async (scene, wish, library) => {
        class BrokenWebSocket {
          constructor() {
            throw new Error("Kick rocks");
          }
        }
        const http = { WebSocket: BrokenWebSocket } as IHttpConnectionOptions;
        const connection = await startConnection(scene, library, { ...wish, protocol, http });
        assert.equal(await connection.invoke("GetActiveTransportName"), expected);
      },
    ],
  ]),
  [
    "stopping long polling ends the poll and deletes the connection",
    async (scene, wish, library) => {
      const requests: { method: string; status: number }[] = [];
      class RecordingClient extends library.signalR.DefaultHttpClient {
        override async send(
          request: Parameters<InstanceType<typeof library.signalR.DefaultHttpClient>["send"]>[0],
        ) {
          const response = await super.send(request).catch((error) => {
            requests.push({ method: request.method ?? "", status: error.statusCode ?? 0 });
            throw error;
          });
          requests.push({ method: request.method ?? "", status: response.statusCode });
          return response;
        }
      }
      const connection = await startConnection(scene, library, {
        ...wish,
        transport: "LongPolling",
        http: { httpClient: new RecordingClient(new NullLogger()) },
      });
      await connection.stop();
      const deleted = requests.filter(({ method }) => method === "DELETE");
      assert.deepEqual(deleted, [{ method: "DELETE", status: 202 }]);
    },
  ],
];

class NullLogger implements ILogger {
  log() {}
}

// --- raw connections ---

interface RawClient {
  onreceive: ((data: string | ArrayBuffer) => void) | null;
  onclose: ((error?: Error) => void) | null;
  start(transferFormat: number): Promise<void>;
  send(data: string | Uint8Array): Promise<void>;
  stop(error?: Error): Promise<void>;
}

const require = createRequire(import.meta.url);
const packageOf = ({ version }: ClientLibrary) =>
  version === 10 ? "@microsoft/signalr" : `signalr-${version}`;

/** The client without hubs, which the package does not export by name. */
function makeRaw(
  library: ClientLibrary,
  url: string,
  options: IHttpConnectionOptions = {},
): RawClient {
  const { HttpConnection } = require(`${packageOf(library)}/dist/cjs/HttpConnection.js`);
  return new HttpConnection(url, { logger: new NullLogger(), ...options });
}

/** Sends a text to the echo and gets it back; the connection closes without an error. */
async function echoes(scene: Scene, connection: RawClient, format: "Text" | "Binary" = "Text") {
  const received = new Signal<string | ArrayBuffer>("the echo");
  const closed = new Signal<Error | undefined>("the close");
  connection.onreceive = received.fire;
  connection.onclose = closed.fire;
  scene.defer(() => connection.stop());
  await connection.start(format === "Text" ? 1 : 2);
  await connection.send(
    format === "Text" ? "Hello World" : new TextEncoder().encode("Hello World"),
  );
  const data = await received.wait();
  const echoed = typeof data === "string" ? data : new TextDecoder().decode(data);
  assert.equal(echoed, "Hello World");
  await connection.stop();
  assert.equal(await closed.wait(), undefined);
}

const rawCases: readonly HubCase[] = [
  [
    "connects without naming a transport",
    (scene, _wish, library) => echoes(scene, makeRaw(library, scene.url("/echo"))),
  ],
  [
    "what a bad negotiate says is told",
    async (scene, _wish, library) => {
      const connection = makeRaw(library, scene.url("/bad-negotiate"));
      await assert.rejects(connection.start(1), (error: Error) => {
        assert.ok(
          error.message.endsWith("Error: Some response from server: Status code '400'"),
          error.message,
        );
        return true;
      });
    },
  ],
];

const rawTransportCases: readonly HubCase[] = [
  [
    "sends and receives",
    (scene, wish, library) =>
      echoes(scene, makeRaw(library, scene.url("/echo"), optionsOf(library, wish))),
  ],
  ...[false, true].map(
    (isLogged): HubCase => [
      isLogged ? "logs content when asked to" : "logs no content unasked",
      async (scene, wish, library) => {
        const lines: string[] = [];
        const logger: ILogger = { log: (_level, message) => lines.push(message) };
        const options = { ...optionsOf(library, wish), logger, logMessageContent: isLogged };
        await echoes(scene, makeRaw(library, scene.url("/echo"), options));
        const matches = lines.filter((line) => line.includes("Hello World"));
        assert.equal(matches.length, isLogged ? 2 : 0, matches.join("\n"));
      },
    ],
  ),
  ...[true, false].map(
    (withCredentials): HubCase => [
      `withCredentials ${withCredentials} reaches the HTTP client`,
      async (scene, wish, library) => {
        const seen = new Set<boolean | undefined>();
        class WatchingClient extends library.signalR.DefaultHttpClient {
          override send(
            request: Parameters<InstanceType<typeof library.signalR.DefaultHttpClient>["send"]>[0],
          ) {
            seen.add(request.withCredentials);
            return super.send(request);
          }
        }
        const httpClient = new WatchingClient(new NullLogger());
        const options = { ...optionsOf(library, wish), httpClient, withCredentials };
        await echoes(scene, makeRaw(library, scene.url("/echo"), options));
        assert.deepEqual([...seen], [withCredentials]);
      },
    ],
  ),
];

/** Not on WebSockets, which follow none. */
const redirectCases: readonly HubCase[] = [
  [
    "follows a redirect of HTTP",
    (scene, wish, library) =>
      echoes(scene, makeRaw(library, scene.url("/echoredirect"), optionsOf(library, wish))),
  ],
];

function optionsOf({ signalR }: ClientLibrary, { transport }: Wish): IHttpConnectionOptions {
  return transport === undefined ? {} : { transport: signalR.HttpTransportType[transport] };
}

// --- all of it ---

function bind(cases: readonly HubCase[], library: ClientLibrary, wish: Wish): Case[] {
  return cases.map(([title, run]) => ({
    title,
    // A hundred redirects, and a server that has just been started.
    timeLimit: 2 * timeLimit,
    run: async (scene) => {
      await run(scene, wish, library);
    },
  }));
}

/** The functional cases, for each version of the client. */
export const functionalGroups: readonly Group[] = clientLibraries.flatMap((library): Group[] => {
  const name = `client ${library.version}`;
  return [
    ...combinations.map(([transport, protocol]) => ({
      title: `${name}, ${transport}, ${protocol}`,
      cases: bind(matrixCases, library, { transport, protocol }),
    })),
    ...transports.map((transport) => ({
      title: `${name}, ${transport}`,
      cases: [
        ...bind(transportCases, library, { transport }),
        ...bind(rawTransportCases, library, { transport }),
        ...(transport === "WebSockets" ? [] : bind(redirectCases, library, { transport })),
      ],
    })),
    ...(["json", "messagepack"] as const).map((protocol) => ({
      title: `${name}, stateful reconnect, ${protocol}`,
      cases: bind(statefulCases, library, { transport: "WebSockets", protocol }),
    })),
    { title: name, cases: [...bind(singleCases, library, {}), ...bind(rawCases, library, {})] },
  ];
});
