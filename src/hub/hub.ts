import type { HubCallerClients } from "./clients.js";
import type { HubCallerContext } from "./context.js";
import type { GroupManager } from "./groups.js";

/** Client methods of a hub that declares none: any name, any arguments. */
// biome-ignore lint/suspicious/noExplicitAny: what an undeclared client takes is not known.
export type AnyClient = Record<string, (...args: any[]) => any>;

/** @internal What the server gives to a hub for one call. */
export interface HubScope {
  readonly context: HubCallerContext;
  readonly clients: HubCallerClients<object>;
  readonly groups: GroupManager;
  readonly signal: AbortSignal;
}

/** @internal Where a hub keeps its scope. */
export const scopeOf: unique symbol = Symbol("halyard.scope");

/**
 * What an application extends: each method of the class itself can be called by clients, in any
 * case of its letters. Methods that are inherited, `#private` or named as the ones below cannot;
 * TypeScript's `private` does not exist at run time and protects nothing.
 *
 * Every call gets an object of its own, so that fields are no place for state: use
 * `context.items`, or what the `create` option passes to the constructor. The constructor itself
 * runs before there is a `context`.
 *
 * @typeParam TClient - The methods that clients have, by name.
 * @example
 * class ChatHub extends Hub<{ message(user: string, text: string): void }> {
 *   async send(text: string) {
 *     await this.clients.all.message(this.context.userId ?? "somebody", text);
 *   }
 * }
 */
export abstract class Hub<TClient extends object = AnyClient> {
  /** @internal */
  declare [scopeOf]: HubScope;

  /** Who calls: connection, user, items, request. */
  get context(): HubCallerContext {
    return this[scopeOf].context;
  }

  /** Whom to call: all clients, the caller, groups, users. */
  get clients(): HubCallerClients<TClient> {
    return this[scopeOf].clients as HubCallerClients<TClient>;
  }

  /** Adds connections to groups and removes them. */
  get groups(): GroupManager {
    return this[scopeOf].groups;
  }

  /** Fires when the caller cancels this call or stream, and when its connection ends. */
  get signal(): AbortSignal {
    return this[scopeOf].signal;
  }

  /** Called when a client has connected, before any of its calls. An error refuses the client. */
  onConnected(): unknown {
    return undefined;
  }

  /**
   * Called when a client is gone, whose `onConnected` succeeded.
   * @param error - Why, unless the client or the hub ended it in order.
   */
  onDisconnected(_error?: Error): unknown {
    return undefined;
  }

  /** Called when the client's authentication was refreshed: `context.user` is the new one. */
  onAuthenticationRefreshed(): unknown {
    return undefined;
  }
}

/** A class of hubs; one with constructor parameters needs the option `create`. */
// biome-ignore lint/suspicious/noExplicitAny: any constructor will do.
export type HubClass<THub extends Hub<any> = Hub<any>> = abstract new (...args: any[]) => THub;

/** @internal The methods of {@link Hub} that clients can never call. */
export const lifeCycleMethods: ReadonlySet<string> = new Set([
  "constructor",
  "onconnected",
  "ondisconnected",
  "onauthenticationrefreshed",
]);
