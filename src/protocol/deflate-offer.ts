import { isToken } from "./headers.js";

/** The name of the extension in `Sec-WebSocket-Extensions`. */
export const deflateName = "permessage-deflate";

/** What both sides agreed on; always from the point of view of the wire, not of one side. */
export interface DeflateAgreement {
  /** Whether each side starts every message with an empty window. */
  readonly serverNoContextTakeover: boolean;
  readonly clientNoContextTakeover: boolean;
  /** Size of each side's window as a power of two, 9 to 15. */
  readonly serverMaxWindowBits: number;
  readonly clientMaxWindowBits: number;
}

/** What this side would like to agree on. */
export interface DeflateWishes {
  readonly serverContextTakeover: boolean;
  readonly clientContextTakeover: boolean;
  readonly serverMaxWindowBits: number;
  readonly clientMaxWindowBits: number;
}

/** zlib cannot write raw deflate with a window of 2^8, so that 8 is declined. */
export const minWindowBits = 9;
export const maxWindowBits = 15;

/** More text or more elements than any honest peer sends are not looked at. */
const maxHeaderLength = 4096;
const maxElements = 32;

/** One element of the header: a name, and parameters in order, `""` where one has no value. */
export interface ExtensionElement {
  readonly name: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * Reads a `Sec-WebSocket-Extensions` header.
 *
 * @returns The elements in order; one with a repeated parameter is left out. `undefined` when the
 *   header does not follow the grammar or is too long.
 * @see RFC 6455 §9.1
 */
export function parseExtensions(value: string): ExtensionElement[] | undefined {
  if (value.length > maxHeaderLength) return undefined;
  const elements: ExtensionElement[] = [];
  let count = 0;
  let at = 0;

  const skipSpace = () => {
    while (value[at] === " " || value[at] === "\t") at++;
  };
  const readToken = () => {
    const start = at;
    while (at < value.length && isToken(value[at] as string)) at++;
    return value.slice(start, at);
  };
  /** A token, or a quoted string that is one without its quotes and backslashes. */
  const readValue = () => {
    if (value[at] !== '"') return readToken();
    let text = "";
    for (at++; at < value.length && value[at] !== '"'; at++) {
      if (value[at] === "\\") at++;
      text += value[at] ?? "";
    }
    return value[at++] === '"' && isToken(text) ? text : "";
  };

  for (;;) {
    skipSpace();
    // An empty element is allowed in a list (RFC 9110 §5.6.1).
    if (at < value.length && value[at] !== ",") {
      if (++count > maxElements) return undefined;
      const name = readToken();
      if (name === "") return undefined;
      const parameters = new Map<string, string>();
      let isRepeated = false;
      for (skipSpace(); value[at] === ";"; skipSpace()) {
        at++;
        skipSpace();
        const parameter = readToken();
        if (parameter === "") return undefined;
        skipSpace();
        let text = "";
        if (value[at] === "=") {
          at++;
          skipSpace();
          text = readValue();
          if (text === "") return undefined;
        }
        isRepeated ||= parameters.has(parameter);
        parameters.set(parameter, text);
      }
      if (!isRepeated) elements.push({ name, parameters });
    }
    if (at === value.length) return elements;
    if (value[at++] !== ",") return undefined;
  }
}

/**
 * Chooses from a client's offers.
 *
 * @param header - The request's `Sec-WebSocket-Extensions`, if any.
 * @returns The agreement and the header that says so, for the first offer that is acceptable.
 * @see RFC 7692 §5, §7.1
 */
export function acceptDeflate(
  header: string | undefined,
  wishes: DeflateWishes,
): { agreement: DeflateAgreement; header: string } | undefined {
  for (const offer of (header && parseExtensions(header)) || []) {
    if (offer.name !== deflateName) continue;
    const offered = readParameters(offer.parameters, true);
    if (offered === undefined) continue;
    const agreement: DeflateAgreement = {
      serverNoContextTakeover: offered.serverNoContextTakeover || !wishes.serverContextTakeover,
      clientNoContextTakeover: offered.clientNoContextTakeover || !wishes.clientContextTakeover,
      serverMaxWindowBits: Math.min(
        offered.serverMaxWindowBits ?? maxWindowBits,
        wishes.serverMaxWindowBits,
      ),
      // Only a client that offers the parameter can be asked for less (RFC 7692 §7.1.2.2).
      clientMaxWindowBits:
        offered.clientMaxWindowBits === undefined
          ? maxWindowBits
          : Math.min(offered.clientMaxWindowBits, wishes.clientMaxWindowBits),
    };
    return { agreement, header: answerHeader(offer.parameters, agreement) };
  }
  return undefined;
}

/** What a client offers. @see RFC 7692 §7.1 */
export function offerDeflate(wishes: DeflateWishes): string {
  const parameters = [deflateName];
  parameters.push(
    wishes.clientMaxWindowBits === maxWindowBits
      ? "client_max_window_bits"
      : `client_max_window_bits=${wishes.clientMaxWindowBits}`,
  );
  if (!wishes.clientContextTakeover) parameters.push("client_no_context_takeover");
  if (wishes.serverMaxWindowBits !== maxWindowBits) {
    parameters.push(`server_max_window_bits=${wishes.serverMaxWindowBits}`);
  }
  if (!wishes.serverContextTakeover) parameters.push("server_no_context_takeover");
  return parameters.join("; ");
}

/**
 * Reads a server's answer to {@link offerDeflate}.
 *
 * @returns The agreement; `undefined` when the answer is not one to that offer.
 * @see RFC 7692 §7.1
 */
export function readDeflateAnswer(
  header: string,
  wishes: DeflateWishes,
): DeflateAgreement | undefined {
  const elements = parseExtensions(header);
  if (elements?.length !== 1 || elements[0]?.name !== deflateName) return undefined;
  const answered = readParameters(elements[0].parameters, false);
  if (answered === undefined) return undefined;
  const { serverMaxWindowBits = maxWindowBits, clientMaxWindowBits = wishes.clientMaxWindowBits } =
    answered;
  if (
    serverMaxWindowBits > wishes.serverMaxWindowBits ||
    clientMaxWindowBits > wishes.clientMaxWindowBits ||
    (!wishes.serverContextTakeover && !answered.serverNoContextTakeover)
  ) {
    return undefined;
  }
  return {
    serverNoContextTakeover: answered.serverNoContextTakeover,
    clientNoContextTakeover: answered.clientNoContextTakeover || !wishes.clientContextTakeover,
    serverMaxWindowBits,
    clientMaxWindowBits,
  };
}

interface DeflateParameters {
  readonly serverNoContextTakeover: boolean;
  readonly clientNoContextTakeover: boolean;
  readonly serverMaxWindowBits: number | undefined;
  readonly clientMaxWindowBits: number | undefined;
}

/** @returns `undefined` when a parameter is unknown or has a value it must not have. */
function readParameters(
  parameters: ReadonlyMap<string, string>,
  isOffer: boolean,
): DeflateParameters | undefined {
  let isValid = true;
  const bits: Record<"server" | "client", number | undefined> = {
    server: undefined,
    client: undefined,
  };
  for (const [name, value] of parameters) {
    switch (name) {
      case "server_no_context_takeover":
      case "client_no_context_takeover":
        isValid &&= value === "";
        break;
      case "server_max_window_bits":
      case "client_max_window_bits": {
        // Without a value it stands in an offer only, and means the largest window.
        const isAllowed = value === "" ? isOffer : /^(9|1[0-5])$/.test(value);
        isValid &&= isAllowed;
        bits[name === "server_max_window_bits" ? "server" : "client"] =
          value === "" ? maxWindowBits : Number(value);
        break;
      }
      default:
        isValid = false;
    }
  }
  if (!isValid) return undefined;
  return {
    serverNoContextTakeover: parameters.has("server_no_context_takeover"),
    clientNoContextTakeover: parameters.has("client_no_context_takeover"),
    serverMaxWindowBits: bits.server,
    clientMaxWindowBits: bits.client,
  };
}

/** The client's parameters in the order of its offer, then the server's. */
function answerHeader(offered: ReadonlyMap<string, string>, agreement: DeflateAgreement): string {
  const answer = [deflateName];
  for (const name of offered.keys()) {
    if (name === "client_no_context_takeover") answer.push(name);
    if (name === "client_max_window_bits") {
      answer.push(`${name}=${agreement.clientMaxWindowBits}`);
    }
  }
  if (agreement.clientNoContextTakeover && !offered.has("client_no_context_takeover")) {
    answer.push("client_no_context_takeover");
  }
  if (agreement.serverNoContextTakeover) answer.push("server_no_context_takeover");
  if (offered.has("server_max_window_bits") || agreement.serverMaxWindowBits < maxWindowBits) {
    answer.push(`server_max_window_bits=${agreement.serverMaxWindowBits}`);
  }
  return answer.join("; ");
}
