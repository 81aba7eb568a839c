import { constants } from "node:buffer";
import { defaultLogger, type Logger } from "../logger.js";
import { maxWindowBits, minWindowBits } from "../protocol/deflate-offer.js";
import { MemoryBudget, processMemoryBudget } from "./memory-budget.js";

/** How messages are compressed where the peer agrees. @see RFC 7692 */
export interface CompressionOptions {
  /**
   * Whether the server's compressor remembers earlier messages. Saves bytes when messages are small
   * and alike, and costs about 300 KiB a socket. Default false.
   */
  readonly serverContextTakeover?: boolean;
  /** Whether the client's may; costs a server about 40 KiB a socket. Default false. */
  readonly clientContextTakeover?: boolean;
  /** Window of the server's compressor as a power of two, 9 to 15. Default 15. */
  readonly serverMaxWindowBits?: number;
  /** Window of the client's, where the client lets the server choose, 9 to 15. Default 15. */
  readonly clientMaxWindowBits?: number;
  /** Messages of fewer bytes are sent as they are. Default 256. */
  readonly threshold?: number;
  /** zlib's level, 1 (fast) to 9 (small). Default 3. */
  readonly level?: number;
  /** zlib's memory level, 1 to 9. Default 8. */
  readonly memLevel?: number;
  /** How many times larger a message beyond 1 MiB may get when it is inflated; else 1009. Default 256. */
  readonly maxRatio?: number;
}

export type ResolvedCompression = Required<CompressionOptions>;

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
  /**
   * The value of `socket.receiveBufferSize`, in bytes: how large the application makes the buffer
   * of a piecewise receive, unless it knows better. Default 4096.
   */
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
  /**
   * Time without a message in either direction after which the socket closes with 1001, in
   * milliseconds. Default 0: off.
   */
  readonly idleTimeout?: number;
  /** Age at which the socket closes with 1001, in milliseconds. Default 0: off. */
  readonly maxLifetime?: number;
  /**
   * Whether messages may be compressed, and how. Default false: over TLS, compression lets an
   * attacker who can add to a message guess secrets in it by its length (CRIME, BREACH). Send
   * such messages with `compress: false`.
   */
  readonly compression?: boolean | CompressionOptions;
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
export type ResolvedSocketOptions = Required<Omit<SocketOptions, "compression">> & {
  readonly compression: false | ResolvedCompression;
};

const compressionDefaults: ResolvedCompression = {
  serverContextTakeover: false,
  clientContextTakeover: false,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
  threshold: 256,
  level: 3,
  memLevel: 8,
  maxRatio: 256,
};

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
  compression: false,
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
  const isGiven = ([name, value]: [string, unknown]) => value !== undefined && name in defaults;
  // Nearly every accept() takes the server's options as they are, which were checked before.
  const given = Object.entries(options).filter(isGiven);
  if (given.length === 0 && base !== defaults) return base;
  const all = { ...base, ...Object.fromEntries(given) } as Required<SocketOptions>;
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
    compression: resolveCompression(all.compression),
  };
}

function resolveCompression(options: boolean | CompressionOptions): false | ResolvedCompression {
  if (options === false) return false;
  if (options !== true && (typeof options !== "object" || options === null)) {
    throw new TypeError("compression must be true, false or an object with options.");
  }
  const all = { ...compressionDefaults, ...(options === true ? {} : options) };
  const windowBits = (name: "serverMaxWindowBits" | "clientMaxWindowBits") => {
    if (integer(`compression.${name}`, all[name], maxWindowBits) >= minWindowBits) return all[name];
    throw new RangeError(
      `compression.${name} must be at least ${minWindowBits}; zlib has no less.`,
    );
  };
  if (!Number.isInteger(all.threshold) || all.threshold < 0) {
    throw new RangeError(`compression.threshold must be 0 or more, not ${all.threshold}.`);
  }
  return {
    serverContextTakeover: Boolean(all.serverContextTakeover),
    clientContextTakeover: Boolean(all.clientContextTakeover),
    serverMaxWindowBits: windowBits("serverMaxWindowBits"),
    clientMaxWindowBits: windowBits("clientMaxWindowBits"),
    threshold: all.threshold,
    level: integer("compression.level", all.level, 9),
    memLevel: integer("compression.memLevel", all.memLevel, 9),
    maxRatio: integer("compression.maxRatio", all.maxRatio, Number.MAX_SAFE_INTEGER),
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
