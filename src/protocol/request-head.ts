import type { HandshakeRequest } from "./handshake.js";

/** The head of a request for a WebSocket. */
export interface RequestHead extends HandshakeRequest {
  readonly url: string;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: string[];
  /** Bytes of the head; what follows belongs to the WebSocket. */
  readonly size: number;
}

const [tab, lineFeed, carriageReturn, space, hash, slash, colon] = [9, 10, 13, 32, 35, 47, 58];

/** What a byte may be part of. @see RFC 9110 §5.5, §5.6.2; RFC 9112 §3.2 */
const [inName, inValue, inTarget] = [1, 2, 4];
const uses = Uint8Array.from({ length: 256 }, (_, byte) => {
  const isVisible = byte > space && byte < 127;
  const isToken = isVisible && !'"(),/:;<=>?@[\\]{}'.includes(String.fromCharCode(byte));
  const isText = isVisible || byte === space || byte === tab || byte >= 128;
  return (
    (isToken ? inName : 0) | (isText ? inValue : 0) | (isVisible && byte !== hash ? inTarget : 0)
  );
});

const method = "GET ";
const version = "HTTP/1.1\r\n";

/** More lines than that are left to node:http, which has its own limit. */
const maxHeaders = 64;

/** Names that clients send, with their lower case: no request needs strings of its own for them. */
const knownNames = new Map<string, readonly [asSent: string, lowerCase: string]>(
  [
    ...["Host", "Connection", "Upgrade", "Origin", "Cookie", "User-Agent", "Authorization"],
    ...["Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Pragma"],
    ...["Sec-WebSocket-Version", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"],
    ...["Sec-WebSocket-Extensions", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site"],
    ...["Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"],
  ].flatMap((name) => {
    const lowerCase = name.toLowerCase();
    return [name, lowerCase].map((asSent) => [asSent, [asSent, lowerCase]] as const);
  }),
);

/**
 * Reads the head of a request for a WebSocket as the usual client writes it: all of it there, `GET`,
 * a path, HTTP/1.1, `Upgrade: websocket`, no body, and nothing that the standards leave to a
 * reader's leniency. Of such a head every parser makes the same.
 *
 * @param end - How many bytes of `chunk` there are.
 * @param maxSize - Bytes that the head may have.
 * @returns `undefined` for any other request, of which nothing is said: it may be right or wrong.
 * @see RFC 9112 §2 to §5
 */
export function readRequestHead(
  chunk: Buffer,
  end: number,
  maxSize: number,
): RequestHead | undefined {
  const limit = Math.min(end, maxSize);
  if (limit < 32 || chunk[0] !== 71 || chunk[method.length] !== slash) return undefined;
  const text = chunk.toString("latin1", 0, limit);
  if (!text.startsWith(method)) return undefined;
  let at = method.length;
  while (((uses[chunk[at] as number] as number) & inTarget) !== 0 && at < limit) at++;
  if (chunk[at] !== space || !text.startsWith(version, at + 1)) return undefined;
  const url = textOf(chunk, text, method.length, at);
  at += 1 + version.length;

  const rawHeaders: string[] = [];
  const fields = new HandshakeFields();
  while (at < limit && chunk[at] !== carriageReturn) {
    const nameStart = at;
    while (((uses[chunk[at] as number] as number) & inName) !== 0 && at < limit) at++;
    if (at === nameStart || chunk[at] !== colon) return undefined;
    const nameEnd = at++;
    const name = text.slice(nameStart, nameEnd);
    while (chunk[at] === space) at++;
    const valueStart = at;
    while (((uses[chunk[at] as number] as number) & inValue) !== 0 && at < limit) at++;
    if (chunk[at] !== carriageReturn || chunk[at + 1] !== lineFeed) return undefined;
    // Other blanks around a value have no meaning, except to node:http: "Upgrade\t" is no upgrade.
    const isTrimmed = chunk[valueStart] !== tab && !isBlank(chunk[at - 1]);
    if (!isTrimmed && at > valueStart) return undefined;
    const value = textOf(chunk, text, valueStart, at);
    at += 2;
    const known = knownNames.get(name);
    rawHeaders.push(known?.[0] ?? textOf(chunk, text, nameStart, nameEnd), value);
    if (!fields.take(known?.[1] ?? name.toLowerCase(), value)) return undefined;
  }
  const isWhole = at + 1 < limit && chunk[at + 1] === lineFeed;
  if (!isWhole || rawHeaders.length > 2 * maxHeaders || !fields.askForWebSocket) return undefined;
  return {
    method: "GET",
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    url,
    headers: fields.found,
    // A copy has no room to spare: it lives as long as the socket.
    rawHeaders: rawHeaders.slice(),
    size: at + 2,
  };
}

/** From this many characters on, V8 makes a slice that keeps the whole text alive. */
const shortestSlice = 13;

/** A part of the text, on its own: the socket may keep it as long as it lives. */
function textOf(chunk: Buffer, text: string, start: number, end: number): string {
  return end - start < shortestSlice
    ? text.slice(start, end)
    : chunk.toString("latin1", start, end);
}

/** The fields that the opening handshake looks at, each of which may come once. */
class HandshakeFields {
  readonly found: Record<string, string | undefined> = {
    connection: undefined,
    upgrade: undefined,
    origin: undefined,
    "sec-websocket-key": undefined,
    "sec-websocket-version": undefined,
    "sec-websocket-protocol": undefined,
    "sec-websocket-extensions": undefined,
  };

  /** @returns Whether the request may still be read here. */
  take(name: string, value: string): boolean {
    switch (name) {
      case "connection":
      case "upgrade":
      case "origin":
      case "sec-websocket-key":
      case "sec-websocket-version":
      case "sec-websocket-protocol":
      case "sec-websocket-extensions":
        if (this.found[name] !== undefined) return false;
        this.found[name] = value;
        return true;
      case "content-length":
      case "transfer-encoding":
        return false;
      default:
        return true;
    }
  }

  /** Whether they ask for a WebSocket and nothing else, as node:http understands it too. */
  get askForWebSocket(): boolean {
    const { connection, upgrade } = this.found;
    return (
      upgrade?.toLowerCase() === "websocket" &&
      connection !== undefined &&
      connections.has(connection.toLowerCase())
    );
  }
}

/** What browsers and other clients say; nobody has to think what other lists mean. */
const connections = new Set(["upgrade", "keep-alive, upgrade"]);

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === tab;
}
