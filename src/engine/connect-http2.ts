import { createHash } from "node:crypto";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import type { Socket } from "node:net";
import { HandshakeError } from "../errors.js";
import {
  type HandshakeAnswer,
  type HandshakeOffer,
  http2RequestHeaders,
  type Target,
} from "../protocol/client-handshake.js";
import { endsByCancel } from "./http2-stream.js";

/** How to get a connection to a server, and who may share it. */
export interface Http2Way {
  /** The same for two ways that lead to the same server under the same conditions. */
  readonly key: string;
  /** Opens the transport; `signal` ends that when nobody waits for it any more. */
  open(signal: AbortSignal): Promise<Socket>;
}

/** An answer, and the stream that it came on. */
export interface Http2Reply extends HandshakeAnswer {
  readonly stream: ClientHttp2Stream;
}

/** Streams to open before the server has said how many it allows. @see RFC 9113 §6.5.2 */
const initialMaxStreams = 100;

/** In megabytes, as node:http2 has it. */
const maxSessionMemory = 1000;

/** The connections that have sockets, or are to have them; none is kept for later. */
const sessionsByKey = new Map<string, Set<SharedSession>>();

/**
 * Asks for a WebSocket by an extended CONNECT, on a connection shared with others if there is one.
 *
 * @param signal - Gives up; the connection ends too unless others use it.
 * @throws HandshakeError `ERR_HANDSHAKE_HTTP2` when the server does not offer WebSockets over
 *   HTTP/2; there is no way back to HTTP/1.1. Else what the network says.
 * @see RFC 8441 §3, §4, §5
 */
export async function requestOverHttp2(
  way: Http2Way,
  target: Target,
  offer: HandshakeOffer,
  signal: AbortSignal,
): Promise<Http2Reply> {
  for (;;) {
    const shared = acquire(way);
    let stream: ClientHttp2Stream | undefined;
    try {
      const session = await unlessAborted(shared.ready, signal);
      if (!shared.hasRoomForAll) continue;
      stream = session.request(http2RequestHeaders(target, offer), { endStream: false });
    } finally {
      if (stream === undefined) shared.release();
    }
    stream.on("close", () => shared.release());
    endsByCancel(stream);
    return await answerOn(stream, signal);
  }
}

/** A connection of HTTP/2 and how many use it, or wait for it. */
class SharedSession {
  /** The connection once the server has said what it can do. */
  readonly ready: Promise<ClientHttp2Session>;
  #session: ClientHttp2Session | undefined;
  #users = 0;
  readonly #opening = new AbortController();
  readonly #onUnusable: () => void;

  /** @param onUnusable - Called, perhaps more than once, when nothing new may begin here. */
  constructor(way: Http2Way, onUnusable: () => void) {
    this.#onUnusable = onUnusable;
    this.ready = this.#open(way);
    this.ready.catch(onUnusable);
  }

  /** Whether one more may use it. */
  get hasRoom(): boolean {
    return this.#users < this.#maxUsers && this.#session?.closed !== true;
  }

  /** Whether those who use it are not too many. */
  get hasRoomForAll(): boolean {
    return this.#users <= this.#maxUsers;
  }

  get #maxUsers(): number {
    return this.#session?.remoteSettings.maxConcurrentStreams ?? initialMaxStreams;
  }

  acquire(): void {
    this.#users++;
  }

  release(): void {
    if (--this.#users > 0) return;
    this.#onUnusable();
    this.#opening.abort();
    this.#session?.close();
  }

  async #open(way: Http2Way): Promise<ClientHttp2Session> {
    const { signal } = this.#opening;
    const socket = await way.open(signal);
    if ("encrypted" in socket && (socket as { alpnProtocol?: unknown }).alpnProtocol !== "h2") {
      socket.destroy();
      throw notOffered("it did not choose HTTP/2 by ALPN");
    }
    // Only for defaults: every request names its own authority.
    const session = connect("encrypted" in socket ? "https://localhost" : "http://localhost", {
      createConnection: () => socket,
      settings: { enablePush: false },
      // The sockets bound what they hold; Node's limit of 10 MB would refuse some of many.
      maxSessionMemory,
    });
    // Streams tell their users themselves.
    session.on("error", () => {});
    session.on("goaway", this.#onUnusable);
    session.on("close", this.#onUnusable);
    await settingsOf(session, signal);
    this.#session = session;
    const { enableConnectProtocol, maxConcurrentStreams } = session.remoteSettings;
    if (enableConnectProtocol && maxConcurrentStreams !== 0) return session;
    session.close();
    throw notOffered(
      enableConnectProtocol
        ? "it allows no streams"
        : "its settings have no SETTINGS_ENABLE_CONNECT_PROTOCOL",
    );
  }
}

function acquire(way: Http2Way): SharedSession {
  const all = sessionsByKey.get(way.key) ?? new Set();
  sessionsByKey.set(way.key, all);
  let shared = [...all].find((each) => each.hasRoom);
  if (shared === undefined) {
    const created: SharedSession = new SharedSession(way, () => {
      all.delete(created);
      if (all.size === 0 && sessionsByKey.get(way.key) === all) sessionsByKey.delete(way.key);
    });
    all.add(created);
    shared = created;
  }
  shared.acquire();
  return shared;
}

/** Waits for the server's first SETTINGS, before which nothing may be asked of it. */
function settingsOf(session: ClientHttp2Session, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let cause: Error | undefined;
    const destroy = () => session.destroy();
    signal.addEventListener("abort", destroy, { once: true });
    session.once("error", (error) => {
      cause = error;
    });
    session.once("remoteSettings", () => {
      signal.removeEventListener("abort", destroy);
      resolve();
    });
    session.once("close", () => reject(cause ?? new Error("The connection was closed.")));
    if (signal.aborted) destroy();
  });
}

function answerOn(stream: ClientHttp2Stream, signal: AbortSignal): Promise<Http2Reply> {
  const reply = new Promise<Http2Reply>((resolve, reject) => {
    let cause: Error | undefined;
    stream.on("error", (error) => {
      cause = error;
    });
    stream.once("response", (headers) =>
      resolve({ status: headers[":status"] ?? 0, rawHeaders: rawHeadersOf(headers), stream }),
    );
    stream.once("close", () => {
      const code = Object.entries(constants).find(
        ([name, value]) => name.startsWith("NGHTTP2_") && value === stream.rstCode,
      );
      reject(cause ?? new Error(`The stream was closed before an answer (${code?.[0]}).`));
    });
  });
  return unlessAborted(reply, signal).catch((error) => {
    stream.destroy();
    throw error;
  });
}

function rawHeadersOf(headers: IncomingHttpHeaders): string[] {
  return Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith(":") ? [] : [value ?? []].flat().flatMap((line) => [name, line]),
  );
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    const forget = () => signal.removeEventListener("abort", onAbort);
    promise.then(resolve, reject).then(forget, forget);
  });
}

function notOffered(why: string): HandshakeError {
  return new HandshakeError(
    "ERR_HANDSHAKE_HTTP2",
    `The server does not offer WebSockets over HTTP/2: ${why}.`,
    502,
  );
}

const identities = new WeakMap<object, number>();
let lastIdentity = 0;

/**
 * A name for conditions of a connection: the same for the same strings and bytes; what cannot be
 * compared by its contents is compared by identity. Secrets are hashed.
 */
export function keyOf(...conditions: unknown[]): string {
  return createHash("sha256")
    .update(JSON.stringify(conditions.map(describe)))
    .digest("base64");
}

function describe(value: unknown): unknown {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) {
    return [typeof value, String(value)];
  }
  if (value instanceof Uint8Array) return ["bytes", Buffer.from(value).toString("base64")];
  if (Array.isArray(value)) return value.map(describe);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    const entries = Object.entries(value).filter(([, one]) => one !== undefined);
    return [
      "object",
      entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) => [name, describe(one)]),
    ];
  }
  const identity = identities.get(value) ?? ++lastIdentity;
  identities.set(value, identity);
  return ["identity", identity];
}
