import { constants } from "node:buffer";
import { defaultLogger, type Logger } from "./logger.js";
import { MemoryBudget, processMemoryBudget } from "./memory-budget.js";

/** Options of one socket, for the whole server or for one `accept`. */
export interface SocketOptions {
  /**
   * Time without input after which a PING is sent, in milliseconds; 0 or `Infinity` for never.
   * Default 30 000: ASP.NET's two minutes are longer than a stock nginx keeps a silent connection.
   */
  readonly keepAliveInterval?: number;
  /**
   * Time the peer has to answer that PING before the connection is aborted, in milliseconds. It
   * stands still while reading is paused. 0 or `Infinity` for no limit: then unsolicited PONGs are
   * sent instead of PINGs. Default 20 000.
   */
  readonly keepAliveTimeout?: number;
  /** Bytes of the pieces of `readable`, and the value of `socket.receiveBufferSize`. Default 4096. */
  readonly receiveBufferSize?: number;
  /**
   * Unread bytes, overhead counted, from which on reading from TCP pauses until the application
   * receives. Default 65 536.
   */
  readonly receiveWindow?: number;
  /** Largest incoming message in bytes, over all its fragments; else 1009. Default 1 MiB. */
  readonly maxMessageSize?: number;
  /** Bytes waiting for the peer above which `await send()` waits. Default 65 536. */
  readonly sendWindow?: number;
  /**
   * Bytes waiting for the peer above which `send` is refused with `ERR_SEND_BUFFER_FULL`; one
   * message may exceed it. Only code that does not await its sends gets there. Default 1 MiB.
   */
  readonly maxSendBuffer?: number;
  /**
   * Time the peer has to complete the closing handshake and to end TCP, in milliseconds; also the
   * time the application has to answer the peer's Close. Default 5 000.
   */
  readonly closeTimeout?: number;
  /** Time without a message in either direction after which the socket closes with 1001. Default 0: off. */
  readonly idleTimeout?: number;
  /** Age at which the socket closes with 1001, in milliseconds. Default 0: off. */
  readonly maxLifetime?: number;
  /** What this socket may share with others of held bytes. Default: 512 MiB for the whole process. */
  readonly memoryBudget?: MemoryBudget;
  /** Where log lines go. Default: warnings and errors to the console. */
  readonly logger?: Logger;
}

/** Options of the middleware. */
export interface WebSocketOptions extends SocketOptions {
  /**
   * Origins whose pages may connect: `"same-origin"` (default), `"*"`, or a list such as
   * `["https://example.com"]`. A request without an Origin header, which no browser sends, passes.
   * Others get 403.
   */
  readonly allowedOrigins?: "same-origin" | "*" | readonly string[];
}

/** Socket options with every default in place; times that are off are `Infinity`. */
export type ResolvedSocketOptions = Required<SocketOptions>;

const defaults: ResolvedSocketOptions = {
  keepAliveInterval: 30_000,
  keepAliveTimeout: 20_000,
  receiveBufferSize: 4096,
  receiveWindow: 64 * 1024,
  maxMessageSize: 1024 * 1024,
  sendWindow: 64 * 1024,
  maxSendBuffer: 1024 * 1024,
  closeTimeout: 5_000,
  idleTimeout: 0,
  maxLifetime: 0,
  memoryBudget: processMemoryBudget,
  logger: defaultLogger,
};

/** The longest delay Node's timers take. */
const longestTime = 2 ** 31 - 1;
/** A text message must fit in one string. */
const largestMessage = constants.MAX_STRING_LENGTH;

/**
 * Fills in defaults and checks the rest.
 *
 * @param base - What holds for a value that `options` leaves out.
 * @throws RangeError, naming the option, for a value out of range.
 */
export function resolveSocketOptions(
  options: SocketOptions,
  base: ResolvedSocketOptions = defaults,
): ResolvedSocketOptions {
  const given = Object.fromEntries(
    Object.entries(options).filter(([name, value]) => value !== undefined && name in defaults),
  );
  const all = { ...base, ...given } as ResolvedSocketOptions;
  const { memoryBudget, logger } = all;
  if (!(memoryBudget instanceof MemoryBudget)) {
    throw new TypeError("memoryBudget must be a MemoryBudget.");
  }
  for (const level of ["debug", "info", "warn", "error"] as const) {
    if (typeof logger?.[level] !== "function") {
      throw new TypeError(`logger must have the method ${level}.`);
    }
  }
  return {
    memoryBudget,
    logger,
    keepAliveInterval: timeOrOff("keepAliveInterval", all.keepAliveInterval),
    keepAliveTimeout: timeOrOff("keepAliveTimeout", all.keepAliveTimeout),
    idleTimeout: timeOrOff("idleTimeout", all.idleTimeout),
    maxLifetime: timeOrOff("maxLifetime", all.maxLifetime),
    closeTimeout: integer("closeTimeout", all.closeTimeout, longestTime),
    receiveBufferSize: integer("receiveBufferSize", all.receiveBufferSize, constants.MAX_LENGTH),
    receiveWindow: integer("receiveWindow", all.receiveWindow, Number.MAX_SAFE_INTEGER),
    maxMessageSize: integer("maxMessageSize", all.maxMessageSize, largestMessage),
    sendWindow: integer("sendWindow", all.sendWindow, Number.MAX_SAFE_INTEGER),
    maxSendBuffer: integer("maxSendBuffer", all.maxSendBuffer, Number.MAX_SAFE_INTEGER),
  };
}

/** A time in milliseconds; both ways to say "off" become `Infinity`. */
function timeOrOff(name: string, value: number): number {
  if (value === 0 || value === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  return integer(name, value, longestTime);
}

/** @throws RangeError unless `value` is an integer from 1 to `largest`. */
export function integer(name: string, value: number, largest: number): number {
  if (!Number.isInteger(value) || value < 1 || value > largest) {
    throw new RangeError(`${name} must be an integer from 1 to ${largest}, not ${value}.`);
  }
  return value;
}
