import { request as httpRequest } from "node:http";
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { ConnectionClosedError, HandshakeError } from "../errors.js";
import {
  AnswerBody,
  checkAnswer,
  checkSubprotocols,
  createKey,
  type HandshakeAnswer,
  type HandshakeOffer,
  type HeaderLine,
  isRedirect,
  originOf,
  parseTarget,
  type RequestHeaders,
  redirectTarget,
  refused,
  refusedRedirect,
  requestHeaders,
  type Target,
} from "../protocol/client-handshake.js";
import type { DeflateWishes } from "../protocol/deflate-offer.js";
import { type Http2Way, keyOf, requestOverHttp2 } from "./connect-http2.js";
import { deflateWishes } from "./deflate.js";
import { integer, resolveSocketOptions, type SocketOptions } from "./options.js";
import { endpointOf, openTunnel, type ProxyServer, parseProxy } from "./proxy-tunnel.js";
import { type ConnectionSetup, WebSocketConnection } from "./web-socket-connection.js";

export type { RequestHeaders } from "../protocol/client-handshake.js";

/**
 * What node:tls lets a client decide (`ca`, `cert`, `key`, `servername`, `rejectUnauthorized`, …),
 * without what the address of the server decides.
 */
export type TlsOptions = Omit<
  ConnectionOptions,
  "host" | "port" | "path" | "socket" | "lookup" | "timeout" | "allowHalfOpen" | "ALPNProtocols"
>;

/** A proxy that needs TLS options of its own. */
export interface ProxyOptions {
  /** `http://user:password@host:port` or `https://…`. */
  readonly url: string | URL;
  /** For the way to an `https:` proxy. Default: as Node's own; `tls` of the server is not used. */
  readonly tls?: TlsOptions;
}

/** Options of {@link connect}. */
export interface ConnectOptions extends SocketOptions {
  /**
   * Headers of the request, such as Authorization, Cookie or Origin. Those of the handshake itself
   * cannot be set; Host can.
   */
  readonly headers?: RequestHeaders;
  /** Subprotocols to offer, the preferred one first. Default: none. */
  readonly protocols?: string | readonly string[];
  /**
   * TLS options for `wss:`. The certificate is verified, host name included, unless these say
   * otherwise; the host name is sent (SNI), an address is not.
   */
  readonly tls?: TlsOptions;
  /**
   * Proxy to go through by CONNECT, for `ws:` too: `http://user:password@host:port`, `https://…`,
   * or an object. Default: none; environment variables such as HTTPS_PROXY are not read.
   */
  readonly proxy?: string | URL | ProxyOptions;
  /** How host names become addresses, as node:net has it. Default `dns.lookup`. */
  readonly lookup?: LookupFunction;
  /** Gives up connecting. Once the promise is settled it has no effect. */
  readonly signal?: AbortSignal;
  /**
   * Time from the call until the socket is open, name look-up, proxy, TLS and redirects included,
   * in milliseconds. Default 10 000.
   */
  readonly handshakeTimeout?: number;
  /**
   * Redirects to follow. None leads from wss to ws; Authorization, Cookie, Host and Proxy-…
   * headers, `tls.servername` and client certificates do not go to another origin. Default 0.
   */
  readonly maxRedirects?: number;
  /**
   * Whether to connect over HTTP/2: one stream of a connection that sockets to the same origin with
   * the same `tls`, `proxy` and `lookup` share, and that ends with the last of them. Over `ws:` the
   * server must speak HTTP/2 from the first byte. A server that cannot do it is an error, not
   * asked again over HTTP/1.1. Default false.
   */
  readonly http2?: boolean;
}

/** The longest delay Node's timers take. */
const longestTime = 2 ** 31 - 1;

/** What holds for all of one call. */
interface Plan {
  readonly deflate: DeflateWishes | undefined;
  readonly subprotocols: readonly string[];
  readonly proxy: ProxyServer | undefined;
  readonly proxyTls: TlsOptions;
  readonly lookup: LookupFunction | undefined;
  readonly maxRedirects: number;
  readonly isHttp2: boolean;
}

/**
 * Connects to a WebSocket server, with a TCP connection of its own or (option `http2`) a stream.
 *
 * @param url - `ws:` or `wss:` (`http:` and `https:` mean the same), without a fragment.
 *   Credentials in it become Basic Authorization, unless `headers` has that.
 * @returns The open socket, which masks what it sends. Its `subprotocol` is one of the offered, or
 *   `undefined` when the server chose none.
 * @throws HandshakeError with the answer's `status`, `headers` and beginning of the `body` in its
 *   `response`, for an answer that is not the right 101: `ERR_HANDSHAKE_STATUS`, `ERR_HANDSHAKE_REDIRECT`, `ERR_HANDSHAKE_PROXY`,
 *   `ERR_HANDSHAKE_UPGRADE`, `…_CONNECTION`, `…_ACCEPT`, `…_SUBPROTOCOL`, `…_EXTENSION`; or
 *   `ERR_HANDSHAKE_HTTP2`, without a `response`, for a server that offers no WebSockets over HTTP/2.
 *   ConnectionClosedError `ERR_CONNECT_FAILED`, with its `cause`, when the network or TLS fails or
 *   the answer is not HTTP; `ERR_HANDSHAKE_TIMEOUT` when time is over. The signal's reason when
 *   it fires. TypeError or RangeError, before anything is sent, for an argument that is wrong.
 * @example
 * const socket = await connect("wss://example.com/chat", { protocols: ["chat.v2"] });
 * @see RFC 6455 §3, §4.1; RFC 8441
 */
export async function connect(
  url: string | URL,
  options: ConnectOptions = {},
): Promise<WebSocketConnection> {
  const { signal, maxRedirects = 0, handshakeTimeout = 10_000, proxy } = options;
  const target = parseTarget(url, options.headers);
  const hasProxyOptions = typeof proxy === "object" && !(proxy instanceof URL);
  const proxyUrl = hasProxyOptions ? proxy.url : proxy;
  const socketOptions = resolveSocketOptions(options);
  const { compression } = socketOptions;
  const plan: Plan = {
    deflate: compression ? deflateWishes(compression) : undefined,
    subprotocols: checkSubprotocols(options.protocols ?? []),
    proxy: proxyUrl === undefined ? undefined : parseProxy(proxyUrl),
    proxyTls: (hasProxyOptions ? proxy.tls : undefined) ?? {},
    lookup: options.lookup,
    maxRedirects:
      maxRedirects === 0 ? 0 : integer("maxRedirects", maxRedirects, Number.MAX_SAFE_INTEGER),
    isHttp2: options.http2 ?? false,
  };
  const timeout = integer("handshakeTimeout", handshakeTimeout, longestTime);
  signal?.throwIfAborted();

  const attempt = new Attempt(timeout, signal);
  try {
    const { socket, head, subprotocol, deflate } = await shakeHands(
      attempt,
      plan,
      target,
      options.tls,
    );
    // From here to the connection's own listeners there is no await: nothing can come between.
    attempt.throwIfOver(socket);
    return new WebSocketConnection(socket, {
      role: "client",
      subprotocol,
      deflate,
      options: socketOptions,
      head,
    });
  } catch (error) {
    attempt.destroy();
    throw attempt.reasonFor(error);
  } finally {
    attempt.dispose();
  }
}

/** What one call of {@link connect} has opened, and what can end it early. */
class Attempt {
  readonly #sockets: Duplex[] = [];
  readonly #over = new AbortController();
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort = () => this.destroy();
  #timeoutError: ConnectionClosedError | undefined;
  #isOver = false;

  constructor(timeout: number, signal: AbortSignal | undefined) {
    this.#signal = signal;
    this.#timer = setTimeout(() => {
      this.#timeoutError = new ConnectionClosedError(
        "ERR_HANDSHAKE_TIMEOUT",
        `The socket was not open within ${timeout} ms.`,
      );
      this.destroy();
    }, timeout);
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Fires when the attempt is over, for whatever reason but success. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Takes care of a socket that was just made: no error of it goes unheard, and it ends with us. */
  own<T extends Duplex>(socket: T): T {
    socket.on("error", () => {});
    this.#sockets.push(socket);
    if (this.#isOver) socket.destroy();
    return socket;
  }

  /** Ends whatever goes on; who waits for a socket sees it close. */
  destroy(): void {
    this.#isOver = true;
    this.#over.abort();
    // The outermost first: the TLS layers tell their sockets themselves.
    for (const socket of this.#sockets.toReversed()) socket.destroy();
  }

  throwIfOver(socket: Duplex): void {
    if (this.#isOver || socket.destroyed) throw connectFailed("the server", undefined);
  }

  /** Why it failed, when `error` is what the failing step saw of it. */
  reasonFor(error: unknown): unknown {
    if (this.#signal?.aborted) return this.#signal.reason;
    // With an answer in hand it was only its body that took too long.
    return error instanceof HandshakeError ? error : (this.#timeoutError ?? error);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** The opening handshake, on as many connections as there are redirects to follow. */
async function shakeHands(
  attempt: Attempt,
  plan: Plan,
  firstTarget: Target,
  firstTls: TlsOptions = {},
): Promise<Pick<ConnectionSetup, "head" | "subprotocol" | "deflate"> & { socket: Duplex }> {
  let target = firstTarget;
  let tls = firstTls;
  for (let redirects = 0; ; redirects++) {
    const offer: HandshakeOffer = {
      key: createKey(),
      subprotocols: plan.subprotocols,
      deflate: plan.deflate,
      isHttp2: plan.isHttp2,
    };
    const { url } = target;
    const { socket, answer } = plan.isHttp2
      ? await askOverHttp2(attempt, plan, target, tls, offer)
      : await askOverHttp1(attempt, plan, target, tls, offer);
    if (isRedirect(answer) && redirects < plan.maxRedirects) {
      target = redirectTarget(target, answer);
      if (originOf(target.url) !== originOf(url)) tls = forAnotherOrigin(tls);
      socket.destroy();
      continue;
    }
    if (answer.head !== undefined) {
      return { socket, head: answer.head, ...checkAnswer(answer, offer) };
    }
    const refusal = { ...answer, body: await readBody(answer.response) };
    if (isRedirect(refusal)) {
      throw refusedRedirect(refusal, `maxRedirects is ${plan.maxRedirects}`);
    }
    checkAnswer(refusal, offer);
    // A 101 that passes has come by "upgrade", unless node:http and our check read it differently.
    throw refused("ERR_HANDSHAKE_UPGRADE", "The answer switches no protocol.", refusal);
  }
}

interface Asked {
  readonly socket: Duplex;
  readonly answer: Reply;
}

async function askOverHttp1(
  attempt: Attempt,
  plan: Plan,
  target: Target,
  tls: TlsOptions,
  offer: HandshakeOffer,
): Promise<Asked> {
  const { url } = target;
  const socket = await openSocket(attempt, plan, url, tls);
  const path = url.pathname + url.search;
  const answer = await step(url.host, sendRequest(socket, path, requestHeaders(target, offer)));
  return { socket, answer };
}

async function askOverHttp2(
  attempt: Attempt,
  plan: Plan,
  target: Target,
  tls: TlsOptions,
  offer: HandshakeOffer,
): Promise<Asked> {
  const { url } = target;
  const { proxy, proxyTls, lookup } = plan;
  const way: Http2Way = {
    key: keyOf(originOf(url), tls, proxy, proxyTls, lookup),
    // Others may come to wait for it too, so that it is nobody's own attempt.
    open: async (signal) => {
      const opening = new Attempt(longestTime, signal);
      try {
        return await openSocket(opening, plan, url, tls);
      } catch (error) {
        opening.destroy();
        throw error;
      } finally {
        opening.dispose();
      }
    },
  };
  const { stream, status, rawHeaders } = await step(
    url.host,
    requestOverHttp2(way, target, offer, attempt.over),
  );
  attempt.own(stream);
  const answer = { status, rawHeaders };
  const isAccepted = status === 200;
  return {
    socket: stream,
    answer: isAccepted ? { ...answer, head: Buffer.alloc(0) } : { ...answer, response: stream },
  };
}

/** A way to the server, through proxy and TLS as need be. */
async function openSocket(
  attempt: Attempt,
  { proxy, proxyTls, lookup, isHttp2 }: Plan,
  url: URL,
  tls: TlsOptions,
): Promise<Socket> {
  const endpoint = endpointOf(url);
  const where = proxy === undefined ? url.host : `the proxy ${proxy.host}:${proxy.port}`;
  const { host, port } = proxy ?? endpoint;
  let socket = attempt.own(
    // RFC 6455 §7.1.1: the server ends TCP first, which must not end our direction by itself.
    connectTcp({ host, port, allowHalfOpen: !isHttp2, noDelay: true, ...(lookup && { lookup }) }),
  );
  await step(where, whenReady(socket, "connect"));
  if (proxy !== undefined) {
    if (proxy.isSecure)
      socket = await secure(attempt, socket, where, proxy.host, proxyTls, "http/1.1");
    const authority = `${url.hostname}:${endpoint.port}`;
    await step(where, openTunnel(socket, authority, proxy.authorization));
  }
  if (url.protocol !== "wss:") return socket;
  const application = isHttp2 ? "h2" : "http/1.1";
  return secure(attempt, socket, url.host, endpoint.host, tls, application);
}

async function secure(
  attempt: Attempt,
  socket: Socket,
  where: string,
  host: string,
  tls: TlsOptions,
  application: "h2" | "http/1.1",
): Promise<Socket> {
  const secureSocket = attempt.own(
    connectTls({
      // RFC 6066 §3: a name without its last dot, and never an address.
      ...(isIP(host) === 0 && { servername: host.replace(/\.$/, "") }),
      ...tls,
      // What the certificate is held against when there is no servername.
      host,
      socket,
      ALPNProtocols: [application],
    }),
  );
  await step(where, whenReady(secureSocket, "secureConnect"));
  return secureSocket;
}

/** TLS options without what proves who we are, or says who one particular server is. */
function forAnotherOrigin(tls: TlsOptions): TlsOptions {
  const { servername, cert, key, pfx, passphrase, session, secureContext, ...rest } = tls;
  return rest;
}

function whenReady(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      socket.off(event, onReady);
      socket.off("error", settle);
      socket.off("close", onClose);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onReady = () => settle();
    const onClose = () => settle(new Error("The connection was closed."));
    socket.on(event, onReady);
    socket.on("error", settle);
    socket.on("close", onClose);
  });
}

/**
 * An answer, and what is behind it: a `head` of bytes behind a 101, which belong to the first frame,
 * or a `response` to read a body from.
 */
type Reply = HandshakeAnswer &
  (
    | { readonly head: Buffer; readonly response?: never }
    | { readonly head?: never; readonly response: Readable }
  );

/** Sends the request over a socket of ours and waits for the head of the answer. */
function sendRequest(socket: Socket, path: string, headers: readonly HeaderLine[]): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => socket,
      path,
      headers: headers.flat(),
      maxHeaderSize: 16 * 1024,
    });
    // Node drops silently what is above its limit: a header we must refuse could be among it.
    request.maxHeadersCount = 0;
    request.on("upgrade", ({ statusCode: status = 0, rawHeaders }, _, head) =>
      resolve({ status, rawHeaders, head }),
    );
    // A 101 without the headers of an upgrade comes here too; the check says what is missing.
    request.on("response", (response) => {
      response.on("error", () => {});
      const { statusCode: status = 0, rawHeaders } = response;
      resolve({ status, rawHeaders, response });
    });
    request.on("error", reject);
    request.on("close", () => reject(new Error("The connection was closed before the answer.")));
    request.end();
  });
}

/** The beginning of a refusal's body: all of it, or what came before the end of our time. */
function readBody(response: Readable): Promise<string> {
  return new Promise((resolve) => {
    const body = new AnswerBody();
    const finish = () => {
      response.destroy();
      resolve(body.text);
    };
    response.on("data", (chunk: Buffer) => {
      body.push(chunk);
      if (body.isFull) finish();
    });
    response.on("end", finish);
    response.on("close", finish);
  });
}

/** Turns what the network says into an error of ours. */
async function step<T>(where: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const isOurs = error instanceof HandshakeError || error instanceof ConnectionClosedError;
    throw isOurs ? error : connectFailed(where, error);
  }
}

function connectFailed(where: string, cause: unknown): ConnectionClosedError {
  const { message, code } = (cause ?? {}) as { message?: string; code?: string };
  return new ConnectionClosedError(
    "ERR_CONNECT_FAILED",
    `The connection to ${where} failed: ${message || code || "it was closed."}`,
    {},
    cause === undefined ? undefined : { cause },
  );
}
