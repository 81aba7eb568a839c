import { quiet } from "../deferred.js";
import type { AnyClient } from "./hub.js";
import type { HubConnection } from "./hub-connection.js";
import type { LifetimeManager } from "./lifetime-manager.js";

/** Functions only: what of an interface can be called on clients. */
type MethodNames<T> = {
  // biome-ignore lint/suspicious/noExplicitAny: any function.
  [K in keyof T]: T[K] extends (...args: any[]) => any ? K : never;
}[keyof T] &
  string;

/** Whether a hub says nothing of its clients' methods; an index signature would make each optional. */
type Undeclared<TClient> = string extends keyof TClient ? true : false;

/**
 * Calls a method on every client of a set, without results. The promise is fulfilled when the
 * message was handed to the transports; it waits for no slow client, unless the hub's
 * `slowClientPolicy` is `"wait"`. It rejects only if the arguments cannot be encoded.
 */
export type ClientProxy<TClient> =
  Undeclared<TClient> extends true
    ? // biome-ignore lint/suspicious/noExplicitAny: nothing is declared to check against.
      any
    : {
        readonly [K in MethodNames<TClient>]: TClient[K] extends (...args: infer A) => unknown
          ? (...args: A) => Promise<void>
          : never;
      };

/** How to wait for a client's result. */
export interface InvokeOptions {
  /** Milliseconds; 0 or `Infinity` for no limit. Default: the hub's `clientResultTimeout`. */
  readonly timeout?: number;
  /** Gives the wait up with `HubError` "Invocation canceled by the server.". */
  readonly signal?: AbortSignal;
}

/** Calls a method on one client and waits for what it returns. */
export type ResultProxy<TClient> =
  Undeclared<TClient> extends true
    ? // biome-ignore lint/suspicious/noExplicitAny: nothing is declared to check against.
      any
    : {
        readonly [K in MethodNames<TClient>]: TClient[K] extends (...args: infer A) => infer R
          ? (...args: A) => Promise<Awaited<R>>
          : never;
      };

/** One client. To await a plain call is to keep the client's pace. */
export type SingleClient<TClient> = Omit<ClientProxy<TClient>, "invoke"> & {
  /**
   * The same client, for calls that want its result. Not in `onConnected`, where the client
   * cannot answer yet.
   *
   * @example const isSure = await this.clients.caller.invoke({ timeout: 5_000 }).confirm("Sure?");
   * @throws (its calls) ConnectionClosedError `ERR_CLIENT_NOT_CONNECTED` or
   *   `ERR_CLIENT_DISCONNECTED`; HubError with the client's own error, or `ERR_CLIENT_RESULT_TIMEOUT`
   *   and `ERR_CLIENT_RESULT_CANCELED`.
   */
  invoke(options?: InvokeOptions): ResultProxy<TClient>;
};

/** Sets of clients, from anywhere in the application. */
export interface HubClients<TClient extends object = AnyClient> {
  /** All clients of this hub class, at whatever path. */
  readonly all: ClientProxy<TClient>;
  allExcept(connectionIds: readonly string[]): ClientProxy<TClient>;
  /** One connection; nothing happens when it does not exist. */
  client(connectionId: string): SingleClient<TClient>;
  clients(connectionIds: readonly string[]): ClientProxy<TClient>;
  group(name: string): ClientProxy<TClient>;
  /** Several groups; a client in two of them is called twice. */
  groups(names: readonly string[]): ClientProxy<TClient>;
  groupExcept(name: string, connectionIds: readonly string[]): ClientProxy<TClient>;
  /** All connections of a user. */
  user(userId: string): ClientProxy<TClient>;
  users(userIds: readonly string[]): ClientProxy<TClient>;
}

/** Sets of clients, seen from a call. */
export interface HubCallerClients<TClient extends object = AnyClient> extends HubClients<TClient> {
  readonly caller: SingleClient<TClient>;
  /** All but the caller. */
  readonly others: ClientProxy<TClient>;
  /** A group without the caller. */
  othersInGroup(name: string): ClientProxy<TClient>;
}

type Send = (method: string, args: unknown[]) => Promise<void>;
type Call = (...args: unknown[]) => Promise<unknown>;

/** Functions that a proxy keeps; applications may take names from anywhere. */
const maxMethods = 1_000;

/** Makes an object whose every property is a function that calls the client method of that name. */
function proxyOf(call: (method: string, args: unknown[]) => Promise<unknown>, own?: object): never {
  const methods = new Map<string, Call>();
  return new Proxy(own ?? Object.create(null), {
    get(target, name) {
      if (typeof name !== "string") return undefined;
      if (own !== undefined && name === "invoke") return Reflect.get(target, name);
      // A proxy is no promise, and `await` asks.
      if (name === "then") return undefined;
      let method = methods.get(name);
      if (method === undefined) {
        method = (...args) => call(name, args);
        if (methods.size === maxMethods) methods.clear();
        methods.set(name, method);
      }
      return method;
    },
  }) as never;
}

/** @internal {@link HubClients} over a lifetime manager. */
export class ManagedClients implements HubClients<object> {
  readonly manager: LifetimeManager;
  #all: ClientProxy<object> | undefined;

  constructor(manager: LifetimeManager) {
    this.manager = manager;
  }

  get all(): ClientProxy<object> {
    this.#all ??= this.#many((method, args) => this.manager.sendToAll(method, args));
    return this.#all;
  }

  allExcept(connectionIds: readonly string[]): ClientProxy<object> {
    const excluded = new Set(connectionIds);
    return this.#many((method, args) => this.manager.sendToAll(method, args, excluded));
  }

  client(connectionId: string): SingleClient<object> {
    return this.single(connectionId);
  }

  clients(connectionIds: readonly string[]): ClientProxy<object> {
    const ids = [...new Set(connectionIds)];
    return this.#many((method, args) => this.manager.sendToConnections(ids, method, args));
  }

  group(name: string): ClientProxy<object> {
    return this.groups([name]);
  }

  groups(names: readonly string[]): ClientProxy<object> {
    const groups = [...names];
    return this.#many((method, args) => this.manager.sendToGroups(groups, method, args));
  }

  groupExcept(name: string, connectionIds: readonly string[]): ClientProxy<object> {
    const excluded = new Set(connectionIds);
    return this.#many((method, args) => this.manager.sendToGroups([name], method, args, excluded));
  }

  user(userId: string): ClientProxy<object> {
    return this.users([userId]);
  }

  users(userIds: readonly string[]): ClientProxy<object> {
    const ids = [...new Set(userIds)];
    return this.#many((method, args) => this.manager.sendToUsers(ids, method, args));
  }

  /** @param before - Called before a result is waited for; may throw. */
  single(connectionId: string, before?: () => void): SingleClient<object> {
    const { manager } = this;
    const ask = async (method: string, args: unknown[], options: InvokeOptions) => {
      before?.();
      return manager.invoke(connectionId, method, args, options);
    };
    const invoke = (options: InvokeOptions = {}) =>
      proxyOf((method, args) => quiet(ask(method, args, options)));
    return proxyOf((method, args) => manager.sendToConnection(connectionId, method, args), {
      invoke,
    });
  }

  #many(send: Send): ClientProxy<object> {
    return proxyOf(send);
  }
}

/** @internal The clients as one call sees them. */
export class CallerClients implements HubCallerClients<object> {
  readonly #clients: ManagedClients;
  readonly #caller: HubConnection;
  readonly #beforeResult: () => void;

  /** @param beforeResult - The caller's method is about to wait for a client; may throw. */
  constructor(clients: ManagedClients, caller: HubConnection, beforeResult: () => void) {
    this.#clients = clients;
    this.#caller = caller;
    this.#beforeResult = beforeResult;
  }

  get all(): ClientProxy<object> {
    return this.#clients.all;
  }

  get caller(): SingleClient<object> {
    return this.client(this.#caller.id);
  }

  get others(): ClientProxy<object> {
    return this.#clients.allExcept([this.#caller.id]);
  }

  othersInGroup(name: string): ClientProxy<object> {
    return this.#clients.groupExcept(name, [this.#caller.id]);
  }

  client(connectionId: string): SingleClient<object> {
    return this.#clients.single(connectionId, this.#beforeResult);
  }

  allExcept(connectionIds: readonly string[]): ClientProxy<object> {
    return this.#clients.allExcept(connectionIds);
  }

  clients(connectionIds: readonly string[]): ClientProxy<object> {
    return this.#clients.clients(connectionIds);
  }

  group(name: string): ClientProxy<object> {
    return this.#clients.group(name);
  }

  groups(names: readonly string[]): ClientProxy<object> {
    return this.#clients.groups(names);
  }

  groupExcept(name: string, connectionIds: readonly string[]): ClientProxy<object> {
    return this.#clients.groupExcept(name, connectionIds);
  }

  user(userId: string): ClientProxy<object> {
    return this.#clients.user(userId);
  }

  users(userIds: readonly string[]): ClientProxy<object> {
    return this.#clients.users(userIds);
  }
}
