import { InvalidStateError } from "../errors.js";
import { CallerClients, type HubCallerClients } from "./clients.js";
import type { HubCallerContext } from "./context.js";
import type { GroupManager } from "./groups.js";
import type { Hub, HubScope } from "./hub.js";
import type { HubConnection } from "./hub-connection.js";
import type { UploadStream } from "./streams.js";

/** One call of a hub method, or of its life cycle: what the hub object sees, and how it is canceled. */
export class HubCall implements HubScope {
  readonly connection: HubConnection;
  /** What the client calls it; `undefined` for sends without an answer and for the life cycle. */
  readonly invocationId: string | undefined;
  /** Whether it counts against `maximumParallelInvocationsPerClient`. */
  hasSlot: boolean;
  /** The client's streams that end with it. */
  uploads: readonly UploadStream[] | undefined;
  /** Called once when the client cancels the call or its connection ends. */
  onCancel: (() => void) | undefined;
  isCanceled = false;
  /** Whether the client was told its end, though the method still runs. */
  isAnswered = false;
  /** The object the method was called on. */
  hub: Hub<object> | undefined;
  readonly #mayAskClients: boolean;
  #abort: AbortController | undefined;
  #clients: CallerClients | undefined;

  constructor(
    connection: HubConnection,
    invocationId: string | undefined,
    hasSlot: boolean,
    mayAskClients = true,
  ) {
    this.connection = connection;
    this.invocationId = invocationId;
    this.hasSlot = hasSlot;
    this.#mayAskClients = mayAskClients;
  }

  get context(): HubCallerContext {
    return this.connection.context;
  }

  get clients(): HubCallerClients<object> {
    this.#clients ??= new CallerClients(this.connection.allClients, this.connection, () =>
      this.#beforeResult(),
    );
    return this.#clients;
  }

  get groups(): GroupManager {
    return this.connection.groupManager;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.isCanceled) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  cancel(): void {
    if (this.isCanceled) return;
    this.isCanceled = true;
    this.onCancel?.();
    this.#abort?.abort();
  }

  /**
   * A call that waits for a client gives its slot back, once: the client's answer comes behind
   * whatever waits for that slot.
   */
  #beforeResult(): void {
    if (!this.#mayAskClients) {
      throw new InvalidStateError(
        "ERR_CLIENT_CANNOT_ANSWER",
        "Client results inside OnConnectedAsync Hub methods are not allowed.",
      );
    }
    this.connection.releaseSlot(this);
  }
}
