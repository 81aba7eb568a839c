/** What tests need of the network; every wait has a time limit. */
import assert from "node:assert/strict";
import { type EventEmitter, once as onceOf } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import type { Logger } from "halyard";

/** Long enough for a busy machine; a test that gets here has failed. */
export const timeLimit = 15_000;

/** Settles as `promise` does, or fails after `ms`, naming what was waited for. */
export async function withTimeout<T>(
  promise: Promise<T>,
  ms = timeLimit,
  what = "the event",
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** The arguments of the next `event`; an `error` event in the meantime fails. */
// biome-ignore lint/suspicious/noExplicitAny: what an event carries is the event's affair.
export function once(emitter: EventEmitter, event: string, ms = timeLimit): Promise<any[]> {
  return withTimeout(onceOf(emitter, event), ms, event);
}

/** Waits for what no event tells. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + timeLimit;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `${what}: nothing within ${timeLimit} ms`);
    await nextTurn();
  }
}

/** Lets a server listen on a free port of 127.0.0.1 and returns the port. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** Closes a server and whatever is still connected to it. */
export async function stop(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await withTimeout(closed, timeLimit, "closing the server");
}

export interface RawResponse {
  readonly status: number;
  readonly reason: string;
  readonly headers: Headers;
  readonly body: string;
}

/** A TCP connection on which the test writes and reads HTTP and frames itself. */
export class RawConnection {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #isOver = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    const over = () => {
      this.#isOver = true;
      this.#wake();
    };
    socket.on("end", over);
    socket.on("close", over);
    socket.on("error", over);
  }

  write(data: string | Uint8Array): void {
    this.socket.write(data);
  }

  /** What arrived and was not read yet. */
  get unread(): Buffer {
    return this.#received;
  }

  /** Reads until `take` has found what it looks for in the bytes; `undefined` asks for more. */
  async #read<T>(
    take: (received: Buffer, isOver: boolean) => { value: T; used: number } | undefined,
    what: string,
  ): Promise<T> {
    const search = async () => {
      for (;;) {
        const found = take(this.#received, this.#isOver);
        if (found !== undefined) {
          this.#received = this.#received.subarray(found.used);
          return found.value;
        }
        assert.ok(!this.#isOver, `the connection ended before ${what}: ${this.#received}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    };
    return withTimeout(search(), timeLimit, what);
  }

  /** The next `count` bytes. */
  readBytes(count: number): Promise<Buffer> {
    return this.#read(
      (received) =>
        received.length < count ? undefined : { value: received.subarray(0, count), used: count },
      `${count} bytes`,
    );
  }

  /** The next response; one without a length lasts until the connection ends. */
  readResponse(): Promise<RawResponse> {
    return this.#read(parseResponse, "a whole response");
  }

  /** Resolves when the peer has ended the connection or reset it. */
  async whenEnded(): Promise<void> {
    await this.#read(
      (received, isOver) => (isOver ? { value: undefined, used: received.length } : undefined),
      "the end of the connection",
    );
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** Opens a connection; with `tls` without looking at the certificate. */
export async function openRaw(port: number, { tls = false } = {}): Promise<RawConnection> {
  const socket = tls
    ? connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false })
    : connect(port, "127.0.0.1");
  await once(socket, tls ? "secureConnect" : "connect");
  return new RawConnection(socket);
}

/** Sends a request as it stands, reads one response, and hangs up. */
export async function rawRequest(port: number, text: string): Promise<RawResponse> {
  const connection = await openRaw(port);
  try {
    connection.write(text);
    return await connection.readResponse();
  } finally {
    connection.destroy();
  }
}

function parseResponse(
  received: Buffer,
  isOver: boolean,
): { value: RawResponse; used: number } | undefined {
  const headEnd = received.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [statusLine = "", ...lines] = received.toString("latin1", 0, headEnd).split("\r\n");
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const [, status = "", reason = ""] = /^HTTP\/1\.[01] (\d{3}) ?(.*)$/.exec(statusLine) ?? [];
  const start = headEnd + 4;
  const result = (body: string, used: number) => ({
    value: { status: Number(status), reason, headers, body },
    used,
  });
  if (status === "101" || status === "204" || status === "304") return result("", start);
  const length = headers.get("content-length");
  if (length !== null) {
    const end = start + Number(length);
    return received.length < end ? undefined : result(received.toString("utf8", start, end), end);
  }
  if (headers.get("transfer-encoding") === "chunked") return parseChunks(received, start, result);
  return isOver ? result(received.toString("utf8", start), received.length) : undefined;
}

function parseChunks<T>(
  received: Buffer,
  start: number,
  result: (body: string, used: number) => T,
): T | undefined {
  let body = "";
  for (let at = start; ; ) {
    const lineEnd = received.indexOf("\r\n", at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(received.toString("latin1", at, lineEnd), 16);
    const end = lineEnd + 2 + size;
    if (received.length < end + 2) return undefined;
    if (size === 0) return result(body, end + 2);
    body += received.toString("utf8", lineEnd + 2, end);
    at = end + 2;
  }
}

/** Headers of a request; `undefined` leaves one out, an array repeats it. */
export type RequestHeaders = Record<string, string | readonly string[] | undefined>;

/** The headers of a good opening handshake, with changes. */
export function upgradeHeaders(overrides: RequestHeaders = {}): RequestHeaders {
  return {
    Host: "127.0.0.1",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...overrides,
  };
}

/** The text of a request. */
export function requestText(requestLine: string, headers: RequestHeaders, body = ""): string {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one) => `${name}: ${one}`),
  );
  return `${[requestLine, ...lines].join("\r\n")}\r\n\r\n${body}`;
}

/** The text of an opening handshake. */
export function upgradeRequest(overrides: RequestHeaders = {}, path = "/ws"): string {
  return requestText(`GET ${path} HTTP/1.1`, upgradeHeaders(overrides));
}

/** A client's frame of up to 125 bytes, masked with zeros. */
export function maskedFrame(opcode: number, payload: string | Uint8Array = ""): Buffer {
  const bytes = Buffer.from(payload as string);
  assert.ok(bytes.length < 126, "longer frames need another length encoding");
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | bytes.length, 0, 0, 0, 0]), bytes]);
}

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly details: object | undefined;
}

/** A logger that keeps its lines. */
export function keepingLogger(): Logger & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const keep = (level: keyof Logger) => (message: string, details?: object) => {
    lines.push({ level, message, details });
  };
  return {
    lines,
    debug: keep("debug"),
    info: keep("info"),
    warn: keep("warn"),
    error: keep("error"),
  };
}

/** A promise with its handles outside. */
export class Signal<T = void> {
  readonly promise: Promise<T>;
  readonly #what: string;
  fire!: (value: T) => void;

  constructor(what: string) {
    this.#what = what;
    this.promise = new Promise((resolve) => {
      this.fire = resolve;
    });
  }

  /** What it was fired with, within the time limit. */
  wait(): Promise<T> {
    return withTimeout(this.promise, timeLimit, this.#what);
  }
}
