import { Deferred, quiet, rejected } from "../deferred.js";
import { ConnectionClosedError, HubError, InvalidStateError } from "../errors.js";
import { type CompletionMessage, MessageType } from "../hub-protocol/messages.js";
import type { InvokeOptions } from "./clients.js";
import { allChecked, type Contract, checked } from "./contract.js";
import type { HubConnection } from "./hub-connection.js";
import { SerializedMessage } from "./serialized-message.js";

/** A result that somebody waits for. */
interface PendingResult {
  readonly connection: HubConnection;
  readonly method: string;
  readonly done: Deferred<unknown>;
  readonly timer: NodeJS.Timeout | undefined;
  readonly forget: () => void;
}

const nothingToWaitFor = Promise.resolve();
const longestTimer = 2 ** 31 - 1;

/**
 * The connections of one hub class, at whatever paths it is mapped, their groups and users: decides
 * who gets a message, and has it encoded once for all of them.
 */
export class LifetimeManager {
  readonly connections = new Map<string, HubConnection>();
  readonly #groups = new Map<string, Map<string, HubConnection>>();
  readonly #users = new Map<string, Set<HubConnection>>();
  readonly #pendingResults = new Map<string, PendingResult>();
  #contract: Contract | undefined;
  #lastResultId = 0;

  /**
   * What clients can be called with, which is the same at all paths of a class.
   * @throws TypeError when another path has another contract.
   */
  useContract(contract: Contract | undefined): void {
    if (contract === undefined) return;
    this.#contract ??= contract;
    if (this.#contract !== contract) {
      throw new TypeError("A hub class has one contract: give the same to all its paths.");
    }
  }

  // --- membership ---

  add(connection: HubConnection): void {
    this.connections.set(connection.id, connection);
    this.#addUser(connection, connection.userId);
  }

  /** Forgets a connection: its groups and its user. */
  remove(connection: HubConnection): void {
    if (!this.connections.delete(connection.id)) return;
    this.#removeUser(connection, connection.userId);
    for (const group of connection.groups ?? []) this.#leave(connection, group);
    connection.groups = undefined;
  }

  /** A connection has ended: the results it has not given will not come. */
  failResults(connection: HubConnection): void {
    for (const [id, pending] of this.#pendingResults) {
      if (pending.connection === connection) this.#settle(id, pending, disconnected(connection.id));
    }
  }

  addToGroup(connectionId: string, group: string): void {
    const connection = this.connections.get(connectionId);
    if (connection === undefined || connection.groups?.has(group)) return;
    checkGroupName(group);
    const limit = connection.maximumGroups;
    connection.groups ??= new Set();
    if (connection.groups.size >= limit) {
      throw new InvalidStateError(
        "ERR_TOO_MANY_GROUPS",
        `Connection '${connectionId}' is in ${limit} groups; raise maximumGroupsPerConnection if that is right.`,
      );
    }
    connection.groups.add(group);
    const members = this.#groups.get(group);
    if (members !== undefined) members.set(connectionId, connection);
    else this.#groups.set(group, new Map([[connectionId, connection]]));
  }

  removeFromGroup(connectionId: string, group: string): void {
    const connection = this.connections.get(connectionId);
    if (connection?.groups?.delete(group)) this.#leave(connection, group);
  }

  #leave(connection: HubConnection, group: string): void {
    const members = this.#groups.get(group);
    members?.delete(connection.id);
    if (members?.size === 0) this.#groups.delete(group);
  }

  #addUser(connection: HubConnection, userId: string | undefined): void {
    if (userId === undefined) return;
    const connections = this.#users.get(userId);
    if (connections !== undefined) connections.add(connection);
    else this.#users.set(userId, new Set([connection]));
  }

  #removeUser(connection: HubConnection, userId: string | undefined): void {
    if (userId === undefined) return;
    const connections = this.#users.get(userId);
    connections?.delete(connection);
    if (connections?.size === 0) this.#users.delete(userId);
  }

  // --- sends to many ---

  sendToAll(method: string, args: unknown[], excluded?: ReadonlySet<string>): Promise<void> {
    return this.#send(this.connections.values(), method, args, excluded);
  }

  sendToConnections(ids: readonly string[], method: string, args: unknown[]): Promise<void> {
    const connections = ids
      .map((id) => this.connections.get(id))
      .filter((each) => each !== undefined);
    return this.#send(connections, method, args);
  }

  sendToGroups(
    names: readonly string[],
    method: string,
    args: unknown[],
    excluded?: ReadonlySet<string>,
  ): Promise<void> {
    const groups: Iterable<HubConnection>[] = [];
    for (const name of names) {
      try {
        checkGroupName(name);
      } catch (error) {
        return rejected(error);
      }
      const members = this.#groups.get(name);
      if (members !== undefined) groups.push(members.values());
    }
    const [first] = groups;
    if (first === undefined) return nothingToWaitFor;
    return this.#send(groups.length === 1 ? first : chain(groups), method, args, excluded);
  }

  sendToUsers(userIds: readonly string[], method: string, args: unknown[]): Promise<void> {
    const users = userIds.map((id) => this.#users.get(id)).filter((each) => each !== undefined);
    return this.#send(chain(users), method, args);
  }

  /** Encodes once per protocol, and makes no promise per recipient unless a policy waits for one. */
  #send(
    connections: Iterable<HubConnection>,
    method: string,
    args: unknown[],
    excluded?: ReadonlySet<string>,
  ): Promise<void> {
    let waits: Promise<void>[] | undefined;
    let failure: unknown;
    let hasFailed = false;
    let message: SerializedMessage;
    try {
      message = invocation(method, this.#checked(method, args));
    } catch (error) {
      return rejected(error);
    }
    for (const connection of connections) {
      if (excluded?.has(connection.id)) continue;
      try {
        const wait = connection.out.sendToOneOfMany(message);
        if (wait !== undefined) {
          waits ??= [];
          waits.push(wait);
        }
      } catch (error) {
        // What one protocol cannot encode another one may.
        hasFailed = true;
        failure = error;
      }
    }
    if (hasFailed) return rejected(failure);
    return waits === undefined ? nothingToWaitFor : Promise.all(waits).then(() => undefined);
  }

  // --- one client ---

  sendToConnection(connectionId: string, method: string, args: unknown[]): Promise<void> {
    const connection = this.connections.get(connectionId);
    if (connection === undefined) return nothingToWaitFor;
    try {
      const checkedArgs = this.#checked(method, args);
      return connection.out.send({
        type: MessageType.invocation,
        target: method,
        arguments: checkedArgs,
      });
    } catch (error) {
      return rejected(error);
    }
  }

  /** Calls a client method and waits for its result. */
  async invoke(
    connectionId: string,
    method: string,
    args: unknown[],
    { timeout, signal }: InvokeOptions,
  ): Promise<unknown> {
    const connection = this.connections.get(connectionId);
    if (connection === undefined) {
      throw new ConnectionClosedError(
        "ERR_CLIENT_NOT_CONNECTED",
        `Connection '${connectionId}' does not exist.`,
      );
    }
    if (!connection.isOpen) throw disconnected(connectionId);
    if (signal?.aborted) throw canceled();
    const checkedArgs = this.#checked(method, args);
    const limit = timeout ?? connection.clientResultTimeout;
    connection.beginResult();
    // Client ids are the clients' choice; these meet them only in completions of upload streams.
    const id = `s${++this.#lastResultId}`;
    const done = new Deferred<unknown>();
    const abort = () => this.#giveUp(id, canceled());
    const isLimited = limit > 0 && limit <= longestTimer;
    const expire = () =>
      this.#giveUp(
        id,
        new HubError(`The client did not answer '${method}' within ${limit} ms.`, {
          code: "ERR_CLIENT_RESULT_TIMEOUT",
        }),
      );
    this.#pendingResults.set(id, {
      connection,
      method,
      done,
      timer: isLimited ? setTimeout(expire, limit) : undefined,
      forget: () => signal?.removeEventListener("abort", abort),
    });
    signal?.addEventListener("abort", abort, { once: true });
    try {
      void connection.out.send({
        type: MessageType.invocation,
        invocationId: id,
        target: method,
        arguments: checkedArgs,
      });
    } catch (error) {
      this.#giveUp(id, error);
    }
    return done.promise;
  }

  /**
   * A client's completion of one of our calls.
   *
   * @returns Whether it is one; those that nobody waits for any more are none.
   * @throws HubProtocolError when it answers for another connection.
   */
  complete(connection: HubConnection, message: CompletionMessage): boolean {
    const pending = this.#pendingResults.get(message.invocationId);
    if (pending === undefined) return false;
    if (pending.connection !== connection) {
      throw connection.foreignResult(message.invocationId);
    }
    if (message.error !== undefined) {
      this.#settle(
        message.invocationId,
        pending,
        new HubError(message.error, { code: "ERR_CLIENT_RESULT" }),
      );
    } else if (!message.hasResult) {
      this.#settle(
        message.invocationId,
        pending,
        new HubError("Client didn't provide a result.", { code: "ERR_CLIENT_RESULT" }),
      );
    } else {
      void this.#checkedResult(pending.method, message.result).then(
        (result) => this.#settle(message.invocationId, pending, undefined, result),
        (error) => this.#settle(message.invocationId, pending, error),
      );
    }
    return true;
  }

  /** Arguments for clients, as the contract gives them back. */
  #checked(method: string, args: unknown[]): unknown[] {
    const methods = this.#contract?.client;
    if (methods === undefined) return args;
    const contract = methods.get(method);
    if (contract === undefined) {
      throw new TypeError(`The contract has no client method '${method}'.`);
    }
    const { parameters } = contract;
    if (args.length !== parameters.length) {
      throw new TypeError(
        `The contract's client method '${method}' takes ${parameters.length} argument(s), not ${args.length}.`,
      );
    }
    const values = allChecked(parameters, args);
    if (!(values instanceof Promise)) return values;
    void quiet(values);
    throw new TypeError(`The schemas of the client method '${method}' must not be asynchronous.`);
  }

  async #checkedResult(method: string, result: unknown): Promise<unknown> {
    const schema = this.#contract?.client?.get(method)?.result;
    return schema === undefined
      ? result
      : checked(schema, result, `The client's result of '${method}'`);
  }

  #giveUp(id: string, error: unknown): void {
    const pending = this.#pendingResults.get(id);
    if (pending !== undefined) this.#settle(id, pending, error);
  }

  #settle(id: string, pending: PendingResult, error: unknown, result?: unknown): void {
    if (!this.#pendingResults.delete(id)) return;
    clearTimeout(pending.timer);
    pending.forget();
    pending.connection.endResult();
    if (error === undefined) pending.done.resolve(result);
    else pending.done.reject(error);
  }
}

function invocation(target: string, args: unknown[]): SerializedMessage {
  return new SerializedMessage({ type: MessageType.invocation, target, arguments: args });
}

function* chain(groups: Iterable<HubConnection>[]): Generator<HubConnection> {
  for (const group of groups) yield* group;
}

function checkGroupName(group: string): void {
  if (typeof group !== "string") throw new TypeError("A group name must be a string.");
  if (group === "") throw new TypeError("Cannot send to an empty group name.");
}

function canceled(): HubError {
  return new HubError("Invocation canceled by the server.", { code: "ERR_CLIENT_RESULT_CANCELED" });
}

function disconnected(connectionId: string): ConnectionClosedError {
  return new ConnectionClosedError(
    "ERR_CLIENT_DISCONNECTED",
    `Connection '${connectionId}' disconnected.`,
  );
}
