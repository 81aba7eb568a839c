/** The application of `oracle/`, with Halyard: the same paths, hubs and methods. */
import { isUtf8 } from "node:buffer";
import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import {
  ConnectionClosedError,
  compose,
  handleUpgrades,
  type Middleware,
  webSockets,
} from "halyard";
import {
  type ConnectionOptions,
  defineContract,
  Hub,
  HubError,
  type HubOptions,
  HubProtocolError,
  hubContext,
  json,
  mapConnection,
  mapHub,
  type RawConnection,
  type SharedHubOptions,
  upload,
} from "halyard/hub";
import { messagePack } from "halyard/messagepack";
import { jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { once } from "../support/network.js";
import type { Target } from "./suite/case.js";
import { selfSignedPems } from "./tls.js";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

// --- what tests ask about ---

interface Diary {
  readonly events: string[];
  readonly readers: Set<() => void>;
}

/** What hubs saw, by connection. */
const diaries = new Map<string, Diary>();

function diaryOf(connectionId: string): Diary {
  const diary = diaries.get(connectionId) ?? { events: [], readers: new Set() };
  diaries.set(connectionId, diary);
  return diary;
}

function observe(connectionId: string, event: string): void {
  const { events, readers } = diaryOf(connectionId);
  events.push(event);
  for (const read of [...readers]) read();
}

/** The first event that begins so, or `undefined` when none comes in time. */
function whenObserved(id: string, start: string, within: number): Promise<string | undefined> {
  const { events, readers } = diaryOf(id);
  const find = () => events.find((event) => event.startsWith(start));
  return new Promise((resolve) => {
    const settle = (event: string | undefined) => {
      clearTimeout(timer);
      readers.delete(read);
      resolve(event);
    };
    const read = () => {
      const event = find();
      if (event !== undefined) settle(event);
    };
    const timer = setTimeout(settle, within, undefined);
    readers.add(read);
    read();
  });
}

interface Door {
  readonly opened: Promise<void>;
  readonly open: () => void;
}

/** Doors that methods wait behind until somebody opens them. */
const doors = new Map<string, Door>();

function doorOf(name: string): Door {
  let door = doors.get(name);
  if (door === undefined) {
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    door = { opened, open };
    doors.set(name, door);
  }
  return door;
}

// --- errors ---

/** An error that goes by the name that .NET gives it. */
class InvalidOperationException extends Error {
  override readonly name = "InvalidOperationException";
}

/** An error under the name that .NET has for it. */
function describe(error: unknown): string {
  if (error === undefined) return "none";
  const { message } = error as Error;
  return `${dotnetName(error as Error)}: ${message}`;
}

function dotnetName(error: Error): string {
  if (error instanceof HubError) return "HubException";
  if (error instanceof HubProtocolError) return "InvalidDataException";
  if (error instanceof ConnectionClosedError) {
    return error.code === "ERR_CLIENT_TIMEOUT" ? "OperationCanceledException" : "IOException";
  }
  return error.name;
}

// --- the hubs of the functional cases ---

interface TestClient {
  Message(text: string): void;
  CustomObject(value: unknown): void;
  StreamCanceled(): void;
  Result(): number;
}

class TestHub extends Hub<TestClient> {
  Echo(message: string) {
    return message;
  }

  GetCallerConnectionId() {
    return this.context.connectionId;
  }

  GetNumRedirects() {
    return Number(this.context.request.query.get("numRedirects"));
  }

  ThrowException(message: string) {
    throw new InvalidOperationException(message);
  }

  async InvokeWithString(message: string) {
    await this.clients.client(this.context.connectionId).Message(message);
  }

  async SendCustomObject(value: { Name: string; Value: number }) {
    await this.clients.client(this.context.connectionId).CustomObject(value);
  }

  async *Stream() {
    yield* ["a", "b", "c"];
  }

  async *InfiniteStream() {
    const { caller } = this.clients;
    const { signal } = this;
    try {
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
        if (signal.aborted) resolve();
      });
    } finally {
      await caller.StreamCanceled();
    }
    yield* [];
  }

  async StreamingConcat(stream: AsyncIterable<string>) {
    let text = "";
    for await (const part of stream) text += part;
    return text;
  }

  async *EmptyStream() {}

  // Not a generator, so that it throws when it is called and not when it is read.
  StreamThrowException(message: string): AsyncIterable<string> {
    throw new InvalidOperationException(message);
  }

  GetActiveTransportName() {
    return this.context.transport;
  }

  EchoComplexObject(value: unknown) {
    return value;
  }

  SendComplexObject() {
    const isBinary = this.context.protocol === "messagepack";
    const bytes = Buffer.from([1, 2, 3]);
    return {
      ByteArray: isBinary ? bytes : bytes.toString("base64"),
      DateTime: new Date(Date.UTC(2000, 0, 1)),
      Guid: "00010203-0405-0607-0706-050403020100",
      IntArray: [1, 2, 3],
      String: "hello world",
    };
  }

  GetContentTypeHeader() {
    return this.GetHeader("content-type") ?? "";
  }

  GetHeader(name: string) {
    return this.context.request.headers[name.toLowerCase()];
  }

  GetCookie(name: string) {
    const cookies = String(this.context.request.headers.cookie ?? "").split("; ");
    return cookies.find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
  }
}

class AuthorizedHub extends Hub {
  Echo(message: string) {
    return message;
  }

  WhoAmI() {
    return this.context.userId;
  }
}

class UncreatableHub extends Hub {
  constructor() {
    super();
    throw new InvalidOperationException("This hub cannot be made.");
  }

  Echo(message: string) {
    return message;
  }
}

// --- the hubs of the cases on the wire ---

const [anything, text, whole, texts] = [z.unknown(), z.string(), z.int(), z.array(z.string())];

const wire = defineContract({
  server: {
    Echo: { args: [text] },
    EchoAny: { args: [anything] },
    Add: { args: [whole, whole] },
    Nothing: {},
    Null: {},
    Large: { args: [whole] },
    When: {},
    Bytes: {},
    Big: {},
    ConnectionId: {},
    UserId: {},
    Transport: {},
    Query: { args: [text] },
    Fail: { args: [text] },
    FailForCaller: { args: [text] },
    "Another.Name": {},
    ForUsers: {},
    ForAdmins: {},
    Abort: {},
    Hold: { args: [text] },
    HoldUnlessCanceled: { args: [text] },
    SendToCaller: { args: [text, text] },
    SendManyToCaller: { args: [whole, whole] },
    SendToClient: { args: [text, text] },
    SendToClients: { args: [texts, text] },
    SendToAll: { args: [text] },
    FloodAll: { args: [whole, whole] },
    SendToAllExcept: { args: [texts, text] },
    SendToOthers: { args: [text] },
    SendToGroup: { args: [text, text] },
    SendToGroups: { args: [texts, text] },
    SendToGroupExcept: { args: [text, texts, text] },
    SendToOthersInGroup: { args: [text, text] },
    SendToUser: { args: [text, text] },
    SendToUsers: { args: [texts, text] },
    Join: { args: [text] },
    Leave: { args: [text] },
    JoinFor: { args: [text, text] },
    Count: { args: [whole], stream: whole },
    CountByChannel: { args: [whole], stream: whole },
    Endless: { stream: text },
    FailAfter: { args: [whole, text, z.boolean()], stream: whole },
    NoStream: { stream: whole },
    Sum: { args: [upload(whole)] },
    Join2: { args: [text, upload(text), upload(text)] },
    ObserveUpload: { args: [upload(text)] },
    FirstOnly: { args: [upload(text)] },
    Shout: { args: [upload(text)], stream: text },
    SumBehindDoor: { args: [text, upload(whole)] },
    Ask: { args: [text, text] },
    AskCaller: { args: [text] },
    AskCallerWithin: { args: [whole] },
    AskCallerTwice: {},
  },
  client: {
    Message: { args: [text] },
    Target: { args: [text] },
    MixedCase: { args: [text] },
    Numbered: { args: [whole, text] },
    Question: { args: [text], result: whole },
  },
});

interface WireClient {
  Message(text: string): void;
  Target(text: string): void;
  MixedCase(text: string): void;
  Numbered(number: number, text: string): void;
  Question(text: string): number;
}

class WireHub extends Hub<WireClient> {
  override onConnected(): unknown {
    observe(this.context.connectionId, "connected");
    return undefined;
  }

  override onDisconnected(error?: Error): void {
    observe(this.context.connectionId, `disconnected ${describe(error)}`);
  }

  // --- plain ---

  Echo(value: string) {
    return value;
  }

  EchoAny(value: unknown) {
    return value;
  }

  Add(left: number, right: number) {
    return left + right;
  }

  Nothing() {
    observe(this.context.connectionId, "nothing");
  }

  Null() {
    return null;
  }

  Large(length: number) {
    return "x".repeat(length);
  }

  When() {
    return new Date(Date.UTC(2001, 1, 3, 4, 5, 6));
  }

  Bytes() {
    const bytes = Buffer.from([1, 2, 3]);
    return this.context.protocol === "messagepack" ? bytes : bytes.toString("base64");
  }

  Big() {
    return Number.MAX_SAFE_INTEGER;
  }

  ConnectionId() {
    return this.context.connectionId;
  }

  UserId() {
    return this.context.userId;
  }

  Transport() {
    return this.context.transport;
  }

  Query(name: string) {
    return this.context.request.query.get(name);
  }

  Fail(message: string) {
    throw new InvalidOperationException(message);
  }

  FailForCaller(message: string) {
    throw new HubError(message);
  }

  "Another.Name"() {
    return "named";
  }

  ForUsers() {
    return "for users";
  }

  ForAdmins() {
    return "for admins";
  }

  Abort() {
    this.context.abort();
  }

  Hidden() {
    return "hidden";
  }

  async Hold(door: string) {
    observe(this.context.connectionId, `holding ${door}`);
    await doorOf(door).opened;
    return door;
  }

  async HoldUnlessCanceled(door: string) {
    observe(this.context.connectionId, `holding ${door}`);
    const canceled = new Promise<string>((resolve) => {
      this.signal.addEventListener("abort", () => resolve("canceled"), { once: true });
    });
    return await Promise.race([doorOf(door).opened.then(() => door), canceled]);
  }

  // --- to clients ---

  async SendToCaller(target: "Message" | "Target" | "MixedCase", value: string) {
    await this.clients.caller[target](value);
  }

  async SendManyToCaller(count: number, size: number) {
    for (let number = 0; number < count; number++) {
      await this.clients.caller.Numbered(number, "x".repeat(size));
    }
  }

  async SendToClient(id: string, value: string) {
    await this.clients.client(id).Message(value);
  }

  async SendToClients(ids: string[], value: string) {
    await this.clients.clients(ids).Message(value);
  }

  async SendToAll(value: string) {
    await this.clients.all.Message(value);
  }

  async FloodAll(count: number, size: number) {
    for (let number = 0; number < count; number++) {
      await this.clients.all.Numbered(number, "x".repeat(size));
    }
  }

  async SendToAllExcept(ids: string[], value: string) {
    await this.clients.allExcept(ids).Message(value);
  }

  async SendToOthers(value: string) {
    await this.clients.others.Message(value);
  }

  async SendToGroup(name: string, value: string) {
    await this.clients.group(name).Message(value);
  }

  async SendToGroups(names: string[], value: string) {
    await this.clients.groups(names).Message(value);
  }

  async SendToGroupExcept(name: string, ids: string[], value: string) {
    await this.clients.groupExcept(name, ids).Message(value);
  }

  async SendToOthersInGroup(name: string, value: string) {
    await this.clients.othersInGroup(name).Message(value);
  }

  async SendToUser(user: string, value: string) {
    await this.clients.user(user).Message(value);
  }

  async SendToUsers(users: string[], value: string) {
    await this.clients.users(users).Message(value);
  }

  async Join(group: string) {
    await this.groups.add(this.context.connectionId, group);
  }

  async Leave(group: string) {
    await this.groups.remove(this.context.connectionId, group);
  }

  async JoinFor(id: string, group: string) {
    await this.groups.add(id, group);
  }

  // --- streams to the client ---

  async *Count(to: number) {
    for (let number = 0; number < to; number++) yield number;
  }

  CountByChannel(to: number) {
    return new ReadableStream<number>({
      start(controller) {
        for (let number = 0; number < to; number++) controller.enqueue(number);
        controller.close();
      },
    });
  }

  async *Endless() {
    const { signal } = this;
    yield "first";
    try {
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
        if (signal.aborted) resolve();
      });
    } finally {
      observe(this.context.connectionId, "stream canceled");
    }
  }

  async *FailAfter(count: number, message: string, isForCaller: boolean) {
    for (let number = 0; number < count; number++) yield number;
    throw isForCaller ? new HubError(message) : new InvalidOperationException(message);
  }

  NoStream() {
    return null;
  }

  // --- streams from the client ---

  async Sum(numbers: AsyncIterable<number>) {
    let sum = 0;
    for await (const number of numbers) sum += number;
    return sum;
  }

  async Join2(separator: string, left: AsyncIterable<string>, right: AsyncIterable<string>) {
    const read = async (items: AsyncIterable<string>) => {
      const list: string[] = [];
      for await (const item of items) list.push(item);
      return list;
    };
    return (await Promise.all([read(left), read(right)])).flat().join(separator);
  }

  async ObserveUpload(items: AsyncIterable<string>) {
    const id = this.context.connectionId;
    try {
      for await (const item of items) observe(id, `item ${item}`);
      observe(id, "upload done");
    } catch (error) {
      // .NET has another name for a connection that ends than for one that is not there.
      observe(id, `upload failed ${describe(error).replace("IO", "OperationCanceled")}`);
      throw error;
    }
  }

  FirstOnly(_items: AsyncIterable<string>) {
    return "returned early";
  }

  async *Shout(items: AsyncIterable<string>) {
    for await (const item of items) yield item.toUpperCase();
  }

  async SumBehindDoor(door: string, numbers: AsyncIterable<number>) {
    await this.Hold(door);
    return this.Sum(numbers);
  }

  // --- client results ---

  async Ask(id: string, question: string) {
    try {
      return `value ${await this.clients.client(id).invoke().Question(question)}`;
    } catch (error) {
      observe(this.context.connectionId, `ask failed ${describe(error)}`);
      return describe(error);
    }
  }

  AskCaller(question: string) {
    return this.Ask(this.context.connectionId, question);
  }

  async AskCallerWithin(milliseconds: number) {
    try {
      const signal = AbortSignal.timeout(milliseconds);
      return `value ${await this.clients.caller.invoke({ signal }).Question("quick")}`;
    } catch (error) {
      return describe(error);
    }
  }

  AskCallerTwice() {
    return Promise.all(
      ["one", "two"].map((question) => this.clients.caller.invoke().Question(question)),
    );
  }
}

/** Where broadcasts disturb nobody else. */
class CrowdHub extends WireHub {}

/** Where somebody does not read. */
class SlowHub extends WireHub {}

class StatefulHub extends WireHub {}

class RefusingHub extends WireHub {
  override onConnected() {
    throw new InvalidOperationException("Not today.");
  }
}

/** Asks a client before it is connected. */
class HastyHub extends WireHub {
  override async onConnected() {
    await this.clients.caller.invoke().Question("hasty");
  }
}

/** Sends as soon as somebody is there. */
class GreetingHub extends WireHub {
  override async onConnected() {
    await this.clients.caller.Message("welcome");
    super.onConnected();
  }
}

// --- raw connections ---

/** Text stays text, as over ASP.NET Core; other bytes are sent as bytes. */
async function echo(connection: RawConnection): Promise<void> {
  for await (const bytes of connection) {
    await connection.send(bytes, { type: isUtf8(bytes) ? "text" : "binary" });
  }
}

// --- the application ---

const key = randomBytes(32);

async function createToken(query: URLSearchParams): Promise<string> {
  const role = query.get("role");
  const exp = Date.now() / 1000 + Number(query.get("lifetime") ?? 5);
  const claims = { sub: query.get("user") ?? "testuser", exp, ...(role && { role }) };
  return new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(key);
}

const authenticate = async (token: string) => (await jwtVerify(token, key)).payload;

/** What every path of the application has. */
const ofPaths: ConnectionOptions = {
  disconnectTimeout: 5_000,
  authenticate,
  allowedOrigins: "*",
  logger: quiet,
};

const common: SharedHubOptions & ConnectionOptions = {
  ...ofPaths,
  supportedProtocols: [json(), messagePack()],
  enableDetailedErrors: true,
};

const onWire = {
  ...common,
  contract: wire,
  methods: {
    ForUsers: { authorize: ({ user }: { user: unknown }) => user !== undefined },
    ForAdmins: {
      authorize: ({ user }: { user: unknown }) => (user as { role?: string })?.role === "admin",
    },
  },
};

function hubs(): Middleware[] {
  const map = (
    path: string,
    hub: typeof WireHub,
    options: HubOptions<WireHub> & ConnectionOptions = {},
  ) => mapHub(path, hub, { ...onWire, ...options });
  return [
    mapHub("/testhub", TestHub, common),
    mapHub("/testhub-nowebsockets", TestHub, {
      ...common,
      transports: ["ServerSentEvents", "LongPolling"],
    }),
    mapHub("/uncreatable", UncreatableHub, common),
    mapHub("/authorizedhub", AuthorizedHub, { ...common, authorize: true }),
    mapHub("/expiring", AuthorizedHub, {
      ...common,
      authorize: true,
      closeOnAuthenticationExpiration: true,
    }),
    mapHub("/redirect", TestHub, {
      ...common,
      redirect: ({ query }) => {
        const count = Number(query.get("numRedirects") ?? 0) + 1;
        return { url: `${query.get("baseUrl")}/testhub?numRedirects=${count}` };
      },
    }),
    mapHub("/redirect-with-token", TestHub, {
      ...common,
      redirect: async ({ query }) => ({
        url: `${query.get("baseUrl")}/authorizedhub`,
        accessToken: await createToken(new URLSearchParams("user=redirected&lifetime=30")),
      }),
    }),
    mapHub("/redirect-forever", TestHub, {
      ...common,
      redirect: ({ headers }) => ({ url: `http://${headers.host}/redirect-forever` }),
    }),
    map("/wire", WireHub),
    map("/wire-v1", WireHub, { minimumProtocolVersion: 1 }),
    map("/wire-websockets", WireHub, { transports: ["WebSockets"] }),
    map("/wire-sse", WireHub, { transports: ["ServerSentEvents"] }),
    map("/wire-longpolling", WireHub, { transports: ["LongPolling"] }),
    map("/wire-quickpoll", WireHub, { longPolling: { pollTimeout: 1_000 } }),
    map("/wire-subprotocol", WireHub, {
      webSockets: {
        subProtocolSelector: (asked) => (asked.includes("second") ? "second" : undefined),
      },
    }),
    map("/quiet", WireHub, { enableDetailedErrors: false }),
    map("/crowd", CrowdHub),
    map("/slow", SlowHub),
    map("/impatient", WireHub, { handshakeTimeout: 500 }),
    map("/quick", WireHub, {
      keepAliveInterval: 1_000,
      clientTimeoutInterval: 2_000,
    }),
    map("/stateful", StatefulHub, { allowStatefulReconnects: true }),
    map("/small-buffer", WireHub, {
      allowStatefulReconnects: true,
      statefulReconnectBufferSize: 1_000,
    }),
    map("/json-only", WireHub, { supportedProtocols: [json()] }),
    map("/parallel", WireHub, { maximumParallelInvocationsPerClient: 2 }),
    map("/small-stream", WireHub, { streamBufferCapacity: 2 }),
    map("/small-message", WireHub, { maximumReceiveMessageSize: 100 }),
    map("/refusing", RefusingHub),
    map("/quiet-refusing", RefusingHub, { enableDetailedErrors: false }),
    map("/hasty", HastyHub),
    map("/greeting", GreetingHub),
    mapConnection("/echo", echo, ofPaths),
    mapConnection("/echo-websockets", echo, { ...ofPaths, transports: ["WebSockets"] }),
    mapConnection("/ends", () => {}, ofPaths),
    mapConnection(
      "/throws",
      async (connection) => {
        for await (const _ of connection) throw new Error("The handler failed.");
      },
      ofPaths,
    ),
    mapConnection(
      "/silent",
      async (connection) => {
        await doorOf(connection.id).opened;
        await echo(connection);
      },
      ofPaths,
    ),
  ];
}

/** Cookies at negotiate, and every origin is welcome. */
const inFront: Middleware = (request, response, next) => {
  const { origin } = request.headers;
  if (origin !== undefined) {
    response.setHeader("Access-Control-Allow-Origin", origin);
    response.setHeader("Access-Control-Allow-Credentials", "true");
    response.setHeader("Vary", "Origin");
    if (request.method === "OPTIONS" && request.headers["access-control-request-method"]) {
      const asked = request.headers["access-control-request-headers"];
      if (asked !== undefined) response.setHeader("Access-Control-Allow-Headers", asked);
      response.setHeader("Access-Control-Allow-Methods", "GET, POST, DELETE, PUT");
      response.writeHead(204).end();
      return undefined;
    }
  }
  if (/^[^?]*\/negotiate(\?|$)/.test(request.url ?? "")) {
    response.setHeader("Set-Cookie", [
      "testCookie=testValue; path=/",
      "testCookie2=testValue2; path=/",
      "expiredCookie=expiredValue; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ]);
  }
  return next();
};

type Route = (parts: string[], query: URLSearchParams) => Promise<string | undefined> | string;

/** Ordinary requests, by the first part of their path; `undefined` is not found. */
const routes: Readonly<Record<string, Route>> = {
  generateJwtToken: (_parts, query) => createToken(query),
  async clientresult([id = ""]) {
    try {
      return String(await hubContext(TestHub).clients.client(id).invoke().Result());
    } catch (error) {
      return (error as Error).message;
    }
  },
  observed: ([id = "", ...start], query) =>
    whenObserved(id, start.join("/"), Number(query.get("within") ?? 12_000)),
  open([name = ""]) {
    doorOf(name).open();
    return "";
  },
  async outside([kind, name = "", value = ""]) {
    if (kind === "all") await hubContext(CrowdHub).clients.all.Message(name);
    if (kind === "group") await hubContext(WireHub).clients.group(name).Message(value);
    if (kind === "user") await hubContext(WireHub).clients.user(name).Message(value);
    if (kind === "client") await hubContext(StatefulHub).clients.client(name).Message(value);
    return "";
  },
};

const ordinary: Middleware = async (request, response, next) => {
  const { pathname, search, searchParams } = new URL(request.url ?? "", "http://localhost");
  const [first = "", ...parts] = pathname.slice(1).split("/").map(decodeURIComponent);
  if (first === "echoredirect") {
    const location = `http://${request.headers.host}/${["echo", ...parts].join("/")}${search}`;
    response.writeHead(307, { Location: location }).end();
    return;
  }
  if (pathname === "/bad-negotiate/negotiate") {
    response.writeHead(400, { "Content-Type": "text/plain" }).end("Some response from server");
    return;
  }
  const route = Object.hasOwn(routes, first) ? routes[first] : undefined;
  if (route === undefined) {
    await next();
    return;
  }
  const body = await route(parts, searchParams);
  response.writeHead(body === undefined ? 404 : 200, { "Content-Type": "text/plain" }).end(body);
};

const notFound: Middleware = (_request, response) => {
  response.writeHead(404).end();
};

/** Starts the application. */
export async function startApp(): Promise<Target> {
  const chain = [inFront, webSockets({ allowedOrigins: "*", logger: quiet }), ordinary, ...hubs()];
  const handler = compose([...chain, notFound], { logger: quiet });
  const servers: Server[] = [
    createServer(handler),
    createSecureServer(selfSignedPems(), handler) as unknown as Server,
  ];
  for (const server of servers) {
    handleUpgrades(server, { logger: quiet, shutdownTimeout: 1_000 });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  const [port, securePort] = servers.map((server) => (server.address() as AddressInfo).port);
  return {
    name: "Halyard",
    baseUrl: `http://127.0.0.1:${port}`,
    secureBaseUrl: `https://127.0.0.1:${securePort}`,
    startAnother: startApp,
    stop: async () => {
      await Promise.all(servers.map((server) => stop(server)));
    },
  };
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
