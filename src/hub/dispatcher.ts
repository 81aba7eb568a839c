import { HubError } from "../errors.js";
import {
  type InvocationMessage,
  MessageType,
  type StreamInvocationMessage,
} from "../hub-protocol/messages.js";
import { log } from "../logger.js";
import { allChecked, checked, type StandardSchema } from "./contract.js";
import { errorText, InvalidDataException } from "./error-text.js";
import { aroundInvocation, type HubInvocation } from "./filters.js";
import type { Hub } from "./hub.js";
import { HubCall } from "./hub-call.js";
import type { HubConnection } from "./hub-connection.js";
import type { HubMethod, HubMethods } from "./methods.js";
import type { MethodOptions, ResolvedHubOptions } from "./options.js";
import { isStream, iteratorOf } from "./streams.js";

type Call = InvocationMessage | StreamInvocationMessage;

/** Items of a stream that are sent before others get their turn. */
const itemsPerTurn = 128;
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** What a call is refused with before anything of the application ran. */
const missing = new HubError("Method does not exist.");
const tooManyCalls = new HubError("The rate limit was exceeded; try again later.", {
  code: "ERR_RATE_LIMIT",
});

/** From message to hub method and back to a completion: finds, checks, runs and answers calls. */
export class Dispatcher {
  readonly #options: ResolvedHubOptions;
  readonly #methods: HubMethods;
  readonly #createHub: (call: HubCall) => Hub<object>;
  readonly #runFiltered: ((invocation: HubInvocation) => unknown) | undefined;

  constructor(
    methods: HubMethods,
    options: ResolvedHubOptions,
    createHub: (call: HubCall) => Hub<object>,
  ) {
    this.#methods = methods;
    this.#options = options;
    this.#createHub = createHub;
    const { filters } = options;
    if (filters.some((filter) => filter.invokeMethod !== undefined)) {
      this.#runFiltered = aroundInvocation(filters, ({ hub, method, arguments: args }) =>
        (this.#methods.find(method) as HubMethod).run.apply(hub, args),
      );
    }
  }

  /**
   * Handles a call. What can be told from the message alone is answered at once; a call that needs
   * a slot may have to wait for it, and the connection with it.
   */
  dispatch(connection: HubConnection, message: Call): void {
    const method = this.#methods.find(message.target);
    const refusal = this.#refusal(connection, method, message);
    if (refusal !== undefined) {
      connection.answer(message.invocationId, refusal);
    } else if (message.type === MessageType.streamInvocation || message.streamIds !== undefined) {
      this.#startStreaming(connection, method as HubMethod, message);
    } else if (connection.takeSlot()) {
      this.start(connection, method as HubMethod, message);
    } else {
      connection.waitForSlot(method as HubMethod, message);
    }
  }

  /** Why a call cannot be made, in the words of ASP.NET Core. */
  #refusal(
    connection: HubConnection,
    method: HubMethod | undefined,
    message: Call,
  ): string | undefined {
    // First, so that calls of what there is not count too.
    const { rateLimits } = this.#options;
    const limit = method && this.#rules(method)?.rateLimit;
    if ((rateLimits !== undefined || limit !== undefined) && !connection.mayCall(method, limit)) {
      if (rateLimits?.onExceeded === "close") {
        connection.disconnect({ error: tooManyCalls.message });
      }
      return this.#failedToInvoke(method?.name ?? message.target, tooManyCalls);
    }
    if (method === undefined) return this.#failedToInvoke(message.target, missing);
    if (message.bindingError !== undefined) {
      return this.#failedToInvoke(
        method.name,
        new InvalidDataException(message.bindingError.message),
      );
    }
    const uploads = message.streamIds?.length ?? 0;
    const given = message.arguments.length + (method.uploads === undefined ? uploads : 0);
    const least = method.required - (method.uploads ?? 0);
    const most = method.maximum - (method.uploads ?? 0);
    if (given < least || given > most) {
      const expected = given < least ? least : most;
      return this.#failedToInvoke(
        method.name,
        new InvalidDataException(
          `Invocation provides ${given} argument(s) but target expects ${expected}.`,
        ),
      );
    }
    return undefined;
  }

  #failedToInvoke(target: string, error: Error): string {
    const base = `Failed to invoke '${target}' due to an error on the server.`;
    return errorText(base, error, this.#options.enableDetailedErrors);
  }

  #rules(method: HubMethod): MethodOptions | undefined {
    return this.#options.methods[method.name];
  }

  #startStreaming(connection: HubConnection, method: HubMethod, message: Call): void {
    const { invocationId } = message;
    if (
      message.type === MessageType.streamInvocation &&
      connection.findCall(message.invocationId)
    ) {
      connection.answer(invocationId, `Invocation ID '${invocationId}' is already in use.`);
    } else if (!connection.hasRoomForStreams(message.streamIds?.length ?? 0)) {
      connection.answer(
        invocationId,
        this.#failedToInvoke(
          method.name,
          new HubError(
            `More than ${this.#options.maximumStreamsPerClient} streams are open on this connection.`,
          ),
        ),
      );
    } else {
      this.#start(connection, method, message, false);
    }
  }

  /** Runs a call that has a slot. */
  start(connection: HubConnection, method: HubMethod, message: Call): void {
    this.#start(connection, method, message, true);
  }

  #start(connection: HubConnection, method: HubMethod, message: Call, hasSlot: boolean): void {
    const call = new HubCall(connection, message.invocationId, hasSlot);
    connection.addCall(call);
    // Uploads open at once: their items may be in the same chunk, behind this message.
    if (message.streamIds !== undefined) this.#openUploads(call, method, message.streamIds);
    // Most methods have no rules and no contract, and then nothing is waited for.
    if (method.contract === undefined && this.#rules(method)?.authorize === undefined) {
      this.#run(call, method, message, message.arguments as unknown[]);
      return;
    }
    this.#prepare(call, method, message).then(
      (args) => {
        // Who left meanwhile was told good-bye already: nothing of it runs any more.
        if (args === undefined || !call.connection.isOpen) this.#end(call);
        else this.#run(call, method, message, args);
      },
      (error) => {
        if (!(error instanceof HubError)) {
          log(this.#options.logger, "error", "a schema threw", { method: method.name, error });
        }
        this.#fail(call, this.#failedToInvoke(method.name, error));
      },
    );
  }

  /** Asks whether the call is allowed, and has its arguments checked. */
  async #prepare(call: HubCall, method: HubMethod, message: Call): Promise<unknown[] | undefined> {
    if (!(await this.#isAuthorized(call, method, message))) {
      call.connection.answer(
        call.invocationId,
        `Failed to invoke '${method.name}' because user is unauthorized`,
      );
      return undefined;
    }
    const schemas = method.contract?.parameters.filter(({ isUpload }) => !isUpload);
    if (schemas === undefined) return message.arguments as unknown[];
    return allChecked(
      schemas.map(({ schema }) => schema),
      message.arguments,
    );
  }

  async #isAuthorized(call: HubCall, method: HubMethod, message: Call): Promise<boolean> {
    const authorize = this.#rules(method)?.authorize;
    if (authorize === undefined) return true;
    const { context } = call;
    try {
      return (
        (await authorize({
          context,
          user: context.user,
          method: method.name,
          arguments: message.arguments,
        })) === true
      );
    } catch (error) {
      log(this.#options.logger, "error", "authorize() of a hub method threw", {
        method: method.name,
        error,
      });
      return false;
    }
  }

  /** Opens the streams that come with a call. */
  #openUploads(call: HubCall, method: HubMethod, streamIds: readonly string[]): void {
    const { uploads } = call.connection;
    const schemas = method.contract?.parameters.filter(({ isUpload }) => isUpload);
    call.uploads = streamIds.map((id, index) => uploads.open(id, schemas?.[index]?.schema));
  }

  /** The arguments as the method takes them: with its upload streams. */
  #withUploads(call: HubCall, method: HubMethod, args: unknown[]): unknown[] {
    if (call.uploads === undefined) return args;
    const streams = [...call.uploads];
    const parameters = method.contract?.parameters;
    if (parameters === undefined) return [...args, ...streams];
    const remaining = [...args];
    return parameters.map(({ isUpload }) => (isUpload ? streams : remaining).shift());
  }

  #run(call: HubCall, method: HubMethod, message: Call, args: unknown[]): void {
    const wantsStream = message.type === MessageType.streamInvocation;
    if (method.isStreaming !== undefined && method.isStreaming !== wantsStream) {
      this.#fail(call, wrongMode(method, wantsStream));
      return;
    }
    const sent = call.uploads?.length ?? 0;
    if (method.uploads !== undefined && method.uploads !== sent) {
      const base = `An unexpected error occurred invoking '${method.name}' on the server.`;
      this.#fail(
        call,
        `${base} HubException: Client sent ${sent} stream(s), Hub method expects ${method.uploads}.`,
      );
      return;
    }
    let result: unknown;
    let pending: Promise<unknown> | undefined;
    try {
      const hub = this.#createHub(call);
      call.hub = hub;
      const all = this.#withUploads(call, method, args);
      result =
        this.#runFiltered === undefined
          ? method.run.apply(hub, all)
          : this.#runFiltered({ context: call.context, hub, method: method.name, arguments: all });
      if (result instanceof Promise) pending = result;
      else if (isThenable(result)) pending = Promise.resolve(result);
    } catch (error) {
      this.#failed(call, method, error);
      return;
    }
    if (pending !== undefined) {
      pending.then(
        (value) => this.#returned(call, method, value, wantsStream),
        (error) => this.#failed(call, method, error),
      );
    } else {
      this.#returned(call, method, result, wantsStream);
    }
  }

  #returned(call: HubCall, method: HubMethod, value: unknown, wantsStream: boolean): void {
    try {
      if (wantsStream) {
        this.#stream(call, method, value);
      } else if (isStream(value)) {
        void stop(iteratorOf(value));
        this.#fail(call, wrongMode(method, false));
      } else if (method.contract?.result === undefined) {
        this.#complete(call, method, value);
      } else {
        this.#checkedResult(method.contract.result, value).then(
          (result) => this.#complete(call, method, result),
          (error) => this.#failed(call, method, error),
        );
      }
    } catch (error) {
      // What looked like a stream can be one that cannot be read.
      this.#failed(call, method, error);
    }
  }

  async #checkedResult(schema: StandardSchema, value: unknown): Promise<unknown> {
    try {
      return await checked(schema, value, "The result");
    } catch (error) {
      // The application's own mistake, which is not for the client to see.
      throw new TypeError((error as Error).message);
    }
  }

  #complete(call: HubCall, method: HubMethod, result: unknown): void {
    const { invocationId } = call;
    if (invocationId !== undefined) {
      try {
        call.connection.out.write({
          type: MessageType.completion,
          invocationId,
          error: undefined,
          hasResult: true,
          result: result === undefined ? null : result,
        });
      } catch (error) {
        this.#failed(call, method, error);
        return;
      }
    }
    this.#end(call);
  }

  #failed(call: HubCall, method: HubMethod, error: unknown): void {
    if (!(error instanceof HubError) && !call.isCanceled) {
      log(this.#options.logger, "error", "a hub method threw", { method: method.name, error });
    }
    const base = `An unexpected error occurred invoking '${method.name}' on the server.`;
    this.#fail(call, errorText(base, error, this.#options.enableDetailedErrors));
  }

  #fail(call: HubCall, text: string): void {
    call.connection.answer(call.invocationId, text);
    this.#end(call);
  }

  #end(call: HubCall): void {
    call.connection.endCall(call);
    if (call.hub !== undefined) this.disposeOf(call.hub);
  }

  /** Lets go of what a hub object made for its one call, like a database session. */
  disposeOf(hub: Hub<object>): void {
    if (!(Symbol.asyncDispose in hub || Symbol.dispose in hub)) return;
    dispose(hub as Disposables).catch((error) =>
      log(this.#options.logger, "error", "a hub's dispose method threw", { error }),
    );
  }

  // --- streams to the client ---

  #stream(call: HubCall, method: HubMethod, value: unknown): void {
    const iterator = iteratorOf(value);
    if (iterator === undefined) {
      const isNothing = value === undefined || value === null;
      this.#fail(
        call,
        isNothing
          ? `The value returned by the streaming method '${method.name}' is not a ChannelReader<> or IAsyncEnumerable<>.`
          : wrongMode(method, true),
      );
      return;
    }
    void this.#answerStream(call, method, iterator);
  }

  /** Never rejects. */
  async #answerStream(call: HubCall, method: HubMethod, iterator: AnyIterator): Promise<void> {
    const { connection } = call;
    let stopped: Promise<void> | undefined;
    const answer = (error: string | undefined) => {
      if (call.isAnswered) return;
      call.isAnswered = true;
      connection.answer(call.invocationId, error);
    };
    call.onCancel = () => {
      answer(undefined);
      connection.closeUploads(call);
      // A generator that waits for something ends only when that comes; its `signal` tells it.
      stopped = stop(iterator);
    };
    if (call.isCanceled) call.onCancel();
    try {
      if (!call.isCanceled) await this.#sendItems(call, method, iterator);
      answer(undefined);
    } catch (error) {
      if (!call.isAnswered && !(error instanceof HubError)) {
        log(this.#options.logger, "error", "a hub stream failed", { method: method.name, error });
      }
      const base = "An error occurred on the server while streaming results.";
      answer(errorText(base, error, this.#options.enableDetailedErrors));
      stopped ??= stop(iterator);
    }
    // Only what has really ended makes room for another.
    if (stopped !== undefined) await stopped;
    this.#end(call);
  }

  async #sendItems(call: HubCall, method: HubMethod, iterator: AnyIterator): Promise<void> {
    const { connection } = call;
    const invocationId = call.invocationId as string;
    const schema = method.contract?.result;
    for (let count = 1; ; count++) {
      const next = iterator.next();
      const isPending = next instanceof Promise || isThenable(next);
      const step = isPending ? await next : (next as IteratorResult<unknown>);
      if (typeof step !== "object" || step === null) throw new TypeError("This is no iterator.");
      const { done, value } = step;
      if (done || call.isCanceled) return;
      const item = schema === undefined ? value : await this.#checkedResult(schema, value);
      connection.out.write({
        type: MessageType.streamItem,
        invocationId,
        item: item === undefined ? null : item,
      });
      if (connection.out.isCongested) await connection.out.whenSendable();
      // A stream that never waits for anything must not keep everybody else waiting.
      else if (count % itemsPerTurn === 0) await nextTurn();
      if (call.isCanceled) return;
    }
  }
}

type AnyIterator = AsyncIterator<unknown> | Iterator<unknown>;

/** Ends an iterator early. What it throws at that is of no use to anybody any more. */
async function stop(iterator: AnyIterator | undefined): Promise<void> {
  try {
    await iterator?.return?.();
  } catch {}
}

function wrongMode(method: HubMethod, wantsStream: boolean): string {
  return wantsStream
    ? `The client attempted to invoke the non-streaming '${method.name}' method with a streaming invocation.`
    : `The client attempted to invoke the streaming '${method.name}' method with a non-streaming invocation.`;
}

type Disposables = Partial<AsyncDisposable & Disposable>;

async function dispose(hub: Disposables): Promise<void> {
  if (hub[Symbol.asyncDispose] !== undefined) await hub[Symbol.asyncDispose]?.();
  else hub[Symbol.dispose]?.();
}

function isThenable(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as { then?: unknown }).then === "function"
  );
}
