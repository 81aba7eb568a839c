import { randomFillSync } from "node:crypto";
import { isIPv6 } from "node:net";
import { type Beating, startBeat, stopBeat } from "../engine/heartbeat.js";
import type { ConnectionHandler } from "../hub/transport.js";
import { log } from "../logger.js";
import { type ConnectionOwner, HttpConnection, type Principal } from "./http-connection.js";
import type { ResolvedConnectionOptions } from "./options.js";

/** How often deadlines are looked at, in milliseconds. */
const beatPeriod = 1_000;

/** What negotiate knows of a connection to be. */
export interface NewConnection {
  /** Of negotiate. */
  readonly version: number;
  readonly allowsReconnect: boolean;
  readonly principal: Principal;
  readonly remoteAddress: string | undefined;
  /** Whether its first request is to come. */
  readonly isPending: boolean;
}

/** Why there is no new connection. */
export interface Refusal {
  readonly status: 429 | 503;
  readonly body: string;
}

/** The connections of one mapped path. */
export class ConnectionStore implements ConnectionOwner, Beating {
  readonly options: ResolvedConnectionOptions;
  readonly handler: ConnectionHandler;
  readonly #connections = new Map<string, HttpConnection>();
  /** How many connections without a user each address has negotiated and not used. */
  readonly #pending = new Map<string, number>();
  /** Which refusals were logged since the last beat, so that a flood is a line a second. */
  readonly #logged = new Set<number>();

  readonly #onBeat: () => void;

  /** @param onBeat - Called about once a second while there are connections. */
  constructor(options: ResolvedConnectionOptions, handler: ConnectionHandler, onBeat: () => void) {
    this.options = options;
    this.handler = handler;
    this.#onBeat = onBeat;
  }

  get size(): number {
    return this.#connections.size;
  }

  [Symbol.iterator](): IterableIterator<HttpConnection> {
    return this.#connections.values();
  }

  find(token: string): HttpConnection | undefined {
    return this.#connections.get(token);
  }

  /** Makes a connection unless there are too many. */
  create(wanted: NewConnection): HttpConnection | Refusal {
    const { maxConnections, maxPendingNegotiates } = this.options;
    if (this.#connections.size >= maxConnections) {
      this.#logRefusal(503, "maxConnections", maxConnections);
      return { status: 503, body: "The server has too many connections." };
    }
    const isCounted = wanted.isPending && wanted.principal.user == null;
    const address = isCounted ? addressGroup(wanted.remoteAddress ?? "") : undefined;
    if (address !== undefined) {
      const pending = this.#pending.get(address) ?? 0;
      if (pending >= maxPendingNegotiates) {
        this.#logRefusal(429, "maxPendingNegotiates", maxPendingNegotiates, address);
        return { status: 429, body: "Too many negotiated connections wait to be used." };
      }
      this.#pending.set(address, pending + 1);
    }
    const id = newId();
    const connection = new HttpConnection(this, {
      id,
      // Version 0 knows no token: whoever sees the id has the connection.
      token: wanted.version === 0 ? id : newId(),
      allowsReconnect: wanted.allowsReconnect,
      principal: wanted.principal,
      pendingAddress: address,
    });
    if (this.#connections.size === 0) startBeat(this, beatPeriod);
    this.#connections.set(connection.token, connection);
    return connection;
  }

  started(connection: HttpConnection): void {
    this.#noLongerPending(connection);
  }

  ended(connection: HttpConnection): void {
    this.#noLongerPending(connection);
    this.#connections.delete(connection.token);
    if (this.#connections.size === 0) stopBeat(this, beatPeriod);
  }

  onBeat(now: number): void {
    this.#logged.clear();
    for (const connection of this.#connections.values()) connection.onBeat(now);
    this.#onBeat();
  }

  #noLongerPending(connection: HttpConnection): void {
    const address = connection.pendingAddress;
    if (address === undefined) return;
    connection.pendingAddress = undefined;
    const pending = (this.#pending.get(address) ?? 1) - 1;
    if (pending === 0) this.#pending.delete(address);
    else this.#pending.set(address, pending);
  }

  #logRefusal(status: number, option: string, limit: number, address?: string): void {
    if (this.#logged.has(status)) return;
    this.#logged.add(status);
    log(this.options.logger, "warn", `connections are refused with ${status}; see ${option}`, {
      limit,
      ...(address !== undefined && { address }),
    });
  }
}

const idSize = 16;
const randomPool = Buffer.allocUnsafeSlow(256 * idSize);
let randomUsed = randomPool.length;

/** 16 random bytes that need no encoding in a URL. */
function newId(): string {
  if (randomUsed === randomPool.length) {
    randomFillSync(randomPool);
    randomUsed = 0;
  }
  const start = randomUsed;
  randomUsed += idSize;
  return randomPool.toString("base64url", start, randomUsed);
}

/** What counts as one address: of IPv6 the 64 bits that a customer has of a provider. */
export function addressGroup(address: string): string {
  if (!isIPv6(address) || address.includes(".")) return address;
  const [head = "", tail] = (address.split("%")[0] as string).split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const rest = tail === "" ? [] : tail.split(":");
    while (groups.length + rest.length < 8) groups.push("0");
    groups.push(...rest);
  }
  const prefix = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${prefix.join(":")}::/64`;
}
