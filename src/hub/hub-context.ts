import type { HubClients } from "./clients.js";
import { ManagedClients } from "./clients.js";
import { GroupManager } from "./groups.js";
import type { Hub } from "./hub.js";
import type { DisconnectOptions } from "./hub-connection.js";
import { managerOf } from "./hub-handler.js";

/** The clients of a hub, for code outside of it: routes, jobs, listeners. */
export interface HubContext<TClient extends object> {
  readonly clients: HubClients<TClient>;
  readonly groups: GroupManager;
  /** Ids of the connections of this process. */
  readonly connectionIds: readonly string[];
  /**
   * Ends a client's connection.
   * @returns Whether there was one.
   */
  disconnect(connectionId: string, options?: DisconnectOptions): boolean;
}

/**
 * The clients and groups of a hub class, at whatever paths it is mapped.
 *
 * @example await hubContext(ChatHub).clients.all.message("server", "Back in five minutes.");
 */
export function hubContext<TClient extends object>(
  // biome-ignore lint/suspicious/noExplicitAny: any constructor will do.
  hubClass: abstract new (...args: any[]) => Hub<TClient>,
): HubContext<TClient> {
  const manager = managerOf(hubClass);
  return {
    clients: new ManagedClients(manager) as unknown as HubClients<TClient>,
    groups: new GroupManager(manager),
    get connectionIds() {
      return [...manager.connections.keys()];
    },
    disconnect(connectionId, options = {}) {
      const connection = manager.connections.get(connectionId);
      connection?.disconnect(options);
      return connection !== undefined;
    },
  };
}
