/** What tests of the transports need: a handler of arrays, a server, and a client for each transport. */
import assert from "node:assert/strict";
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
} from "node:http";
import type { Socket } from "node:net";
import type { TestContext } from "node:test";
import {
  compose,
  handleUpgrades,
  type Logger,
  type Middleware,
  type UpgradeOptions,
} from "halyard";
import { WebSocket } from "ws";
import { serve } from "#dist/adapters/node-http.js";
import type {
  Connection,
  ConnectionEnd,
  ConnectionHandler,
  ConnectionReceiver,
  TransportName,
} from "#dist/hub/transport.js";
import { Endpoint } from "#dist/transports/endpoint.js";
import type { ConnectionOptions } from "#dist/transports/options.js";
import { keepingLogger, once, Signal, until, withTimeout } from "./network.js";

/** Keeps what its connection is told. */
export class FakeReceiver implements ConnectionReceiver {
  readonly connection: Connection;
  readonly handler: FakeHandler;
  /** What came, as text. */
  received = "";
  /** The size of each call. */
  readonly pieces: number[] = [];
  /** Every other call, by its name. */
  readonly calls: string[] = [];
  readonly ends: ConnectionEnd[] = [];
  done = Promise.resolve();

  constructor(connection: Connection, handler: FakeHandler) {
    this.connection = connection;
    this.handler = handler;
  }

  receive(bytes: Uint8Array, start: number, end: number): void {
    const text = Buffer.from(bytes.subarray(start, end)).toString("latin1");
    this.received += text;
    this.pieces.push(end - start);
    this.handler.onReceive(this, text);
  }

  drained(): void {
    this.calls.push("drained");
  }

  interrupted(): void {
    this.calls.push("interrupted");
    this.handler.onInterrupted(this);
  }

  resumed(): void {
    this.calls.push("resumed");
  }

  userChanged(): void {
    this.calls.push("userChanged");
  }

  closed(end: ConnectionEnd): void {
    this.ends.push(end);
    this.handler.onClosed(this, end);
  }

  send(text: string): void {
    const bytes = Buffer.from(text, "latin1");
    this.connection.send(bytes, 0, bytes.length);
  }

  /** How it ended, within the time limit. */
  async end(): Promise<ConnectionEnd> {
    await until(() => this.ends.length > 0, "the connection's end");
    return this.ends[0] as ConnectionEnd;
  }
}

/** Keeps its connections, and does what a test tells it to. */
export class FakeHandler implements ConnectionHandler {
  readonly receivers: FakeReceiver[] = [];
  onOpen: (receiver: FakeReceiver) => void = () => {};
  onReceive: (receiver: FakeReceiver, text: string) => void = () => {};
  onInterrupted: (receiver: FakeReceiver) => void = () => {};
  onClosed: (receiver: FakeReceiver, end: ConnectionEnd) => void = () => {};

  open(connection: Connection): FakeReceiver {
    const receiver = new FakeReceiver(connection, this);
    this.receivers.push(receiver);
    this.onOpen(receiver);
    return receiver;
  }

  /** The connection that was opened as the `index`th. */
  async opened(index = 0): Promise<FakeReceiver> {
    await until(() => this.receivers.length > index, "the connection");
    return this.receivers[index] as FakeReceiver;
  }
}

/** A handler that sends back what comes. */
export function echoing(): FakeHandler {
  const handler = new FakeHandler();
  handler.onReceive = (receiver, text) => receiver.send(text);
  return handler;
}

export interface Setup {
  readonly options?: ConnectionOptions;
  readonly handler?: FakeHandler;
  readonly upgrades?: UpgradeOptions | false;
  readonly inFront?: readonly Middleware[];
}

export interface Running {
  readonly server: Server;
  readonly endpoint: Endpoint;
  readonly handler: FakeHandler;
  readonly port: number;
  /** Of the endpoint. */
  readonly url: string;
  readonly logger: ReturnType<typeof keepingLogger>;
}

/** Serves an endpoint at /hub for one test; nothing of it outlives the test. */
export async function startEndpoint(
  t: Pick<TestContext, "after">,
  { options = {}, handler = new FakeHandler(), upgrades = {}, inFront = [] }: Setup = {},
): Promise<Running> {
  const logger = keepingLogger();
  const endpoint = new Endpoint("/hub", handler, { logger, ...options });
  const server = createServer(compose([...inFront, serve(endpoint)], { logger: logger as Logger }));
  if (upgrades !== false) handleUpgrades(server, { logger, ...upgrades });
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(async () => {
    for (const connection of [...endpoint.connections]) connection.abort();
    const closed = server.listening ? once(server, "close") : undefined;
    if (server.listening) server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const { port } = address;
  return { server, endpoint, handler, port, url: `http://127.0.0.1:${port}/hub`, logger };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface Asking {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
  /** Without it the connection is closed after the answer. */
  readonly agent?: import("node:http").Agent;
}

/** One request and its whole answer. */
export async function ask(url: string, asking: Asking = {}): Promise<Answer> {
  const response = await answerTo(begin(url, asking));
  const chunks: Buffer[] = [];
  response.on("data", (chunk) => chunks.push(chunk));
  await once(response, "end", 30_000);
  return {
    status: response.statusCode as number,
    headers: response.headers,
    body: Buffer.concat(chunks).toString("latin1"),
  };
}

/** A request that is sent; its answer is another matter. */
export function begin(
  url: string,
  { method = "GET", headers, body, agent }: Asking,
): ClientRequest {
  const sent = request(url, { method, headers: headers ?? {}, agent: agent ?? false });
  sent.on("error", () => {});
  sent.end(body);
  return sent;
}

/** The head of a request's answer. */
export async function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  const response = new Signal<IncomingMessage>("an answer");
  sent.on("response", response.fire);
  const failed = new Promise<never>((_, reject) => sent.on("error", reject));
  return withTimeout(Promise.race([response.promise, failed]), 30_000, "an answer");
}

export interface Negotiated {
  readonly connectionId: string;
  readonly connectionToken: string;
  readonly negotiateVersion: number;
  readonly useStatefulReconnect?: boolean;
  readonly tokenLifetimeSeconds?: number;
  readonly availableTransports: { transport: string; transferFormats: string[] }[];
}

/** Negotiates, which must succeed. */
export async function negotiate(
  url: string,
  { query = "negotiateVersion=1", headers = {} as Record<string, string> } = {},
): Promise<Negotiated> {
  const answer = await ask(`${url}/negotiate?${query}`, { method: "POST", headers });
  assert.equal(answer.status, 200, answer.body);
  return JSON.parse(answer.body);
}

/** A client of a transport, which knows nothing but bytes. */
export interface Client {
  readonly id: string;
  readonly token: string;
  /** What came so far, as text. */
  readonly received: string;
  /** Resolves when the server has all of it, as far as the transport tells. */
  send(text: string): Promise<void>;
  /** Says good-bye. */
  close(): Promise<void>;
  /** Goes without a word. */
  vanish(): void;
  /** Stops taking what comes, as far as one can. */
  stall(): void;
  /** Resolves when the server has ended it: the code of the WebSocket, or a word. */
  readonly ended: Promise<string>;
}

export type Connect = (url: string, headers?: Record<string, string>) => Promise<Client>;

/** Opens a WebSocket to a token. */
export async function openSocket(
  url: string,
  token: string | undefined,
  headers: Record<string, string> = {},
  protocols: string[] = [],
): Promise<WebSocket> {
  const query = token === undefined ? "" : `?id=${token}`;
  const socket = new WebSocket(`${url.replace("http", "ws")}${query}`, protocols, { headers });
  await once(socket, "open");
  return socket;
}

const connectWebSocket: Connect = async (url, headers) => {
  const { connectionId: id, connectionToken: token } = await negotiate(url, {
    ...(headers && { headers }),
  });
  const socket = new WebSocket(`${url.replace("http", "ws")}?id=${token}`, { headers });
  const client = {
    id,
    token,
    received: "",
    send: (text: string) =>
      new Promise<void>((resolve, reject) =>
        socket.send(Buffer.from(text, "latin1"), (error) => (error ? reject(error) : resolve())),
      ),
    close: async () => {
      socket.close();
      await once(socket, "close");
    },
    vanish: () => socket.terminate(),
    stall: () => socket.pause(),
    ended: new Promise<string>((resolve) => socket.on("close", (code) => resolve(String(code)))),
  };
  // At once, since the first message may come in one packet with the answer.
  socket.on("message", (data: Buffer) => {
    client.received += data.toString("latin1");
  });
  await once(socket, "open");
  socket.on("error", () => {});
  return client;
};

/** Reads an event stream as browsers do: the data of each event, its lines joined. */
export class EventReader {
  received = "";
  readonly events: string[] = [];
  #rest = "";

  add(chunk: Buffer): void {
    this.#rest += chunk.toString("latin1");
    for (let end = this.#rest.indexOf("\r\n\r\n"); end >= 0; end = this.#rest.indexOf("\r\n\r\n")) {
      const lines = this.#rest.slice(0, end).split("\r\n");
      this.#rest = this.#rest.slice(end + 4);
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      this.events.push(data.join("\n"));
      this.received += data.join("\n");
    }
  }
}

async function post(url: string, text: string, headers: Record<string, string>): Promise<void> {
  const { status } = await ask(url, { method: "POST", body: Buffer.from(text, "latin1"), headers });
  assert.equal(status, 200);
}

const connectEvents: Connect = async (url, headers = {}) => {
  const { connectionId: id, connectionToken: token } = await negotiate(url, { headers });
  const sent = begin(`${url}?id=${token}`, {
    headers: { ...headers, Accept: "text/event-stream" },
  });
  const response = await answerTo(sent);
  assert.equal(response.statusCode, 200);
  const reader = new EventReader();
  response.on("data", (chunk) => reader.add(chunk));
  response.on("error", () => {});
  return {
    id,
    token,
    get received() {
      return reader.received;
    },
    send: (text) => post(`${url}?id=${token}`, text, headers),
    close: async () => void response.destroy(),
    vanish: () => response.destroy(),
    stall: () => response.pause(),
    ended: new Promise((resolve) => response.on("end", () => resolve("ended"))),
  };
};

const connectPolls: Connect = async (url, headers = {}) => {
  const { connectionId: id, connectionToken: token } = await negotiate(url, { headers });
  const target = `${url}?id=${token}`;
  assert.equal((await ask(target, { headers })).status, 200);
  const ended = new Signal<string>("the end of polling");
  let isStopped = false;
  let pending: ClientRequest | undefined;
  const client = {
    id,
    token,
    received: "",
    send: (text: string) => post(target, text, headers),
    close: async () => {
      isStopped = true;
      pending?.destroy();
      assert.equal((await ask(target, { method: "DELETE", headers })).status, 202);
    },
    vanish: () => {
      isStopped = true;
      pending?.destroy();
    },
    stall: () => {
      isStopped = true;
    },
    ended: ended.promise,
  };
  const poll = async () => {
    while (!isStopped) {
      pending = begin(`${target}&_=${Date.now()}`, { headers });
      const response = await answerTo(pending);
      const chunks: Buffer[] = [];
      response.on("data", (chunk) => chunks.push(chunk));
      await once(response, "end", 60_000);
      client.received += Buffer.concat(chunks).toString("latin1");
      if (response.statusCode !== 200) return ended.fire(String(response.statusCode));
    }
  };
  poll().catch((error) => {
    if (!isStopped) ended.fire(String(error));
  });
  return client;
};

/** A client for each transport. */
export const clients: Readonly<Record<TransportName, Connect>> = {
  WebSockets: connectWebSocket,
  ServerSentEvents: connectEvents,
  LongPolling: connectPolls,
};

/** Waits until a client has received a text. */
export function untilReceived(client: Client, text: string): Promise<void> {
  return until(() => client.received.includes(text), `"${text.slice(0, 40)}"`);
}
