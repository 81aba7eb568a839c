import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { HandshakeError } from "../errors.js";
import type { Logger } from "../logger.js";
import type { HandshakeRequest } from "../protocol/handshake.js";
import { hasUnreadHeaders } from "./http1-shortcut.js";
import type { ConnectionSetup, WebSocketConnection } from "./web-socket-connection.js";

/** A request for a WebSocket between its arrival and the handler's answer. */
export interface PendingUpgrade {
  /** What was read of the request already; see {@link handshakeOf}. */
  readonly parsed?: HandshakeRequest | undefined;
  /** Bounds the time of a handler that did not accept at once. */
  deadline?: { end(): void } | undefined;
  /**
   * Sends the answer that accepts, with what the middleware has set, and makes the connection.
   *
   * @param headers - What the handshake adds to it.
   * @throws HandshakeError 503 while the server closes or has no room.
   */
  accept(
    headers: Readonly<Record<string, string>>,
    setup: Omit<ConnectionSetup, "head">,
  ): WebSocketConnection;
}

/** What the two ways in, over HTTP/1.1 and HTTP/2, share: the server's sockets and their rules. */
export interface UpgradeHost {
  readonly handshakeTimeout: number;
  readonly logger: Logger;
  /** Whether a request for a WebSocket is ours. Never throws. */
  isOurs(request: IncomingMessage): boolean;
  /** @throws HandshakeError 503 while the server closes or has no room. */
  checkRoom(): void;
  /** Counts the connection as the server's own while it lives, and ends what is pending. */
  add(connection: WebSocketConnection, request: IncomingMessage): WebSocketConnection;
  /** Runs the server's ordinary handler; refuses by 503 when it takes too long. */
  handle(
    request: IncomingMessage,
    response: ServerResponse,
    transport: Duplex,
    pending: PendingUpgrade,
  ): void;
}

/** A property of the request costs less than an entry of a WeakMap, in time as in memory. */
const pendingKey = Symbol("halyard.pendingUpgrade");

interface UpgradeRequest extends IncomingMessage {
  [pendingKey]?: PendingUpgrade | undefined;
}

/** The upgrade that `request` belongs to; `undefined` for an ordinary request. */
export function pendingUpgradeOf(request: UpgradeRequest): PendingUpgrade | undefined {
  return request[pendingKey];
}

/** Remembers what `accept()` is to find behind `request`. */
export function setPendingUpgrade(request: UpgradeRequest, pending: PendingUpgrade): void {
  request[pendingKey] = pending;
}

/** Ends what {@link setPendingUpgrade} began. */
export function forgetPendingUpgrade(request: UpgradeRequest): void {
  request[pendingKey] = undefined;
}

/**
 * What the handshake looks at: the request, or what was read of it before, while nobody can have
 * changed its headers. node:http makes those when somebody asks for them, which is not us then.
 */
export function handshakeOf(request: IncomingMessage): HandshakeRequest {
  const parsed = pendingUpgradeOf(request)?.parsed;
  return parsed !== undefined && hasUnreadHeaders(request) ? parsed : request;
}

/** Whether a message is one of HTTP/2, which has neither reasons nor headers for one hop. */
export function isHttp2(message: IncomingMessage | ServerResponse): boolean {
  return "stream" in message;
}

/** Answers a request for a WebSocket with an ordinary refusal, if nothing was sent yet. */
export function refuse(response: ServerResponse, error: HandshakeError): void {
  if (response.headersSent) return;
  const body = `${error.message}\n`;
  for (const name of response.getHeaderNames()) {
    if (name.startsWith("content-") || name === "transfer-encoding") response.removeHeader(name);
  }
  response.writeHead(error.status, {
    ...error.headers,
    ...(!isHttp2(response) && {
      Connection: "Upgrade" in error.headers ? "Upgrade, close" : "close",
    }),
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(body);
}
