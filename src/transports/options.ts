import { integer, type SocketOptions } from "../engine/options.js";
import type { ConnectionRequest, TransportName } from "../hub/transport.js";
import type { NegotiateRedirect } from "../hub-protocol/negotiate.js";
import { defaultLogger, type Logger } from "../logger.js";

/** Options of the WebSocket transport; those of the engine's sockets that make sense here too. */
export interface WebSocketTransportOptions
  extends Pick<SocketOptions, "keepAliveInterval" | "keepAliveTimeout" | "compression"> {
  /** Time the client has to answer our Close, in milliseconds. Default 5 000. */
  readonly closeTimeout?: number;
  /**
   * Largest WebSocket message in bytes; it may hold many messages of a hub, whose size is the hub's
   * own option. Default: no limit, since messages are passed on in pieces; with compression 1 MiB.
   */
  readonly maxMessageSize?: number;
  /**
   * Chooses among the subprotocols a client offers, which it must be one of; clients of SignalR
   * offer none. Default: none is chosen.
   */
  readonly subProtocolSelector?: (requested: readonly string[]) => string | undefined;
}

/** Options of the long polling transport. */
export interface LongPollingOptions {
  /** Time after which a poll without data is answered, in milliseconds. Default 90 000. */
  readonly pollTimeout?: number;
}

/** What `onAuthenticationRefresh` decides about. */
export interface AuthenticationRefresh {
  readonly connectionId: string;
  /** Who the connection belongs to so far. */
  readonly user: unknown;
  /** Who it belongs to if the refresh is allowed; its user id is the same. */
  readonly newUser: unknown;
  readonly request: ConnectionRequest;
}

/**
 * Options of a mapped path. The names are those of ASP.NET Core's `HttpConnectionDispatcherOptions`;
 * times are in milliseconds, sizes in bytes.
 */
export interface ConnectionOptions {
  /** What clients may connect by. Default: all three. */
  readonly transports?: readonly TransportName[];
  /**
   * Bytes of POST bodies that wait for the application before a POST is held up; 0 for no limit.
   * Default 65 536.
   */
  readonly applicationMaxBufferSize?: number;
  /** Bytes sent and not taken by the client above which a sender waits; 0 for no limit. Default 65 536. */
  readonly transportMaxBufferSize?: number;
  /** Time the client has to take what was sent, or the connection is aborted. Default 10 000. */
  readonly transportSendTimeout?: number;
  readonly webSockets?: WebSocketTransportOptions;
  readonly longPolling?: LongPollingOptions;
  /** Lowest version of negotiate that is served, 0 or 1. Default 0. */
  readonly minimumProtocolVersion?: number;
  /** Whether a client may carry its connection over to a new socket when it asks. Default false. */
  readonly allowStatefulReconnects?: boolean;
  /**
   * Time a connection without socket or poll is kept: one that was negotiated and not used, one
   * between two polls, one that waits for a new socket. Default 15 000.
   */
  readonly disconnectTimeout?: number;
  /** Time one POST may take to bring its body, waiting for the application not counted. Default 100 000. */
  readonly uploadTimeout?: number;
  /** Age at which a connection is closed so that its client connects anew; 0 for none. Default 0. */
  readonly maxLifetime?: number;
  /** Time without a byte in either direction after which a connection is closed; 0 for none. Default 0. */
  readonly idleTimeout?: number;
  /** Connections of this path at a time, negotiated ones included; more get 503. Default `Infinity`. */
  readonly maxConnections?: number;
  /**
   * Connections without a user that one address (of IPv6, one /64) may have negotiated and not
   * connected yet; more get 429. Default 1000.
   */
  readonly maxPendingNegotiates?: number;
  /**
   * Origins whose pages may open WebSockets here, as for `webSockets()`: `"same-origin"`, `"*"` or
   * a list. Default: same origin, or what `webSockets()` in front allows. What the HTTP transports
   * may be used from is up to the CORS middleware in front.
   */
  readonly allowedOrigins?: "same-origin" | "*" | readonly string[];
  /**
   * Where the user is that middleware in front has authenticated.
   *
   * @param raw - The framework's own: Koa's `ctx`, Express's or Fastify's request, Hono's `c`.
   */
  // biome-ignore lint/suspicious/noExplicitAny: each framework has a type of its own.
  readonly user?: (raw: any) => unknown;
  /** Who a user is, for sends to users. Default: its `sub`, `id` or `nameIdentifier`. */
  readonly userId?: (user: unknown) => string | undefined;
  /**
   * Makes a user of an access token: the one of `Authorization: Bearer`, else of the query's
   * `access_token`. `undefined` or an error: 401. Not asked when there is no token.
   */
  readonly authenticate?: (token: string, request: ConnectionRequest) => unknown;
  /**
   * Who may use this path: `true` for every user, or a function; asked for each negotiate, connect,
   * poll, post and delete. No user: 401. Refused: 403. Default: everybody, without a user too.
   */
  readonly authorize?:
    | boolean
    | ((user: unknown, request: ConnectionRequest) => boolean | Promise<boolean>);
  /** When a user's authentication ends; a number is in milliseconds since 1970. Default: its `exp`. */
  readonly expiresAt?: (user: unknown) => Date | number | undefined;
  /** Whether a connection is closed when that time has come. Default false. */
  readonly closeOnAuthenticationExpiration?: boolean;
  /** Whether `…/refresh` takes a new token for a live connection. Default false. */
  readonly enableAuthenticationRefresh?: boolean;
  /** May refuse such a token. Default: every valid one of the same user is taken. */
  readonly onAuthenticationRefresh?: (
    refresh: AuthenticationRefresh,
  ) => boolean | undefined | Promise<boolean | undefined>;
  /** Sends a client elsewhere, if it returns something. */
  readonly redirect?: (
    request: ConnectionRequest,
  ) => NegotiateRedirect | undefined | Promise<NegotiateRedirect | undefined>;
  /** Where log lines go. Default: warnings and errors to the console. */
  readonly logger?: Logger;
}

/** A function of {@link ConnectionOptions} that has no default. */
type Callback =
  | "user"
  | "authenticate"
  | "authorize"
  | "redirect"
  | "onAuthenticationRefresh"
  | "allowedOrigins";

/** Options with every default in place; what is off is `Infinity`. */
export type ResolvedConnectionOptions = Required<
  Omit<ConnectionOptions, Callback | "webSockets" | "longPolling" | "transports">
> &
  Pick<ConnectionOptions, Callback> & {
    /** In the order of preference. */
    readonly transports: readonly TransportName[];
    readonly webSockets: WebSocketTransportOptions & { readonly closeTimeout: number };
    readonly longPolling: Required<LongPollingOptions>;
  };

/** Every transport, the best first. */
export const transportNames: readonly TransportName[] = [
  "WebSockets",
  "ServerSentEvents",
  "LongPolling",
];

const longestTime = 2 ** 31 - 1;
const noLimit = Number.POSITIVE_INFINITY;

/**
 * Fills in defaults and checks the rest.
 *
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 */
export function resolveConnectionOptions(options: ConnectionOptions): ResolvedConnectionOptions {
  const { logger = defaultLogger, minimumProtocolVersion = 0 } = options;
  for (const level of ["debug", "info", "warn", "error"] as const) {
    if (typeof logger?.[level] !== "function") {
      throw new TypeError(`logger must have the method ${level}.`);
    }
  }
  for (const name of [
    "user",
    "userId",
    "authenticate",
    "expiresAt",
    "onAuthenticationRefresh",
    "redirect",
  ] as const) {
    if (options[name] !== undefined && typeof options[name] !== "function") {
      throw new TypeError(`${name} must be a function.`);
    }
  }
  const { authorize } = options;
  if (
    authorize !== undefined &&
    typeof authorize !== "boolean" &&
    typeof authorize !== "function"
  ) {
    throw new TypeError("authorize must be true, false or a function.");
  }
  if (minimumProtocolVersion !== 0 && minimumProtocolVersion !== 1) {
    throw new RangeError(`minimumProtocolVersion must be 0 or 1, not ${minimumProtocolVersion}.`);
  }
  const { subProtocolSelector } = options.webSockets ?? {};
  if (subProtocolSelector !== undefined && typeof subProtocolSelector !== "function") {
    throw new TypeError("webSockets.subProtocolSelector must be a function.");
  }
  const time = (name: keyof ConnectionOptions, value: unknown, byDefault: number) =>
    integer(name, (value ?? byDefault) as number, longestTime);
  return {
    logger,
    minimumProtocolVersion,
    transports: resolveTransports(options.transports),
    applicationMaxBufferSize: sizeOrOff(options, "applicationMaxBufferSize"),
    transportMaxBufferSize: sizeOrOff(options, "transportMaxBufferSize"),
    transportSendTimeout: time("transportSendTimeout", options.transportSendTimeout, 10_000),
    webSockets: {
      ...options.webSockets,
      closeTimeout: integer(
        "webSockets.closeTimeout",
        options.webSockets?.closeTimeout ?? 5_000,
        longestTime,
      ),
    },
    longPolling: {
      pollTimeout: integer(
        "longPolling.pollTimeout",
        options.longPolling?.pollTimeout ?? 90_000,
        longestTime,
      ),
    },
    allowStatefulReconnects: flag(options, "allowStatefulReconnects"),
    disconnectTimeout: time("disconnectTimeout", options.disconnectTimeout, 15_000),
    uploadTimeout: time("uploadTimeout", options.uploadTimeout, 100_000),
    maxLifetime: timeOrOff("maxLifetime", options.maxLifetime),
    idleTimeout: timeOrOff("idleTimeout", options.idleTimeout),
    maxConnections: countOrOff("maxConnections", options.maxConnections ?? noLimit),
    maxPendingNegotiates: countOrOff("maxPendingNegotiates", options.maxPendingNegotiates ?? 1000),
    userId: options.userId ?? defaultUserId,
    expiresAt: options.expiresAt ?? defaultExpiresAt,
    closeOnAuthenticationExpiration: flag(options, "closeOnAuthenticationExpiration"),
    enableAuthenticationRefresh: flag(options, "enableAuthenticationRefresh"),
    user: options.user,
    authenticate: options.authenticate,
    authorize,
    redirect: options.redirect,
    onAuthenticationRefresh: options.onAuthenticationRefresh,
    allowedOrigins: options.allowedOrigins,
  } as ResolvedConnectionOptions;
}

function resolveTransports(given: readonly TransportName[] | undefined): readonly TransportName[] {
  if (given === undefined) return transportNames;
  if (!Array.isArray(given) || given.length === 0) {
    throw new TypeError("transports must be a list with at least one transport.");
  }
  for (const name of given) {
    if (!transportNames.includes(name)) {
      throw new TypeError(
        `transports: ${JSON.stringify(name)} is none; there are ${transportNames.join(", ")}.`,
      );
    }
  }
  return transportNames.filter((name) => given.includes(name));
}

type BooleanOption =
  | "allowStatefulReconnects"
  | "closeOnAuthenticationExpiration"
  | "enableAuthenticationRefresh";

function flag(options: ConnectionOptions, name: BooleanOption): boolean {
  const value = options[name] ?? false;
  if (typeof value !== "boolean") throw new TypeError(`${name} must be true or false.`);
  return value;
}

function sizeOrOff(
  options: ConnectionOptions,
  name: "applicationMaxBufferSize" | "transportMaxBufferSize",
): number {
  const value = options[name] ?? 65_536;
  if (value === 0 || value === noLimit) return noLimit;
  return integer(name, value, Number.MAX_SAFE_INTEGER);
}

function timeOrOff(name: string, value = 0): number {
  if (value === 0 || value === noLimit) return noLimit;
  return integer(name, value, longestTime);
}

function countOrOff(name: string, value: number): number {
  return value === noLimit ? value : integer(name, value, Number.MAX_SAFE_INTEGER);
}

const nameIdentifierClaim = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier";

/** What most things call it that authentication makes a user of. */
function defaultUserId(user: unknown): string | undefined {
  if (typeof user === "string") return user;
  if (typeof user !== "object" || user === null) return undefined;
  const claims = user as Record<string, unknown>;
  for (const name of ["sub", "id", "nameIdentifier", nameIdentifierClaim]) {
    const value = claims[name];
    if (typeof value === "string" && value !== "") return value;
    if (typeof value === "number" || typeof value === "bigint") return String(value);
  }
  return undefined;
}

/** A JSON Web Token counts in seconds. @see RFC 7519 §4.1.4 */
function defaultExpiresAt(user: unknown): number | undefined {
  const exp = (user as { exp?: unknown } | null | undefined)?.exp;
  return typeof exp === "number" ? exp * 1000 : undefined;
}
