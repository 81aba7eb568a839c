import type { HubProtocol } from "../hub-protocol/hub-protocol.js";
import { MessageType } from "../hub-protocol/messages.js";
import { log } from "../logger.js";
import { ManagedClients } from "./clients.js";
import { Dispatcher } from "./dispatcher.js";
import { aroundConnected, aroundDisconnected } from "./filters.js";
import { GroupManager } from "./groups.js";
import { Hub, type HubClass, scopeOf } from "./hub.js";
import { HubCall } from "./hub-call.js";
import { HubConnection } from "./hub-connection.js";
import { LifetimeManager } from "./lifetime-manager.js";
import type { KeptTotal } from "./message-buffer.js";
import { HubMethods } from "./methods.js";
import { type HubOptions, type ResolvedHubOptions, resolveHubOptions } from "./options.js";
import { SerializedMessage } from "./serialized-message.js";
import { type RateLimit, TokenBucket } from "./token-bucket.js";
import type { Connection, ConnectionHandler, SharedBytes } from "./transport.js";

const managers = new WeakMap<HubClass, LifetimeManager>();

/** @internal The connections of a hub class, at whatever paths it is mapped. */
export function managerOf(hubClass: HubClass): LifetimeManager {
  let manager = managers.get(hubClass);
  if (manager === undefined) {
    manager = new LifetimeManager();
    managers.set(hubClass, manager);
  }
  return manager;
}

/** Users whose buckets are kept at most; beyond, full ones are forgotten first, then old ones. */
const maxUserBuckets = 100_000;

/** A hub class with the options of one path: what connections of that path have in common. */
export class HubHandler implements ConnectionHandler {
  readonly options: ResolvedHubOptions;
  readonly manager: LifetimeManager;
  readonly clients: ManagedClients;
  readonly groups: GroupManager;
  readonly dispatcher: Dispatcher;
  /** What is kept for stateful reconnect, over all connections. */
  readonly kept: KeptTotal = { bytes: 0 };
  readonly #hubClass: HubClass;
  readonly #connections = new Set<HubConnection>();
  readonly #ping = new SerializedMessage({ type: MessageType.ping });
  readonly #userBuckets = new Map<string, TokenBucket>();
  readonly #tickInterval: number;
  #clock: NodeJS.Timeout | undefined;
  #dropped = 0;

  /** @throws TypeError or RangeError when the class or an option is wrong. */
  constructor(hubClass: HubClass, options?: HubOptions) {
    if (typeof hubClass !== "function" || !(hubClass.prototype instanceof Hub)) {
      throw new TypeError("A hub is a class that extends Hub.");
    }
    this.options = resolveHubOptions(options);
    const { contract, handshakeTimeout, keepAliveInterval, clientTimeoutInterval } = this.options;
    this.#hubClass = hubClass;
    const methods = new HubMethods(hubClass, contract);
    for (const name of Object.keys(this.options.methods)) {
      if (!methods.names.includes(name)) {
        throw new TypeError(`The option methods names '${name}', which ${hubClass.name} lacks.`);
      }
    }
    this.manager = managerOf(hubClass);
    this.manager.useContract(contract);
    this.clients = new ManagedClients(this.manager);
    this.groups = new GroupManager(this.manager);
    this.dispatcher = new Dispatcher(methods, this.options, (call) => this.#createHub(call));
    // As in ASP.NET Core one second, unless somebody asks for times that are shorter.
    this.#tickInterval = Math.min(
      1_000,
      handshakeTimeout,
      keepAliveInterval,
      clientTimeoutInterval / 2,
    );
  }

  open(connection: Connection): HubConnection {
    const hubConnection = new HubConnection(connection, this, performance.now());
    this.#connections.add(hubConnection);
    this.#clock ??= setInterval(() => this.#tick(), this.#tickInterval).unref();
    return hubConnection;
  }

  /** A connection has ended. */
  remove(connection: HubConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    clearInterval(this.#clock);
    this.#clock = undefined;
  }

  pingIn(protocol: HubProtocol): SharedBytes {
    return this.#ping.in(protocol);
  }

  get isKeptTotalOver(): boolean {
    return this.kept.bytes > this.options.statefulReconnectTotalSize;
  }

  /** The rate limit of a user, over all its connections. */
  bucketOf(userId: string, limit: RateLimit): TokenBucket {
    let bucket = this.#userBuckets.get(userId);
    if (bucket === undefined) {
      if (this.#userBuckets.size >= maxUserBuckets) this.#forgetManyBuckets();
      bucket = new TokenBucket(limit);
      this.#userBuckets.set(userId, bucket);
    }
    return bucket;
  }

  /** Messages were dropped for slow clients; the log has one line per tick at most. */
  noteDropped(count: number): void {
    this.#dropped += count;
  }

  // --- the application's life-cycle methods ---

  async connected(connection: HubConnection): Promise<void> {
    const call = new HubCall(connection, undefined, false, false);
    await this.#withHub(call, (hub) =>
      aroundConnected(this.options.filters, { context: connection.context, hub })(),
    );
  }

  /** Never rejects. */
  async disconnected(connection: HubConnection, error: Error | undefined): Promise<void> {
    try {
      await this.#withHub(new HubCall(connection, undefined, false), (hub) =>
        aroundDisconnected(this.options.filters, { context: connection.context, hub })(error),
      );
    } catch (thrown) {
      log(this.options.logger, "error", "onDisconnected of a hub threw", { error: thrown });
    }
  }

  userChanged(connection: HubConnection): void {
    const call = new HubCall(connection, undefined, false);
    this.#withHub(call, (hub) => hub.onAuthenticationRefreshed()).catch((error) =>
      log(this.options.logger, "error", "onAuthenticationRefreshed of a hub threw", { error }),
    );
  }

  /** Runs what belongs to the life cycle on a hub object of its own. */
  async #withHub(call: HubCall, run: (hub: Hub<object>) => unknown): Promise<void> {
    const hub = this.#createHub(call);
    // Among the calls, so that the end of the connection reaches its signal.
    if (call.connection.isOpen) call.connection.addCall(call);
    try {
      await run(hub);
    } finally {
      call.connection.removeCall(call);
      this.dispatcher.disposeOf(hub);
    }
  }

  #createHub(call: HubCall): Hub<object> {
    const { create } = this.options;
    const hub: Hub<object> =
      create === undefined
        ? new (this.#hubClass as unknown as new () => Hub<object>)()
        : create(call.context);
    if (hub[scopeOf] !== undefined) {
      throw new TypeError("The option create must make a new hub for each call.");
    }
    hub[scopeOf] = call;
    return hub;
  }

  #tick(): void {
    const now = performance.now();
    for (const connection of this.#connections) connection.tick(now);
    if (this.#userBuckets.size > 0) this.#forgetFullBuckets();
    if (this.#dropped > 0) {
      log(this.options.logger, "warn", "messages to slow clients were dropped", {
        messages: this.#dropped,
      });
      this.#dropped = 0;
    }
  }

  /** Makes room for many, so that not each new user costs a search. */
  #forgetManyBuckets(): void {
    this.#forgetFullBuckets();
    let excess = this.#userBuckets.size - 0.75 * maxUserBuckets;
    for (const userId of this.#userBuckets.keys()) {
      if (excess-- <= 0) break;
      this.#userBuckets.delete(userId);
    }
  }

  #forgetFullBuckets(): void {
    const now = performance.now();
    for (const [userId, bucket] of this.#userBuckets) {
      if (bucket.isFull(now)) this.#userBuckets.delete(userId);
    }
  }
}

/**
 * What a path is mapped to for a hub.
 * @throws TypeError or RangeError when the class or an option is wrong.
 */
export function hubHandler(hubClass: HubClass, options?: HubOptions): ConnectionHandler {
  return new HubHandler(hubClass, options);
}
