import { isUtf8 } from "node:buffer";
import { type CloseInfo, ProtocolError } from "../errors.js";

/**
 * Close codes with a defined meaning.
 * @see RFC 6455 §7.4.1 and the IANA WebSocket Close Code Number Registry
 */
export const CloseCode = {
  normalClosure: 1000,
  goingAway: 1001,
  protocolError: 1002,
  unsupportedData: 1003,
  /** Never on the wire: stands for a Close frame without a payload. */
  noStatus: 1005,
  /** Never on the wire: stands for a connection that ended without a Close frame. */
  abnormalClosure: 1006,
  invalidPayloadData: 1007,
  policyViolation: 1008,
  messageTooBig: 1009,
  mandatoryExtension: 1010,
  internalError: 1011,
  serviceRestart: 1012,
  tryAgainLater: 1013,
  badGateway: 1014,
} as const;

/** A control frame carries at most 125 bytes, two of which are the code (RFC 6455 §5.5). */
const maxReasonBytes = 123;

/** Whether `code` may stand in a Close frame (RFC 6455 §7.4.2; 1012 to 1014 by the IANA registry). */
export function isCloseCode(code: number): boolean {
  if (!Number.isInteger(code)) return false;
  if (code >= 3000) return code <= 4999;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

/**
 * Builds the payload of a Close frame.
 *
 * @param status - Close code; 1005 builds the empty payload, which means "no status".
 * @param description - Reason for people to read, at most 123 bytes of UTF-8; must be empty with 1005.
 * @throws RangeError when the code may not be sent or the reason is too long.
 * @see RFC 6455 §5.5.1
 */
export function encodeClose(status: number, description: string): Uint8Array {
  if (status === CloseCode.noStatus) {
    if (description !== "") {
      throw new RangeError(
        "Close code 1005 means an empty Close frame, so it takes no description.",
      );
    }
    return new Uint8Array(0);
  }
  if (!isCloseCode(status)) {
    throw new RangeError(
      `Close code ${status} may not be sent; use 1000–1003, 1007–1014, 3000–4999, or 1005 for none.`,
    );
  }
  const reason = Buffer.from(description, "utf8");
  if (reason.length > maxReasonBytes) {
    throw new RangeError(
      `A close description has at most ${maxReasonBytes} bytes of UTF-8; this one has ${reason.length}.`,
    );
  }
  const payload = Buffer.alloc(2 + reason.length);
  payload.writeUInt16BE(status, 0);
  reason.copy(payload, 2);
  return payload;
}

/**
 * Reads the payload of a Close frame.
 *
 * @throws ProtocolError 1002 for a payload of one byte or a code that may not be sent,
 *   1007 for a reason that is not UTF-8.
 * @see RFC 6455 §5.5.1, §7.1.5, §7.1.6
 */
export function parseClose(payload: Buffer): CloseInfo {
  if (payload.length === 0) return { status: CloseCode.noStatus, description: "" };
  if (payload.length === 1) {
    throw new ProtocolError("ERR_CLOSE_PAYLOAD", "A Close frame has a payload of one byte.");
  }
  const status = payload.readUInt16BE(0);
  if (!isCloseCode(status)) {
    throw new ProtocolError(
      "ERR_CLOSE_CODE",
      `A Close frame has the code ${status}, which may not be sent.`,
    );
  }
  const reason = payload.subarray(2);
  if (!isUtf8(reason)) {
    throw new ProtocolError("ERR_INVALID_UTF8", "The reason of a Close frame is not UTF-8.", 1007);
  }
  return { status, description: reason.toString("utf8") };
}
