import type { LifetimeManager } from "./lifetime-manager.js";

/** Groups of connections. A group exists while it has members; nothing of it is stored. */
export class GroupManager {
  readonly #manager: LifetimeManager;

  /** @internal */
  constructor(manager: LifetimeManager) {
    this.#manager = manager;
  }

  /**
   * Adds a connection to a group; does nothing if it is in it already, or gone. Membership ends
   * with the connection: a client that reconnects has to be added again.
   * @param group - Any name, compared with case.
   * @throws InvalidStateError `ERR_TOO_MANY_GROUPS` above `maximumGroupsPerConnection`.
   */
  async add(connectionId: string, group: string): Promise<void> {
    this.#manager.addToGroup(connectionId, group);
  }

  /** Removes a connection from a group; does nothing if it is not in it. */
  async remove(connectionId: string, group: string): Promise<void> {
    this.#manager.removeFromGroup(connectionId, group);
  }
}
