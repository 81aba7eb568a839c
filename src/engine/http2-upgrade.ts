import type { IncomingMessage, ServerResponse } from "node:http";
import {
  constants,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from "node:http2";
import type { Duplex } from "node:stream";
import { log } from "../logger.js";
import { asksForWebSocket, isExtendedConnect } from "../protocol/handshake.js";
import { endsByCancel, wasResetHere } from "./http2-stream.js";
import type { PendingUpgrade, UpgradeHost } from "./pending-upgrade.js";
import { WebSocketConnection } from "./web-socket-connection.js";

/** What one connection of HTTP/2 may do. */
export interface Http2Limits {
  /** Streams at a time; `undefined` for what the server was created with, else the default. */
  readonly maxStreams: number | undefined;
  readonly maxResets: number;
}

const defaultMaxStreams = 1000;
/** A request that is reset at this age, in milliseconds, was hardly meant; later a user may leave. */
const earlyAge = 1_000;
/** Time in which early resets are counted, in milliseconds. */
const resetWindow = 10_000;
/** Headers that describe a body or one hop, which the 200 to a CONNECT must not have. */
const unfitHeaders = [
  "content-length",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "proxy-connection",
  "upgrade",
];

type AnyHttp2Server = Http2Server | Http2SecureServer;

export function isHttp2Server(server: object): server is AnyHttp2Server {
  return "updateSettings" in server;
}

/**
 * The way in over HTTP/2: the extended CONNECT, one stream per WebSocket.
 *
 * Node makes request and response for a CONNECT, but gives them to listeners of `connect` and not
 * to the ordinary handler. Here they go to both kinds of handler as the same thing: a request.
 * @see RFC 8441 §4, §5
 */
export class Http2Upgrades {
  readonly #server: AnyHttp2Server;
  readonly #host: UpgradeHost;
  readonly #maxResets: number;
  readonly #sessions = new Set<ServerHttp2Session>();
  /** When each connection's latest early resets were. */
  readonly #resets = new WeakMap<ServerHttp2Session, number[]>();

  constructor(server: AnyHttp2Server, host: UpgradeHost, { maxStreams, maxResets }: Http2Limits) {
    this.#server = server;
    this.#host = host;
    this.#maxResets = maxResets;
    const maxConcurrentStreams =
      maxStreams ?? settingsOf(server)?.maxConcurrentStreams ?? defaultMaxStreams;
    server.updateSettings({ enableConnectProtocol: true, maxConcurrentStreams });
    server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
    server.on("connect", this.#onConnect.bind(this) as never);
  }

  /**
   * Tells every client to open no more streams. A connection ends when its last stream has.
   *
   * Node does so itself from version 24 on.
   */
  closeSessions(): void {
    for (const session of this.#sessions) session.close();
  }

  #onConnect(request: Http2ServerRequest, response: Http2ServerResponse | Duplex): void {
    const hasOthers = this.#server.listenerCount("connect") > 1;
    if (!("stream" in response)) {
      // CONNECT over HTTP/1.1, by `allowHTTP1`: what Node does when nobody listens.
      if (!hasOthers) response.destroy();
    } else if (isExtendedConnect(request) && this.#isOurs(request)) {
      this.#serve(request, response);
    } else if (!hasOthers) {
      // RFC 9220 §3 asks for 501 where :protocol is unknown, RFC 8441 leaves it open; to a CONNECT
      // that looks for a proxy Node says 405 when nobody listens.
      respondWithoutTrailers(response.stream);
      const { stream } = response;
      // The client's side is open, and would stay so; Node 26 would end ours before the answer.
      stream.once("finish", () => setImmediate(() => stream.close()));
      response.writeHead(isExtendedConnect(request) ? 501 : 405).end();
    }
  }

  #isOurs(request: Http2ServerRequest): boolean {
    return asksForWebSocket(request) && this.#host.isOurs(asRequest(request));
  }

  #serve(request: Http2ServerRequest, response: Http2ServerResponse): void {
    const { stream } = response;
    makeOrdinary(request);
    respondWithoutTrailers(stream);
    endsByCancel(stream);
    this.#watchResets(stream);
    const accept: PendingUpgrade["accept"] = (headers, setup) => {
      this.#host.checkRoom();
      for (const name of unfitHeaders) response.removeHeader(name);
      response.writeHead(constants.HTTP_STATUS_OK, headers);
      const connection = new WebSocketConnection(stream, { ...setup, head: Buffer.alloc(0) });
      return this.#host.add(connection, asRequest(request));
    };
    this.#host.handle(asRequest(request), response as unknown as ServerResponse, stream, {
      accept,
    });
  }

  /**
   * Requests that are taken back at once cost the client nothing and us a run of the pipeline
   * (CVE-2023-44487). The limit in Node is made for small requests, and many of them.
   */
  #watchResets(stream: ServerHttp2Stream): void {
    const start = performance.now();
    const session = stream.session as ServerHttp2Session | undefined;
    stream.once("aborted", () => {
      const now = performance.now();
      if (session === undefined || session.destroyed || wasResetHere(stream)) return;
      if (now - start > earlyAge) return;
      const resets = this.#resets.get(session) ?? [];
      this.#resets.set(session, resets);
      resets.push(now);
      if (resets.length <= this.#maxResets) return;
      if (now - (resets.shift() as number) > resetWindow) return;
      log(this.#host.logger, "warn", "a connection of HTTP/2 was ended: too many resets", {
        limit: this.#maxResets,
      });
      // A code alone, which @types/node does not know; with an error it would be INTERNAL_ERROR.
      session.destroy(constants.NGHTTP2_ENHANCE_YOUR_CALM as unknown as Error);
    });
  }
}

/**
 * Makes the request look as it would over HTTP/1.1, so that routes and handlers need not know: its
 * method is GET, and it has no body, since what the stream carries is the WebSocket's.
 */
function makeOrdinary(request: Http2ServerRequest): void {
  Object.defineProperty(request, "method", { value: "GET", writable: true, configurable: true });
  // Node's listeners of these would pause and resume the stream.
  request.removeAllListeners("pause").removeAllListeners("resume");
  request.push(null);
  // The stream's end would be the request's second one.
  request.push = () => false;
}

/**
 * Node's response waits for trailers at the end of every stream; a stream that is destroyed before
 * its last bytes are sent then runs into an assertion that ends the process (node_http2.cc,
 * `OnTrailers`; seen on Node 26). A WebSocket has no trailers.
 */
function respondWithoutTrailers(stream: ServerHttp2Stream): void {
  const { respond } = stream;
  stream.respond = (headers, options) =>
    respond.call(stream, headers, { ...options, waitForTrailers: false });
}

/** To handlers the two are alike where they do not differ; @types/node has no type for that. */
function asRequest(request: Http2ServerRequest): IncomingMessage {
  return request as unknown as IncomingMessage;
}

/** What the server was created with, which node:http2 keeps under a symbol. */
function settingsOf(server: AnyHttp2Server): Settings | undefined {
  const key = Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === "options",
  );
  const options = key && (server as unknown as Record<symbol, { settings?: Settings }>)[key];
  return options?.settings;
}
