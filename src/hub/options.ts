import type { HubProtocol } from "../hub-protocol/hub-protocol.js";
import { json } from "../hub-protocol/json.js";
import { defaultLogger, type Logger } from "../logger.js";
import type { HubCallerContext } from "./context.js";
import type { Contract } from "./contract.js";
import type { HubFilter } from "./filters.js";
import type { Hub } from "./hub.js";
import type { RateLimit } from "./token-bucket.js";

/** What happens to a client that does not take what is sent to it. */
export type SlowClientPolicy = "disconnect" | "dropOldest" | "wait";

/** What a call of a method is, to whom decides whether it is allowed. */
export interface AuthorizationRequest {
  readonly context: HubCallerContext;
  readonly user: unknown;
  readonly method: string;
  readonly arguments: readonly unknown[];
}

/** Rules for one method of a hub. */
export interface MethodOptions {
  /** Whether this call is allowed; asked before each. Anything but `true` and an error refuse it. */
  readonly authorize?: (request: AuthorizationRequest) => boolean | Promise<boolean>;
  /** How often one connection may call it. */
  readonly rateLimit?: RateLimit;
}

/** How often methods may be called; what is beyond is refused, not delayed. */
export interface HubRateLimits {
  /** Of each connection, over all methods. */
  readonly connection?: RateLimit;
  /** Of each user, over all its connections; clients without user id are not counted. */
  readonly user?: RateLimit;
  /** `"error"` fails the call, `"close"` ends the connection. Default `"error"`. */
  readonly onExceeded?: "error" | "close";
}

type CallableNames<THub> = Exclude<keyof THub, keyof Hub<object>> & string;

/** Options of a hub. Times are milliseconds, sizes bytes; the names are ASP.NET Core's. */
// biome-ignore lint/suspicious/noExplicitAny: options for any hub.
export interface HubOptions<THub extends Hub<any> = Hub<any>> {
  /** Makes the object for one call. Default: `new` without arguments. */
  readonly create?: (context: HubCallerContext) => THub;
  /** Which methods there are, and their arguments' and results' schemas. Default: the class's own. */
  readonly contract?: Contract;
  /** Rules per method, by declared name. */
  readonly methods?: { readonly [K in CallableNames<THub>]?: MethodOptions };
  /** Run around calls, the first outermost, inside those of {@link hubDefaults}. Default: none. */
  readonly filters?: readonly HubFilter[];
  /** Hub protocols that clients may choose from. Default: JSON. */
  readonly supportedProtocols?: readonly HubProtocol[];
  /** Time a client has for its handshake. Default 15 000. */
  readonly handshakeTimeout?: number;
  /** Time between pings to clients, except over long polling. Default 15 000. */
  readonly keepAliveInterval?: number;
  /**
   * Time without any message after which a client counts as gone; holds from its first ping on.
   * Default 30 000.
   */
  readonly clientTimeoutInterval?: number;
  /** Largest message from a client, framing included; `Infinity` for no limit. Default 32 768. */
  readonly maximumReceiveMessageSize?: number;
  /** Whether texts of errors other than HubError reach clients; they may tell secrets. Default false. */
  readonly enableDetailedErrors?: boolean;
  /** Items of an upload stream that wait for the method; then reading pauses. Default 10. */
  readonly streamBufferCapacity?: number;
  /**
   * Calls of one client that run at once, without those that stream. A call beyond waits, and
   * everything behind it. Default 1.
   */
  readonly maximumParallelInvocationsPerClient?: number;
  /** Streams of one client that are open at once, in each direction; a call beyond fails. Default 100. */
  readonly maximumStreamsPerClient?: number;
  /** Groups one connection can be in. Default 1 000. */
  readonly maximumGroupsPerConnection?: number;
  /** Time a client has to answer `invoke()`; 0 or `Infinity` for no limit. Default 30 000. */
  readonly clientResultTimeout?: number;
  /** Bytes kept for a client that may reconnect, until it acknowledges them. Default 100 000. */
  readonly statefulReconnectBufferSize?: number;
  /** Messages kept likewise. Default 10 000. */
  readonly statefulReconnectBufferCount?: number;
  /** Bytes kept likewise for all clients of this hub together. Default 64 MiB. */
  readonly statefulReconnectTotalSize?: number;
  /** How often a client may come back with a new socket. Default 1 per second, 10 at once. */
  readonly statefulReconnectRate?: RateLimit;
  /**
   * What happens when more than `maximumSendBufferSize` waits for a client: it is disconnected; or
   * the oldest messages that nobody waits for are dropped; or whoever awaits a send to many waits
   * for it, and it is disconnected only if they do not. Default `"disconnect"`.
   */
  readonly slowClientPolicy?: SlowClientPolicy;
  /** Bytes that may wait for one client. Default 1 MiB. */
  readonly maximumSendBufferSize?: number;
  /** How often methods may be called. Default: no limit. */
  readonly rateLimits?: HubRateLimits;
  /** Where log lines go. Default: warnings and errors to the console. */
  readonly logger?: Logger;
}

type Optional = "create" | "contract" | "methods" | "rateLimits";

// biome-ignore lint/suspicious/noExplicitAny: options for any hub.
export type ResolvedHubOptions = Required<Omit<HubOptions<any>, Optional>> &
  // biome-ignore lint/suspicious/noExplicitAny: options for any hub.
  Pick<HubOptions<any>, "create" | "contract" | "rateLimits"> & {
    readonly methods: Readonly<Record<string, MethodOptions>>;
  };

const defaults = {
  handshakeTimeout: 15_000,
  keepAliveInterval: 15_000,
  clientTimeoutInterval: 30_000,
  maximumReceiveMessageSize: 32 * 1024,
  enableDetailedErrors: false,
  streamBufferCapacity: 10,
  maximumParallelInvocationsPerClient: 1,
  maximumStreamsPerClient: 100,
  maximumGroupsPerConnection: 1_000,
  clientResultTimeout: 30_000,
  statefulReconnectBufferSize: 100_000,
  statefulReconnectBufferCount: 10_000,
  statefulReconnectTotalSize: 64 * 1024 * 1024,
  statefulReconnectRate: { perSecond: 1, burst: 10 },
  slowClientPolicy: "disconnect",
  maximumSendBufferSize: 1024 * 1024,
} as const;

let globalDefaults: HubOptions = {};

/**
 * Sets options for all hubs that are mapped from now on; those given to `mapHub` win, and filters
 * given here run around the hub's own.
 *
 * @example hubDefaults({ enableDetailedErrors: true, filters: [timing] });
 */
export function hubDefaults(options: Omit<HubOptions, "create" | "contract" | "methods">): void {
  globalDefaults = options;
}

const times = ["handshakeTimeout", "keepAliveInterval", "clientTimeoutInterval"] as const;
const counts = [
  "maximumReceiveMessageSize",
  "streamBufferCapacity",
  "maximumParallelInvocationsPerClient",
  "maximumStreamsPerClient",
  "maximumGroupsPerConnection",
  "statefulReconnectBufferSize",
  "statefulReconnectBufferCount",
  "statefulReconnectTotalSize",
  "maximumSendBufferSize",
] as const;

/**
 * The options in force for a hub.
 * @throws RangeError or TypeError, naming the option, when one is wrong.
 */
// biome-ignore lint/suspicious/noExplicitAny: options for any hub.
export function resolveHubOptions(options: HubOptions<any> = {}): ResolvedHubOptions {
  const given = withoutUndefined(options);
  const general = withoutUndefined(globalDefaults);
  const resolved: ResolvedHubOptions = {
    ...defaults,
    supportedProtocols: [json()],
    logger: defaultLogger,
    ...general,
    ...given,
    filters: [...(general.filters ?? []), ...(given.filters ?? [])],
    methods: { ...given.methods },
  };
  for (const name of times) checkNumber(name, resolved[name], 1);
  for (const name of counts) checkNumber(name, resolved[name], 1);
  checkNumber("clientResultTimeout", resolved.clientResultTimeout, 0);
  if (!["disconnect", "dropOldest", "wait"].includes(resolved.slowClientPolicy)) {
    throw new TypeError(
      `slowClientPolicy is "disconnect", "dropOldest" or "wait", not ${JSON.stringify(resolved.slowClientPolicy)}.`,
    );
  }
  const onExceeded = resolved.rateLimits?.onExceeded ?? "error";
  if (!["error", "close"].includes(onExceeded)) {
    throw new TypeError(
      `rateLimits.onExceeded is "error" or "close", not ${JSON.stringify(onExceeded)}.`,
    );
  }
  checkRate("statefulReconnectRate", resolved.statefulReconnectRate);
  checkRate("rateLimits.connection", resolved.rateLimits?.connection);
  checkRate("rateLimits.user", resolved.rateLimits?.user);
  for (const [name, rules] of Object.entries(resolved.methods)) {
    checkRate(`methods.${name}.rateLimit`, rules?.rateLimit);
  }
  if (resolved.supportedProtocols.length === 0) {
    throw new TypeError("supportedProtocols is empty, so that no client could connect.");
  }
  return resolved;
}

// biome-ignore lint/suspicious/noExplicitAny: options for any hub.
function withoutUndefined(options: HubOptions<any>): HubOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function checkNumber(name: string, value: unknown, least: number): void {
  if (typeof value === "number" && value >= least) return;
  throw new RangeError(`${name} is a number of at least ${least}, not ${String(value)}.`);
}

function checkRate(name: string, rate: RateLimit | undefined): void {
  if (rate === undefined) return;
  checkNumber(`${name}.perSecond`, rate.perSecond, Number.MIN_VALUE);
  if (rate.burst !== undefined) checkNumber(`${name}.burst`, rate.burst, 1);
}
